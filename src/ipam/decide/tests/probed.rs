//! New addresses on a network with `probe: always`: hosts without a lease, and their records.

mod histories;

use std::net::IpAddr;

use insta::assert_snapshot;

use super::sticky::{owner, sticky_call};
use super::world::{Call, World, addresses, attachment, cooling, entries, ip, name, network, range, subnet};
use crate::cause::Cause;
use crate::config::Network;
use crate::ipam::decide::{Decide, Evict, Evicted, Step};
use crate::ipam::keys;
use crate::ipam::lease::{Foreign, Lease, LeaseState, Stored};
use crate::ipam::name::IfName;
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::OwnerKind;
use crate::ipam::takeover::{GoneReason, Mac, Probe, ProbeResult};

const FIXED: &str = "10.0.0.5";

const HOUR: i64 = 3600;

fn probing(network: Network) -> Network {
    Network { probe_new: true, ..network }
}

/// A range of two addresses, 10.0.0.1 and 10.0.0.2.
fn small() -> Network {
    probing(cooling(network(vec![vec![range_of("10.0.0.0/29", "10.0.0.1", "10.0.0.2")]]), 30, false))
}

fn range_of(subnet: &str, first: &str, last: &str) -> crate::ipam::range::Range {
    let window = format!("{first}-{last}").parse().unwrap();
    crate::ipam::range::Range { window, gateway: None, ..range(subnet) }
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn ifname() -> IfName {
    IfName::new("net1").unwrap()
}

fn answer(last: u8) -> ProbeResult {
    ProbeResult::Conflict { mac: mac(last), ifname: ifname() }
}

fn contended() -> ProbeResult {
    ProbeResult::Contended { mac: mac(7), ifname: ifname() }
}

fn not_probed() -> ProbeResult {
    ProbeResult::NotProbed(Cause::new("there is no interface net1 in the network namespace yet"))
}

fn fixed(container: &str) -> Call {
    Call::of(container, &probing(subnet("10.0.0.0/24"))).requesting(&[FIXED])
}

fn lease_of(world: &World, address: &str) -> Option<Lease> {
    let text = world.text(&keys::lease(&name("default"), ip(address)))?;
    Some(Stored::<Lease>::read(text.as_bytes()).known().unwrap())
}

/// The foreign addresses in the store, each with its host.
fn marks(world: &World) -> Vec<(IpAddr, Mac)> {
    let mark = |entry: crate::store::Entry| {
        let lease = Stored::<Lease>::read(&entry.value).known().unwrap();
        Some((keys::read_lease(&entry.key)?.1, lease.foreign()?.mac))
    };
    entries(&world.state, "ip/").into_iter().filter_map(mark).collect()
}

/// Records a foreign host that has just answered for this address.
fn marked(world: &mut World, address: &str, last: u8) {
    let foreign = Foreign { mac: mac(last), network: name("net"), node: name("n2"), answered: world.now() };
    let lease = Lease::of_foreign(foreign, world.now());
    world.put(keys::lease(&name("default"), ip(address)), crate::ipam::lease::write(&lease));
}

#[test]
fn a_new_address_is_read_probed_and_committed_in_two_requests() {
    let mut world = World::default();
    for call in [Call::of("c1", &probing(subnet("10.0.0.0/24"))), fixed("c2")] {
        let mut add = call.decision().unwrap();
        world.requests = 0;
        assert!(matches!(world.run_on(&mut add), Err(Refusal::NewUnprobed { .. })));
        assert_eq!((world.requests, marks(&world).len()), (1, 0));
        let to_probe = add.to_probe();
        assert_eq!(to_probe.len(), if call.ips.is_empty() { 2 } else { 1 }, "all candidates at once");
        to_probe.into_iter().for_each(|ip| add.record_probe(ip, ProbeResult::NoReply, world.now()));
        world.run_on(&mut add).unwrap();
        assert_eq!(world.requests, 2);
    }
}

#[test]
fn both_families_are_probed_at_once() {
    let dual = probing(network(vec![vec![range("10.0.0.0/24")], vec![range("fd00::/64")]]));
    let mut world = World::default();
    let mut add = Call::of("c1", &dual).decision().unwrap();
    world.run_on(&mut add).unwrap_err();
    let (four, six): (Vec<IpAddr>, Vec<IpAddr>) = add.to_probe().into_iter().partition(IpAddr::is_ipv4);
    assert_eq!((four.len(), six.len()), (2, 2));
    assert_eq!(world.requests, 1);
    for ip in four.into_iter().chain(six) {
        add.record_probe(ip, ProbeResult::NoReply, world.now());
    }
    assert_eq!(addresses(&world.run_on(&mut add).unwrap()).len(), 2);
    assert_eq!(world.requests, 2);
}

#[test]
fn without_the_key_nothing_is_probed_and_nothing_costs_more() {
    let mut world = World::default();
    let mut add = Call::of("c1", &subnet("10.0.0.0/24")).decision().unwrap();
    world.run_on(&mut add).unwrap();
    assert_eq!((world.requests, add.to_probe()), (1, vec![]));
}

#[test]
fn who_answers_is_written_down_and_the_next_candidate_is_used() {
    let mut world = World::default();
    let call = Call::of("c1", &small()).with_probe("10.0.0.1", answer(9));
    let allocation = world.add(&call).unwrap();
    assert_eq!(addresses(&allocation), [ip("10.0.0.2")]);
    assert_eq!(marks(&world), [(ip("10.0.0.1"), mac(9))]);
    assert_eq!(world.requests, 2, "it is written with the commit");
    let found: Vec<(IpAddr, Mac)> = allocation.foreign.iter().map(|(ip, foreign)| (*ip, foreign.mac)).collect();
    assert_eq!(found, marks(&world));
    let lease = lease_of(&world, "10.0.0.1").unwrap();
    assert_eq!((lease.state(), lease.since, lease.holders.len()), (LeaseState::Foreign, world.now(), 0));
    let foreign = lease.foreign().unwrap();
    assert_eq!((foreign.network.as_str(), foreign.node.as_str()), ("net", "n1"));
}

#[test]
fn a_foreign_address_is_not_drawn_for_an_hour_and_then_probed_again() {
    let mut world = World::default();
    let call = |container: &str| Call::of(container, &small());
    world.give(&call("c1").with_probe("10.0.0.1", answer(9)));
    let without = world.add(&Call::of("c2", &Network { probe_new: false, ..small() })).unwrap_err();
    let refusal = world.add(&call("c2")).unwrap_err();
    assert_eq!(without, refusal);
    assert_snapshot!(refusal, @"no address is free in 10.0.0.1-10.0.0.2 of 10.0.0.0/29: 2 addresses, 1 held, 1 foreign; among them: 10.0.0.1 in use by 02:00:00:00:00:09, which holds no lease; 10.0.0.2 by pod pod-c1, interface eth0, node n1, network net");
    world.wait(HOUR);
    // It still answers: the record is renewed for another hour.
    let refusal = world.add(&call("c2").with_probe("10.0.0.1", answer(9))).unwrap_err();
    assert!(refusal.to_string().contains("1 foreign"), "{refusal}");
    let lease = lease_of(&world, "10.0.0.1").unwrap();
    assert_eq!(lease.foreign().unwrap().answered, world.now());
    assert_ne!(lease.since, world.now(), "the same host since the beginning");
    world.add(&call("c3")).unwrap_err();
    world.wait(HOUR);
    assert_eq!(world.give(&call("c3")), [ip("10.0.0.1")]);
    assert_eq!(lease_of(&world, "10.0.0.1").unwrap().state(), LeaseState::Held);
}

#[test]
fn without_probe_a_foreign_address_is_free_after_an_hour() {
    let mut world = World::default();
    let network = Network { probe_new: false, ..small() };
    marked(&mut world, "10.0.0.1", 9);
    world.give(&Call::of("c1", &network));
    let refusal = world.add(&Call::of("c2", &network).requesting(&["10.0.0.1"])).unwrap_err();
    assert_snapshot!(refusal, @"can't use 10.0.0.1: 02:00:00:00:00:09 answers for it (network net, node n2, since 2023-11-14T22:13:20Z), and holds no lease");
    world.wait(HOUR);
    assert_eq!(world.give(&Call::of("c3", &network)), [ip("10.0.0.1")]);
}

#[test]
fn a_requested_address_that_answers_is_refused_and_written_down_once() {
    let mut world = World::default();
    let refusal = world.add(&fixed("c1").with_probe(FIXED, answer(9))).unwrap_err();
    assert_snapshot!(refusal, @"can't use 10.0.0.5: 02:00:00:00:00:09 answers for it (network net, node n1, since 2023-11-14T22:13:20Z), and holds no lease");
    assert!(refusal.is_passing());
    assert_eq!((marks(&world), world.requests), (vec![(ip(FIXED), mac(9))], 2));
    let before = world.state.clone();
    world.wait(60);
    world.add(&fixed("c1").with_probe(FIXED, answer(9))).unwrap_err();
    assert_eq!((world.state == before, world.requests), (true, 1), "it is known");
    // Another host replaces the record.
    world.add(&fixed("c1").with_probe(FIXED, answer(8))).unwrap_err();
    assert_eq!(marks(&world), [(ip(FIXED), mac(8))]);
    assert_eq!(lease_of(&world, FIXED).unwrap().since, world.now());
    // Without an answer, a requested address is assigned before the hour is over.
    assert_eq!(world.give(&fixed("c1")), [ip(FIXED)]);
    assert_eq!(marks(&world), []);
}

#[test]
fn a_pool_probes_a_foreign_address_again() {
    let pool = |container: &str| {
        Call::of(container, &probing(subnet("10.0.0.0/24")))
            .annotated(&[("kube-ipam.eth0.pool", "10.0.0.20-10.0.0.21")])
    };
    let mut world = World::default();
    marked(&mut world, "10.0.0.20", 9);
    marked(&mut world, "10.0.0.21", 9);
    let refusal =
        world.add(&pool("c1").with_probe("10.0.0.20", answer(9)).with_probe("10.0.0.21", answer(8))).unwrap_err();
    assert!(matches!(refusal, Refusal::Foreign { .. }), "{refusal}");
    assert_eq!(world.give(&pool("c1").with_probe("10.0.0.20", answer(9))), [ip("10.0.0.21")]);
}

#[test]
fn what_was_released_a_moment_ago_is_left_alone_and_nothing_is_written() {
    for cooldown in [0, 30] {
        let mut world = World::default();
        let network = cooling(probing(subnet("10.0.0.0/24")), cooldown, false);
        let call = |container: &str| Call::of(container, &network).requesting(&[FIXED]);
        world.give(&call("old"));
        world.del(&attachment("old"));
        for seconds in [0, 59] {
            world.wait(seconds);
            let before = world.state.clone();
            let refusal = world.add(&call("new").with_probe(FIXED, answer(9))).unwrap_err();
            assert!(matches!(refusal, Refusal::StillAnswers { .. }), "{refusal}");
            assert!(world.state == before);
        }
        world.wait(1);
        let refusal = world.add(&call("new").with_probe(FIXED, answer(9))).unwrap_err();
        assert!(matches!(refusal, Refusal::Foreign { .. }), "{refusal}");
        assert_eq!((marks(&world).len(), world.keys("rest/").len()), (1, 0));
    }
}

#[test]
fn a_random_search_passes_over_who_still_answers_after_a_release() {
    let mut world = World::default();
    world.give(&Call::of("c1", &small()));
    world.give(&Call::of("c2", &small()));
    world.del(&attachment("c1"));
    let before = world.state.clone();
    let answers = |container: &str| {
        Call::of(container, &small()).with_probe("10.0.0.1", answer(9)).with_probe("10.0.0.2", answer(9))
    };
    let refusal = world.add(&answers("c3")).unwrap_err();
    assert!(matches!(refusal, Refusal::Exhausted { .. }), "{refusal}");
    assert!(world.state == before, "{refusal}");
    world.give(&Call::of("c3", &small()));
}

#[test]
fn another_s_probe_is_no_use_and_nothing_is_written() {
    let mut world = World::default();
    let call = Call::of("c1", &small()).with_probe("10.0.0.1", contended());
    assert_eq!(addresses(&world.add(&call).unwrap()), [ip("10.0.0.2")]);
    assert_eq!(marks(&world), []);
    let before = world.state.clone();
    let refusal = world.add(&fixed("c2").with_probe(FIXED, contended())).unwrap_err();
    assert_snapshot!(refusal, @"can't use 10.0.0.5 now: 02:00:00:00:00:07 is probing for it as well, as seen on net1");
    assert!(refusal.is_passing() && world.state == before);
    // If it is the last free address, the search ends.
    let refusal = world.add(&Call::of("c2", &small()).with_probe("10.0.0.1", contended())).unwrap_err();
    assert!(matches!(refusal, Refusal::Exhausted { .. }), "{refusal}");
    assert!(world.requests <= 8, "{} requests", world.requests);
}

#[test]
fn who_answers_for_three_candidates_is_a_proxy_of_whom_nothing_is_written() {
    let mut world = World::default();
    let wide = probing(subnet("10.0.0.0/24"));
    let mut call = Call::of("c1", &wide);
    for n in 0..=255 {
        call = call.with_probe(&format!("10.0.0.{n}"), answer(9));
    }
    let refusal = world.add(&call).unwrap_err();
    let Refusal::AnswersForAll { mac: proxy, ips, .. } = &refusal else { panic!("{refusal}") };
    assert!(*proxy == mac(9) && ips.len() >= 3, "{refusal}");
    assert!(refusal.is_passing());
    assert_eq!(marks(&world), []);
    // A host with two addresses is not a proxy.
    let mut call = Call::of("c1", &small()).with_probe("10.0.0.1", answer(9)).with_probe("10.0.0.2", answer(9));
    let refusal = world.add(&call).unwrap_err();
    assert!(matches!(&refusal, Refusal::Exhausted { counts, .. } if counts.foreign == 2), "{refusal}");
    assert_eq!(marks(&world).len(), 2);
    call = Call::of("c1", &wide).requesting(&["10.0.0.5", "10.0.0.6", "10.0.0.7"]);
    for address in ["10.0.0.5", "10.0.0.6", "10.0.0.7"] {
        call = call.with_probe(address, answer(8));
    }
    assert!(matches!(world.add(&call), Err(Refusal::AnswersForAll { .. })));
    assert_eq!(marks(&world).len(), 2);
}

#[test]
fn where_hosts_use_all_that_is_drawn_the_search_ends_and_the_next_one_goes_on() {
    let wide = probing(subnet("10.0.0.0/24"));
    let mut call = Call::of("c1", &wide);
    for n in 0..200_u8 {
        call = call.with_probe(&format!("10.0.0.{n}"), answer(n));
    }
    let mut world = World::default();
    let mut tries = 0;
    let given = loop {
        tries += 1;
        match world.add(&call) {
            Ok(allocation) => break addresses(&allocation),
            Err(refusal) => assert!(matches!(refusal, Refusal::NoSilentAddress { .. }), "{refusal}"),
        }
        assert!(world.requests <= 4, "{} requests", world.requests);
    };
    assert!(!call.probes.contains_key(&given[0]));
    assert!(tries <= 14, "{tries} tries");
}

#[test]
fn where_nobody_can_be_asked_an_address_is_used_unless_its_host_has_answered_lately() {
    let mut world = World::default();
    world.give(&fixed("c1").with_probe(FIXED, not_probed()));
    marked(&mut world, "10.0.0.6", 9);
    let call = || Call::of("c2", &probing(subnet("10.0.0.0/24"))).requesting(&["10.0.0.6"]);
    assert!(matches!(world.add(&call().with_probe("10.0.0.6", not_probed())), Err(Refusal::Foreign { .. })));
    world.wait(HOUR);
    world.give(&call().with_probe("10.0.0.6", not_probed()));
}

#[test]
fn silence_about_a_free_address_says_nothing_about_who_has_had_it_since() {
    let mut world = World::default();
    let mut add = fixed("c1").decision().unwrap();
    world.run_on(&mut add).unwrap_err();
    add.record_probe(ip(FIXED), ProbeResult::NoReply, world.now());
    world.give(&fixed("c2"));
    world.del(&attachment("c2"));
    assert!(matches!(world.run_on(&mut add), Err(Refusal::NewUnprobed { .. })));
    assert_eq!(add.to_probe(), [ip(FIXED)]);
}

#[test]
fn a_mark_is_never_written_over_what_somebody_has_taken_meanwhile() {
    let mut world = World::default();
    let mut add = fixed("c1").decision().unwrap();
    world.run_on(&mut add).unwrap_err();
    add.record_probe(ip(FIXED), answer(9), world.now());
    let Step::Commit(txn) = add.start(world.now()) else { panic!("it writes nothing") };
    world.give(&fixed("c2"));
    let before = world.state.clone();
    let outcome = world.state.commit(&txn);
    assert!(world.state == before);
    assert!(matches!(add.next(&outcome, world.now()), Step::Refused(Refusal::Foreign { .. })));
    assert_eq!(add.recorded_foreign(), []);
}

#[test]
fn what_the_pod_itself_or_its_owner_holds_is_not_new() {
    let network = probing(subnet("10.0.0.0/24"));
    let sandbox =
        |container: &str, boottime| Call::of(container, &network).requesting(&[FIXED]).of_pod("db-0", "u-1", boottime);
    let mut world = World::default();
    world.give(&sandbox("old", 100));
    // The pod's earlier sandbox answers, which is no conflict.
    world.give(&sandbox("new", 200).with_probe(FIXED, answer(9)));
    // A gone pod is another holder, so its address is probed.
    let other = Call::of("other", &network).requesting(&[FIXED]).of_pod("db-1", "u-2", 300);
    let other = || other.clone().with_pod_check("u-1", Ok(GoneReason::NotFound));
    let refusal = world.add(&other().with_probe(FIXED, answer(9))).unwrap_err();
    assert!(matches!(refusal, Refusal::InUse { .. }), "{refusal}");
    world.give(&other().with_probe(FIXED, ProbeResult::NoReply));
}

#[test]
fn a_reserved_address_that_answers_stays_reserved() {
    let network = probing(subnet("10.0.0.0/24"));
    let call = |container: &str, uid: &str| {
        sticky_call(
            Call::of(container, &network).of_pod("pg-0", uid, 1),
            owner(OwnerKind::StatefulSet, "pg", Some("pg-0")),
        )
    };
    let mut world = World::default();
    let given = world.give(&call("c1", "u-1"));
    world.del(&attachment("c1"));
    world.wait(HOUR);
    let before = world.state.clone();
    let address = given[0].to_string();
    let refusal = world.add(&call("c2", "u-2").with_probe(&address, answer(9))).unwrap_err();
    assert!(matches!(refusal, Refusal::StillAnswers { .. }), "{refusal}");
    assert!(world.state == before);
    assert_eq!(world.give(&call("c2", "u-2")), given);
}

#[test]
fn take_overs_and_new_addresses_are_probed_in_one_go() {
    let dual = network(vec![vec![range("10.0.0.0/24")], vec![range("fd00::/64")]]);
    let dual = Network { probe: Probe::IfPossible, ..probing(dual) };
    let mut world = World::default();
    world.give(&Call::of("old", &probing(subnet("10.0.0.0/24"))).requesting(&[FIXED]).of_pod("db-0", "u-1", 100));
    let call = Call::of("new", &dual).requesting(&[FIXED]).of_pod("db-0", "u-1", 200);
    let mut add = call.decision().unwrap();
    let mut requests = 0;
    while add.to_probe().is_empty() {
        world.run_on(&mut add).unwrap_err();
        requests += 1;
        assert!(requests < 3);
    }
    assert_eq!(add.to_probe().iter().filter(|ip| ip.is_ipv6()).count(), 2);
    assert_eq!(add.to_probe().iter().filter(|other| **other == ip(FIXED)).count(), 1);
}

#[test]
fn an_operator_ends_a_mark() {
    let mut world = World::default();
    marked(&mut world, FIXED, 9);
    let entry = entries(&world.state, "ip/").remove(0);
    assert!(matches!(world.decide(&mut Evict::new(name("default"), ip(FIXED), entry.revision)), Evicted::Freed(_)));
    assert_eq!(world.keys("ip/"), [""; 0]);
}
