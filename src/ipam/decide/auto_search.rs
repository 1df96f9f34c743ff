//! Any address of a range set: a free one, or, where there is none, one whose holder is gone.

use std::net::IpAddr;

use jiff::Timestamp;

use super::amend::Amendment;
use super::candidate::Candidate;
use super::free_search::FreeSearch;
use super::reads::{Answers, Reads};
use super::reclaim::Reclaim;
use super::slot::SlotReads;
use super::specific_address::{DecisionContext, HolderCheck};
use crate::ipam::lease::Holder;
use crate::ipam::refusal::Refusal;
use crate::ipam::seed::SplitMix64;
use crate::ipam::takeover::HolderChecks;

/// The search for any address.
#[derive(Clone, Debug)]
pub(super) struct AutoSearch {
    search: FreeSearch,
    /// What is drawn again in each try: whose holders are asked about.
    chance: SplitMix64,
    /// Once nothing is free.
    reclaim: Option<Reclaim>,
}

impl AutoSearch {
    pub(super) fn new(search: FreeSearch, chance: SplitMix64) -> Self {
        Self { search, chance, reclaim: None }
    }

    /// Whether it may end at this address.
    pub(super) fn may_assign(&self, ip: IpAddr) -> bool {
        self.search.may_assign(ip)
    }

    /// Whether nothing is free.
    pub(super) fn lacks_room(&self) -> bool {
        self.reclaim.is_some()
    }

    /// Begins again, since something was released.
    pub(super) fn begin_again(&mut self) {
        self.search.begin_again();
        self.reclaim = None;
    }

    pub(super) fn candidate(&self, nth: usize) -> Option<&Candidate> {
        match &self.reclaim {
            None => self.search.candidates()[nth],
            Some(reclaim) => reclaim.candidate().filter(|_| nth == 0),
        }
    }

    pub(super) fn holder_check(&self) -> Option<&HolderCheck> {
        self.reclaim.as_ref()?.holder_check()
    }

    /// Why there is nothing to be tried any more, by what it was looked for in.
    pub(super) fn refusal(&self, set: String) -> Option<Refusal> {
        self.reclaim.as_ref().filter(|reclaim| reclaim.is_over()).map(|_| self.unchecked_refusal(set))
    }

    /// The refusal as long as its holder was not checked.
    pub(super) fn unchecked_refusal(&self, set: String) -> Refusal {
        let exhausted = self.search.exhausted(set);
        match &self.reclaim {
            Some(reclaim) => reclaim.refusal(exhausted),
            None => exhausted,
        }
    }

    pub(super) fn reads(&mut self, reads: &mut Reads) -> SlotReads {
        match &mut self.reclaim {
            None => SlotReads::Search(self.search.reads(reads)),
            Some(reclaim) => reclaim.reads(reads).into(),
        }
    }

    pub(super) fn on_response(&mut self, read: SlotReads, answers: Answers<'_>, context: &DecisionContext<'_>) {
        match (&mut self.reclaim, read) {
            (Some(reclaim), SlotReads::Address(read)) => reclaim.on_response(read, answers, context),
            (Some(_), SlotReads::Search(_) | SlotReads::Nothing) => {}
            (None, read) => {
                if let SlotReads::Search(read) = read {
                    self.search.on_response(read, answers, context.now);
                }
                if self.search.is_exhausted() {
                    self.reclaim = Some(Reclaim::of(self.search.take_held(), context, self.chance.clone()));
                }
            }
        }
    }

    /// Decides again about its holders, after a check.
    pub(super) fn recheck(&mut self, own: &Holder, checks: &HolderChecks) {
        self.reclaim.iter_mut().for_each(|reclaim| reclaim.recheck(own, checks));
    }

    /// Gives up an address that was about to pass.
    pub(super) fn refuse(&mut self, ip: IpAddr, refusal: &Refusal) {
        self.reclaim.iter_mut().for_each(|reclaim| reclaim.refuse(ip, refusal));
    }

    /// Parts with what does not pass yet.
    pub(super) fn defer_waiting(&mut self, now: Timestamp) {
        self.reclaim.iter_mut().for_each(|reclaim| reclaim.defer_waiting(now));
    }

    /// What is to be written before it is refused.
    pub(super) fn take_amendments(&mut self) -> Vec<Amendment> {
        let notes = self.reclaim.iter_mut().flat_map(Reclaim::take_notes);
        notes.chain(self.search.take_ahead()).collect()
    }
}
