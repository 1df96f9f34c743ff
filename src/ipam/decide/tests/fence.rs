//! The fence that a DEL leaves if an ADD may still take effect (invariant 6). `explore` has every order of the two.

use insta::assert_snapshot;

use super::world::{Call, World, at, attachment, name, subnet};
use crate::ipam::decide::{Decide, Release, Step};
use crate::ipam::keys;

#[test]
fn an_add_replaces_a_fence_and_carries_it_on() {
    let mut world = World::default();
    let call = Call::of("c1", &subnet("10.0.0.0/24"));
    world.del_fenced(&call.id);
    assert_snapshot!(world.text(&keys::attachment(&call.id)).unwrap(), @r#"{"v":1,"vrf":"default","closed":"2023-11-14T22:13:20Z"}"#);
    world.wait(60);
    let allocation = world.add(&call).unwrap();
    assert_eq!((allocation.attachment.closed, world.requests), (Some(at(0)), 2));
    world.wait(60);
    world.del_written(&allocation);
    assert_snapshot!(world.text(&keys::attachment(&call.id)).unwrap(), @r#"{"v":1,"vrf":"default","closed":"2023-11-14T22:13:20Z"}"#);
    // After an hour, no commit from that time can still take effect.
    let allocation = world.add(&call).unwrap();
    world.wait(3600);
    world.del_written(&allocation);
    assert_eq!(world.text(&keys::attachment(&call.id)), None);
}

#[test]
fn what_an_add_that_is_too_late_would_have_written_stays_unwritten() {
    let mut late = Call::of("c1", &subnet("10.0.0.0/24")).decision().unwrap();
    let Step::Commit(txn) = late.start(at(0)) else { panic!("an ADD begins with a transaction") };
    let mut world = World::default();
    world.del_fenced(&attachment("c1"));
    let fenced = world.state.clone();
    assert!(!world.state.commit(&txn).branch.succeeded);
    assert_eq!(world.state, fenced);
    let allocation = world.add(&Call::of("c1", &subnet("10.0.0.0/24"))).unwrap();
    world.del_written(&allocation);
    assert!(!world.state.commit(&txn).branch.succeeded);
    assert_eq!(world.held().len(), 0);
}

#[test]
fn a_del_of_an_add_that_may_still_be_under_way_closes_the_attachment_whatever_it_finds() {
    let closed = |world: &World, container: &str| {
        let text = world.text(&keys::attachment(&attachment(container)));
        text.is_some_and(|text| text.contains("closed") && !text.contains("addresses"))
    };
    let mut world = World::default();
    let network = subnet("10.0.0.0/24");
    // Nothing.
    assert!(world.del_fenced(&attachment("c1")).fenced && closed(&world, "c1"));
    assert_eq!(world.requests, 2);
    // An older fence is replaced, because the ADD may have a guard on its revision.
    let before = world.state.clone();
    assert!(world.del_fenced(&attachment("c1")).fenced && closed(&world, "c1"));
    assert_ne!(world.state, before);
    // Addresses, which may come from another attempt, or from a request that was sent twice.
    world.give(&Call::of("c2", &network));
    let released = world.del_fenced(&attachment("c2"));
    assert!(released.fenced && released.freed.len() == 1 && closed(&world, "c2"));
    // The same, with a record of them.
    let allocation = world.add(&Call::of("c3", &network)).unwrap();
    let release = Release::new(attachment("c3"), name("default"), Some(allocation.written()), true);
    assert!(world.release(release).fenced && closed(&world, "c3"));
    assert_eq!(world.requests, 1);
    assert_eq!(world.held().len(), 0);
}

#[test]
fn a_del_that_has_nothing_to_fear_leaves_no_fence() {
    let mut world = World::default();
    world.give(&Call::of("c1", &subnet("10.0.0.0/24")));
    assert!(!world.del(&attachment("c1")).fenced);
    assert!(!world.del(&attachment("c1")).fenced);
    assert_eq!(world.keys("at/").len(), 0);
}

#[test]
fn an_add_after_one_that_was_never_answered_leaves_a_fence_to_its_del() {
    let call = Call::of("c1", &subnet("10.0.0.0/24"));
    for landed in [false, true] {
        let mut world = World::default();
        let Step::Commit(txn) = call.decision().unwrap().start(at(0)) else {
            panic!("an ADD begins with a transaction")
        };
        if landed {
            world.state.commit(&txn);
        }
        let allocation = world.run(call.decision().unwrap().after_add_in_doubt()).unwrap();
        assert_eq!((allocation.repeated, allocation.attachment.closed), (landed, Some(at(0))));
        world.del_written(&allocation);
        assert!(!world.state.commit(&txn).branch.succeeded);
        assert_eq!(world.held().len(), 0);
    }
}
