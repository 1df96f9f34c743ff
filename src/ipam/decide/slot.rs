//! The slots of an ADD: one for each address that it needs, with the candidate to try next.
//!
//! ```text
//!  request ─► Slot::from_request ─► Search: Auto, OneOf or Exact
//!                                     │ the owner or an earlier sandbox of the pod has an address that fits (`previous`)
//!                                     ▼
//!                                   Reserved, PreviousSandbox ── can't be assigned ─► back to the search before
//!                                     │
//!                               candidate ─► Assigned; or a check or a refusal (`checks`)
//! ```

mod checks;
mod previous;
mod search_space;

use std::net::IpAddr;

use ipnet::IpNet;

use self::search_space::{auto_search, by_host_local, without_host_local};
use super::AllocationPolicy;
use super::auto_search::AutoSearch;
use super::candidate::Candidate;
use super::free_search::{CooldownRule, FreeSearch, SearchReads, Unsearched};
use super::pool_search::PoolSearch;
use super::reads::{Answers, Reads};
use super::specific_address::{AddressReads, DecisionContext, SpecificAddress};
use crate::ipam::address::Span;
use crate::ipam::lease::{AllocationKind, Assigned, OnRelease};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::range::RangeSet;
use crate::ipam::refusal::Refusal;
use crate::ipam::request::{AddressOverrides, AddressRequest, Selection};
use crate::ipam::seed::Chances;

#[derive(Clone, Debug)]
pub(super) enum SlotReads {
    Search(SearchReads),
    Address(AddressReads),
    /// Nothing is left to read.
    Nothing,
}

impl From<Option<AddressReads>> for SlotReads {
    fn from(read: Option<AddressReads>) -> Self {
        read.map_or(Self::Nothing, Self::Address)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Slot {
    set: RangeSet,
    overrides: AddressOverrides,
    /// Whether its owner already had the requested address, possibly by random selection.
    previously_assigned: bool,
    /// The owner's former address in this set, if another holder has it now.
    lost: Option<IpAddr>,
    search: Search,
}

#[derive(Clone, Debug)]
enum Search {
    Auto(Box<AutoSearch>),
    OneOf(Box<PoolSearch>),
    /// The address of an earlier sandbox of the pod. If that sandbox has lost it, `otherwise` applies.
    PreviousSandbox {
        address: Box<SpecificAddress>,
        otherwise: Box<Search>,
    },
    /// The address of its owner. If another holder has it, `otherwise` applies.
    Reserved {
        address: Box<SpecificAddress>,
        otherwise: Box<Search>,
        /// Whether the address belongs to the owner only while a pod of the owner holds it.
        while_held: bool,
    },
    Exact {
        address: Box<SpecificAddress>,
        /// Applies if another interface of the same sandbox holds the address. `None` if that is a conflict.
        otherwise: Option<Box<Fallback>>,
    },
}

#[derive(Clone, Debug)]
struct Fallback {
    own: AttachmentId,
    search: AutoSearch,
}

impl Slot {
    /// One slot, or one for each fixed address of the request. `reserved` has the gateways and exact windows of the
    /// whole network, which no range assigns at random.
    pub(super) fn from_request(
        request: AddressRequest,
        own: &AttachmentId,
        reserved: &[Span],
        policy: &AllocationPolicy,
        chances: &Chances,
    ) -> Result<Vec<Self>, Refusal> {
        let AddressRequest { set, selection, source, overrides, fallback_to_any, previously_assigned } = request;
        let search = match selection {
            Selection::Auto => Search::Auto(Box::new(auto_search(&set, reserved, policy, chances)?)),
            Selection::OneOf(pool) => {
                let what = format!("{pool} ({source})");
                let unsearched = Unsearched { host_local: by_host_local(&[&pool.addresses], policy), excluded: 0 };
                let left = without_host_local(pool.addresses, policy);
                let search = FreeSearch::new(policy, vec![left.clone()], CooldownRule::Ignore, chances)
                    .with_unsearched(unsearched);
                if search.is_empty() {
                    return Err(search.exhausted(what));
                }
                Search::OneOf(Box::new(PoolSearch::new(what, left, search, chances.attempt.clone())))
            }
            Selection::Exact(ips) => {
                let exact = |ip: IpAddr| {
                    if let Some(file) = policy.host_local.get(&ip) {
                        return Err(Refusal::HeldByHostLocal { ip, file: file.display().to_string() });
                    }
                    let search = fallback_to_any.then(|| auto_search(&set, reserved, policy, chances).ok()).flatten();
                    let otherwise = search.map(|search| Box::new(Fallback { own: own.clone(), search }));
                    let is_assignable = set.range_of(ip).is_some_and(|range| range.assignable(ip).is_ok());
                    let address = if previously_assigned && !is_assignable {
                        SpecificAddress::only_if_owned(ip)
                    } else {
                        SpecificAddress::new(ip)
                    };
                    let search = Search::Exact { address: Box::new(address), otherwise };
                    Ok(Self { set: set.clone(), overrides, previously_assigned, lost: None, search })
                };
                return ips.into_iter().map(exact).collect();
            }
        };
        Ok(vec![Self { set, overrides, previously_assigned, lost: None, search }])
    }

    /// The addresses to try in one request, each if those before it are held.
    pub(super) fn candidates(&self) -> Box<dyn Iterator<Item = &Candidate> + '_> {
        match &self.search {
            Search::Auto(search) => search.candidates(),
            Search::OneOf(pool) => pool.candidates(),
            Search::PreviousSandbox { address, .. }
            | Search::Reserved { address, .. }
            | Search::Exact { address, .. } => Box::new(address.candidate().into_iter()),
        }
    }

    pub(super) fn has_candidate(&self) -> bool {
        self.candidates().next().is_some()
    }

    /// The requested address, unless another one may be assigned instead.
    pub(super) fn requested(&self) -> Option<IpAddr> {
        match &self.search {
            Search::Exact { address, otherwise: None } => Some(address.ip()),
            _ => None,
        }
    }

    /// Whether the request names the address.
    pub(super) fn is_requested(&self) -> bool {
        matches!(self.search, Search::Exact { .. })
    }

    pub(super) fn requests(&self, ip: IpAddr) -> bool {
        matches!(&self.search, Search::Exact { address, .. } if address.ip() == ip)
    }

    /// Whether the slot's own search may assign this address. `false` if the slot tries a specific address.
    pub(super) fn may_assign(&self, ip: IpAddr) -> bool {
        match &self.search {
            Search::Auto(search) => search.may_assign(ip),
            Search::OneOf(pool) => pool.may_assign(ip),
            Search::PreviousSandbox { .. } | Search::Reserved { .. } | Search::Exact { .. } => false,
        }
    }

    pub(super) fn is_random(&self) -> bool {
        matches!(self.search, Search::Auto(_))
    }

    /// Adds the reads of the search, for a transaction whose guards may fail or that only reads.
    pub(super) fn reads(&mut self, vrf: &Name, reads: &mut Reads) -> SlotReads {
        match &mut self.search {
            Search::Auto(search) => search.reads(reads),
            Search::OneOf(pool) => pool.reads(vrf, reads),
            Search::PreviousSandbox { address, .. }
            | Search::Reserved { address, .. }
            | Search::Exact { address, .. } => SlotReads::Address(address.reads(vrf, reads)),
        }
    }

    pub(super) fn on_response(&mut self, read: SlotReads, answers: Answers<'_>, context: &DecisionContext<'_>) {
        let (address, read) = match (&mut self.search, read) {
            (Search::Auto(search), read) => return search.on_response(read, answers, context),
            (Search::OneOf(pool), read) => return pool.on_response(read, answers, context),
            (
                Search::PreviousSandbox { address, .. }
                | Search::Reserved { address, .. }
                | Search::Exact { address, .. },
                SlotReads::Address(read),
            ) => (address, read),
            _ => return,
        };
        address.on_response(read, answers, context);
        self.fall_back();
    }

    /// The address with the prefix length and gateway of its range.
    pub(super) fn assigned(&self, candidate: &Candidate) -> Assigned {
        // A random address comes from a range's window, and no two windows of a set overlap. A requested one may lie
        // outside every window. An owner's former address belongs to the range that it first came from.
        let ranges = self.set.ranges();
        let is_in_window = self.previously_assigned || !self.is_requested();
        let by_window = ranges.iter().find(|range| is_in_window && range.window.contains(candidate.ip));
        let range = by_window.or_else(|| self.set.range_of(candidate.ip)).unwrap_or(&ranges[0]);
        let address = IpNet::new(candidate.ip, self.overrides.prefix_in(range)).unwrap_or(range.subnet);
        Assigned { address, gateway: self.overrides.gateway.or(range.gateway) }
    }

    /// How the address was selected, and what happens to it on release.
    pub(super) fn kind(&self, ip: IpAddr, cooldown: u64) -> (AllocationKind, OnRelease) {
        let rest = if cooldown == 0 { OnRelease::Forget } else { OnRelease::Rest(cooldown) };
        let is_dynamic = || self.set.ranges().iter().any(|range| range.dynamic().contains(ip));
        let search = match &self.search {
            Search::PreviousSandbox { otherwise, .. } => otherwise,
            search => search,
        };
        match search {
            Search::Auto(_) => (AllocationKind::Dynamic, rest),
            _ if is_dynamic() => (AllocationKind::Fixed, OnRelease::Last),
            _ => (AllocationKind::Fixed, rest),
        }
    }
}
