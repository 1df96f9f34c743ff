//! What an answer of the API server means for a request.
//!
//! ```text
//! write: 2xx ─► done    409, 404 of the object ─► conflict    5xx, no answer ─► silence
//!        no connection, 429 ─► not applied, may succeed later    other refusals ─► not applied, won't succeed
//!        refusals that are not the API server's ─► silence
//! read:  200 ─► the object    404 of the object ─► none    429, 5xx, no answer ─► may succeed later
//!        any refusal ─► won't succeed
//! ```
//!
//! Only the API server's own 404, about this very object, says that an object does not exist. A proxy's does not, nor
//! does one about the resource or the namespace. A proxy that refuses a write may have sent it on before.

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

use std::time::Duration;

use http::HeaderMap;
use serde::Deserialize;

use super::resource::{GROUP, Resource};
use crate::apiserver::ConnectionError;
use crate::cause::Cause;
use crate::store::StoreError;

/// The most characters of a text from outside that an error quotes.
const MAX_QUOTED: usize = 300;

/// The headers and the body of an answer.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Vec<u8>,
}

/// What became of a request.
pub(super) enum Reply {
    /// It was done. For a read or write of an object, the body is the object.
    Done(Vec<u8>),
    /// There is no such object.
    NotFound,
    /// The object is another one, or exists already.
    Conflict,
    /// The server no longer has the state from which a list or a watch is to continue.
    Expired,
    /// Not applied, and may succeed after this time.
    Later(Cause, Option<Duration>),
    /// It may have been applied.
    Silence(Cause),
    /// Not applied, and won't succeed until somebody corrects what the error names.
    Refused(Problem),
}

/// What somebody has to correct.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "its text says what a variant is and what its fields hold")]
pub(super) enum Problem {
    /// 401.
    #[error("the API server {url} does not accept the credentials of {credentials}; renew them")]
    Unauthorized { url: String, credentials: String },
    /// 403 by RBAC.
    #[error(
        "the API server {url} does not allow kube-ipam to {verb} {resource}.{GROUP} in namespace {namespace}; grant it \
         the rule apiGroups [\"{GROUP}\"], resources [\"{resource}\"], verbs {verbs:?}; the server says: {message}"
    )]
    Forbidden {
        url: String,
        verb: &'static str,
        resource: &'static str,
        namespace: String,
        verbs: &'static [&'static str],
        message: String,
    },
    /// The same of a watch, which no node needs.
    #[error(
        "the API server {url} does not allow a watch of {resource}.{GROUP} in namespace {namespace}; use a kubeconfig \
         with the rule apiGroups [\"{GROUP}\"], resources [\"{resource}\"], verbs [\"list\", \"watch\"]; the server \
         says: {message}"
    )]
    WatchForbidden { url: String, resource: &'static str, namespace: String, message: String },
    /// The same of a status, which only the controller writes.
    #[error(
        "the API server {url} does not allow kube-ipam to write the status of {resource}.{GROUP} in namespace \
         {namespace}; grant the controller's account the rule apiGroups [\"{GROUP}\"], resources \
         [\"{resource}/status\"], verbs [\"patch\"]; the server says: {message}"
    )]
    StatusForbidden { url: String, resource: &'static str, namespace: String, message: String },
    /// 404 of the status of an object that exists.
    #[error(
        "the resource {resource}.{GROUP} in the cluster of {url} has no status; apply kube-ipam's \
         CustomResourceDefinitions of this version"
    )]
    NoStatus { url: String, resource: &'static str },
    /// A webhook or policy denied it.
    #[error(
        "an admission check of the cluster refuses to {verb} {resource} {name}: {message}; let kube-ipam's objects in \
         namespace {namespace} pass"
    )]
    Admission { verb: &'static str, resource: &'static str, name: String, namespace: String, message: String },
    /// The namespace is being deleted.
    #[error("namespace {namespace} is being deleted, and kube-ipam's objects with it; let it be, or restore them")]
    Terminating { namespace: String },
    /// 404 of the namespace.
    #[error("there is no namespace {namespace} in the cluster of {url}; kube-ipam keeps its objects in it: create it")]
    NoNamespace { url: String, namespace: String },
    /// 404 of the resource.
    #[error("the cluster of {url} has no resource {resource}.{GROUP}; install kube-ipam's CustomResourceDefinitions")]
    NotInstalled { url: String, resource: &'static str },
    /// The answer of something else, such as a proxy.
    #[error("{url} answers status {status} about {resource}, and not in the API server's words; is it a proxy?")]
    NotTheServer { url: String, resource: &'static str, status: u16 },
    /// 400, 413, 422.
    #[error(
        "the API server {url} rejects {resource} {name} with status {status}: {message}; are kube-ipam's \
         CustomResourceDefinitions of its own version?"
    )]
    Rejected { url: String, resource: &'static str, name: String, status: u16, message: String },
    /// Any other status.
    #[error("the API server {url} answers with status {status} about {resource}: {message}")]
    Other { url: String, resource: &'static str, status: u16, message: String },
    /// The kubeconfig, or the server's certificate.
    #[error(transparent)]
    Connection(ConnectionError),
}

/// What a request was about, and to whom it was sent.
pub(super) struct Asked<'a> {
    pub(super) url: &'a str,
    pub(super) credentials: String,
    pub(super) namespace: &'a str,
    pub(super) resource: &'static Resource,
    /// The object; empty for a list.
    pub(super) name: &'a str,
    /// As in an RBAC rule.
    pub(super) verb: &'static str,
    /// All verbs that whoever sends it needs.
    pub(super) verbs: &'static [&'static str],
}

/// A Status object (Kubernetes API conventions, "Response Status Kind").
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    kind: String,
    message: String,
    reason: String,
    details: Details,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    group: String,
    kind: String,
    name: String,
}

impl Asked<'_> {
    fn writes(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch")
    }

    /// The meaning of an answer.
    pub(super) fn reply(&self, response: Response) -> Reply {
        let Response { status: code, retry_after, body } = response;
        if (200..300).contains(&code) {
            return Reply::Done(body);
        }
        let status: Status = serde_json::from_slice(&body).unwrap_or_default();
        let message = quoted(message(&status, &body).unwrap_or("no reason given"));
        let (url, namespace) = (self.url.to_owned(), self.namespace.to_owned());
        let resource = self.resource.plural;
        let (name, verb) = (self.name.to_owned(), self.verb);
        match code {
            404 if status.is_about(self) => Reply::NotFound,
            409 if self.writes() => Reply::Conflict,
            410 => Reply::Expired,
            429 => {
                let cause = Cause::new(format!("the API server {url} is too busy for kube-ipam's requests: {message}"));
                Reply::Later(cause, retry_after)
            }
            500.. => {
                let cause = Cause::new(format!("the API server {url} failed with status {code}: {message}"));
                if self.writes() { Reply::Silence(cause) } else { Reply::Later(cause, retry_after) }
            }
            _ if !is_the_servers(&status, &body) => {
                let problem = Problem::NotTheServer { url, resource, status: code };
                if self.writes() { Reply::Silence(Cause::new(problem)) } else { Reply::Refused(problem) }
            }
            401 => Reply::Refused(Problem::Unauthorized { url, credentials: self.credentials.clone() }),
            403 if message.contains("is being terminated") => Reply::Refused(Problem::Terminating { namespace }),
            403 if message.contains("User \"") && message.contains(" cannot ") => Reply::Refused(match verb {
                "watch" => Problem::WatchForbidden { url, resource, namespace, message },
                // Only a status is patched.
                "patch" => Problem::StatusForbidden { url, resource, namespace, message },
                _ => Problem::Forbidden { url, verb, resource, namespace, verbs: self.verbs, message },
            }),
            _ if is_of_admission(&message) || (code == 403 && self.writes()) => {
                Reply::Refused(Problem::Admission { verb, resource, name, namespace, message })
            }
            404 if status.details.kind == "namespaces" => Reply::Refused(Problem::NoNamespace { url, namespace }),
            404 => Reply::Refused(Problem::NotInstalled { url, resource }),
            400 | 413 | 422 => Reply::Refused(Problem::Rejected { url, resource, name, status: code, message }),
            _ => Reply::Refused(Problem::Other { url, resource, status: code, message }),
        }
    }

    /// The meaning of no answer.
    pub(super) fn no_reply(&self, error: ConnectionError) -> Reply {
        match error {
            ConnectionError::Kubeconfig { .. }
            | ConnectionError::ServiceAccount { .. }
            | ConnectionError::Untrusted { .. } => Reply::Refused(Problem::Connection(error)),
            ConnectionError::NotConnected { .. } => Reply::Later(Cause::new(error), None),
            ConnectionError::Lost { .. } | ConnectionError::TimedOut { .. } | ConnectionError::TooLarge { .. } => {
                if self.writes() {
                    Reply::Silence(Cause::new(error))
                } else {
                    Reply::Later(Cause::new(error), None)
                }
            }
        }
    }
}

impl Status {
    /// Whether the API server says that this object does not exist.
    fn is_about(&self, asked: &Asked<'_>) -> bool {
        let Details { group, kind, name } = &self.details;
        self.kind == "Status"
            && self.reason == "NotFound"
            && (group.as_str(), kind.as_str(), name.as_str()) == (GROUP, asked.resource.plural, asked.name)
    }
}

/// What the server says: the message of its Status, or a plain text. A proxy's page is none.
fn message<'a>(status: &'a Status, body: &'a [u8]) -> Option<&'a str> {
    let is_text = |text: &&str| !text.trim().is_empty() && !text.trim_start().starts_with(['<', '{']);
    match status.message.as_str() {
        "" => std::str::from_utf8(body).ok().filter(is_text),
        message => Some(message),
    }
}

/// Whether an answer that refuses a request is the API server's own. It answers a path that it does not serve by plain
/// text, as when the definition of a resource is not installed.
fn is_the_servers(status: &Status, body: &[u8]) -> bool {
    status.kind == "Status" || body.starts_with(b"404 page not found")
}

/// Whether a message comes from an admission check. A webhook or policy chooses its status itself.
fn is_of_admission(message: &str) -> bool {
    message.starts_with("admission webhook") || message.contains("ValidatingAdmissionPolicy")
}

impl From<Problem> for StoreError {
    fn from(problem: Problem) -> Self {
        Self::Denied(Cause::new(problem))
    }
}

/// The seconds of a `Retry-After` header.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// Whether an answer is the API server's own 404.
pub(super) fn is_missing(response: &Response) -> bool {
    let status: Status = serde_json::from_slice(&response.body).unwrap_or_default();
    response.status == 404 && is_the_servers(&status, &response.body)
}

/// What the server says in an answer that refuses a request.
pub(super) fn message_of(response: &Response) -> String {
    let status: Status = serde_json::from_slice(&response.body).unwrap_or_default();
    quoted(message(&status, &response.body).unwrap_or("no reason given"))
}

/// The problem of an answer that nobody expects.
pub(super) fn other(url: &str, resource: &'static str, response: &Response) -> Problem {
    Problem::Other { url: url.to_owned(), resource, status: response.status, message: message_of(response) }
}

/// A text from outside, as one line of limited length.
fn quoted(text: &str) -> String {
    let line = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = line.take(MAX_QUOTED).collect();
    if short.len() < text.trim().len() {
        short.push('…');
    }
    short
}
