//! An ADD for an attachment that has an entry already (invariant 2). The numbers are those of docs/edge-cases.md.

use std::collections::BTreeSet;
use std::net::IpAddr;

use insta::assert_snapshot;

use super::world::{Call, World, attachment, ip, name, network, range, subnet};
use crate::cause::chain;
use crate::ipam::decide::{Allocation, Decide, Release, Step};
use crate::ipam::keys;
use crate::ipam::lease::{self, Lease};
use crate::ipam::name::{AttachmentId, IfName};
use crate::ipam::node_selector::{LocalNode, NodeMismatch};
use crate::ipam::refusal::Refusal;
use crate::store::{Op, Txn};

#[test]
fn a_repeated_add_gets_the_same_addresses() {
    // Edge case 1.
    let mut world = World::default();
    let dual = network(vec![vec![range("10.0.0.0/24")], vec![range("fd00::/64")]]);
    let first = world.add(&Call::of("c1", &dual)).unwrap();
    world.wait(5);
    let second = world.add(&Call::of("c1", &dual)).unwrap();
    assert!(second.repeated && !first.repeated);
    assert_eq!((&first.attachment, &first.leases), (&second.attachment, &second.leases));
    assert_eq!((world.held().len(), world.requests), (2, 2));
    assert_eq!(world.del_written(&second).freed.len(), 2);
}

#[test]
fn what_a_repeated_add_confirms_is_not_freed_by_a_del_from_before_it() {
    let mut world = World::default();
    let call = Call::of("c1", &subnet("10.0.0.0/24"));
    let first = world.add(&call).unwrap();
    let Step::Commit(late) =
        Release::new(call.id.clone(), name("default"), Some(first.written()), false).start(world.now())
    else {
        panic!("a DEL begins with a transaction")
    };
    world.give(&call);
    assert!(!world.state.commit(&late).branch.succeeded);
    assert_eq!(world.held().len(), 1);
}

#[test]
fn a_repeated_add_gets_them_although_the_config_has_changed() {
    let mut world = World::default();
    let first = world.add(&Call::of("c1", &subnet("10.0.0.0/24"))).unwrap();
    let second = world.add(&Call::of("c1", &subnet("10.9.0.0/16"))).unwrap();
    assert_eq!(first.attachment, second.attachment);
}

/// What an ADD is told that may give nothing new.
fn elsewhere() -> Refusal {
    let node = LocalNode { name: name("n1"), labels: None };
    let mismatch = Box::new(NodeMismatch { node, selectors: Vec::new() });
    Refusal::NotOnNode { sets: vec!["ipam.ranges[0]".to_owned()], mismatch }
}

/// The ADD of a container, where nothing new may be given.
fn only_repeated(world: &mut World, container: &str) -> Result<Allocation, Refusal> {
    let add = Call::of(container, &subnet("10.0.0.0/24")).decision().unwrap();
    world.run(add.only_repeated(elsewhere()))
}

#[test]
fn where_nothing_new_may_be_given_an_attachment_gets_again_what_it_has_and_nobody_else_anything() {
    let mut world = World::default();
    let call = Call::of("c1", &subnet("10.0.0.0/24"));
    let first = world.add(&call).unwrap();
    let again = only_repeated(&mut world, "c1").unwrap();
    assert!(again.repeated);
    assert_eq!((&first.attachment, &first.leases), (&again.attachment, &again.leases));
    assert_eq!(world.del_written(&again).freed.len(), 1);
    for container in ["c1", "c2"] {
        let before = world.state.clone();
        assert_eq!(only_repeated(&mut world, container).unwrap_err(), elsewhere());
        assert_eq!(world.state, before);
    }
}

#[test]
fn a_repeated_add_that_has_lost_an_address_is_refused_and_changes_nothing() {
    let mut world = World::default();
    let dual = network(vec![vec![range("10.0.0.0/24")], vec![range("fd00::/64")]]);
    let call = Call::of("c1", &dual).requesting(&["10.0.0.5", "fd00::5"]);
    world.give(&call);
    let key = keys::lease(&name("default"), ip("fd00::5"));
    let (held, taken) = (world.text(&key).unwrap(), world.text(&key).unwrap().replace("c1", "c2"));
    let mut refused = |value: Option<&str>| {
        match value {
            Some(value) => world.put(key.clone(), value),
            None => drop(world.state.commit(&Txn::read(vec![Op::Delete(key.clone())]).unwrap())),
        }
        let before = [world.text(&key), world.text(&keys::attachment(&call.id))];
        let refusal = world.add(&call).unwrap_err();
        assert_eq!([world.text(&key), world.text(&keys::attachment(&call.id))], before);
        assert!(refusal.is_passing());
        refusal.to_string()
    };
    assert_snapshot!(refused(None), @"eth0 of container c1 on network net (node n1) had fd00::5, but no longer holds it (nobody holds it); delete the pod, and its successor gets addresses");
    assert_snapshot!(refused(Some(&taken)), @"eth0 of container c1 on network net (node n1) had fd00::5, but no longer holds it (pod pod-c2, interface eth0, node n1, network net holds it); delete the pod, and its successor gets addresses");
    assert_snapshot!(refused(Some(r#"{"v":2}"#)), @"eth0 of container c1 on network net (node n1) had fd00::5, but no longer holds it (its lease can't be read: a newer kube-ipam wrote it (value version 2, this one reads up to 1)); delete the pod, and its successor gets addresses");
    assert_snapshot!(refused(Some("{")), @"eth0 of container c1 on network net (node n1) had fd00::5, but no longer holds it (its lease can't be read: it is damaged: EOF while parsing an object at line 1 column 1); delete the pod, and its successor gets addresses");
    let rests = held.replace("}],", r#"}],"rest":{"released":"2023-11-14T22:13:20Z","seconds":30},"#);
    assert_snapshot!(refused(Some(&rests)), @"eth0 of container c1 on network net (node n1) had fd00::5, but no longer holds it (it is in cooldown); delete the pod, and its successor gets addresses");
    let nobody = lease::write(&Lease { holders: Vec::new(), ..serde_json::from_str(&held).unwrap() });
    assert_snapshot!(refused(Some(&String::from_utf8(nobody).unwrap())), @"eth0 of container c1 on network net (node n1) had fd00::5, but no longer holds it (its lease names no holder); delete the pod, and its successor gets addresses");
}

#[test]
fn a_repeated_add_that_asks_for_another_address_is_refused() {
    let mut world = World::default();
    let network = subnet("10.0.0.0/24");
    world.give(&Call::of("c1", &network).requesting(&["10.0.0.5"]));
    let refusal = world.add(&Call::of("c1", &network).requesting(&["10.0.0.6"])).unwrap_err();
    assert_snapshot!(refusal, @"eth0 of container c1 on network net (node n1) already has 10.0.0.5/24, but now 10.0.0.6 is requested; delete the pod, and its successor gets addresses");
    assert!(refusal.is_passing());
}

#[test]
fn an_attachment_whose_entry_cannot_be_read_is_refused_and_left_alone() {
    for (value, why) in [(r#"{"v":7}"#, "newer"), ("[]", "damaged"), ("", "damaged")] {
        let mut world = World::default();
        world.put(keys::attachment(&attachment("c1")), value);
        let before = world.state.clone();
        let refusal = world.add(&Call::of("c1", &subnet("10.0.0.0/24"))).unwrap_err();
        assert!(chain(&refusal).to_string().contains(why) && refusal.is_passing(), "{}", chain(&refusal));
        assert_eq!(world.state, before);
    }
}

#[test]
fn interfaces_nodes_and_containers_are_attachments_of_their_own() {
    // Edge case 7.
    let mut world = World::default();
    let network = subnet("10.0.0.0/29");
    let eth0 = Call::of("c1", &network);
    let of = |id: AttachmentId| Call { id, ..eth0.clone() };
    let calls = [
        eth0.clone(),
        of(AttachmentId { ifname: IfName::new("net1").unwrap(), ..attachment("c1") }),
        of(AttachmentId { node: name("n2"), ..attachment("c1") }),
        of(attachment("c2")),
    ];
    let given: BTreeSet<IpAddr> = calls.iter().flat_map(|call| world.give(call)).collect();
    assert_eq!(given.len(), 4);
    world.del(&calls[1].id);
    assert_eq!(world.held().len(), 3);
    assert!(world.add(&calls[0]).unwrap().repeated);
}
