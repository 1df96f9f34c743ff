//! Requests by the annotations of a pod: every row of precedence, and every error.

use std::collections::BTreeMap;

use insta::assert_snapshot;

use super::*;
use crate::cause::chain;
use crate::ipam::address::Span;
use crate::ipam::name::IfName;

/// A pod's interface on a network, and its inputs.
#[derive(Clone)]
pub(super) struct Case<'a> {
    network: Network,
    ifname: &'a str,
    annotations: Vec<(&'a str, &'a str)>,
    ips: Vec<&'a str>,
    ordinal: Option<Ordinal>,
    namespace: Option<&'a str>,
}

/// net1 of a pod with net1 and net2, on a network of IPv4 and IPv6.
pub(super) fn net1<'a>(annotations: &[(&'a str, &'a str)]) -> Case<'a> {
    let mut case = eth0(annotations);
    case.ifname = "net1";
    case.annotations.push(("k8s.v1.cni.cncf.io/networks", "web, db"));
    case
}

/// eth0 of a pod that selects no networks.
fn eth0<'a>(annotations: &[(&'a str, &'a str)]) -> Case<'a> {
    let annotations = annotations.to_vec();
    Case { network: dual(), ifname: "eth0", annotations, ips: Vec::new(), ordinal: None, namespace: None }
}

impl<'a> Case<'a> {
    pub(super) fn of(self, network: Network) -> Self {
        Self { network, ..self }
    }

    pub(super) fn runtime(self, ips: &[&'a str]) -> Self {
        Self { ips: ips.to_vec(), ..self }
    }

    pub(super) fn ordinal(self, pod: u32, first: u32) -> Self {
        Self { ordinal: Some(Ordinal { pod, first }), ..self }
    }

    pub(super) fn in_namespace(self, namespace: &'a str) -> Self {
        Self { namespace: Some(namespace), ..self }
    }

    /// Reads the annotations for the interface.
    pub(super) fn read(&self) -> Result<Annotations, AnnotationError> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let annotations: BTreeMap<String, String> = self.annotations.iter().map(owned).collect();
        Annotations::read(&annotations, &IfName::new(self.ifname).unwrap())
    }

    pub(super) fn resolve(&self) -> Result<(Vec<AddressRequest>, Vec<Note>), Refusal> {
        let annotations = self.read()?;
        let ips: Vec<String> = self.ips.iter().map(|ip| (*ip).to_owned()).collect();
        let requested = RequestedAddresses { source: RequestSource::RuntimeConfig, ips };
        let inputs = Inputs {
            requested: (!self.ips.is_empty()).then_some(&requested),
            annotations: Some(&annotations),
            ordinal: self.ordinal,
            namespace: self.namespace,
            ..nothing()
        };
        resolve(self.network.ranges(), &inputs)
    }

    /// The selection of each set with its source, then the notes; or the error.
    pub(super) fn told(&self) -> String {
        let told = |AddressRequest { selection, source, overrides, fallback_to_any, .. }: &AddressRequest| {
            let mut told = selection.to_string();
            told.extend(overrides.prefix.map(|prefix| format!(" /{prefix}")));
            told.extend(overrides.gateway.map(|gateway| format!(" via {gateway}")));
            told.extend((*selection != Selection::Auto).then(|| format!(" by {source}")));
            told.extend(fallback_to_any.then_some(" unless taken"));
            told
        };
        match self.resolve() {
            Ok((requests, notes)) => {
                let requests = requests.iter().map(told).collect::<Vec<_>>().join(" | ");
                notes.iter().fold(requests, |told, note| format!("{told}; note: {note}"))
            }
            Err(refusal) => {
                assert!(!refusal.is_passing(), "no later try of the same call can lift it");
                format!("{}: {}", refusal.label(), chain(&refusal))
            }
        }
    }
}

#[test]
fn an_interface_gets_what_its_own_annotation_asks_for_and_the_sets_left_out_any_address() {
    assert_snapshot!(net1(&[]).told(), @"any address | any address");
    assert_snapshot!(net1(&[("kube-ipam.net1.ip", "10.0.0.7")]).told(), @"10.0.0.7 by annotation kube-ipam.net1.ip | any address");
    assert_snapshot!(net1(&[("kube-ipam.net1.ip", " 10.0.1.7 , fd00::7,")]).told(), @"10.0.1.7 by annotation kube-ipam.net1.ip | fd00::7 by annotation kube-ipam.net1.ip");
    assert_snapshot!(net1(&[("kube-ipam.net1.ip", "10.0.0.7/24, 10.0.1.7, 10.0.0.7")]).told(), @"10.0.0.7, 10.0.1.7 by annotation kube-ipam.net1.ip | any address");
    assert_snapshot!(net1(&[("kube-ipam.net2.ip", "10.0.0.7")]).told(), @"any address | any address");
    assert_snapshot!(eth0(&[("kube-ipam.eth0.ip", "10.0.0.7")]).told(), @"10.0.0.7 by annotation kube-ipam.eth0.ip | any address");
}

#[test]
fn explicit_requests_for_one_set_must_agree() {
    let own = ("kube-ipam.net1.ip", "10.0.0.7");
    assert_snapshot!(net1(&[own]).runtime(&["10.0.0.7/24"]).told(), @"10.0.0.7 by annotation kube-ipam.net1.ip | any address");
    assert_snapshot!(net1(&[own]).runtime(&["fd00::7"]).told(), @"10.0.0.7 by annotation kube-ipam.net1.ip | fd00::7 by runtimeConfig.ips");
    assert_snapshot!(net1(&[own]).runtime(&["10.0.1.7"]).told(), @"annotation: of 10.0.0.1-10.0.0.254 of 10.0.0.0/24, 10.0.1.1-10.0.1.254 of 10.0.1.0/24, annotation kube-ipam.net1.ip asks for 10.0.0.7, but runtimeConfig.ips for 10.0.1.7; remove one of them or make both equal");
    assert_snapshot!(net1(&[own, ("kube-ipam.ip", "10.0.0.7")]).told(), @"10.0.0.7 by annotation kube-ipam.net1.ip | any address");
    assert_snapshot!(net1(&[own, ("kube-ipam.ip", "10.0.0.8")]).told(), @"annotation: of 10.0.0.1-10.0.0.254 of 10.0.0.0/24, 10.0.1.1-10.0.1.254 of 10.0.1.0/24, annotation kube-ipam.net1.ip asks for 10.0.0.7, but annotation kube-ipam.ip for 10.0.0.8; remove one of them or make both equal");
    assert_snapshot!(net1(&[("kube-ipam.ip", "10.0.0.8")]).runtime(&["10.0.0.7"]).told(), @"annotation: of 10.0.0.1-10.0.0.254 of 10.0.0.0/24, 10.0.1.1-10.0.1.254 of 10.0.1.0/24, runtimeConfig.ips asks for 10.0.0.7, but annotation kube-ipam.ip for 10.0.0.8; remove one of them or make both equal");
    assert_snapshot!(net1(&[own, ("kube-ipam.net1.pool", "10.0.0.8")]).told(), @"annotation: annotations kube-ipam.net1.ip and kube-ipam.net1.pool exclude each other; keep one of them");
    assert_snapshot!(net1(&[("kube-ipam.net1.pool", "10.0.0.8-10.0.0.9")]).runtime(&["10.0.0.8"]).told(), @"annotation: of 10.0.0.1-10.0.0.254 of 10.0.0.0/24, 10.0.1.1-10.0.1.254 of 10.0.1.0/24, annotation kube-ipam.net1.pool asks for one of 10.0.0.8-10.0.0.9, but runtimeConfig.ips for 10.0.0.8; remove one of them or make both equal");
}

#[test]
fn an_unscoped_address_is_for_the_interface_whose_subnet_holds_it_and_for_no_other() {
    assert_snapshot!(net1(&[("kube-ipam.ip", "10.0.0.7")]).told(), @"10.0.0.7 by annotation kube-ipam.ip unless taken | any address");
    assert_snapshot!(net1(&[("kube-ipam.ip", "10.9.0.7, fd00::7")]).told(), @"any address | fd00::7 by annotation kube-ipam.ip unless taken; note: annotation kube-ipam.ip: 10.9.0.7 is in no subnet of this network, and so not for this interface");
    assert_snapshot!(eth0(&[("kube-ipam.ip", "10.9.0.7")]).told(), @"not_assignable: 10.9.0.7, requested by annotation kube-ipam.ip, is in no subnet of this network (10.0.0.0/24, 10.0.1.0/24, fd00::/64)");
    assert_snapshot!(net1(&[("kube-ipam.ip", "")]).told(), @"any address | any address");
    assert_snapshot!(net1(&[("kube-ipam.ip", "10.0.0.256")]).told(), @r#"bad_request: the address requested by annotation kube-ipam.ip can't be read: "10.0.0.256" is not an IP address"#);
    assert_snapshot!(net1(&[("kube-ipam.ip", "10.0.0.1")]).told(), @"not_assignable: 10.0.0.1, requested by annotation kube-ipam.ip, can't be assigned: it is the gateway of 10.0.0.0/24");
    // A second network in the runtime's own folder: this interface may not be the only one.
    let eth1 = Case { ifname: "eth1", ..eth0(&[("kube-ipam.ip", "10.9.0.7")]) };
    assert_snapshot!(eth1.told(), @"any address | any address; note: annotation kube-ipam.ip: 10.9.0.7 is in no subnet of this network, and so not for this interface");
}

#[test]
fn an_address_of_a_range_for_other_nodes_is_refused_with_these_nodes_also_unscoped() {
    let unscoped = [("kube-ipam.ip", "10.1.0.5")];
    let told = [net1(&unscoped), eth0(&unscoped)].map(|case| case.of(racks()).told());
    assert_snapshot!(told[0], @"not_assignable: 10.1.0.5, requested by annotation kube-ipam.ip, is in range 10.1.0.0/24 of this network, which is for nodes rack1-*, rack3-*; this node is rack2-a");
    assert_eq!(told[1], told[0]);
    let own = [("kube-ipam.net1.ip", "10.1.0.5")];
    assert_snapshot!(net1(&own).of(racks()).told(), @"not_assignable: 10.1.0.5, requested by annotation kube-ipam.net1.ip, is in range 10.1.0.0/24 of this network, which is for nodes rack1-*, rack3-*; this node is rack2-a");
    assert_snapshot!(net1(&[]).of(racks()).runtime(&["10.1.0.5"]).told(), @"not_assignable: 10.1.0.5, requested by runtimeConfig.ips, is in range 10.1.0.0/24 of this network, which is for nodes rack1-*, rack3-*; this node is rack2-a");
    // Other nodes change nothing for addresses of this node's ranges, or of none.
    assert_snapshot!(net1(&[("kube-ipam.ip", "10.2.0.5")]).of(racks()).told(), @"10.2.0.5 by annotation kube-ipam.ip unless taken");
    assert_snapshot!(net1(&[("kube-ipam.ip", "10.9.0.5")]).of(racks()).told(), @"any address; note: annotation kube-ipam.ip: 10.9.0.5 is in no subnet of this network, and so not for this interface");
}

#[test]
fn an_address_of_a_range_for_other_labels_is_refused_with_the_labels_of_this_node() {
    let own = [("kube-ipam.net1.ip", "10.1.0.5")];
    assert_snapshot!(net1(&own).of(zones(Some(&[("zone", "b")]))).told(), @"not_assignable: 10.1.0.5, requested by annotation kube-ipam.net1.ip, is in range 10.1.0.0/24 of this network, which is for nodes labelled zone=a; this node is worker-3 (nodeLabels: zone=b)");
    assert_snapshot!(net1(&[("kube-ipam.ip", "10.1.0.5")]).of(zones(None)).told(), @"not_assignable: 10.1.0.5, requested by annotation kube-ipam.ip, is in range 10.1.0.0/24 of this network, which is for nodes labelled zone=a; this node is worker-3 (nodeLabels: missing in the node defaults)");
    assert_snapshot!(net1(&[("kube-ipam.ip", "10.2.0.5")]).of(zones(Some(&[("zone", "b")]))).told(), @"10.2.0.5 by annotation kube-ipam.ip unless taken");
}

#[test]
fn a_network_without_a_range_for_the_node_gives_nothing_whatever_is_asked() {
    let nodes = vec![NodeSelector { names: Vec::new(), labels: labels(&[("zone", "a")]) }];
    let unplaced = vec![UnplacedSet { at: "ipam.ranges[1]".to_owned(), family: Family::V6, nodes }];
    let network = || Network { unplaced: unplaced.clone(), ..zones(Some(&[("zone", "b")])) };
    assert_snapshot!(net1(&[]).of(network()).told(), @"node: no range of ipam.ranges[1] is for node worker-3 (nodeLabels: zone=b); their nodes are labelled zone=a");
    assert_eq!(net1(&[("kube-ipam.net1.ip", "10.2.0.5")]).of(network()).told(), net1(&[]).of(network()).told());
    // The refusal of another node's address names that node's selector, because it has its own remedy.
    assert_snapshot!(net1(&[("kube-ipam.net1.ip", "10.1.0.5")]).of(network()).told(), @"not_assignable: 10.1.0.5, requested by annotation kube-ipam.net1.ip, is in range 10.1.0.0/24 of this network, which is for nodes labelled zone=a; this node is worker-3 (nodeLabels: zone=b)");
}

#[test]
fn an_unscoped_address_of_a_range_for_other_namespaces_is_refused() {
    let closed = Range { namespaces: vec!["db".to_owned()], ..range("10.0.1.0/24") };
    let network = network(vec![vec![range("10.0.0.0/24"), closed]]);
    assert_snapshot!(net1(&[("kube-ipam.ip", "10.0.1.7")]).of(network).told(), @"namespace: pods of no namespace may not get addresses from 10.0.1.1-10.0.1.254 of 10.0.1.0/24: its `namespaces` are db");
}

#[test]
fn netmask_and_gateway_override_those_of_the_subnet_where_they_fit() {
    let told = |annotations: &[(&'static str, &'static str)]| net1(annotations).told();
    let own = ("kube-ipam.net1.ip", "10.0.0.7");
    let gateway = |value| ("kube-ipam.net1.gateway", value);
    let netmask = |value| ("kube-ipam.net1.netmask", value);
    assert_snapshot!(told(&[own, netmask("255.255.0.0"), gateway("10.0.9.1")]), @"10.0.0.7 /16 via 10.0.9.1 by annotation kube-ipam.net1.ip | any address");
    assert_snapshot!(told(&[own, netmask("/25")]), @"10.0.0.7 /25 by annotation kube-ipam.net1.ip | any address");
    assert_snapshot!(told(&[own, netmask("25")]), @"10.0.0.7 /25 by annotation kube-ipam.net1.ip | any address");
    assert_snapshot!(told(&[("kube-ipam.net1.ip", "10.0.0.7/25"), netmask("/25")]), @"10.0.0.7 /25 by annotation kube-ipam.net1.ip | any address");
    assert_snapshot!(told(&[("kube-ipam.net1.ip", "10.0.0.7/24"), netmask("/25")]), @"bad_request: 10.0.0.7/24, requested by annotation kube-ipam.net1.ip, has another prefix length than its subnet 10.0.0.0/25; leave the length out or write /25");
    assert_snapshot!(told(&[own, netmask("/30")]), @"annotation: annotation kube-ipam.net1.netmask: /30 does not fit 10.0.0.7: it would be the first or the last address of 10.0.0.4/30");
    assert_snapshot!(told(&[own, netmask("255.0.255.0")]), @r#"annotation: annotation kube-ipam.net1.netmask: "255.0.255.0" is not a netmask such as 255.255.0.0 or /16"#);
    assert_snapshot!(told(&[own, netmask("/0")]), @r#"annotation: annotation kube-ipam.net1.netmask: "/0" is not a netmask such as 255.255.0.0 or /16"#);
    assert_snapshot!(told(&[own, netmask("/64")]), @"annotation: annotation kube-ipam.net1.netmask: /64 does not fit this interface: it has no IPv6 address that this could be for");
    assert_snapshot!(told(&[own, gateway("10.0.9.1")]), @"annotation: annotation kube-ipam.net1.gateway: 10.0.9.1 does not fit 10.0.0.7/24: a gateway must be a usable address of 10.0.0.0/24");
    assert_snapshot!(told(&[own, gateway("10.0.0.7")]), @"annotation: annotation kube-ipam.net1.gateway: 10.0.0.7 does not fit 10.0.0.7: an interface is not its own gateway");
    assert_snapshot!(told(&[own, gateway("fd00::9")]), @"annotation: annotation kube-ipam.net1.gateway: fd00::9 does not fit this interface: it has no IPv6 address that this could be for");
    assert_snapshot!(told(&[own, gateway("there")]), @r#"annotation: annotation kube-ipam.net1.gateway: "there" is not an address such as 10.188.0.1"#);
    assert_snapshot!(told(&[own, netmask("/32"), gateway("10.9.9.9")]), @"10.0.0.7 /32 via 10.9.9.9 by annotation kube-ipam.net1.ip | any address");
    assert_snapshot!(told(&[("kube-ipam.net1.ip", "10.0.0.7, fd00::7"), gateway("10.0.0.9, fd00::9"), netmask("255.255.255.128, /80")]), @"10.0.0.7 /25 via 10.0.0.9 by annotation kube-ipam.net1.ip | fd00::7 /80 via fd00::9 by annotation kube-ipam.net1.ip");
    // For a random address, an override must fit every address of the set.
    assert_snapshot!(told(&[gateway("fd00::9")]), @"any address | any address via fd00::9");
    assert_snapshot!(told(&[gateway("10.0.0.9")]), @"annotation: annotation kube-ipam.net1.gateway: 10.0.0.9 does not fit 10.0.1.0/24: a gateway must be a usable address of 10.0.1.0/24");
    assert_snapshot!(told(&[netmask("/16")]), @"any address /16 | any address");
    assert_snapshot!(told(&[netmask("/25")]), @"annotation: annotation kube-ipam.net1.netmask: /25 does not fit 10.0.0.0/24: a longer prefix than the subnet's needs an address of its own (ip)");
    // Unscoped, as in the Go kube-ipam.
    let unscoped = ("kube-ipam.ip", "10.0.0.7");
    let both = [("kube-ipam.netmask", "255.255.0.0"), ("kube-ipam.gateway", "10.0.9.1")];
    assert_snapshot!(told(&[unscoped, both[0], both[1]]), @"10.0.0.7 /16 via 10.0.9.1 by annotation kube-ipam.ip unless taken | any address");
    assert_snapshot!(told(&[unscoped, both[0], both[1], gateway("10.0.8.1")]), @"10.0.0.7 /16 via 10.0.8.1 by annotation kube-ipam.ip unless taken | any address");
    // One scoped and one unscoped: they must fit together.
    assert_snapshot!(told(&[unscoped, both[1], netmask("/16")]), @"10.0.0.7 /16 via 10.0.9.1 by annotation kube-ipam.ip unless taken | any address");
    assert_snapshot!(told(&[unscoped, ("kube-ipam.gateway", "10.0.0.200"), netmask("/25")]), @"annotation: annotation kube-ipam.gateway: 10.0.0.200 does not fit 10.0.0.7/25: a gateway must be a usable address of 10.0.0.0/25");
    assert_snapshot!(told(&both), @"any address | any address; note: annotation kube-ipam.netmask has no effect without kube-ipam.ip; note: annotation kube-ipam.gateway has no effect without kube-ipam.ip");
    assert_snapshot!(told(&[("kube-ipam.ip", "10.9.0.7"), both[0], both[1]]), @"any address | any address; note: annotation kube-ipam.ip: 10.9.0.7 is in no subnet of this network, and so not for this interface");
}

#[test]
fn a_pool_gives_one_of_its_addresses() {
    let told = |value| net1(&[("kube-ipam.net1.pool", value)]).told();
    assert_snapshot!(told("10.0.0.20-10.0.0.29, 10.0.0.40, 10.0.1.7"), @"one of 10.0.0.20-10.0.0.29, 10.0.0.40, 10.0.1.7 by annotation kube-ipam.net1.pool | any address");
    assert_snapshot!(told("10.0.0.20-10.0.0.29, fd00::7-fd00::ffff"), @"one of 10.0.0.20-10.0.0.29 by annotation kube-ipam.net1.pool | one of fd00::7-fd00::ffff by annotation kube-ipam.net1.pool");
    assert_snapshot!(told("10.0.0.32/28"), @"one of 10.0.0.32-10.0.0.47 by annotation kube-ipam.net1.pool | any address");
    assert_snapshot!(told("10.0.0.20-10.0.0.29, 10.0.0.25"), @r#"annotation: annotation kube-ipam.net1.pool: "10.0.0.25" is not named once: some of its addresses stand in the list twice"#);
    assert_snapshot!(told("10.0.0.1-10.0.0.9"), @"not_assignable: 10.0.0.1, requested by kube-ipam.net1.pool, can't be assigned: it is the gateway of 10.0.0.0/24");
    assert_snapshot!(told("10.0.0.250-10.0.0.255"), @"not_assignable: 10.0.0.255, requested by kube-ipam.net1.pool, can't be assigned: it is the broadcast address of 10.0.0.0/24");
    assert_snapshot!(told("10.9.0.1-10.9.0.9"), @"not_assignable: 10.9.0.1, requested by kube-ipam.net1.pool, is in no subnet of this network (10.0.0.0/24, 10.0.1.0/24, fd00::/64)");
    assert_snapshot!(told("10.0.0.7-10.0.1.7"), @"not_assignable: 10.0.0.255, requested by kube-ipam.net1.pool, can't be assigned: it is the broadcast address of 10.0.0.0/24");
    assert_snapshot!(told("10.0.0.9-10.0.0.7"), @r#"annotation: annotation kube-ipam.net1.pool: "10.0.0.9-10.0.0.7" is not a list of addresses and spans such as 10.188.0.20-10.188.0.29, 10.188.0.40, or the name of a pool"#);
    assert_snapshot!(told("ten"), @"annotation: annotation kube-ipam.net1.pool: network db-net has no pool ten; it has no pools");
    assert_snapshot!(told("10.x"), @r#"annotation: annotation kube-ipam.net1.pool: "10.x" is not a list of addresses and spans such as 10.188.0.20-10.188.0.29, 10.188.0.40, or the name of a pool"#);
    assert_snapshot!(told(","), @r#"annotation: annotation kube-ipam.net1.pool: "," is not a list with an address in it"#);
    assert_snapshot!(net1(&[("kube-ipam.net1.pool", "10.0.0.8-10.0.0.9"), ("kube-ipam.net1.gateway", "10.0.0.8")]).told(), @"annotation: annotation kube-ipam.net1.gateway: 10.0.0.8 does not fit 10.0.0.8-10.0.0.9: it is one of the pool, which the interface may get itself");
}

#[test]
fn a_pool_is_bound_by_the_window_and_the_excludes_of_its_range() {
    let window = Span::new("10.0.0.16".parse().unwrap(), "10.0.0.31".parse().unwrap());
    let exclude = vec!["10.0.0.20".parse().unwrap()];
    let of = |value| {
        let range = Range { fixed: window, exclude: exclude.clone(), ..range("10.0.0.0/24") };
        net1(&[("kube-ipam.net1.pool", value)]).of(network(vec![vec![range]])).told()
    };
    assert_snapshot!(of("10.0.0.21-10.0.0.31"), @"one of 10.0.0.21-10.0.0.31 by annotation kube-ipam.net1.pool");
    assert_snapshot!(of("10.0.0.19-10.0.0.22"), @"not_assignable: 10.0.0.20, requested by kube-ipam.net1.pool, can't be assigned: it is excluded by 10.0.0.20");
    assert_snapshot!(of("10.0.0.30-10.0.0.33"), @"not_assignable: 10.0.0.33, requested by kube-ipam.net1.pool, can't be assigned: it is outside the window for fixed addresses, 10.0.0.16-10.0.0.31 (fixedStart, fixedEnd)");
}

#[test]
fn a_stateful_sets_pod_takes_the_address_at_its_place() {
    let of = |value, pod, first| net1(&[("kube-ipam.net1.pool", value)]).ordinal(pod, first).told();
    assert_snapshot!(of("10.0.0.20-10.0.0.21, 10.0.0.9, fd00::7-fd00::ffff", 0, 0), @"10.0.0.20 by annotation kube-ipam.net1.pool | fd00::7 by annotation kube-ipam.net1.pool");
    assert_snapshot!(of("10.0.0.20-10.0.0.21, 10.0.0.9, fd00::7-fd00::ffff", 2, 0), @"10.0.0.9 by annotation kube-ipam.net1.pool | fd00::9 by annotation kube-ipam.net1.pool");
    assert_snapshot!(of("10.0.0.20-10.0.0.21", 6, 5), @"10.0.0.21 by annotation kube-ipam.net1.pool | any address");
    assert_snapshot!(of("10.0.0.20-10.0.0.21", 2, 0), @"annotation: annotation kube-ipam.net1.pool has 2 addresses in 10.0.0.1-10.0.0.254 of 10.0.0.0/24, 10.0.1.1-10.0.1.254 of 10.0.1.0/24, too few for pod number 2 (counted from 0); add one for every replica");
    assert_snapshot!(of("10.0.0.20-10.0.0.21", 4, 5), @"annotation: annotation kube-ipam.net1.pool has 2 addresses in 10.0.0.1-10.0.0.254 of 10.0.0.0/24, 10.0.1.1-10.0.1.254 of 10.0.1.0/24, too few for pod number 4 (counted from 5); add one for every replica");
}

#[test]
fn what_nobody_would_read_is_reported() {
    let told = |annotations: &[(&'static str, &'static str)]| net1(annotations).told();
    let own = ("kube-ipam.net1.ip", "10.0.0.7");
    // Mistakes in this interface's keys.
    assert_snapshot!(told(&[("kube-ipam.net1.ipp", "10.0.0.7")]), @"annotation: annotation kube-ipam.net1.ipp is unknown; did you mean kube-ipam.net1.ip?");
    assert_snapshot!(told(&[("kube-ipam.net1.IP", "10.0.0.7")]), @"annotation: annotation kube-ipam.net1.IP is unknown; did you mean kube-ipam.net1.ip?");
    assert_snapshot!(told(&[own, ("kube-ipam.net1.colour", "red")]), @"annotation: annotation kube-ipam.net1.colour is unknown; the fields of an interface are ip, netmask, gateway, pool, families, sticky");
    assert_snapshot!(told(&[("kube-ipam.net1.ip", " ")]), @"annotation: annotation kube-ipam.net1.ip is empty; give it a value or remove it");
    assert_snapshot!(told(&[("kube-ipam.net1.sticky", "yes")]), @r#"annotation: annotation kube-ipam.net1.sticky: "yes" is not "true" or "false""#);
    assert_snapshot!(told(&[("kube-ipam.pool", "10.0.0.7")]), @"annotation: annotation kube-ipam.pool does not say for which interface it is; for this one, write kube-ipam.net1.pool");
    assert_snapshot!(told(&[("kube-ipam.netmaks", "255.255.0.0")]), @"annotation: annotation kube-ipam.netmaks is unknown; did you mean kube-ipam.netmask?");
    assert_snapshot!(told(&[("kube-ipam.colour", "red")]), @"any address | any address; note: annotation kube-ipam.colour is unknown to kube-ipam, and has no effect");
    // In keys of other interfaces: an error if this interface was probably meant.
    assert_snapshot!(told(&[("kube-ipam.net9.ip", "10.0.0.7")]), @"annotation: annotation kube-ipam.net9.ip is for an interface that this pod does not have, and net1 would get a random address instead; the pod's interfaces are eth0, net1, net2");
    assert_snapshot!(told(&[("kube-ipam.net9.pool", "10.0.0.7-10.0.0.9")]), @"annotation: annotation kube-ipam.net9.pool is for an interface that this pod does not have, and net1 would get a random address instead; the pod's interfaces are eth0, net1, net2");
    assert_snapshot!(told(&[("kube-ipam.net9.ip", "10.9.0.7")]), @"any address | any address; note: annotation kube-ipam.net9.ip has no effect: the pod's interfaces are eth0, net1, net2");
    assert_snapshot!(told(&[own, ("kube-ipam.net9.ip", "10.0.0.8")]), @"10.0.0.7 by annotation kube-ipam.net1.ip | any address; note: annotation kube-ipam.net9.ip has no effect: the pod's interfaces are eth0, net1, net2");
    assert_snapshot!(told(&[("kube-ipam.net2.ipp", "10.0.0.7")]), @"any address | any address");
    assert_snapshot!(eth0(&[("kube-ipam.net1.ip", "10.0.0.7")]).told(), @"annotation: annotation kube-ipam.net1.ip is for an interface that this pod does not have, and eth0 would get a random address instead; the pod's interfaces are eth0");
    assert_snapshot!(eth0(&[("kube-ipam.eth1.ip", "10.0.0.7")]).told(), @"any address | any address");
    // Keys of other programs.
    assert_snapshot!(told(&[("kube-ipam.example/ip", "10.0.0.7"), ("kube-ipam", "x"), ("kube-ipam-2.ip", "y")]), @"any address | any address");
}

#[test]
fn the_interfaces_of_a_pod_are_counted_as_multus_counts_them() {
    // An annotation for an interface that the pod does not have, with an address of this network.
    let stray = ("kube-ipam.net9.ip", "10.0.0.7");
    let told = |selection: &'static str| {
        let case = eth0(&[stray, ("k8s.v1.cni.cncf.io/networks", selection)]);
        case.told().rsplit_once("interfaces are ").map_or_else(|| "not known".to_owned(), |(_, names)| names.to_owned())
    };
    assert_snapshot!(told("web,db"), @"eth0, net1, net2");
    assert_snapshot!(told("ns/web@front, db , ns/x@y"), @"eth0, front, net2, y");
    assert_snapshot!(told(r#"[{"name":"web"},{"name":"db","interface":"data0"},{"name":"db","namespace":"ns","interface":""}]"#), @"eth0, net1, data0, net3");
    assert_snapshot!(told(r#"[{"name":"web"}"#), @"not known");
    assert_snapshot!(told(r#"{"name":"web"}"#), @"not known");
    assert_snapshot!(told(""), @"eth0");
    // An interface in no annotation: the administrator attached it, and may have attached more.
    let net5 = Case { ifname: "net5", ..net1(&[stray]) };
    assert_snapshot!(net5.told(), @"any address | any address");
}

#[test]
fn a_list_in_the_form_of_json_is_refused_with_the_form_that_is_meant() {
    let told = |field: &str, value| {
        let key = format!("kube-ipam.{field}");
        net1(&[(key.as_str(), value)]).told()
    };
    assert_snapshot!(told("net1.ip", r#"["10.0.0.7"]"#), @"annotation: annotation kube-ipam.net1.ip is written as a JSON list; write the addresses with commas between them: 10.0.0.7");
    assert_snapshot!(told("net1.ip", r#"[ "10.0.0.7", "fd00::7" ]"#), @"annotation: annotation kube-ipam.net1.ip is written as a JSON list; write the addresses with commas between them: 10.0.0.7, fd00::7");
    assert_snapshot!(told("net1.pool", r#"["10.0.0.20-10.0.0.29"]"#), @"annotation: annotation kube-ipam.net1.pool is written as a JSON list; write the addresses with commas between them: 10.0.0.20-10.0.0.29");
    assert_snapshot!(told("ip", "[10.0.0.7]"), @"annotation: annotation kube-ipam.ip is written as a JSON list; write the addresses with commas between them: 10.0.0.7");
    assert!(told("net1.ip", &format!("[{}]", "\"10.0.0.7\",".repeat(1000))).len() < 300);
}

#[test]
fn an_empty_entry_of_a_list_is_an_error_and_a_last_comma_is_not() {
    let told = |value| net1(&[("kube-ipam.net1.ip", value)]).told();
    for value in [",10.0.0.7", "10.0.0.7,,fd00::7", "10.0.0.7, ,", " , 10.0.0.7"] {
        assert_eq!(
            told(value),
            "annotation: annotation kube-ipam.net1.ip has an empty entry; write what is meant, or remove its comma",
            "{value}"
        );
    }
    assert_eq!(told("10.0.0.7,"), "10.0.0.7 by annotation kube-ipam.net1.ip | any address");
}

#[test]
fn what_is_larger_than_any_list_of_addresses_is_refused_before_any_work_on_it() {
    let told = |value: &str| net1(&[("kube-ipam.net1.pool", value)]).told();
    let entries = |count: u32| {
        let entry = |n: u32| format!("10.0.{}.{}", n / 200, n % 200 + 10);
        (0..count).map(entry).collect::<Vec<_>>().join(", ")
    };
    assert_snapshot!(told(&"1".repeat(256 << 10)), @"annotation: annotation kube-ipam.net1.pool has 262144 bytes; at most 102400 are possible");
    assert_snapshot!(told(&entries(1025)), @"annotation: annotation kube-ipam.net1.pool has 1025 entries; at most 1024 are possible");
    assert_snapshot!(told(&format!("10.0.0.7, {}", "x".repeat(90_000))), @r#"annotation: annotation kube-ipam.net1.pool: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…" is not a list of addresses and spans such as 10.188.0.20-10.188.0.29, 10.188.0.40, or the name of a pool"#);
    let wide = || network(vec![vec![range("10.0.0.0/16")]]);
    let whole = entries(1024);
    assert!(net1(&[("kube-ipam.net1.pool", &whole)]).of(wide()).told().ends_with("by annotation kube-ipam.net1.pool"));
    let twice = format!("{}, 10.0.0.40", entries(1000));
    assert_snapshot!(net1(&[("kube-ipam.net1.pool", &twice)]).of(wide()).told(), @r#"annotation: annotation kube-ipam.net1.pool: "10.0.0.40" is not named once: some of its addresses stand in the list twice"#);
}

#[test]
fn what_is_said_of_thousands_of_interfaces_is_short() {
    let selection = (0..10_000).map(|n| format!("web@if{n}")).collect::<Vec<_>>().join(",");
    let keys: Vec<String> = (0..5_000).map(|n| format!("kube-ipam.nic{n}.ip")).collect();
    let mut annotations: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "10.9.0.7")).collect();
    annotations.push(("k8s.v1.cni.cncf.io/networks", &selection));
    let (_, notes) = eth0(&annotations).resolve().unwrap();
    assert_eq!(notes.len(), 5_000);
    assert_snapshot!(notes[0].to_string(), @"annotation kube-ipam.nic0.ip has no effect: the pod's interfaces are eth0, if0, if1, if2, if3, if4, if5, if6, if7, if8, if9, if10, if11, if12, if13, if14 and 9985 more");
}
