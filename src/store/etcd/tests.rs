//! What can be shown without an etcd; the rest is in the tests of the e2e crate.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;

use etcd_client::Error;
use tonic::{Code, Status};

use super::endpoint::full_url;
use super::failure::of_answer;
use super::*;

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

/// What a failure says about the request: `here`, `here, perhaps done`, `login`, or the store's error.
fn meaning(code: Code, message: &str) -> String {
    match of_answer(&Error::GRpcStatus(Status::new(code, message)), &config()) {
        Failure::Here { sent: false, .. } => "here".to_owned(),
        Failure::Here { sent: true, .. } => "here, perhaps done".to_owned(),
        Failure::Login(_) => "login".to_owned(),
        Failure::Everywhere(StoreError::Denied(text)) => format!("denied: {text}"),
        Failure::Everywhere(StoreError::Unavailable(text)) => format!("unavailable: {text}"),
        Failure::Everywhere(other) => format!("{other:?}"),
    }
}

#[test]
fn what_etcd_says_decides_whether_another_member_is_asked_and_what_is_known() {
    let cases = [
        (Code::Unavailable, "etcdserver: no leader", "here"),
        (Code::ResourceExhausted, "etcdserver: too many requests", "here"),
        (Code::Unavailable, "etcdserver: request timed out", "here, perhaps done"),
        (Code::Unavailable, "etcdserver: leader changed", "here, perhaps done"),
        (Code::Cancelled, "Timeout expired", "here, perhaps done"),
        (Code::Unknown, "transport error", "here, perhaps done"),
        (Code::Unauthenticated, "etcdserver: invalid auth token", "login"),
        (Code::InvalidArgument, "etcdserver: revision of auth store is old", "login"),
        (
            Code::PermissionDenied,
            "etcdserver: permission denied",
            "denied: etcd denies user node the keys below /kube-ipam/v1; grant its role readwrite on this prefix",
        ),
        (
            Code::InvalidArgument,
            "etcdserver: authentication failed, invalid user ID or password",
            "denied: etcd refuses the password of user node; check /etc/password",
        ),
        (
            Code::FailedPrecondition,
            "etcdserver: authentication is not enabled",
            "denied: etcd has no authentication enabled; enable it, or remove username from etcdConfig",
        ),
        (
            Code::InvalidArgument,
            "etcdserver: too many operations in txn request",
            "denied: etcd refuses the request: etcdserver: too many operations in txn request; are its limits lower than \
             the defaults?",
        ),
        (
            Code::ResourceExhausted,
            "etcdserver: mvcc: database space exceeded",
            "unavailable: etcd's database is full (alarm NOSPACE); compact and defragment it, then run etcdctl alarm disarm",
        ),
    ];
    for (code, message, expected) in cases {
        assert_eq!(meaning(code, message), expected, "{message}");
    }
}

#[test]
fn the_error_at_the_deadline_has_the_last_word_of_each_member_and_what_is_known() {
    let mut reports = Reports::new();
    reports.add("http://a", "refused".to_owned(), false);
    reports.add("http://b", "no leader".to_owned(), false);
    reports.add("http://a", "no connection in time".to_owned(), false);
    let text = "no member of etcd answered in time (http://b: no leader; http://a: no connection in time)";
    assert_eq!(reports.give_up(), StoreError::Unavailable(text.to_owned()));
    let mut reports = Reports::new();
    reports.add("http://a", "no answer in time".to_owned(), true);
    reports.add("http://a", "refused".to_owned(), false);
    let text = "no member of etcd answered in time (http://a: refused)";
    assert_eq!(reports.give_up(), StoreError::Ambiguous(text.to_owned()));
}
