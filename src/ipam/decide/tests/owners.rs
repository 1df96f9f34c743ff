//! An owner's next pod while another pod of the owner may still use its address: it gets that address or a refusal,
//! never a second one (edge case 47). Its node may draw from other ranges, or it may request another address.

use insta::assert_snapshot;

use super::sticky::{holders, lease, lives, of_machine, of_set, on_node, owner, sound, sticky_call, sticky_machine};
use super::world::{Call, World, addresses, attachment, began, ip, network, range, subnet};
use crate::cause::Cause;
use crate::config::Network;
use crate::error::Error;
use crate::ipam::decide::{Evict, GiveUpReason, GivenUp};
use crate::ipam::lease::LeaseState;
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::OwnerKind;
use crate::ipam::takeover::{GoneReason, InUseReason, Phase};

/// The network, with the ranges of one rack's nodes.
fn rack(number: u8) -> Network {
    subnet(&format!("10.{number}.0.0/24"))
}

fn on_rack(number: u8, call: Call) -> Call {
    on_node(Call { network: rack(number), ..call }, &format!("n{number}"))
}

/// The text of a refusal, without the random address.
fn text(refusal: Refusal, address: &str) -> String {
    Error::from(refusal).full().to_string().replace(address, "<ip>")
}

/// The ADD of a pod of this UID in this container.
type PodOf = fn(&str, &str) -> Call;

/// A pod of each kind of owner.
fn owners() -> [(OwnerKind, PodOf); 3] {
    [
        (OwnerKind::StatefulSet, |container, uid| of_set(container, "pg-0", uid)),
        (OwnerKind::VirtualMachine, sticky_machine),
        (OwnerKind::IpamClaim, |container, uid| {
            let call = Call::of(container, &rack(1)).of_pod(&format!("pod-{container}"), uid, 1);
            sticky_call(call, owner(OwnerKind::IpamClaim, "data", None))
        }),
    ]
}

#[test]
fn an_owners_next_pod_elsewhere_is_refused_while_another_pod_uses_its_address() {
    for (kind, pod) in owners() {
        let mut world = World::default();
        let source = world.add(&on_rack(1, pod("source", "u-1"))).unwrap();
        let had = addresses(&source)[0];
        let target = || on_rack(2, pod("target", "u-2"));
        let before = world.state.clone();
        let unknown = || Err(InUseReason::LookupFailed(Cause::new("the API server is down")));
        for verdict in [None, Some(lives()), Some(unknown())] {
            let target = verdict.into_iter().fold(target(), |call, verdict| call.with_pod_check("u-1", verdict));
            let refusal = world.add(&target).unwrap_err();
            assert!(refusal.is_passing());
            assert!(matches!(&refusal, Refusal::OwnerHoldsOther { ip, .. } if *ip == had), "{kind:?}: {refusal}");
            assert_eq!(world.state, before);
        }
        // Once it has released the address, nobody uses it, and the next pod gets another one.
        world.del_written(&source);
        let next = world.add(&target()).unwrap();
        assert_ne!(addresses(&next), [had]);
        let [GivenUp { ip, reason: GiveUpReason::NotOffered, .. }] = &next.given_up[..] else { panic!("{next:?}") };
        assert_eq!(*ip, had);
        sound(&world);
    }
}

#[test]
fn the_refusal_names_the_pod_and_says_what_to_do() {
    let mut world = World::default();
    let had = world.give(&on_rack(1, sticky_machine("source", "u-1")))[0].to_string();
    let refusal = world.add(&on_rack(2, sticky_machine("target", "u-2").with_pod_check("u-1", lives()))).unwrap_err();
    assert_snapshot!(text(refusal, &had), @"VirtualMachine db/vm1 has <ip>, held by pod db/virt-launcher-source, interface eth0, node n1, network net, since 2023-11-14T22:13:20Z; node n2 would assign another one; the API server reports that pod as Running; an owner has one address at a time: stop the machine, or widen the ranges of this node (`nodes`, `nodeSelector`) so that they hold <ip>; if the pod asks for another address, ask for <ip> or for none");
    let mut world = World::default();
    let had = world.give(&on_rack(1, of_set("source", "pg-0", "u-1")))[0].to_string();
    let refusal = world.add(&on_rack(2, of_set("target", "pg-0", "u-2"))).unwrap_err();
    assert_snapshot!(text(refusal, &had), @"StatefulSet pod db/pg-0 has <ip>, held by pod db/pg-0, interface eth0, node n1, network net, since 2023-11-14T22:13:20Z; node n2 would assign another one; kube-ipam did not check whether that pod is gone; an owner has one address at a time: end that pod, or widen the ranges of this node (`nodes`, `nodeSelector`) so that they hold <ip>; if the pod asks for another address, ask for <ip> or for none");
}

#[test]
fn a_source_that_is_shown_gone_uses_nothing() {
    for shown in [GoneReason::NotFound, GoneReason::Replaced, GoneReason::Finished(Phase::Succeeded)] {
        for (kind, pod) in owners() {
            let mut world = World::default();
            let had = world.give(&on_rack(1, pod("source", "u-1")))[0];
            let target = on_rack(2, pod("target", "u-2")).with_pod_check("u-1", Ok(shown.clone()));
            let allocation = world.add(&target).unwrap();
            assert_eq!(allocation.given_up.iter().map(|given_up| given_up.ip).collect::<Vec<_>>(), [had], "{kind:?}");
            assert!(rack(2).sets[0].range_of(addresses(&allocation)[0]).is_some());
            // It stays held by the pod that is gone, and is not reserved.
            assert_eq!(holders(&world, &had.to_string()), ["source"]);
            assert_eq!(lease(&world, &had.to_string()).unwrap().owner, None);
            sound(&world);
        }
    }
}

#[test]
fn an_earlier_sandbox_of_the_pod_itself_uses_nothing() {
    let mut world = World::default();
    world.give(&of_set("a", "pg-0", "u-1"));
    // The pod was annotated in between, and its sandbox recreated.
    let mut later = of_set("b", "pg-0", "u-1").requesting(&["10.0.0.77"]);
    later.began = began("boot", 2);
    assert_eq!(world.give(&later), [ip("10.0.0.77")]);
    sound(&world);
}

#[test]
fn another_address_that_is_asked_for_is_refused_as_well() {
    let mut world = World::default();
    let had = world.give(&sticky_machine("source", "u-1"))[0];
    let asking = on_node(sticky_machine("target", "u-2").requesting(&["10.0.0.77"]), "n2");
    let refusal = world.add(&asking.with_pod_check("u-1", lives())).unwrap_err();
    assert!(matches!(&refusal, Refusal::OwnerHoldsOther { ip, .. } if *ip == had), "{refusal}");
    // The owner's own address may be requested.
    let asking = on_node(sticky_machine("target", "u-2").requesting(&[&had.to_string()]), "n2");
    assert_eq!(world.give(&asking.with_pod_check("u-1", lives())), [had]);
    sound(&world);
}

/// The address that pods request.
const ASKED: &str = "10.0.0.77";

/// A pod of StatefulSet pg that requests an address, and its next pod, which requests nothing.
fn changing_form() -> (Call, Call) {
    (of_set("a", "pg-0", "u-1").requesting(&[ASKED]), on_node(of_set("b", "pg-0", "u-2"), "n2"))
}

#[test]
fn an_address_held_by_request_is_all_that_the_owners_next_pod_gets_if_it_asks_for_nothing() {
    let mut world = World::default();
    let (first, next) = changing_form();
    world.give(&first);
    let before = world.state.clone();
    let unknown = || Err(InUseReason::LookupFailed(Cause::new("the API server is down")));
    for verdict in [None, Some(lives()), Some(unknown())] {
        let next = verdict.into_iter().fold(next.clone(), |call, verdict| call.with_pod_check("u-1", verdict));
        let refusal = world.add(&next).unwrap_err();
        assert!(matches!(&refusal, Refusal::Held { ip: held, .. } if *held == ip(ASKED)), "{refusal}");
        assert_eq!(world.state, before);
    }
    // A pod that ended without a DEL leaves it to the next one. From then on, it is reserved.
    let allocation = world.add(&next.with_pod_check("u-1", Ok(GoneReason::NotFound))).unwrap();
    assert_eq!(addresses(&allocation), [ip(ASKED)]);
    assert!(world.del(&attachment("a")).freed.is_empty());
    world.del_written(&allocation);
    assert_eq!(world.give(&of_set("c", "pg-0", "u-3")), [ip(ASKED)]);
    sound(&world);
}

#[test]
fn an_address_held_by_request_is_shared_with_the_target_of_a_migration_that_asks_for_nothing() {
    let mut world = World::default();
    let source = world.add(&sticky_machine("source", "u-1").requesting(&[ASKED])).unwrap();
    let target = world.add(&on_node(sticky_machine("target", "u-2").with_pod_check("u-1", lives()), "n2")).unwrap();
    assert_eq!(addresses(&target), [ip(ASKED)]);
    // The target is a sticky pod, also of a stopped machine.
    world.del_written(&source);
    world.del_written(&target);
    assert_eq!(lease(&world, ASKED).unwrap().state(), LeaseState::Reserved);
    assert_eq!(world.give(&sticky_machine("again", "u-3")), [ip(ASKED)]);
    sound(&world);
}

#[test]
fn a_target_that_can_t_have_the_address_held_by_request_is_refused() {
    let mut world = World::default();
    let asked = "10.1.0.77";
    let source = world.add(&on_rack(1, sticky_machine("source", "u-1").requesting(&[asked]))).unwrap();
    let target = || on_rack(2, sticky_machine("target", "u-2"));
    let refusal = world.add(&target().with_pod_check("u-1", lives())).unwrap_err();
    assert!(matches!(&refusal, Refusal::OwnerHoldsOther { ip: held, .. } if *held == ip(asked)), "{refusal}");
    // Another requested address would also be a second one.
    let other = target().requesting(&["10.2.0.78"]);
    let refusal = world.add(&other.with_pod_check("u-1", lives())).unwrap_err();
    assert!(matches!(&refusal, Refusal::OwnerHoldsOther { ip: held, .. } if *held == ip(asked)), "{refusal}");
    world.del_written(&source);
    assert!(rack(2).sets[0].range_of(world.give(&target())[0]).is_some());
    sound(&world);
}

#[test]
fn an_address_held_by_request_is_not_reserved_after_its_release() {
    for with_record in [false, true] {
        let mut world = World::default();
        let (first, next) = changing_form();
        let allocation = world.add(&first).unwrap();
        assert_eq!((world.keys("id/").len(), world.requests), (1, 2));
        match with_record {
            true => world.del_written(&allocation),
            false => world.del(&attachment("a")),
        };
        assert_eq!(world.requests, if with_record { 1 } else { 3 });
        // Only its cooldown is left, and anyone can request it.
        assert_eq!(world.keys("id/"), [""; 0]);
        assert_eq!(lease(&world, ASKED).unwrap().state(), LeaseState::Resting);
        let given = world.give(&next);
        assert_ne!(given, [ip(ASKED)]);
        world.give(&Call::of("c", &subnet("10.0.0.0/24")).requesting(&[ASKED]));
        sound(&world);
    }
}

#[test]
fn a_note_of_an_address_that_somebody_else_has_by_now_binds_nobody() {
    let mut world = World::default();
    let (first, next) = changing_form();
    world.give(&first);
    // The pod is gone. Its address goes to another pod and is released again.
    let other = Call::of("c", &subnet("10.0.0.0/24")).of_pod("web", "u-9", 1).requesting(&[ASKED]);
    world.give(&other.with_pod_check("u-1", Ok(GoneReason::NotFound)));
    assert_eq!(world.keys("id/").len(), 1);
    let given = world.add(&next).unwrap();
    assert_ne!(addresses(&given), [ip(ASKED)]);
    assert!(given.given_up.is_empty(), "it was not reserved");
    assert_eq!(holders(&world, ASKED), ["c"]);
    sound(&world);
}

#[test]
fn the_release_of_an_address_held_by_request_leaves_a_reservation_beside_it() {
    let dual = network(vec![vec![range("10.0.0.0/24")], vec![range("fd00::/64")]]);
    let on_dual = |call: Call| Call { network: dual.clone(), ..call };
    let mut world = World::default();
    let (first, next) = changing_form();
    let had = world.give(&on_dual(first));
    assert_eq!(had[0], ip(ASKED));
    world.del(&attachment("a"));
    let given = world.give(&on_dual(next));
    assert_eq!((given[0] == had[0], given[1] == had[1]), (false, true));
    sound(&world);
}

#[test]
fn what_the_operator_releases_is_noted_no_more() {
    let mut world = World::default();
    let (first, next) = changing_form();
    world.give(&first);
    let entry = super::world::entries(&world.state, "ip/").remove(0);
    world.decide(&mut Evict::new(super::world::name("default"), ip(ASKED), entry.revision));
    assert_eq!((world.keys("id/"), lease(&world, ASKED).unwrap().state()), (vec![], LeaseState::Resting));
    world.give(&next);
    sound(&world);
}

#[test]
fn an_address_that_is_asked_for_again_is_noted_by_the_pod_that_has_it() {
    let mut world = World::default();
    world.give(&sticky_machine("source", "u-1").requesting(&[ASKED]));
    let target =
        world.add(&sticky_machine("target", "u-2").requesting(&[ASKED]).with_pod_check("u-1", lives())).unwrap();
    world.del(&attachment("source"));
    let third = on_node(sticky_machine("third", "u-3").with_pod_check("u-2", Ok(GoneReason::NotFound)), "n3");
    assert_eq!(world.give(&third), [ip(ASKED)]);
    world.del_written(&target);
    assert_eq!(holders(&world, ASKED), ["third"]);
    sound(&world);
}

#[test]
fn of_several_range_sets_each_counts() {
    let dual = network(vec![vec![range("10.1.0.0/24")], vec![range("fd00::/64")]]);
    let mut world = World::default();
    let had = world.give(&Call { network: dual, ..sticky_machine("source", "u-1") });
    // The target's node draws from the first set alone.
    let target = || on_rack(1, sticky_machine("target", "u-2"));
    let refusal = world.add(&target().with_pod_check("u-1", lives())).unwrap_err();
    assert!(matches!(&refusal, Refusal::OwnerHoldsOther { ip, .. } if *ip == had[1]), "{refusal}");
}

#[test]
fn of_a_machines_pods_one_that_lives_is_enough() {
    let mut world = World::default();
    let on_request =
        |container: &str, uid: &str| on_rack(1, sticky_machine(container, uid)).with_pod_check("u-1", lives());
    let had = world.give(&on_request("source", "u-1"))[0];
    world.give(&on_node(on_request("second", "u-2"), "n3"));
    let third = on_rack(2, sticky_machine("third", "u-3"))
        .with_pod_check("u-1", Ok(GoneReason::NotFound))
        .with_pod_check("u-2", lives());
    let refusal = world.add(&third).unwrap_err();
    let Refusal::OwnerHoldsOther { ip, holder, .. } = &refusal else { panic!("{refusal}") };
    assert_eq!((*ip, holder.id.container.as_str()), (had, "second"));
}

#[test]
fn an_address_that_is_not_sticky_binds_no_owner() {
    let mut world = World::default();
    let had = world.give(&on_rack(1, of_machine("source", "u-1")));
    assert_ne!(world.give(&on_rack(2, of_machine("target", "u-2").with_pod_check("u-1", lives()))), had);
}

#[test]
fn an_address_that_somebody_else_has_is_reported_as_given_up() {
    let mut world = World::default();
    let had = world.give(&of_set("a", "pg-0", "u-1"));
    let id = crate::store::Key::new(world.keys("id/").remove(0));
    let reservation = world.text(&id).unwrap();
    let entry = super::world::entries(&world.state, "ip/").remove(0);
    world.decide(&mut crate::ipam::decide::Evict::new(super::world::name("default"), had[0], entry.revision));
    world.give(&Call::of("b", &subnet("10.0.0.0/24")).requesting(&[&had[0].to_string()]));
    world.put(id, reservation);
    let allocation = world.add(&of_set("c", "pg-0", "u-2")).unwrap();
    let [given_up] = &allocation.given_up[..] else { panic!("{allocation:?}") };
    assert_eq!((given_up.ip, given_up.reason), (had[0], GiveUpReason::TakenByOther));
    assert_eq!(attachment("c"), allocation.attachment.holder.unwrap().id);
}
