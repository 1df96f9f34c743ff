//! Named pools: only pods that request a pool get its addresses.

use insta::assert_snapshot;

use super::sticky::{holders, lease, lives, of_set, sound};
use super::world::{Call, World, addresses, attachment, ip, network, range, subnet};
use crate::config::Network;
use crate::ipam::decide::GiveUpReason;
use crate::ipam::lease::AllocationKind;
use crate::ipam::pool::tests::{pool, with_pools};
use crate::ipam::range::Range;
use crate::ipam::refusal::Refusal;
use crate::ipam::takeover::GoneReason;

/// A network with addresses .2 to .6. Pool db has .4 to .6.
fn small() -> Network {
    with_pools(subnet("10.0.0.0/29"), vec![pool("db", &["10.0.0.4-10.0.0.6"], &[])])
}

fn named(container: &str, network: &Network) -> Call {
    Call::of(container, network).annotated(&[("kube-ipam.eth0.pool", "db")])
}

/// An ADD of a pod of StatefulSet pg, whose address is sticky.
fn kept(container: &str, uid: &str, pool: Option<&str>) -> Call {
    let call = Call { network: small(), ..of_set(container, "pg-0", uid) };
    match pool {
        Some(pool) => call.annotated(&[("kube-ipam.eth0.pool", pool)]),
        None => call,
    }
}

#[test]
fn pods_that_ask_for_nothing_fill_the_range_and_leave_its_pool_alone() {
    let mut world = World::default();
    let given = ["a", "b"].map(|container| world.give(&Call::of(container, &small()))[0]);
    assert!(given.iter().all(|ip| ["10.0.0.2", "10.0.0.3"].contains(&ip.to_string().as_str())), "{given:?}");
    assert_snapshot!(world.add(&Call::of("c", &small())).unwrap_err(), @"no address is free in 10.0.0.1-10.0.0.6 of 10.0.0.0/29: 2 addresses, 2 held, 4 more excluded; among them: 10.0.0.2 by pod pod-b, interface eth0, node n1, network net; 10.0.0.3 by pod pod-a, interface eth0, node n1, network net");
    // A released address of the pool is never assigned at random, even after its cooldown.
    world.give(&named("d", &small()));
    world.del(&attachment("d"));
    world.wait(100_000);
    assert!(matches!(world.add(&Call::of("e", &small())), Err(Refusal::Exhausted { .. })));
    // A request for any address never takes over an address of the pool, even from a gone pod.
    let of_pod = |call: Call, uid| call.of_pod(uid, uid, 1);
    world.give(&of_pod(named("f", &small()), "u-1"));
    for _ in 0..3 {
        let refused =
            world.add(&of_pod(Call::of("g", &small()), "u-2").with_pod_check("u-1", Ok(GoneReason::NotFound)));
        assert!(matches!(refused, Err(Refusal::Exhausted { .. })), "{refused:?}");
        world.wait(1_000);
    }
    sound(&world);
}

#[test]
fn pods_that_name_a_pool_share_none_of_its_addresses_and_the_refusal_names_it() {
    let mut world = World::default();
    let mut given: Vec<_> =
        ["a", "b", "c"].into_iter().flat_map(|container| world.give(&named(container, &small()))).collect();
    given.sort_unstable();
    assert_eq!(given, ["10.0.0.4", "10.0.0.5", "10.0.0.6"].map(ip));
    let refusal = world.add(&named("d", &small())).unwrap_err().to_string();
    let (what, examples) = refusal.split_once("; among them: ").unwrap();
    assert_snapshot!(what, @"no address is free in pool db (annotation kube-ipam.eth0.pool): 3 addresses, 3 held");
    assert!(examples.contains("by container a on node n1, interface eth0") || examples.contains("pod-a"), "{examples}");
    // A released address is assigned again without a cooldown, and a repeated ADD gets the address that it holds.
    world.del(&attachment("b"));
    let again = world.give(&named("d", &small()));
    assert!(given.contains(&again[0]));
    assert_eq!(world.add(&named("d", &small())).unwrap().leases[0].1.kind, AllocationKind::Fixed);
    sound(&world);
}

#[test]
fn a_later_sandbox_goes_on_with_the_address_of_its_pod() {
    let mut world = World::default();
    let of_pod = |container: &str| named(container, &small()).of_pod("web", "u-1", u64::from(container.as_bytes()[0]));
    let first = world.give(&of_pod("a"));
    for container in ["b", "c", "d"] {
        let earlier = attachment(&char::from(container.as_bytes()[0] - 1).to_string());
        assert_eq!(world.give(&of_pod(container).after_sandbox(&earlier)), first);
    }
    assert_eq!(holders(&world, &first[0].to_string()), ["d"]);
    sound(&world);
}

#[test]
fn of_a_full_pool_an_address_passes_from_a_pod_that_is_gone() {
    let mut world = World::default();
    let one = with_pools(subnet("10.0.0.0/29"), vec![pool("db", &["10.0.0.4"], &[])]);
    let of = |container: &str, uid: &str| named(container, &one).of_pod(container, uid, 1);
    world.give(&of("a", "u-1"));
    assert!(world.add(&of("b", "u-2").with_pod_check("u-1", lives())).is_err());
    let taken = world.add(&of("b", "u-2").with_pod_check("u-1", Ok(GoneReason::NotFound))).unwrap();
    assert_eq!((addresses(&taken), taken.taken_over.len()), (vec![ip("10.0.0.4")], 1));
    sound(&world);
}

#[test]
fn a_set_of_which_the_pool_has_no_address_gives_any() {
    let mut world = World::default();
    let dual = network(vec![vec![range("10.0.0.0/29")], vec![range("fd00::/125")]]);
    let given = world.give(&named("a", &with_pools(dual, vec![pool("db", &["fd00::5"], &[])])));
    assert_eq!((given[0].is_ipv4(), given[1]), (true, ip("fd00::5")));
}

#[test]
fn an_owner_keeps_its_address_of_a_pool_as_long_as_its_pods_name_it() {
    let mut world = World::default();
    let first = world.give(&kept("a", "u-1", Some("db")));
    world.del(&attachment("a"));
    world.wait(100_000);
    assert_eq!(world.give(&kept("b", "u-2", Some("db"))), first);
    sound(&world);
    // A pod that names no pool gets a random address, and the reservation ends.
    world.del(&attachment("b"));
    let random = world.add(&kept("c", "u-3", None)).unwrap();
    assert!(addresses(&random)[0] < ip("10.0.0.4"), "{random:?}");
    assert_eq!((random.given_up[0].ip, random.given_up[0].reason), (first[0], GiveUpReason::NotOffered));
    let rests = lease(&world, &first[0].to_string()).unwrap();
    assert!(rests.rest.is_some() && rests.owner.is_none(), "{rests:?}");
    sound(&world);
}

#[test]
fn as_long_as_a_pod_of_the_owner_may_use_the_pools_address_the_owner_gets_no_other() {
    let mut world = World::default();
    let first = world.give(&kept("a", "u-1", Some("db")));
    let before = world.state.clone();
    let refusal = world.add(&kept("b", "u-2", None).with_pod_check("u-1", lives())).unwrap_err();
    assert!(matches!(refusal, Refusal::OwnerHoldsOther { .. }), "{refusal}");
    assert_eq!(world.state, before);
    // A pod that names the pool takes the address over.
    assert_eq!(world.give(&kept("b", "u-2", Some("db")).with_pod_check("u-1", Ok(GoneReason::NotFound))), first);
    sound(&world);
}

#[test]
fn what_is_held_when_its_address_becomes_one_of_a_pool_stays_with_its_pod() {
    let mut world = World::default();
    let before = network(vec![vec![Range { window: "10.0.0.4".parse().unwrap(), ..range("10.0.0.0/29") }]]);
    let held = world.give(&Call::of("a", &before));
    let after = with_pools(subnet("10.0.0.0/29"), vec![pool("db", &["10.0.0.4"], &[])]);
    let again = world.add(&Call::of("a", &after)).unwrap();
    assert_eq!((again.repeated, addresses(&again)), (true, held.clone()));
    // The pool counts it as held.
    assert!(matches!(world.add(&named("b", &after)), Err(Refusal::Exhausted { .. })));
    world.del(&attachment("a"));
    assert_eq!(world.give(&named("b", &after)), held);
    sound(&world);
}

#[test]
fn a_huge_pool_costs_no_more_than_a_small_one() {
    let mut world = World::default();
    let huge = with_pools(
        network(vec![vec![Range { exclude: vec!["fd00::/72".parse().unwrap()], ..range("fd00::/64") }]]),
        vec![pool("db", &["fd00::/64"], &[])],
    );
    let given = world.add(&named("a", &huge)).unwrap();
    assert_eq!(world.requests, 1);
    assert!(addresses(&given)[0] > ip("fd00::ff:ffff:ffff:ffff"), "{given:?}");
    assert!(matches!(world.add(&Call::of("b", &huge)), Err(Refusal::NothingDynamic { .. })));
}
