//! What is a sign, and what is none.

use std::num::NonZeroU64;

use crate::ipam::decide::tests::world::{Call, World, attachment, contradictions, cooling, entries, name, subnet};
use crate::ipam::decide::{Evict, Release};
use crate::ipam::keys;
use crate::ipam::lease::Written;
use crate::ipam::recovery::{EntryState, Examine, Sign, WriteBack, WrittenBack};
use crate::ipam::takeover::GoneReason;
use crate::store::{MemoryMap, Op, Revision, RevisionOrder, Txn};

fn revision(number: u64) -> Revision {
    Revision(NonZeroU64::new(number).unwrap())
}

#[test]
fn a_store_behind_what_it_has_answered_is_a_sign_and_a_write_can_not_even_come_to_the_same_revision() {
    struct Case {
        at: u64,
        seen: Option<u64>,
        wrote: bool,
        is_sign: bool,
    }
    for Case { at, seen, wrote, is_sign } in [
        Case { at: 5, seen: None, wrote: true, is_sign: false },
        Case { at: 5, seen: Some(4), wrote: true, is_sign: false },
        Case { at: 5, seen: Some(5), wrote: true, is_sign: true },
        Case { at: 5, seen: Some(5), wrote: false, is_sign: false },
        Case { at: 5, seen: Some(6), wrote: false, is_sign: true },
        Case { at: 5, seen: Some(6), wrote: true, is_sign: true },
    ] {
        let sign = Sign::behind(revision(at), seen.map(revision), wrote);
        assert_eq!(sign.is_some(), is_sign, "{at} after {seen:?}");
    }
}

/// How container a stands after this, by the record of its ADD.
fn after(cooldown: u64, happens: impl FnOnce(&mut World, &Written)) -> EntryState {
    after_on(RevisionOrder::Counted, cooldown, happens)
}

/// The same on a store with this order of revisions.
fn after_on(order: RevisionOrder, cooldown: u64, happens: impl FnOnce(&mut World, &Written)) -> EntryState {
    let mut world = World::with_order(order);
    let network = cooling(subnet("10.0.0.0/29"), cooldown, false);
    let written = world.add(&Call::of("a", &network).of_pod("a", "u-a", 100)).unwrap().written();
    world.wait(1);
    happens(&mut world, &written);
    world.decide(&mut Examine::new(world.order, attachment("a"), written)).1
}

fn address(written: &Written) -> std::net::IpAddr {
    written.leases[0].0
}

fn evict(world: &mut World, written: &Written) {
    let entry = entries(&world.state, "ip/").remove(0);
    world.decide(&mut Evict::new(name("default"), address(written), entry.revision));
}

#[test]
fn what_others_took_from_an_attachment_has_a_trace_and_what_the_store_has_lost_has_none() {
    assert_eq!(after(30, |_, _| ()), EntryState::InPlace);
    // A DEL that died before it removed its record.
    let del = |world: &mut World, _: &Written| drop(world.del(&attachment("a")));
    assert_eq!(after(30, del), EntryState::Released);
    let fenced = |world: &mut World, _: &Written| drop(world.del_fenced(&attachment("a")));
    assert_eq!(after(0, fenced), EntryState::Released);
    let another = |world: &mut World, written: &Written| {
        let key = keys::attachment(&attachment("a"));
        let text = world.text(&key).unwrap().replace(&address(written).to_string(), "10.0.0.6");
        world.put(key, text);
    };
    assert!(matches!(after(30, another), EntryState::Lost(Sign::Lacking { .. })));
    // The operator, or a sweep.
    assert!(matches!(after(30, evict), EntryState::Changed(_)));
    assert!(matches!(after(0, evict), EntryState::Changed(_)));
    let taken_over = |world: &mut World, written: &Written| {
        let asking = [&*address(written).to_string()];
        let call =
            Call::of("b", &subnet("10.0.0.0/29")).requesting(&asking).with_pod_check("u-a", Ok(GoneReason::NotFound));
        world.give(&call);
    };
    let EntryState::Changed(left) = after(30, taken_over) else { panic!() };
    assert_eq!((left.attachment.addresses.len(), left.leases.len()), (0, 0));
    let replaced = |world: &mut World, _: &Written| world.state = MemoryMap::default();
    assert!(matches!(after(30, replaced), EntryState::Lost(Sign::Missing { .. })));
    // Another was given the address by a store that had lost it.
    let given = |world: &mut World, written: &Written| {
        world.state = MemoryMap::default();
        world.give(&Call::of("b", &subnet("10.0.0.0/29")).requesting(&[&*address(written).to_string()]));
    };
    assert!(matches!(after(30, given), EntryState::Lost(Sign::Missing { .. })));
}

#[test]
fn an_entry_of_a_lower_revision_than_its_record_is_a_sign_whatever_it_says() {
    let mut world = World::default();
    let network = subnet("10.0.0.0/29");
    let call = Call::of("a", &network);
    let old = world.add(&call).unwrap();
    let backup = world.state.clone();
    // A repeated ADD writes the entry again.
    let repeated = world.add(&call).unwrap();
    assert!(repeated.repeated && repeated.revision.0 > old.revision.0);
    world.state = backup;
    let (_, entry_state) = world.decide(&mut Examine::new(world.order, attachment("a"), repeated.written()));
    assert!(matches!(entry_state, EntryState::Lost(Sign::Older { .. })), "{entry_state:?}");
    let (_, entry_state) = world.decide(&mut Examine::new(world.order, attachment("a"), old.written()));
    assert_eq!(entry_state, EntryState::InPlace);
}

#[test]
fn an_entry_that_can_not_be_read_is_no_sign() {
    let unreadable = |world: &mut World, _: &Written| {
        let put = Op::Put(keys::attachment(&attachment("a")), br#"{"v":9}"#.to_vec());
        world.commit(&Txn::new(Vec::new(), vec![put], Vec::new()).unwrap());
    };
    assert!(matches!(after(30, unreadable), EntryState::Unreadable(_)));
}

#[test]
fn where_revisions_have_no_order_the_content_of_an_entry_shows_what_was_lost() {
    fn after(cooldown: u64, happens: impl FnOnce(&mut World, &Written)) -> EntryState {
        after_on(RevisionOrder::Unordered, cooldown, happens)
    }
    assert_eq!(after(30, |_, _| ()), EntryState::InPlace);
    let repeated = |world: &mut World, _: &Written| {
        assert!(world.add(&Call::of("a", &subnet("10.0.0.0/29"))).unwrap().repeated);
    };
    let EntryState::Changed(left) = after(30, repeated) else { panic!() };
    assert_eq!((left.attachment.addresses.len(), left.leases.len()), (1, 1));
    assert!(matches!(after(0, evict), EntryState::Changed(_)));
    let del = |world: &mut World, _: &Written| drop(world.del(&attachment("a")));
    assert_eq!(after(30, del), EntryState::Released);
    let fenced = |world: &mut World, _: &Written| drop(world.del_fenced(&attachment("a")));
    assert_eq!(after(30, fenced), EntryState::Released);
    // The DEL of an earlier container of that ID may have left the same fence, and the backup has it.
    assert!(matches!(after(0, fenced), EntryState::Lost(Sign::Lacking { .. })));
    let replaced = |world: &mut World, _: &Written| world.state = MemoryMap::default();
    assert!(matches!(after(30, replaced), EntryState::Lost(Sign::Missing { .. })));
}

#[test]
fn an_address_that_an_earlier_container_of_the_same_id_lost_is_no_trace_of_the_later_ones_loss() {
    let mut world = World::with_order(RevisionOrder::Unordered);
    let call = |boottime| Call::of("a", &subnet("10.0.0.0/29")).requesting(&["10.0.0.4"]).of_pod("a", "u-a", boottime);
    let earlier = world.add(&call(100)).unwrap().written();
    evict(&mut world, &earlier);
    let backup = world.state.clone();
    world.del(&attachment("a"));
    let later = world.add(&call(200)).unwrap().written();
    world.state = backup;
    let (_, entry_state) = world.decide(&mut Examine::new(world.order, attachment("a"), earlier));
    assert!(matches!(entry_state, EntryState::Changed(_)), "{entry_state:?}");
    let (_, entry_state) = world.decide(&mut Examine::new(world.order, attachment("a"), later));
    assert!(matches!(entry_state, EntryState::Lost(Sign::OtherAdd { .. })), "{entry_state:?}");
}

#[test]
fn a_lease_that_somebody_deleted_is_a_sign_where_objects_can_be_deleted_one_by_one() {
    for order in [RevisionOrder::Unordered, RevisionOrder::Counted] {
        let delete = |world: &mut World, written: &Written| {
            let delete = Op::Delete(keys::lease(&name("default"), address(written)));
            world.commit(&Txn::new(Vec::new(), vec![delete], Vec::new()).unwrap());
        };
        let state = after_on(order, 30, delete);
        match order {
            RevisionOrder::Unordered => {
                assert!(matches!(state, EntryState::Lost(Sign::WithoutLease { .. })), "{state:?}");
            }
            RevisionOrder::Counted => assert_eq!(state, EntryState::InPlace),
        }
        // Somebody else may have been given it since.
        let give = |world: &mut World, written: &Written| {
            delete(world, written);
            world.give(&Call::of("b", &subnet("10.0.0.0/29")).requesting(&[&address(written).to_string()]));
        };
        let state = after_on(order, 30, give);
        assert_eq!(matches!(state, EntryState::Lost(_)), order == RevisionOrder::Unordered, "{state:?}");
    }
}

#[test]
fn a_lease_that_somebody_deleted_is_written_back() {
    let mut world = World::with_order(RevisionOrder::Unordered);
    let written = world.add(&Call::of("a", &subnet("10.0.0.0/29"))).unwrap().written();
    let lease = keys::lease(&name("default"), address(&written));
    world.commit(&Txn::new(Vec::new(), vec![Op::Delete(lease)], Vec::new()).unwrap());
    let WrittenBack::Back(back) = world.decide(&mut WriteBack::new(world.order, attachment("a"), written.clone()))
    else {
        panic!("nothing was written back")
    };
    assert_eq!(Written { revision: written.revision, ..*back }, written);
    assert_eq!(contradictions(&world.state), [""; 0]);
}

#[test]
fn an_entry_of_an_earlier_container_of_the_same_id_is_a_sign_also_with_the_same_addresses() {
    for order in [RevisionOrder::Unordered, RevisionOrder::Counted] {
        let mut world = World::with_order(order);
        let call =
            |boottime| Call::of("a", &subnet("10.0.0.0/29")).requesting(&["10.0.0.4"]).of_pod("a", "u-a", boottime);
        world.give(&call(100));
        let backup = world.state.clone();
        world.del(&attachment("a"));
        let later = world.add(&call(200)).unwrap().written();
        world.state = backup;
        let (_, state) = world.decide(&mut Examine::new(order, attachment("a"), later.clone()));
        assert!(matches!(state, EntryState::Lost(_)), "{order:?}: {state:?}");
        // What is written back is the later container's, and no sign any more.
        let WrittenBack::Back(written) = world.decide(&mut WriteBack::new(order, attachment("a"), later)) else {
            panic!("{order:?}: nothing was written back")
        };
        assert_eq!(written.attachment.holder.as_ref().unwrap().began.boottime, 200);
        let (_, state) = world.decide(&mut Examine::new(order, attachment("a"), *written));
        assert_eq!(state, EntryState::InPlace, "{order:?}");
    }
}

#[test]
fn a_del_notices_what_was_lost_on_a_store_of_any_order() {
    for order in [RevisionOrder::Counted, RevisionOrder::Unordered] {
        let mut world = World::with_order(order);
        let empty = world.state.clone();
        let written = world.add(&Call::of("a", &cooling(subnet("10.0.0.0/29"), 0, false))).unwrap().written();
        let full = world.state.clone();
        let release = Release::new(attachment("a"), name("default"), Some(written.clone()), false);
        let release = release.after_revision(order, None);
        evict(&mut world, &written);
        assert_eq!(world.release(release.clone()).sign, None, "{order:?}");
        world.state = empty;
        assert!(matches!(world.release(release.clone()).sign, Some(Sign::Missing { .. })), "{order:?}");
        world.state = full;
        assert_eq!(world.release(release).sign, None, "{order:?}");
        assert_eq!(world.requests, 1);
    }
}
