//! Two scans, and the release of what both confirm.

use insta::assert_snapshot;

use super::cases::migrating;
use super::{add, note, rules, scan};
use crate::cause::Cause;
use crate::ipam::decide::tests::sticky::of_set;
use crate::ipam::decide::tests::world::{World, attachment, contradictions, ip, name};
use crate::ipam::decide::{Discard, Discarded, Evict, Evicted};
use crate::ipam::sweep::{
    LeakCandidate, LeakReason, LeakReport, OwnerLookup, OwnerRef, Plan, SkipReason, Target, Verdict,
};
use crate::ipam::takeover::GoneReason;

/// Another pod, so that no list is empty.
const OTHER: (&str, &str) = ("other", "u-other");

fn leaks_of(world: &World) -> LeakReport {
    scan(world, Some(&[OTHER]), &rules())
}

/// The plan after two scans, with this in between.
fn plan(world: &mut World, between: impl FnOnce(&mut World)) -> Plan {
    let first = leaks_of(world);
    between(world);
    first.confirm(leaks_of(world), 0.2)
}

fn one() -> World {
    let mut world = World::default();
    world.give(&add("c1", "db-0", "u-1", 100).requesting(&["10.0.0.5"]));
    world.wait(600);
    world
}

#[test]
fn only_what_both_scans_show_at_one_revision_is_freed() {
    let mut world = one();
    assert_eq!(plan(&mut world, |_| ()).confirmed.len(), 1);
    let released_and_given_again = plan(&mut world, |world| {
        world.del(&attachment("c1"));
        world.give(&add("c2", "db-0", "u-1", 200).requesting(&["10.0.0.5"]));
        world.wait(600);
    });
    let found = released_and_given_again.skipped[0].verdict.clone();
    assert!(released_and_given_again.confirmed.is_empty());
    assert_eq!(found, crate::ipam::sweep::Verdict::Skipped(SkipReason::New));
    let given_meanwhile = plan(&mut World::default(), |world| *world = one());
    assert!(given_meanwhile.confirmed.is_empty() && given_meanwhile.skipped.len() == 1);
    let released_meanwhile = plan(&mut one(), |world| drop(world.del(&attachment("c1"))));
    assert_eq!(released_meanwhile, Plan::default());
    // Only the second scan had a list.
    let world = one();
    let first = scan(&world, None, &rules());
    assert!(first.confirm(leaks_of(&world), 0.2).confirmed.is_empty());
}

#[test]
fn a_share_of_more_than_twenty_addresses_stops_the_sweep() {
    for (dead, living, stops) in
        [(20, 0, false), (21, 0, true), (20, 1, false), (21, 83, true), (21, 84, false), (6, 20, false)]
    {
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
        let leaks_of = || scan(&world, Some(&pods), &rules());
        let plan = leaks_of().confirm(leaks_of(), 0.2);
        assert_eq!((plan.confirmed.len(), plan.stopped.is_some()), (dead, stops), "{dead} of {}", dead + living);
        assert_eq!(leaks_of().confirm(leaks_of(), 1.0).stopped, None);
        if let Some(stopped) = plan.stopped.filter(|_| living == 0) {
            assert_snapshot!(stopped, @"nothing was freed: 21 of 21 held addresses would be freed, more than the allowed share of 0.2 (sweep.maxShare, --max-share); check that the API server is the one that runs these pods, then look at --dry-run");
        }
    }
}

#[test]
fn an_address_that_was_taken_over_after_the_second_scan_is_not_freed() {
    let mut world = one();
    let candidate = plan(&mut world, |_| ()).confirmed.remove(0);
    assert_eq!(candidate.target, Target::Address { vrf: name("default"), ip: ip("10.0.0.5") });
    let heir = add("c2", "db-1", "u-2", 100).requesting(&["10.0.0.5"]).with_pod_check("u-1", Ok(GoneReason::NotFound));
    world.give(&heir);
    let before = world.state.clone();
    let evicted = world.decide(&mut Evict::new(name("default"), ip("10.0.0.5"), candidate.revision));
    assert_eq!((evicted, &world.state), (Evicted::Changed, &before));
}

#[test]
fn an_entry_that_was_written_after_the_second_scan_is_not_removed() {
    let mut world = World::default();
    world.del_fenced(&attachment("c1"));
    let first = leaks_of(&world);
    note(&mut world, &first);
    world.wait(3600);
    let candidate = plan(&mut world, |_| ()).confirmed.remove(0);
    world.give(&add("c1", "db-0", "u-1", 100));
    let before = world.state.clone();
    let discarded = world.decide(&mut Discard::new(attachment("c1"), candidate.revision));
    assert_eq!((discarded, &world.state), (Discarded::Changed, &before));
}

#[test]
fn an_entry_is_removed_and_its_removal_can_be_repeated_without_an_answer() {
    let mut world = World::default();
    world.del_fenced(&attachment("c1"));
    let first = leaks_of(&world);
    note(&mut world, &first);
    world.wait(3600);
    let candidate = plan(&mut world, |_| ()).confirmed.remove(0);
    for _ in 0..2 {
        assert_eq!(world.decide(&mut Discard::new(attachment("c1"), candidate.revision)), Discarded::Gone);
        assert_eq!(world.keys("at/"), [""; 0]);
    }
}

/// A plan for reserved addresses of so many StatefulSets, two each, beside so many held ones.
fn of_owners(sets: u32, held: usize) -> (World, Plan) {
    let mut world = World::default();
    for set in 0..sets {
        for pod in 0..2 {
            let (container, pod) = (format!("s{set}-{pod}"), format!("pg{set}-{pod}"));
            let mut call = of_set(&container, &pod, &format!("u-{pod}"));
            call.sticky.as_mut().unwrap().owner.name = name(&format!("pg{set}"));
            world.give(&call);
            world.del(&attachment(&container));
        }
    }
    for n in 0..held {
        world.give(&add(&format!("c{n}"), OTHER.0, OTHER.1, 100 + n as u64));
    }
    world.wait(600);
    let leaks_of = || {
        let report = leaks_of(&world);
        let reserved = |candidate: &LeakCandidate| candidate.verdict == Verdict::Leaked(LeakReason::Reserved);
        LeakReport {
            candidates: report.candidates.into_iter().filter(|(_, found)| reserved(found)).collect(),
            ..report
        }
    };
    let plan = leaks_of().confirm(leaks_of(), 0.2);
    (world, plan)
}

#[test]
fn of_each_owner_is_asked_once_and_what_is_reserved_for_one_that_is_there_stays() {
    let (_, plan) = of_owners(3, 0);
    assert_eq!(plan.confirmed.len(), 6);
    let told = [OwnerLookup::Exists, OwnerLookup::NotFound, OwnerLookup::Unknown(Cause::new("a storm"))];
    let mut asked = Vec::new();
    let mut kept = plan;
    kept.keep(1.0, |owner| {
        asked.push(OwnerRef::from_owner(owner).to_string());
        told[asked.len() - 1].clone()
    });
    assert_eq!(asked.len(), 3, "{asked:?}");
    let gone: Vec<&str> =
        kept.confirmed.iter().map(|candidate| candidate.owner.as_ref().unwrap().name.as_str()).collect();
    assert_eq!((gone[0], gone.len()), (gone[1], 2));
    assert_eq!(kept.skipped.len(), 2);
    let Verdict::Skipped(why) = &kept.skipped[0].verdict else { panic!() };
    let why = why.to_string();
    assert!(
        why.starts_with("it is reserved for StatefulSet pod db/pg") && why.ends_with("still exists: a storm"),
        "{why}"
    );
}

#[test]
fn what_is_reserved_counts_for_the_share_only_if_its_owner_is_gone() {
    for (gone, stops) in [(11, true), (10, false), (0, false)] {
        // 24 of 40 are reserved. Eleven owners have 22 of them.
        let (_, mut plan) = of_owners(12, 16);
        assert_eq!((plan.confirmed.len(), plan.tally.held, plan.stopped), (24, 40, None));
        let mut asked = 0;
        plan.keep(0.19, |_| {
            asked += 1;
            if asked <= gone { OwnerLookup::NotFound } else { OwnerLookup::Exists }
        });
        assert_eq!((plan.confirmed.len(), plan.stopped.is_some()), (2 * gone, stops), "{gone}");
    }
}

#[test]
fn a_reservation_that_is_used_again_or_ends_after_the_second_scan_is_left_alone() {
    let (world, plan) = of_owners(1, 0);
    let candidate = &plan.confirmed[0];
    let Target::Address { vrf, ip } = &candidate.target else { panic!() };
    let pod = candidate.owner.as_ref().unwrap().pod.clone().unwrap();
    let free = |world: &mut World| world.decide(&mut Evict::new(vrf.clone(), *ip, candidate.revision));
    let mut used = world.clone();
    let mut call = of_set("again", pod.as_str(), "u-9");
    call.sticky.as_mut().unwrap().owner.name = name("pg0");
    assert_eq!(used.give(&call), [*ip]);
    let before = used.state.clone();
    assert_eq!((free(&mut used), &used.state), (Evicted::Changed, &before));
    let mut gone = world;
    assert!(matches!(free(&mut gone), Evicted::Freed(_)));
    // The address and its owner's reservation are gone; the other pod's stay.
    assert_eq!((gone.keys("ip/").len(), gone.keys("id/").len(), gone.keys("at/").len()), (1, 1, 0));
    assert_eq!(free(&mut gone), Evicted::NotHeld);
}

#[test]
fn of_two_holders_one_goes_and_the_other_keeps_the_address_to_its_own_end() {
    for (gone, living) in [("a", "b"), ("b", "a")] {
        let (mut world, ip) = migrating();
        let pods = [OTHER, (&*format!("virt-launcher-{living}"), if living == "a" { "u-1" } else { "u-2" })];
        let leaks_of = |world: &World| scan(world, Some(&pods), &rules());
        let candidate = leaks_of(&world).confirm(leaks_of(&world), 0.2).confirmed.remove(0);
        let Target::Share { vrf, ip: of_target, of } = candidate.target else { panic!() };
        assert_eq!((of_target, of.container.as_str()), (ip, gone));
        let mut share = Evict::new(vrf.clone(), ip, candidate.revision).only_holder(of.clone());
        assert!(matches!(world.decide(&mut share.clone()), Evicted::Freed(_)));
        assert_eq!(contradictions(&world.state), Vec::<String>::new());
        assert_eq!(world.held()[&(vrf.clone(), ip)].container.as_str(), living);
        // One attachment has no address left, and stays as a record of that.
        assert_eq!(world.keys("at/").len(), 2);
        // It is released once, even if repeated. Its late DEL releases nothing, and no leak is left.
        assert_eq!(world.decide(&mut share), Evicted::Changed);
        assert!(world.del(&of).freed.is_empty());
        assert_eq!(leaks_of(&world).candidates.len(), 0);
        assert_eq!(world.del(&attachment(living)).freed, [ip]);
        assert_eq!(contradictions(&world.state), Vec::<String>::new());
    }
}
