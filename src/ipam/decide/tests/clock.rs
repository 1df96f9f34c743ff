//! Times in the future: the clock that wrote them was wrong, or the clock that reads them is.

use super::sticky::{of_set, with_ttl};
use super::world::{Call, World, at, attachment, contradictions, cooling, name, subnet};
use crate::config::Network;
use crate::ipam::keys;
use crate::ipam::lease::{Lease, Stored, is_ahead};
use crate::ipam::refusal::Refusal;
use crate::ipam::takeover::{GoneReason, ProbeResult};

const YEAR: i64 = 365 * 86_400;

/// One address with a strict cooldown of half a minute.
fn strict() -> Network {
    cooling(subnet("10.0.0.1/32"), 30, true)
}

/// A world in which an address was released at this time.
fn released(network: &Network, seconds: i64) -> World {
    let mut world = World { seconds, ..World::default() };
    world.give(&Call::of("c1", network));
    world.del(&attachment("c1"));
    world
}

fn is_resting(world: &mut World, container: &str) -> bool {
    match world.add(&Call::of(container, &strict())) {
        Ok(_) => false,
        Err(Refusal::Exhausted { counts, .. }) if counts.resting == 1 => true,
        Err(refusal) => panic!("{refusal}"),
    }
}

#[test]
fn a_rest_that_began_a_year_ahead_is_over_when_it_has_lasted_from_its_first_sight() {
    let mut world = released(&strict(), YEAR);
    world.seconds = 0;
    assert!(is_resting(&mut world, "c2"));
    let noted = world.state.clone();
    assert_eq!(contradictions(&world.state), Vec::<String>::new());
    world.wait(29);
    assert!(is_resting(&mut world, "c3"));
    // It is recorded once.
    assert_eq!(world.state, noted);
    world.wait(1);
    assert!(!is_resting(&mut world, "c4"));
    assert_eq!(contradictions(&world.state), Vec::<String>::new());
}

#[test]
fn a_few_seconds_ahead_are_waited_for() {
    let mut world = released(&strict(), 60);
    world.seconds = 0;
    let before = world.state.clone();
    assert!(is_resting(&mut world, "c2"));
    assert_eq!(world.state, before);
    world.seconds = 89;
    assert!(is_resting(&mut world, "c2"));
    world.wait(1);
    assert!(!is_resting(&mut world, "c2"));
}

#[test]
fn a_slow_clock_ends_no_rest_for_the_others() {
    let mut world = released(&strict(), 3600);
    // For a clock that is an hour slow, the release is in the future, and the cooldown ends half a minute later.
    world.seconds = 10;
    assert!(is_resting(&mut world, "slow1"));
    let mut right = world.clone();
    right.seconds = 3600 + 29;
    assert!(is_resting(&mut right, "right"));
    right.wait(1);
    assert!(!is_resting(&mut right, "right"));
    world.wait(30);
    assert!(!is_resting(&mut world, "slow2"));
}

#[test]
fn a_reservation_that_is_unused_from_a_year_ahead_ends_after_its_time_to_live() {
    let call = with_ttl(of_set("a", "pg-0", "u-1"), 3600);
    let mut world = World { seconds: YEAR, ..World::default() };
    let kept = world.give(&call)[0].to_string();
    world.del(&attachment("a"));
    world.seconds = 0;
    let asks = |container: &str| Call::of(container, &call.network).requesting(&[&kept]);
    assert!(matches!(world.add(&asks("b")), Err(Refusal::Reserved { .. })));
    world.wait(3599);
    assert!(matches!(world.add(&asks("b")), Err(Refusal::Reserved { .. })));
    world.wait(1);
    world.give(&asks("b"));
}

#[test]
fn an_address_that_was_given_a_year_ahead_passes_when_it_is_old_enough_from_its_first_sight() {
    let network = cooling(subnet("10.0.0.1/32"), 0, false);
    let mut world = World { seconds: YEAR, ..World::default() };
    world.give(&Call::of("old", &network).of_pod("p-0", "u-0", 1));
    world.seconds = 0;
    let call = |attempt: u64| {
        let call = Call::of(&format!("new{attempt}"), &network).of_pod("new", "u-new", 1000 + attempt);
        call.with_pod_check("u-0", Ok(GoneReason::NotFound)).with_probe("10.0.0.1", ProbeResult::NoReply)
    };
    for seconds in [0, 29, 299] {
        world.seconds = seconds;
        let end = world.add(&call(seconds as u64));
        assert!(matches!(end, Err(Refusal::NotYet { until, .. }) if until == at(300)), "{end:?}");
    }
    world.seconds = 300;
    world.give(&call(300));
}

#[test]
fn a_fence_that_lies_ahead_of_its_own_node_stands_from_now_on() {
    let mut world = World { seconds: YEAR, ..World::default() };
    let call = Call::of("c1", &subnet("10.0.0.0/24"));
    world.del_fenced(&call.id);
    world.seconds = 0;
    let allocation = world.add(&call).unwrap();
    world.del_written(&allocation);
    let fence = world.text(&keys::attachment(&call.id)).unwrap();
    assert!(fence.contains(&at(0).to_string()), "{fence}");
}

#[test]
fn the_times_of_a_lease_that_are_not_ahead_are_not_noted() {
    let world = released(&strict(), 0);
    let text = world.text(&keys::lease(&name("default"), "10.0.0.1".parse().unwrap())).unwrap();
    let lease = Stored::<Lease>::read(text.as_bytes()).known().unwrap();
    for (seconds, ahead) in [(0, false), (-60, false), (-61, true)] {
        assert_eq!(is_ahead(lease.since, at(seconds)), ahead, "{seconds}");
        assert_eq!(lease.sighted(at(seconds)).is_some(), ahead, "{seconds}");
    }
    let sighted = lease.sighted(at(-100)).unwrap();
    assert_eq!(sighted.sighted(at(-90)), None);
    // A sighting in the future does not count, and one by a slower clock does not replace it.
    let slower = sighted.sighted(at(-1000)).unwrap();
    assert_eq!(slower.sighted.len(), 2 * sighted.sighted.len());
    for (seconds, from) in [(-1000, -1000), (-500, -1000), (-101, -100), (-90, -100), (-60, 0), (5, 0)] {
        assert_eq!(slower.counts_from(lease.since, at(seconds)), at(from), "{seconds}");
    }
    // Ever slower clocks don't make a lease grow without limit.
    let grown = (2..50).fold(slower, |lease, n| lease.sighted(at(-1000 * n)).unwrap_or(lease));
    assert!(grown.sighted.len() <= 4, "{:?}", grown.sighted);
}
