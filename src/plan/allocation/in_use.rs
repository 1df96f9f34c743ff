//! Addresses that are in use before the plan: those of the planned workloads' own pods, and those of others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::PlannedAdd;
use crate::ipam::address::Span;
use crate::ipam::lease::{Holder, Lease, LeaseState, Stored};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::pod::machine_name;
use crate::ipam::request::{AddressRequest, Selection};
use crate::plan::cluster::Cluster;
use crate::plan::interfaces::{NetworkRef, PlannedInterface};
use crate::plan::networks::PlannedNetwork;
use crate::plan::objects::{Kind, Workload};

/// The addresses in use before the plan.
#[derive(Debug, Default)]
pub(super) struct InUse {
    /// What pods of planned workloads hold, by interface.
    own: BTreeMap<usize, Vec<OwnPod>>,
    /// Addresses that are held, reserved or used by foreign hosts.
    pub(super) all: BTreeSet<(Name, IpAddr)>,
}

/// A pod of a planned workload that exists already.
#[derive(Debug)]
struct OwnPod {
    id: AttachmentId,
    name: String,
    addresses: Vec<IpAddr>,
}

impl InUse {
    /// Reads the leases of all ranges of these networks.
    pub(super) fn read<C: Cluster>(
        interfaces: &[PlannedInterface<'_>],
        networks: &[PlannedNetwork<'_>],
        cluster: &mut C,
    ) -> Result<Self, C::Error> {
        let mut in_use = Self::default();
        // Networks and sets may share subnets.
        let mut read: BTreeSet<(&Name, Span)> = BTreeSet::new();
        for network in networks {
            for range in network.sets().into_iter().flat_map(|set| set.ranges()) {
                let span = Span::of_net(range.subnet);
                if read.insert((&network.vrf, span)) {
                    let mut note =
                        |ip, lease: &Stored<Lease>| in_use.note(interfaces, networks, &network.vrf, ip, lease);
                    cluster.each_lease(&network.vrf, &span, &mut note)?;
                }
            }
        }
        Ok(in_use)
    }

    fn note(
        &mut self,
        interfaces: &[PlannedInterface<'_>],
        networks: &[PlannedNetwork<'_>],
        vrf: &Name,
        ip: IpAddr,
        lease: &Stored<Lease>,
    ) {
        // A lease that can't be read counts as held.
        let state = lease.as_known().map_or(LeaseState::Held, Lease::state);
        // A resting address is free for whoever needs it.
        if state == LeaseState::Resting || !self.all.insert((vrf.clone(), ip)) || state != LeaseState::Held {
            return;
        }
        for holder in lease.as_known().into_iter().flat_map(|lease| &lease.holders) {
            let is_of = |interface: &PlannedInterface<'_>| match interface.network {
                NetworkRef::Planned(network) => {
                    networks[network].vrf == *vrf && is_own(interface, &networks[network].name, holder)
                }
                NetworkRef::OnNodes | NetworkRef::Unknown => false,
            };
            let Some(interface) = interfaces.iter().position(is_of) else { continue };
            let pods = self.own.entry(interface).or_default();
            match pods.iter_mut().find(|pod| pod.id == holder.id) {
                Some(pod) => pod.addresses.push(ip),
                None => pods.push(OwnPod {
                    id: holder.id.clone(),
                    name: holder.pod.name.clone().unwrap_or_default(),
                    addresses: vec![ip],
                }),
            }
        }
    }

    /// The addresses of a pod that exists already and has what the planned pod requests. It is that pod from then on.
    pub(super) fn take(&mut self, add: &PlannedAdd<'_>) -> Option<Vec<IpAddr>> {
        let pods = self.own.get_mut(&add.index)?;
        let workload = add.interface.workload;
        let is_it = |pod: &OwnPod| !has_stable_names(workload) || pod.name == workload.pod_name(add.pod);
        let has_all =
            |pod: &OwnPod| add.alternatives.iter().any(|requests| requests.iter().all(|request| has(pod, request)));
        let found = pods.iter().position(|pod| is_it(pod) && has_all(pod))?;
        Some(pods.swap_remove(found).addresses)
    }
}

/// Whether a pod has what is requested.
fn has(pod: &OwnPod, request: &AddressRequest) -> bool {
    match &request.selection {
        Selection::Auto => pod.addresses.iter().any(|ip| request.set.range_of(*ip).is_some()),
        Selection::Exact(ips) => ips.iter().all(|ip| pod.addresses.contains(ip)),
        Selection::OneOf(pool) => pod.addresses.iter().any(|ip| pool.addresses.contains(*ip)),
    }
}

/// Whether a holder is a pod of this interface's workload. Compares what is short first: there may be many of both.
fn is_own(interface: &PlannedInterface<'_>, network: &Name, holder: &Holder) -> bool {
    let PlannedInterface { workload, ifname, .. } = interface;
    holder.pod.namespace.as_deref() == Some(&*workload.namespace)
        && holder.id.ifname == *ifname
        && holder.id.network == *network
        && is_pod_of(workload, holder)
}

fn is_pod_of(workload: &Workload, holder: &Holder) -> bool {
    let Some(name) = holder.pod.name.as_deref() else { return false };
    let after = |text: &str| text.strip_prefix(&*workload.name)?.strip_prefix('-').map(str::to_owned);
    match (workload.kind, &holder.workload) {
        (Kind::Pod, _) => name == workload.name,
        (Kind::StatefulSet, _) => {
            let ordinal = after(name).and_then(|ordinal| ordinal.parse::<u32>().ok());
            let ordinal = ordinal.and_then(|ordinal| ordinal.checked_sub(workload.first_ordinal));
            ordinal.is_some_and(|pod| pod < workload.replicas && name == workload.pod_name(pod))
        }
        // Its Jobs have generated names.
        (Kind::CronJob, Some(known)) => known.strip_prefix("Job ").is_some_and(|job| after(job).is_some()),
        (Kind::VirtualMachine | Kind::VirtualMachineInstance, Some(known)) => {
            machine_name(known) == Some(&*workload.name)
        }
        (Kind::VirtualMachine | Kind::VirtualMachineInstance, None) => {
            name.strip_prefix("virt-launcher-").and_then(after).is_some()
        }
        (kind, Some(known)) => known.split_once(' ') == Some((kind.word(), &workload.name)),
        // The pod's metadata was not read.
        (_, None) => after(name).is_some(),
    }
}

fn has_stable_names(workload: &Workload) -> bool {
    matches!(workload.kind, Kind::Pod | Kind::StatefulSet)
}
