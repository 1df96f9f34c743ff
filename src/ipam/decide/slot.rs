//! The slots of an ADD: one for each address that it is to have, each with the candidate that is tried now.

mod search_space;

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;

use self::search_space::{any, by_host_local, without_host_local};
use super::AllocationPolicy;
use super::amend::Amendment;
use super::auto_search::AutoSearch;
use super::candidate::Candidate;
use super::free_search::{CooldownRule, FreeSearch, SearchReads, Unsearched};
use super::pool_search::PoolSearch;
use super::reads::{Answers, Reads};
use super::specific_address::{AddressReads, DecisionContext, HolderCheck, SpecificAddress};
use crate::ipam::address::Span;
use crate::ipam::lease::{AllocationKind, Assigned, Holder, OnRelease};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::range::RangeSet;
use crate::ipam::refusal::Refusal;
use crate::ipam::request::{AddressOverrides, AddressRequest, Selection};
use crate::ipam::reservation::Owner;
use crate::ipam::seed::Chances;
use crate::ipam::takeover::{HolderChecks, InUseReason};

/// What is read for a slot.
#[derive(Clone, Debug)]
pub(super) enum SlotReads {
    /// For the search of a free address.
    Search(SearchReads),
    /// Of one certain address.
    Address(AddressReads),
    /// It has come to its end.
    Nothing,
}

impl From<Option<AddressReads>> for SlotReads {
    fn from(read: Option<AddressReads>) -> Self {
        read.map_or(Self::Nothing, Self::Address)
    }
}

/// One address to be found.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    set: RangeSet,
    overrides: AddressOverrides,
    /// Whether its owner had the address that is asked for, maybe at random.
    previously_assigned: bool,
    /// The address that its owner had here, once somebody else has it.
    lost: Option<IpAddr>,
    search: Search,
}

#[derive(Clone, Debug)]
enum Search {
    Auto(Box<AutoSearch>),
    OneOf(Box<PoolSearch>),
    /// What an earlier sandbox of the pod holds, or else, if it holds that no more, what the slot gives anyway.
    PreviousSandbox {
        address: Box<SpecificAddress>,
        otherwise: Box<Search>,
    },
    /// What its owner has, or else, if that has passed to somebody else, what the slot gives anyway.
    Reserved {
        address: Box<SpecificAddress>,
        otherwise: Box<Search>,
        /// Whether it is the owner's only as long as a pod of the owner holds it.
        while_held: bool,
    },
    Exact {
        address: Box<SpecificAddress>,
        /// What is done instead if another interface of the same sandbox holds it, where that is not a conflict.
        otherwise: Option<Box<Otherwise>>,
    },
}

#[derive(Clone, Debug)]
struct Otherwise {
    own: AttachmentId,
    any: AutoSearch,
}

impl Slot {
    /// The slots of a request: one, or as many as it has fixed addresses. `reserved` is what no range of the network
    /// gives at random.
    pub(super) fn of_request(
        request: AddressRequest,
        own: &AttachmentId,
        reserved: &[Span],
        policy: &AllocationPolicy,
        chances: &Chances,
    ) -> Result<Vec<Self>, Refusal> {
        let AddressRequest { set, selection, source, overrides, fallback_to_any, previously_assigned } = request;
        let search = match selection {
            Selection::Auto => Search::Auto(Box::new(any(&set, reserved, policy, chances)?)),
            Selection::OneOf(spans) => {
                let what = format!("{spans} ({source})");
                let unsearched = Unsearched { host_local: by_host_local(&[&spans], policy), excluded: 0 };
                let left = without_host_local(spans, policy);
                let search =
                    FreeSearch::new(policy, vec![left.clone()], CooldownRule::Ignore, chances).leaving_out(unsearched);
                if search.is_empty() {
                    return Err(search.exhausted(what));
                }
                Search::OneOf(Box::new(PoolSearch::new(what, left, search, chances.attempt.clone())))
            }
            Selection::Exact(ips) => {
                let fixed = |ip: IpAddr| {
                    if let Some(file) = policy.host_local.get(&ip) {
                        return Err(Refusal::HeldByHostLocal { ip, file: file.display().to_string() });
                    }
                    let any = fallback_to_any.then(|| any(&set, reserved, policy, chances).ok()).flatten();
                    let otherwise = any.map(|any| Box::new(Otherwise { own: own.clone(), any }));
                    let on_request = set.range_of(ip).is_some_and(|range| range.assignable(ip).is_ok());
                    let address = if previously_assigned && !on_request {
                        SpecificAddress::only_if_owned(ip)
                    } else {
                        SpecificAddress::new(ip)
                    };
                    let search = Search::Exact { address: Box::new(address), otherwise };
                    Ok(Self { set: set.clone(), overrides, previously_assigned, lost: None, search })
                };
                return ips.into_iter().map(fixed).collect();
            }
        };
        Ok(vec![Self { set, overrides, previously_assigned, lost: None, search }])
    }

    /// The first or the second address that is to be tried now.
    pub(super) fn candidate(&self, nth: usize) -> Option<&Candidate> {
        match &self.search {
            Search::Auto(any) => any.candidate(nth),
            Search::OneOf(pool) => pool.candidate(nth),
            Search::PreviousSandbox { address, .. }
            | Search::Reserved { address, .. }
            | Search::Exact { address, .. } => address.candidate().filter(|_| nth == 0),
        }
    }

    pub(super) fn has_second(&self) -> bool {
        self.candidate(1).is_some()
    }

    /// The address that was asked for and nothing instead of it, if it is one of those.
    pub(super) fn asked(&self) -> Option<IpAddr> {
        match &self.search {
            Search::Exact { address, otherwise: None } => Some(address.ip()),
            _ => None,
        }
    }

    /// Whether the address was named by whoever asks.
    pub(super) fn is_asked_for(&self) -> bool {
        matches!(self.search, Search::Exact { .. })
    }

    /// Whether this very address was named by whoever asks.
    pub(super) fn asks_for(&self, ip: IpAddr) -> bool {
        matches!(&self.search, Search::Exact { address, .. } if address.ip() == ip)
    }

    /// Whether this address may be given here, and none is tried yet that its owner or an earlier sandbox has.
    pub(super) fn may_assign(&self, ip: IpAddr) -> bool {
        match &self.search {
            Search::Auto(any) => any.may_assign(ip),
            Search::OneOf(pool) => pool.may_assign(ip),
            Search::PreviousSandbox { .. } | Search::Reserved { .. } | Search::Exact { .. } => false,
        }
    }

    /// Tries an address that an earlier sandbox of the pod has, or had.
    pub(super) fn try_previous(&mut self, ip: IpAddr, earlier: &AttachmentId) {
        let address = Box::new(SpecificAddress::held_by(ip, earlier.clone()));
        self.search = Search::PreviousSandbox { address, otherwise: Box::new(self.search.clone()) };
    }

    /// The address that its owner had here, if somebody else has it now.
    pub(super) fn lost_to_another(&self) -> Option<IpAddr> {
        self.lost
    }

    /// Tries an address that its owner has.
    pub(super) fn try_reserved(&mut self, ip: IpAddr) {
        self.try_reserved_on(ip, false);
    }

    /// Tries an address that its owner has if a pod of the owner holds it.
    pub(super) fn try_while_held(&mut self, ip: IpAddr) {
        self.try_reserved_on(ip, true);
    }

    fn try_reserved_on(&mut self, ip: IpAddr, while_held: bool) {
        self.lost = None;
        self.search = Search::Reserved {
            address: Box::new(SpecificAddress::new(ip)),
            otherwise: Box::new(self.search.clone()),
            while_held,
        };
    }

    /// Whether it tries this address, which its owner has.
    pub(super) fn tries_reserved(&self, ip: IpAddr) -> bool {
        matches!(&self.search, Search::Reserved { address, .. } if address.ip() == ip)
    }

    /// Returns to what it gives anyway.
    pub(super) fn drop_reserved(&mut self) {
        if let Search::Reserved { otherwise, .. } = &self.search {
            self.search = (**otherwise).clone();
        }
    }

    /// Whether it tries an address that its owner has.
    pub(super) fn is_reserved(&self) -> bool {
        matches!(self.search, Search::Reserved { .. })
    }

    /// Whether it tries an address that its owner has, or an earlier sandbox of the pod.
    pub(super) fn is_previously_assigned(&self) -> bool {
        matches!(self.search, Search::Reserved { .. } | Search::PreviousSandbox { .. })
    }

    /// Why there is nothing to be tried any more.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match &self.search {
            Search::Auto(any) => any.refusal(self.set.to_string()),
            Search::OneOf(pool) => pool.exhausted(),
            Search::PreviousSandbox { address, .. }
            | Search::Reserved { address, .. }
            | Search::Exact { address, .. } => address.refusal().cloned(),
        }
    }

    /// Whether any address would do, and there is none.
    pub(super) fn lacks_room(&self) -> bool {
        matches!(&self.search, Search::Auto(any) if any.lacks_room())
    }

    /// Begins a search again that has found nothing.
    pub(super) fn search_again(&mut self) {
        if let Search::Auto(any) = &mut self.search {
            any.begin_again();
        }
    }

    /// Who has to be asked about before anything can be tried.
    pub(super) fn holder_check(&self) -> Option<&HolderCheck> {
        match &self.search {
            Search::Auto(any) => any.holder_check(),
            Search::PreviousSandbox { .. } => None,
            Search::OneOf(pool) => pool.holder_check(),
            Search::Reserved { address, .. } | Search::Exact { address, .. } => address.holder_check(),
        }
    }

    /// The refusal as long as nobody was asked about that pod.
    pub(super) fn unchecked_refusal(&self) -> Option<Refusal> {
        let check = self.holder_check()?;
        Some(match &self.search {
            Search::Auto(any) => any.unchecked_refusal(self.set.to_string()),
            _ => check.refusal(InUseReason::NotChecked),
        })
    }

    /// Parts with what may not pass yet.
    pub(super) fn defer_waiting(&mut self, now: Timestamp) {
        if let Search::Auto(any) = &mut self.search {
            any.defer_waiting(now);
        }
    }

    /// What is to be written before it is refused.
    pub(super) fn take_amendments(&mut self) -> Vec<Amendment> {
        match &mut self.search {
            Search::Auto(any) => any.take_amendments(),
            Search::OneOf(pool) => pool.take_amendments(),
            Search::PreviousSandbox { .. } => Vec::new(),
            Search::Reserved { address, .. } | Search::Exact { address, .. } => {
                address.take_ahead().into_iter().collect()
            }
        }
    }

    /// The owner of which the pod has to be, to have the address that is tried now.
    pub(super) fn owner_to_check(&self) -> Option<&Owner> {
        match &self.search {
            Search::Auto(_) | Search::PreviousSandbox { .. } => None,
            Search::OneOf(pool) => pool.owner_to_check(),
            Search::Reserved { address, .. } | Search::Exact { address, .. } => address.owner_to_check(),
        }
    }

    /// Decides again about the holder, after a check.
    pub(super) fn recheck(&mut self, own: &Holder, checks: &HolderChecks) {
        match &mut self.search {
            Search::Auto(any) => any.recheck(own, checks),
            Search::PreviousSandbox { .. } => {}
            Search::OneOf(pool) => pool.recheck(own, checks),
            Search::Reserved { address, .. } | Search::Exact { address, .. } => address.recheck(own, checks),
        }
    }

    /// Gives up an address that was about to pass.
    pub(super) fn refuse(&mut self, ip: IpAddr, refusal: &Refusal) {
        match &mut self.search {
            Search::Auto(any) => any.refuse(ip, refusal),
            Search::OneOf(pool) => pool.refuse(ip, refusal),
            // Any other serves as well, and none was asked for.
            Search::PreviousSandbox { address, otherwise } if address.ip() == ip => self.search = (**otherwise).clone(),
            Search::PreviousSandbox { .. } => {}
            Search::Reserved { address, .. } | Search::Exact { address, .. } if address.ip() == ip => {
                address.refuse(refusal.clone())
            }
            Search::Reserved { .. } | Search::Exact { .. } => {}
        }
    }

    pub(super) fn is_random(&self) -> bool {
        matches!(self.search, Search::Auto(_))
    }

    /// What is to be read of the store: along with a transaction that fails, or by itself.
    pub(super) fn reads(&mut self, vrf: &Name, reads: &mut Reads) -> SlotReads {
        match &mut self.search {
            Search::Auto(any) => any.reads(reads),
            Search::OneOf(pool) => pool.reads(vrf, reads),
            Search::PreviousSandbox { address, .. }
            | Search::Reserved { address, .. }
            | Search::Exact { address, .. } => SlotReads::Address(address.reads(vrf, reads)),
        }
    }

    /// Takes in what was read.
    pub(super) fn on_response(&mut self, read: SlotReads, answers: Answers<'_>, context: &DecisionContext<'_>) {
        let (address, read) = match (&mut self.search, read) {
            (Search::Auto(any), read) => return any.on_response(read, answers, context),
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
        self.after_look();
    }

    /// Leaves its address for what it gives otherwise, where the address is not to be had in this way.
    fn after_look(&mut self) {
        match &mut self.search {
            Search::Auto(_) | Search::OneOf(_) => {}
            Search::PreviousSandbox { address, otherwise } => {
                if !address.is_from_an_earlier_sandbox() || address.refusal().is_some() {
                    self.search = (**otherwise).clone();
                }
            }
            Search::Reserved { address, while_held, .. } => {
                if *while_held && address.is_not_of_owner() {
                    self.drop_reserved();
                } else if address.is_of_another_owner() {
                    self.lost = Some(address.ip());
                    self.drop_reserved();
                }
            }
            Search::Exact { address, otherwise } => {
                if let Some(Refusal::Held { holder, .. }) = address.refusal()
                    && let Some(instead) = otherwise.take_if(|instead| instead.is_another_of(&holder.id))
                {
                    self.search = Search::Auto(Box::new(instead.any));
                    self.overrides = AddressOverrides::default();
                }
            }
        }
    }

    /// The address with the prefix length and the gateway of the range that gives it.
    pub(super) fn assigned(&self, candidate: &Candidate) -> Assigned {
        // At random it comes from a window, and no two of a set overlap; on request also from around them. What an
        // owner had comes from where it came from then.
        let ranges = self.set.ranges();
        let of_window = self.previously_assigned || !self.is_asked_for();
        let at_random = ranges.iter().find(|range| of_window && range.window.contains(candidate.ip));
        let range = at_random.or_else(|| self.set.range_of(candidate.ip)).unwrap_or(&ranges[0]);
        let address = IpNet::new(candidate.ip, self.overrides.prefix_in(range)).unwrap_or(range.subnet);
        Assigned { address, gateway: self.overrides.gateway.or(range.gateway) }
    }

    /// How an address of this slot is chosen, and what becomes of it on release.
    pub(super) fn kind(&self, ip: IpAddr, cooldown: u64) -> (AllocationKind, OnRelease) {
        let rest = if cooldown == 0 { OnRelease::Forget } else { OnRelease::Rest(cooldown) };
        let given_at_random = || self.set.ranges().iter().any(|range| range.dynamic().contains(ip));
        let search = match &self.search {
            Search::PreviousSandbox { otherwise, .. } => otherwise,
            search => search,
        };
        match search {
            Search::Auto(_) => (AllocationKind::Dynamic, rest),
            _ if given_at_random() => (AllocationKind::Fixed, OnRelease::Last),
            _ => (AllocationKind::Fixed, rest),
        }
    }
}

impl Otherwise {
    /// Whether the holder is another interface of the same sandbox.
    fn is_another_of(&self, holder: &AttachmentId) -> bool {
        holder.node == self.own.node && holder.container == self.own.container && *holder != self.own
    }
}
