//! Why there is no response from an API server.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::LengthLimitError;

use super::endpoint::CONNECT_TIMEOUT;
use super::kubeconfig::KubeconfigProblem;
use crate::cause::{Cause, find};

/// Why a request got no response, or why its response could not be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "its text says what a variant is and what its fields hold")]
pub enum ConnectionError {
    #[error("can't use the kubeconfig {}", .path.display())]
    Kubeconfig {
        path: PathBuf,
        #[source]
        problem: KubeconfigProblem,
    },
    #[error("can't use the service account in {}", .folder.display())]
    ServiceAccount {
        folder: PathBuf,
        #[source]
        problem: KubeconfigProblem,
    },
    /// No connection came about, so the request was not sent.
    #[error("the API server {url} can't be reached")]
    NotConnected {
        url: String,
        #[source]
        cause: Cause,
    },
    /// The connection was lost. The server may have received the request.
    #[error("the API server {url} can't be reached")]
    Lost {
        url: String,
        #[source]
        cause: Cause,
    },
    /// The server may have received the request.
    #[error("the API server {url} did not answer within {waited:.1?}")]
    TimedOut {
        url: String,
        /// After this time.
        waited: Duration,
    },
    #[error("the API server {url} is not trusted")]
    Untrusted {
        url: String,
        #[source]
        cause: rustls::Error,
    },
    /// The body of a response exceeds a limit, in bytes.
    #[error("the answer of {url} is larger than {} MiB", .limit >> 20)]
    TooLarge { url: String, limit: usize },
}

impl ConnectionError {
    /// The request was not sent, or no response came.
    pub(super) fn from_send_error(url: &str, e: hyper_util::client::legacy::Error) -> Self {
        if let Some(cause @ rustls::Error::InvalidCertificate(_)) = find::<rustls::Error>(&e) {
            return Self::Untrusted { url: url.to_owned(), cause: cause.clone() };
        }
        match find::<io::Error>(&e).map(io::Error::kind) {
            Some(ErrorKind::TimedOut) if e.is_connect() => {
                Self::not_sent(url, format!("no connection within {CONNECT_TIMEOUT:?}"))
            }
            _ if e.is_connect() => Self::not_sent(url, e),
            _ => Self::Lost { url: url.to_owned(), cause: Cause::new(e) },
        }
    }

    pub(super) fn not_sent(url: &str, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::NotConnected { url: url.to_owned(), cause: Cause::new(cause) }
    }

    /// The response ended early, or is too large.
    pub(super) fn from_read_error(url: &str, limit: usize, e: Box<dyn Error + Send + Sync>) -> Self {
        let url = url.to_owned();
        if e.is::<LengthLimitError>() {
            return Self::TooLarge { url, limit };
        }
        Self::Lost { url, cause: Cause::new(e).context("the connection broke") }
    }
}
