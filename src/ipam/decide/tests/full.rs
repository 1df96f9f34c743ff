//! Full ranges and full pools: which holders are checked, and when a request for any address takes one.

use std::collections::BTreeSet;
use std::net::IpAddr;

use insta::assert_snapshot;

use super::world::{
    Call, World, addresses, at, attachment, contradictions, cooling, entries, holder, ip, name, network, pod, range,
    subnet,
};
use crate::cause::Cause;
use crate::config::Network;
use crate::ipam::decide::{Add, Allocation, Decide, Step};
use crate::ipam::keys;
use crate::ipam::lease::{self, Lease, SeenGone, Stored};
use crate::ipam::name::IfName;
use crate::ipam::refusal::Refusal;
use crate::ipam::takeover::{GoneReason, InUseReason, Mac, PhaseSince, Probe, ProbeResult};
use crate::store::{Freshness, Key, Op, Outcome, Txn};

/// How long an address must have been held, and the time between two checks.
const MIN_AGE: i64 = 300;
const BETWEEN: i64 = 30;

fn lives() -> InUseReason {
    InUseReason::Running(PhaseSince { word: "Running".to_owned(), since: None })
}

fn answer() -> ProbeResult {
    ProbeResult::Conflict { mac: Mac([2, 0, 0, 0, 0, 9]), ifname: IfName::new("net1").unwrap() }
}

/// Five addresses without a cooldown.
fn net() -> Network {
    cooling(subnet("10.0.0.0/29"), 0, false)
}

/// A range that is full: pods u-0 to u-4 got their addresses some time ago. Returns who has which.
fn full(network: &Network) -> (World, Vec<IpAddr>) {
    let mut world = World::default();
    let given = (0..5)
        .map(|n| world.give(&Call::of(&format!("c{n}"), network).of_pod(&format!("p-{n}"), &format!("u-{n}"), 1))[0]);
    let given = given.collect();
    world.wait(MIN_AGE);
    (world, given)
}

/// An ADD of a new pod for any address, in one of several attempts. These pods are gone, all others are alive, and no
/// host replies to a probe.
fn any(network: &Network, attempt: u64, gone: &[&str]) -> Call {
    let mut call = Call::of(&format!("new{attempt}"), network).of_pod("new", "u-new", 1000 + attempt);
    for n in 0..5 {
        let uid = format!("u-{n}");
        let verdict = if gone.contains(&uid.as_str()) { Ok(GoneReason::NotFound) } else { Err(lives()) };
        call = call.with_pod_check(&uid, verdict).with_probe(&format!("10.0.0.{}", n + 2), ProbeResult::NoReply);
    }
    call
}

/// The answer of a store whose hints and counts also show this lease, which a killed ADD has left half written.
fn with_remains(world: &mut World, txn: &Txn, remains: &Key) -> Outcome {
    let is_exact = |op: &Op| matches!(op, Op::Range { freshness: Freshness::Exact, .. });
    let mut after = world.state.clone();
    let outcome = after.commit(txn);
    if after != world.state || txn.then().iter().any(is_exact) {
        world.state = after;
        return outcome;
    }
    let mut shown = world.state.clone();
    shown.commit(&Txn::read(vec![Op::Put(remains.clone(), Vec::new())]).unwrap());
    shown.commit(txn)
}

#[test]
fn an_address_that_only_hints_show_as_held_is_found() {
    let network = net();
    for container in 0..20 {
        let (mut world, given) = full(&network);
        let freed = given[0];
        world.del(&attachment("c0"));
        let mut add = Call::of(&format!("new{container}"), &network).decision().unwrap();
        let mut step = add.start(at(0));
        let allocation = loop {
            step = match step {
                Step::Commit(txn) => {
                    add.next(&with_remains(&mut world, &txn, &keys::lease(&name("default"), freed)), at(0))
                }
                Step::Done(allocation) => break allocation,
                Step::Refused(refusal) => panic!("container {container}: {refusal}"),
            };
        };
        assert_eq!(addresses(&allocation), [freed]);
    }
}

/// The pods that an ADD checks, and its result.
fn checked_pods(world: &mut World, call: &Call) -> (Vec<String>, Result<Allocation, Refusal>) {
    let (mut add, mut asked) = (call.decision().unwrap(), Vec::new());
    loop {
        let end = world.run_on(&mut add);
        let Some((pod, verdict)) = call.pod_check(&add).filter(|_| end.is_err()) else { return (asked, end) };
        asked.extend(pod.uid.clone());
        add.record_pod(pod, verdict);
    }
}

fn lease_of(world: &World, ip: IpAddr) -> Lease {
    let key = keys::lease(&name("default"), ip);
    Stored::<Lease>::read(world.text(&key).unwrap().as_bytes()).known().unwrap()
}

fn rewrite(world: &mut World, ip: IpAddr, change: impl FnOnce(&mut Lease)) {
    let mut lease = lease_of(world, ip);
    change(&mut lease);
    world.put(keys::lease(&name("default"), ip), lease::write(&lease));
}

/// Repeats ADDs until one is refused because an address can't be taken over yet. Returns until when, and the attempt.
fn first_check(world: &mut World, network: &Network, gone: &[&str]) -> (jiff::Timestamp, u64) {
    for attempt in 0..20 {
        if let Err(Refusal::NotYet { until, .. }) = world.add(&any(network, attempt, gone)) {
            return (until, attempt);
        }
    }
    panic!("no try has asked about {gone:?}");
}

#[test]
fn of_a_full_pool_all_holders_come_in_turn_and_nothing_is_written_for_that() {
    let network = cooling(subnet("10.0.0.0/24"), 0, false);
    let pool = |container: &str, uid: &str, boottime| {
        let call = Call::of(container, &network).annotated(&[("kube-ipam.eth0.pool", "10.0.0.20-10.0.0.49")]);
        call.of_pod(uid, uid, boottime)
    };
    // The kubelet uses a new container ID for each attempt; podman repeats the same one.
    for same_container in [false, true] {
        let mut world = World::default();
        for n in 0..30 {
            world.give(&pool(&format!("c{n}"), &format!("u-{n}"), 1));
            world.wait(1);
        }
        let before = world.state.clone();
        let mut asked = BTreeSet::new();
        let call = |attempt: u64| {
            let container = if same_container { "new".to_owned() } else { format!("new{attempt}") };
            (0..30).fold(pool(&container, "u-new", 1000 + attempt), |call, n| {
                call.with_pod_check(&format!("u-{n}"), Err(lives()))
            })
        };
        for attempt in 0..60 {
            let (of_this, end) = checked_pods(&mut world, &call(attempt));
            assert!(matches!(end, Err(Refusal::Exhausted { .. })), "{end:?}");
            assert_eq!(of_this.len(), 3);
            asked.extend(of_this);
        }
        assert_eq!((asked.len(), &world.state), (30, &before), "{asked:?}");
        let found = (60..120)
            .find_map(|attempt| world.add(&call(attempt).with_pod_check("u-29", Ok(GoneReason::NotFound))).ok());
        assert_eq!(found.unwrap().taken_over[0].victim.pod, pod("u-29", "u-29"));
    }
}

#[test]
fn of_a_full_range_an_address_passes_whose_pod_is_seen_gone_twice_with_time_between() {
    let (mut world, given) = full(&net());
    let (until, attempt) = first_check(&mut world, &net(), &["u-2"]);
    assert_eq!(until, at(MIN_AGE + BETWEEN));
    let seen = lease_of(&world, given[2]);
    assert_eq!(seen.seen_gone, Some(SeenGone { uid: "u-2".to_owned(), at: at(MIN_AGE) }));
    assert_eq!(contradictions(&world.state), Vec::<String>::new());
    // A pod that was seen gone is checked in each attempt, but written once.
    let before = world.state.clone();
    world.wait(BETWEEN - 1);
    let refusal = world.add(&any(&net(), attempt + 1, &["u-2"])).unwrap_err();
    assert_snapshot!(refusal.to_string().replace(&format!("; {} is", given[2]), "; <ip> is"), @"no address is free in 10.0.0.1-10.0.0.6 of 10.0.0.0/29; <ip> is held by pod db/p-2, interface eth0, node n1, network net, whose pod is gone, and can go to another pod from 2023-11-14T22:18:50Z on if that pod is still gone");
    assert!(refusal.is_passing() && refusal.label() == "exhausted");
    assert_eq!(world.state, before);
    world.wait(1);
    let allocation = world.add(&any(&net(), attempt + 2, &["u-2"])).unwrap();
    assert_eq!((addresses(&allocation), allocation.taken_over.len()), (vec![given[2]], 1));
    assert_eq!(allocation.taken_over[0].victim.pod, pod("p-2", "u-2"));
    assert_eq!(lease_of(&world, given[2]).seen_gone, None);
    assert_eq!(contradictions(&world.state), Vec::<String>::new());
    // The late DEL of the victim frees nothing.
    assert!(world.del(&super::world::attachment("c2")).freed.is_empty());
    assert_eq!(world.held().len(), 5);
}

#[test]
fn the_holder_of_a_young_lease_is_not_checked() {
    let (mut world, _) = full(&net());
    world.wait(-1);
    let all = ["u-0", "u-1", "u-2", "u-3", "u-4"];
    let (asked, end) = checked_pods(&mut world, &any(&net(), 0, &all));
    assert!(
        asked.is_empty() && matches!(end, Err(Refusal::Exhausted { ref counts, .. }) if counts.held == 5),
        "{end:?}"
    );
    // Without a minimum age, nothing is taken over.
    world.wait(1000);
    let unknown = Call { min_age: None, ..any(&net(), 0, &all) };
    let (asked, end) = checked_pods(&mut world, &unknown);
    assert!(asked.is_empty() && matches!(end, Err(Refusal::Exhausted { .. })), "{end:?}");
    assert_eq!(checked_pods(&mut world, &any(&net(), 0, &all)).0.len(), 3);
}

#[test]
fn a_pod_that_is_alive_at_the_second_check_keeps_its_address() {
    let (mut world, _) = full(&net());
    let (_, attempt) = first_check(&mut world, &net(), &["u-2"]);
    world.wait(1000);
    let before = world.state.clone();
    for attempt in attempt + 1..attempt + 9 {
        assert!(matches!(world.add(&any(&net(), attempt, &[])), Err(Refusal::Exhausted { .. })));
    }
    let silent = any(&net(), 99, &[]).with_pod_check("u-2", Err(InUseReason::LookupFailed(Cause::new("no answer"))));
    assert!(matches!(world.add(&silent), Err(Refusal::Exhausted { .. })));
    assert_eq!(world.state, before);
}

#[test]
fn a_note_says_nothing_of_a_holder_who_came_later() {
    let (mut world, given) = full(&net());
    let (_, attempt) = first_check(&mut world, &net(), &["u-2"]);
    world.wait(1000);
    // An older version keeps the observation.
    rewrite(&mut world, given[2], |lease| lease.holders[0].pod.uid = Some("u-3".to_owned()));
    let until = (attempt + 1..attempt + 20).find_map(|attempt| match world.add(&any(&net(), attempt, &["u-3"])) {
        Err(Refusal::NotYet { until, .. }) => Some(until),
        Err(_) => None,
        Ok(allocation) => panic!("{allocation:?}"),
    });
    assert_eq!(until, Some(at(MIN_AGE + 1000 + BETWEEN)));
}

#[test]
fn an_address_of_a_full_range_is_probed_whatever_the_networks_setting() {
    for probe in [Probe::Never, Probe::IfPossible, Probe::Required] {
        let network = Network { probe, ..net() };
        let (mut world, given) = full(&network);
        let (_, attempt) = first_check(&mut world, &network, &["u-2"]);
        world.wait(BETWEEN);
        let before = world.state.clone();
        let next = |heard: ProbeResult| any(&network, attempt + 1, &["u-2"]).with_probe(&given[2].to_string(), heard);
        let refusal = world.add(&next(answer())).unwrap_err();
        assert!(refusal.to_string().contains("02:00:00:00:00:09 answers for it on net1"), "{refusal}");
        assert!(matches!(refusal, Refusal::Exhausted { .. }));
        assert_eq!(world.state, before);
        // The probe can't be sent.
        let unasked = || ProbeResult::NotProbed(Cause::new("there is no interface net1"));
        let (add, mut tried) = (next(unasked()).decision().unwrap(), world.clone());
        assert_eq!(tried.ask(&next(unasked()), add).is_ok(), probe != Probe::Required);
        assert_eq!(addresses(&world.add(&next(ProbeResult::NoReply)).unwrap()), [given[2]]);
    }
}

#[test]
fn an_address_that_answers_keeps_no_other_from_its_turn() {
    let (mut world, given) = full(&net());
    let gone = ["u-0", "u-1", "u-2"];
    for attempt in 0..30 {
        drop(world.add(&any(&net(), attempt, &gone)));
    }
    world.wait(BETWEEN);
    let answering = |attempt| {
        let call = any(&net(), attempt, &["u-0", "u-1", "u-2", "u-3"]);
        given[..3].iter().fold(call, |call, ip| call.with_probe(&ip.to_string(), answer()))
    };
    let (until, attempt) = (100..130)
        .find_map(|attempt| match world.add(&answering(attempt)) {
            Err(Refusal::NotYet { until, .. }) => Some((until, attempt)),
            _ => None,
        })
        .unwrap();
    assert_eq!(until, at(MIN_AGE + 2 * BETWEEN));
    world.wait(BETWEEN);
    let allocation = (attempt + 1..attempt + 30).find_map(|attempt| world.add(&answering(attempt)).ok());
    assert_eq!(allocation.unwrap().taken_over[0].victim.pod, pod("p-3", "u-3"));
}

#[test]
fn two_checks_are_as_far_apart_as_the_cooldown_of_the_network() {
    let network = cooling(subnet("10.0.0.0/29"), 3600, true);
    let (mut world, _) = full(&network);
    let (until, _) = first_check(&mut world, &network, &["u-2"]);
    assert_eq!(until, at(MIN_AGE + 3600));
}

#[test]
fn a_full_range_takes_no_sticky_address_and_none_without_a_pods_full_name() {
    let (mut world, given) = full(&net());
    rewrite(&mut world, given[0], |lease| lease.holders[0].pod.uid = None);
    rewrite(&mut world, given[1], |lease| lease.holders[0].cluster = Some("another".to_owned()));
    rewrite(&mut world, given[2], |lease| lease.holders.push(holder(super::world::attachment("second"))));
    rewrite(&mut world, given[3], |lease| {
        lease.owner = super::sticky::of_set("c", "pg-0", "u-3").sticky.map(|keep| keep.owner)
    });
    let all = ["u-0", "u-1", "u-2", "u-3", "u-4"];
    for attempt in 0..5 {
        assert_eq!(checked_pods(&mut world, &any(&net(), attempt, &all)).0, ["u-4"]);
    }
}

#[test]
fn an_earlier_sandbox_of_the_pod_needs_no_second_check() {
    let (mut world, given) = full(&net());
    let again = Call::of("again", &net()).of_pod("p-2", "u-2", 2);
    let allocation = world.add(&again).unwrap();
    assert_eq!(
        (addresses(&allocation), allocation.taken_over[0].reason.clone()),
        (vec![given[2]], GoneReason::EarlierSandbox)
    );
}

#[test]
fn an_amendment_without_an_answer_does_not_put_a_refused_add_in_doubt() {
    let (mut world, _) = full(&net());
    let all = ["u-0", "u-1", "u-2", "u-3", "u-4"];
    let call = any(&net(), 0, &all);
    let mut add: Add = call.decision().unwrap();
    loop {
        let now = world.now();
        let mut step = add.start(now);
        while let crate::ipam::decide::Step::Commit(txn) = step {
            let is_note = txn.writes() && txn.when().is_empty();
            let outcome = world.state.commit(&txn);
            step = if is_note { add.unanswered(now) } else { add.next(&outcome, now) };
        }
        let Some((pod, verdict)) = call.pod_check(&add) else { break };
        add.record_pod(pod, verdict);
    }
    assert!(!add.is_in_doubt());
    let noted = entries(&world.state, "ip/")
        .into_iter()
        .filter(|entry| String::from_utf8_lossy(&entry.value).contains("seenGone"));
    assert_eq!(noted.count(), 3);
}

#[test]
fn of_two_families_both_pass_or_none() {
    let one = |subnet: &str| vec![range(subnet)];
    let dual = cooling(network(vec![one("10.0.0.4/32"), one("fd00::4/128")]), 0, false);
    let mut world = World::default();
    world.give(&Call::of("old", &dual).of_pod("p-0", "u-0", 1));
    world.wait(MIN_AGE);
    let call = |attempt: u64| {
        let call = Call::of(&format!("new{attempt}"), &dual).of_pod("new", "u-new", 1000 + attempt);
        let call = call.with_pod_check("u-0", Ok(GoneReason::NotFound)).with_probe("10.0.0.4", ProbeResult::NoReply);
        call.with_probe("fd00::4", ProbeResult::NoReply)
    };
    let mut tries = 0;
    let allocation = loop {
        tries += 1;
        match world.add(&call(tries)) {
            Ok(allocation) => break allocation,
            Err(Refusal::NotYet { .. }) => world.wait(BETWEEN),
            Err(refusal) => panic!("{refusal}"),
        }
    };
    assert_eq!(addresses(&allocation), [ip("10.0.0.4"), ip("fd00::4")]);
    assert!(tries <= 3, "{tries}");
    assert_eq!(contradictions(&world.state), Vec::<String>::new());
}
