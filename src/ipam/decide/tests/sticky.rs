//! Addresses that outlive a pod: reservations of stable identities, case by case.

use std::net::IpAddr;

use insta::assert_snapshot;

use super::world::{CLUSTER, Call, World, addresses, at, attachment, contradictions, ip, name, network, range, subnet};
use crate::cause::chain;
use crate::config::Network;
use crate::ipam::decide::{Add, Allocation, Decide, Evict, Evicted, Step, StickyPolicy};
use crate::ipam::keys;
use crate::ipam::lease::{AllocationKind, Lease, Stored};
use crate::ipam::name::AttachmentId;
use crate::ipam::pod::Controller;
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::{Owner, OwnerKind};
use crate::ipam::takeover::{GoneReason, InUseReason, PhaseSince};
use crate::store::Outcome;

fn net() -> Network {
    subnet("10.0.0.0/24")
}

pub(crate) fn owner(kind: OwnerKind, of: &str, pod: Option<&str>) -> Owner {
    Owner {
        kind,
        cluster: Some(CLUSTER.to_owned()),
        namespace: name("db"),
        name: name(of),
        uid: "o-1".to_owned(),
        pod: pod.map(name),
    }
}

/// An ADD of a pod of StatefulSet pg.
pub(crate) fn of_set(container: &str, pod: &str, uid: &str) -> Call {
    sticky_call(Call::of(container, &net()).of_pod(pod, uid, 1), owner(OwnerKind::StatefulSet, "pg", Some(pod)))
}

/// A running virtual machine, as its pods name it.
pub(crate) fn instance(name: &str) -> Controller {
    let [kind, name, uid] = ["VirtualMachineInstance", name, "i-1"].map(str::to_owned);
    Controller::from_reference("kubevirt.io/v1", kind, name, uid)
}

/// An ADD of a pod of virtual machine vm1, which is not sticky.
pub(crate) fn of_machine(container: &str, uid: &str) -> Call {
    let (workload, controller) = (Some("VirtualMachineInstance vm1".to_owned()), Some(instance("vm1")));
    Call { workload, controller, ..Call::of(container, &net()).of_pod(&format!("virt-launcher-{container}"), uid, 1) }
}

pub(crate) fn sticky_call(call: Call, owner: Owner) -> Call {
    Call { sticky: Some(StickyPolicy { owner, ttl: None }), ..call }
}

pub(crate) fn sticky_machine(container: &str, uid: &str) -> Call {
    sticky_call(of_machine(container, uid), owner(OwnerKind::VirtualMachine, "vm1", None))
}

pub(crate) fn on_node(mut call: Call, node: &str) -> Call {
    call.id.node = name(node);
    call
}

pub(crate) fn with_ttl(mut call: Call, seconds: u64) -> Call {
    call.sticky.as_mut().unwrap().ttl = Some(seconds);
    call
}

pub(crate) fn lives() -> Result<GoneReason, InUseReason> {
    Err(InUseReason::Running(PhaseSince { word: "Running".to_owned(), since: None }))
}

pub(crate) fn sound(world: &World) {
    assert_eq!(contradictions(&world.state), Vec::<String>::new());
}

pub(crate) fn lease(world: &World, address: &str) -> Option<Lease> {
    let text = world.text(&keys::lease(&name("default"), ip(address)))?;
    Some(Stored::read(text.as_bytes()).known().unwrap())
}

pub(crate) fn holders(world: &World, address: &str) -> Vec<String> {
    let lease = lease(world, address).filter(Lease::is_held);
    lease.into_iter().flat_map(|lease| lease.holders).map(|holder| holder.id.container.to_string()).collect()
}

fn one(allocation: &Allocation) -> String {
    let [address] = addresses(allocation)[..] else { panic!("{allocation:?}") };
    address.to_string()
}

#[test]
fn a_stateful_sets_pod_comes_back_with_its_address_also_on_another_node() {
    for with_record in [false, true] {
        let mut world = World::default();
        let first = world.add(&of_set("a", "pg-1", "u-1")).unwrap();
        assert_eq!(world.requests, 2);
        assert_eq!(first.leases[0].1.kind, AllocationKind::Sticky);
        match with_record {
            true => world.del_written(&first),
            false => world.del(&attachment("a")),
        };
        let unused = lease(&world, &one(&first)).unwrap();
        assert_eq!((unused.unused, unused.is_held()), (Some(at(0)), false));
        sound(&world);
        // Long after the cooldown.
        world.wait(100_000);
        let again = world.add(&on_node(of_set("b", "pg-1", "u-2"), "n2")).unwrap();
        assert_eq!((one(&again), world.requests, again.reused.len()), (one(&first), 3, 1));
        assert_eq!(again.leases[0].1.unused, None);
        assert_ne!(world.give(&of_set("c", "pg-2", "u-3")), addresses(&first));
        sound(&world);
    }
}

#[test]
fn an_add_without_sticky_takes_one_request() {
    let mut world = World::default();
    world.give(&Call::of("a", &net()));
    assert_eq!(world.requests, 1);
}

#[test]
fn a_repeated_add_has_the_same_and_an_answered_one_whose_reply_was_lost_too() {
    let mut world = World::default();
    let call = of_set("a", "pg-0", "u-1");
    let first = world.add(&call).unwrap();
    let again = world.add(&call).unwrap();
    assert!(again.repeated);
    assert_eq!((addresses(&again), world.requests), (addresses(&first), 2));

    let mut lost = World::default();
    let mut add = call.decision().unwrap();
    let mut step = add.start(lost.now());
    // The reservation is read. Then the commit takes effect, and its answer is lost.
    for answered in [true, false] {
        let Step::Commit(txn) = step else { panic!("{step:?}") };
        let outcome: Outcome = lost.state.commit(&txn);
        step = if answered { add.next(&outcome, lost.now()) } else { add.unanswered(lost.now()) };
    }
    let Step::Commit(txn) = step else { panic!("{step:?}") };
    let Step::Commit(txn) = add.next(&lost.state.commit(&txn), lost.now()) else { panic!() };
    let Step::Done(allocation) = add.next(&lost.state.commit(&txn), lost.now()) else { panic!() };
    assert!(allocation.repeated);
    sound(&lost);
}

#[test]
fn a_reserved_address_is_refused_to_every_other_asker_and_never_given_at_random() {
    let mut world = World::default();
    let small = subnet("10.0.0.0/30");
    let on_small = |call: Call| Call { network: small.clone(), ..call };
    // .1 is the gateway, so .2 is all there is.
    let reserved = world.give(&on_small(of_set("a", "pg-0", "u-1")));
    world.del(&attachment("a"));
    world.wait(100_000);
    let fixed = on_small(Call::of("b", &small).requesting(&["10.0.0.2"]));
    assert_snapshot!(world.add(&fixed).unwrap_err(), @"10.0.0.2 is reserved for StatefulSet pod db/pg-0, unused since 2023-11-14T22:13:20Z");
    assert_snapshot!(world.add(&Call::of("c", &small)).unwrap_err(), @"no address is free in 10.0.0.1-10.0.0.2 of 10.0.0.0/30: 1 address, 0 held, 1 reserved, 1 more excluded; among them: 10.0.0.2 reserved for StatefulSet pod db/pg-0");
    let other_pod = on_small(of_set("d", "pg-1", "u-2"));
    assert!(matches!(world.add(&other_pod), Err(Refusal::Exhausted { .. })));
    // A pod of that name in another cluster and a claim of that name are other owners.
    let owned = |change: fn(&mut Owner)| {
        let mut call = on_small(of_set("e", "pg-0", "u-3"));
        change(&mut call.sticky.as_mut().unwrap().owner);
        call
    };
    let others: [fn(&mut Owner); 3] = [
        |owner| owner.cluster = Some("another".to_owned()),
        |owner| owner.namespace = name("web"),
        |owner| (owner.kind, owner.name, owner.pod) = (OwnerKind::IpamClaim, name("pg-0"), None),
    ];
    for change in others {
        assert!(matches!(world.add(&owned(change)), Err(Refusal::Exhausted { .. })));
    }
    assert_eq!(world.give(&on_small(of_set("f", "pg-0", "u-4"))), reserved);
}

#[test]
fn of_two_pods_of_one_identity_that_race_one_has_the_address() {
    let mut world = World::default();
    let (mut first, mut second) =
        (of_set("a", "pg-0", "u-1").decision().unwrap(), of_set("b", "pg-0", "u-2").decision().unwrap());
    let [one_step, other_step] = [&mut first, &mut second].map(|add| {
        let Step::Commit(read) = add.start(at(0)) else { panic!() };
        add.next(&world.state.commit(&read), at(0))
    });
    let (Step::Commit(one_commit), Step::Commit(other_commit)) = (one_step, other_step) else { panic!() };
    let Step::Done(allocation) = first.next(&world.state.commit(&one_commit), at(0)) else { panic!() };
    let mut step = second.next(&world.state.commit(&other_commit), at(0));
    let refusal = loop {
        step = match step {
            Step::Commit(txn) => second.next(&world.state.commit(&txn), at(0)),
            Step::Refused(refusal) => break refusal,
            Step::Done(allocation) => panic!("{allocation:?}"),
        }
    };
    assert!(matches!(refusal, Refusal::Held { .. }), "{refusal}");
    assert_eq!((world.held().len(), world.keys("id/").len()), (1, 1));
    // Once the first pod is gone, the second one gets its address.
    let taken = world.add(&of_set("b", "pg-0", "u-2").with_pod_check("u-1", Ok(GoneReason::NotFound))).unwrap();
    assert_eq!(addresses(&taken), addresses(&allocation));
    sound(&world);
}

#[test]
fn a_sticky_address_is_taken_from_a_former_pod_that_is_gone_and_from_no_other() {
    let mut world = World::default();
    let first = world.give(&of_set("a", "pg-0", "u-1"));
    let next = || on_node(of_set("b", "pg-0", "u-2"), "n2");
    let before = world.state.clone();
    assert!(matches!(world.add(&next().with_pod_check("u-1", lives())), Err(Refusal::Held { .. })));
    assert_eq!(world.state, before);
    let allocation = world.add(&next().with_pod_check("u-1", Ok(GoneReason::Replaced))).unwrap();
    assert_eq!((addresses(&allocation), allocation.taken_over.len()), (first, 1));
    // The dead node comes back, and its late DEL releases nothing.
    assert!(world.del(&attachment("a")).freed.is_empty());
    assert_eq!(holders(&world, &one(&allocation)), ["b"]);
    sound(&world);
}

#[test]
fn a_request_overrides_the_reservation_and_the_commit_gives_the_old_address_up() {
    let mut world = World::default();
    let kept = world.give(&of_set("a", "pg-0", "u-1"));
    world.del(&attachment("a"));
    let allocation = world.add(&of_set("b", "pg-0", "u-2").requesting(&["10.0.0.77"])).unwrap();
    assert_eq!((one(&allocation).as_str(), allocation.leases[0].1.kind), ("10.0.0.77", AllocationKind::Fixed));
    let rests = lease(&world, &kept[0].to_string()).unwrap();
    assert!(rests.rest.is_some() && rests.owner.is_none() && rests.unused.is_none(), "{rests:?}");
    let reserved = world.text(&crate::store::Key::new(world.keys("id/").remove(0))).unwrap();
    assert!(reserved.ends_with(r#""addresses":[],"asked":["10.0.0.77"]}"#), "{reserved}");
    sound(&world);
    world.give(&Call::of("c", &net()).requesting(&[&kept[0].to_string()]));
}

#[test]
fn an_explicit_request_for_the_reserved_address_gets_it() {
    let mut world = World::default();
    let kept = world.give(&of_set("a", "pg-0", "u-1"));
    world.del(&attachment("a"));
    let allocation = world.add(&of_set("b", "pg-0", "u-2").requesting(&[&kept[0].to_string()])).unwrap();
    assert_eq!((addresses(&allocation), allocation.leases[0].1.kind), (kept, AllocationKind::Fixed));
    sound(&world);
}

#[test]
fn a_claim_keeps_requested_addresses_too() {
    let mut world = World::default();
    let claim = || owner(OwnerKind::IpamClaim, "data", None);
    let of_claim = |container: &str, uid: &str| sticky_call(Call::of(container, &net()).of_pod("x", uid, 1), claim());
    world.give(&of_claim("a", "u-1").requesting(&["10.0.0.7"]));
    world.del(&attachment("a"));
    let refusal = world.add(&Call::of("b", &net()).requesting(&["10.0.0.7"])).unwrap_err();
    assert_snapshot!(refusal, @"10.0.0.7 is reserved for IPAMClaim db/data, unused since 2023-11-14T22:13:20Z");
    assert_eq!(world.give(&of_claim("c", "u-2").requesting(&["10.0.0.7"])), [ip("10.0.0.7")]);
    assert_eq!(world.give(&of_claim("c", "u-2")), [ip("10.0.0.7")]);
    sound(&world);
}

#[test]
fn what_the_network_no_longer_allows_is_replaced() {
    let mut world = World::default();
    let first = world.give(&of_set("a", "pg-0", "u-1"));
    world.del(&attachment("a"));
    let moved = subnet("10.0.7.0/24");
    let second = world.give(&Call { network: moved.clone(), ..of_set("b", "pg-0", "u-2") });
    assert!(moved.sets[0].range_of(second[0]).is_some());
    assert!(lease(&world, &first[0].to_string()).unwrap().rest.is_some());
    sound(&world);
    world.del(&attachment("b"));
    assert_eq!(world.give(&Call { network: moved, ..of_set("c", "pg-0", "u-3") }), second);
    // A pod of the same owner that is gone without a DEL holds the old address until then. Afterwards, it is not
    // reserved.
    let third = world.give(&of_set("d", "pg-0", "u-4").with_pod_check("u-3", Ok(GoneReason::NotFound)));
    assert_eq!(holders(&world, &second[0].to_string()), ["c"]);
    world.del(&attachment("c"));
    assert!(lease(&world, &second[0].to_string()).unwrap().rest.is_some());
    assert_eq!(holders(&world, &third[0].to_string()), ["d"]);
    sound(&world);
}

#[test]
fn what_has_become_somebody_elses_is_replaced() {
    let mut world = World::default();
    let first = world.give(&of_set("a", "pg-0", "u-1"));
    // The operator releases it, and another pod gets it before the owner's next one.
    let entry = super::world::entries(&world.state, "ip/").remove(0);
    let mut evict = Evict::new(name("default"), first[0], entry.revision);
    let evicted = world.decide(&mut evict);
    assert!(matches!(evicted, Evicted::Freed(_)), "{evicted:?}");
    assert_eq!((world.keys("id/").len(), world.keys("ip/").len()), (0, 0));
    world.del(&attachment("a"));
    world.give(&Call::of("b", &net()).requesting(&[&first[0].to_string()]));
    let second = world.give(&of_set("c", "pg-0", "u-2"));
    assert_ne!(second, first);
    // The reservation may also name an address that another pod got meanwhile.
    let id = world.keys("id/").remove(0);
    let text = world.text(&crate::store::Key::new(id.clone())).unwrap();
    world.del(&attachment("c"));
    world.put(crate::store::Key::new(id), text.replace(&second[0].to_string(), &first[0].to_string()));
    let third = world.give(&of_set("d", "pg-0", "u-3"));
    assert_ne!(third, first);
    sound(&world);
}

#[test]
fn what_a_sweep_takes_from_a_pod_that_is_gone_stays_reserved_for_its_owner() {
    let mut world = World::default();
    let first = world.give(&of_set("a", "pg-0", "u-1"));
    let entry = super::world::entries(&world.state, "ip/").remove(0);
    let mut evict = Evict::new(name("default"), first[0], entry.revision).keeping_reservation();
    let evicted = world.decide(&mut evict);
    assert!(matches!(evicted, Evicted::Freed(_)), "{evicted:?}");
    // Its entry records that.
    assert_eq!(world.keys("at/"), ["at/n1/a/eth0/net"]);
    let asking = Call::of("b", &net()).requesting(&[&first[0].to_string()]);
    assert!(matches!(world.add(&asking), Err(Refusal::Reserved { .. })));
    assert_eq!(world.give(&of_set("c", "pg-0", "u-2")), first);
    sound(&world);
}

#[test]
fn an_address_of_a_pod_that_ended_without_a_del_is_its_owners_whoever_requests_it() {
    for shown in [GoneReason::NotFound, GoneReason::Replaced] {
        let mut world = World::default();
        let kept = world.give(&of_set("a", "pg-0", "u-1"));
        let thief = Call::of("b", &net()).of_pod("thief", "u-9", 1).requesting(&[&kept[0].to_string()]);
        let refusal = world.add(&thief.with_pod_check("u-1", Ok(shown.clone()))).unwrap_err().to_string();
        let why = format!("that pod is {shown}, but its address is reserved for StatefulSet pod db/pg-0");
        assert!(refusal.ends_with(&why), "{refusal}");
        assert_eq!(world.give(&of_set("c", "pg-0", "u-2").with_pod_check("u-1", Ok(shown))), kept);
        sound(&world);
    }
    // The pod that holds it may request it, even if it is not sticky any longer.
    let mut world = World::default();
    let kept = world.give(&of_set("a", "pg-0", "u-1"));
    let again = Call::of("b", &net()).of_pod("pg-0", "u-1", 2).requesting(&[&kept[0].to_string()]);
    assert_eq!(world.give(&again), kept);
    sound(&world);
}

#[test]
fn after_its_time_to_live_an_unused_address_is_given_to_who_asks_for_it() {
    let mut world = World::default();
    let call = || with_ttl(of_set("a", "pg-0", "u-1"), 3600);
    let kept = world.give(&call());
    world.wait(7200);
    world.del(&attachment("a"));
    let fixed = Call::of("b", &net()).requesting(&[&kept[0].to_string()]);
    world.wait(3599);
    assert!(matches!(world.add(&fixed), Err(Refusal::Reserved { .. })));
    world.wait(1);
    assert!(lease(&world, &kept[0].to_string()).unwrap().is_over(world.now()));
    world.give(&fixed);
    // Its owner is too late and gets another address.
    assert_ne!(world.give(&with_ttl(of_set("c", "pg-0", "u-2"), 3600)), kept);
    sound(&world);
}

#[test]
fn a_clock_set_back_does_not_end_a_reservation() {
    let mut world = World::default();
    world.wait(10_000);
    let kept = world.give(&with_ttl(of_set("a", "pg-0", "u-1"), 60));
    world.del(&attachment("a"));
    world.wait(-10_000);
    assert!(!lease(&world, &kept[0].to_string()).unwrap().is_over(world.now()));
}

#[test]
fn each_range_set_has_its_own_reserved_address() {
    let dual = || network(vec![vec![range("10.0.0.0/24")], vec![range("fd00::/64")]]);
    let call = |container: &str, uid: &str| Call { network: dual(), ..of_set(container, "pg-0", uid) };
    let mut world = World::default();
    let first = world.give(&call("a", "u-1"));
    world.del(&attachment("a"));
    assert_eq!(world.give(&call("b", "u-2")), first);
    world.del(&attachment("b"));
    // A request in one set does not affect the other's reservation.
    let mixed = world.give(&call("c", "u-3").requesting(&["10.0.0.9"]));
    assert_eq!(mixed, [ip("10.0.0.9"), first[1]]);
    sound(&world);
}

#[test]
fn a_pool_assigns_the_reserved_address_in_it() {
    let pool = |container: &str, uid: &str| {
        sticky_machine(container, uid).annotated(&[("kube-ipam.eth0.pool", "10.0.0.20-10.0.0.29")])
    };
    let mut world = World::default();
    let first = world.give(&pool("a", "u-1"));
    world.del(&attachment("a"));
    assert_eq!(world.give(&pool("b", "u-2")), first);
    sound(&world);
}

#[test]
fn a_reservation_that_cant_be_read_is_no_reason_for_another_address() {
    let mut world = World::default();
    world.give(&of_set("a", "pg-0", "u-1"));
    world.del(&attachment("a"));
    let id = crate::store::Key::new(world.keys("id/").remove(0));
    world.put(id, r#"{"v":2}"#);
    let refusal = world.add(&of_set("b", "pg-0", "u-2")).unwrap_err();
    assert_snapshot!(chain(&refusal), @"the stored reservation of StatefulSet pod db/pg-0 can't be read: a newer kube-ipam wrote it (value version 2, this one reads up to 1)");
}

#[test]
fn two_pods_of_a_machine_hold_its_address_while_it_migrates_whatever_it_comes_from() {
    type Ask = fn(Call) -> Call;
    let asks: [(Ask, bool); 4] = [
        (|call| call.requesting(&["10.0.0.5"]), false),
        (|call| call.annotated(&[("kube-ipam.eth0.ip", "10.0.0.5")]), false),
        (|call| call, true),
        (|call| sticky_call(call, owner(OwnerKind::IpamClaim, "data", None)), true),
    ];
    for (ask, keeps) in asks {
        for target_fails in [false, true] {
            let mut world = World::default();
            let of = |container: &str, uid: &str| {
                let call = if keeps { sticky_machine(container, uid) } else { of_machine(container, uid) };
                ask(call).with_pod_check("u-1", lives()).with_pod_check("u-2", lives())
            };
            let source = world.add(&of("source", "u-1")).unwrap();
            let address = one(&source);
            let target = world.add(&on_node(of("target", "u-2"), "n2")).unwrap();
            assert_eq!((one(&target), target.taken_over.len()), (address.clone(), 0));
            assert_eq!(holders(&world, &address), ["source", "target"]);
            sound(&world);
            let refusal = world.add(&on_node(of("third", "u-3"), "n3")).unwrap_err();
            assert!(matches!(&refusal, Refusal::Held { why, .. } if **why == InUseReason::SeveralHolders), "{refusal}");
            // A DEL of either one removes only its own holder, also with a record.
            let (gone, left) = if target_fails { (&target, "source") } else { (&source, "target") };
            assert_eq!(addresses(gone), world.del_written(gone).freed);
            assert_eq!(holders(&world, &address), [left]);
            sound(&world);
            let last = if target_fails { &source } else { &target };
            world.del_written(last);
            assert_eq!(lease(&world, &address).unwrap().unused.is_some(), keeps);
            sound(&world);
        }
    }
}

#[test]
fn a_pod_of_a_machine_that_is_gone_makes_room_for_the_next() {
    let mut world = World::default();
    let of = |container: &str, uid: &str| of_machine(container, uid).requesting(&["10.0.0.5"]);
    world.give(&of("a", "u-1"));
    world.give(&on_node(of("b", "u-2"), "n2").with_pod_check("u-1", lives()));
    let finished = Ok(GoneReason::Finished(crate::ipam::takeover::Phase::Succeeded));
    let third = on_node(of("c", "u-3"), "n3").with_pod_check("u-1", finished).with_pod_check("u-2", lives());
    let allocation = world.add(&third).unwrap();
    assert_eq!(allocation.taken_over.len(), 1);
    assert_eq!(holders(&world, "10.0.0.5"), ["b", "c"]);
    sound(&world);
    // The late DEL of the pod that was replaced.
    assert!(world.del(&attachment("a")).freed.is_empty());
    assert_eq!(holders(&world, "10.0.0.5"), ["b", "c"]);
}

#[test]
fn another_machine_or_another_interface_of_the_pod_does_not_join() {
    let mut world = World::default();
    let of = |container: &str, uid: &str| of_machine(container, uid).requesting(&["10.0.0.5"]);
    world.give(&of("a", "u-1"));
    let other = Call { controller: Some(instance("vm2")), ..of("b", "u-2") };
    assert!(matches!(world.add(&other.with_pod_check("u-1", lives())), Err(Refusal::Held { .. })));
    // Two replicas are not a virtual machine.
    let deployment = Controller { group: "apps".to_owned(), kind: "Deployment".to_owned(), ..instance("vm1") };
    let other = Call { controller: Some(deployment), ..of("b", "u-2") };
    assert!(matches!(world.add(&other.with_pod_check("u-1", lives())), Err(Refusal::Held { .. })));
    let ifname = "net1".parse().unwrap();
    let net1 = AttachmentId { ifname, ..of("a", "u-1").id };
    let refusal = world.add(&Call { id: net1, ..of("a", "u-1") }).unwrap_err();
    assert!(matches!(&refusal, Refusal::Held { why, .. } if **why == InUseReason::SameSandbox), "{refusal}");
}

#[test]
fn a_machine_that_was_stopped_comes_back_with_its_address_and_its_new_sandbox_takes_it_over() {
    let mut world = World::default();
    let first = world.give(&sticky_machine("a", "u-1"));
    world.del(&attachment("a"));
    world.wait(100_000);
    let mut second = sticky_machine("b", "u-2");
    assert_eq!(world.give(&second), first);
    second.id.container = name("b2");
    second.began.boottime = 2;
    let allocation = world.add(&second).unwrap();
    assert_eq!((addresses(&allocation), allocation.taken_over.len()), (first.clone(), 1));
    assert_eq!(holders(&world, &first[0].to_string()), ["b2"]);
    sound(&world);
}

/// A small subnet that is reserved completely, for pods pg-0, pg-1, … of one StatefulSet with this time to live.
fn all_reserved(net: &Network, seconds: u64) -> (World, Vec<IpAddr>) {
    let mut world = World::default();
    let mut given = Vec::new();
    for n in 0.. {
        let (container, pod) = (format!("s{n}"), format!("pg-{n}"));
        let call = Call { network: net.clone(), ..with_ttl(of_set(&container, &pod, &format!("u-{n}")), seconds) };
        match world.add(&call) {
            Ok(allocation) => given.extend(addresses(&allocation)),
            Err(_) => break,
        }
        world.del(&attachment(&container));
        // The first reservation expires first.
        world.wait(1);
    }
    (world, given)
}

#[test]
fn a_range_that_is_full_but_for_a_reservation_that_is_over_gives_its_address_at_random() {
    for (net, most) in [(subnet("10.0.0.0/29"), 6), (subnet("fd00::/123"), 6), (two_ranges(), 6)] {
        let (mut world, given) = all_reserved(&net, 3600);
        assert!(given.len() >= 5, "{given:?}");
        let over = |world: &World| {
            given.iter().filter(|ip| lease(world, &ip.to_string()).unwrap().is_over(world.now())).count()
        };
        world.wait(3600 - i64::try_from(given.len()).unwrap() - 1);
        assert_eq!(over(&world), 0);
        assert!(matches!(world.add(&Call::of("early", &net)), Err(Refusal::Exhausted { .. })));
        world.wait(1);
        assert_eq!(over(&world), 1);
        let allocation = world.add(&Call::of("late", &net)).unwrap();
        assert!(world.requests <= most, "{}", world.requests);
        assert_eq!((addresses(&allocation), allocation.reused.len()), (vec![given[0]], 0));
        assert_eq!(
            lease(&world, &one(&allocation)).map(|lease| (lease.kind, lease.owner)),
            Some((AllocationKind::Dynamic, None))
        );
        assert!(matches!(world.add(&Call::of("later", &net)), Err(Refusal::Exhausted { .. })));
        sound(&world);
        // Its owner is too late.
        let owner = Call { network: net.clone(), ..with_ttl(of_set("again", "pg-0", "u-99"), 3600) };
        assert!(matches!(world.add(&owner), Err(Refusal::Exhausted { .. })));
        world.del(&attachment("late"));
        assert_eq!(world.give(&owner), [given[0]]);
        sound(&world);
    }
}

/// A set of two ranges.
fn two_ranges() -> Network {
    network(vec![vec![range("10.0.0.0/30"), range("10.1.0.0/29")]])
}

#[test]
fn what_rests_is_given_before_a_reservation_that_is_over() {
    let net = subnet("10.0.0.0/29");
    let (mut world, given) = all_reserved(&net, 60);
    world.wait(3600);
    let first = world.give(&Call::of("a", &net));
    world.del(&attachment("a"));
    assert_eq!(world.give(&Call::of("b", &net)), first);
    assert_eq!(world.keys("ip/").len(), given.len());
}

#[test]
fn reservations_that_are_over_go_to_as_many_as_there_are_whoever_asks_at_once() {
    let net = subnet("10.0.0.0/29");
    let (mut world, given) = all_reserved(&net, 60);
    world.wait(3600);
    let mut adds: Vec<Add> = (0..8).map(|n| Call::of(&format!("c{n}"), &net).decision().unwrap()).collect();
    let now = world.now();
    let mut steps: Vec<Step<Allocation>> = adds.iter_mut().map(|add| add.start(now)).collect();
    // One request of each call, in turn.
    while steps.iter().any(|step| matches!(step, Step::Commit(_))) {
        for (add, step) in adds.iter_mut().zip(&mut steps) {
            if let Step::Commit(txn) = step {
                *step = add.next(&world.state.commit(txn), now);
            }
        }
    }
    let mut anew: Vec<IpAddr> = Vec::new();
    for step in steps {
        match step {
            Step::Done(allocation) => anew.extend(addresses(&allocation)),
            step => assert!(matches!(step, Step::Refused(Refusal::Exhausted { .. })), "{step:?}"),
        }
    }
    anew.sort();
    let mut before = given;
    before.sort();
    assert_eq!(anew, before);
    sound(&world);
}
