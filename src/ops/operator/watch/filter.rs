//! Which changes a watch shows: those whose lease matches before or after.

use std::net::IpAddr;

use super::super::selection::{Selection, SpansByVrf};
use crate::error::Error;
use crate::ipam::address::Family;
use crate::ipam::keys;
use crate::ipam::name::Name;
use crate::ipam::transition::Side;
use crate::ops::Session;
use crate::store::{KeySpan, StoreConfig};

/// The conditions that a change must meet.
#[derive(Debug)]
pub(super) struct Filter {
    selection: Selection,
    /// The spans of the requested pools, as they are defined when the watch starts.
    pools: Option<SpansByVrf>,
}

impl Filter {
    /// Reads the definitions of networks if a condition is about pools.
    pub(super) fn new(store: &StoreConfig, selection: Selection) -> Result<Self, Error> {
        let pools = match selection.pools.is_empty() {
            true => None,
            false => Some(selection.pool_spans(&Session::open(store.clone(), None)?)?),
        };
        Ok(Self { selection, pools })
    }

    /// The keys that have to be watched.
    pub(super) fn span(&self) -> KeySpan {
        let Selection { vrfs, ranges, .. } = &self.selection;
        match (vrfs.len(), vrfs.first(), &ranges[..]) {
            (1, Some(vrf), [range]) => keys::leases(vrf, range),
            (1, Some(vrf), _) => keys::leases_of_vrf(vrf),
            _ => keys::all_leases(),
        }
    }

    /// Whether a change of this address is shown.
    pub(super) fn fits(&self, vrf: &Name, address: IpAddr, before: &Side, after: &Side) -> bool {
        let in_pool = |pools: &SpansByVrf| {
            pools.get(&(vrf.clone(), Family::of(address))).is_some_and(|spans| spans.contains(address))
        };
        self.selection.contains(vrf, address)
            && self.pools.as_ref().is_none_or(in_pool)
            && (!self.selection.has_names() || [before, after].iter().any(|side| self.fits_side(side)))
    }

    /// A lease of which nothing is known may be one that was asked for.
    fn fits_side(&self, side: &Side) -> bool {
        match side {
            Side::Absent => false,
            Side::Lease(lease) => self.selection.fits_names(lease),
            Side::Unreadable(_) | Side::Unknown => true,
        }
    }
}
