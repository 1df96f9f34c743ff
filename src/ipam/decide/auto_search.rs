//! Selects any address of a range set: a free one, or, if there is none, one whose holder is gone.

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

#[derive(Clone, Debug)]
pub(super) struct AutoSearch {
    search: FreeSearch,
    /// Draws the holders to check. It differs in each attempt, so that every holder gets its turn.
    random: SplitMix64,
    /// Set once no address is free.
    reclaim: Option<Reclaim>,
}

impl AutoSearch {
    pub(super) fn new(search: FreeSearch, random: SplitMix64) -> Self {
        Self { search, random, reclaim: None }
    }

    pub(super) fn may_assign(&self, ip: IpAddr) -> bool {
        self.search.may_assign(ip)
    }

    pub(super) fn lacks_room(&self) -> bool {
        self.reclaim.is_some()
    }

    /// Starts over, because an address was released.
    pub(super) fn restart(&mut self) {
        self.search.restart();
        self.reclaim = None;
    }

    /// The addresses to try in one request, each if those before it are held.
    pub(super) fn candidates(&self) -> Box<dyn Iterator<Item = &Candidate> + '_> {
        match &self.reclaim {
            None => Box::new(self.search.candidates()),
            Some(reclaim) => Box::new(reclaim.candidate().into_iter()),
        }
    }

    pub(super) fn holder_check(&self) -> Option<&HolderCheck> {
        self.reclaim.as_ref()?.holder_check()
    }

    /// The refusal, if nothing is left to try.
    pub(super) fn refusal(&self, set: String) -> Option<Refusal> {
        self.reclaim.as_ref().filter(|reclaim| reclaim.is_exhausted()).map(|_| self.unchecked_refusal(set))
    }

    /// The refusal while a holder is still to be checked.
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
                    self.reclaim = Some(Reclaim::new(self.search.take_held_leases(), context, self.random.clone()));
                }
            }
        }
    }

    pub(super) fn recheck(&mut self, own: &Holder, checks: &HolderChecks) {
        self.reclaim.iter_mut().for_each(|reclaim| reclaim.recheck(own, checks));
    }

    pub(super) fn refuse(&mut self, ip: IpAddr, refusal: &Refusal) {
        self.search.pass_over(ip, refusal);
        self.reclaim.iter_mut().for_each(|reclaim| reclaim.refuse(ip, refusal));
    }

    pub(super) fn drop_delayed(&mut self, now: Timestamp) {
        self.reclaim.iter_mut().for_each(|reclaim| reclaim.drop_delayed(now));
    }

    pub(super) fn take_amendments(&mut self) -> Vec<Amendment> {
        let observed = self.reclaim.iter_mut().flat_map(Reclaim::take_amendments);
        observed.chain(self.search.take_amendments()).collect()
    }
}
