//! Two passes over a store: what changes between them is judged by neither.

use super::{add, rules};
use crate::ipam::decide::tests::world::{World, attachment};
use crate::ipam::keys;
use crate::ipam::lease::Stored;
use crate::ipam::sweep::{LeaseScan, Nominations, PodEntry, PodSnapshot};
use crate::store::{Entry, Key, KeySpan};

fn entries(world: &World, span: &KeySpan) -> Vec<Entry> {
    world.state.range(span).collect()
}

fn entry(world: &World, key: &Key) -> Option<Entry> {
    entries(world, &KeySpan::from_to(key.clone(), key.clone().successor())).pop()
}

/// What the first pass over a world shows, with a list of these pods of namespace db.
fn first_pass(world: &World, pods: &[(String, String)]) -> Nominations {
    let mut leases = LeaseScan::new(world.now(), rules());
    for Entry { key, value, revision } in entries(world, &keys::all_leases()) {
        let (vrf, ip) = keys::read_lease(&key).unwrap();
        leases.note(&vrf, ip, revision, &Stored::read(&value));
    }
    let mut attachments = leases.into_attachments();
    for Entry { key, value, revision } in entries(world, &keys::all_attachments()) {
        attachments.note(keys::read_attachment(&key).unwrap(), revision, &Stored::read(&value));
    }
    let listed = |(name, uid): &(String, String)| PodEntry {
        namespace: "db".to_owned(),
        name: name.clone(),
        uids: vec![uid.clone()],
    };
    attachments.into_nominations(PodSnapshot::new(pods.iter().map(listed)))
}

/// How many candidates the second pass over a world shows.
fn candidates(world: &World, mut nominations: Nominations) -> usize {
    let mut found = 0;
    while let Some(mut batch) = nominations.next_batch() {
        loop {
            let wanted = batch.take_wanted();
            if wanted.is_empty() {
                break;
            }
            wanted.iter().filter_map(|key| entry(world, key)).for_each(|entry| batch.note(&entry, &nominations));
        }
        found += batch.find_leaks().0.candidates.len();
    }
    found
}

#[test]
fn what_was_written_after_the_first_pass_is_no_candidate_of_its_scan() {
    let others = [("other".to_owned(), "u-other".to_owned())];
    let mut world = World::default();
    world.give(&add("c1", "db-0", "u-1", 100).asking(&["10.0.0.5"]));
    world.wait(600);
    assert_eq!(candidates(&world, first_pass(&world, &others)), 1);
    let nominations = first_pass(&world, &others);
    // The pods were listed before this pod was made.
    world.del(&attachment("c1"));
    world.give(&add("c2", "db-1", "u-2", 200).asking(&["10.0.0.5"]));
    world.wait(600);
    assert_eq!(candidates(&world, nominations), 0);
}

#[test]
fn leases_that_are_in_order_are_not_read_again() {
    let pods: Vec<(String, String)> = (0..200).map(|n| (format!("db-{n}"), format!("u-{n}"))).collect();
    let mut world = World::default();
    for (boottime, (pod, uid)) in (100..).zip(&pods) {
        world.give(&add(&format!("c-{pod}"), pod, uid, boottime));
    }
    world.wait(600);
    assert!(first_pass(&world, &pods).next_batch().is_none());
    // One that is missing, and nothing else.
    assert_eq!(candidates(&world, first_pass(&world, &pods[1..])), 1);
    assert_eq!(first_pass(&world, &pods[1..]).next_batch().map(|mut batch| batch.take_wanted().len()), Some(1));
}
