//! One address of a list.
//!
//! ```text
//!  Free ─► any free one; when there is none,
//!  TakingOver: one whose holder is an earlier sandbox, or is shown gone, of those that the search has met in the end
//! ```

use std::collections::VecDeque;
use std::net::IpAddr;

use super::amend::Amendment;
use super::candidate::Candidate;
use super::free_search::FreeSearch;
use super::lease_survey::FoundLease;
use super::reads::{Answers, Reads};
use super::reclaim::ASKED;
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

/// The search in a list of addresses.
#[derive(Clone, Debug)]
pub(super) struct PoolSearch {
    /// What it is called in a refusal.
    what: String,
    spans: Spans,
    search: FreeSearch,
    /// What is drawn again in each try: whose holders are asked about.
    chance: SplitMix64,
    stage: Stage,
    /// Why the last address that was about to pass did not.
    last_refusal: Option<Refusal>,
    /// What is to be written before it is refused.
    ahead: Vec<Amendment>,
}

impl PoolSearch {
    /// The search in `spans`, of which `search` finds the free ones.
    pub(super) fn new(what: String, spans: Spans, search: FreeSearch, chance: SplitMix64) -> Self {
        Self { what, spans, search, chance, stage: Stage::Free, last_refusal: None, ahead: Vec::new() }
    }

    /// Whether it may end at this address.
    pub(super) fn may_assign(&self, ip: IpAddr) -> bool {
        self.spans.contains(ip)
    }

    pub(super) fn candidate(&self, nth: usize) -> Option<&Candidate> {
        match &self.stage {
            Stage::Free => self.search.candidates()[nth],
            Stage::TakingOver(addresses) => addresses.front()?.candidate().filter(|_| nth == 0),
        }
    }

    pub(super) fn holder_check(&self) -> Option<&HolderCheck> {
        match &self.stage {
            Stage::TakingOver(addresses) => addresses.front()?.holder_check(),
            _ => None,
        }
    }

    /// The owner of which the pod has to be, to have the address that is tried now.
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
                    let (addresses, ahead) = takeover_candidates(self.search.take_held(), context, &mut self.chance);
                    (self.stage, self.ahead) = (Stage::TakingOver(addresses), ahead);
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

    /// Gives up an address that was about to pass, and goes on with others.
    pub(super) fn refuse(&mut self, ip: IpAddr, refusal: &Refusal) {
        match &mut self.stage {
            Stage::TakingOver(addresses) => addresses.retain(|address| address.ip() != ip),
            Stage::Free => return,
        }
        self.last_refusal = Some(refusal.clone());
    }

    /// What is to be written before it is refused.
    pub(super) fn take_amendments(&mut self) -> Vec<Amendment> {
        std::mem::take(&mut self.ahead)
    }

    /// Decides again about its holders, after a check.
    pub(super) fn recheck(&mut self, own: &Holder, checks: &HolderChecks) {
        if let Stage::TakingOver(addresses) = &mut self.stage {
            addresses.iter_mut().for_each(|address| address.recheck(own, checks));
            addresses.retain(|address| address.refusal().is_none());
        }
    }
}

/// The addresses that may pass: first what can be had without a check, such as those of the pod's own earlier
/// sandboxes; then some that are drawn, others in each try, so that all holders of a long list come in turn. With them,
/// what is to be written of the others.
fn takeover_candidates(
    met: Vec<FoundLease>,
    context: &DecisionContext<'_>,
    chance: &mut SplitMix64,
) -> (VecDeque<SpecificAddress>, Vec<Amendment>) {
    let mut addresses: Vec<SpecificAddress> =
        met.into_iter().map(|met| SpecificAddress::from_lease(met, context)).collect();
    let ahead = addresses.iter_mut().filter_map(SpecificAddress::take_ahead).collect();
    addresses.retain(|address| address.refusal().is_none());
    chance.shuffle(&mut addresses);
    addresses.sort_by_key(|address| (!address.is_from_an_earlier_sandbox(), address.holder_check().is_some()));
    addresses.truncate(ASKED);
    (addresses.into(), ahead)
}
