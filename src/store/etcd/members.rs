//! What each member did with the requests of this process: the order in which they are asked, and the text of the error at
//! the end.

use super::failure::MemberFailure;

/// How many different things a member is quoted with; after these only what it said last.
const MAX_QUOTES: usize = 3;

/// The members that failed since they last served a request. A server that refuses a certificate, say, does so in one way
/// now and another then, so that more than one text of each is kept.
#[derive(Default)]
pub(super) struct MemberErrors(Vec<MemberError>);

struct MemberError {
    url: String,
    messages: Vec<String>,
    rank: Rank,
}

/// Orders the members, the best first: a failure that costs a share of the time, or leaves a request in doubt, is worse than
/// one that comes at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Failures that are as bad as silence, since the last success.
    pub(super) silences: u32,
    /// All failures since the last success.
    pub(super) failures: u32,
}

impl MemberErrors {
    pub(super) fn record_failure(&mut self, url: &str, failure: &MemberFailure) {
        let known = self.0.iter().position(|error| error.url == url);
        let index = known.unwrap_or_else(|| {
            self.0.push(MemberError { url: url.to_owned(), messages: Vec::new(), rank: Rank::default() });
            self.0.len() - 1
        });
        let Some(error) = self.0.get_mut(index) else { return };
        let message = failure.to_string();
        error.messages.retain(|quote| *quote != message);
        error.messages.truncate(MAX_QUOTES - 1);
        error.messages.push(message);
        error.rank.failures = error.rank.failures.saturating_add(1);
        error.rank.silences = error.rank.silences.saturating_add(failure.is_silence().into());
    }

    /// Forgets the failures of a member that served a request.
    pub(super) fn record_success(&mut self, url: &str) {
        self.0.retain(|error| error.url != url);
    }

    /// The rank of a member; the best one if it did not fail.
    pub(super) fn rank(&self, url: &str) -> Rank {
        self.0.iter().find(|error| error.url == url).map_or_else(Rank::default, |error| error.rank)
    }

    /// The text of an error after a request was not served.
    pub(super) fn text(&self) -> String {
        if self.0.is_empty() {
            return "no time was left to ask etcd".to_owned();
        }
        let texts: Vec<String> =
            self.0.iter().map(|error| format!("{}: {}", error.url, error.messages.join(", then "))).collect();
        format!("no member of etcd served the request ({})", texts.join("; "))
    }
}
