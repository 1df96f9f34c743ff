//! Two judgements of two times: what goes, and whether anything does.

use std::collections::BTreeMap;

use super::leaks::{LeakReport, Tally};
use super::{LeakCandidate, LeakReason, OwnerLookup, OwnerRef, SkipReason, Target, Verdict};
use crate::ipam::reservation::Owner;

/// As many addresses go whatever their share is: of three that are held, one is a third.
pub const ALWAYS_FREED: usize = 20;

/// What a sweep does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What goes, each with the reason ([`Verdict::Leaked`]); nothing of it if the sweep is [`stopped`](Self::stopped).
    pub confirmed: Vec<LeakCandidate>,
    /// What stays, each with the reason ([`Verdict::Skipped`]).
    pub skipped: Vec<LeakCandidate>,
    /// How much was looked at.
    pub tally: Tally,
    /// Why nothing goes.
    pub stopped: Option<Stopped>,
}

/// Too much would go.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "nothing was freed: {confirmed} of {held} held addresses would be freed, more than the allowed share of {share} \
     (sweep.maxShare, --max-share); check that the API server is the one that runs these pods, then look at --dry-run"
)]
pub struct Stopped {
    /// The addresses that would go, also on no more than the word of a list.
    pub confirmed: usize,
    /// All that are held.
    pub held: usize,
    /// The share that may go at once.
    pub share: f64,
}

impl LeakReport {
    /// What goes by this first report and a second one of a later time, if no more than this share of the held
    /// addresses goes, or no more than [`ALWAYS_FREED`].
    ///
    /// What only the node's own records and the store show ([`super::LeakReason::EarlierBoot`], fences) is not counted: no list
    /// can be wrong about it. What is reserved is counted once its owners were asked about ([`Plan::keep`]).
    pub fn confirm(&self, second: Self, max_share: f64) -> Plan {
        let mut plan = Plan { tally: second.tally, ..Plan::default() };
        for (target, mut candidate) in second.candidates {
            match &candidate.verdict {
                Verdict::Leaked(_) if self.shows(&target, &candidate) => plan.confirmed.push(candidate),
                Verdict::Leaked(_) => {
                    candidate.verdict = Verdict::Skipped(SkipReason::New);
                    plan.skipped.push(candidate);
                }
                Verdict::Skipped(_) => plan.skipped.push(candidate),
            }
        }
        plan.stopped = plan.beyond(max_share, |why| *why != LeakReason::Reserved);
        plan
    }

    /// Whether the same goes by this report as well, and on the same grounds.
    fn shows(&self, target: &Target, later: &LeakCandidate) -> bool {
        let earlier = self.candidates.get(target);
        earlier.is_some_and(|candidate| candidate.revision == later.revision && candidate.verdict == later.verdict)
    }
}

impl Plan {
    /// Takes in what is told of the objects for which addresses are reserved, each of which is asked about once: what is
    /// reserved for one that is there stays, and is nothing to speak of.
    pub fn keep(&mut self, max_share: f64, mut ask: impl FnMut(&Owner) -> OwnerLookup) {
        let mut told: BTreeMap<OwnerRef, OwnerLookup> = BTreeMap::new();
        for mut candidate in std::mem::take(&mut self.confirmed) {
            let owner = candidate.owner.clone().filter(|_| candidate.verdict == Verdict::Leaked(LeakReason::Reserved));
            let Some(owner) = owner else {
                self.confirmed.push(candidate);
                continue;
            };
            match told.entry(OwnerRef::from_owner(&owner)).or_insert_with(|| ask(&owner)).clone() {
                OwnerLookup::Exists => {}
                OwnerLookup::NotFound => self.confirmed.push(candidate),
                OwnerLookup::Unknown(cause) => {
                    candidate.verdict = Verdict::Skipped(SkipReason::OwnerUnknown { owner: Box::new(owner), cause });
                    self.skipped.push(candidate);
                }
            }
        }
        self.stopped = self.beyond(max_share, |_| true);
    }

    /// Whether too large a share of what is held would go, of what goes for such reasons.
    fn beyond(&self, max_share: f64, counts: impl Fn(&LeakReason) -> bool) -> Option<Stopped> {
        let counts = |candidate: &&LeakCandidate| match (&candidate.target, &candidate.verdict) {
            // Nobody holds it, and no list says so.
            (_, Verdict::Leaked(LeakReason::ForeignNoLonger)) => false,
            (Target::Address { .. } | Target::Share { .. }, Verdict::Leaked(why)) => counts(why),
            _ => false,
        };
        let (held, confirmed) = (self.tally.held, self.confirmed.iter().filter(counts).count());
        // Numbers of addresses that were read one by one are far below 2^52.
        #[allow(clippy::cast_precision_loss, reason = "a share needs no more")]
        let too_many = confirmed > ALWAYS_FREED && confirmed as f64 > max_share * held as f64;
        too_many.then_some(Stopped { confirmed, held, share: max_share })
    }
}
