//! Cooldowns: what they apply to, the order in which they end, and how they are removed. The numbers are those of
//! docs/edge-cases.md.

use std::net::IpAddr;

use insta::assert_snapshot;

use super::world::{Call, World, all_of, at, attachment, contradictions, cooling, ip, name, network, range, subnet};
use crate::config::Network;
use crate::ipam::address::{self, Family};
use crate::ipam::decide::Released;
use crate::ipam::keys;
use crate::ipam::lease::{self, Lease, Rest, RestEntry};
use crate::ipam::refusal::Refusal;
use crate::store::{Op, Txn};

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
    // Nothing else is free. The result says that the cooldown was not over.
    let early = world.add(&Call::of("c5", &network)).unwrap();
    assert_eq!(early.before_cooldown_ended, first);
    world.del(&attachment("c5"));
    world.wait(30);
    assert!(world.add(&Call::of("c6", &network)).unwrap().before_cooldown_ended.is_empty());
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
    assert_snapshot!(world.add(&Call::of("late", &network)).unwrap_err(), @"no address is free in 10.0.0.1-10.0.0.6 of 10.0.0.0/29: 5 addresses, 4 held, 1 resting (cooldown is strict), 1 more excluded; among them: 10.0.0.2 by pod pod-all4, interface eth0, node n1, network net; 10.0.0.3 by pod pod-all3, interface eth0, node n1, network net; 10.0.0.4 by pod pod-all2, interface eth0, node n1, network net");
    world.wait(1);
    world.give(&Call::of("late", &network));
}

#[test]
fn a_clock_that_was_wrong_neither_loses_an_address_nor_ends_a_rest() {
    let network = |strict| cooling(subnet("10.0.0.1/32"), 30, strict);
    // A release in the future counts as now.
    let mut world = World { seconds: 86_400, ..World::default() };
    let given = world.give(&Call::of("c1", &network(false)));
    world.del(&attachment("c1"));
    world.wait(-86_400);
    assert!(matches!(
        world.add(&Call::of("c2", &network(true))),
        Err(Refusal::Exhausted { counts, .. }) if counts.resting == 1
    ));
    assert_eq!(world.add(&Call::of("c2", &network(false))).unwrap().before_cooldown_ended, given);
    // Without a cooldown there is nothing to wait for, whatever the clock says.
    let mut world = World { seconds: 86_400, ..World::default() };
    world.give(&Call::of("c1", &network(false)).requesting(&["10.0.0.1"]));
    world.del(&attachment("c1"));
    world.wait(-86_400);
    assert!(world.add(&Call::of("c2", &network(true))).unwrap().before_cooldown_ended.is_empty());
    // Set forward: the cooldown ends early, and the address is assigned once.
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
    world.give(&Call::of("c1", &network).requesting(&["10.0.0.5"]));
    world.del(&attachment("c1"));
    assert_eq!(world.give(&Call::of("c2", &network).requesting(&["10.0.0.5"])), [ip("10.0.0.5")]);
    world.del(&attachment("c2"));
    let given = world.give(&Call::of("c3", &network));
    world.del(&attachment("c3"));
    assert_eq!(world.give(&Call::of("c4", &network).requesting(&[&given[0].to_string()])), given);
}

#[test]
fn a_fixed_address_inside_the_dynamic_range_is_given_at_random_only_when_nothing_else_is_free() {
    for seconds in [0, 30] {
        let mut world = World::default();
        let network = cooling(subnet("10.0.0.0/29"), seconds, false);
        world.give(&Call::of("fixed", &network).requesting(&["10.0.0.4"]));
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
    world.give(&Call::of("fixed", &network).requesting(&["10.0.0.4"]));
    world.give(&Call::of("random", &network));
    world.del(&attachment("fixed"));
    world.wait(1000);
    world.del(&attachment("random"));
    assert_eq!(all_of(&mut world, &network), [ip("10.0.0.5"), ip("10.0.0.4")]);
}

#[test]
fn rests_that_have_lost_their_lease_are_not_in_the_way_of_others() {
    // Somebody deleted or overwrote leases by hand.
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

/// So many addresses of another network that were released long ago, with their cooldown over or not.
fn rests_of_another(world: &mut World, count: u32, seconds: u64) {
    let given = world.add(&Call::of("other", &subnet("172.16.0.0/12"))).unwrap();
    let lease = given.leases[0].1.clone();
    for n in 0..count {
        let ip = address::address(Family::V4, 0xc0a8_0000 + u128::from(n));
        let rest = Rest { released: at(-1000), seconds, last: false };
        let resting = Lease { rest: Some(rest.clone()), ..lease.clone() };
        let key = keys::rest(&name("default"), keys::CooldownClass::Normal, rest.released, ip);
        let puts = [
            Op::Put(keys::lease(&name("default"), ip), lease::write(&resting)),
            Op::Put(key, lease::write(&RestEntry { v: lease::VERSION, rest })),
        ];
        world.state.commit(&Txn::new(Vec::new(), puts.into(), Vec::new()).unwrap());
    }
}

#[test]
fn an_address_whose_rest_is_over_is_given_whatever_other_networks_rest() {
    for (seconds, strict) in [(30, false), (30, true), (86_400, false), (86_400, true)] {
        let mut world = World::default();
        let network = cooling(subnet("10.0.0.0/29"), 30, strict);
        let given = all_of(&mut world, &network);
        rests_of_another(&mut world, 5_000, seconds);
        world.del(&attachment("all2"));
        world.wait(30);
        assert_eq!(world.give(&Call::of("late", &network)), [given[2]]);
        assert!(world.requests <= 5, "{} requests", world.requests);
        // When it is full again, the refusal comes as soon.
        assert!(matches!(
            world.add(&Call::of("later", &network)),
            Err(Refusal::Exhausted { counts, .. }) if counts.held == 5
        ));
        assert!(world.requests <= 4, "{} requests", world.requests);
    }
}

#[test]
fn a_small_range_with_holes_is_read_whole_as_well() {
    let mut world = World::default();
    let mut holes = range("10.0.0.0/27");
    holes.exclude = (2..30).step_by(3).map(|n| format!("10.0.0.{n}").parse().unwrap()).collect();
    let network = cooling(network(vec![vec![holes]]), 30, true);
    let given = all_of(&mut world, &network);
    rests_of_another(&mut world, 2_000, 86_400);
    world.del(&attachment("all7"));
    world.wait(30);
    assert_eq!(world.give(&Call::of("late", &network)), [given[7]]);
    assert!(world.requests <= 5, "{} requests", world.requests);
}

#[test]
fn of_a_large_range_what_rests_is_given_before_what_was_fixed_whatever_other_networks_rest() {
    // More addresses than CollectHolders reads as a whole.
    let mut world = World::default();
    let network = cooling(subnet("10.0.0.0/21"), 30, false);
    world.give(&Call::of("fixed", &network).requesting(&["10.0.3.3"]));
    let given = all_of(&mut world, &network);
    world.del(&attachment("fixed"));
    rests_of_another(&mut world, 2_000, 86_400);
    for n in 0..given.len() / 4 {
        world.del(&attachment(&format!("all{n}")));
    }
    world.wait(30);
    for n in 0..20 {
        let late = world.give(&Call::of(&format!("late{n}"), &network))[0];
        assert!(given[..given.len() / 4].contains(&late), "{late}");
        assert!(world.requests <= 9, "{} requests", world.requests);
    }
}

#[test]
fn without_a_cooldown_a_released_address_leaves_nothing_behind() {
    let mut world = World::default();
    world.give(&Call::of("c1", &cooling(subnet("10.0.0.0/24"), 0, false)));
    world.del(&attachment("c1"));
    assert_eq!((world.keys("ip/").len(), world.keys("rest/").len(), world.keys("at/").len()), (0, 0, 0));
}

/// Addresses are assigned and released, `seconds` apart, with a cooldown of 30 seconds.
fn churn(world: &mut World, network: &Network, count: usize, seconds: i64) -> Vec<Released> {
    let one = |i| {
        world.give(&Call::of(&format!("churn{i}"), network));
        world.wait(seconds);
        world.del(&attachment(&format!("churn{i}")))
    };
    (0..count).map(one).collect()
}

#[test]
fn rests_that_are_over_are_cleared_when_a_batch_has_gathered() {
    let mut world = World::default();
    let network = network(vec![vec![range("10.0.0.0/16")], vec![range("fd00::/64")]]);
    let released = churn(&mut world, &network, 33, 60);
    // Each DEL reads the index before it adds its own entry.
    assert!(released[..32].iter().all(|released| released.clear.is_none()));
    assert_eq!(world.keys("rest/").len(), 66);
    // Meanwhile, another call takes one of them.
    let again = released[3].freed[0];
    world.give(&Call::of("again", &network).requesting(&[&again.to_string()]));
    world.state.commit(released[32].clear.as_ref().unwrap());
    assert_eq!(world.keys("rest/").len(), 2);
    assert_eq!(contradictions(&world.state), Vec::<String>::new());
    assert!(world.held().keys().any(|(_, ip)| *ip == again));
}

#[test]
fn rests_that_are_not_over_stay() {
    let mut world = World::default();
    assert!(churn(&mut world, &subnet("10.0.0.0/16"), 40, 0).iter().all(|released| released.clear.is_none()));
    // A few with a cooldown of a day don't keep the others from being removed.
    let mut world = World::default();
    churn(&mut world, &cooling(subnet("10.0.0.0/16"), 86_400, false), 10, 1);
    let released = churn(&mut world, &subnet("10.0.0.0/16"), 23, 60);
    world.state.commit(released[22].clear.as_ref().unwrap());
    assert_eq!(world.keys("rest/").len(), 11);
}
