//! The report of a plan: the usage of networks, the addresses of interfaces, and the findings.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use super::allocation::{Allocations, InterfaceAllocation};
use super::finding::{Finding, Severity};
use super::interfaces::{NetworkRef, PlannedInterface};
use super::networks::PlannedNetwork;
use super::objects::Kind;
use super::source::Source;
use crate::ipam::address::{Span, Spans};
use crate::ipam::range::{Range, RangeSet};

/// The result of a plan.
#[derive(Debug)]
pub struct Report {
    /// The range sets of all networks whose addresses kube-ipam assigns.
    pub networks: Vec<NetworkReport>,
    /// The interfaces of all workloads.
    pub interfaces: Vec<InterfaceReport>,
    /// Mistakes and warnings, in the order of their positions.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The number of findings with this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

/// The planned usage of a range set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkReport {
    /// The definition's `namespace/name`, or the name of the network in a file.
    pub network: String,
    /// The routing domain of its addresses.
    pub vrf: String,
    /// The ranges of the set.
    pub ranges: Vec<String>,
    /// The number of addresses that it assigns at random.
    pub random: u128,
    /// How many of them are taken: by the planned pods, and by others ([`Self::random_of_others`]).
    pub random_taken: u128,
    /// How many of them others hold, have reserved, or use without a lease, in a plan for a cluster in use.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub random_of_others: u128,
    /// How many more of them they hold during an update.
    pub surge: u128,
    /// The number of addresses that pods request or get from a requested pool.
    pub fixed_taken: u128,
}

impl NetworkReport {
    /// The number of random addresses that are free even while all workloads are updated at once.
    pub fn left(&self) -> u128 {
        self.random.saturating_sub(self.random_taken).saturating_sub(self.surge)
    }
}

/// An interface of the pods of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct InterfaceReport {
    /// Kind, namespace and name: `Deployment default/web`.
    pub workload: String,
    /// The number of pods, without those of an update.
    pub pods: u32,
    /// The nodes that the number of pods comes from; only for a DaemonSet, and if the files have nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodesReport>,
    /// The name of the interface.
    pub interface: String,
    /// The definition of its network, as in [`NetworkReport::network`]; `None` if the plan doesn't know it.
    pub network: Option<String>,
    /// Its addresses, or why it has none.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The nodes of a DaemonSet. It has a pod on each node that its template admits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NodesReport {
    /// The number of nodes that its template admits.
    pub possible: usize,
    /// The number of nodes in the files.
    pub known: usize,
}

/// The result for an interface of a workload's pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "outcome")]
pub enum Outcome {
    /// It gets addresses.
    Addresses {
        /// The addresses that each pod requests or gets from a requested pool.
        certain: Vec<PodAddresses>,
        /// The range sets that assign a random address to each pod.
        random: Vec<String>,
        /// The object for which the address is kept when its pod is gone: `each pod of StatefulSet default/db`.
        #[serde(skip_serializing_if = "Option::is_none")]
        kept_for: Option<String>,
        /// The sources of the requests: `annotation kube-ipam.net1.ip (web.yaml:12)`.
        because: Vec<String>,
    },
    /// It is refused because of an error among the findings.
    Refused,
    /// Another plugin assigns its addresses.
    OtherPlugin,
    /// The plan doesn't have its network.
    Unknown,
}

/// The addresses that a pod requests or gets from a requested pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PodAddresses {
    /// The pod's name, or a placeholder such as `web-#1`.
    pub pod: String,
    /// Without its random addresses.
    pub addresses: Vec<IpAddr>,
}

fn is_zero(count: &u128) -> bool {
    *count == 0
}

pub(super) fn report(
    networks: &[PlannedNetwork<'_>],
    interfaces: &[PlannedInterface<'_>],
    allocations: &Allocations,
    sources: &[Source],
    findings: Vec<Finding>,
) -> Report {
    let interface = |(planned, allocation)| interface_report(planned, allocation, networks, sources);
    Report {
        networks: networks.iter().flat_map(|network| network_reports(network, interfaces, allocations)).collect(),
        interfaces: interfaces.iter().zip(&allocations.interfaces).map(interface).collect(),
        findings,
    }
}

fn network_reports(
    network: &PlannedNetwork<'_>,
    interfaces: &[PlannedInterface<'_>],
    allocations: &Allocations,
) -> Vec<NetworkReport> {
    let report = |set: &RangeSet| {
        let dynamic: Vec<Spans> = set.ranges().iter().map(Range::dynamic).collect();
        let is_random = |ip: IpAddr| dynamic.iter().any(|spans| spans.contains(ip));
        let mut report = NetworkReport {
            network: network.definition.full_name(),
            vrf: network.vrf.to_string(),
            ranges: set.ranges().iter().map(ToString::to_string).collect(),
            random: dynamic.iter().map(Spans::len).fold(0, u128::saturating_add),
            random_taken: 0,
            random_of_others: 0,
            surge: 0,
            fixed_taken: 0,
        };
        let nets: Spans = set.ranges().iter().map(|range| Span::of_net(range.subnet)).collect();
        let key = |ip: IpAddr| (network.vrf.clone(), ip);
        let taken = nets.iter().flat_map(|net| allocations.owners.range(key(net.first())..=key(net.last())));
        for ((_, ip), owner) in taken {
            let is_surge = interfaces[owner.interface].workload.is_surge(owner.pod);
            match (is_surge, is_random(*ip)) {
                (true, true) => report.surge += 1,
                (false, true) => report.random_taken += 1,
                (_, false) => {}
            }
            report.fixed_taken += u128::from(owner.certain && !is_surge);
        }
        let of_others = allocations.in_use.iter().filter(|used @ (vrf, ip)| {
            *vrf == network.vrf && is_random(*ip) && !allocations.owners.contains_key(*used)
        });
        report.random_of_others = of_others.count() as u128;
        report.random_taken += report.random_of_others;
        report
    };
    network.sets().into_iter().map(report).collect()
}

fn interface_report(
    planned: &PlannedInterface<'_>,
    allocation: &InterfaceAllocation,
    networks: &[PlannedNetwork<'_>],
    sources: &[Source],
) -> InterfaceReport {
    let workload = planned.workload;
    let network = match planned.network {
        NetworkRef::Planned(network) => Some(&networks[network]),
        NetworkRef::OnNodes | NetworkRef::Unknown => None,
    };
    let certain = allocation
        .certain
        .iter()
        .map(|(pod, addresses)| PodAddresses { pod: workload.pod_name(*pod), addresses: addresses.clone() });
    let because = allocation.sources.iter().map(|(text, place)| match place {
        Some(place) => {
            let (line, _) = place.line_and_column(sources);
            format!("{text} ({}:{line})", sources.get(place.source).map_or("", |source| &source.name))
        }
        None => text.clone(),
    });
    let outcome = match (planned.network, network) {
        (NetworkRef::OnNodes, _) => Outcome::OtherPlugin,
        (_, Some(network)) if !network.plugin.is_ours => Outcome::OtherPlugin,
        (_, Some(network)) if !network.views.is_empty() && !allocation.refused => Outcome::Addresses {
            certain: certain.collect(),
            random: allocation.any.iter().filter(|_| allocation.draws).map(ToString::to_string).collect(),
            kept_for: allocation.keeper.clone(),
            because: because.collect(),
        },
        (_, Some(_)) => Outcome::Refused,
        (_, None) => Outcome::Unknown,
    };
    let nodes = workload.nodes.as_ref().filter(|_| workload.kind == Kind::DaemonSet);
    InterfaceReport {
        workload: workload.label(),
        pods: workload.replicas,
        nodes: nodes.map(|nodes| NodesReport { possible: nodes.names.len(), known: nodes.known }),
        interface: planned.ifname.to_string(),
        network: network.map(|network| network.definition.full_name()),
        outcome,
    }
}
