//! One family of a dual-stack network: what happens to an owner's address of the other family.

use super::sticky::{lease, lives, of_set, sound};
use super::world::{Call, World, addresses, attachment, network, range};
use crate::ipam::address::Family;
use crate::ipam::decide::GiveUpReason;
use crate::ipam::refusal::Refusal;
use crate::ipam::takeover::GoneReason;
use crate::store::Key;

/// A pod of a StatefulSet, on a network of both families.
fn dual_stack(container: &str, uid: &str) -> Call {
    let network = network(vec![vec![range("10.0.0.0/24")], vec![range("fd00::/64")]]);
    Call { network, ..of_set(container, "pg-0", uid) }
}

fn of_family(family: &str, container: &str, uid: &str) -> Call {
    dual_stack(container, uid).annotated(&[("kube-ipam.eth0.families", family)])
}

#[test]
fn an_owner_that_takes_one_family_keeps_its_address_and_gives_the_other_up() {
    for (family, kept, left) in [("4", Family::V4, Family::V6), ("6", Family::V6, Family::V4)] {
        let mut world = World::default();
        let both = world.give(&dual_stack("a", "u-1"));
        let of = |family| both.iter().copied().find(|ip| Family::of(*ip) == family).unwrap();
        world.del(&attachment("a"));
        let one = world.add(&of_family(family, "b", "u-2")).unwrap();
        assert_eq!(addresses(&one), [of(kept)]);
        let [given_up] = &one.given_up[..] else { panic!("{:?}", one.given_up) };
        assert_eq!((given_up.ip, given_up.reason), (of(left), GiveUpReason::NotOffered));
        // The other address is in cooldown without an owner: neither leaked nor a second address of the owner.
        let rests = lease(&world, &of(left).to_string()).unwrap();
        assert!(rests.rest.is_some() && rests.owner.is_none(), "{rests:?}");
        let reservation = world.text(&Key::new(world.keys("id/").remove(0))).unwrap();
        assert!(!reservation.contains(&of(left).to_string()), "{reservation}");
        sound(&world);
        // Without the annotation, the pod gets an address of each family again.
        world.del(&attachment("b"));
        let again = world.give(&dual_stack("c", "u-3"));
        assert_eq!((again.len(), again.contains(&of(kept))), (2, true));
        sound(&world);
    }
}

#[test]
fn as_long_as_another_pod_of_the_owner_may_use_the_other_family_nothing_is_given_up() {
    let mut world = World::default();
    let both = world.give(&dual_stack("a", "u-1"));
    let before = world.state.clone();
    let refusal = world.add(&of_family("4", "b", "u-2").with_pod_check("u-1", lives())).unwrap_err();
    assert!(matches!(refusal, Refusal::Held { .. } | Refusal::OwnerHoldsOther { .. }), "{refusal}");
    assert_eq!(world.state, before);
    // Once that pod is gone, its address of the requested family is taken over. It holds the other one until its DEL.
    let one = world.give(&of_family("4", "b", "u-2").with_pod_check("u-1", Ok(GoneReason::NotFound)));
    assert_eq!(one, both[..1]);
    sound(&world);
    world.del(&attachment("a"));
    let rests = lease(&world, &both[1].to_string()).unwrap();
    assert!(rests.rest.is_some() && rests.owner.is_none(), "{rests:?}");
    sound(&world);
}

#[test]
fn a_repeated_add_has_what_it_had_whatever_its_pod_says_by_then() {
    let mut world = World::default();
    let both = world.give(&dual_stack("a", "u-1"));
    let again = world.add(&of_family("4", "a", "u-1")).unwrap();
    assert!(again.repeated);
    assert_eq!(addresses(&again), both);
}

#[test]
fn a_full_family_refuses_only_those_who_take_it() {
    let mut world = World::default();
    let sets = vec![vec![range("10.0.0.0/30")], vec![range("fd00::/64")]];
    let of = |container: &str, families: &str| {
        Call::of(container, &network(sets.clone())).annotated(&[("kube-ipam.eth0.families", families)])
    };
    world.give(&of("a", "4"));
    assert!(matches!(world.add(&of("b", "4")), Err(Refusal::Exhausted { .. })));
    let [six] = world.give(&of("c", "6"))[..] else { panic!() };
    assert!(six.is_ipv6());
}
