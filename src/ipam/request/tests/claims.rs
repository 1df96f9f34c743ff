//! The claim that a pod names for an interface, and the requests by its status.

use std::collections::BTreeMap;

use insta::assert_snapshot;

use super::*;
use crate::error::Error;
use crate::ipam::decide::tests::world::claim;
use crate::ipam::name::IfName;

/// The claim of an interface in a network selection.
fn named(ifname: &str, selection: &str) -> String {
    let annotations = BTreeMap::from([("k8s.v1.cni.cncf.io/networks".to_owned(), selection.to_owned())]);
    match Annotations::read(&annotations, &IfName::new(ifname).unwrap()) {
        Ok(annotations) => annotations.claim().unwrap_or("none").to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_claim_is_that_of_the_element_of_this_interface_and_of_no_other() {
    let three = r#"[
        {"name": "web", "ipam-claim-reference": "vm1.web"},
        {"name": "db", "interface": "data0", "ipam-claim-reference": "vm1.data"},
        {"name": "log", "namespace": "ops", "ipam-claim-reference": "vm1.log"}
    ]"#;
    for (ifname, claim) in
        [("net1", "vm1.web"), ("net2", "none"), ("data0", "vm1.data"), ("net3", "vm1.log"), ("eth0", "none")]
    {
        assert_eq!(named(ifname, three), claim, "{ifname}");
    }
    for none in [
        "web, db",
        "web@data0,ops/db",
        "",
        "[]",
        "null",
        r#"[{"name": "web"}]"#,
        r#"[{"name": "web", "ipam-claim-reference": ""}]"#,
        r#"[{"name": "web", "ipam-claim-reference": null}]"#,
        // Multus can't read these, so no such pod starts.
        r#"[{"name": "web", "ipam-claim-reference": "vm1.web"}"#,
        r#"{"name": "web", "ipam-claim-reference": "vm1.web"}"#,
    ] {
        assert_eq!(named("net1", none), "none", "{none}");
    }
}

#[test]
fn a_reference_that_is_no_name_is_an_error_of_its_own_interface() {
    let element =
        |reference: &str| format!(r#"[{{"name": "web", "ipam-claim-reference": {reference}}}, {{"name": "db"}}]"#);
    assert_snapshot!(named("net1", &element(r#""other/vm1.web""#)), @r#"annotation k8s.v1.cni.cncf.io/networks: ipam-claim-reference "other/vm1.web" of interface net1 is not the name of an IPAMClaim; write the name of one in the pod's namespace"#);
    assert_snapshot!(named("net1", &element(r#"{"name": "vm1.web"}"#)), @r#"annotation k8s.v1.cni.cncf.io/networks: ipam-claim-reference {"name":"vm1.web"} of interface net1 is not the name of an IPAMClaim; write the name of one in the pod's namespace"#);
    for wrong in ["7", "true", r#""../pods/x""#, r#""VM1""#, r#"".""#, r#""a?b""#, r#""a b""#] {
        assert!(named("net1", &element(wrong)).contains("is not the name of an IPAMClaim"), "{wrong}");
        assert_eq!(named("net2", &element(wrong)), "none");
    }
}

/// The requests of net1 with a claim of these addresses, these annotations and the runtime's addresses; or the error
/// with its hint.
fn with(network: &Network, ips: &[&str], annotations: &[(&str, &str)], runtime: &[&str]) -> String {
    let claim = claim(ips);
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let annotations: BTreeMap<String, String> = annotations.iter().map(owned).collect();
    let annotations = Annotations::read(&annotations, &IfName::new("net1").unwrap()).unwrap();
    let requested = requested(runtime);
    let inputs =
        Inputs { requested: requested.as_ref(), annotations: Some(&annotations), claim: Some(&claim), ..nothing() };
    let told = |request: &AddressRequest| match &request.selection {
        Selection::Auto => request.selection.to_string(),
        selection => {
            let told = format!("{selection} by {}", request.source);
            let range = |ip: &IpAddr| request.set.range_of(*ip).unwrap();
            let at_random =
                matches!(selection, Selection::Exact(ips) if ips.iter().any(|ip| range(ip).assignable(*ip).is_err()));
            told + if at_random { ", if it has it" } else { "" }
                + if request.fallback_to_any { " unless taken" } else { "" }
        }
    };
    match resolve(network.ranges(), &inputs) {
        Ok((requests, _)) => requests.iter().map(told).collect::<Vec<_>>().join(" | "),
        Err(refusal) => {
            assert!(!refusal.is_passing());
            format!("{}: {}", refusal.label(), Error::from(refusal).full())
        }
    }
}

fn alone(network: &Network, ips: &[&str]) -> String {
    with(network, ips, &[], &[])
}

#[test]
fn what_a_claim_has_is_asked_for_and_the_sets_it_has_nothing_of_give_any() {
    assert_snapshot!(alone(&dual(), &[]), @"any address | any address");
    assert_snapshot!(alone(&dual(), &["10.0.1.7/24"]), @"10.0.1.7 by the status of IPAMClaim db/vm1.data | any address");
    assert_snapshot!(alone(&dual(), &["fd00::7/64", "10.0.0.7/24"]), @"10.0.0.7 by the status of IPAMClaim db/vm1.data | fd00::7 by the status of IPAMClaim db/vm1.data");
    assert_snapshot!(alone(&dual(), &["10.0.0.7/24", "10.0.0.7"]), @"10.0.0.7 by the status of IPAMClaim db/vm1.data | any address");
    // The subnet was widened after the status was written.
    assert_snapshot!(alone(&dual(), &["10.0.0.7/28"]), @"10.0.0.7 by the status of IPAMClaim db/vm1.data | any address");
}

#[test]
fn a_status_that_this_network_can_t_give_is_refused_with_what_to_do() {
    assert_snapshot!(alone(&dual(), &["ten"]), @r#"claim: the address requested by the status of IPAMClaim db/vm1.data can't be read: "ten" is not an IP address; to have another address instead, clear status.ips of IPAMClaim db/vm1.data (`kubectl edit --subresource=status`)"#);
    assert_snapshot!(alone(&racks(), &["10.1.0.5/24"]), @"claim: 10.1.0.5, requested by the status of IPAMClaim db/vm1.data, is in range 10.1.0.0/24 of this network, which is for nodes rack1-*, rack3-*; this node is rack2-a; to have another address instead, clear status.ips of IPAMClaim db/vm1.data (`kubectl edit --subresource=status`)");
    assert_snapshot!(alone(&dual(), &["10.9.0.7/24"]), @"claim: 10.9.0.7, requested by the status of IPAMClaim db/vm1.data, is in no subnet of this network (10.0.0.0/24, 10.0.1.0/24, fd00::/64); to have another address instead, clear status.ips of IPAMClaim db/vm1.data (`kubectl edit --subresource=status`)");
    assert_snapshot!(alone(&dual(), &["10.0.0.1/24"]), @"claim: 10.0.0.1, requested by the status of IPAMClaim db/vm1.data, can't be assigned: it is the gateway of 10.0.0.0/24; to have another address instead, clear status.ips of IPAMClaim db/vm1.data (`kubectl edit --subresource=status`)");
    assert_snapshot!(alone(&dual(), &["10.0.0.7/24", "10.0.1.8/24"]), @"claim: the status of IPAMClaim db/vm1.data has 10.0.0.7, 10.0.1.8, of which an interface gets one: they are of the same range set, 10.0.0.1-10.0.0.254 of 10.0.0.0/24, 10.0.1.1-10.0.1.254 of 10.0.1.0/24; to have another address instead, clear status.ips of IPAMClaim db/vm1.data (`kubectl edit --subresource=status`)");
    let holed = Range { exclude: vec!["10.0.0.12-10.0.0.13".parse().unwrap()], ..range("10.0.0.0/24") };
    assert_snapshot!(alone(&network(vec![vec![holed]]), &["10.0.0.12/24"]), @"claim: 10.0.0.12, requested by the status of IPAMClaim db/vm1.data, can't be assigned: it is excluded by 10.0.0.12-10.0.0.13; to have another address instead, clear status.ips of IPAMClaim db/vm1.data (`kubectl edit --subresource=status`)");
}

#[test]
fn outside_a_window_for_fixed_addresses_a_claim_may_have_what_chance_gave_it_and_nothing_else() {
    let range = Range {
        fixed: Some("10.0.0.10-10.0.0.20".parse().unwrap()),
        window: "10.0.0.100-10.0.0.200".parse().unwrap(),
        ..range("10.0.0.0/24")
    };
    let network = network(vec![vec![range]]);
    assert_snapshot!(alone(&network, &["10.0.0.11/24"]), @"10.0.0.11 by the status of IPAMClaim db/vm1.data");
    assert_snapshot!(alone(&network, &["10.0.0.107/24"]), @"10.0.0.107 by the status of IPAMClaim db/vm1.data, if it has it");
    assert_snapshot!(alone(&network, &["10.0.0.50/24"]), @"claim: 10.0.0.50, requested by the status of IPAMClaim db/vm1.data, can't be assigned: it is outside the window for fixed addresses, 10.0.0.10-10.0.0.20 (fixedStart, fixedEnd); to have another address instead, clear status.ips of IPAMClaim db/vm1.data (`kubectl edit --subresource=status`)");
}

#[test]
fn a_claim_and_other_asks_must_agree() {
    let own = ("kube-ipam.net1.ip", "10.0.0.7");
    // A claim with an empty status doesn't restrict the other request.
    assert_snapshot!(with(&dual(), &[], &[own], &[]), @"10.0.0.7 by annotation kube-ipam.net1.ip | any address");
    assert_snapshot!(with(&dual(), &["10.0.0.7/24"], &[own], &[]), @"10.0.0.7 by annotation kube-ipam.net1.ip | any address");
    assert_snapshot!(with(&dual(), &["10.0.0.8/24"], &[own], &[]), @"annotation: of 10.0.0.1-10.0.0.254 of 10.0.0.0/24, 10.0.1.1-10.0.1.254 of 10.0.1.0/24, annotation kube-ipam.net1.ip asks for 10.0.0.7, but the status of IPAMClaim db/vm1.data for 10.0.0.8; remove one of them or make both equal");
    assert_snapshot!(with(&dual(), &["10.0.0.8/24"], &[], &["10.0.0.7"]), @"annotation: of 10.0.0.1-10.0.0.254 of 10.0.0.0/24, 10.0.1.1-10.0.1.254 of 10.0.1.0/24, IP in CNI_ARGS asks for 10.0.0.7, but the status of IPAMClaim db/vm1.data for 10.0.0.8; remove one of them or make both equal");
    assert_snapshot!(with(&dual(), &["10.0.0.8/24"], &[], &["fd00::7"]), @"10.0.0.8 by the status of IPAMClaim db/vm1.data | fd00::7 by IP in CNI_ARGS");
    assert_snapshot!(with(&dual(), &["10.0.0.8/24"], &[("kube-ipam.ip", "10.0.0.7")], &[]), @"annotation: of 10.0.0.1-10.0.0.254 of 10.0.0.0/24, 10.0.1.1-10.0.1.254 of 10.0.1.0/24, the status of IPAMClaim db/vm1.data asks for 10.0.0.8, but annotation kube-ipam.ip for 10.0.0.7; remove one of them or make both equal");
    assert_snapshot!(with(&dual(), &["10.0.0.7/24"], &[("kube-ipam.ip", "10.0.0.7")], &[]), @"10.0.0.7 by the status of IPAMClaim db/vm1.data | any address");
    // The status must have an address of the requested pool.
    let pool = ("kube-ipam.net1.pool", "10.0.0.20-10.0.0.29");
    assert_snapshot!(with(&dual(), &[], &[pool], &[]), @"one of 10.0.0.20-10.0.0.29 by annotation kube-ipam.net1.pool | any address");
    assert_snapshot!(with(&dual(), &["10.0.0.23/24"], &[pool], &[]), @"10.0.0.23 by the status of IPAMClaim db/vm1.data | any address");
    assert_snapshot!(with(&dual(), &["10.0.0.30/24"], &[pool], &[]), @"annotation: of 10.0.0.1-10.0.0.254 of 10.0.0.0/24, 10.0.1.1-10.0.1.254 of 10.0.1.0/24, annotation kube-ipam.net1.pool asks for one of 10.0.0.20-10.0.0.29, but the status of IPAMClaim db/vm1.data for 10.0.0.30; remove one of them or make both equal");
}
