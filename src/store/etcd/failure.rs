//! Classifies a member's failure by what it says about the request.
//!
//! Only etcd's own error texts show that nothing was applied. Everything else (a load balancer's HTTP 503, a closed
//! connection, another protocol) counts as no reply: something in between may have the request and forward it later.

use std::fmt;
use std::path::Path;

use etcd_client::Error;

use crate::cause::{Cause, chain};
use crate::store::{EtcdConfig, StoreError};

/// Why a member did not serve a request; the variant says what is known about the request.
#[derive(Debug)]
pub(super) enum MemberFailure {
    /// Nothing was applied. Another member may serve the request, or this one later.
    TryNextMember(String),
    /// The connection timed out. Nothing was sent.
    ConnectTimeout,
    /// The request may have been applied, or may still be.
    InDoubt(String),
    /// Nothing was applied: the auth token has expired. A new login helps.
    Reauthenticate(String),
    /// Nothing was applied, and a retry won't help until somebody fixes what the error names.
    Refused(StoreError),
    /// Nothing was sent. This configuration is invalid for every member.
    InvalidConfig(StoreError),
}

impl MemberFailure {
    /// Whether the request may have been applied, or may still be.
    pub(super) fn is_in_doubt(&self) -> bool {
        matches!(self, Self::InDoubt(_))
    }

    /// Whether the next request to this member may be slow or left in doubt, too.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::InDoubt(_) | Self::ConnectTimeout)
    }
}

impl fmt::Display for MemberFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TryNextMember(message) | Self::InDoubt(message) | Self::Reauthenticate(message) => {
                f.write_str(message)
            }
            Self::ConnectTimeout => f.write_str(NO_ANSWER),
            Self::Refused(error) | Self::InvalidConfig(error) => chain(error).fmt(f),
        }
    }
}

/// The text about a member that did not reply.
const NO_ANSWER: &str = "no answer in time";

/// No reply came in time.
pub(super) fn timed_out() -> MemberFailure {
    MemberFailure::InDoubt(NO_ANSWER.to_owned())
}

/// Connecting failed.
pub(super) fn from_connect_error(e: &tonic::transport::Error) -> MemberFailure {
    MemberFailure::TryNextMember(refused_certificate(e).unwrap_or_else(|| chain(e).to_string()))
}

/// The login failed. The request was not sent.
pub(super) fn from_login_error(e: &Error, config: &EtcdConfig) -> MemberFailure {
    match from_response_error(e, config) {
        MemberFailure::InDoubt(message) | MemberFailure::Reauthenticate(message) => {
            MemberFailure::TryNextMember(message)
        }
        other => other,
    }
}

/// Classifies an error response by its text alone. The texts of etcd's rpctypes are part of its protocol, and its own
/// client depends on them. A status code may come from anything in between.
pub(super) fn from_response_error(e: &Error, config: &EtcdConfig) -> MemberFailure {
    let Error::GRpcStatus(status) = e else {
        return MemberFailure::InDoubt(chain(e).to_string());
    };
    if let Some(message) = refused_certificate(status) {
        return MemberFailure::TryNextMember(message);
    }
    let message = status.message();
    if message.starts_with("grpc: received message larger than max") {
        // etcd's gRPC server rejects it before it reads the request.
        return refused_limit(message);
    }
    let user = match &config.username {
        Some(user) => format!("user {user}"),
        // etcd uses the common name of the client's certificate as the user.
        None => "the user of the client's certificate (etcdConfig has no username)".to_owned(),
    };
    let denied = |text: String| MemberFailure::Refused(StoreError::Denied(Cause::new(text)));
    match message.strip_prefix("etcdserver: ").unwrap_or_default() {
        // The member returns these before it proposes the request to the cluster.
        "no leader" | "not capable" | "rpc not supported for learner" | "too many requests" => {
            MemberFailure::TryNextMember(message.to_owned())
        }
        "invalid auth token" | "revision of auth store is old" => MemberFailure::Reauthenticate(message.to_owned()),
        // The member returns these when it applies the request, or earlier.
        "permission denied" => denied(format!(
            "etcd denies {user} the keys below {}; grant its role readwrite on this prefix",
            config.prefix
        )),
        "user name is empty" => denied("etcd asks for a user; set username and passwordFile in etcdConfig".to_owned()),
        "authentication failed, invalid user ID or password" => {
            let file = config.password_file.as_deref().unwrap_or_else(|| Path::new("passwordFile"));
            denied(format!("etcd refuses the password of {user}; check {}", file.display()))
        }
        "authentication is not enabled" => {
            denied("etcd has no authentication enabled; enable it, or remove username from etcdConfig".to_owned())
        }
        "user name not found" | "invalid auth management" => denied(format!("etcd denies {user}: {message}")),
        "mvcc: database space exceeded" => MemberFailure::Refused(StoreError::Unavailable(Cause::new(
            "etcd's database is full (alarm NOSPACE); compact and defragment it, then run etcdctl alarm disarm",
        ))),
        "corrupt cluster" => MemberFailure::Refused(StoreError::Corrupt(Cause::new(
            "etcd's members disagree about what they hold (alarm CORRUPT); restore it from a snapshot",
        ))),
        "request is too large"
        | "too many operations in txn request"
        | "duplicate key given in txn request"
        | "key is not provided" => refused_limit(message),
        // The variants of "request timed out", "leader changed", "server stopped", and all texts that are not etcd's.
        _ => MemberFailure::InDoubt(chain(status).to_string()),
    }
}

/// Whether etcd has discarded a revision that the request reads. It says so before it does anything.
pub(super) fn is_compacted(e: &Error) -> bool {
    matches!(e, Error::GRpcStatus(status) if status.message() == "etcdserver: mvcc: required revision has been compacted")
}

fn refused_limit(message: &str) -> MemberFailure {
    MemberFailure::Refused(StoreError::Denied(Cause::new(format!(
        "etcd refuses the request: {message}; are its limits lower than the defaults?"
    ))))
}

/// The text, if the server ended the handshake because of the client's certificate. With TLS 1.3, the client learns
/// that only after it has sent its request, which the server never reads (RFC 8446 section 4.4.2.4).
fn refused_certificate(e: &(dyn std::error::Error + 'static)) -> Option<String> {
    // rustls's spelling of the alert. h2 keeps nothing else of the error.
    let text = chain(e).to_string();
    let (_, alert) = text.split_once("received fatal alert: ")?;
    (alert.contains("Certificate") || alert.contains("UnknownCA"))
        .then(|| format!("it refuses the client's certificate ({alert}); check etcdCertFile and etcdKeyFile"))
}
