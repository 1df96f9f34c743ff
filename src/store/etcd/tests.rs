//! Tests that need no etcd. The tests of the e2e crate cover the rest.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;

use etcd_client::Error;
use tonic::{Code, Status};

use super::endpoint::full_url;
use super::failure::{from_login_error, from_response_error, timed_out};
use super::*;
use crate::cause::Cause;

fn config() -> EtcdConfig {
    EtcdConfig {
        urls: vec!["http://127.0.0.1:1".to_owned()],
        cert_file: None,
        key_file: None,
        ca_file: None,
        username: Some("node".to_owned()),
        password_file: Some(PathBuf::from("/etc/password")),
        prefix: "/kube-ipam/v1".to_owned(),
    }
}

#[test]
fn a_url_without_a_scheme_is_https_exactly_when_there_are_certificates() {
    let plain = config();
    let secure = EtcdConfig { ca_file: Some(PathBuf::from("/ca.pem")), ..config() };
    let cases = [
        (&plain, "etcd.example:2379", "http://etcd.example:2379"),
        (&plain, "[2001:db8::1]:2379", "http://[2001:db8::1]:2379"),
        (&plain, "https://etcd.example:2379/", "https://etcd.example:2379"),
        (&secure, "localhost:2379", "https://localhost:2379"),
        (&secure, "http://localhost:2379", "http://localhost:2379"),
    ];
    for (config, written, full) in cases {
        assert_eq!(full_url(config, written), full);
    }
}

/// A failure's class, and its text if that differs from the status.
fn class(code: Code, message: &str) -> String {
    match from_response_error(&Error::GRpcStatus(Status::new(code, message)), &config()) {
        MemberFailure::TryNextMember(said) if said == message => "next member".to_owned(),
        MemberFailure::InDoubt(said) if said == message => "in doubt".to_owned(),
        MemberFailure::Reauthenticate(said) if said == message => "login".to_owned(),
        MemberFailure::Refused(StoreError::Denied(text)) => format!("denied: {text}"),
        MemberFailure::Refused(StoreError::Unavailable(text)) => format!("unavailable: {text}"),
        MemberFailure::Refused(StoreError::Corrupt(text)) => format!("corrupt: {text}"),
        other => format!("{other:?}"),
    }
}

struct StatusCase {
    code: Code,
    message: &'static str,
    class: &'static str,
}

impl StatusCase {
    fn check(&self) {
        assert_eq!(class(self.code, self.message), self.class, "{:?} {:?}", self.code, self.message);
    }
}

/// The texts and codes of etcd's rpctypes, 3.4 to 3.6, that a transaction or login may return.
#[test]
fn etcds_own_texts_say_whether_anything_was_applied() {
    let cases = [
        StatusCase { code: Code::Unavailable, message: "etcdserver: no leader", class: "next member" },
        StatusCase { code: Code::Unavailable, message: "etcdserver: not capable", class: "next member" },
        StatusCase {
            code: Code::Unavailable,
            message: "etcdserver: rpc not supported for learner",
            class: "next member",
        },
        StatusCase { code: Code::ResourceExhausted, message: "etcdserver: too many requests", class: "next member" },
        StatusCase { code: Code::Unauthenticated, message: "etcdserver: invalid auth token", class: "login" },
        StatusCase {
            code: Code::InvalidArgument,
            message: "etcdserver: revision of auth store is old",
            class: "login",
        },
        // The request was proposed and may still be applied.
        StatusCase { code: Code::Unavailable, message: "etcdserver: request timed out", class: "in doubt" },
        StatusCase {
            code: Code::Unavailable,
            message: "etcdserver: request timed out, possibly due to previous leader failure",
            class: "in doubt",
        },
        StatusCase {
            code: Code::Unavailable,
            message: "etcdserver: request timed out, possibly due to connection lost",
            class: "in doubt",
        },
        StatusCase {
            code: Code::Unavailable,
            message: "etcdserver: request timed out, waiting for the applied index took too long",
            class: "in doubt",
        },
        StatusCase { code: Code::Unavailable, message: "etcdserver: leader changed", class: "in doubt" },
        StatusCase { code: Code::Unavailable, message: "etcdserver: server stopped", class: "in doubt" },
        StatusCase { code: Code::Unavailable, message: "etcdserver: unhealthy cluster", class: "in doubt" },
        StatusCase { code: Code::Unknown, message: "etcdserver: a text of a later version", class: "in doubt" },
        StatusCase {
            code: Code::PermissionDenied,
            message: "etcdserver: permission denied",
            class: "denied: etcd denies user node the keys below /kube-ipam/v1; grant its role readwrite on this prefix",
        },
        StatusCase {
            code: Code::InvalidArgument,
            message: "etcdserver: user name is empty",
            class: "denied: etcd asks for a user; set username and passwordFile in etcdConfig",
        },
        StatusCase {
            code: Code::FailedPrecondition,
            message: "etcdserver: user name not found",
            class: "denied: etcd denies user node: etcdserver: user name not found",
        },
        StatusCase {
            code: Code::InvalidArgument,
            message: "etcdserver: authentication failed, invalid user ID or password",
            class: "denied: etcd refuses the password of user node; check /etc/password",
        },
        StatusCase {
            code: Code::FailedPrecondition,
            message: "etcdserver: authentication is not enabled",
            class: "denied: etcd has no authentication enabled; enable it, or remove username from etcdConfig",
        },
        StatusCase {
            code: Code::InvalidArgument,
            message: "etcdserver: too many operations in txn request",
            class: "denied: etcd refuses the request: etcdserver: too many operations in txn request; are its limits \
                    lower than the defaults?",
        },
        StatusCase {
            code: Code::InvalidArgument,
            message: "etcdserver: request is too large",
            class: "denied: etcd refuses the request: etcdserver: request is too large; are its limits lower than the \
                    defaults?",
        },
        StatusCase {
            code: Code::ResourceExhausted,
            message: "grpc: received message larger than max (9 vs. 8)",
            class: "denied: etcd refuses the request: grpc: received message larger than max (9 vs. 8); are its limits \
                    lower than the defaults?",
        },
        StatusCase {
            code: Code::ResourceExhausted,
            message: "etcdserver: mvcc: database space exceeded",
            class: "unavailable: etcd's database is full (alarm NOSPACE); compact and defragment it, then run etcdctl \
                    alarm disarm",
        },
        StatusCase {
            code: Code::DataLoss,
            message: "etcdserver: corrupt cluster",
            class: "corrupt: etcd's members disagree about what they hold (alarm CORRUPT); restore it from a snapshot",
        },
    ];
    cases.iter().for_each(StatusCase::check);
}

/// What tonic returns for HTTP statuses, resets and lost connections, and texts of other programs in between that use
/// the same codes as etcd.
#[test]
fn what_is_not_etcds_own_text_leaves_the_request_in_doubt() {
    let mapped = |status: u16| format!("grpc-status header missing, mapped from HTTP status code {status}");
    let codes = [
        (Code::Unavailable, mapped(503)),
        (Code::Unavailable, mapped(502)),
        (Code::Unavailable, mapped(504)),
        (Code::Unavailable, mapped(429)),
        (Code::Unauthenticated, mapped(401)),
        (Code::PermissionDenied, mapped(403)),
        (Code::Unimplemented, mapped(404)),
        (Code::Internal, mapped(400)),
        (Code::Unknown, "transport error".to_owned()),
        (Code::Unavailable, "error reading a body from connection".to_owned()),
        (Code::Internal, "h2 protocol error: http2 error".to_owned()),
        (Code::Cancelled, "Timeout expired".to_owned()),
        (Code::OutOfRange, "Error, decoded message length too large: found 70000000 bytes".to_owned()),
        (Code::Unavailable, "no healthy upstream".to_owned()),
        (Code::PermissionDenied, "permission denied".to_owned()),
        (Code::Unavailable, "upstream said: etcdserver: no leader".to_owned()),
    ];
    for (code, message) in codes {
        assert_eq!(class(code, &message), "in doubt", "{code:?} {message:?}");
    }
}

#[test]
fn a_login_that_fails_leaves_no_request_in_doubt() {
    let failure =
        from_login_error(&Error::GRpcStatus(Status::new(Code::Unavailable, "no healthy upstream")), &config());
    assert!(matches!(failure, MemberFailure::TryNextMember(_)), "{failure:?}");
}

#[test]
fn the_error_quotes_each_member_that_failed_since_it_served_a_request() {
    let mut errors = MemberErrors::default();
    let mut add = |url: &str, said: &str| errors.record_failure(url, &MemberFailure::TryNextMember(said.to_owned()));
    add("http://a", "refused");
    add("http://b", "no leader");
    add("http://a", "slow");
    add("http://a", "slow");
    assert_eq!(
        errors.text(),
        "no member of etcd served the request (http://a: refused, then slow; http://b: no leader)"
    );
    errors.record_success("http://a");
    assert_eq!(errors.text(), "no member of etcd served the request (http://b: no leader)");
    let mut errors = MemberErrors::default();
    for said in ["1", "2", "3", "4", "5"] {
        errors.record_failure("http://a", &MemberFailure::TryNextMember(said.to_owned()));
    }
    assert_eq!(errors.text(), "no member of etcd served the request (http://a: 1, then 2, then 5)");
}

#[test]
fn members_are_ranked_by_what_they_did_since_they_served_a_request() {
    let mut errors = MemberErrors::default();
    let refusing = MemberFailure::TryNextMember("no leader".to_owned());
    errors.record_failure("http://silent", &timed_out());
    for url in ["http://twice", "http://twice", "http://once", "http://served"] {
        errors.record_failure(url, &refusing);
    }
    errors.record_success("http://served");
    let mut urls = ["http://silent", "http://twice", "http://once", "http://served", "http://new"];
    urls.sort_by_key(|url| errors.rank(url));
    assert_eq!(urls, ["http://served", "http://new", "http://once", "http://twice", "http://silent"]);
}

/// The error of a store on these members, after a round in which each failed like this.
fn refusal(failures: &[MemberFailure]) -> Option<StoreError> {
    let store = EtcdStore::new(config(), None);
    let mut refusals = Vec::new();
    for (i, failure) in failures.iter().enumerate() {
        store.errors().record_failure(&format!("http://{i}"), failure);
        if let MemberFailure::Refused(error) = failure {
            refusals.push(error.clone());
        }
    }
    store.refusal(refusals, failures.len())
}

#[test]
fn what_all_members_refuse_is_said_once_and_what_one_refuses_beside_the_others_words() {
    let denied = || MemberFailure::Refused(StoreError::Denied(Cause::new("no right")));
    let no_leader = || MemberFailure::TryNextMember("no leader".to_owned());
    assert_eq!(refusal(&[denied(), denied()]), Some(StoreError::Denied(Cause::new("no right"))));
    let text = "no member of etcd served the request (http://0: no leader; http://1: no right)".to_owned();
    assert_eq!(refusal(&[no_leader(), denied()]), Some(StoreError::Denied(Cause::new(text))));
    assert_eq!(refusal(&[no_leader(), no_leader()]), None);
}
