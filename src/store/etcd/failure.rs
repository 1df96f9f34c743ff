//! What a member's failure says about the request.
//!
//! Only etcd's own words show that nothing was applied. Whatever else comes in the place of an answer, a balancer's HTTP
//! 503, a connection that closes, another protocol, is worth as much as silence: something between here and etcd may have
//! the request, and pass it on later.

use std::fmt;
use std::path::Path;

use etcd_client::Error;

use crate::store::{EtcdConfig, StoreError};

/// Why a member did not serve a request; the variant says what is known about the request.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was applied. Another member may serve it, or this one soon.
    NotServed(String),
    /// No connection came about in time, and nothing was sent.
    ConnectTimeout,
    /// It may have been applied, or may yet be.
    InDoubt(String),
    /// Nothing was applied: the member does not know the login any more. A new one helps.
    Reauthenticate(String),
    /// Nothing was applied, and this member won't until somebody mends what it names.
    Refused(StoreError),
    /// Nothing was sent: what the config says is unusable with any member.
    Unusable(StoreError),
}

impl Failure {
    /// Whether the request may have been applied, or may yet be.
    pub(super) fn is_in_doubt(&self) -> bool {
        matches!(self, Self::InDoubt(_))
    }

    /// Whether it is as bad as silence: to ask this member again may cost a share of the time, or leave another request
    /// in doubt.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::InDoubt(_) | Self::ConnectTimeout)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotServed(said) | Self::InDoubt(said) | Self::Reauthenticate(said) => f.write_str(said),
            Self::ConnectTimeout => f.write_str(NO_ANSWER),
            Self::Refused(error) | Self::Unusable(error) => error.fmt(f),
        }
    }
}

/// What a member is quoted with that let the time pass.
const NO_ANSWER: &str = "no answer in time";

/// What it means that no answer came before the time was over.
pub(super) fn of_silence() -> Failure {
    Failure::InDoubt(NO_ANSWER.to_owned())
}

/// What it means that no connection came about.
pub(super) fn of_connecting(e: &tonic::transport::Error) -> Failure {
    Failure::NotServed(refused_certificate(e).unwrap_or_else(|| chain(e)))
}

/// What a failed login means; the request was not sent.
pub(super) fn of_login(e: &Error, config: &EtcdConfig) -> Failure {
    match of_answer(e, config) {
        Failure::InDoubt(said) | Failure::Reauthenticate(said) => Failure::NotServed(said),
        other => other,
    }
}

/// What an error means that came instead of an answer. It is told by its text alone: those of etcd's rpctypes are part of
/// its protocol, and its own client goes by them too, while a code may be anybody's on the way.
pub(super) fn of_answer(e: &Error, config: &EtcdConfig) -> Failure {
    let Error::GRpcStatus(status) = e else {
        return Failure::InDoubt(chain(e));
    };
    if let Some(said) = refused_certificate(status) {
        return Failure::NotServed(said);
    }
    let message = status.message();
    if message.starts_with("grpc: received message larger than max") {
        // etcd's gRPC server, before it looks at the request.
        return refused_limit(message);
    }
    let user = match &config.username {
        Some(user) => format!("user {user}"),
        // etcd takes the common name of a client's certificate for the user.
        None => "the user of the client's certificate (etcdConfig has no username)".to_owned(),
    };
    let denied = |text: String| Failure::Refused(StoreError::Denied(text));
    match message.strip_prefix("etcdserver: ").unwrap_or_default() {
        // Said before the request is proposed to the cluster.
        "no leader" | "not capable" | "rpc not supported for learner" | "too many requests" => {
            Failure::NotServed(message.to_owned())
        }
        "invalid auth token" | "revision of auth store is old" => Failure::Reauthenticate(message.to_owned()),
        // Said when a member applies it, or before.
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
        "mvcc: database space exceeded" => Failure::Refused(StoreError::Unavailable(
            "etcd's database is full (alarm NOSPACE); compact and defragment it, then run etcdctl alarm disarm"
                .to_owned(),
        )),
        "corrupt cluster" => Failure::Refused(StoreError::Corrupt(
            "etcd's members disagree about what they hold (alarm CORRUPT); restore it from a snapshot".to_owned(),
        )),
        "request is too large"
        | "too many operations in txn request"
        | "duplicate key given in txn request"
        | "key is not provided" => refused_limit(message),
        // "request timed out" in its variants, "leader changed", "server stopped", and whatever is not etcd's.
        _ => Failure::InDoubt(chain(status)),
    }
}

fn refused_limit(message: &str) -> Failure {
    Failure::Refused(StoreError::Denied(format!(
        "etcd refuses the request: {message}; are its limits lower than the defaults?"
    )))
}

/// What is wrong, if the server ended the handshake over the client's certificate. With TLS 1.3 the client hears of it
/// only after it has sent its request, which the server never looks at (RFC 8446 section 4.4.2.4).
fn refused_certificate(e: &(dyn std::error::Error + 'static)) -> Option<String> {
    // The name of the alert as rustls spells it; h2 keeps nothing else of the error.
    let text = chain(e);
    let (_, alert) = text.split_once("received fatal alert: ")?;
    (alert.contains("Certificate") || alert.contains("UnknownCA"))
        .then(|| format!("it refuses the client's certificate ({alert}); check etcdCertFile and etcdKeyFile"))
}

/// An error with what caused it; the outer ones often say no more than "transport error".
pub(super) fn chain(e: &(dyn std::error::Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(e);
    while let Some(e) = next {
        let text = match e.downcast_ref::<tonic::Status>() {
            Some(status) => status.message().to_owned(),
            None => e.to_string(),
        };
        // An error that repeats the one below it says it once.
        if !texts.last().is_some_and(|last| last.contains(&text)) {
            texts.push(text);
        }
        next = e.source();
    }
    texts.join(": ")
}
