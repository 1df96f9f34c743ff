//! Taking an address over from another attachment, case by case (invariant 5).

use insta::assert_snapshot;

use super::world::{
    Call, World, addresses, attachment, began, contradictions, cooling, ip, name, network, pod, range, subnet,
};
use crate::cause::{Cause, chain};
use crate::config::Network;
use crate::ipam::decide::{Allocation, Decide, Released, Step};
use crate::ipam::keys;
use crate::ipam::name::{AttachmentId, IfName};
use crate::ipam::refusal::Refusal;
use crate::ipam::takeover::{GoneReason, InUseReason, PendingCheck, Phase, PhaseSince};

const FIXED: &str = "10.0.0.5";

fn net() -> Network {
    subnet("10.0.0.0/24")
}

/// An ADD of a pod that requests the fixed address.
fn fixed(container: &str, pod: &str, uid: &str, boottime: u64) -> Call {
    Call::of(container, &net()).requesting(&[FIXED]).of_pod(pod, uid, boottime)
}

fn gone(call: Call, uid: &str) -> Call {
    call.with_pod_check(uid, Ok(GoneReason::NotFound))
}

fn lives() -> InUseReason {
    InUseReason::Running(PhaseSince { word: "Running".to_owned(), since: None })
}

fn sound(world: &World) {
    assert_eq!(contradictions(&world.state), Vec::<String>::new());
}

fn holder_of(world: &World, address: &str) -> String {
    world.held()[&(name("default"), ip(address))].container.to_string()
}

fn taken(allocation: &Allocation) -> Vec<String> {
    allocation
        .taken_over
        .iter()
        .map(|taken| format!("{} from {}, {}", taken.ip, taken.victim.id.container, taken.reason))
        .collect()
}

#[test]
fn a_later_sandbox_of_the_same_pod_takes_the_address_over_without_a_check() {
    // Edge case 5.
    let mut world = World::default();
    world.give(&fixed("old", "db-0", "u-1", 100));
    let allocation = world.add(&fixed("new", "db-0", "u-1", 200)).unwrap();
    assert_eq!(taken(&allocation), ["10.0.0.5 from old, its earlier sandbox"]);
    assert_eq!((holder_of(&world, FIXED).as_str(), world.requests), ("new", 3));
    sound(&world);
}

#[test]
fn an_orphan_of_an_earlier_sandbox_is_refused_and_changes_nothing() {
    let mut world = World::default();
    world.give(&fixed("new", "db-0", "u-1", 200));
    let before = world.state.clone();
    let refusal = world.add(&fixed("old", "db-0", "u-1", 100)).unwrap_err();
    assert_snapshot!(refusal, @"10.0.0.5 is held by pod db/db-0, interface eth0, node n1, network net, since 2023-11-14T22:13:20Z; the holder is another sandbox of the same pod, and may be the newer one");
    assert_eq!(world.state, before);
}

#[test]
fn a_sandbox_of_an_earlier_boot_of_the_node_is_an_earlier_one() {
    let mut world = World::default();
    world.give(&fixed("old", "db-0", "u-1", 900));
    let rebooted = Call { began: began("next boot", 5), ..fixed("new", "db-0", "u-1", 0) };
    world.give(&rebooted);
    assert_eq!(holder_of(&world, FIXED), "new");
}

#[test]
fn another_interface_of_the_same_sandbox_is_never_taken_over() {
    // Edge case 8.
    let mut world = World::default();
    let eth0 = fixed("c1", "db-0", "u-1", 100);
    world.give(&eth0);
    let net1 = AttachmentId { ifname: IfName::new("net1").unwrap(), ..eth0.id.clone() };
    let refusal = world.add(&gone(Call { id: net1, ..fixed("c1", "db-0", "u-1", 200) }, "u-1")).unwrap_err();
    assert_snapshot!(refusal, @"10.0.0.5 is held by pod db/db-0, interface eth0, node n1, network net, since 2023-11-14T22:13:20Z; the holder is another interface of the same pod");
}

#[test]
fn an_address_is_taken_from_a_pod_that_is_gone_replaced_or_finished() {
    // Edge cases 6 and 32.
    for shown in [GoneReason::NotFound, GoneReason::Replaced, GoneReason::Finished(Phase::Failed)] {
        let mut world = World::default();
        world.give(&fixed("old", "db-0", "u-1", 900));
        let call = fixed("new", "db-0", "u-2", 1).with_pod_check("u-1", Ok(shown.clone()));
        let allocation = world.add(&call).unwrap();
        assert_eq!(taken(&allocation), [format!("10.0.0.5 from old, {shown}")]);
        assert_eq!(holder_of(&world, FIXED), "new");
        sound(&world);
    }
}

#[test]
fn an_address_stays_with_a_pod_that_is_alive_or_could_not_be_checked() {
    let mut world = World::default();
    world.give(&fixed("old", "db-0", "u-1", 100));
    let before = world.state.clone();
    let other = || fixed("new", "db-1", "u-2", 200);
    assert_snapshot!(world.add(&other()).unwrap_err(), @"10.0.0.5 is held by pod db/db-0, interface eth0, node n1, network net, since 2023-11-14T22:13:20Z; kube-ipam did not check whether that pod is gone");
    assert_snapshot!(world.add(&other().with_pod_check("u-1", Err(lives()))).unwrap_err(), @"10.0.0.5 is held by pod db/db-0, interface eth0, node n1, network net, since 2023-11-14T22:13:20Z; the API server reports that pod as Running");
    assert_snapshot!(world.add(&other().with_pod_check("u-1", Err(InUseReason::LookupFailed(Cause::new("no answer"))))).unwrap_err(), @"10.0.0.5 is held by pod db/db-0, interface eth0, node n1, network net, since 2023-11-14T22:13:20Z; kube-ipam can't tell whether that pod is gone: no answer");
    assert_eq!(world.state, before);
}

#[test]
fn a_container_without_a_pod_loses_its_address_only_by_its_own_nodes_check() {
    let container = |name: &str| Call::of(name, &net()).requesting(&[FIXED]);
    let ask = |shown: Option<Result<GoneReason, InUseReason>>| {
        let mut world = World::default();
        world.give(&container("old"));
        // The requester may be a container, or a pod of a node that joined a cluster since.
        let askers = [container("new"), fixed("new", "db-0", "u-1", 100)];
        askers.map(|asker| {
            let call = shown
                .iter()
                .fold(asker, |call, verdict| call.with_container_check(&attachment("old"), verdict.clone()));
            let ended = world.clone().add(&call).map(|allocation| taken(&allocation).join(", "));
            ended.unwrap_or_else(|refusal| refusal.to_string().split("; ").last().unwrap_or_default().to_owned())
        })
    };
    for (shown, expected) in [
        (Some(Ok(GoneReason::EarlierBoot)), "10.0.0.5 from old, ended: this node has rebooted since it started"),
        (Some(Ok(GoneReason::NamespaceGone)), "10.0.0.5 from old, ended: its network namespace is gone"),
        (Some(Err(InUseReason::NamespaceExists)), "its container's network namespace may still exist on this node"),
        (Some(Err(InUseReason::NoRecord)), "this node has no record that shows whether its container is gone"),
        (Some(Err(InUseReason::BusyOnNode)), "another call on this node is working on its container"),
        // A container of another node.
        (None, "only its own node can tell whether it is gone, because its runtime did not fully identify its pod"),
    ] {
        assert_eq!(ask(shown), [expected, expected]);
    }
}

#[test]
fn a_range_that_had_no_room_is_searched_again_after_a_release() {
    let (mut world, network) = (World::default(), cooling(subnet("10.0.0.5/32"), 0, false));
    world.give(&Call::of("old", &network));
    let mut add = Call::of("new", &network).decision().unwrap();
    assert!(matches!(world.run_on(&mut add), Err(Refusal::Exhausted { .. })) && add.lacks_room());
    world.del(&attachment("old"));
    add.search_again();
    let allocation = world.run_on(&mut add).unwrap();
    assert_eq!(addresses(&allocation), [ip(FIXED)]);
    // A specific request does not depend on room.
    let mut fixed = Call::of("newer", &network).requesting(&[FIXED]).decision().unwrap();
    assert!(world.run_on(&mut fixed).is_err() && !fixed.lacks_room());
}

#[test]
fn the_late_del_of_the_victim_frees_nothing_and_succeeds_with_its_record_and_without() {
    // Edge case 4.
    for with_record in [false, true] {
        let mut world = World::default();
        let old = world.add(&fixed("old", "db-0", "u-1", 100)).unwrap();
        world.give(&fixed("new", "db-0", "u-1", 200));
        let released = if with_record { world.del_written(&old) } else { world.del(&attachment("old")) };
        assert_eq!(released, Released::default());
        assert_eq!(world.keys("at/"), ["at/n1/new/eth0/net"]);
        assert_eq!(holder_of(&world, FIXED), "new");
        sound(&world);
    }
}

#[test]
fn a_repeated_add_of_the_victim_is_refused_however_late_it_begins() {
    let mut world = World::default();
    world.give(&fixed("old", "db-0", "u-1", 100));
    world.give(&fixed("new", "db-0", "u-1", 200));
    let before = world.state.clone();
    assert_snapshot!(world.add(&fixed("old", "db-0", "u-1", 300)).unwrap_err(), @"eth0 of container old on network net (node n1) had 10.0.0.5, but no longer holds it (a take-over or an operator took it); delete the pod, and its successor gets addresses");
    assert_eq!(world.state, before);
    // After its DEL, an ADD is a new attachment.
    world.del(&attachment("old"));
    world.give(&fixed("old", "db-0", "u-1", 400));
    assert_eq!(holder_of(&world, FIXED), "old");
    sound(&world);
}

#[test]
fn a_fence_of_the_victim_stands_on() {
    let mut world = World::default();
    world.del_fenced(&attachment("old"));
    world.give(&fixed("old", "db-0", "u-1", 100));
    world.give(&fixed("new", "db-0", "u-1", 200));
    assert!(world.add(&fixed("old", "db-0", "u-1", 300)).is_err());
    world.del(&attachment("old"));
    let fence = world.text(&keys::attachment(&attachment("old"))).unwrap();
    assert!(fence.contains("closed") && !fence.contains("lost"), "{fence}");
    sound(&world);
}

#[test]
fn a_victim_keeps_its_other_addresses_and_its_del_frees_those() {
    let mut world = World::default();
    let dual = network(vec![vec![range("10.0.0.0/24")], vec![range("fd00::/64")]]);
    let old = Call::of("old", &dual).requesting(&[FIXED]).of_pod("db-0", "u-1", 100);
    let given = world.give(&old);
    world.give(&gone(fixed("new", "db-1", "u-2", 1), "u-1"));
    sound(&world);
    assert_snapshot!(world.add(&old).unwrap_err(), @"eth0 of container old on network net (node n1) had 10.0.0.5, but no longer holds it (a take-over or an operator took it); delete the pod, and its successor gets addresses");
    assert_eq!(world.del(&old.id).freed, given[1..]);
    assert_eq!(holder_of(&world, FIXED), "new");
    assert_eq!(world.held().len(), 1);
}

#[test]
fn addresses_of_several_victims_pass_together() {
    let mut world = World::default();
    let dual = network(vec![vec![range("10.0.0.0/24")], vec![range("fd00::/64")]]);
    let both = |container: &str| Call::of(container, &dual).requesting(&["10.0.0.5", "10.0.0.6", "fd00::5"]);
    world.give(&Call::of("a", &dual).requesting(&["10.0.0.5", "fd00::5"]).of_pod("a", "u-a", 1));
    world.give(&Call::of("b", &dual).requesting(&["10.0.0.6", "fd00::6"]).of_pod("b", "u-b", 1));
    let before = world.state.clone();
    // All or none: one of the two victims is alive.
    let half = gone(both("new").of_pod("new", "u-n", 2), "u-a").with_pod_check("u-b", Err(lives()));
    assert!(matches!(world.add(&half), Err(Refusal::Held { .. })));
    assert_eq!(world.state, before);
    let allocation = world.add(&gone(gone(both("new").of_pod("new", "u-n", 2), "u-a"), "u-b")).unwrap();
    assert_eq!(taken(&allocation), ["10.0.0.5 from a, gone", "10.0.0.6 from b, gone", "fd00::5 from a, gone"]);
    sound(&world);
    assert_eq!(world.del(&attachment("a")), Released::default());
    assert_eq!(world.del(&attachment("b")).freed, [ip("fd00::6")]);
    assert_eq!(addresses(&allocation).len(), 3);
}

#[test]
fn a_check_of_one_holder_does_not_apply_to_the_next() {
    let mut world = World::default();
    world.give(&fixed("old", "db-0", "u-1", 100));
    let call = gone(fixed("new", "db-1", "u-2", 200), "u-1");
    let (mut add, now) = (call.decision().unwrap(), world.now());
    let mut step = add.start(now);
    // Up to the check, and up to the commit that would take it.
    for _ in 0..3 {
        step = match step {
            Step::Commit(txn) => add.next(&world.state.commit(&txn), now),
            Step::Refused(_) => {
                assert!(call.record_check(&mut add));
                add.start(now)
            }
            Step::Done(_) => panic!("it was given before its holder's entry was read"),
        };
    }
    world.del(&attachment("old"));
    world.give(&fixed("faster", "db-2", "u-3", 150));
    let before = world.state.clone();
    while let Step::Commit(txn) = step {
        step = add.next(&world.state.commit(&txn), now);
    }
    assert!(
        matches!(&step, Step::Refused(Refusal::Held { holder, .. }) if holder.pod == pod("db-2", "u-3")),
        "{step:?}"
    );
    assert_eq!(add.pending_check(), Some(PendingCheck::Pod(pod("db-2", "u-3"))));
    assert_eq!(world.state, before);
}

#[test]
fn a_victim_whose_entry_cannot_be_read_keeps_its_address() {
    let mut world = World::default();
    world.give(&fixed("old", "db-0", "u-1", 100));
    world.put(keys::attachment(&attachment("old")), r#"{"v":2}"#);
    let before = world.state.clone();
    assert_snapshot!(chain(&world.add(&fixed("new", "db-0", "u-1", 200)).unwrap_err()), @"the stored entry of eth0 of container old on network net (node n1) can't be read: a newer kube-ipam wrote it (value version 2, this one reads up to 1)");
    assert_eq!(world.state, before);
}

#[test]
fn a_victim_without_an_entry_gives_its_address_up_as_well() {
    let mut world = World::default();
    world.give(&fixed("old", "db-0", "u-1", 100));
    let key = keys::attachment(&attachment("old"));
    world.state.commit(&crate::store::Txn::read(vec![crate::store::Op::Delete(key)]).unwrap());
    world.give(&fixed("new", "db-0", "u-1", 200));
    sound(&world);
}

/// A pool of two addresses.
fn pool(container: &str, pod: &str, uid: &str, boottime: u64) -> Call {
    let network = cooling(net(), 0, false);
    Call::of(container, &network)
        .annotated(&[("kube-ipam.eth0.pool", "10.0.0.20-10.0.0.21")])
        .of_pod(pod, uid, boottime)
}

#[test]
fn of_a_pool_a_pod_takes_first_what_its_earlier_sandbox_holds() {
    for held in ["10.0.0.20", "10.0.0.21"] {
        let mut world = World::default();
        let network = cooling(net(), 0, false);
        world.give(&Call::of("old", &network).requesting(&[held]).of_pod("web-1", "u-1", 100));
        let allocation = world.add(&pool("new", "web-1", "u-1", 200).after_sandbox(&attachment("old"))).unwrap();
        assert_eq!(taken(&allocation), [format!("{held} from old, its earlier sandbox")]);
        sound(&world);
        // Its former address, which somebody else holds now, is not its own.
        let other = pool("other", "web-2", "u-2", 300).after_sandbox(&attachment("old"));
        assert_eq!(taken(&world.add(&other).unwrap()), Vec::<String>::new());
    }
}

#[test]
fn of_a_full_pool_an_address_passes_whose_holder_is_shown_gone() {
    let mut world = World::default();
    world.give(&pool("a", "web-1", "u-1", 1));
    world.wait(10);
    world.give(&pool("b", "web-2", "u-2", 2));
    let call = || pool("c", "web-3", "u-3", 3);
    let before = world.state.clone();
    assert!(matches!(
        world.add(&call().with_pod_check("u-1", Err(lives())).with_pod_check("u-2", Err(lives()))),
        Err(Refusal::Exhausted { .. })
    ));
    assert_eq!(world.state, before);
    for (gone_uid, name) in [("u-1", "web-1"), ("u-2", "web-2")] {
        let mut world = world.clone();
        let allocation = world
            .add(&gone(call().with_pod_check("u-1", Err(lives())).with_pod_check("u-2", Err(lives())), gone_uid))
            .unwrap();
        assert_eq!(allocation.taken_over[0].victim.pod, pod(name, gone_uid));
        sound(&world);
    }
    assert_eq!(world.add(&gone(gone(call(), "u-1"), "u-2")).unwrap().taken_over.len(), 1);
    sound(&world);
}

#[test]
fn a_full_pool_finds_the_pods_earlier_sandbox_without_the_nodes_record() {
    let mut world = World::default();
    world.give(&pool("other", "web-2", "u-2", 1));
    world.give(&pool("old", "web-1", "u-1", 100));
    let allocation = world.add(&pool("new", "web-1", "u-1", 200)).unwrap();
    assert_eq!(allocation.taken_over[0].reason, GoneReason::EarlierSandbox);
    sound(&world);
}

#[test]
fn of_a_full_pool_at_most_three_holders_are_asked_about() {
    let mut world = World::default();
    let pool = |container: &str, uid: &str| {
        let network = cooling(net(), 0, false);
        let call = Call::of(container, &network).annotated(&[("kube-ipam.eth0.pool", "10.0.0.20-10.0.0.29")]);
        call.of_pod(container, uid, 1)
    };
    for i in 0..10 {
        world.give(&pool(&format!("c{i}"), &format!("u-{i}")));
    }
    let call = pool("new", "u-new");
    let (mut add, mut asked) = (call.decision().unwrap(), 0);
    while let Err(Refusal::Held { .. } | Refusal::Exhausted { .. }) = world.run_on(&mut add) {
        let Some(PendingCheck::Pod(pod)) = add.pending_check() else { break };
        asked += 1;
        add.record_pod(pod, Err(lives()));
    }
    assert_eq!(asked, 3);
}
