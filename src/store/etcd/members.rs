//! Records how each member responded to this process: it determines the order of the members and the text of the final
//! error.

use super::failure::MemberFailure;

/// How many different errors of a member are quoted. After that, only its last one is added.
const MAX_QUOTES: usize = 3;

/// The members that have failed since their last success. One cause may produce varying errors, such as a refused
/// certificate, so several texts of each member are kept.
#[derive(Default)]
pub(super) struct MemberErrors(Vec<MemberError>);

struct MemberError {
    url: String,
    messages: Vec<String>,
    rank: Rank,
}

/// Orders the members, the best first. A failure that costs time or leaves a request in doubt is worse than an
/// immediate one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Timeouts and requests in doubt since the last success.
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

    /// The member's rank; the best one if it has not failed.
    pub(super) fn rank(&self, url: &str) -> Rank {
        self.0.iter().find(|error| error.url == url).map_or_else(Rank::default, |error| error.rank)
    }

    /// The text of the error after every member failed.
    pub(super) fn text(&self) -> String {
        if self.0.is_empty() {
            return "no time was left to ask etcd".to_owned();
        }
        let texts: Vec<String> =
            self.0.iter().map(|error| format!("{}: {}", error.url, error.messages.join(", then "))).collect();
        format!("no member of etcd served the request ({})", texts.join("; "))
    }
}
