//! Who shares the address of a virtual machine, and who gets what is kept for an owner: by the word of the API server,
//! and not by what a pod says of itself (edge case 48).

use insta::assert_snapshot;

use super::sticky::{holders, instance, kept_machine, lease, lives, of_machine, of_set, on_node, sound};
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

/// What an ADD asks the API server in the end, if it is told what is known of holders' pods alone.
fn asks(world: &mut World, call: &Call) -> Option<PendingCheck> {
    let mut add = call.machine().unwrap();
    loop {
        if world.run_on(&mut add).is_ok() {
            return None;
        }
        match add.pending_check()? {
            PendingCheck::Pod(pod) => {
                let verdict = call.verdicts[pod.uid.as_deref().unwrap()].clone();
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
    for kept in [false, true] {
        let mut world = World::default();
        let of = |container: &str, uid: &str| {
            if kept { kept_machine(container, uid) } else { of_machine(container, uid).asking(&["10.0.0.5"]) }
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
            let thief = of_controller(controller).told("u-1", lives());
            let refusal = world.add(&thief).unwrap_err();
            assert!(matches!(&refusal, Refusal::Held { why, .. } if **why != InUseReason::SeveralHolders), "{refusal}");
            assert_eq!(world.state, before);
        }
        // One that is not forged is no more than a question.
        for error in [JoinError::NoMigration, not_listed().unwrap_err()] {
            let thief = of("thief", "u-9").told("u-1", lives()).joining("u-1", Err(error.clone()));
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
    world.give(&of_machine("source", "u-1").asking(&["10.0.0.5"]));
    let target = of_machine("target", "u-2").asking(&["10.0.0.5"]).told("u-1", lives()).joining("u-1", not_listed());
    let refusal = Error::from(world.add(&target).unwrap_err());
    assert_snapshot!(refusal.full(), @"10.0.0.5 is held by pod db/virt-launcher-source, interface eth0, node n1, network net, since 2023-11-14T22:13:20Z; VirtualMachineInstance vm1 does not list pod db/virt-launcher-target in status.activePods yet; KubeVirt lists a new pod within a second or so; the next attempt asks again");
}

#[test]
fn a_pod_that_joins_nobody_asks_nothing_of_kubevirt() {
    let mut world = World::default();
    assert_eq!(asks(&mut world, &kept_machine("a", "u-1")), None);
    world.del(&attachment("a"));
    // Stopped and started again.
    assert_eq!(asks(&mut world, &kept_machine("b", "u-2")), None);
    // A pod that is gone, and a new sandbox of the pod itself.
    assert_eq!(asks(&mut world, &kept_machine("c", "u-3").told("u-2", Ok(GoneReason::NotFound))), None);
    assert_eq!(asks(&mut world, &later_sandbox(kept_machine("c", "u-3"), "d")), None);
    sound(&world);
}

#[test]
fn the_question_names_both_pods_and_those_that_have_left() {
    let mut world = World::default();
    let of = |container: &str, uid: &str| {
        of_machine(container, uid).asking(&["10.0.0.5"]).told("u-1", lives()).told("u-2", lives())
    };
    let first = world.add(&of("a", "u-1")).unwrap();
    world.give(&on_node(of("b", "u-2"), "n2"));
    world.del_written(&first);
    assert_eq!(lease(&world, "10.0.0.5").unwrap().former_pods, ["u-1"]);
    let Some(PendingCheck::Join(asked)) = asks(&mut world, &on_node(of("c", "u-3"), "n3")) else { panic!() };
    assert_eq!((asked.instance, asked.former), (instance("vm1"), vec!["u-1".to_owned()]));
    let uids = [asked.holder.uid, asked.pod.uid].map(Option::unwrap_or_default);
    assert_eq!(uids, ["u-2", "u-3"]);
    // The target's next sandbox knows of it as well.
    let sandbox = later_sandbox(on_node(of("b", "u-2"), "n2"), "b2");
    world.give(&sandbox);
    assert_eq!(lease(&world, "10.0.0.5").unwrap().former_pods, ["u-1"]);
    // Once the machine is stopped, its pods are others.
    world.del(&sandbox.id);
    assert_eq!(lease(&world, "10.0.0.5").unwrap().former_pods, [""; 0]);
    sound(&world);
}

#[test]
fn beside_one_that_lives_the_place_of_one_that_is_gone_goes_to_a_pod_that_kubevirt_lists() {
    let mut world = World::default();
    let of = |container: &str, uid: &str| of_machine(container, uid).asking(&["10.0.0.5"]);
    world.give(&of("a", "u-1"));
    world.give(&on_node(of("b", "u-2"), "n2").told("u-1", lives()));
    let third = |verdict| {
        let finished = Ok(GoneReason::Finished(Phase::Succeeded));
        on_node(of("c", "u-3"), "n3").told("u-1", finished).told("u-2", lives()).joining("u-2", verdict)
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
    // If both are gone, nobody is left to be shared with.
    let fourth =
        on_node(of("d", "u-4"), "n4").told("u-2", Ok(GoneReason::NotFound)).told("u-3", Ok(GoneReason::NotFound));
    world.give(&fourth.joining("u-2", not_listed()).joining("u-3", not_listed()));
    sound(&world);
}

#[test]
fn what_an_older_program_has_written_of_the_source_is_joined_by_the_same_proof() {
    let mut world = World::default();
    let of = |container: &str, uid: &str| of_machine(container, uid).asking(&["10.0.0.5"]).told("u-1", lives());
    world.give(&of("source", "u-1"));
    let key = keys::lease(&name("default"), ip("10.0.0.5"));
    let mut lease: serde_json::Value = serde_json::from_str(&world.text(&key).unwrap()).unwrap();
    lease["holders"][0].as_object_mut().unwrap().remove("controller").unwrap();
    world.put(key, lease.to_string());
    let refusal = world.add(&of("thief", "u-9").joining("u-1", not_listed())).unwrap_err();
    assert!(matches!(refusal, Refusal::Held { .. }));
    world.give(&on_node(of("target", "u-2"), "n2"));
    assert_eq!(holders(&world, "10.0.0.5"), ["source", "target"]);
}

#[test]
fn what_is_kept_for_a_stateful_sets_pod_is_not_for_one_that_only_says_so() {
    let thief = || Call { owner_check: forged(), ..of_set("thief", "pg-0", "u-9") };
    let kept = |world: &mut World| addresses(&world.add(&of_set("a", "pg-0", "u-1")).unwrap())[0].to_string();
    // Reserved, and taken as what its owner had, by name, or given up for another one.
    let mut world = World::default();
    let had = kept(&mut world);
    world.del(&attachment("a"));
    let reserved = world.state.clone();
    let pool = format!("{had}-{had}");
    let asks = [
        thief(),
        thief().asking(&[&had]),
        thief().asking(&["10.0.0.77"]),
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
    let refusal = world.add(&thief().told("u-2", Ok(GoneReason::NotFound))).unwrap_err();
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
fn a_stateful_sets_pod_is_asked_about_only_where_something_is_kept_for_it() {
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
fn what_is_kept_for_a_machine_passes_to_its_next_pod_that_asks_by_name_only_if_the_api_has_its_instance() {
    let mut world = World::default();
    let had = world.give(&kept_machine("a", "u-1"))[0].to_string();
    // It is of the machine, and keeps nothing itself.
    let next = |check| {
        let call = of_machine("b", "u-2").asking(&[&had]).told("u-1", Ok(GoneReason::NotFound));
        Call { owner_check: check, ..call }
    };
    let refusal = world.add(&next(forged())).unwrap_err();
    assert!(matches!(refusal, Refusal::OwnerUnproven { .. }), "{refusal}");
    assert_eq!(addresses(&world.add(&next(Some(Ok(())))).unwrap())[0].to_string(), had);
}

#[test]
fn a_reservation_entry_alone_gives_nobody_anything() {
    // The entry names an address of somebody else: it is out of date, and no owner has to be asked for.
    let mut world = World::default();
    let had = world.give(&of_set("a", "pg-0", "u-1"))[0].to_string();
    world.del(&attachment("a"));
    let id = Key::new(world.keys("id/").remove(0));
    let reservation = world.text(&id).unwrap().replace(&had, "10.0.0.99");
    world.put(id, reservation);
    world.give(&Call::of("b", &subnet("10.0.0.0/24")).asking(&["10.0.0.99"]));
    assert_eq!(asks(&mut world, &of_set("c", "pg-0", "u-2")), None);
}
