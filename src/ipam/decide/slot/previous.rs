//! Tries the addresses of the owner or of an earlier sandbox of the pod first, and falls back to the slot's own search
//! if they can't be assigned.

use std::net::IpAddr;

use super::super::specific_address::SpecificAddress;
use super::{Fallback, Search, Slot};
use crate::ipam::name::AttachmentId;
use crate::ipam::refusal::Refusal;
use crate::ipam::request::AddressOverrides;

impl Slot {
    pub(in crate::ipam::decide) fn lost_to_another(&self) -> Option<IpAddr> {
        self.lost
    }

    pub(in crate::ipam::decide) fn try_previous(&mut self, ip: IpAddr, earlier: &AttachmentId) {
        let address = Box::new(SpecificAddress::held_by(ip, earlier.clone()));
        self.search = Search::PreviousSandbox { address, otherwise: Box::new(self.search.clone()) };
    }

    /// Tries an address that is reserved for the owner.
    pub(in crate::ipam::decide) fn try_reserved(&mut self, ip: IpAddr) {
        self.try_address_of_owner(ip, false);
    }

    /// Tries an address that belongs to the owner only while one of its pods holds it.
    pub(in crate::ipam::decide) fn try_while_held(&mut self, ip: IpAddr) {
        self.try_address_of_owner(ip, true);
    }

    fn try_address_of_owner(&mut self, ip: IpAddr, while_held: bool) {
        self.lost = None;
        self.search = Search::Reserved {
            address: Box::new(SpecificAddress::new(ip)),
            otherwise: Box::new(self.search.clone()),
            while_held,
        };
    }

    pub(in crate::ipam::decide) fn tries_reserved(&self, ip: IpAddr) -> bool {
        matches!(&self.search, Search::Reserved { address, .. } if address.ip() == ip)
    }

    /// Returns to the search without the owner's address.
    pub(in crate::ipam::decide) fn drop_reserved(&mut self) {
        if let Search::Reserved { otherwise, .. } = &self.search {
            self.search = (**otherwise).clone();
        }
    }

    pub(in crate::ipam::decide) fn is_reserved(&self) -> bool {
        matches!(self.search, Search::Reserved { .. })
    }

    /// Whether it tries an address of its owner or of an earlier sandbox of the pod.
    pub(in crate::ipam::decide) fn is_previously_assigned(&self) -> bool {
        matches!(self.search, Search::Reserved { .. } | Search::PreviousSandbox { .. })
    }

    /// Falls back to `otherwise` if the specific address can't be assigned.
    pub(super) fn fall_back(&mut self) {
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
                } else if address.is_lost_to_other_owner() {
                    self.lost = Some(address.ip());
                    self.drop_reserved();
                }
            }
            Search::Exact { address, otherwise } => {
                if let Some(Refusal::Held { holder, .. }) = address.refusal()
                    && let Some(instead) = otherwise.take_if(|instead| instead.is_another_of(&holder.id))
                {
                    self.search = Search::Auto(Box::new(instead.search));
                    self.overrides = AddressOverrides::default();
                }
            }
        }
    }
}

impl Fallback {
    fn is_another_of(&self, holder: &AttachmentId) -> bool {
        holder.node == self.own.node && holder.container == self.own.container && *holder != self.own
    }
}
