//! The report of a plan: the networks and how full they would be, the interfaces and what they would get, and the findings.

use std::net::IpAddr;

use serde::Serialize;

use super::allocation::{Allocations, InterfaceAllocation};
use super::finding::{Finding, Severity};
use super::interfaces::{NetworkRef, PlannedInterface};
use super::networks::PlannedNetwork;
use super::source::Source;
use crate::ipam::address::{Span, Spans};
use crate::ipam::range::{Range, RangeSet};

/// What a plan has found out.
#[derive(Debug)]
pub struct Report {
    /// The networks whose addresses come from here.
    pub networks: Vec<NetworkReport>,
    /// The interfaces of all workloads.
    pub interfaces: Vec<InterfaceReport>,
    /// Mistakes and warnings, in the order of their places.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many findings there are of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

/// A range set of a network, and how full it would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NetworkReport {
    /// The definition: `namespace/name`, or the name of the network in a file.
    pub network: String,
    /// The routing domain.
    pub vrf: String,
    /// The ranges of the set.
    pub ranges: Vec<String>,
    /// How many addresses it has for whoever asks for nothing.
    pub random: u128,
    /// How many of those the planned pods have.
    pub random_taken: u128,
    /// How many of those they have besides during an update.
    pub surge: u128,
    /// How many addresses are given because they are asked for.
    pub fixed_taken: u128,
}

impl NetworkReport {
    /// How many addresses are left for whoever asks for nothing, also during an update of everything.
    pub fn left(&self) -> u128 {
        self.random.saturating_sub(self.random_taken).saturating_sub(self.surge)
    }
}

/// An interface of the pods of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InterfaceReport {
    /// The workload: `Deployment default/web`.
    pub workload: String,
    /// How many pods it has.
    pub pods: u32,
    /// The interface.
    pub interface: String,
    /// The definition of its network; `None` if it is not known.
    pub network: Option<String>,
    /// What it gets.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What the interfaces of a workload's pods get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub enum Outcome {
    /// Addresses.
    Addresses {
        /// Those that are certain, pod by pod.
        certain: Vec<PodAddresses>,
        /// The range sets from which each pod gets any address.
        random: Vec<String>,
        /// What says so, and where: `annotation kube-ipam.net1.ip (web.yaml:12)`.
        because: Vec<String>,
    },
    /// Nothing, because of an error among the findings.
    Refused,
    /// Whatever another plugin gives it.
    OtherPlugin,
    /// Unknown: its network is none of the plan.
    Unknown,
}

/// The addresses of a pod that are certain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PodAddresses {
    /// The pod.
    pub pod: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
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

fn name(network: &PlannedNetwork<'_>) -> String {
    match &network.definition.namespace {
        Some(namespace) => format!("{namespace}/{}", network.definition.name),
        None => network.definition.name.clone(),
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
        let is_here = |ip: IpAddr| set.ranges().iter().any(|range| Span::of_net(range.subnet).contains(ip));
        let mut report = NetworkReport {
            network: name(network),
            vrf: network.vrf.to_string(),
            ranges: set.ranges().iter().map(ToString::to_string).collect(),
            random: dynamic.iter().map(Spans::len).fold(0, u128::saturating_add),
            random_taken: 0,
            surge: 0,
            fixed_taken: 0,
        };
        let taken = allocations.owners.iter().filter(|((vrf, ip), _)| *vrf == network.vrf && is_here(*ip));
        for ((_, ip), owner) in taken {
            let is_surge = owner.pod >= interfaces[owner.interface].workload.replicas;
            match (is_surge, is_random(*ip)) {
                (true, true) => report.surge += 1,
                (false, true) => report.random_taken += 1,
                (_, false) => {}
            }
            report.fixed_taken += u128::from(owner.certain && !is_surge);
        }
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
            random: allocation.any.iter().map(ToString::to_string).collect(),
            because: because.collect(),
        },
        (_, Some(_)) => Outcome::Refused,
        (_, None) => Outcome::Unknown,
    };
    InterfaceReport {
        workload: workload.label(),
        pods: workload.replicas,
        interface: planned.ifname.to_string(),
        network: network.map(name),
        outcome,
    }
}
