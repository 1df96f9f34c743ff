//! What a DEL releases, case by case. The numbers are those of docs/edge-cases.md.

use insta::assert_snapshot;

use super::world::{Call, World, attachment, contradictions, cooling, holder, ip, name, network, range, subnet};
use crate::ipam::decide::{Decide, Release, Released, Step};
use crate::ipam::keys;
use crate::ipam::lease::{self, Lease};
use crate::ipam::name::{AttachmentId, IfName};
use crate::ipam::recovery::Sign;

#[test]
fn a_del_without_an_add_and_a_second_del_free_nothing_and_succeed() {
    // Edge case 2.
    let mut world = World::default();
    assert_eq!(world.del(&attachment("c1")), Released::default());
    assert_eq!(world.requests, 1);
    let given = world.give(&Call::of("c1", &subnet("10.0.0.0/24")));
    assert_eq!(world.del(&attachment("c1")).freed, given);
    assert_eq!(world.del(&attachment("c1")), Released::default());
}

#[test]
fn a_del_knows_what_to_free_by_the_attachment_alone() {
    // Edge cases 3 and 29: the config is gone or has other ranges now. The vrf is that of the ADD.
    let mut world = World::default();
    let dual = network(vec![vec![range("10.0.0.0/24")], vec![range("fd00::/64")]]);
    let given = world.give(&Call::of("c1", &dual).in_vrf("red"));
    assert_eq!(world.del(&attachment("c1")).freed, given);
    assert_eq!(world.held().len(), 0);
    assert_eq!(world.requests, 3);
}

#[test]
fn a_del_with_the_record_of_its_add_takes_one_request() {
    let mut world = World::default();
    let dual = network(vec![vec![range("10.0.0.0/24")], vec![range("fd00::/64")]]);
    let allocation = world.add(&Call::of("c1", &dual)).unwrap();
    assert_eq!(world.del_written(&allocation).freed.len(), 2);
    assert_eq!(world.requests, 1);
    assert_eq!(world.keys("at/").len(), 0);
    assert_eq!(contradictions(&world.state), Vec::<String>::new());
}

#[test]
fn a_record_that_is_outdated_frees_only_what_is_still_its_own() {
    // Edge case 4, and invariant 3.
    let mut world = World::default();
    let network = cooling(network(vec![vec![range("10.0.0.0/30")], vec![range("fd00::/126")]]), 0, false);
    let allocation = world.add(&Call::of("c1", &network)).unwrap();
    let key = keys::lease(&name("default"), ip("10.0.0.2"));
    let taken_over = world.text(&key).unwrap().replace("c1", "c2");
    world.put(key.clone(), taken_over.clone());
    let released = world.del_written(&allocation);
    let [(not_held, why)] = released.not_owned.as_slice() else { panic!("{released:?}") };
    assert_eq!(*not_held, ip("10.0.0.2"));
    assert_snapshot!(why, @"pod pod-c2, interface eth0, node n1, network net holds it");
    assert_eq!((released.freed.len(), world.text(&key)), (1, Some(taken_over)));
    assert_eq!(world.keys("at/").len(), 0);
    // Everything was released and assigned to somebody else.
    let mut world = World::default();
    let allocation = world.add(&Call::of("c1", &network)).unwrap();
    world.del(&attachment("c1"));
    world.give(&Call::of("c2", &network));
    let sign = Some(Sign::Missing { attachment: Box::new(attachment("c1")) });
    assert_eq!(world.del_written(&allocation), Released { sign, ..Released::default() });
    assert_eq!(world.held().len(), 2);
}

#[test]
fn a_del_that_meets_a_fence_leaves_it_at_that() {
    // Its own ADD was answered. The fence is for an earlier ADD, and a sweep will remove it.
    for seconds in [0, 7200] {
        let mut world = World::default();
        world.del_fenced(&attachment("c1"));
        world.wait(seconds);
        let before = world.state.clone();
        assert_eq!(world.del(&attachment("c1")), Released::default());
        assert_eq!((world.requests, &world.state), (1, &before), "{seconds}");
    }
}

#[test]
fn a_del_whose_attachment_changes_between_its_readings_begins_again_at_once() {
    let mut world = World::default();
    let call = Call::of("c1", &subnet("10.0.0.0/24"));
    let given = world.give(&call);
    let mut release = Release::new(call.id.clone(), name("default"), None, false);
    let Step::Commit(look) = release.start(world.now()) else { panic!("it begins with a look") };
    let Step::Commit(leases) = release.next(&world.state.commit(&look), world.now()) else { panic!("it has leases") };
    // A repeated ADD rewrites the attachment.
    world.give(&call);
    let Step::Commit(again) = release.next(&world.state.commit(&leases), world.now()) else { panic!("it goes on") };
    assert!(!again.writes(), "what it has read of the leases is out of date: {again:?}");
    let Step::Commit(free) = release.next(&world.state.commit(&again), world.now()) else { panic!("it frees them") };
    let Step::Done(released) = release.next(&world.state.commit(&free), world.now()) else { panic!("it is done") };
    assert_eq!(released.freed, given);
}

#[test]
fn a_del_without_an_answer_reads_again_as_often_as_it_is_driven() {
    let mut world = World::default();
    let allocation = world.add(&Call::of("c1", &subnet("10.0.0.0/24"))).unwrap();
    let record = || Release::new(attachment("c1"), name("default"), Some(allocation.written()), false);
    let (mut release, now) = (record(), world.now());
    release.start(now);
    // These are not lost races. The caller's deadline ends them.
    for _ in 0..1000 {
        let Step::Commit(look) = release.unanswered(now) else { panic!("it looks") };
        assert!(!look.writes(), "{look:?}");
    }
    // The first one was committed, and its answer lost.
    let mut release = record();
    let Step::Commit(first) = release.start(now) else { panic!("it frees at once") };
    world.state.commit(&first);
    let Step::Commit(look) = release.unanswered(now) else { panic!("it looks") };
    assert_eq!(release.next(&world.state.commit(&look), now), Step::Done(Released::default()));
    assert_eq!(world.held().len(), 0);
}

#[test]
fn a_del_frees_its_own_interface_only() {
    // Edge case 7.
    let mut world = World::default();
    let eth0 = Call::of("c1", &subnet("10.0.0.0/24"));
    let net1 = Call { id: AttachmentId { ifname: IfName::new("net1").unwrap(), ..eth0.id.clone() }, ..eth0.clone() };
    let (kept, freed) = (world.give(&eth0), world.give(&net1));
    assert_eq!(world.del(&net1.id).freed, freed);
    assert!(world.held().keys().all(|(_, ip)| kept.contains(ip)));
}

#[test]
fn of_a_lease_with_two_holders_a_release_removes_only_its_own() {
    for with_record in [false, true] {
        let mut world = World::default();
        let allocation = world.add(&Call::of("c1", &subnet("10.0.0.0/24")).requesting(&["10.0.0.5"])).unwrap();
        let key = keys::lease(&name("default"), ip("10.0.0.5"));
        let mut lease: Lease = serde_json::from_str(&world.text(&key).unwrap()).unwrap();
        lease.holders.push(holder(attachment("c2")));
        world.put(key.clone(), lease::write(&lease));
        let release = Release::new(attachment("c1"), name("default"), with_record.then(|| allocation.written()), false);
        world.release(release);
        lease.holders.remove(0);
        assert_eq!(world.text(&key).unwrap().into_bytes(), lease::write(&lease));
        assert_eq!(world.held().into_values().collect::<Vec<_>>(), [attachment("c2")]);
        assert_eq!(world.keys("at/").len(), 0);
    }
}

#[test]
fn leases_that_cannot_be_read_stay_and_the_attachment_goes() {
    for value in [r#"{"v":2}"#, "{", r#"{"v":1}"#] {
        let mut world = World::default();
        let dual = network(vec![vec![range("10.0.0.0/30")], vec![range("fd00::1/128")]]);
        world.give(&Call::of("c1", &dual));
        let key = keys::lease(&name("default"), ip("10.0.0.2"));
        world.put(key.clone(), value);
        let released = world.del(&attachment("c1"));
        assert_eq!((released.freed, released.not_owned.len()), (vec![ip("fd00::1")], 1));
        assert_eq!(world.text(&key).as_deref(), Some(value));
        assert_eq!(world.keys("at/").len(), 0);
    }
}

#[test]
fn an_attachment_that_cannot_be_read_is_left_and_the_del_succeeds() {
    let mut world = World::default();
    world.put(keys::attachment(&attachment("c1")), r#"{"v":2}"#);
    let before = world.state.clone();
    assert_snapshot!(world.del(&attachment("c1")).left.unwrap(), @"a newer kube-ipam wrote it (value version 2, this one reads up to 1)");
    assert_snapshot!(world.del_fenced(&attachment("c1")).left.unwrap(), @"a newer kube-ipam wrote it (value version 2, this one reads up to 1)");
    assert_eq!(world.state, before);
}

#[test]
fn fields_that_are_not_known_are_kept_when_a_value_is_written_again() {
    // Two versions may run side by side during an upgrade.
    let mut world = World::default();
    let key = keys::lease(&name("default"), ip("10.0.0.5"));
    world.give(&Call::of("c1", &subnet("10.0.0.0/24")).requesting(&["10.0.0.5"]));
    let newer = world.text(&key).unwrap().replacen('{', r#"{"colour":"blue","#, 1);
    let newer = newer.replace(r#""began""#, r#""sandbox":{"n":1},"began""#);
    world.put(key.clone(), newer);
    world.del(&attachment("c1"));
    let rests = world.text(&key).unwrap();
    assert!(rests.contains(r#""colour":"blue""#) && rests.contains(r#""sandbox":{"n":1}"#), "{rests}");
    // The same for a fence, which an ADD replaces and a DEL writes again.
    let key = keys::attachment(&attachment("c2"));
    world.del_fenced(&attachment("c2"));
    let newer = world.text(&key).unwrap().replacen('{', r#"{"colour":"blue","#, 1);
    world.put(key.clone(), newer);
    let allocation = world.add(&Call::of("c2", &subnet("10.0.0.0/24"))).unwrap();
    assert!(world.text(&key).unwrap().contains(r#""colour":"blue""#));
    world.del_written(&allocation);
    assert!(world.text(&key).unwrap().contains(r#""colour":"blue""#));
}
