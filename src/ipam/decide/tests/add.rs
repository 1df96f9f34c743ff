//! Which addresses an ADD assigns, case by case. The numbers are those of docs/edge-cases.md.

use std::collections::BTreeSet;
use std::net::IpAddr;

use insta::assert_snapshot;

use super::world::{
    Call, World, all_of, attachment, contradictions, entries, holder, ip, name, network, range, subnet,
};
use crate::cause::chain;
use crate::config::Network;
use crate::ipam::decide::{Evict, Evicted};
use crate::ipam::keys;
use crate::ipam::name::{AttachmentId, IfName};
use crate::ipam::range::Range;
use crate::ipam::refusal::Refusal;
use crate::store::Key;

fn sorted(mut ips: Vec<IpAddr>) -> String {
    ips.sort();
    ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_fixed_address_does_not_serve_two_interfaces_of_a_pod() {
    // Edge case 8.
    let mut world = World::default();
    let network = subnet("10.0.0.0/24");
    let net1 = Call::of("c1", &network).requesting(&["10.0.0.5"]);
    let net2 = Call { id: AttachmentId { ifname: IfName::new("net2").unwrap(), ..net1.id.clone() }, ..net1.clone() };
    world.give(&net1);
    assert!(matches!(world.add(&net2), Err(Refusal::Held { .. })));
}

#[test]
fn networks_that_overlap_in_one_vrf_never_give_an_address_twice() {
    // Edge cases 9 and 10: one name with two definitions, and two names.
    let mut world = World::default();
    let wide = subnet("10.0.0.0/28");
    let narrow = subnet("10.0.0.0/29");
    let other = Network { name: name("other"), ..subnet("10.0.0.0/29") };
    let mut given = Vec::new();
    for i in 0..2 {
        for network in [&wide, &narrow, &other] {
            given.extend(world.give(&Call::of(
                &format!("{}-{i}-{}", network.name, network.sets[0]).replace([' ', '/'], "_"),
                network,
            )));
        }
    }
    assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), 6);
    let fixed = Call::of("fixed", &other).requesting(&[&given[0].to_string()]);
    assert!(
        matches!(world.add(&fixed), Err(Refusal::Held { .. })) || !range("10.0.0.0/29").dynamic().contains(given[0])
    );
    assert_eq!(world.keys("net/").len(), 3);
}

#[test]
fn networks_in_two_vrfs_may_give_the_same_address() {
    let mut world = World::default();
    let network = subnet("10.0.0.1/32");
    let red = Call { id: attachment("c2"), ..Call::of("c2", &network).in_vrf("red") };
    assert_eq!(world.give(&Call::of("c1", &network)), world.give(&red));
    assert_eq!(contradictions(&world.state), Vec::<String>::new());
}

#[test]
fn what_a_subnet_gives_at_random_is_all_that_is_usable_of_it() {
    // Edge cases 11 (network and broadcast address), 15 (the gateway), 16 (/31, /127, /32, /128), 17 (anycast).
    let all = |text: &str| sorted(all_of(&mut World::default(), &subnet(text)));
    assert_snapshot!(all("10.0.0.0/29"), @"10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6");
    assert_snapshot!(all("10.0.0.4/30"), @"10.0.0.6");
    assert_snapshot!(all("10.0.0.4/31"), @"10.0.0.4 10.0.0.5");
    assert_snapshot!(all("10.0.0.4/32"), @"10.0.0.4");
    assert_snapshot!(all("fd00::/125"), @"fd00::2 fd00::3 fd00::4 fd00::5 fd00::6 fd00::7");
    assert_snapshot!(all("fd00::/127"), @"fd00:: fd00::1");
    assert_snapshot!(all("fd00::1/128"), @"fd00::1");
}

#[test]
fn gateways_and_fixed_windows_are_not_given_at_random_by_any_range_of_the_network() {
    // Edge case 15. It also applies to another range that shares the subnet.
    let low = Range {
        window: "10.0.0.1-10.0.0.3".parse().unwrap(),
        gateway: Some(ip("10.0.0.6")),
        fixed: Some("10.0.0.9-10.0.0.10".parse().unwrap()),
        ..range("10.0.0.0/28")
    };
    let high =
        Range { window: "10.0.0.4-10.0.0.12".parse().unwrap(), gateway: Some(ip("10.0.0.2")), ..range("10.0.0.0/28") };
    let one_set = network(vec![vec![low.clone(), high.clone()]]);
    assert_snapshot!(sorted(all_of(&mut World::default(), &one_set)), @"10.0.0.1 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.7 10.0.0.8 10.0.0.11 10.0.0.12");
    let two_sets = network(vec![vec![low], vec![high]]);
    let given = World::default().give(&Call::of("c1", &two_sets));
    assert!(![ip("10.0.0.2"), ip("10.0.0.6"), ip("10.0.0.9")].contains(&given[0]) && given.len() == 2);
}

#[test]
fn an_address_comes_with_the_gateway_and_prefix_length_of_the_range_that_gave_it() {
    let low =
        Range { window: "10.0.0.1-10.0.0.9".parse().unwrap(), gateway: Some(ip("10.0.0.14")), ..range("10.0.0.0/24") };
    let high = Range { window: "10.0.0.10-10.0.0.10".parse().unwrap(), gateway: Some(ip("10.0.0.254")), ..low.clone() };
    let network = network(vec![vec![high, low]]);
    let mut world = World::default();
    let first = world.add(&Call::of("c1", &network)).unwrap().attachment.addresses.remove(0);
    assert_eq!((first.address.to_string().as_str(), first.gateway), ("10.0.0.10/24", Some(ip("10.0.0.254"))));
    let second = world.add(&Call::of("c2", &network).requesting(&["10.0.0.5"])).unwrap().attachment.addresses.remove(0);
    assert_eq!((second.address.to_string().as_str(), second.gateway), ("10.0.0.5/24", Some(ip("10.0.0.14"))));
}

#[test]
fn special_addresses_are_never_given() {
    // Edge cases 18 and 20. These subnets are so large that an enumeration would never end.
    let mut world = World::default();
    for text in ["0.0.0.0/0", "::/0"] {
        for i in 0..50 {
            for given in
                world.give(&Call::of(&format!("{i}"), &Network { name: name(&format!("n{i}")), ..subnet(text) }))
            {
                assert!(!given.is_loopback() && !given.is_multicast() && !given.is_unspecified(), "{given}");
            }
        }
    }
    let link_local = subnet("169.254.0.0/29");
    assert_eq!(all_of(&mut world, &link_local).len(), 5);
}

#[test]
fn two_fixed_addresses_of_one_family_are_both_given_or_neither() {
    // Edge case 23.
    let mut world = World::default();
    let network = subnet("10.0.0.0/24");
    let both = Call::of("c1", &network).requesting(&["10.0.0.5", "10.0.0.6"]);
    assert_eq!(world.give(&both), [ip("10.0.0.5"), ip("10.0.0.6")]);
    let refused = world.add(&Call::of("c2", &network).requesting(&["10.0.0.7", "10.0.0.6"]));
    assert!(matches!(refused, Err(Refusal::Held { .. })));
    assert_eq!(world.held().len(), 2);
}

#[test]
fn a_held_fixed_address_is_refused_naming_its_holder_and_never_becomes_a_random_one() {
    // Edge case 14.
    let mut world = World::default();
    let network = subnet("10.0.0.0/24");
    world.give(&Call::of("c1", &network).requesting(&["10.0.0.5"]));
    let refusal = world.add(&Call::of("c2", &network).requesting(&["10.0.0.5"])).unwrap_err();
    assert_snapshot!(refusal, @"10.0.0.5 is held by pod pod-c1, interface eth0, node n1, network net, since 2023-11-14T22:13:20Z; only its own node can tell whether it is gone, because its runtime did not fully identify its pod");
    assert_eq!(world.held().len(), 1);
}

#[test]
fn a_family_that_is_exhausted_fails_the_whole_call_and_holds_nothing_of_the_other() {
    // Edge case 24.
    let mut world = World::default();
    let dual = network(vec![vec![range("10.0.0.0/24")], vec![range("fd00::1/128")]]);
    world.give(&Call::of("c1", &dual));
    let refusal = world.add(&Call::of("c2", &dual)).unwrap_err();
    assert_snapshot!(refusal, @"no address is free in fd00::1 of fd00::1/128: 1 address, 1 held; among them: fd00::1 by pod pod-c1, interface eth0, node n1, network net");
    assert_eq!(world.held().len(), 2);
}

#[test]
fn a_value_of_a_newer_version_and_one_that_is_corrupt_count_as_held_and_stay_as_they_are() {
    let mut world = World::default();
    let network = subnet("10.0.0.0/30");
    let key = keys::lease(&name("default"), ip("10.0.0.2"));
    for (value, is) in [(r#"{"v":2,"x":[]}"#, "newer"), ("\u{0}", "damaged"), (r#"{"v":1}"#, "damaged")] {
        world.put(key.clone(), value);
        assert!(matches!(
            world.add(&Call::of("c1", &network)),
            Err(Refusal::Exhausted { counts, .. }) if counts.held == 1
        ));
        let refusal = world.add(&Call::of("c1", &network).requesting(&["10.0.0.2"])).unwrap_err();
        assert!(chain(&refusal).to_string().contains(is), "{}", chain(&refusal));
        assert_eq!(world.text(&key).as_deref(), Some(value));
    }
}

#[test]
fn only_an_operator_deletes_a_lease_that_is_damaged_and_nobody_one_of_a_newer_version() {
    let key = keys::lease(&name("default"), ip("10.0.0.2"));
    for (value, is_deleted) in [(r#"{"v":2,"x":[]}"#, false), ("\u{0}", true), (r#"{"v":1}"#, true)] {
        let mut world = World::default();
        world.put(key.clone(), value);
        let seen = entries(&world.state, "ip/")[0].revision;
        let evict = || Evict::new(name("default"), ip("10.0.0.2"), seen);
        assert!(matches!(world.decide_or_refuse(&mut evict()), Err(Refusal::Unreadable { .. })), "{value:?}");
        assert_eq!(world.text(&key).as_deref(), Some(value));
        let evicted = world.decide_or_refuse(&mut evict().deleting_damaged());
        assert_eq!(matches!(evicted, Ok(Evicted::Deleted(_))), is_deleted, "{value:?}: {evicted:?}");
        assert_eq!(world.text(&key).is_none(), is_deleted);
        if is_deleted {
            // Another one has written it meanwhile.
            world.put(key.clone(), value);
            assert!(matches!(world.decide_or_refuse(&mut evict().deleting_damaged()), Ok(Evicted::Changed)));
        }
    }
}

#[test]
fn the_ranges_of_a_set_are_tried_in_their_order() {
    let mut world = World::default();
    let sets = network(vec![vec![range("10.0.2.0/30"), range("10.0.1.0/30"), range("10.0.3.0/29")]]);
    let given: Vec<String> = all_of(&mut world, &sets).iter().map(ToString::to_string).collect();
    assert_eq!(given[..2], ["10.0.2.2", "10.0.1.2"]);
    assert!(given[2..].iter().all(|ip| ip.starts_with("10.0.3.")) && given.len() == 7, "{given:?}");
}

#[test]
fn what_host_local_holds_is_neither_given_at_random_nor_on_request() {
    let mut world = World::default();
    let network = subnet("10.0.0.0/29");
    for i in 0..3 {
        let given = world.give(&Call::of(&format!("c{i}"), &network).beside_host_local(&["10.0.0.3", "10.0.0.6"]));
        assert!(![ip("10.0.0.3"), ip("10.0.0.6")].contains(&given[0]));
    }
    let refused =
        |world: &mut World, call: Call| world.add(&call.beside_host_local(&["10.0.0.3", "10.0.0.6"])).unwrap_err();
    assert_snapshot!(refused(&mut world, Call::of("c4", &network).requesting(&["10.0.0.3"])), @"10.0.0.3 is still held by host-local (/networks/net/10.0.0.3); it is free once that file is gone");
    assert_snapshot!(refused(&mut world, Call::of("c4", &network)), @"no address is free in 10.0.0.1-10.0.0.6 of 10.0.0.0/29: 5 addresses, 3 held, 2 held by host-local (/networks/net), 1 more excluded; among them: 10.0.0.2 by pod pod-c0, interface eth0, node n1, network net; 10.0.0.4 by pod pod-c2, interface eth0, node n1, network net; 10.0.0.5 by pod pod-c1, interface eth0, node n1, network net");
    let both = Range { window: "10.0.0.3-10.0.0.3".parse().unwrap(), ..range("10.0.0.0/29") };
    assert_snapshot!(refused(&mut world, Call::of("c4", &super::world::network(vec![vec![both]]))), @"no address is free in 10.0.0.3 of 10.0.0.0/29: 1 address, 0 held, 1 held by host-local (/networks/net)");
}

#[test]
fn a_range_set_of_fixed_addresses_only_refuses_a_random_one() {
    let mut range = range("10.0.0.0/29");
    range.fixed = Some(range.window);
    let refusal = World::default().add(&Call::of("c1", &network(vec![vec![range]]))).unwrap_err();
    assert_snapshot!(refusal, @"10.0.0.1-10.0.0.6 of 10.0.0.0/29 has no random addresses; request a fixed one");
    assert!(!refusal.is_passing());
}

#[test]
fn what_is_stored_of_an_add_reads_as_it_stands() {
    let mut world = World::default();
    let mut call = Call::of("c1", &network(vec![vec![range("10.188.0.0/16")], vec![range("fd00::/64")]]));
    call = call.requesting(&["10.188.0.218", "fd00::218"]);
    world.give(&call);
    let of = |world: &World, prefix: &str| {
        let lines = world.keys(prefix).into_iter().map(|key| {
            let value = world.text(&Key::new(key.clone())).unwrap();
            format!("{key}\n{value}")
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(of(&world, "ip/"), @r#"
    ip/default/4/010.188.000.218
    {"v":1,"kind":"fixed","holders":[{"node":"n1","containerID":"c1","ifname":"eth0","network":"net","pod":{"name":"pod-c1"},"cluster":"c-1","began":{"boot":"boot","boottime":0}}],"since":"2023-11-14T22:13:20Z","onRelease":"last"}
    ip/default/6/fd00:0000:0000:0000:0000:0000:0000:0218
    {"v":1,"kind":"fixed","holders":[{"node":"n1","containerID":"c1","ifname":"eth0","network":"net","pod":{"name":"pod-c1"},"cluster":"c-1","began":{"boot":"boot","boottime":0}}],"since":"2023-11-14T22:13:20Z","onRelease":"last"}
    "#);
    assert_snapshot!(of(&world, "at/"), @r#"
    at/n1/c1/eth0/net
    {"v":1,"vrf":"default","addresses":[{"address":"10.188.0.218/16","gateway":"10.188.0.1"},{"address":"fd00::218/64","gateway":"fd00::1"}],"holder":{"node":"n1","containerID":"c1","ifname":"eth0","network":"net","pod":{"name":"pod-c1"},"cluster":"c-1","began":{"boot":"boot","boottime":0}}}
    "#);
    assert_snapshot!(of(&world, "net/"), @r#"
    net/default/net/cb067f51803f6cf34f91dbf35ef32685
    {"v":1,"sets":[[{"subnet":"10.188.0.0/16","dynamic":"10.188.0.2-10.188.255.254","gateway":"10.188.0.1"}],[{"subnet":"fd00::/64","dynamic":"fd00::2-fd00::ffff:ffff:ffff:ffff","gateway":"fd00::1"}]]}
    "#);
    world.del(&call.id);
    assert_snapshot!(of(&world, "ip/"), @r#"
    ip/default/4/010.188.000.218
    {"v":1,"kind":"fixed","holders":[{"node":"n1","containerID":"c1","ifname":"eth0","network":"net","pod":{"name":"pod-c1"},"cluster":"c-1","began":{"boot":"boot","boottime":0}}],"since":"2023-11-14T22:13:20Z","onRelease":"last","rest":{"released":"2023-11-14T22:13:20Z","seconds":0,"last":true}}
    ip/default/6/fd00:0000:0000:0000:0000:0000:0000:0218
    {"v":1,"kind":"fixed","holders":[{"node":"n1","containerID":"c1","ifname":"eth0","network":"net","pod":{"name":"pod-c1"},"cluster":"c-1","began":{"boot":"boot","boottime":0}}],"since":"2023-11-14T22:13:20Z","onRelease":"last","rest":{"released":"2023-11-14T22:13:20Z","seconds":0,"last":true}}
    "#);
    assert_snapshot!(of(&world, "rest/"), @r#"
    rest/default/4/z/2023-11-14T22:13:20.000Z/010.188.000.218
    {"v":1,"released":"2023-11-14T22:13:20Z","seconds":0,"last":true}
    rest/default/6/z/2023-11-14T22:13:20.000Z/fd00:0000:0000:0000:0000:0000:0000:0218
    {"v":1,"released":"2023-11-14T22:13:20Z","seconds":0,"last":true}
    "#);
    assert_eq!(holder(call.id).to_string(), "pod pod-c1, interface eth0, node n1, network net");
}
