//! What it means that no answer came.

use std::error::Error;
use std::io;
use std::iter::successors;

use http_body_util::LengthLimitError;

use super::ClusterError;
use super::connection::CONNECT;
use super::object::Object;

/// What it means that a request could not be sent, or that nothing came back.
pub(super) fn of_sending(url: &str, e: &kube::Error) -> ClusterError {
    let url = url.to_owned();
    if let Some(e @ rustls::Error::InvalidCertificate(_)) = find::<rustls::Error>(e) {
        return ClusterError::Untrusted { url, why: e.to_string() };
    }
    let timed_out = |e: &io::Error| e.kind() == io::ErrorKind::TimedOut;
    let why = match find::<io::Error>(e) {
        Some(e) if timed_out(e) => format!("no connection within {CONNECT:?}"),
        _ => causes(e),
    };
    ClusterError::Unreachable { url, why }
}

/// What it means that an answer broke off.
pub(super) fn of_reading(
    url: &str,
    object: &Object,
    largest: usize,
    e: &(dyn Error + Send + Sync + 'static),
) -> ClusterError {
    let url = url.to_owned();
    if e.is::<LengthLimitError>() {
        let why = format!("it is larger than {} MiB", largest >> 20);
        return ClusterError::Strange { url, object: Box::new(object.clone()), why };
    }
    ClusterError::Unreachable { url, why: format!("the connection broke: {}", causes(e)) }
}

/// An error of a type among the causes of another one.
fn find<'a, T: Error + 'static>(e: &'a (dyn Error + 'static)) -> Option<&'a T> {
    successors(Some(e), |e| next(*e)).find_map(|e| e.downcast_ref())
}

/// What caused an error. One of I/O holds another and names only the causes of that one.
fn next<'a>(e: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match e.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(held) => Some(held),
        None => e.source(),
    }
}

/// The causes of an error, without the layers of the client, which say no more than that they failed.
fn causes(e: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in successors(Some(e), |e| next(*e)).map(ToString::to_string) {
        let layer = text.starts_with("ServiceError: ") || text.starts_with("client error (");
        // An error that repeats the one below it says it once.
        if !layer && !texts.last().is_some_and(|last| last.contains(&text)) {
            texts.push(text);
        }
    }
    if texts.is_empty() { e.to_string() } else { texts.join(": ") }
}
