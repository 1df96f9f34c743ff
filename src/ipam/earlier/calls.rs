//! The holdings that the log of one node shows.

use std::path::PathBuf;

use jiff::Timestamp;

use super::{FormerHolder, Holding, HoldingEnd, Source};
use crate::ipam::lease::{PodRef, describe};
use crate::ipam::name::AttachmentId;

/// A line of the log about one address.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedCall {
    /// The file.
    pub file: PathBuf,
    /// The time of the line, at the end of the call.
    pub time: Timestamp,
    /// The attachment that got or lost the address.
    pub id: AttachmentId,
    /// Its pod.
    pub pod: PodRef,
    /// What happened.
    pub what: Logged,
}

/// What a line says of the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Logged {
    /// An ADD assigned it.
    Added {
        /// How it was selected.
        source: Option<String>,
        /// The attachment had it already.
        repeated: bool,
        /// The holder from which it was taken over, as the line describes it, and the reason.
        taken_from: Option<String>,
    },
    /// The attachment released it.
    Released,
    /// A sweep or the operator freed it.
    Freed,
}

/// The holdings, the earliest first. The last ones may not be over.
pub(super) fn holdings(mut calls: Vec<LoggedCall>) -> Vec<Holding> {
    // Two lines of one millisecond are in the order of the file.
    calls.sort_by_key(|call| call.time);
    let mut holdings: Vec<Holding> = Vec::new();
    for call in calls {
        let open = holdings.iter().rposition(|holding| holding.until.is_none() && holding.is_of_attachment(&call.id));
        match (open.and_then(|index| holdings.get_mut(index)), &call.what) {
            (Some(holding), Logged::Added { .. }) => holding.add_source(call.file),
            (None, Logged::Added { source, repeated, taken_from }) => {
                let victim = holdings.iter_mut().rev().find(|holding| {
                    holding.until.is_none() && taken_from.as_ref().is_some_and(|text| holding.is_described(text))
                });
                if let Some(victim) = victim {
                    (victim.until, victim.end) = (Some(call.time), Some(HoldingEnd::TakenOver));
                }
                let selected = source.clone().filter(|_| !repeated);
                let from = Some(call.time).filter(|_| !repeated);
                holdings.push(Holding { from, selected, ..call.holding() });
            }
            (Some(holding), Logged::Released | Logged::Freed) => {
                (holding.until, holding.end) = (Some(call.time), call.what.end());
                holding.add_source(call.file);
            }
            (None, Logged::Released | Logged::Freed) => {
                holdings.push(Holding { until: Some(call.time), end: call.what.end(), ..call.holding() });
            }
        }
    }
    holdings
}

impl Logged {
    fn end(&self) -> Option<HoldingEnd> {
        match self {
            Self::Added { .. } => None,
            Self::Released => Some(HoldingEnd::Released),
            Self::Freed => Some(HoldingEnd::Freed),
        }
    }
}

impl LoggedCall {
    /// A holding of which nothing is known but its holder.
    fn holding(&self) -> Holding {
        Holding {
            holder: FormerHolder::Attachment(self.id.clone(), self.pod.clone()),
            from: None,
            until: None,
            over_by: None,
            kind: None,
            selected: None,
            end: None,
            sources: vec![Source::Log(self.file.clone())],
        }
    }
}

impl Holding {
    fn is_of_attachment(&self, id: &AttachmentId) -> bool {
        matches!(&self.holder, FormerHolder::Attachment(own, _) if own == id)
    }

    /// Whether a text begins with the description of its holder.
    fn is_described(&self, text: &str) -> bool {
        let FormerHolder::Attachment(id, pod) = &self.holder else { return false };
        text.strip_prefix(&describe(id, pod)).is_some_and(|rest| rest.starts_with(", "))
    }

    fn add_source(&mut self, file: PathBuf) {
        let source = Source::Log(file);
        if !self.sources.contains(&source) {
            self.sources.push(source);
        }
    }
}
