//! The cause of an error. It stays an error and becomes text only where it is displayed.
//!
//! ```text
//! rustls, io, kube, … ─► Cause ─► #[source] of a typed error ─► … ─► error::Error, CliError ─► Chain ─► reply, log
//! ```
//!
//! The text of an error does not repeat its cause. [`chain`] joins both, and alone decides how much of a chain is
//! displayed.

use std::error::Error;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io;
use std::iter::successors;
use std::sync::Arc;

/// An error that caused another one. It is shared, because one result may answer several requests.
#[derive(Clone, Debug)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

impl Cause {
    /// Wraps an error, or creates one from a text.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::from(error.into()))
    }

    /// Adds what was attempted when it happened.
    #[must_use]
    pub fn context(self, attempt: impl Into<String>) -> Self {
        Self(Arc::new(Attempt { attempt: attempt.into(), cause: self }))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// Causes are equal if their texts are.
impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        chain(self).to_string() == chain(other).to_string()
    }
}

impl Eq for Cause {}

impl Hash for Cause {
    fn hash<H: Hasher>(&self, state: &mut H) {
        chain(self).to_string().hash(state);
    }
}

/// A failed attempt, whose cause does not mention what was attempted.
#[derive(Debug, thiserror::Error)]
#[error("{attempt}")]
struct Attempt {
    attempt: String,
    #[source]
    cause: Cause,
}

/// The text of an error with all its causes.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> Chain<'a> {
    Chain(error)
}

/// See [`chain`].
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = String::new();
        for error in causes(self.0) {
            let text = own_text(error);
            // Skip a text that repeats its cause, and that of a client's layer, which only says that it failed.
            if said.contains(&text) || (is_layer(&text) && next(error).is_some()) {
                continue;
            }
            f.write_str(if said.is_empty() { "" } else { ": " })?;
            f.write_str(&text)?;
            said = text;
        }
        Ok(())
    }
}

/// An error and its causes, the root cause last.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(kept(error)), |error| next(*error))
}

/// The next cause. `io::Error::source` skips the error that it wraps, so `get_ref` is needed.
fn next<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| error.source()).map(kept)
}

/// The wrapped error, if this is a [`Cause`].
fn kept<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    error.downcast_ref::<Cause>().map_or(error, |Cause(kept)| kept.as_ref())
}

/// The text of an error without its causes. A gRPC status displays all its fields, of which only the message is useful.
fn own_text(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref::<tonic::Status>() {
        Some(status) => status.message().to_owned(),
        None => error.to_string(),
    }
}

/// Whether a text comes from a layer of kube's or hyper's client.
fn is_layer(text: &str) -> bool {
    text.starts_with("ServiceError: ") || text.starts_with("client error (")
}

/// Finds an error of a type in a chain.
pub fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    causes(error).find_map(|error| error.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the store does not answer")]
    struct Outer(#[source] Cause);

    #[test]
    fn a_chain_says_each_error_once_and_skips_what_only_says_that_it_failed() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let wrapped = || io::Error::other(refused());
        let cases: [(Cause, &str); 5] = [
            (Cause::new(refused()), "the store does not answer: connection refused"),
            (Cause::new(wrapped()), "the store does not answer: connection refused"),
            (Cause::new("its disk hangs"), "the store does not answer: its disk hangs"),
            (Cause::new(refused()).context("dialing"), "the store does not answer: dialing: connection refused"),
            (
                Cause::new(refused()).context("ServiceError: client error (Connect)"),
                "the store does not answer: connection refused",
            ),
        ];
        for (cause, expected) in cases {
            assert_eq!(chain(&Outer(cause)).to_string(), expected);
        }
    }

    #[test]
    fn a_cause_is_found_below_what_keeps_it() {
        let outer = Outer(Cause::new(io::Error::from(io::ErrorKind::TimedOut)).context("dialing"));
        assert_eq!(find::<io::Error>(&outer).map(io::Error::kind), Some(io::ErrorKind::TimedOut));
    }
}
