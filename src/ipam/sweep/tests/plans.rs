//! Two looks, and the release of what goes.

use insta::assert_snapshot;

use super::{add, observe, rules};
use crate::ipam::decide::tests::world::{World, attachment, ip, name};
use crate::ipam::decide::{Discard, Discarded, Evict, Evicted};
use crate::ipam::sweep::{Judgement, Plan, Spared, Target, judge};
use crate::ipam::takeover::Shown;

/// A pod that nobody asks about, so that no list is empty.
const OTHER: (&str, &str) = ("other", "u-other");

fn look(world: &World) -> Judgement {
    judge(&observe(world, Some(&[OTHER])), &rules())
}

/// The plan after two looks between which this happens.
fn plan(world: &mut World, between: impl FnOnce(&mut World)) -> Plan {
    let first = look(world);
    between(world);
    first.confirm(look(world), 0.2)
}

fn one() -> World {
    let mut world = World::default();
    world.give(&add("c1", "db-0", "u-1", 100).asking(&["10.0.0.5"]));
    world.wait(600);
    world
}

#[test]
fn only_what_both_looks_show_at_one_revision_goes() {
    let mut world = one();
    assert_eq!(plan(&mut world, |_| ()).going.len(), 1);
    let released_and_given_again = plan(&mut world, |world| {
        world.del(&attachment("c1"));
        world.give(&add("c2", "db-0", "u-1", 200).asking(&["10.0.0.5"]));
        world.wait(600);
    });
    let found = released_and_given_again.staying[0].finding.clone();
    assert!(released_and_given_again.going.is_empty());
    assert_eq!(found, crate::ipam::sweep::Finding::Stays(Spared::New));
    let given_meanwhile = plan(&mut World::default(), |world| *world = one());
    assert!(given_meanwhile.going.is_empty() && given_meanwhile.staying.len() == 1);
    let released_meanwhile = plan(&mut one(), |world| drop(world.del(&attachment("c1"))));
    assert_eq!(released_meanwhile, Plan::default());
    // A list came only with the second look.
    let world = one();
    let first = judge(&observe(&world, None), &rules());
    assert!(first.confirm(look(&world), 0.2).going.is_empty());
}

#[test]
fn a_share_of_more_than_twenty_addresses_stops_the_sweep() {
    for (dead, living, stops) in [(20, 0, false), (21, 0, true), (5, 20, false), (6, 20, true), (4, 16, false)] {
        let mut world = World::default();
        for i in 0..dead {
            world.give(&add(&format!("d{i}"), &format!("d-{i}"), &format!("u-d{i}"), 100));
        }
        for i in 0..living {
            let uid = format!("u-{i}");
            world.give(&add(&format!("c{i}"), "living", &uid, 100));
        }
        world.wait(600);
        let pods: Vec<(String, String)> = (0..living).map(|i| ("living".to_owned(), format!("u-{i}"))).collect();
        let mut pods: Vec<(&str, &str)> = pods.iter().map(|(name, uid)| (name.as_str(), uid.as_str())).collect();
        pods.push(OTHER);
        let look = || judge(&observe(&world, Some(&pods)), &rules());
        let plan = look().confirm(look(), 0.2);
        assert_eq!((plan.going.len(), plan.stopped.is_some()), (dead, stops), "{dead} of {}", dead + living);
        assert_eq!(look().confirm(look(), 1.0).stopped, None);
        if let Some(stopped) = plan.stopped.filter(|_| living == 0) {
            assert_snapshot!(stopped, @"nothing is freed: 21 of 21 held addresses would go, which is more than the share of 0.2 (sweep.maxShare, --max-share); see that the API server is that of these pods, and look at --dry-run");
        }
    }
}

#[test]
fn an_address_that_passed_on_after_the_second_look_is_not_freed() {
    let mut world = one();
    let suspect = plan(&mut world, |_| ()).going.remove(0);
    assert_eq!(suspect.target, Target::Address { vrf: name("default"), ip: ip("10.0.0.5") });
    let heir = add("c2", "db-1", "u-2", 100).asking(&["10.0.0.5"]).told("u-1", Ok(Shown::Gone));
    world.give(&heir);
    let before = world.state.clone();
    let evicted = world.decide(&mut Evict::new(name("default"), ip("10.0.0.5"), suspect.revision));
    assert_eq!((evicted, &world.state), (Evicted::Changed, &before));
}

#[test]
fn an_entry_that_was_written_after_the_second_look_is_not_removed() {
    let mut world = World::default();
    world.del_fenced(&attachment("c1"));
    world.wait(3600);
    let suspect = plan(&mut world, |_| ()).going.remove(0);
    world.give(&add("c1", "db-0", "u-1", 100));
    let before = world.state.clone();
    let discarded = world.decide(&mut Discard::new(attachment("c1"), suspect.revision));
    assert_eq!((discarded, &world.state), (Discarded::Changed, &before));
}

#[test]
fn an_entry_goes_and_its_removal_can_be_repeated_after_silence() {
    let mut world = World::default();
    world.del_fenced(&attachment("c1"));
    world.wait(3600);
    let suspect = plan(&mut world, |_| ()).going.remove(0);
    for _ in 0..2 {
        assert_eq!(world.decide(&mut Discard::new(attachment("c1"), suspect.revision)), Discarded::Gone);
        assert_eq!(world.keys("at/"), [""; 0]);
    }
}
