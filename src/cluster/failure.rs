//! Classifies a request that got no response.

use std::error::Error;
use std::io;
use std::iter::successors;

use http_body_util::LengthLimitError;

use super::ClusterError;
use super::connection::CONNECT_TIMEOUT;
use super::object::ObjectRef;

/// The request could not be sent, or nothing came back.
pub(super) fn from_send_error(url: &str, e: &kube::Error) -> ClusterError {
    let url = url.to_owned();
    if let Some(e @ rustls::Error::InvalidCertificate(_)) = find::<rustls::Error>(e) {
        return ClusterError::Untrusted { url, why: e.to_string() };
    }
    let timed_out = |e: &io::Error| e.kind() == io::ErrorKind::TimedOut;
    let why = match find::<io::Error>(e) {
        Some(e) if timed_out(e) => format!("no connection within {CONNECT_TIMEOUT:?}"),
        _ => causes(e),
    };
    ClusterError::Unreachable { url, why }
}

/// The response broke off.
pub(super) fn from_read_error(
    url: &str,
    object: &ObjectRef,
    max_size: usize,
    e: &(dyn Error + Send + Sync + 'static),
) -> ClusterError {
    let url = url.to_owned();
    if e.is::<LengthLimitError>() {
        let why = format!("it is larger than {} MiB", max_size >> 20);
        return ClusterError::UnexpectedResponse { url, object: Box::new(object.clone()), why };
    }
    ClusterError::Unreachable { url, why: format!("the connection broke: {}", causes(e)) }
}

/// Finds an error of a type in the chain of causes.
fn find<'a, T: Error + 'static>(e: &'a (dyn Error + 'static)) -> Option<&'a T> {
    successors(Some(e), |e| next(*e)).find_map(|e| e.downcast_ref())
}

/// The next error of the chain. `io::Error::source` skips the error that it wraps, hence `get_ref`.
fn next<'a>(e: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match e.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(held) => Some(held),
        None => e.source(),
    }
}

/// The chain of causes as one text, without the layers of the client, whose texts only say that they failed.
fn causes(e: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in successors(Some(e), |e| next(*e)).map(ToString::to_string) {
        let layer = text.starts_with("ServiceError: ") || text.starts_with("client error (");
        // Some errors repeat the text of their cause.
        if !layer && !texts.last().is_some_and(|last| last.contains(&text)) {
            texts.push(text);
        }
    }
    if texts.is_empty() { e.to_string() } else { texts.join(": ") }
}
