//! What an ADD gives, case by case. The numbers are those of the edge cases in the fact sheet on CNI and Multus.

use std::collections::BTreeSet;
use std::net::IpAddr;

use insta::assert_snapshot;

use super::world::{Call, World, at, attachment, contradictions, cooling, holder, ip, name, network, range, subnet};
use crate::config::Network;
use crate::ipam::decide::{MAX_ROUNDS, Step};
use crate::ipam::lease;
use crate::ipam::name::{AttachmentId, IfName};
use crate::ipam::range::Range;
use crate::ipam::refusal::Refusal;
use crate::store::{Op, State, Txn, keys};

/// Everything that a network gives at random, one container after the other, until it refuses.
fn all_of(world: &mut World, network: &Network) -> Vec<IpAddr> {
    let mut given = Vec::new();
    for i in 0.. {
        match world.add(&Call::of(&format!("all{i}"), network)) {
            Ok(granted) => given.extend(super::world::addresses(&granted)),
            Err(Refusal::Exhausted { .. }) => break,
            Err(refusal) => panic!("{refusal}"),
        }
    }
    let distinct: BTreeSet<IpAddr> = given.iter().copied().collect();
    assert_eq!(distinct.len(), given.len(), "{given:?}");
    given
}

fn sorted(mut ips: Vec<IpAddr>) -> String {
    ips.sort();
    ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_repeated_add_gets_the_same_addresses() {
    // Edge case 1.
    let mut world = World::default();
    let dual = network(vec![vec![range("10.0.0.0/24")], vec![range("fd00::/64")]]);
    let first = world.add(&Call::of("c1", &dual)).unwrap();
    world.wait(5);
    let second = world.add(&Call::of("c1", &dual)).unwrap();
    assert!(second.repeated && !first.repeated);
    assert_eq!(
        (&first.attachment, &first.leases, first.revision),
        (&second.attachment, &second.leases, second.revision)
    );
    assert_eq!(world.held().len(), 2);
    assert_eq!(world.requests, 2);
}

#[test]
fn a_repeated_add_gets_them_although_the_config_has_changed() {
    let mut world = World::default();
    let first = world.add(&Call::of("c1", &subnet("10.0.0.0/24"))).unwrap();
    let second = world.add(&Call::of("c1", &subnet("10.9.0.0/16"))).unwrap();
    assert_eq!(first.attachment, second.attachment);
}

#[test]
fn a_repeated_add_that_has_lost_an_address_is_refused_and_changes_nothing() {
    let mut world = World::default();
    let dual = network(vec![vec![range("10.0.0.0/24")], vec![range("fd00::/64")]]);
    let call = Call::of("c1", &dual).asking(&["10.0.0.5", "fd00::5"]);
    world.give(&call);
    let key = keys::lease(&name("default"), ip("fd00::5"));
    let (held, taken) = (world.text(&key).unwrap(), world.text(&key).unwrap().replace("c1", "c2"));
    let mut refused = |value: Option<&str>| {
        match value {
            Some(value) => world.put(key.clone(), value),
            None => drop(world.state.commit(&Txn::read(vec![Op::Delete(key.clone())]).unwrap())),
        }
        let before = world.state.clone();
        let refusal = world.add(&call).unwrap_err();
        assert_eq!(world.state, before);
        assert!(refusal.is_passing());
        refusal.to_string()
    };
    assert_snapshot!(refused(None), @"eth0 of container c1 on network net (node n1) had fd00::5, but does not hold it any more (nobody holds it); it must be deleted and added again");
    assert_snapshot!(refused(Some(&taken)), @"eth0 of container c1 on network net (node n1) had fd00::5, but does not hold it any more (pod pod-c2, interface eth0, node n1, network net holds it); it must be deleted and added again");
    assert_snapshot!(refused(Some(r#"{"v":2}"#)), @"eth0 of container c1 on network net (node n1) had fd00::5, but does not hold it any more (its lease was written by a newer kube-ipam (value version 2, this one reads up to 1)); it must be deleted and added again");
    assert_snapshot!(refused(Some("{")), @"eth0 of container c1 on network net (node n1) had fd00::5, but does not hold it any more (its lease can't be read: EOF while parsing an object at line 1 column 1); it must be deleted and added again");
    let rests = held.replace("}],", r#"}],"rest":{"released":"2023-11-14T22:13:20Z","seconds":30},"#);
    assert_snapshot!(refused(Some(&rests)), @"eth0 of container c1 on network net (node n1) had fd00::5, but does not hold it any more (it rests); it must be deleted and added again");
    let nobody = lease::write(&lease::Lease { holders: Vec::new(), ..serde_json::from_str(&held).unwrap() });
    assert_snapshot!(refused(Some(&String::from_utf8(nobody).unwrap())), @"eth0 of container c1 on network net (node n1) had fd00::5, but does not hold it any more (its lease names no holder); it must be deleted and added again");
}

#[test]
fn a_repeated_add_that_asks_for_another_address_is_refused() {
    let mut world = World::default();
    let network = subnet("10.0.0.0/24");
    world.give(&Call::of("c1", &network).asking(&["10.0.0.5"]));
    let refusal = world.add(&Call::of("c1", &network).asking(&["10.0.0.6"])).unwrap_err();
    assert_snapshot!(refusal, @"eth0 of container c1 on network net (node n1) already has 10.0.0.5/24, but now 10.0.0.6 is requested; it must be deleted and added again");
    assert!(refusal.is_passing());
}

#[test]
fn an_attachment_whose_entry_cannot_be_read_is_refused_and_left_alone() {
    for (value, why) in [(r#"{"v":7}"#, "newer"), ("[]", "can't be read"), ("", "can't be read")] {
        let mut world = World::default();
        world.put(keys::attachment(&attachment("c1")), value);
        let before = world.state.clone();
        let refusal = world.add(&Call::of("c1", &subnet("10.0.0.0/24"))).unwrap_err();
        assert!(refusal.to_string().contains(why) && refusal.is_passing(), "{refusal}");
        assert_eq!(world.state, before);
    }
}

#[test]
fn interfaces_nodes_and_containers_are_attachments_of_their_own() {
    // Edge case 7.
    let mut world = World::default();
    let network = subnet("10.0.0.0/29");
    let eth0 = Call::of("c1", &network);
    let of = |id: AttachmentId| Call { id, ..eth0.clone() };
    let calls = [
        eth0.clone(),
        of(AttachmentId { ifname: IfName::new("net1").unwrap(), ..attachment("c1") }),
        of(AttachmentId { node: name("n2"), ..attachment("c1") }),
        of(attachment("c2")),
    ];
    let given: BTreeSet<IpAddr> = calls.iter().flat_map(|call| world.give(call)).collect();
    assert_eq!(given.len(), 4);
    world.del(&calls[1].id);
    assert_eq!(world.held().len(), 3);
    assert!(world.add(&calls[0]).unwrap().repeated);
}

#[test]
fn a_fixed_address_does_not_serve_two_interfaces_of_a_pod() {
    // Edge case 8.
    let mut world = World::default();
    let network = subnet("10.0.0.0/24");
    let net1 = Call::of("c1", &network).asking(&["10.0.0.5"]);
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
    let fixed = Call::of("fixed", &other).asking(&[&given[0].to_string()]);
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
    // Edge case 15, and the contract on fixedStart: also where another range shares the subnet.
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
    let second = world.add(&Call::of("c2", &network).asking(&["10.0.0.5"])).unwrap().attachment.addresses.remove(0);
    assert_eq!((second.address.to_string().as_str(), second.gateway), ("10.0.0.5/24", Some(ip("10.0.0.14"))));
}

#[test]
fn special_addresses_are_never_given() {
    // Edge case 18. These subnets are so wide that a walk over them would never end; 20: nothing enumerates.
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
    let both = Call::of("c1", &network).asking(&["10.0.0.5", "10.0.0.6"]);
    assert_eq!(world.give(&both), [ip("10.0.0.5"), ip("10.0.0.6")]);
    let refused = world.add(&Call::of("c2", &network).asking(&["10.0.0.7", "10.0.0.6"]));
    assert!(matches!(refused, Err(Refusal::Held { .. })));
    assert_eq!(world.held().len(), 2);
}

#[test]
fn a_held_fixed_address_is_refused_naming_its_holder_and_never_becomes_a_random_one() {
    // Edge case 14.
    let mut world = World::default();
    let network = subnet("10.0.0.0/24");
    world.give(&Call::of("c1", &network).asking(&["10.0.0.5"]));
    let refusal = world.add(&Call::of("c2", &network).asking(&["10.0.0.5"])).unwrap_err();
    assert_snapshot!(refusal, @"10.0.0.5 is held by pod pod-c1, interface eth0, node n1, network net, since 2023-11-14T22:13:20Z");
    assert_eq!(world.held().len(), 1);
}

#[test]
fn a_family_that_is_exhausted_fails_the_whole_call_and_holds_nothing_of_the_other() {
    // Edge case 24.
    let mut world = World::default();
    let dual = network(vec![vec![range("10.0.0.0/24")], vec![range("fd00::1/128")]]);
    world.give(&Call::of("c1", &dual));
    let refusal = world.add(&Call::of("c2", &dual)).unwrap_err();
    assert_snapshot!(refusal, @"no address is free in fd00::1 of fd00::1/128: 1 held; among them: fd00::1 by pod pod-c1, interface eth0, node n1, network net");
    assert_eq!(world.held().len(), 2);
}

#[test]
fn a_value_of_a_newer_version_and_one_that_is_corrupt_count_as_held_and_stay_as_they_are() {
    let mut world = World::default();
    let network = subnet("10.0.0.0/30");
    let key = keys::lease(&name("default"), ip("10.0.0.2"));
    for (value, is) in [(r#"{"v":2,"x":[]}"#, "newer"), ("\u{0}", "can't be read"), (r#"{"v":1}"#, "can't be read")] {
        world.put(key.clone(), value);
        assert!(matches!(world.add(&Call::of("c1", &network)), Err(Refusal::Exhausted { held: 1, .. })));
        let refusal = world.add(&Call::of("c1", &network).asking(&["10.0.0.2"])).unwrap_err();
        assert!(refusal.to_string().contains(is), "{refusal}");
        assert_eq!(world.text(&key).as_deref(), Some(value));
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
    assert_snapshot!(refused(&mut world, Call::of("c4", &network).asking(&["10.0.0.3"])), @"10.0.0.3 is still held by host-local (/networks/net/10.0.0.3); it is free once that file is gone");
    assert_snapshot!(refused(&mut world, Call::of("c4", &network)), @"no address is free in 10.0.0.1-10.0.0.6 of 10.0.0.0/29: 3 held; among them: 10.0.0.2 by pod pod-c0, interface eth0, node n1, network net");
    let both = Range { window: "10.0.0.3-10.0.0.3".parse().unwrap(), ..range("10.0.0.0/29") };
    assert_snapshot!(refused(&mut world, Call::of("c4", &super::world::network(vec![vec![both]]))), @"no address is free in 10.0.0.3 of 10.0.0.0/29: 1 held; among them: 10.0.0.3 by host-local");
}

#[test]
fn a_released_address_rests_before_it_is_given_at_random_again() {
    // Edge case 36.
    let mut world = World::default();
    let network = subnet("10.0.0.0/29");
    let first = world.give(&Call::of("c0", &network));
    world.del(&attachment("c0"));
    let others: Vec<IpAddr> = (1..5).flat_map(|i| world.give(&Call::of(&format!("c{i}"), &network))).collect();
    assert!(!others.contains(&first[0]));
    world.wait(10);
    // Nothing else is free; the reply and the log say that it is early.
    let early = world.add(&Call::of("c5", &network)).unwrap();
    assert_eq!(early.early, first);
    world.del(&attachment("c5"));
    world.wait(30);
    assert!(world.add(&Call::of("c6", &network)).unwrap().early.is_empty());
}

#[test]
fn of_those_that_rest_the_one_that_was_released_first_is_given_first() {
    let mut world = World::default();
    let network = subnet("10.0.0.0/29");
    let given = all_of(&mut world, &network);
    for i in [3, 1, 4, 0, 2] {
        world.del(&attachment(&format!("all{i}")));
        world.wait(1);
    }
    let again: Vec<IpAddr> = (0..5).flat_map(|i| world.give(&Call::of(&format!("again{i}"), &network))).collect();
    assert_eq!(again, [given[3], given[1], given[4], given[0], given[2]]);
}

#[test]
fn a_strict_cooldown_refuses_rather_than_give_an_address_that_rests() {
    let mut world = World::default();
    let network = cooling(subnet("10.0.0.0/29"), 30, true);
    all_of(&mut world, &network);
    world.del(&attachment("all0"));
    world.wait(29);
    assert_snapshot!(world.add(&Call::of("late", &network)).unwrap_err(), @"no address is free in 10.0.0.1-10.0.0.6 of 10.0.0.0/29: 4 held, 1 resting (cooldown is strict); among them: 10.0.0.2 by pod pod-all4, interface eth0, node n1, network net; 10.0.0.3 by pod pod-all3, interface eth0, node n1, network net; 10.0.0.4 by pod pod-all2, interface eth0, node n1, network net");
    world.wait(1);
    world.give(&Call::of("late", &network));
}

#[test]
fn a_clock_that_was_wrong_neither_loses_an_address_nor_ends_a_rest() {
    let network = |strict| cooling(subnet("10.0.0.1/32"), 30, strict);
    // Released in the future: counts as released now.
    let mut world = World { seconds: 86_400, ..World::default() };
    let given = world.give(&Call::of("c1", &network(false)));
    world.del(&attachment("c1"));
    world.wait(-86_400);
    assert!(matches!(world.add(&Call::of("c2", &network(true))), Err(Refusal::Exhausted { resting: 1, .. })));
    assert_eq!(world.add(&Call::of("c2", &network(false))).unwrap().early, given);
    // Without a rest there is nothing to wait for, whatever the clock says.
    let mut world = World { seconds: 86_400, ..World::default() };
    world.give(&Call::of("c1", &network(false)).asking(&["10.0.0.1"]));
    world.del(&attachment("c1"));
    world.wait(-86_400);
    assert!(world.add(&Call::of("c2", &network(true))).unwrap().early.is_empty());
    // Set forward: the rest is over early, and the address given once.
    let mut world = World::default();
    world.give(&Call::of("c1", &network(true)));
    world.del(&attachment("c1"));
    world.wait(86_400);
    world.give(&Call::of("c2", &network(true)));
    assert!(world.add(&Call::of("c3", &network(true))).is_err());
}

#[test]
fn cooldown_binds_random_choice_only() {
    let mut world = World::default();
    let network = cooling(subnet("10.0.0.0/24"), 3600, true);
    world.give(&Call::of("c1", &network).asking(&["10.0.0.5"]));
    world.del(&attachment("c1"));
    assert_eq!(world.give(&Call::of("c2", &network).asking(&["10.0.0.5"])), [ip("10.0.0.5")]);
    world.del(&attachment("c2"));
    let given = world.give(&Call::of("c3", &network));
    world.del(&attachment("c3"));
    assert_eq!(world.give(&Call::of("c4", &network).asking(&[&given[0].to_string()])), given);
}

#[test]
fn a_fixed_address_inside_the_dynamic_range_is_given_at_random_only_when_nothing_else_is_free() {
    for seconds in [0, 30] {
        let mut world = World::default();
        let network = cooling(subnet("10.0.0.0/29"), seconds, false);
        world.give(&Call::of("fixed", &network).asking(&["10.0.0.4"]));
        world.del(&attachment("fixed"));
        world.wait(100_000);
        let given = all_of(&mut world, &network);
        assert_eq!((given.len(), given.last()), (5, Some(&ip("10.0.0.4"))));
    }
}

#[test]
fn an_address_that_was_given_at_random_and_rests_goes_before_one_that_was_fixed() {
    let mut world = World::default();
    let network = subnet("10.0.0.0/30");
    let network = Network { sets: super::world::network(vec![vec![range("10.0.0.4/31")]]).sets, ..network };
    world.give(&Call::of("fixed", &network).asking(&["10.0.0.4"]));
    world.give(&Call::of("random", &network));
    world.del(&attachment("fixed"));
    world.wait(1000);
    world.del(&attachment("random"));
    assert_eq!(all_of(&mut world, &network), [ip("10.0.0.5"), ip("10.0.0.4")]);
}

#[test]
fn rests_that_have_lost_their_lease_are_not_in_the_way_of_others() {
    // Somebody has deleted or overwritten leases by hand.
    let mut world = World::default();
    let network = subnet("10.0.0.0/26");
    let given = all_of(&mut world, &network);
    for (i, address) in given.iter().enumerate().take(40) {
        world.del(&attachment(&format!("all{i}")));
        world.put(keys::lease(&name("default"), *address), r#"{"v":9}"#);
    }
    world.del(&attachment("all50"));
    world.wait(60);
    assert_eq!(world.give(&Call::of("late", &network)), [given[50]]);
    assert!(world.requests < 40, "{}", world.requests);
}

#[test]
fn a_range_set_of_fixed_addresses_only_refuses_a_random_one() {
    let mut range = range("10.0.0.0/29");
    range.fixed = Some(range.window);
    let refusal = World::default().add(&Call::of("c1", &network(vec![vec![range]]))).unwrap_err();
    assert_snapshot!(refusal, @"10.0.0.1-10.0.0.6 of 10.0.0.0/29 has no addresses to give at random; request a fixed one");
    assert!(!refusal.is_passing());
}

#[test]
fn an_add_replaces_a_fence_and_carries_it_on() {
    let mut world = World::default();
    let call = Call::of("c1", &subnet("10.0.0.0/24"));
    world.del_fenced(&call.id);
    assert_snapshot!(world.text(&keys::attachment(&call.id)).unwrap(), @r#"{"v":1,"vrf":"default","closed":"2023-11-14T22:13:20Z"}"#);
    world.wait(60);
    let granted = world.add(&call).unwrap();
    assert_eq!((granted.attachment.closed, world.requests), (Some(at(0)), 2));
    world.wait(60);
    world.del_written(&granted);
    assert_snapshot!(world.text(&keys::attachment(&call.id)).unwrap(), @r#"{"v":1,"vrf":"default","closed":"2023-11-14T22:13:20Z"}"#);
    // An hour on no commit of back then can still be under way.
    let granted = world.add(&call).unwrap();
    world.wait(3600);
    world.del_written(&granted);
    assert_eq!(world.text(&keys::attachment(&call.id)), None);
}

#[test]
fn what_an_add_that_is_too_late_would_have_written_stays_unwritten() {
    let mut late = Call::of("c1", &subnet("10.0.0.0/24")).machine().unwrap();
    let Step::Commit(txn) = late.start(at(0)) else { panic!("an ADD begins with a transaction") };
    let mut world = World::default();
    world.del_fenced(&attachment("c1"));
    let fenced = world.state.clone();
    assert!(!world.state.commit(&txn).branch.taken);
    assert_eq!(world.state, fenced);
    let granted = world.add(&Call::of("c1", &subnet("10.0.0.0/24"))).unwrap();
    world.del_written(&granted);
    assert!(!world.state.commit(&txn).branch.taken);
    assert_eq!(world.held().len(), 0);
}

#[test]
fn an_add_that_loses_every_race_gives_up_and_holds_nothing() {
    let mut add = Call::of("c1", &subnet("10.0.0.0/24")).machine().unwrap();
    let mut step = add.start(at(0));
    let mut rounds = 0;
    // Each candidate is taken just before, and free again just after.
    let refusal = loop {
        match step {
            Step::Commit(txn) => {
                rounds += 1;
                let mut state = State::default();
                let mut taken = txn.when().iter().filter_map(|guard| match guard {
                    crate::store::Guard::Absent(key) => Some(Op::Put(key.clone(), b"{}".to_vec())),
                    crate::store::Guard::Unchanged(..) => None,
                });
                taken.next();
                let ops: Vec<Op> = taken.collect();
                state.commit(&Txn::new(Vec::new(), ops, Vec::new()).unwrap());
                if let [Op::Try(second)] = txn.otherwise() {
                    let ops = second.otherwise().to_vec();
                    let inner = state.commit(&Txn::read(ops).unwrap()).branch;
                    let branch = crate::store::Branch { taken: false, answers: inner.answers };
                    let answers = vec![crate::store::Answer::Branch(branch)];
                    let at_revision = state.commit(&Txn::read(Vec::new()).unwrap()).at;
                    let branch = crate::store::Branch { taken: false, answers };
                    step = add.next(&crate::store::Outcome { at: at_revision, branch }, at(0));
                } else {
                    step = add.next(&state.commit(&txn), at(0));
                }
            }
            Step::Done(granted) => panic!("{granted:?}"),
            Step::Refused(refusal) => break refusal,
        }
    };
    assert_eq!((&refusal, rounds), (&Refusal::Contended { rounds: MAX_ROUNDS }, MAX_ROUNDS));
    assert!(refusal.is_passing());
}

#[test]
fn an_add_whose_last_allowed_transaction_succeeds_has_its_addresses() {
    let call = Call::of("c1", &subnet("10.0.0.0/24"));
    let mut add = call.machine().unwrap();
    let mut step = add.start(at(0));
    let mut world = World::default();
    for round in 1..=MAX_ROUNDS {
        let Step::Commit(txn) = step else { panic!("round {round}") };
        let outcome = if round < MAX_ROUNDS {
            // The way that reads, as if both candidates had been free again by then.
            let [Op::Try(second)] = txn.otherwise() else { panic!("two choices") };
            let read = world.state.commit(&Txn::read(second.otherwise().to_vec()).unwrap());
            let inner = crate::store::Branch { taken: false, ..read.branch };
            let answers = vec![crate::store::Answer::Branch(inner)];
            crate::store::Outcome { at: read.at, branch: crate::store::Branch { taken: false, answers } }
        } else {
            world.state.commit(&txn)
        };
        step = add.next(&outcome, at(0));
    }
    let Step::Done(granted) = step else { panic!("{step:?}") };
    assert_eq!(super::world::addresses(&granted).len(), world.held().len());
}

#[test]
fn what_is_stored_of_an_add_reads_as_it_stands() {
    let mut world = World::default();
    let mut call = Call::of("c1", &network(vec![vec![range("10.188.0.0/16")], vec![range("fd00::/64")]]));
    call = call.asking(&["10.188.0.218", "fd00::218"]);
    world.give(&call);
    let of = |world: &World, prefix: &str| {
        let lines = world.keys(prefix).into_iter().map(|key| {
            let value = world.text(&crate::store::Key::new(key.clone())).unwrap();
            format!("{key}\n{value}")
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(of(&world, "ip/"), @r#"
    ip/default/4/010.188.000.218
    {"v":1,"kind":"fixed","holders":[{"node":"n1","containerID":"c1","ifname":"eth0","network":"net","pod":{"name":"pod-c1"},"began":{"boot":"boot","boottime":0}}],"since":"2023-11-14T22:13:20Z","onRelease":"last"}
    ip/default/6/fd00:0000:0000:0000:0000:0000:0000:0218
    {"v":1,"kind":"fixed","holders":[{"node":"n1","containerID":"c1","ifname":"eth0","network":"net","pod":{"name":"pod-c1"},"began":{"boot":"boot","boottime":0}}],"since":"2023-11-14T22:13:20Z","onRelease":"last"}
    "#);
    assert_snapshot!(of(&world, "at/"), @r#"
    at/n1/c1/eth0/net
    {"v":1,"vrf":"default","addresses":[{"address":"10.188.0.218/16","gateway":"10.188.0.1"},{"address":"fd00::218/64","gateway":"fd00::1"}],"holder":{"node":"n1","containerID":"c1","ifname":"eth0","network":"net","pod":{"name":"pod-c1"},"began":{"boot":"boot","boottime":0}}}
    "#);
    assert_snapshot!(of(&world, "net/"), @r#"
    net/default/net/cb067f51803f6cf34f91dbf35ef32685
    {"v":1,"sets":[[{"subnet":"10.188.0.0/16","dynamic":"10.188.0.2-10.188.255.254","gateway":"10.188.0.1"}],[{"subnet":"fd00::/64","dynamic":"fd00::2-fd00::ffff:ffff:ffff:ffff","gateway":"fd00::1"}]]}
    "#);
    world.del(&call.id);
    assert_snapshot!(of(&world, "ip/"), @r#"
    ip/default/4/010.188.000.218
    {"v":1,"kind":"fixed","holders":[{"node":"n1","containerID":"c1","ifname":"eth0","network":"net","pod":{"name":"pod-c1"},"began":{"boot":"boot","boottime":0}}],"since":"2023-11-14T22:13:20Z","onRelease":"last","rest":{"released":"2023-11-14T22:13:20Z","seconds":0,"last":true}}
    ip/default/6/fd00:0000:0000:0000:0000:0000:0000:0218
    {"v":1,"kind":"fixed","holders":[{"node":"n1","containerID":"c1","ifname":"eth0","network":"net","pod":{"name":"pod-c1"},"began":{"boot":"boot","boottime":0}}],"since":"2023-11-14T22:13:20Z","onRelease":"last","rest":{"released":"2023-11-14T22:13:20Z","seconds":0,"last":true}}
    "#);
    assert_snapshot!(of(&world, "rest/"), @r#"
    rest/default/4/z/2023-11-14T22:13:20.000Z/010.188.000.218
    {"v":1,"released":"2023-11-14T22:13:20Z","seconds":0,"last":true}
    rest/default/6/z/2023-11-14T22:13:20.000Z/fd00:0000:0000:0000:0000:0000:0000:0218
    {"v":1,"released":"2023-11-14T22:13:20Z","seconds":0,"last":true}
    "#);
    assert_eq!(holder(call.id).to_string(), "pod pod-c1, interface eth0, node n1, network net");
}
