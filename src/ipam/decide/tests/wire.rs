//! Take-overs on networks that probe the link first.

use insta::assert_snapshot;

use super::world::{Call, World, attachment, cooling, holder, ip, network, range, subnet};
use crate::cause::{Cause, chain};
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

/// An ADD of a pod's sandbox that requests the fixed address.
fn sandbox(container: &str, boottime: u64, probe: Probe) -> Call {
    let network = probing(subnet("10.0.0.0/24"), probe);
    Call::of(container, &network).requesting(&[FIXED]).of_pod("db-0", "u-1", boottime)
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
fn without_a_reply_the_holder_check_decides() {
    for probe in [Probe::IfPossible, Probe::Required] {
        let mut world = World::default();
        world.give(&sandbox("old", 100, probe));
        let allocation = world.add(&sandbox("new", 200, probe).with_probe(FIXED, ProbeResult::NoReply)).unwrap();
        assert_eq!(taken(&allocation), ["10.0.0.5 from old"]);
        // It costs no additional store request.
        assert_eq!(world.requests, 3);
    }
}

#[test]
fn a_reply_prevents_the_take_over() {
    for probe in [Probe::IfPossible, Probe::Required] {
        let mut world = World::default();
        world.give(&sandbox("old", 100, probe));
        let before = world.state.clone();
        let refusal = world.add(&sandbox("new", 200, probe).with_probe(FIXED, answer())).unwrap_err();
        assert_eq!(refusal.to_string(), ANSWERED);
        assert!(refusal.is_passing());
        assert_eq!(world.state, before);
    }
}

#[test]
fn without_a_probe_the_address_is_taken_over_unless_one_is_required() {
    let mut world = World::default();
    world.give(&sandbox("old", 100, Probe::IfPossible));
    let before = world.state.clone();
    let refusal = world.add(&sandbox("new", 200, Probe::Required).with_probe(FIXED, not_asked())).unwrap_err();
    assert_snapshot!(chain(&refusal), @"can't take over 10.0.0.5 from pod db/db-0, interface eth0, node n1, network net (its earlier sandbox): probing the link failed: there is no interface net1 in the network namespace yet");
    assert!(refusal.is_passing());
    assert_eq!(world.state, before);
    world.give(&sandbox("new", 200, Probe::IfPossible).with_probe(FIXED, not_asked()));
}

#[test]
fn every_take_over_is_probed_first_and_nothing_else_is() {
    let mut world = World::default();
    let first = sandbox("old", 100, Probe::IfPossible);
    let mut add = first.decision().unwrap();
    world.run_on(&mut add).unwrap();
    assert!(add.to_probe().is_empty(), "a free address");

    let mut add = sandbox("new", 200, Probe::IfPossible).decision().unwrap();
    assert!(matches!(world.run_on(&mut add), Err(Refusal::Unprobed { .. })));
    assert_eq!(add.to_probe(), [ip(FIXED)]);
    assert!(matches!(world.run_on(&mut add), Err(Refusal::Unprobed { .. })));

    let mut add = sandbox("other", 300, Probe::IfPossible).of_pod("db-1", "u-2", 300).decision().unwrap();
    assert!(matches!(world.run_on(&mut add), Err(Refusal::Held { .. })));
    assert!(add.to_probe().is_empty(), "whether it passes is not known");

    let mut add = sandbox("new", 200, Probe::Never).decision().unwrap();
    world.run_on(&mut add).unwrap();
    assert!(add.to_probe().is_empty(), "the network does not want that");
}

#[test]
fn a_missing_reply_for_one_holder_does_not_apply_to_the_next() {
    let mut world = World::default();
    world.give(&sandbox("old", 100, Probe::IfPossible));
    let mut add = sandbox("newest", 300, Probe::IfPossible).decision().unwrap();
    world.run_on(&mut add).unwrap_err();
    add.record_probe(ip(FIXED), ProbeResult::NoReply, world.now());
    // Another sandbox takes the address first.
    world.give(&sandbox("new", 200, Probe::IfPossible).with_probe(FIXED, ProbeResult::NoReply));
    assert!(matches!(world.run_on(&mut add), Err(Refusal::Unprobed { .. })));
    assert_eq!(add.to_probe(), [ip(FIXED)]);
    // Only the result for the new holder counts.
    add.record_probe(ip(FIXED), answer(), world.now());
    assert!(matches!(world.run_on(&mut add), Err(Refusal::InUse { .. })));
    assert_eq!(world.held()[&(super::world::name("default"), ip(FIXED))], attachment("new"));
}

#[test]
fn a_missing_reply_does_not_help_a_commit_whose_guard_fails() {
    let mut world = World::default();
    world.give(&sandbox("old", 100, Probe::IfPossible));
    let mut add = sandbox("new", 200, Probe::IfPossible).decision().unwrap();
    world.run_on(&mut add).unwrap_err();
    add.record_probe(ip(FIXED), ProbeResult::NoReply, world.now());
    let Step::Commit(txn) = add.start(world.now()) else { panic!("it does not go on") };
    // The address is released and assigned to another pod.
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
        Call::of(container, &dual).requesting(&[FIXED, "fd00::5"]).of_pod("db-0", "u-1", boottime)
    };
    let mut world = World::default();
    world.give(&call("old", 100));
    let before = world.state.clone();
    let half = call("new", 200).with_probe(FIXED, ProbeResult::NoReply).with_probe("fd00::5", answer());
    assert!(matches!(world.add(&half), Err(Refusal::InUse { ip: in_use, .. }) if in_use == ip("fd00::5")));
    assert_eq!(world.state, before);
    let whole = call("new", 200).with_probe(FIXED, ProbeResult::NoReply).with_probe("fd00::5", ProbeResult::NoReply);
    assert_eq!(taken(&world.add(&whole).unwrap()), ["10.0.0.5 from old", "fd00::5 from old"]);
}

#[test]
fn a_pool_skips_an_address_for_which_a_host_answers() {
    let network = probing(cooling(subnet("10.0.0.0/24"), 0, false), Probe::IfPossible);
    let pool = |container: &str, uid: &str, boottime| {
        let call = Call::of(container, &network).annotated(&[("kube-ipam.eth0.pool", "10.0.0.20-10.0.0.21")]);
        call.of_pod(container, uid, boottime)
            .with_pod_check("u-a", Ok(GoneReason::NotFound))
            .with_pod_check("u-b", Ok(GoneReason::NotFound))
    };
    let mut world = World::default();
    let first = world.give(&pool("a", "u-a", 1))[0].to_string();
    world.wait(1);
    let second = world.give(&pool("b", "u-b", 2))[0].to_string();
    let call = || pool("c", "u-c", 3).with_probe(&first, answer());
    // A host answers for both addresses, and the refusal names them.
    let refusal = world.add(&call().with_probe(&second, answer())).unwrap_err();
    assert!(matches!(&refusal, Refusal::InUse { holder: last, .. } if last.pod.uid.as_deref() == Some("u-b")));
    let allocation = world.add(&call().with_probe(&second, ProbeResult::NoReply)).unwrap();
    assert_eq!(taken(&allocation), [format!("{second} from b")]);
}

#[test]
fn a_pool_takes_a_free_address_if_a_host_answers_for_that_of_the_earlier_sandbox() {
    let network = probing(cooling(subnet("10.0.0.0/24"), 0, false), Probe::Required);
    let pool = |container: &str, boottime| {
        let call = Call::of(container, &network).annotated(&[("kube-ipam.eth0.pool", "10.0.0.20-10.0.0.21")]);
        call.of_pod("web-1", "u-1", boottime)
    };
    let mut world = World::default();
    let held = world.give(&pool("old", 100))[0];
    let call = pool("new", 200).after_sandbox(&attachment("old")).with_probe(&held.to_string(), answer());
    let given = world.add(&call).unwrap();
    assert_eq!(taken(&given), Vec::<String>::new());
    assert_ne!(given.leases[0].0, held);
    assert_eq!(given.attachment.holder.unwrap().id, holder(attachment("new")).id);
}
