//! Selects one address of a pool.
//!
//! ```text
//!  Free ─► any free address; if there is none,
//!  TakingOver ─► one that the search found held: by an earlier sandbox of the pod, or by a holder that is gone
//! ```

use std::collections::VecDeque;
use std::net::IpAddr;

use super::amend::Amendment;
use super::candidate::Candidate;
use super::free_search::FreeSearch;
use super::lease_survey::FoundLease;
use super::reads::{Answers, Reads};
use super::reclaim::MAX_HOLDER_CHECKS;
use super::slot::SlotReads;
use super::specific_address::{DecisionContext, HolderCheck, SpecificAddress};
use crate::ipam::address::Spans;
use crate::ipam::lease::Holder;
use crate::ipam::name::Name;
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::Owner;
use crate::ipam::seed::SplitMix64;
use crate::ipam::takeover::HolderChecks;

#[derive(Clone, Debug)]
enum Stage {
    Free,
    TakingOver(VecDeque<SpecificAddress>),
}

#[derive(Clone, Debug)]
pub(super) struct PoolSearch {
    /// The pool's name in a refusal.
    what: String,
    spans: Spans,
    search: FreeSearch,
    /// Selects the holders to check. Its seed differs in each attempt, so that every holder gets its turn.
    random: SplitMix64,
    stage: Stage,
    /// Why the last take-over failed.
    last_refusal: Option<Refusal>,
    /// Corrections of leases with a time in the future, to be written before the refusal.
    amendments: Vec<Amendment>,
}

impl PoolSearch {
    /// `search` finds the free addresses of `spans`.
    pub(super) fn new(what: String, spans: Spans, search: FreeSearch, random: SplitMix64) -> Self {
        Self { what, spans, search, random, stage: Stage::Free, last_refusal: None, amendments: Vec::new() }
    }

    pub(super) fn may_assign(&self, ip: IpAddr) -> bool {
        self.spans.contains(ip)
    }

    /// The addresses to try in one request, each if those before it are held.
    pub(super) fn candidates(&self) -> Box<dyn Iterator<Item = &Candidate> + '_> {
        match &self.stage {
            Stage::Free => Box::new(self.search.candidates()),
            Stage::TakingOver(addresses) => {
                Box::new(addresses.front().and_then(SpecificAddress::candidate).into_iter())
            }
        }
    }

    pub(super) fn holder_check(&self) -> Option<&HolderCheck> {
        match &self.stage {
            Stage::TakingOver(addresses) => addresses.front()?.holder_check(),
            _ => None,
        }
    }

    pub(super) fn owner_to_check(&self) -> Option<&Owner> {
        match &self.stage {
            Stage::TakingOver(addresses) => addresses.front()?.owner_to_check(),
            _ => None,
        }
    }

    pub(super) fn exhausted(&self) -> Option<Refusal> {
        let exhausted = matches!(&self.stage, Stage::TakingOver(addresses) if addresses.is_empty());
        exhausted.then(|| self.last_refusal.clone().unwrap_or_else(|| self.search.exhausted(self.what.clone())))
    }

    pub(super) fn reads(&mut self, vrf: &Name, reads: &mut Reads) -> SlotReads {
        match &mut self.stage {
            Stage::Free => SlotReads::Search(self.search.reads(reads)),
            Stage::TakingOver(addresses) => addresses.front_mut().map(|address| address.reads(vrf, reads)).into(),
        }
    }

    pub(super) fn on_response(&mut self, read: SlotReads, answers: Answers<'_>, context: &DecisionContext<'_>) {
        match &mut self.stage {
            Stage::Free => {
                if let SlotReads::Search(read) = read {
                    self.search.on_response(read, answers, context.now);
                }
                if self.search.is_exhausted() {
                    let (addresses, amendments) =
                        takeover_candidates(self.search.take_held_leases(), context, &mut self.random);
                    (self.stage, self.amendments) = (Stage::TakingOver(addresses), amendments);
                }
            }
            Stage::TakingOver(addresses) => {
                if let (Some(address), SlotReads::Address(read)) = (addresses.front_mut(), read) {
                    address.on_response(read, answers, context);
                }
                addresses.retain(|address| address.refusal().is_none());
            }
        }
    }

    /// Drops a candidate and continues with the others.
    pub(super) fn refuse(&mut self, ip: IpAddr, refusal: &Refusal) {
        match &mut self.stage {
            Stage::TakingOver(addresses) => addresses.retain(|address| address.ip() != ip),
            Stage::Free if self.search.pass_over(ip, refusal) => {}
            Stage::Free => return,
        }
        self.last_refusal = Some(refusal.clone());
    }

    pub(super) fn take_amendments(&mut self) -> Vec<Amendment> {
        std::mem::take(&mut self.amendments)
    }

    pub(super) fn recheck(&mut self, own: &Holder, checks: &HolderChecks) {
        if let Stage::TakingOver(addresses) = &mut self.stage {
            addresses.iter_mut().for_each(|address| address.recheck(own, checks));
            addresses.retain(|address| address.refusal().is_none());
        }
    }
}

/// The addresses that may be taken over: first those that need no check, such as those of the pod's own earlier
/// sandboxes, then some random ones. They differ in each attempt, so that every holder of a long list gets its turn.
/// Also returns the corrections of all leases with a time in the future.
fn takeover_candidates(
    found: Vec<FoundLease>,
    context: &DecisionContext<'_>,
    random: &mut SplitMix64,
) -> (VecDeque<SpecificAddress>, Vec<Amendment>) {
    let mut addresses: Vec<SpecificAddress> =
        found.into_iter().map(|found| SpecificAddress::from_lease(found, context)).collect();
    let amendments = addresses.iter_mut().filter_map(SpecificAddress::take_amendment).collect();
    addresses.retain(|address| address.refusal().is_none());
    random.shuffle(&mut addresses);
    addresses.sort_by_key(|address| (!address.is_from_an_earlier_sandbox(), address.holder_check().is_some()));
    addresses.truncate(MAX_HOLDER_CHECKS);
    (addresses.into(), amendments)
}
