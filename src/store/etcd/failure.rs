//! What it means that a member did not serve a request.

use std::io;

use etcd_client::Error;
use rustls::AlertDescription;
use tonic::Code;

use crate::store::{EtcdConfig, StoreError};

/// Why a request to one member came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// Another member may serve it.
    Here {
        /// What the member said, or what was wrong with it.
        said: String,
        /// Whether the request may take effect, now or later.
        sent: bool,
    },
    /// The member does not know the login any more; a new one helps. Nothing happened.
    Login(String),
    /// No member would serve it.
    Everywhere(StoreError),
}

/// What it means that no connection came about.
pub(super) fn of_connecting(e: &tonic::transport::Error) -> Failure {
    Failure::Here { said: refused_certificate(e).unwrap_or_else(|| chain(e)), sent: false }
}

/// What a failed login means; the request was not sent.
pub(super) fn of_login(e: &Error, config: &EtcdConfig) -> Failure {
    match of_answer(e, config) {
        Failure::Here { said, .. } | Failure::Login(said) => Failure::Here { said, sent: false },
        everywhere => everywhere,
    }
}

/// What an error means that came instead of an answer. The messages are those of etcd's rpctypes, which are part of its
/// protocol: its own client goes by them too.
pub(super) fn of_answer(e: &Error, config: &EtcdConfig) -> Failure {
    let Error::GRpcStatus(status) = e else {
        return Failure::Here { said: chain(e), sent: true };
    };
    if let Some(said) = refused_certificate(status) {
        return Failure::Here { said, sent: false };
    }
    let message = status.message();
    let user = match &config.username {
        Some(user) => format!("user {user}"),
        // etcd takes the common name of a client's certificate for the user.
        None => "the user of the client's certificate (etcdConfig has no username)".to_owned(),
    };
    let denied = |text: String| Failure::Everywhere(StoreError::Denied(text));
    let nothing_happened = || Failure::Here { said: message.to_owned(), sent: false };
    match message {
        "etcdserver: permission denied" => denied(format!(
            "etcd denies {user} the keys below {}; grant its role readwrite on this prefix",
            config.prefix
        )),
        "etcdserver: user name is empty" => {
            denied("etcd asks for a user; set username and passwordFile in etcdConfig".to_owned())
        }
        "etcdserver: authentication failed, invalid user ID or password" => {
            let file = config.password_file.as_deref().unwrap_or_else(|| std::path::Path::new("passwordFile"));
            denied(format!("etcd refuses the password of {user}; check {}", file.display()))
        }
        "etcdserver: authentication is not enabled" => {
            denied("etcd has no authentication enabled; enable it, or remove username from etcdConfig".to_owned())
        }
        "etcdserver: invalid auth token" | "etcdserver: revision of auth store is old" => {
            Failure::Login(message.to_owned())
        }
        "etcdserver: mvcc: database space exceeded" => Failure::Everywhere(StoreError::Unavailable(
            "etcd's database is full (alarm NOSPACE); compact and defragment it, then run etcdctl alarm disarm"
                .to_owned(),
        )),
        "etcdserver: no leader" | "etcdserver: not capable" | "etcdserver: too many requests" => nothing_happened(),
        "etcdserver: corrupt cluster" => Failure::Everywhere(StoreError::Corrupt(
            "etcd's members disagree about what they hold (alarm CORRUPT); restore it from a snapshot".to_owned(),
        )),
        _ => match status.code() {
            Code::InvalidArgument | Code::OutOfRange => {
                denied(format!("etcd refuses the request: {message}; are its limits lower than the defaults?"))
            }
            Code::PermissionDenied => denied(format!("etcd denies {user}: {message}")),
            Code::Unauthenticated => Failure::Login(message.to_owned()),
            _ => Failure::Here { said: chain(status), sent: true },
        },
    }
}

/// What is wrong, if the server ended the handshake over the client's certificate. With TLS 1.3 the client hears of it
/// only after it has sent its request, which the server never looks at (RFC 8446 section 4.4.2.4).
fn refused_certificate(e: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut next = Some(e);
    while let Some(e) = next {
        // An I/O error names as its source that of the error within it, and skips the error itself.
        let within = e.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = e.downcast_ref::<rustls::Error>().or_else(|| within.and_then(|e| e.downcast_ref::<rustls::Error>()));
        if let Some(rustls::Error::AlertReceived(alert)) = tls {
            return match alert {
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateRequired
                | AlertDescription::UnknownCA => {
                    Some(format!("it refuses the client's certificate ({alert:?}); check etcdCertFile and etcdKeyFile"))
                }
                _ => None,
            };
        }
        next = e.source();
    }
    None
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

/// What each member said, for the error at the end.
pub(super) struct Reports {
    said: Vec<(String, String)>,
    sent: bool,
}

impl Reports {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { said: Vec::new(), sent: false }
    }

    /// Takes down what a member said; its latest word counts.
    pub(super) fn add(&mut self, url: &str, said: String, sent: bool) {
        self.sent |= sent;
        self.said.retain(|(other, _)| other != url);
        self.said.push((url.to_owned(), said));
    }

    /// The error when no time is left.
    pub(super) fn give_up(self) -> StoreError {
        if self.said.is_empty() {
            return StoreError::Unavailable("no time was left to ask etcd".to_owned());
        }
        let said: Vec<String> = self.said.into_iter().map(|(url, said)| format!("{url}: {said}")).collect();
        let text = format!("no member of etcd answered in time ({})", said.join("; "));
        if self.sent { StoreError::Ambiguous(text) } else { StoreError::Unavailable(text) }
    }
}
