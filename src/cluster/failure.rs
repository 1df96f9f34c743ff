//! Classifies a request that got no response.

use std::error::Error;
use std::io;

use http_body_util::LengthLimitError;

use super::connection::CONNECT_TIMEOUT;
use super::error::{ClusterError, ResponseProblem};
use super::object::ObjectRef;
use crate::cause::{Cause, find};

/// The request was not sent, or no response came.
pub(super) fn from_send_error(url: &str, e: kube::Error) -> ClusterError {
    let url = url.to_owned();
    if let Some(cause @ rustls::Error::InvalidCertificate(_)) = find::<rustls::Error>(&e) {
        return ClusterError::Untrusted { url, cause: cause.clone() };
    }
    let cause = match find::<io::Error>(&e) {
        Some(e) if e.kind() == io::ErrorKind::TimedOut => {
            Cause::new(format!("no connection within {CONNECT_TIMEOUT:?}"))
        }
        _ => Cause::new(e),
    };
    ClusterError::Unreachable { url, cause }
}

/// The connection broke in the middle of the response.
pub(super) fn from_read_error(
    url: &str,
    object: &ObjectRef,
    max_size: usize,
    e: Box<dyn Error + Send + Sync>,
) -> ClusterError {
    let url = url.to_owned();
    if e.is::<LengthLimitError>() {
        let problem = ResponseProblem::TooLarge(max_size);
        return ClusterError::UnexpectedResponse { url, object: Box::new(object.clone()), problem };
    }
    ClusterError::Unreachable { url, cause: Cause::new(e).context("the connection broke") }
}
