//! What is written back into a store that has lost it.

use crate::ipam::decide::tests::world::{Call, World, attachment, contradictions, cooling, name, subnet};
use crate::ipam::decide::{Allocation, Release};
use crate::ipam::keys;
use crate::ipam::lease::{self, Foreign, Lease, ManualReservation, Stored, Unknown, Written};
use crate::ipam::recovery::{Begin, Begun, Progress, Recovery, Survey, UpdateRecovery, WriteBack, WrittenBack};
use crate::ipam::refusal::Refusal;
use crate::ipam::takeover::Mac;
use crate::store::MemoryMap;

fn net() -> crate::config::Network {
    cooling(subnet("10.0.0.0/29"), 30, false)
}

fn back(world: &mut World, container: &str, allocation: &Allocation) -> WrittenBack {
    world.decide(&mut WriteBack::new(world.order, attachment(container), allocation.written()))
}

#[test]
fn what_is_written_back_is_released_by_one_request_as_what_an_add_wrote() {
    let mut world = World::default();
    let allocation = world.add(&Call::of("a", &net())).unwrap();
    world.state = MemoryMap::default();
    let WrittenBack::Back(written) = back(&mut world, "a", &allocation) else { panic!() };
    assert_eq!(contradictions(&world.state), [""; 0]);
    assert_eq!(Written { revision: written.revision, ..allocation.written() }, *written);
    // Once more changes nothing.
    let before = world.state.clone();
    assert!(matches!(back(&mut world, "a", &allocation), WrittenBack::NothingLost(_)));
    assert_eq!(world.state, before);
    let released = world.release(Release::new(attachment("a"), name("default"), Some(*written), false));
    assert_eq!((released.freed.len(), world.requests), (1, 1));
}

#[test]
fn what_rests_gives_way_to_a_container_that_runs_and_what_is_held_does_not() {
    let mut world = World::default();
    let earlier = world.add(&Call::of("a", &net())).unwrap();
    let asking = [&*earlier.leases[0].0.to_string()];
    world.del_written(&earlier);
    let backup = world.state.clone();
    let allocation = world.add(&Call::of("b", &net()).requesting(&asking)).unwrap();
    world.state = backup.clone();
    assert!(matches!(back(&mut world, "b", &allocation), WrittenBack::Back(_)));
    assert_eq!(contradictions(&world.state), [""; 0]);
    assert_eq!(world.keys("rest/").len(), 0);
    // Somebody else was given it meanwhile.
    world.state = backup;
    world.give(&Call::of("c", &net()).requesting(&asking));
    let before = world.state.clone();
    let WrittenBack::Conflicts(conflicts) = back(&mut world, "b", &allocation) else { panic!() };
    assert_eq!(conflicts[0].holder.as_ref().unwrap().id, attachment("c"));
    assert_eq!(world.state, before);
    let given_up = vec![allocation.leases[0].0];
    let without = WriteBack::new(world.order, attachment("b"), allocation.written()).without(given_up.clone());
    let WrittenBack::Back(written) = world.decide(&mut without.clone()) else { panic!() };
    assert_eq!((written.attachment.lost, written.leases.len()), (given_up, 0));
    assert_eq!(contradictions(&world.state), [""; 0]);
    assert!(matches!(world.add(&Call::of("b", &net())), Err(Refusal::Lost { .. })));
}

#[test]
fn a_host_that_the_backup_has_gives_way_to_the_container_that_has_its_address_since() {
    let mut world = World::default();
    let allocation = world.add(&Call::of("a", &net())).unwrap();
    let ip = allocation.leases[0].0;
    world.state = MemoryMap::default();
    let foreign =
        Foreign { mac: Mac([2, 0, 0, 0, 0, 9]), network: name("net"), node: name("n1"), answered: world.now() };
    world.put(keys::lease(&name("default"), ip), lease::write(&Lease::of_foreign(foreign, world.now())));
    assert!(matches!(back(&mut world, "a", &allocation), WrittenBack::Back(_)));
    assert_eq!(contradictions(&world.state), [""; 0]);
    assert_eq!(world.held().len(), 1);
}

#[test]
fn what_is_reserved_by_hand_gives_way_to_the_container_that_runs_and_is_reserved_again_after_it() {
    let mut world = World::default();
    let allocation = world.add(&Call::of("a", &net())).unwrap();
    let ip = allocation.leases[0].0;
    world.state = MemoryMap::default();
    let manual = ManualReservation {
        reason: "printer".parse().unwrap(),
        at: world.now(),
        by: None,
        ttl: None,
        beneficiary: None,
        unknown: Unknown::new(),
    };
    let key = keys::lease(&name("default"), ip);
    world.put(key.clone(), lease::write(&Lease::reserved_by_hand(manual.clone())));
    assert!(matches!(back(&mut world, "a", &allocation), WrittenBack::Back(_)));
    assert_eq!((contradictions(&world.state), world.held().len()), (vec![], 1));
    world.del(&attachment("a"));
    assert_eq!((contradictions(&world.state), world.held().len()), (vec![], 0));
    let lease = Stored::<Lease>::read(world.text(&key).unwrap().as_bytes()).known().unwrap();
    assert_eq!(lease.manual(world.now()), Some(&manual));
}

fn survey(world: &mut World) -> Progress {
    world.decide(&mut Survey).1
}

#[test]
fn a_recovery_stops_every_ask_and_ends_with_its_last_node_or_by_the_operators_word() {
    for by_operator in [false, true] {
        let mut world = World::default();
        let allocation = world.add(&Call::of("a", &net())).unwrap();
        let begin = |world: &World| Begin::new(Recovery::new("a sign".to_owned(), Some(name("n1")), world.now()));
        let (first, again) = (begin(&world), begin(&world));
        assert_eq!(world.decide(&mut first.clone()), Begun::Now);
        assert_eq!(world.decide(&mut again.clone()), Begun::Before);
        for call in [Call::of("b", &net()), Call::of("b", &net()).requesting(&["10.0.0.4"]), Call::of("a", &net())] {
            assert!(matches!(world.add(&call), Err(Refusal::Recovering { .. })), "{}", call.id);
        }
        let progress = survey(&mut world);
        let (seen, _) = progress.current.clone().unwrap();
        assert!(world.decide(&mut UpdateRecovery::node_done(name("n1"), seen)));
        let progress = survey(&mut world);
        let nodes = [name("n1"), name("n2")];
        assert_eq!(progress.missing(&nodes), [&nodes[1]]);
        let end = if by_operator { UpdateRecovery::end_by_operator } else { UpdateRecovery::end };
        let mut end = end(&progress).unwrap();
        assert!(world.decide(&mut end));
        assert!(!world.decide(&mut end));
        assert!(!world.decide(&mut UpdateRecovery::node_done(name("n2"), seen)), "it is over");
        let Progress { current, done, last } = survey(&mut world);
        assert_eq!((current, done.len(), last.unwrap().by_operator), (None, 0, by_operator));
        world.give(&Call::of("b", &net()));
        world.del_written(&allocation);
    }
}

#[test]
fn a_recovery_that_begins_again_counts_nobody_who_was_done_before() {
    let mut world = World::default();
    let recovery = Recovery::new("a sign".to_owned(), None, world.now());
    world.decide(&mut Begin::new(recovery.clone()));
    let (seen, _) = survey(&mut world).current.unwrap();
    world.decide(&mut UpdateRecovery::node_done(name("n1"), seen));
    assert_eq!(survey(&mut world).done.len(), 1);
    assert_eq!(world.decide(&mut Begin::instead_of(recovery, seen)), Begun::Now);
    let progress = survey(&mut world);
    assert!(progress.done.is_empty() && progress.current.unwrap().0.0 > seen.0);
}
