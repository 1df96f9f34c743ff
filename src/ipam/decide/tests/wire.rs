//! What passes from others, where the wire is asked first.

use insta::assert_snapshot;

use super::world::{Call, World, attachment, cooling, holder, ip, network, range, subnet};
use crate::cause::Cause;
use crate::config::Network;
use crate::ipam::decide::{Allocation, Decide, Step};
use crate::ipam::name::IfName;
use crate::ipam::refusal::Refusal;
use crate::ipam::takeover::{GoneReason, Mac, Probe, ProbeResult};

const FIXED: &str = "10.0.0.5";

const ANSWERED: &str = "can't take over 10.0.0.5 from pod db/db-0, interface eth0, node n1, network net (its earlier \
                        sandbox): 02:00:00:00:00:09 answers for it on net1";

fn probing(network: Network, probe: Probe) -> Network {
    Network { probe, ..network }
}

/// An ADD of a sandbox of one pod for the fixed address.
fn sandbox(container: &str, boottime: u64, probe: Probe) -> Call {
    let network = probing(subnet("10.0.0.0/24"), probe);
    Call::of(container, &network).asking(&[FIXED]).of_pod("db-0", "u-1", boottime)
}

fn answer() -> ProbeResult {
    ProbeResult::Conflict { mac: Mac([2, 0, 0, 0, 0, 9]), ifname: IfName::new("net1").unwrap() }
}

fn not_asked() -> ProbeResult {
    ProbeResult::NotProbed(Cause::new("there is no interface net1 in the network namespace yet"))
}

fn taken(allocation: &Allocation) -> Vec<String> {
    allocation.taken_over.iter().map(|taken| format!("{} from {}", taken.ip, taken.victim.id.container)).collect()
}

#[test]
fn silence_lets_pass_what_the_ruling_lets_pass() {
    for probe in [Probe::IfPossible, Probe::Required] {
        let mut world = World::default();
        world.give(&sandbox("old", 100, probe));
        let allocation = world.add(&sandbox("new", 200, probe).hearing(FIXED, ProbeResult::NoReply)).unwrap();
        assert_eq!(taken(&allocation), ["10.0.0.5 from old"]);
        // It costs the store nothing more.
        assert_eq!(world.requests, 3);
    }
}

#[test]
fn whoever_answers_keeps_the_address_from_passing() {
    for probe in [Probe::IfPossible, Probe::Required] {
        let mut world = World::default();
        world.give(&sandbox("old", 100, probe));
        let before = world.state.clone();
        let refusal = world.add(&sandbox("new", 200, probe).hearing(FIXED, answer())).unwrap_err();
        assert_eq!(refusal.to_string(), ANSWERED);
        assert!(refusal.is_passing());
        assert_eq!(world.state, before);
    }
}

#[test]
fn where_nobody_can_be_asked_it_passes_unless_that_is_required() {
    let mut world = World::default();
    world.give(&sandbox("old", 100, Probe::IfPossible));
    let before = world.state.clone();
    let refusal = world.add(&sandbox("new", 200, Probe::Required).hearing(FIXED, not_asked())).unwrap_err();
    assert_snapshot!(refusal, @"can't take over 10.0.0.5 from pod db/db-0, interface eth0, node n1, network net (its earlier sandbox): probing the link failed: there is no interface net1 in the network namespace yet");
    assert!(refusal.is_passing());
    assert_eq!(world.state, before);
    world.give(&sandbox("new", 200, Probe::IfPossible).hearing(FIXED, not_asked()));
}

#[test]
fn nothing_passes_before_the_wire_was_asked_and_nothing_is_asked_of_it_that_does_not_pass() {
    let mut world = World::default();
    let first = sandbox("old", 100, Probe::IfPossible);
    let mut add = first.machine().unwrap();
    world.run_on(&mut add).unwrap();
    assert!(add.to_probe().is_empty(), "a free address");

    let mut add = sandbox("new", 200, Probe::IfPossible).machine().unwrap();
    assert!(matches!(world.run_on(&mut add), Err(Refusal::Unprobed { .. })));
    assert_eq!(add.to_probe(), [ip(FIXED)]);
    assert!(matches!(world.run_on(&mut add), Err(Refusal::Unprobed { .. })));

    let mut add = sandbox("other", 300, Probe::IfPossible).of_pod("db-1", "u-2", 300).machine().unwrap();
    assert!(matches!(world.run_on(&mut add), Err(Refusal::Held { .. })));
    assert!(add.to_probe().is_empty(), "whether it passes is not known");

    let mut add = sandbox("new", 200, Probe::Never).machine().unwrap();
    world.run_on(&mut add).unwrap();
    assert!(add.to_probe().is_empty(), "the network does not want that");
}

#[test]
fn silence_about_one_holder_says_nothing_about_the_next() {
    let mut world = World::default();
    world.give(&sandbox("old", 100, Probe::IfPossible));
    let mut add = sandbox("newest", 300, Probe::IfPossible).machine().unwrap();
    world.run_on(&mut add).unwrap_err();
    add.record_probe(ip(FIXED), ProbeResult::NoReply);
    // Before it commits, another sandbox is faster.
    world.give(&sandbox("new", 200, Probe::IfPossible).hearing(FIXED, ProbeResult::NoReply));
    assert!(matches!(world.run_on(&mut add), Err(Refusal::Unprobed { .. })));
    assert_eq!(add.to_probe(), [ip(FIXED)]);
    // What is heard of it now counts.
    add.record_probe(ip(FIXED), answer());
    assert!(matches!(world.run_on(&mut add), Err(Refusal::InUse { .. })));
    assert_eq!(world.held()[&(super::world::name("default"), ip(FIXED))], attachment("new"));
}

#[test]
fn silence_permits_nothing_to_a_commit_whose_guard_fails() {
    let mut world = World::default();
    world.give(&sandbox("old", 100, Probe::IfPossible));
    let mut add = sandbox("new", 200, Probe::IfPossible).machine().unwrap();
    world.run_on(&mut add).unwrap_err();
    add.record_probe(ip(FIXED), ProbeResult::NoReply);
    let Step::Commit(txn) = add.start(world.now()) else { panic!("it does not go on") };
    // The address is freed, and somebody else has it.
    world.del(&attachment("old"));
    world.give(&sandbox("other", 1, Probe::Never).of_pod("db-9", "u-9", 1));
    let before = world.state.clone();
    let outcome = world.state.commit(&txn);
    assert!(!outcome.branch.succeeded);
    assert_eq!(world.state, before);
}

#[test]
fn all_of_several_addresses_pass_or_none() {
    let dual = network(vec![vec![range("10.0.0.0/24")], vec![range("fd00::/64")]]);
    let dual = probing(dual, Probe::IfPossible);
    let call = |container: &str, boottime| {
        Call::of(container, &dual).asking(&[FIXED, "fd00::5"]).of_pod("db-0", "u-1", boottime)
    };
    let mut world = World::default();
    world.give(&call("old", 100));
    let before = world.state.clone();
    let half = call("new", 200).hearing(FIXED, ProbeResult::NoReply).hearing("fd00::5", answer());
    assert!(matches!(world.add(&half), Err(Refusal::InUse { ip: in_use, .. }) if in_use == ip("fd00::5")));
    assert_eq!(world.state, before);
    let whole = call("new", 200).hearing(FIXED, ProbeResult::NoReply).hearing("fd00::5", ProbeResult::NoReply);
    assert_eq!(taken(&world.add(&whole).unwrap()), ["10.0.0.5 from old", "fd00::5 from old"]);
}

#[test]
fn of_a_pool_another_address_is_taken_than_one_that_answers() {
    let network = probing(cooling(subnet("10.0.0.0/24"), 0, false), Probe::IfPossible);
    let pool = |container: &str, uid: &str, boottime| {
        let call = Call::of(container, &network).annotated(&[("kube-ipam.eth0.pool", "10.0.0.20-10.0.0.21")]);
        call.of_pod(container, uid, boottime)
            .told("u-a", Ok(GoneReason::NotFound))
            .told("u-b", Ok(GoneReason::NotFound))
    };
    let mut world = World::default();
    let first = world.give(&pool("a", "u-a", 1))[0].to_string();
    world.wait(1);
    let second = world.give(&pool("b", "u-b", 2))[0].to_string();
    let call = || pool("c", "u-c", 3).hearing(&first, answer());
    // Of both somebody answers: the refusal says who.
    let refusal = world.add(&call().hearing(&second, answer())).unwrap_err();
    assert!(matches!(&refusal, Refusal::InUse { holder: last, .. } if last.pod.uid.as_deref() == Some("u-b")));
    let allocation = world.add(&call().hearing(&second, ProbeResult::NoReply)).unwrap();
    assert_eq!(taken(&allocation), [format!("{second} from b")]);
}

#[test]
fn of_a_pool_a_free_address_is_taken_if_that_of_the_earlier_sandbox_answers() {
    let network = probing(cooling(subnet("10.0.0.0/24"), 0, false), Probe::Required);
    let pool = |container: &str, boottime| {
        let call = Call::of(container, &network).annotated(&[("kube-ipam.eth0.pool", "10.0.0.20-10.0.0.21")]);
        call.of_pod("web-1", "u-1", boottime)
    };
    let mut world = World::default();
    let held = world.give(&pool("old", 100))[0];
    let call = pool("new", 200).after(&attachment("old")).hearing(&held.to_string(), answer());
    let given = world.add(&call).unwrap();
    assert_eq!(taken(&given), Vec::<String>::new());
    assert_ne!(given.leases[0].0, held);
    assert_eq!(given.attachment.holder.unwrap().id, holder(attachment("new")).id);
}
