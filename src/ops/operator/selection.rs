//! Which addresses an operator asks for. [`list`](super::list) and [`watch`](super::watch) understand it alike.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::STORE_TIMEOUT;
use crate::error::Error;
use crate::ipam::address::{Family, Span, Spans};
use crate::ipam::keys;
use crate::ipam::lease::{Holder, Lease};
use crate::ipam::name::Name;
use crate::ipam::usage::Usage;
use crate::ops::Session;

/// Addresses by routing domain and family.
pub(super) type SpansByVrf = BTreeMap<(Name, Family), Spans>;

/// The addresses that match one value of each field. A field without values admits all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Routing domains.
    pub vrfs: BTreeSet<Name>,
    /// Networks on which holders or foreign hosts have the address, or had it last.
    pub networks: BTreeSet<Name>,
    /// Names of pools that have the address.
    pub pools: BTreeSet<String>,
    /// Spans of addresses.
    pub ranges: Vec<Span>,
    /// Namespaces of holders, of owners, and of objects for which the address is reserved by hand.
    pub namespaces: BTreeSet<String>,
    /// Pods that hold the address or held it last: `name` or `namespace/name`.
    pub pods: BTreeSet<String>,
    /// Nodes of holders, and nodes that found a foreign host.
    pub nodes: BTreeSet<Name>,
}

impl Selection {
    /// Whether an address is in the routing domains and ranges.
    pub(super) fn contains(&self, vrf: &Name, address: IpAddr) -> bool {
        (self.vrfs.is_empty() || self.vrfs.contains(vrf))
            && (self.ranges.is_empty() || self.ranges.iter().any(|range| range.contains(address)))
    }

    /// Whether a field is about names in a lease, of which an unreadable one has none.
    pub(super) fn has_names(&self) -> bool {
        let Self { networks, namespaces, pods, nodes, .. } = self;
        !(networks.is_empty() && namespaces.is_empty() && pods.is_empty() && nodes.is_empty())
    }

    /// Whether a lease has the names.
    pub(super) fn fits_names(&self, lease: &Lease) -> bool {
        (self.networks.is_empty() || self.fits_network(lease))
            && (self.nodes.is_empty() || self.fits_node(lease))
            && (self.namespaces.is_empty() || self.fits_namespace(lease))
            && (self.pods.is_empty() || lease.holders.iter().any(|holder| self.is_pod(holder)))
    }

    fn fits_network(&self, lease: &Lease) -> bool {
        lease.holders.iter().any(|holder| self.networks.contains(&holder.id.network))
            || lease.foreign().is_some_and(|foreign| self.networks.contains(&foreign.network))
    }

    fn fits_node(&self, lease: &Lease) -> bool {
        lease.holders.iter().any(|holder| self.nodes.contains(&holder.id.node))
            || lease.foreign().is_some_and(|foreign| self.nodes.contains(&foreign.node))
    }

    fn fits_namespace(&self, lease: &Lease) -> bool {
        let of_holders = lease.holders.iter().filter_map(|holder| holder.pod.namespace.as_deref());
        let of_owners = [&lease.owner, &lease.held_for].into_iter().flatten().map(|owner| owner.namespace.as_str());
        let beneficiary = lease.manual.as_ref().and_then(|manual| manual.beneficiary.as_ref());
        let of_beneficiary = beneficiary.into_iter().map(|object| object.namespace.as_str());
        of_holders.chain(of_owners).chain(of_beneficiary).any(|namespace| self.namespaces.contains(namespace))
    }

    /// Whether the holder's pod has one of the names, with or without its namespace.
    fn is_pod(&self, holder: &Holder) -> bool {
        let names = [holder.pod.name.clone(), holder.pod.label()];
        names.iter().flatten().any(|name| self.pods.contains(name))
    }

    /// The addresses of the pools. Several networks may have a pool of one name, and share addresses.
    pub(super) fn pool_spans(&self, session: &Session) -> Result<SpansByVrf, Error> {
        let mut usage = Usage::default();
        session.each(&keys::all_definitions(), STORE_TIMEOUT, |entry| {
            usage.note(entry);
            Ok::<_, Error>(())
        })?;
        let mut found = SpansByVrf::new();
        for (vrf, network, span) in self.pools.iter().flat_map(|pool| usage.pool_spans(pool)) {
            let is_asked_for = |asked: &BTreeSet<Name>, name| asked.is_empty() || asked.contains(name);
            if is_asked_for(&self.vrfs, vrf) && is_asked_for(&self.networks, network) {
                let spans = found.entry((vrf.clone(), span.family())).or_default();
                *spans = spans.iter().copied().chain([span]).collect();
            }
        }
        Ok(found)
    }
}
