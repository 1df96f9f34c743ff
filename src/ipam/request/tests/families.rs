//! One family of a dual-stack network.

use insta::assert_snapshot;

use super::annotations::net1;
use super::*;
use crate::ipam::decide::tests::world::claim;

#[test]
fn an_interface_of_one_family_is_asked_for_no_address_of_the_other() {
    let told = |families| net1(&[("kube-ipam.net1.families", families)]).told();
    for (families, set) in [("4", "10.0.0.0/24"), ("IPv4", "10.0.0.0/24"), (" 6 ", "fd00::/64"), ("ipv6", "fd00::/64")]
    {
        let (requests, notes) = net1(&[("kube-ipam.net1.families", families)]).resolve().unwrap();
        let [request] = &requests[..] else { panic!("{families}: {requests:?}") };
        assert_eq!((&request.selection, request.set.ranges()[0].subnet.to_string().as_str()), (&Selection::Auto, set));
        assert_eq!(notes, []);
    }
    for wrong in ["4,6", "dual", "5", "4 6"] {
        let meant = r#"is not "4" or "6"; without it, the interface gets every family"#;
        assert_eq!(told(wrong), format!("annotation: annotation kube-ipam.net1.families: {wrong:?} {meant}"));
    }
    assert_snapshot!(told(""), @"annotation: annotation kube-ipam.net1.families is empty; give it a value or remove it");
    assert_snapshot!(net1(&[("kube-ipam.net2.families", "4")]).told(), @"any address | any address");
}

#[test]
fn a_misspelt_key_for_the_family_is_an_error() {
    let told = |key| net1(&[(key, "4")]).told();
    assert_snapshot!(told("kube-ipam.net1.familes"), @"annotation: annotation kube-ipam.net1.familes is unknown; did you mean kube-ipam.net1.families?");
    assert_snapshot!(told("kube-ipam.net1.Families"), @"annotation: annotation kube-ipam.net1.Families is unknown; did you mean kube-ipam.net1.families?");
    assert_snapshot!(told("kube-ipam.net1.family"), @"annotation: annotation kube-ipam.net1.family is unknown; the fields of an interface are ip, netmask, gateway, pool, families, sticky");
    assert_snapshot!(told("kube-ipam.families"), @"annotation: annotation kube-ipam.families does not say for which interface it is; for this one, write kube-ipam.net1.families");
}

#[test]
fn a_request_for_an_address_of_the_other_family_is_refused_whoever_makes_it() {
    let four = ("kube-ipam.net1.families", "4");
    let told = |annotation| net1(&[four, annotation]).told();
    assert_snapshot!(told(("kube-ipam.net1.ip", "10.0.0.7")), @"10.0.0.7 by annotation kube-ipam.net1.ip");
    assert_snapshot!(told(("kube-ipam.net1.ip", "10.0.0.7, fd00::7")), @"annotation: annotation kube-ipam.net1.families limits this interface to IPv4, but annotation kube-ipam.net1.ip requests fd00::7; remove one of them");
    assert_snapshot!(told(("kube-ipam.net1.pool", "10.0.0.8-10.0.0.9, fd00::8-fd00::9")), @"annotation: annotation kube-ipam.net1.families limits this interface to IPv4, but kube-ipam.net1.pool requests fd00::8; remove one of them");
    assert_snapshot!(told(("kube-ipam.ip", "fd00::7")), @"annotation: annotation kube-ipam.net1.families limits this interface to IPv4, but annotation kube-ipam.ip requests fd00::7; remove one of them");
    assert_snapshot!(told(("kube-ipam.net1.gateway", "fd00::9")), @"annotation: annotation kube-ipam.net1.gateway: fd00::9 does not fit this interface: it has no IPv6 address that this could be for");
    assert_snapshot!(net1(&[four]).runtime(&["fd00::7/64"]).told(), @"annotation: annotation kube-ipam.net1.families limits this interface to IPv4, but runtimeConfig.ips requests fd00::7; remove one of them");
    // The same for a pod of a StatefulSet.
    let pool = ("kube-ipam.net1.pool", "10.0.0.8-10.0.0.9, fd00::8-fd00::9");
    assert_snapshot!(net1(&[four, pool]).ordinal(1, 0).told(), @"annotation: annotation kube-ipam.net1.families limits this interface to IPv4, but kube-ipam.net1.pool requests fd00::8; remove one of them");
    // An unscoped address of another network belongs to another interface.
    assert_snapshot!(told(("kube-ipam.ip", "fd99::7")), @"any address; note: annotation kube-ipam.ip: fd99::7 is in no subnet of this network, and so not for this interface");
}

#[test]
fn a_claim_that_has_an_address_of_the_other_family_keeps_it_and_the_pod_is_refused() {
    let resolved = |families, ips: &[&str]| {
        let annotations = net1(&[("kube-ipam.net1.families", families)]).read().unwrap();
        let claim = claim(ips);
        let inputs = Inputs { annotations: Some(&annotations), claim: Some(&claim), ..nothing() };
        resolve(dual().ranges(), &inputs).map(|(requests, _)| requests)
    };
    assert_eq!(resolved("6", &["fd00::7"]).unwrap()[0].selection, Selection::Exact(vec!["fd00::7".parse().unwrap()]));
    assert_eq!(resolved("4", &[]).unwrap()[0].selection, Selection::Auto);
    let refusal = resolved("4", &["10.0.0.7/24", "fd00::7/64"]).unwrap_err();
    assert_snapshot!(refusal, @"annotation kube-ipam.net1.families limits this interface to IPv4, but the status of IPAMClaim db/vm1.data requests fd00::7; remove one of them");
}

#[test]
fn a_network_without_the_family_is_an_error_and_one_that_has_no_other_is_none() {
    let six = net1(&[("kube-ipam.net1.families", "6")]);
    let told = |network| six.clone().of(network).told();
    assert_snapshot!(told(network(vec![vec![range("10.0.0.0/24")]])), @"annotation: annotation kube-ipam.net1.families limits this interface to IPv6, but network db-net has no IPv6 range set");
    assert_snapshot!(told(network(vec![vec![range("fd00::/64")]])), @"any address");
    // A range of the other family for other namespaces doesn't matter.
    let closed = Range { namespaces: vec!["db".to_owned()], ..range("10.0.0.0/24") };
    assert_snapshot!(told(network(vec![vec![closed], vec![range("fd00::/64")]])), @"any address");
}

#[test]
fn of_one_family_each_a_version_with_room_for_one_address_serves_two_interfaces() {
    let two = network(vec![vec![range("10.0.0.0/24")], vec![range("fd00::/64")], vec![range("fd01::/64")]]);
    let annotations = net1(&[("kube-ipam.net1.families", "4")]).read().unwrap();
    let inputs = Inputs { annotations: Some(&annotations), one_per_family: Some("0.2.0"), ..nothing() };
    assert!(resolve(two.ranges(), &inputs).is_ok());
}

#[test]
fn a_set_for_other_nodes_refuses_only_who_takes_its_family() {
    let nodes = vec![NodeSelector { names: Vec::new(), labels: labels(&[("zone", "a")]) }];
    let unplaced = vec![UnplacedSet { at: "ipam.ranges[1]".to_owned(), family: Family::V6, nodes }];
    let network = Network { unplaced, ..zones(Some(&[("zone", "b")])) };
    let told = |families| net1(&[("kube-ipam.net1.families", families)]).of(network.clone()).told();
    assert_snapshot!(told("4"), @"any address");
    assert_snapshot!(told("6"), @"node: no range of ipam.ranges[1] is for node worker-3 (nodeLabels: zone=b); their nodes are labelled zone=a");
}
