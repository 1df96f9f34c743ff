//! Merges what the sources say: each holding appears once.

use jiff::Timestamp;

use super::leases::Replay;
use super::{EarlierHolders, FormerHolder, Gap, Holding, LoggedCall, calls};
use crate::store::KeyHistory;

/// What the sources say about one address.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The lease, the latest change first.
    pub lease: KeyHistory,
    /// From attachments that lost the address.
    pub lost: Vec<Holding>,
    /// The lines of the log.
    pub calls: Vec<LoggedCall>,
    /// What was not read.
    pub gaps: Vec<Gap>,
}

/// The earlier holders of the address, the latest first.
pub fn merge(evidence: Evidence) -> EarlierHolders {
    let Evidence { lease: KeyHistory { changes, end }, lost, calls, gaps: unread } = evidence;
    let Replay { ended, present, gaps: unreadable, .. } = Replay::of(&changes);
    // The store is the most exact source: its times are those of the decision.
    let mut merged: Vec<Ranked> = Vec::new();
    for source in [ended, lost, calls::holdings(calls)] {
        for ranked in rank(source) {
            let is_present = ranked.holding.until.is_none()
                && ranked.holding.end.is_none()
                && present.iter().any(|holding| holding.has_holder_of(&ranked.holding));
            match best_match(&merged, &ranked.holding) {
                Some(index) => merged[index].absorb(ranked.holding),
                None if is_present => {}
                None => merged.push(ranked),
            }
        }
    }
    merged.sort_by_key(|ranked| std::cmp::Reverse(ranked.order));
    let holdings = merged.into_iter().map(|ranked| ranked.holding).collect();
    let gaps = Gap::from_end(end).into_iter().chain(unreadable).chain(unread).collect();
    EarlierHolders { holdings, gaps }
}

/// A holding and its place in the order of time.
struct Ranked {
    order: Timestamp,
    holding: Holding,
}

impl Ranked {
    fn absorb(&mut self, other: Holding) {
        let was_open = self.holding.until.is_none();
        self.holding.absorb(other);
        if was_open {
            self.order = self.holding.until.unwrap_or(self.order);
        }
    }
}

/// The holdings of a source, given the earliest first, the latest first. One without a time comes before the next one of
/// its source. So does one whose clock was ahead.
fn rank(holdings: Vec<Holding>) -> Vec<Ranked> {
    let mut order = Timestamp::MAX;
    let ranked = holdings.into_iter().rev().map(|holding| {
        order = holding.until.or(holding.from).unwrap_or(order).min(order);
        Ranked { order, holding }
    });
    ranked.collect()
}

/// The holding that is the same one: of the same attachment, and at a time that does not exclude it. Of several, the
/// nearest.
fn best_match(merged: &[Ranked], holding: &Holding) -> Option<usize> {
    let same = merged.iter().enumerate().filter(|(_, known)| known.holding.may_be(holding));
    same.min_by_key(|(_, known)| known.holding.distance(holding)).map(|(index, _)| index)
}

impl Holding {
    /// Whether both have one holder. A node may have been renamed meanwhile, so its name does not count.
    fn has_holder_of(&self, other: &Self) -> bool {
        match (&self.holder, &other.holder) {
            (FormerHolder::Attachment(a, _), FormerHolder::Attachment(b, _)) => {
                (&a.container, &a.ifname, &a.network) == (&b.container, &b.ifname, &b.network)
            }
            (a, b) => a == b,
        }
    }

    fn may_be(&self, other: &Self) -> bool {
        let is_before = |one: &Self, other: &Self| {
            let Some(from) = other.from else { return false };
            one.until.is_some_and(|until| until < from) || one.over_by.is_some_and(|over_by| over_by <= from)
        };
        self.has_holder_of(other) && !is_before(self, other) && !is_before(other, self)
    }

    /// How far apart both are, in milliseconds.
    fn distance(&self, other: &Self) -> i64 {
        let between = |a: Option<Timestamp>, b: Option<Timestamp>| {
            a.zip(b).map(|(a, b)| a.as_millisecond().saturating_sub(b.as_millisecond()).saturating_abs())
        };
        between(self.from, other.from).or_else(|| between(self.until, other.until)).unwrap_or(i64::MAX)
    }

    /// Adds what another source knows of the same holding.
    fn absorb(&mut self, other: Self) {
        self.from = self.from.or(other.from);
        self.until = self.until.or(other.until);
        self.over_by = self.over_by.or(other.over_by).filter(|_| self.until.is_none());
        self.kind = self.kind.or(other.kind);
        self.selected = self.selected.take().or(other.selected);
        self.end = self.end.or(other.end);
        if let (FormerHolder::Attachment(_, pod), FormerHolder::Attachment(_, named)) = (&mut self.holder, other.holder)
            && pod.is_unnamed()
        {
            *pod = named;
        }
        self.sources.extend(other.sources);
        self.sources.sort_by(|one, other| one.sort_key().cmp(&other.sort_key()));
        self.sources.dedup();
    }
}
