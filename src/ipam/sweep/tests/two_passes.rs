//! Two passes over a store: what changes between them is not judged.

use super::{add, first_pass, rules, second_pass};
use crate::ipam::decide::tests::world::{World, attachment};
use crate::ipam::sweep::{Nominations, PodEntry, PodSnapshot};

/// The nominations of a first pass, with a list of these pods of namespace db.
fn nominations(world: &World, pods: &[(String, String)]) -> Nominations {
    let listed = |(name, uid): &(String, String)| PodEntry {
        namespace: "db".to_owned(),
        name: name.clone(),
        uids: vec![uid.clone()],
    };
    first_pass(world, PodSnapshot::new(pods.iter().map(listed)), &rules())
}

/// The number of candidates of a second pass.
fn candidates(world: &World, nominations: Nominations) -> usize {
    second_pass(world, nominations).leaks.candidates.len()
}

#[test]
fn what_was_written_after_the_first_pass_is_no_candidate_of_its_scan() {
    let others = [("other".to_owned(), "u-other".to_owned())];
    let mut world = World::default();
    world.give(&add("c1", "db-0", "u-1", 100).requesting(&["10.0.0.5"]));
    world.wait(600);
    assert_eq!(candidates(&world, nominations(&world, &others)), 1);
    let nominated = nominations(&world, &others);
    // This pod was created after the list.
    world.del(&attachment("c1"));
    world.give(&add("c2", "db-1", "u-2", 200).requesting(&["10.0.0.5"]));
    world.wait(600);
    assert_eq!(candidates(&world, nominated), 0);
}

#[test]
fn leases_that_are_in_order_are_not_read_again() {
    let pods: Vec<(String, String)> = (0..200).map(|n| (format!("db-{n}"), format!("u-{n}"))).collect();
    let mut world = World::default();
    for (boottime, (pod, uid)) in (100..).zip(&pods) {
        world.give(&add(&format!("c-{pod}"), pod, uid, boottime));
    }
    world.wait(600);
    assert!(nominations(&world, &pods).next_batch().is_none());
    // Only the missing pod's address.
    assert_eq!(candidates(&world, nominations(&world, &pods[1..])), 1);
    assert_eq!(nominations(&world, &pods[1..]).next_batch().map(|mut batch| batch.take_wanted().len()), Some(1));
}
