//! What a restored store says of stable identities once their pods are written back.

use std::net::IpAddr;

use crate::ipam::decide::tests::sticky::{lives, of_set, on_node, owner, sticky_machine};
use crate::ipam::decide::tests::world::{Call, World, addresses, contradictions, ip, name};
use crate::ipam::decide::{Allocation, Decide, Step};
use crate::ipam::keys;
use crate::ipam::lease::{self, Stored};
use crate::ipam::recovery::{WriteBack, WrittenBack};
use crate::ipam::reservation::{Owner, OwnerKind, Reservation};
use crate::store::{Key, MemoryMap};

const REQUESTED: &str = "10.0.0.77";

fn back(world: &mut World, call: &Call, allocation: &Allocation) {
    let written = world.decide(&mut WriteBack::new(world.order, call.id.clone(), allocation.written()));
    assert!(matches!(written, WrittenBack::Back(_)), "{written:?}");
    assert_eq!(contradictions(&world.state), [""; 0]);
}

fn key(call: &Call) -> Key {
    keys::reservation(&name("default"), &call.sticky.as_ref().unwrap().owner, &call.id)
}

fn reservation(world: &World, call: &Call) -> Option<Reservation> {
    Some(Stored::read(world.text(&key(call))?.as_bytes()).known().unwrap())
}

fn reserves(world: &World, call: &Call) -> Vec<IpAddr> {
    reservation(world, call).map(|reservation| reservation.addresses).unwrap_or_default()
}

#[test]
fn what_is_written_back_of_an_owner_is_what_its_add_wrote() {
    for call in
        [of_set("a", "pg-1", "u-1"), sticky_machine("a", "u-1"), sticky_machine("a", "u-1").requesting(&[REQUESTED])]
    {
        let mut world = World::default();
        let allocation = world.add(&call).unwrap();
        let before = world.text(&key(&call)).unwrap();
        world.state = MemoryMap::default();
        back(&mut world, &call, &allocation);
        assert_eq!(world.text(&key(&call)).unwrap(), before);
    }
}

#[test]
fn the_next_pod_of_an_owner_has_its_address_also_after_a_restore() {
    let mut world = World::default();
    let first = of_set("a", "pg-1", "u-1");
    let allocation = world.add(&first).unwrap();
    world.state = MemoryMap::default();
    back(&mut world, &first, &allocation);
    world.del(&first.id);
    world.wait(100_000);
    assert_eq!(world.give(&on_node(of_set("b", "pg-1", "u-2"), "n2")), addresses(&allocation));
}

#[test]
fn an_address_held_by_request_is_all_that_the_owners_next_pod_gets_also_after_a_restore() {
    let mut world = World::default();
    let source = sticky_machine("source", "u-1").requesting(&[REQUESTED]);
    let allocation = world.add(&source).unwrap();
    world.state = MemoryMap::default();
    back(&mut world, &source, &allocation);
    let target = on_node(sticky_machine("target", "u-2").with_pod_check("u-1", lives()), "n2");
    assert_eq!(world.give(&target), [ip(REQUESTED)]);
}

#[test]
fn the_del_of_what_was_written_back_removes_its_note() {
    let mut world = World::default();
    let call = sticky_machine("a", "u-1").requesting(&[REQUESTED]);
    let allocation = world.add(&call).unwrap();
    world.state = MemoryMap::default();
    back(&mut world, &call, &allocation);
    world.del(&call.id);
    assert_eq!(reservation(&world, &call), None);
}

/// A store that has an entry of the owner which names another address: of the backup, or of an ADD since.
fn restored_with(world: &mut World, call: &Call, of: Owner, mut reservation: Reservation) {
    world.state = MemoryMap::default();
    reservation.owner = of;
    world.put(key(call), lease::write(&reservation));
}

#[test]
fn an_entry_that_the_store_has_keeps_what_it_names_behind_what_was_lost() {
    let mut world = World::default();
    let call = of_set("a", "pg-1", "u-1");
    let allocation = world.add(&call).unwrap();
    let lost = addresses(&allocation)[0];
    let of = || owner(OwnerKind::StatefulSet, "pg", Some("pg-1"));
    let stored = |ips: &[IpAddr]| Reservation::new(of(), ips.to_vec());
    let with_note = Reservation { asked: vec![lost, ip("10.0.0.9")], ..stored(&[ip(REQUESTED)]) };
    restored_with(&mut world, &call, of(), with_note);
    back(&mut world, &call, &allocation);
    let joined = reservation(&world, &call).unwrap();
    assert_eq!((joined.addresses, joined.asked), (vec![lost, ip(REQUESTED)], vec![ip("10.0.0.9")]));
    // The StatefulSet was made anew since: it is the same identity, and the entry says which object it was of.
    let of_another = Owner { uid: "o-2".to_owned(), ..of() };
    restored_with(&mut world, &call, of_another.clone(), stored(&[lost, ip(REQUESTED)]));
    let before = world.text(&key(&call));
    back(&mut world, &call, &allocation);
    assert_eq!(world.text(&key(&call)), before, "it names the address already");
    restored_with(&mut world, &call, of_another.clone(), stored(&[]));
    back(&mut world, &call, &allocation);
    assert_eq!((reserves(&world, &call), reservation(&world, &call).unwrap().owner), (vec![lost], of_another));
}

#[test]
fn an_entry_of_another_identity_or_that_cant_be_read_is_left_alone() {
    let mut world = World::default();
    let claim = owner(OwnerKind::IpamClaim, "vm1.data", None);
    let mut call = sticky_machine("a", "u-1");
    call.sticky.as_mut().unwrap().owner = claim.clone();
    let allocation = world.add(&call).unwrap();
    // Another claim of that name has been made since.
    let of_another = Owner { uid: "o-2".to_owned(), ..claim };
    let stored = Reservation::new(of_another.clone(), vec![ip(REQUESTED)]);
    restored_with(&mut world, &call, of_another, stored);
    for unreadable in [None, Some(r#"{"v":99}"#), Some("{")] {
        if let Some(text) = unreadable {
            world.state = MemoryMap::default();
            world.put(key(&call), text);
        }
        let before = world.text(&key(&call));
        back(&mut world, &call, &allocation);
        assert_eq!(world.text(&key(&call)), before);
    }
}

#[test]
fn a_requested_address_is_not_noted_beside_others() {
    let mut world = World::default();
    let call = sticky_machine("a", "u-1").requesting(&[REQUESTED]);
    let allocation = world.add(&call).unwrap();
    let of = call.sticky.as_ref().unwrap().owner.clone();
    restored_with(&mut world, &call, of.clone(), Reservation::new(of, vec![ip("10.0.0.9")]));
    let before = world.text(&key(&call));
    back(&mut world, &call, &allocation);
    world.del(&call.id);
    assert_eq!(world.text(&key(&call)), before, "the DEL would remove both");
}

#[test]
fn an_entry_that_is_written_meanwhile_is_read_again() {
    let mut world = World::default();
    let call = of_set("a", "pg-1", "u-1");
    let allocation = world.add(&call).unwrap();
    let of = call.sticky.as_ref().unwrap().owner.clone();
    world.state = MemoryMap::default();
    let mut machine = WriteBack::new(world.order, call.id.clone(), allocation.written());
    let now = world.now();
    let Step::Commit(look) = machine.start(now) else { panic!() };
    let seen = world.state.commit(&look);
    world.put(key(&call), lease::write(&Reservation::new(of, vec![ip(REQUESTED)])));
    let mut step = machine.next(&seen, now);
    while let Step::Commit(txn) = step {
        step = machine.next(&world.state.commit(&txn), now);
    }
    assert!(matches!(step, Step::Done(WrittenBack::Back(_))), "{step:?}");
    assert_eq!(reserves(&world, &call), [addresses(&allocation)[0], ip(REQUESTED)]);
}
