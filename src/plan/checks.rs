//! Checks objects against each other, after each was valid alone.

mod shared;

use std::net::IpAddr;

use super::allocation::Allocations;
use super::code;
use super::finding::Finding;
use super::interfaces::{NetworkRef, PlannedInterface};
use super::key_path;
use super::networks::{PlannedNetwork, View, label};
use super::objects::Kind;
use super::source::{Place, Source};
use crate::ipam::address;
use crate::ipam::range::{Range, RangeSet};
use crate::ipam::request::FIRST_INTERFACE;
use crate::manifest::Node;

/// Annotations of other address managers, with the program and the field of kube-ipam's annotation for the same
/// purpose.
const FOREIGN_ANNOTATIONS: [(&str, &str, &str); 7] = [
    ("cni.projectcalico.org/ipAddrs", "Calico", "ip"),
    ("cni.projectcalico.org/ipv4pools", "Calico", "pool"),
    ("cni.projectcalico.org/ipv6pools", "Calico", "pool"),
    ("ovn.kubernetes.io/ip_address", "kube-ovn", "ip"),
    ("ovn.kubernetes.io/ip_pool", "kube-ovn", "pool"),
    ("ipam.spidernet.io/ippool", "Spiderpool", "pool"),
    ("ipam.spidernet.io/ippools", "Spiderpool", "pool"),
];

/// The key by which the plugin bridge adds a default route.
const DEFAULT_GATEWAY: &str = "isDefaultGateway";

/// Checks each network, and networks against each other.
pub(super) fn networks(networks: &[PlannedNetwork<'_>], findings: &mut Vec<Finding>) {
    for network in networks {
        for range in ranges(network) {
            gateway_outside(network, range, findings);
        }
    }
    shared::ranges(networks, findings);
}

/// The ranges of a network for all nodes.
fn ranges<'a>(network: &'a PlannedNetwork<'_>) -> impl Iterator<Item = &'a Range> {
    network.sets().into_iter().flat_map(RangeSet::ranges)
}

/// Warns of a gateway outside its subnet. It is allowed, because hosts may have a route to it, but is usually a typing
/// error.
fn gateway_outside(network: &PlannedNetwork<'_>, range: &Range, findings: &mut Vec<Finding>) {
    let Some(gateway) = range.gateway.filter(|gateway| !range.subnet.contains(gateway)) else { return };
    let place = place_of_text(network, &gateway.to_string());
    let message = format!("the gateway {gateway} is not in the subnet {}", range.subnet);
    findings.push(
        Finding::warning(code::GATEWAY_OUTSIDE, place, message)
            .help("correct it, unless the pods reach it by a route of their own"),
    );
}

/// The position of a text in the configuration of a network, or else that of the network's name.
fn place_of_text(network: &PlannedNetwork<'_>, text: &str) -> Place {
    fn find<'a>(node: &'a Node, text: &str) -> Option<&'a Node> {
        let is_it = node.text() == Some(text);
        let inner = || node.members().iter().map(|member| &member.node).chain(node.elements());
        if is_it { Some(node) } else { inner().find_map(|inner| find(inner, text)) }
    }
    let found = find(&network.plugin.config, text);
    found.map_or_else(|| network.definition.place.clone(), |node| Place::new(network.plugin.source, &node.span))
}

/// Checks the interfaces of all workloads with their networks and addresses.
pub(super) fn workloads(
    interfaces: &[PlannedInterface<'_>],
    networks: &[PlannedNetwork<'_>],
    allocations: &Allocations,
    sources: &[Source],
    findings: &mut Vec<Finding>,
) {
    for (i, interface) in interfaces.iter().enumerate() {
        let NetworkRef::Planned(network) = interface.network else { continue };
        let network = &networks[network];
        default_route(interface, network, findings);
        no_capability(interface, network, findings);
        foreign_annotations(interface, network, findings);
        shared_by_nodes(interface, &allocations.interfaces[i].certain, findings);
    }
    for own in interfaces.chunk_by(|one, other| std::ptr::eq(one.workload, other.workload)) {
        unscoped_for_nobody(own, networks, sources, findings);
    }
}

/// Warns of a default route on a second interface, which would take the traffic of the first.
fn default_route(interface: &PlannedInterface<'_>, network: &PlannedNetwork<'_>, findings: &mut Vec<Finding>) {
    let view = network.views.first().filter(|_| interface.ifname.as_str() != FIRST_INTERFACE);
    let Some(View { network: read, .. }) = view else { return };
    let config = &network.plugin.config;
    let route = read.routes.iter().position(|route| route.dst.prefix_len() == 0);
    // The plugin bridge adds the route by itself.
    let by_plugin = config.get(DEFAULT_GATEWAY).filter(|gateway| gateway.to_json() == true).map(|_| DEFAULT_GATEWAY);
    let key = route.map(|route| format!("ipam.routes[{route}].dst")).or(by_plugin.map(str::to_owned));
    let Some(key) = key else { return };
    let place = Place::new(network.plugin.source, &key_path::find(config, &key).mark());
    let message = format!("a default route for {}, which is not the pod's first interface", interface.ifname);
    findings.push(
        Finding::warning(code::DEFAULT_ROUTE, place, message)
            .related(interface.place.clone(), format!("{} selects it here", interface.workload.label()))
            .help("name the networks that are to be reached there, or set `default-route` in the pod's selection"),
    );
}

/// Warns of addresses in a network selection that the definition doesn't pass to the plugin.
fn no_capability(interface: &PlannedInterface<'_>, network: &PlannedNetwork<'_>, findings: &mut Vec<Finding>) {
    let has = network.plugin.config.at(&["capabilities", "ips"]).is_some_and(|ips| ips.to_json() == true);
    if interface.ips.is_empty() || has || !network.plugin.is_ours {
        return;
    }
    let message = format!("`ips` of {} without the capability in {}", interface.ifname, label(network.definition));
    findings.push(
        Finding::warning(code::NO_CAPABILITY, interface.place.clone(), message)
            .related(network.definition.place.clone(), "this configuration has no \"capabilities\": {\"ips\": true}")
            .help("add it, or use the annotation kube-ipam.<ifname>.ip"),
    );
}

/// Warns of annotations of other address managers on a pod whose addresses kube-ipam assigns.
fn foreign_annotations(interface: &PlannedInterface<'_>, network: &PlannedNetwork<'_>, findings: &mut Vec<Finding>) {
    if !network.plugin.is_ours {
        return;
    }
    for annotation in &interface.workload.template.annotations {
        let foreign = FOREIGN_ANNOTATIONS.iter().find(|(key, ..)| annotation.key == *key);
        let Some((key, program, field)) = foreign else { continue };
        let message = format!("annotation {key} is for {program}, and kube-ipam does not read it");
        let ifname = &interface.ifname;
        findings.push(
            Finding::warning(code::FOREIGN_ANNOTATION, annotation.key_place.clone(), message)
                .help(format!("for an interface of kube-ipam, write kube-ipam.{ifname}.{field}")),
        );
    }
}

/// Reports a DaemonSet whose pods all request the same addresses.
fn shared_by_nodes(interface: &PlannedInterface<'_>, certain: &[(u32, Vec<IpAddr>)], findings: &mut Vec<Finding>) {
    let workload = interface.workload;
    let own = workload.template.field(Some(&interface.ifname), "ip");
    let annotation = own.or_else(|| workload.template.field(None, "ip"));
    let Some(annotation) =
        annotation.filter(|_| workload.kind == Kind::DaemonSet && workload.nodes.is_none() && !certain.is_empty())
    else {
        return;
    };
    let message = format!("{} has a pod on each node, and all of them ask for {}", workload.label(), annotation.value);
    findings.push(
        Finding::error(code::SHARED_BY_REPLICAS, annotation.place.clone(), message)
            .help(format!("give them a list: kube-ipam.{}.pool with an address for each node", interface.ifname)),
    );
}

/// Reports addresses of an unscoped annotation that are in no subnet of the pod's networks.
fn unscoped_for_nobody(
    own: &[PlannedInterface<'_>],
    networks: &[PlannedNetwork<'_>],
    sources: &[Source],
    findings: &mut Vec<Finding>,
) {
    let Some(interface) = own.first() else { return };
    let Some(annotation) = interface.workload.template.field(None, "ip") else { return };
    // The address may belong to a network that the plan doesn't know, so nothing is reported then.
    let planned = own.iter().filter_map(|interface| match interface.network {
        NetworkRef::Planned(network) => Some(Some(&networks[network]).filter(|network| !network.views.is_empty())),
        // In most clusters, another plugin configures the first interface and doesn't read the annotation.
        NetworkRef::OnNodes if interface.ifname.as_str() == FIRST_INTERFACE => None,
        NetworkRef::OnNodes | NetworkRef::Unknown => Some(None),
    });
    let Some(planned) = planned.collect::<Option<Vec<_>>>() else { return };
    for text in annotation.value.split(',').map(str::trim) {
        let Ok(ip) = address::parse(text.split('/').next().unwrap_or(text)) else { continue };
        let is_in_one = planned.iter().any(|network| ranges(network).any(|range| range.subnet.contains(&ip)));
        if !is_in_one {
            let message = format!("{ip} is in no subnet of this pod's networks, and so for none of its interfaces");
            let place = annotation.place.of_text(sources, text);
            findings.push(
                Finding::error(code::UNSCOPED_FOR_NOBODY, place, message)
                    .help("correct the address, or select its network"),
            );
        }
    }
}
