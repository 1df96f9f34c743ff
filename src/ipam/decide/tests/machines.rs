//! Who shares the address of a virtual machine, and who gets an owner's reservation: the API server decides, not what a
//! pod says of itself (edge case 48).

use insta::assert_snapshot;

use super::sticky::{holders, instance, lease, lives, of_machine, of_set, on_node, sound, sticky_machine};
use super::world::{Call, World, addresses, attachment, ip, name, subnet};
use crate::error::Error;
use crate::ipam::keys;
use crate::ipam::machine::JoinError;
use crate::ipam::pod::Controller;
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::OwnerError;
use crate::ipam::takeover::{GoneReason, InUseReason, PendingCheck, Phase};
use crate::store::Key;

fn not_listed() -> Result<(), JoinError> {
    Err(JoinError::NotListed { instance: "vm1".to_owned(), pod: "pod db/virt-launcher-target".to_owned() })
}

fn forged() -> Option<Result<(), OwnerError>> {
    Some(Err(OwnerError::OtherUid { named: "o-9".to_owned(), found: "o-1".to_owned() }))
}

/// The last check of an ADD, if only holders' pods were checked before.
fn asks(world: &mut World, call: &Call) -> Option<PendingCheck> {
    let mut add = call.decision().unwrap();
    loop {
        if world.run_on(&mut add).is_ok() {
            return None;
        }
        match add.pending_check()? {
            PendingCheck::Pod(pod) => {
                let verdict = call.pod_checks[pod.uid.as_deref().unwrap()].clone();
                add.record_pod(pod, verdict);
            }
            question => return Some(question),
        }
    }
}

/// The next sandbox of the same pod.
fn later_sandbox(mut call: Call, container: &str) -> Call {
    call.id.container = name(container);
    call.began.boottime += 1;
    call
}

#[test]
fn a_reference_that_somebody_has_forged_shares_nothing() {
    for is_sticky in [false, true] {
        let mut world = World::default();
        let of = |container: &str, uid: &str| {
            if is_sticky {
                sticky_machine(container, uid)
            } else {
                of_machine(container, uid).requesting(&["10.0.0.5"])
            }
        };
        let had = world.give(&of("source", "u-1"))[0].to_string();
        let before = world.state.clone();
        let of_controller = |controller| Call { controller: Some(controller), ..of("thief", "u-9") };
        let forged = [
            Controller { group: "evil.example".to_owned(), ..instance("vm1") },
            Controller { uid: "i-9".to_owned(), ..instance("vm1") },
            Controller { kind: "VirtualMachine".to_owned(), ..instance("vm1") },
        ];
        for controller in forged {
            let thief = of_controller(controller).with_pod_check("u-1", lives());
            let refusal = world.add(&thief).unwrap_err();
            assert!(matches!(&refusal, Refusal::Held { why, .. } if **why != InUseReason::SeveralHolders), "{refusal}");
            assert_eq!(world.state, before);
        }
        // A genuine reference only leads to a check.
        for error in [JoinError::NoMigration, not_listed().unwrap_err()] {
            let thief = of("thief", "u-9").with_pod_check("u-1", lives()).with_join_check("u-1", Err(error.clone()));
            let refusal = world.add(&thief).unwrap_err();
            let is_it = matches!(&refusal, Refusal::Held { why, .. } if **why == InUseReason::NotOneMachine(error));
            assert!(is_it && refusal.is_passing(), "{refusal}");
            assert_eq!(world.state, before);
        }
        assert_eq!(holders(&world, &had), ["source"]);
    }
}

#[test]
fn the_refusal_says_that_the_pod_is_not_listed_yet() {
    let mut world = World::default();
    world.give(&of_machine("source", "u-1").requesting(&["10.0.0.5"]));
    let target = of_machine("target", "u-2")
        .requesting(&["10.0.0.5"])
        .with_pod_check("u-1", lives())
        .with_join_check("u-1", not_listed());
    let refusal = Error::from(world.add(&target).unwrap_err());
    assert_snapshot!(refusal.full(), @"10.0.0.5 is held by pod db/virt-launcher-source, interface eth0, node n1, network net, since 2023-11-14T22:13:20Z; VirtualMachineInstance vm1 does not list pod db/virt-launcher-target in status.activePods yet; KubeVirt lists a new pod within a second or so; the next attempt asks again");
}

#[test]
fn a_pod_that_joins_nobody_needs_no_check_by_kubevirt() {
    let mut world = World::default();
    assert_eq!(asks(&mut world, &sticky_machine("a", "u-1")), None);
    world.del(&attachment("a"));
    assert_eq!(asks(&mut world, &sticky_machine("b", "u-2")), None);
    assert_eq!(asks(&mut world, &sticky_machine("c", "u-3").with_pod_check("u-2", Ok(GoneReason::NotFound))), None);
    assert_eq!(asks(&mut world, &later_sandbox(sticky_machine("c", "u-3"), "d")), None);
    sound(&world);
}

#[test]
fn a_join_check_names_both_pods_and_those_that_have_left() {
    let mut world = World::default();
    let of = |container: &str, uid: &str| {
        of_machine(container, uid)
            .requesting(&["10.0.0.5"])
            .with_pod_check("u-1", lives())
            .with_pod_check("u-2", lives())
    };
    let first = world.add(&of("a", "u-1")).unwrap();
    world.give(&on_node(of("b", "u-2"), "n2"));
    world.del_written(&first);
    assert_eq!(lease(&world, "10.0.0.5").unwrap().former_pods, ["u-1"]);
    let Some(PendingCheck::Join(asked)) = asks(&mut world, &on_node(of("c", "u-3"), "n3")) else { panic!() };
    assert_eq!((asked.instance, asked.former), (instance("vm1"), vec!["u-1".to_owned()]));
    let uids = [asked.holder.uid, asked.pod.uid].map(Option::unwrap_or_default);
    assert_eq!(uids, ["u-2", "u-3"]);
    // The target's next sandbox names it as well.
    let sandbox = later_sandbox(on_node(of("b", "u-2"), "n2"), "b2");
    world.give(&sandbox);
    assert_eq!(lease(&world, "10.0.0.5").unwrap().former_pods, ["u-1"]);
    // After a stop, the machine has other pods.
    world.del(&sandbox.id);
    assert_eq!(lease(&world, "10.0.0.5").unwrap().former_pods, [""; 0]);
    sound(&world);
}

#[test]
fn beside_one_that_lives_the_place_of_one_that_is_gone_goes_to_a_pod_that_kubevirt_lists() {
    let mut world = World::default();
    let of = |container: &str, uid: &str| of_machine(container, uid).requesting(&["10.0.0.5"]);
    world.give(&of("a", "u-1"));
    world.give(&on_node(of("b", "u-2"), "n2").with_pod_check("u-1", lives()));
    let third = |verdict| {
        let finished = Ok(GoneReason::Finished(Phase::Succeeded));
        on_node(of("c", "u-3"), "n3")
            .with_pod_check("u-1", finished)
            .with_pod_check("u-2", lives())
            .with_join_check("u-2", verdict)
    };
    let before = world.state.clone();
    let refusal = world.add(&third(not_listed())).unwrap_err();
    assert!(
        matches!(&refusal, Refusal::Held { why, .. } if matches!(**why, InUseReason::NotOneMachine(_))),
        "{refusal}"
    );
    assert_eq!(world.state, before);
    world.give(&third(Ok(())));
    assert_eq!(holders(&world, "10.0.0.5"), ["b", "c"]);
    assert_eq!(lease(&world, "10.0.0.5").unwrap().former_pods, ["u-1"]);
    // If both are gone, the address is not shared with anybody.
    let fourth = on_node(of("d", "u-4"), "n4")
        .with_pod_check("u-2", Ok(GoneReason::NotFound))
        .with_pod_check("u-3", Ok(GoneReason::NotFound));
    world.give(&fourth.with_join_check("u-2", not_listed()).with_join_check("u-3", not_listed()));
    sound(&world);
}

#[test]
fn what_an_older_program_has_written_of_the_source_is_joined_by_the_same_proof() {
    let mut world = World::default();
    let of = |container: &str, uid: &str| {
        of_machine(container, uid).requesting(&["10.0.0.5"]).with_pod_check("u-1", lives())
    };
    world.give(&of("source", "u-1"));
    let key = keys::lease(&name("default"), ip("10.0.0.5"));
    let mut lease: serde_json::Value = serde_json::from_str(&world.text(&key).unwrap()).unwrap();
    lease["holders"][0].as_object_mut().unwrap().remove("controller").unwrap();
    world.put(key, lease.to_string());
    let refusal = world.add(&of("thief", "u-9").with_join_check("u-1", not_listed())).unwrap_err();
    assert!(matches!(refusal, Refusal::Held { .. }));
    world.give(&on_node(of("target", "u-2"), "n2"));
    assert_eq!(holders(&world, "10.0.0.5"), ["source", "target"]);
}

#[test]
fn a_stateful_sets_reservation_is_not_for_a_pod_that_only_names_it() {
    let thief = || Call { owner_check: forged(), ..of_set("thief", "pg-0", "u-9") };
    let first_address = |world: &mut World| addresses(&world.add(&of_set("a", "pg-0", "u-1")).unwrap())[0].to_string();
    // Reserved, and obtained as the owner's address or by request, or given up for another one.
    let mut world = World::default();
    let had = first_address(&mut world);
    world.del(&attachment("a"));
    let reserved = world.state.clone();
    let pool = format!("{had}-{had}");
    let asks = [
        thief(),
        thief().requesting(&[&had]),
        thief().requesting(&["10.0.0.77"]),
        thief().annotated(&[("kube-ipam.eth0.pool", &pool)]),
    ];
    for call in asks {
        for check in [forged(), Some(Err(OwnerError::NotFound)), None] {
            let refusal = world.add(&Call { owner_check: check, ..call.clone() }).unwrap_err();
            assert!(matches!(refusal, Refusal::OwnerUnproven { .. }) && refusal.is_passing(), "{refusal}");
            assert_eq!(world.state, reserved);
        }
    }
    assert_eq!(addresses(&world.add(&of_set("b", "pg-0", "u-2")).unwrap())[0].to_string(), had);
    // Held by a pod that is gone.
    let held = world.state.clone();
    let refusal = world.add(&thief().with_pod_check("u-2", Ok(GoneReason::NotFound))).unwrap_err();
    assert!(matches!(refusal, Refusal::OwnerUnproven { .. }), "{refusal}");
    assert_eq!(world.state, held);
}

#[test]
fn the_refusal_of_a_forged_owner_names_both_uids() {
    let mut world = World::default();
    world.give(&of_set("a", "pg-0", "u-1"));
    world.del(&attachment("a"));
    let thief = Call { owner_check: forged(), ..of_set("thief", "pg-0", "u-9") };
    let refusal = Error::from(world.add(&thief).unwrap_err());
    assert_snapshot!(refusal.full(), @"an address is reserved for StatefulSet pod db/pg-0, but kube-ipam can't confirm that this pod belongs to it: the pod's ownerReference has UID o-9, and the API server has UID o-1; a pod gets its owner's address once the API server has that owner with the UID in the pod's ownerReference");
}

#[test]
fn a_stateful_set_is_checked_only_if_it_has_a_reservation() {
    let mut world = World::default();
    assert_eq!(asks(&mut world, &of_set("a", "pg-0", "u-1")), None);
    let sandbox = later_sandbox(of_set("a", "pg-0", "u-1"), "b");
    assert_eq!(asks(&mut world, &sandbox), None);
    assert_eq!(asks(&mut world, &sandbox), None, "an ADD that is repeated");
    world.del(&sandbox.id);
    let next = later_sandbox(sandbox.clone(), "b2");
    assert_eq!(asks(&mut world, &next), None, "the same pod");
    world.del(&next.id);
    assert!(matches!(asks(&mut world, &of_set("c", "pg-0", "u-2")), Some(PendingCheck::Owner(_))));
}

#[test]
fn a_machines_reservation_can_be_requested_only_if_its_instance_exists() {
    let mut world = World::default();
    let had = world.give(&sticky_machine("a", "u-1"))[0].to_string();
    // It belongs to the machine, and is not sticky.
    let next = |check| {
        let call = of_machine("b", "u-2").requesting(&[&had]).with_pod_check("u-1", Ok(GoneReason::NotFound));
        Call { owner_check: check, ..call }
    };
    let refusal = world.add(&next(forged())).unwrap_err();
    assert!(matches!(refusal, Refusal::OwnerUnproven { .. }), "{refusal}");
    assert_eq!(addresses(&world.add(&next(Some(Ok(())))).unwrap())[0].to_string(), had);
}

#[test]
fn a_reservation_entry_alone_gives_nobody_anything() {
    // The entry names an address of somebody else. It is outdated, and no owner needs to be checked.
    let mut world = World::default();
    let had = world.give(&of_set("a", "pg-0", "u-1"))[0].to_string();
    world.del(&attachment("a"));
    let id = Key::new(world.keys("id/").remove(0));
    let reservation = world.text(&id).unwrap().replace(&had, "10.0.0.99");
    world.put(id, reservation);
    world.give(&Call::of("b", &subnet("10.0.0.0/24")).requesting(&["10.0.0.99"]));
    assert_eq!(asks(&mut world, &of_set("c", "pg-0", "u-2")), None);
}
