//! The witness of an ADD, where revisions have no order.

use crate::ipam::decide::tests::world::{Call, World, attachment, subnet};
use crate::ipam::recovery::{EntryState, Examine, Recorded, Witness};
use crate::ipam::refusal::Refusal;
use crate::store::{MemoryMap, RevisionOrder};

fn net() -> crate::config::Network {
    subnet("10.0.0.0/29")
}

fn with_witness(witness: &Witness) -> Recorded {
    Recorded { witness: Some(witness.clone()), ..Recorded::default() }
}

#[test]
fn a_witness_that_is_as_recorded_costs_no_request() {
    let mut world = World::with_order(RevisionOrder::Unordered);
    let witness = Witness { id: attachment("a"), revision: world.add(&Call::of("a", &net())).unwrap().revision };
    let call = Call::of("b", &net());
    world.ask(&call, call.decision().unwrap().with_records(with_witness(&witness))).unwrap();
    assert_eq!(world.requests, 1);
}

#[test]
fn an_add_whose_witness_the_store_does_not_have_as_recorded_assigns_nothing_before_it_was_examined() {
    let mut world = World::with_order(RevisionOrder::Unordered);
    let empty = world.state.clone();
    let written = world.add(&Call::of("a", &net())).unwrap().written();
    let witness = Witness { id: attachment("a"), revision: written.revision };
    let again = world.add(&Call::of("a", &net())).unwrap();
    assert!(again.repeated);
    for (state, is_lost) in [(world.state.clone(), false), (empty, true)] {
        world.state = state;
        let before = world.state.clone();
        let call = Call::of("b", &net());
        let mut add = call.decision().unwrap().with_records(with_witness(&witness));
        assert!(matches!(world.ask_on(&call, &mut add), Err(Refusal::Recovering { .. })));
        assert_eq!((add.to_examine(), &world.state), (Some(&attachment("a")), &before));
        let (_, state) = world.decide(&mut Examine::new(world.order, attachment("a"), written.clone()));
        assert_eq!(matches!(state, EntryState::Lost(_)), is_lost, "{state:?}");
        // Whether the next witness is another one, or there is none.
        let next = (!is_lost).then(|| Witness { revision: again.revision, ..witness.clone() });
        add.set_witness(next);
        world.ask_on(&call, &mut add).unwrap();
        assert_eq!(add.to_examine(), None);
    }
}

#[test]
fn a_repeated_add_needs_no_other_witness() {
    let mut world = World::with_order(RevisionOrder::Unordered);
    let call = Call::of("b", &net());
    let addresses = world.give(&call);
    let revision = world.add(&Call::of("a", &net())).unwrap().revision;
    world.del(&attachment("a"));
    let witness = Witness { id: attachment("a"), revision };
    let recorded = Recorded { addresses, ..with_witness(&witness) };
    let mut add = call.decision().unwrap().with_records(recorded);
    assert!(world.ask_on(&call, &mut add).unwrap().repeated);
    // Without a record, its entry may be a restored one.
    let mut add = call.decision().unwrap().with_records(with_witness(&witness));
    assert!(world.ask_on(&call, &mut add).is_err());
    add.set_witness(None);
    assert!(world.ask_on(&call, &mut add).unwrap().repeated);
    // Without its own entry, it would be a new one.
    world.state = MemoryMap::default();
    let mut add = call.decision().unwrap().with_records(with_witness(&witness));
    assert!(world.ask_on(&call, &mut add).is_err());
}

#[test]
fn a_repeated_add_does_not_confirm_what_an_earlier_container_of_its_id_had() {
    let mut world = World::with_order(RevisionOrder::Unordered);
    let call = |boottime| Call::of("a", &net()).of_pod("a", "u-a", boottime);
    world.give(&call(100).requesting(&["10.0.0.3"]));
    let backup = world.state.clone();
    world.del(&attachment("a"));
    let written = world.add(&call(200).requesting(&["10.0.0.4"])).unwrap().written();
    world.state = backup;
    let witness = Witness { id: attachment("a"), revision: written.revision };
    let mut add = call(200).decision().unwrap().with_records(with_witness(&witness));
    assert!(world.ask_on(&call(200), &mut add).is_err());
    assert_eq!(add.to_examine(), Some(&attachment("a")));
    let (_, state) = world.decide(&mut Examine::new(world.order, attachment("a"), written));
    assert!(matches!(state, EntryState::Lost(_)), "{state:?}");
}
