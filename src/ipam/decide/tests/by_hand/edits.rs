//! Edits of reservations by hand: all of a batch or nothing, as it was shown or not at all.

use super::*;
use crate::ipam::decide::{Decide, Step};
use crate::ipam::recovery::Recovery;
use crate::store::Key;

fn free(address: &str) -> LeaseEdit {
    LeaseEdit::reserve(&name("default"), ip(address), None, said(""))
}

fn edit(world: &mut World, edits: Vec<LeaseEdit>) -> Edited {
    world.decide(&mut EditLeases::new(name("default"), edits))
}

fn stale(ips: &[&str]) -> Edited {
    Edited::Stale { ips: ips.iter().map(|text| ip(text)).collect(), in_doubt: false }
}

#[test]
fn an_address_that_changed_since_it_was_shown_leaves_all_of_them_as_they_are() {
    for change in [
        |world: &mut World| drop(world.give(&fixed("a", "web", "u-1", "10.0.0.6"))),
        |world: &mut World| reserve(world, &["10.0.0.6"], &said("db/other")),
        |world: &mut World| {
            world.give(&fixed("a", "web", "u-1", "10.0.0.6"));
            world.del(&attachment("a"));
        },
    ] {
        let mut world = World::default();
        let edits = vec![free("10.0.0.5"), free("10.0.0.6"), free("10.0.0.7")];
        change(&mut world);
        let before = world.state.clone();
        assert_eq!(edit(&mut world, edits), stale(&["10.0.0.6"]));
        assert_eq!(world.state, before);
    }
}

#[test]
fn a_resting_address_is_reserved_and_its_cooldown_ends() {
    let mut world = World::default();
    world.give(&fixed("a", "web", "u-1", "10.0.0.5"));
    world.del(&attachment("a"));
    assert_eq!(world.keys("rest/").len(), 1);
    reserve(&mut world, &["10.0.0.5"], &said(""));
    assert_eq!(world.keys("rest/").len(), 0);
    is_kept(&world, "10.0.0.5", &said(""));
}

#[test]
fn a_reservation_that_ended_or_passed_on_since_it_was_shown_is_not_ended_again() {
    let mut world = World::default();
    reserve(&mut world, &["10.0.0.5"], &said("db/web"));
    let (revision, _) = seen(&world, "10.0.0.5").unwrap();
    let end = || vec![LeaseEdit::end(ip("10.0.0.5"), revision)];
    world.give(&fixed("a", "web", "u-1", "10.0.0.5"));
    assert_eq!(edit(&mut world, end()), stale(&["10.0.0.5"]));
    assert_eq!(holders(&world, "10.0.0.5"), ["a"]);
    world.del(&attachment("a"));
    let (revision, _) = seen(&world, "10.0.0.5").unwrap();
    let end = || vec![LeaseEdit::end(ip("10.0.0.5"), revision)];
    assert_eq!(edit(&mut world, end()), Edited::Written);
    assert_eq!(edit(&mut world, end()), stale(&["10.0.0.5"]));
    sound(&world);
}

#[test]
fn a_move_changes_both_addresses_or_none() {
    let mut world = World::default();
    reserve(&mut world, &["10.0.0.5"], &said("db/web"));
    let (revision, lease) = seen(&world, "10.0.0.5").unwrap();
    let manual = lease.manual.clone().unwrap();
    let moved = || {
        let there = LeaseEdit::reserve(&name("default"), ip("10.0.0.6"), None, manual.clone());
        vec![LeaseEdit::end(ip("10.0.0.5"), revision), there]
    };
    world.give(&fixed("b", "other", "u-2", "10.0.0.6"));
    assert_eq!(edit(&mut world, moved()), stale(&["10.0.0.6"]));
    is_kept(&world, "10.0.0.5", &manual);
    let (seen_at, resting) = {
        world.del(&attachment("b"));
        seen(&world, "10.0.0.6").unwrap()
    };
    let there = LeaseEdit::reserve(&name("default"), ip("10.0.0.6"), Some((seen_at, &resting)), manual.clone());
    assert_eq!(edit(&mut world, vec![LeaseEdit::end(ip("10.0.0.5"), revision), there]), Edited::Written);
    is_kept(&world, "10.0.0.6", &manual);
    assert_eq!(super::lease(&world, "10.0.0.5"), None);
    sound(&world);
}

#[test]
fn a_reservation_goes_to_somebody_else_while_its_pod_keeps_the_address() {
    let mut world = World::default();
    reserve(&mut world, &["10.0.0.5"], &said("db/web"));
    world.give(&fixed("a", "web", "u-1", "10.0.0.5"));
    let other = || fixed("b", "other", "u-2", "10.0.0.5");
    let edits = vec![LeaseEdit::restate(ip("10.0.0.5"), seen(&world, "10.0.0.5").unwrap(), said("db/other"))];
    assert_eq!(edit(&mut world, edits), Edited::Written);
    sound(&world);
    assert_eq!(holders(&world, "10.0.0.5"), ["a"]);
    assert!(matches!(world.add(&other().with_pod_check("u-1", lives())), Err(Refusal::Held { .. })));
    // The sandbox of the pod that has it is made anew.
    let mut later = fixed("c", "web", "u-1", "10.0.0.5");
    later.began.boottime = 2;
    world.give(&later);
    world.del(&attachment("c"));
    is_kept(&world, "10.0.0.5", &said("db/other"));
    assert!(matches!(world.add(&fixed("d", "web", "u-3", "10.0.0.5")), Err(Refusal::ReservedByHand { .. })));
    world.give(&other());
    sound(&world);
}

#[test]
fn nothing_is_reserved_during_a_recovery() {
    let mut world = World::default();
    let recovery = Recovery::new("a test".to_owned(), None, at(0));
    world.put(keys::recovery(), serde_json::to_vec(&recovery).unwrap());
    let before = world.state.clone();
    let mut machine = EditLeases::new(name("default"), vec![free("10.0.0.5")]);
    let Step::Commit(txn) = machine.start(at(0)) else { panic!("it commits first") };
    let step = machine.next(&world.state.commit(&txn), at(0));
    assert!(matches!(step, Step::Refused(Refusal::Recovering { .. })), "{step:?}");
    assert_eq!(world.state, before);
}

#[test]
fn every_batch_fits_one_transaction_and_none_is_smaller_than_it_has_to_be() {
    let mut world = World::default();
    let address = |n: usize| format!("10.0.{}.{}", n / 200, n % 200 + 2);
    let resting: Vec<usize> = (0..500).filter(|n| n % 7 == 0).collect();
    for n in &resting {
        let call = Call::of(&format!("c{n}"), &subnet("10.0.0.0/16")).requesting(&[&address(*n)]);
        world.give(&call);
        world.del(&call.id);
    }
    let edits = |world: &World| -> Vec<LeaseEdit> {
        let edit = |n: usize| {
            let seen = seen(world, &address(n));
            let seen = seen.as_ref().map(|(revision, lease)| (*revision, lease));
            LeaseEdit::reserve(&name("default"), ip(&address(n)), seen, said(""))
        };
        (0..500).map(edit).collect()
    };
    let batches = LeaseEdit::batches(edits(&world));
    let sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
    // 72 of them need two writes, and a batch has 127.
    assert_eq!((batches.len(), sizes.iter().sum::<usize>()), ((500 + resting.len()).div_ceil(127), 500), "{sizes:?}");
    for batch in batches {
        assert_eq!(edit(&mut world, batch), Edited::Written);
    }
    assert_eq!((world.keys("rest/").len(), world.keys("ip/").len()), (0, 500));
    assert_eq!(LeaseEdit::batches((0..127).map(|n| free(&address(n))).collect()).len(), 1);
    assert_eq!(LeaseEdit::batches((0..128).map(|n| free(&address(n))).collect()).len(), 2);
    sound(&world);
}

#[test]
fn a_commit_without_an_answer_counts_once_whether_or_not_it_took_effect() {
    for took_effect in [false, true] {
        let mut world = World::default();
        let edits = vec![free("10.0.0.5"), free("10.0.0.6")];
        let mut machine = EditLeases::new(name("default"), edits);
        let Step::Commit(txn) = machine.start(at(0)) else { panic!("it commits first") };
        if took_effect {
            world.state.commit(&txn);
        }
        let Step::Commit(again) = machine.unanswered(at(0)) else { panic!("it is sent again") };
        assert_eq!(again, txn);
        let step = machine.next(&world.state.commit(&again), at(0));
        assert_eq!(step, Step::Done(Edited::Written), "{took_effect}");
        sound(&world);
    }
}

#[test]
fn what_another_operator_wrote_meanwhile_is_not_taken_for_the_lost_commit() {
    let mut world = World::default();
    let mut machine = EditLeases::new(name("default"), vec![free("10.0.0.5")]);
    let Step::Commit(_) = machine.start(at(0)) else { panic!("it commits first") };
    let Step::Commit(again) = machine.unanswered(at(0)) else { panic!("it is sent again") };
    reserve(&mut world, &["10.0.0.5"], &ManualReservation { at: at(1), ..said("") });
    let step = machine.next(&world.state.commit(&again), at(0));
    assert_eq!(step, Step::Done(Edited::Stale { ips: vec![ip("10.0.0.5")], in_doubt: true }));
}

#[test]
fn a_lease_of_hostile_text_counts_as_held() {
    let lease = Lease::reserved_by_hand(said(""));
    let text = String::from_utf8(crate::ipam::lease::write(&lease)).unwrap();
    for hostile in [r"\u001b[31m", r"\u202e", "", &"x".repeat(201)] {
        let text = text.replace("maintenance", hostile);
        let mut world = World::default();
        world.put(Key::new("ip/default/4/010.000.000.005"), text.as_bytes());
        let refusal = world.add(&fixed("a", "web", "u-1", "10.0.0.5")).unwrap_err();
        assert!(matches!(refusal, Refusal::Unreadable { .. }), "{refusal}");
    }
}
