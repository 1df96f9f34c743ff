//! The pending checks and the refusal of a slot.

use std::net::IpAddr;

use jiff::Timestamp;

use super::super::amend::Amendment;
use super::super::specific_address::HolderCheck;
use super::{Search, Slot};
use crate::ipam::lease::Holder;
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::Owner;
use crate::ipam::takeover::{HolderChecks, InUseReason};

impl Slot {
    /// The refusal, if nothing is left to try.
    pub(in crate::ipam::decide) fn refusal(&self) -> Option<Refusal> {
        match &self.search {
            Search::Auto(search) => search.refusal(self.set.to_string()),
            Search::OneOf(pool) => pool.exhausted(),
            Search::PreviousSandbox { address, .. }
            | Search::Reserved { address, .. }
            | Search::Exact { address, .. } => address.refusal().cloned(),
        }
    }

    /// Whether any address would do, and none is free.
    pub(in crate::ipam::decide) fn lacks_room(&self) -> bool {
        matches!(&self.search, Search::Auto(search) if search.lacks_room())
    }

    pub(in crate::ipam::decide) fn search_again(&mut self) {
        if let Search::Auto(search) = &mut self.search {
            search.restart();
        }
    }

    pub(in crate::ipam::decide) fn holder_check(&self) -> Option<&HolderCheck> {
        match &self.search {
            Search::Auto(search) => search.holder_check(),
            Search::PreviousSandbox { .. } => None,
            Search::OneOf(pool) => pool.holder_check(),
            Search::Reserved { address, .. } | Search::Exact { address, .. } => address.holder_check(),
        }
    }

    /// The refusal while a holder is still to be checked.
    pub(in crate::ipam::decide) fn unchecked_refusal(&self) -> Option<Refusal> {
        let check = self.holder_check()?;
        Some(match &self.search {
            Search::Auto(search) => search.unchecked_refusal(self.set.to_string()),
            _ => check.refusal(InUseReason::NotChecked),
        })
    }

    /// Drops addresses that can't be taken over yet.
    pub(in crate::ipam::decide) fn drop_delayed(&mut self, now: Timestamp) {
        if let Search::Auto(search) = &mut self.search {
            search.drop_delayed(now);
        }
    }

    /// Corrections and observations of other leases, to be written before the refusal.
    pub(in crate::ipam::decide) fn take_amendments(&mut self) -> Vec<Amendment> {
        match &mut self.search {
            Search::Auto(search) => search.take_amendments(),
            Search::OneOf(pool) => pool.take_amendments(),
            Search::PreviousSandbox { .. } => Vec::new(),
            Search::Reserved { address, .. } | Search::Exact { address, .. } => {
                address.take_amendment().into_iter().collect()
            }
        }
    }

    /// The owner to which the pod must belong to get the current candidate.
    pub(in crate::ipam::decide) fn owner_to_check(&self) -> Option<&Owner> {
        match &self.search {
            Search::Auto(_) | Search::PreviousSandbox { .. } => None,
            Search::OneOf(pool) => pool.owner_to_check(),
            Search::Reserved { address, .. } | Search::Exact { address, .. } => address.owner_to_check(),
        }
    }

    pub(in crate::ipam::decide) fn recheck(&mut self, own: &Holder, checks: &HolderChecks) {
        match &mut self.search {
            Search::Auto(search) => search.recheck(own, checks),
            Search::PreviousSandbox { .. } => {}
            Search::OneOf(pool) => pool.recheck(own, checks),
            Search::Reserved { address, .. } | Search::Exact { address, .. } => address.recheck(own, checks),
        }
    }

    /// Drops a candidate, because another host answers for it.
    pub(in crate::ipam::decide) fn refuse(&mut self, ip: IpAddr, refusal: &Refusal) {
        match &mut self.search {
            Search::Auto(search) => search.refuse(ip, refusal),
            Search::OneOf(pool) => pool.refuse(ip, refusal),
            // Any other address would do.
            Search::PreviousSandbox { address, otherwise } if address.ip() == ip => self.search = (**otherwise).clone(),
            Search::PreviousSandbox { .. } => {}
            // The owner had it, but it is no longer reserved.
            Search::Reserved { address, .. } if address.ip() == ip && address.is_unowned() => {
                self.lost = Some(ip);
                self.drop_reserved();
            }
            Search::Reserved { address, .. } | Search::Exact { address, .. } if address.ip() == ip => {
                address.refuse(refusal.clone())
            }
            Search::Reserved { .. } | Search::Exact { .. } => {}
        }
    }
}
