//! Requests, and refusals before the first request to the store. The numbers are those of docs/edge-cases.md.
#![allow(clippy::unwrap_used, clippy::panic)]

mod annotations;
mod claims;
mod families;
mod named_pools;

use insta::assert_snapshot;

use super::*;
use crate::cause::chain;
use crate::config::Network;
use crate::ipam::decide::tests::world;
use crate::ipam::label::Labels;
use crate::ipam::name::Name;
use crate::ipam::node_selector::{LocalNode, NodeSelector};
use crate::ipam::range::Range;

fn range(subnet: &str) -> Range {
    Range::of_subnet(subnet.parse().unwrap())
}

fn network(sets: Vec<Vec<Range>>) -> Network {
    Network { name: Name::new("db-net").unwrap(), ..world::network(sets) }
}

fn dual() -> Network {
    network(vec![vec![range("10.0.0.0/24"), range("10.0.1.0/24")], vec![range("fd00::/64")]])
}

fn requested(ips: &[&str]) -> Option<RequestedAddresses> {
    let requested =
        RequestedAddresses { source: RequestSource::CniArgs, ips: ips.iter().map(|ip| (*ip).to_owned()).collect() };
    (!ips.is_empty()).then_some(requested)
}

fn asked(network: &Network, ips: &[&str]) -> Result<Vec<AddressRequest>, Refusal> {
    let requested = requested(ips);
    let inputs = Inputs { requested: requested.as_ref(), ..nothing() };
    resolve(network.ranges(), &inputs).map(|(requests, _)| requests)
}

/// A call without any request.
fn nothing() -> Inputs<'static> {
    Inputs { requested: None, annotations: None, claim: None, ordinal: None, namespace: None, one_per_family: None }
}

/// A network with a range for this node, and one for two other racks.
fn racks() -> Network {
    let names = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
    let of = |subnet, globs: &[&str]| Range {
        nodes: NodeSelector { names: names(globs), ..NodeSelector::default() },
        ..range(subnet)
    };
    let node = LocalNode { name: Name::new("rack2-a").unwrap(), labels: None };
    let other_nodes = vec![of("10.1.0.0/24", &["rack1-*", "rack3-*"])];
    Network { node, other_nodes, ..network(vec![vec![of("10.2.0.0/24", &["rack2-*"])]]) }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let mut labels = Labels::default();
    pairs.iter().for_each(|(key, value)| labels.insert(key, value).unwrap());
    labels
}

/// A network with a range for zone b, where this node is, and one for zone a.
fn zones(of_node: Option<&[(&str, &str)]>) -> Network {
    let of = |subnet, zone| Range {
        nodes: NodeSelector { names: Vec::new(), labels: labels(&[("zone", zone)]) },
        ..range(subnet)
    };
    let node = LocalNode { name: Name::new("worker-3").unwrap(), labels: of_node.map(labels) };
    Network { node, other_nodes: vec![of("10.1.0.0/24", "a")], ..network(vec![vec![of("10.2.0.0/24", "b")]]) }
}

/// The selections, set by set.
fn selections(network: &Network, ips: &[&str]) -> String {
    let selection = |request: &AddressRequest| match &request.selection {
        Selection::Auto => "any".to_owned(),
        Selection::Exact(ips) => ips.iter().map(ToString::to_string).collect::<Vec<_>>().join("+"),
        Selection::OneOf(spans) => format!("one of {spans}"),
    };
    asked(network, ips).unwrap().iter().map(selection).collect::<Vec<_>>().join(" ")
}

/// The refusal, which is final: a retry of the same call can't succeed.
fn refused(network: &Network, ips: &[&str]) -> String {
    let refusal = asked(network, ips).unwrap_err();
    assert!(!refusal.is_passing());
    format!("{}: {}", refusal.label(), chain(&refusal))
}

#[test]
fn a_set_for_which_nothing_is_asked_gives_any_address() {
    let requests = asked(&dual(), &[]).unwrap();
    assert!(requests.iter().all(|request| request.selection == Selection::Auto && request.source == Source::Nothing));
    assert_eq!(requests.len(), 2);
}

#[test]
fn a_requested_address_is_asked_of_the_set_that_has_it() {
    assert_snapshot!(selections(&dual(), &["10.0.1.7"]), @"10.0.1.7 any");
    assert_snapshot!(selections(&dual(), &["fd00::7", "10.0.0.7"]), @"10.0.0.7 fd00::7");
    // Edge case 23: several addresses of one set, without duplicates.
    assert_snapshot!(selections(&dual(), &["10.0.0.7", "10.0.1.8", "10.0.0.7"]), @"10.0.0.7+10.0.1.8 any");
}

#[test]
fn of_two_sets_that_share_a_subnet_the_one_whose_range_holds_the_address_gives_it() {
    let part = |first: u8, last: u8| {
        let mut part = range("10.0.0.0/24");
        part.window = format!("10.0.0.{first}-10.0.0.{last}").parse().unwrap();
        part
    };
    let shared = network(vec![vec![part(10, 12)], vec![part(30, 33)]]);
    assert_eq!(selections(&shared, &["10.0.0.11"]), "10.0.0.11 any");
    assert_eq!(selections(&shared, &["10.0.0.31"]), "any 10.0.0.31");
    assert_eq!(selections(&shared, &["10.0.0.31", "10.0.0.12"]), "10.0.0.12 10.0.0.31");
    // The first set assigns an address outside both windows.
    assert_eq!(selections(&shared, &["10.0.0.77"]), "10.0.0.77 any");
    // A window of fixed addresses is part of a range, too.
    let mut fixed = part(30, 33);
    fixed.fixed = Some("10.0.0.50-10.0.0.59".parse().unwrap());
    let with_window = network(vec![vec![part(10, 12)], vec![fixed]]);
    assert_eq!(selections(&with_window, &["10.0.0.55"]), "any 10.0.0.55");
    // If that set can't assign the address, the other one doesn't either.
    let mut without = part(30, 33);
    without.exclude = vec!["10.0.0.31".parse().unwrap()];
    let excluded = network(vec![vec![part(10, 12)], vec![without]]);
    assert_eq!(
        refused(&excluded, &["10.0.0.31"]),
        "not_assignable: 10.0.0.31, requested by IP in CNI_ARGS, can't be assigned: it is excluded by 10.0.0.31"
    );
    let mut outside = part(10, 12);
    outside.fixed = Some("10.0.0.1-10.0.0.9".parse().unwrap());
    let both = network(vec![vec![outside], vec![part(30, 33)]]);
    assert_eq!(selections(&both, &["10.0.0.31"]), "any 10.0.0.31");
}

#[test]
fn one_address_in_several_spellings_is_one_address() {
    // Edge cases 19 and 21; 22: a bare address has the prefix length of its subnet.
    assert_snapshot!(selections(&dual(), &[" 10.0.0.7 ", "::ffff:10.0.0.7", "10.0.0.7/24", "::ffff:10.0.0.7/120"]), @"10.0.0.7 any");
    assert_snapshot!(selections(&dual(), &["FD00::07", "fd00:0:0:0::7/64"]), @"any fd00::7");
}

#[test]
fn the_source_of_an_ask_is_the_place_where_it_was_found() {
    let of = |source| {
        let requested = RequestedAddresses { source, ips: vec!["10.0.0.7".to_owned()] };
        let (requests, _) = resolve(dual().ranges(), &Inputs { requested: Some(&requested), ..nothing() }).unwrap();
        requests.iter().map(|request| request.source.to_string()).collect::<Vec<_>>().join(", ")
    };
    assert_snapshot!(of(RequestSource::RuntimeConfig), @"runtimeConfig.ips, nobody");
    assert_snapshot!(of(RequestSource::ArgsCni), @"args.cni.ips, nobody");
    assert_snapshot!(of(RequestSource::CniArgs), @"IP in CNI_ARGS, nobody");
}

#[test]
fn a_text_that_is_no_address_is_refused() {
    // Edge case 21: octets with leading zeros; defect 16 of the predecessor: `a/24`.
    assert_snapshot!(refused(&dual(), &["10.0.0.07"]), @r#"bad_request: the address requested by IP in CNI_ARGS can't be read: "10.0.0.07" has an octet with leading zeros, which programs read differently; write it without them"#);
    assert_snapshot!(refused(&dual(), &["web"]), @r#"bad_request: the address requested by IP in CNI_ARGS can't be read: "web" is not an IP address"#);
    assert_snapshot!(refused(&dual(), &[""]), @r#"bad_request: the address requested by IP in CNI_ARGS can't be read: "" is not an IP address"#);
    assert_snapshot!(refused(&dual(), &["a/24"]), @r#"bad_request: the address requested by IP in CNI_ARGS can't be read: "a" is not an IP address"#);
    assert_snapshot!(refused(&dual(), &["10.0.0.7/33"]), @r#"bad_request: the address requested by IP in CNI_ARGS can't be read: "10.0.0.7/33" is not a network in CIDR notation"#);
    assert_snapshot!(refused(&dual(), &["10.0.0.7/255.255.255.0"]), @r#"bad_request: the address requested by IP in CNI_ARGS can't be read: "10.0.0.7/255.255.255.0" is not a network in CIDR notation"#);
    assert_snapshot!(refused(&dual(), &["10.0.0.7", "fd00::x"]), @r#"bad_request: the address requested by IP in CNI_ARGS can't be read: "fd00::x" is not an IP address"#);
}

#[test]
fn an_address_outside_every_subnet_is_refused_and_the_subnets_are_listed() {
    // Edge case 13.
    assert_snapshot!(refused(&dual(), &["10.0.2.7"]), @"not_assignable: 10.0.2.7, requested by IP in CNI_ARGS, is in no subnet of this network (10.0.0.0/24, 10.0.1.0/24, fd00::/64)");
    assert_snapshot!(refused(&dual(), &["10.0.0.7", "fd01::7"]), @"not_assignable: fd01::7, requested by IP in CNI_ARGS, is in no subnet of this network (10.0.0.0/24, 10.0.1.0/24, fd00::/64)");
}

#[test]
fn inside_the_subnet_but_outside_the_dynamic_range_is_allowed() {
    // Edge case 13.
    let range = Range { window: "10.0.0.100-10.0.0.200".parse().unwrap(), ..range("10.0.0.0/24") };
    assert_eq!(selections(&network(vec![vec![range]]), &["10.0.0.7"]), "10.0.0.7");
}

#[test]
fn addresses_that_nobody_can_have_are_refused() {
    // Edge cases 11 (network and broadcast), 12 (the gateway), 17 (anycast), 18 (special).
    assert_snapshot!(refused(&dual(), &["10.0.0.0"]), @"not_assignable: 10.0.0.0, requested by IP in CNI_ARGS, can't be assigned: it is the network address of 10.0.0.0/24");
    assert_snapshot!(refused(&dual(), &["10.0.1.255"]), @"not_assignable: 10.0.1.255, requested by IP in CNI_ARGS, can't be assigned: it is the broadcast address of 10.0.1.0/24");
    assert_snapshot!(refused(&dual(), &["10.0.1.1"]), @"not_assignable: 10.0.1.1, requested by IP in CNI_ARGS, can't be assigned: it is the gateway of 10.0.1.0/24");
    assert_snapshot!(refused(&dual(), &["fd00::"]), @"not_assignable: fd00::, requested by IP in CNI_ARGS, can't be assigned: it is the subnet-router anycast address of fd00::/64");
    let wide = network(vec![vec![range("0.0.0.0/0")], vec![range("::/0")]]);
    assert_snapshot!(refused(&wide, &["127.0.0.1"]), @"not_assignable: 127.0.0.1, requested by IP in CNI_ARGS, can't be assigned: it is loopback (RFC 1122 section 3.2.1.3)");
    assert_snapshot!(refused(&wide, &["224.0.0.5"]), @"not_assignable: 224.0.0.5, requested by IP in CNI_ARGS, can't be assigned: it is multicast (RFC 5771)");
    assert_snapshot!(refused(&wide, &["255.255.255.255"]), @"not_assignable: 255.255.255.255, requested by IP in CNI_ARGS, can't be assigned: it is limited broadcast (RFC 919)");
    assert_snapshot!(refused(&wide, &["0.0.0.0"]), @r#"not_assignable: 0.0.0.0, requested by IP in CNI_ARGS, can't be assigned: it is "this network" (RFC 1122 section 3.2.1.3)"#);
    assert_snapshot!(refused(&wide, &["::"]), @"not_assignable: ::, requested by IP in CNI_ARGS, can't be assigned: it is the unspecified address (RFC 4291 section 2.5.2)");
    assert_snapshot!(refused(&wide, &["::1"]), @"not_assignable: ::1, requested by IP in CNI_ARGS, can't be assigned: it is loopback (RFC 4291 section 2.5.3)");
    assert_snapshot!(refused(&wide, &["ff02::1"]), @"not_assignable: ff02::1, requested by IP in CNI_ARGS, can't be assigned: it is multicast (RFC 4291 section 2.7)");
    // Link-local addresses are assigned only on request.
    assert_snapshot!(selections(&wide, &["169.254.0.7", "fe80::7"]), @"169.254.0.7 fe80::7");
}

#[test]
fn the_small_subnets_give_all_they_have() {
    // Edge case 16.
    let small = network(vec![
        vec![range("10.0.0.4/31"), range("10.0.0.9/32")],
        vec![range("fd00::/127"), range("fd00::9/128")],
    ]);
    assert_snapshot!(selections(&small, &["10.0.0.4", "10.0.0.5", "10.0.0.9", "fd00::", "fd00::1", "fd00::9"]), @"10.0.0.4+10.0.0.5+10.0.0.9 fd00::+fd00::1+fd00::9");
}

#[test]
fn the_gateway_of_another_range_is_refused_too() {
    // Edge case 12, where two ranges share a subnet and each names a gateway.
    let low = Range { gateway: Some("10.0.0.254".parse().unwrap()), ..range("10.0.0.0/24") };
    assert_snapshot!(refused(&network(vec![vec![range("10.0.0.0/24"), low]]), &["10.0.0.254"]), @"not_assignable: 10.0.0.254, requested by IP in CNI_ARGS, can't be assigned: it is the gateway of 10.0.0.0/24");
}

#[test]
fn windows_and_excludes_bind_fixed_addresses() {
    let range = Range {
        fixed: Some("10.0.0.10-10.0.0.20".parse().unwrap()),
        exclude: vec!["10.0.0.12-10.0.0.13".parse().unwrap()],
        ..range("10.0.0.0/24")
    };
    let network = network(vec![vec![range]]);
    assert_eq!(selections(&network, &["10.0.0.11"]), "10.0.0.11");
    assert_snapshot!(refused(&network, &["10.0.0.21"]), @"not_assignable: 10.0.0.21, requested by IP in CNI_ARGS, can't be assigned: it is outside the window for fixed addresses, 10.0.0.10-10.0.0.20 (fixedStart, fixedEnd)");
    assert_snapshot!(refused(&network, &["10.0.0.12"]), @"not_assignable: 10.0.0.12, requested by IP in CNI_ARGS, can't be assigned: it is excluded by 10.0.0.12-10.0.0.13");
}

#[test]
fn a_prefix_length_that_is_not_the_subnets_is_refused() {
    // Edge case 22.
    assert_snapshot!(refused(&dual(), &["10.0.0.7/16"]), @"bad_request: 10.0.0.7/16, requested by IP in CNI_ARGS, has another prefix length than its subnet 10.0.0.0/24; leave the length out or write /24");
    assert_snapshot!(refused(&dual(), &["fd00::7/128"]), @"bad_request: fd00::7/128, requested by IP in CNI_ARGS, has another prefix length than its subnet fd00::/64; leave the length out or write /64");
}

#[test]
fn a_version_with_one_address_per_family_refuses_more() {
    // Edge case 25.
    let refused = |network: &Network, ips: &[&str]| {
        let requested = requested(ips);
        let inputs = Inputs { requested: requested.as_ref(), one_per_family: Some("0.2.0"), ..nothing() };
        let refusal = resolve(network.ranges(), &inputs).unwrap_err();
        assert!(!refusal.is_passing());
        refusal
    };
    let two = network(vec![vec![range("10.0.0.0/24")], vec![range("10.0.1.0/24")]]);
    assert_snapshot!(refused(&two, &[]), @"cniVersion 0.2.0 has room for one IPv4 address, but this network assigns 2; use 0.3.1 or later");
    assert_snapshot!(refused(&dual(), &["fd00::7", "fd00::8"]), @"cniVersion 0.2.0 has room for one IPv6 address, but this network assigns 2; use 0.3.1 or later");
    let one_per_family = Some("0.1.0");
    assert!(resolve(dual().ranges(), &Inputs { one_per_family, ..nothing() }).is_ok());
    assert!(resolve(two.ranges(), &nothing()).is_ok());
}

#[test]
fn a_namespace_that_may_not_draw_from_the_network_is_refused() {
    let network = Network { namespaces: vec!["team-*".to_owned(), "db".to_owned()], ..dual() };
    let of = |namespace| resolve(network.ranges(), &Inputs { namespace, ..nothing() });
    assert!(of(Some("team-a")).is_ok() && of(Some("db")).is_ok());
    assert_snapshot!(of(Some("web")).unwrap_err(), @"pods of namespace web may not get addresses from network db-net: its `namespaces` are team-*, db");
    assert_snapshot!(of(None).unwrap_err(), @"pods of no namespace may not get addresses from network db-net: its `namespaces` are team-*, db");
}

#[test]
fn of_a_set_only_the_ranges_count_from_which_the_namespace_may_draw() {
    let open = range("10.0.0.0/24");
    let closed = Range { namespaces: vec!["db".to_owned()], ..range("10.0.1.0/24") };
    let of = |ranges: Vec<Range>, namespace, ips: &[&str]| {
        let requested = requested(ips);
        resolve(network(vec![ranges]).ranges(), &Inputs { requested: requested.as_ref(), namespace, ..nothing() })
    };
    let both = vec![open, closed.clone()];
    assert_eq!(of(both.clone(), Some("db"), &[]).unwrap().0[0].set.ranges().len(), 2);
    assert_eq!(of(both.clone(), Some("web"), &[]).unwrap().0[0].set.ranges().len(), 1);
    assert!(of(both.clone(), Some("db"), &["10.0.1.7"]).is_ok());
    assert_snapshot!(of(both, Some("web"), &["10.0.1.7"]).unwrap_err(), @"pods of namespace web may not get addresses from 10.0.1.1-10.0.1.254 of 10.0.1.0/24: its `namespaces` are db");
    assert_snapshot!(of(vec![closed], Some("web"), &[]).unwrap_err(), @"pods of namespace web may not get addresses from 10.0.1.1-10.0.1.254 of 10.0.1.0/24: its `namespaces` are db");
}
