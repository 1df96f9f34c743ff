//! Compares two reports of two times: what is freed, and whether anything is.

use std::collections::BTreeMap;

use super::leaks::{LeakReport, Tally};
use super::{LeakCandidate, LeakReason, OwnerLookup, OwnerRef, SkipReason, Target, Verdict};
use crate::ipam::reservation::Owner;

/// So many addresses are freed whatever their share: of three held addresses, one is already a third.
pub const ALWAYS_FREED: usize = 20;

/// What a sweep frees.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What is freed, each with its reason ([`Verdict::Leaked`]); nothing of it if the sweep is
    /// [`stopped`](Self::stopped).
    pub confirmed: Vec<LeakCandidate>,
    /// What stays, each with its reason ([`Verdict::Skipped`]).
    pub skipped: Vec<LeakCandidate>,
    /// The number of addresses that were read.
    pub tally: Tally,
    /// Why nothing is freed.
    pub stopped: Option<Stopped>,
}

/// Too many addresses would be freed.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "nothing was freed: {confirmed} of {held} held addresses would be freed, more than the allowed share of {share} \
     (sweep.maxShare, --max-share); check that the API server is the one that runs these pods, then look at --dry-run"
)]
pub struct Stopped {
    /// The addresses that would be freed, including those that only the list nominates.
    pub confirmed: usize,
    /// All held addresses.
    pub held: usize,
    /// The share that may be freed at once.
    pub share: f64,
}

impl LeakReport {
    /// Confirms what this report and a later one agree on, and stops if more than this share of the held addresses and
    /// more than [`ALWAYS_FREED`] would be freed.
    ///
    /// What only the store and the node's own records show ([`super::LeakReason::EarlierBoot`], fences) does not count,
    /// because no list can be wrong about it. Reserved addresses count after their owners were checked
    /// ([`Plan::keep`]).
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

    /// Whether this report has the same candidate at the same revision with the same verdict.
    fn shows(&self, target: &Target, later: &LeakCandidate) -> bool {
        let earlier = self.candidates.get(target);
        earlier.is_some_and(|candidate| candidate.revision == later.revision && candidate.verdict == later.verdict)
    }
}

impl Plan {
    /// Looks up the owner of each reserved address, each object once. An address whose owner exists stays, and is not
    /// reported.
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

    /// Whether too large a share of the held addresses would be freed for reasons that count.
    fn beyond(&self, max_share: f64, counts: impl Fn(&LeakReason) -> bool) -> Option<Stopped> {
        let counts = |candidate: &&LeakCandidate| match (&candidate.target, &candidate.verdict) {
            // Nobody holds it, and no list says so.
            (_, Verdict::Leaked(LeakReason::ForeignNoLonger | LeakReason::ManualExpired)) => false,
            (Target::Address { .. } | Target::Share { .. }, Verdict::Leaked(why)) => counts(why),
            _ => false,
        };
        let (held, confirmed) = (self.tally.held, self.confirmed.iter().filter(counts).count());
        #[allow(clippy::cast_precision_loss, reason = "a share needs no more")]
        let too_many = confirmed > ALWAYS_FREED && confirmed as f64 > max_share * held as f64;
        too_many.then_some(Stopped { confirmed, held, share: max_share })
    }
}
