//! What a later sandbox of a pod gets, if the pod's address was selected at random (invariant 5).

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::world::{Call, World, attachment, began, contradictions, cooling, ip, name, network, pod, range, subnet};
use crate::config::Network;
use crate::ipam::decide::{Allocation, TakenOver};
use crate::ipam::keys;
use crate::ipam::lease::AllocationKind;
use crate::ipam::name::AttachmentId;
use crate::ipam::range::Range;
use crate::ipam::refusal::Refusal;
use crate::ipam::takeover::{GoneReason, InUseReason, Mac, Probe, ProbeResult};

/// A range of one address with a long cooldown.
fn one() -> Network {
    cooling(subnet("10.0.0.5/32"), 3600, true)
}

fn sandbox(container: &str, network: &Network, boottime: u64) -> Call {
    Call::of(container, network).of_pod("web-1", "u-1", boottime)
}

fn sound(world: &World) {
    assert_eq!(contradictions(&world.state), Vec::<String>::new());
}

fn addresses(allocation: &Allocation) -> Vec<String> {
    allocation.attachment.addresses.iter().map(|assigned| assigned.address.to_string()).collect()
}

#[test]
fn a_later_sandbox_keeps_the_random_address_of_its_pod_also_in_a_full_range() {
    for network in [one(), subnet("10.0.0.0/24"), network(vec![vec![range("10.0.0.0/24")], vec![range("fd00::/64")]])] {
        let mut world = World::default();
        let old = world.add(&sandbox("old", &network, 100)).unwrap();
        let new = world.add(&sandbox("new", &network, 200).after_sandbox(&attachment("old"))).unwrap();
        assert_eq!(addresses(&new), addresses(&old));
        assert!(new.taken_over.iter().all(|TakenOver { reason, .. }| *reason == GoneReason::EarlierSandbox));
        assert_eq!((new.taken_over.len(), world.requests), (old.leases.len(), 3));
        assert!(new.leases.iter().all(|(_, lease)| lease.kind == AllocationKind::Dynamic));
        assert!(world.held().values().all(|id| *id == attachment("new")));
        sound(&world);
        // The earlier sandbox's DEL does not release the address, and its repeated ADD does not get it.
        assert!(matches!(world.add(&sandbox("old", &network, 100)), Err(Refusal::Lost { .. })));
        assert!(world.del(&attachment("old")).freed.is_empty());
        assert_eq!(world.del(&attachment("new")).freed.len(), old.leases.len());
    }
}

#[test]
fn a_pod_that_is_tried_a_hundred_times_holds_one_address() {
    let (mut world, network) = (World::default(), subnet("10.0.0.0/24"));
    let mut before = sandbox("c0", &network, 0);
    let first = world.give(&before);
    for n in 1..100 {
        let call = sandbox(&format!("c{n}"), &network, n).after_sandbox(&before.id);
        assert_eq!(world.give(&call), first);
        before = call;
    }
    assert_eq!(world.held().len(), 1);
    sound(&world);
}

#[test]
fn a_sandbox_that_was_killed_in_between_does_not_hide_what_the_pod_holds() {
    // The killed sandbox took the address over, and the node only knows the first one.
    let (mut world, network) = (World::default(), subnet("10.0.0.0/24"));
    let first = world.give(&sandbox("first", &network, 100));
    world.give(&sandbox("killed", &network, 200).after_sandbox(&attachment("first")));
    let third = world.give(&sandbox("third", &network, 300).after_sandbox(&attachment("first")));
    assert_eq!(third, first);
    assert_eq!(world.held().into_values().collect::<Vec<_>>(), [attachment("third")]);
    sound(&world);
}

#[test]
fn the_nodes_link_to_an_earlier_sandbox_is_only_a_hint() {
    struct Case {
        what: &'static str,
        earlier: Call,
        entry: Option<&'static str>,
    }
    let network = subnet("10.0.0.0/24");
    let case = |what, earlier| Case { what, earlier, entry: None };
    for Case { what, earlier, entry } in [
        case("another pod", Call::of("old", &network).of_pod("web-2", "u-2", 100)),
        case("another pod of its name", Call::of("old", &network).of_pod("web-1", "u-0", 100)),
        // Static pods of one manifest have one UID on all nodes.
        case("another pod of its UID", Call::of("old", &network).of_pod("web-1-n2", "u-1", 100)),
        case("a later sandbox", sandbox("old", &network, 300)),
        case("an unknown boot", Call { began: began("", 100), ..sandbox("old", &network, 100) }),
        case("another vrf", sandbox("old", &network, 100).in_vrf("red")),
        Case { entry: Some("{\"v\":2}"), ..case("a newer entry", sandbox("old", &network, 100)) },
        Case { entry: Some("torn"), ..case("an entry that can't be read", sandbox("old", &network, 100)) },
    ] {
        let mut world = World::default();
        let before = world.give(&earlier);
        if let Some(entry) = entry {
            world.put(keys::attachment(&earlier.id), entry);
        }
        let allocation = world.add(&sandbox("new", &network, 200).after_sandbox(&attachment("old"))).unwrap();
        assert!(allocation.taken_over.is_empty(), "{what}: {:?}", allocation.taken_over);
        assert_eq!(world.held()[&(earlier.vrf, before[0])], earlier.id, "{what}");
    }
    let mut world = World::default();
    world.give(&sandbox("new", &network, 200).after_sandbox(&attachment("old")));
    assert_eq!(world.requests, 2);
}

#[test]
fn a_later_sandbox_gets_no_address_that_was_released_or_left_the_range() {
    let mut world = World::default();
    let old = world.give(&sandbox("old", &subnet("10.0.0.0/24"), 100));
    let moved = world.give(&sandbox("new", &subnet("10.0.1.0/24"), 200).after_sandbox(&attachment("old")));
    assert_ne!(moved, old);
    // Cooldown applies to random selection, and this is one.
    world.del(&attachment("old"));
    let allocation = world.add(&sandbox("newest", &one(), 300).after_sandbox(&attachment("old"))).unwrap();
    assert!(allocation.taken_over.is_empty() && allocation.before_cooldown_ended.is_empty());
}

#[test]
fn a_requested_address_is_a_random_one_for_the_next_sandbox() {
    let (mut world, network) = (World::default(), subnet("10.0.0.0/24"));
    world.give(&sandbox("old", &network, 100).requesting(&["10.0.0.7"]));
    let allocation = world.add(&sandbox("new", &network, 200).after_sandbox(&attachment("old"))).unwrap();
    assert_eq!(
        (addresses(&allocation), allocation.leases[0].1.kind),
        (vec!["10.0.0.7/24".to_owned()], AllocationKind::Dynamic)
    );
    // A request comes before the former address.
    let other =
        world.give(&sandbox("newest", &network, 300).after_sandbox(&attachment("new")).requesting(&["10.0.0.9"]));
    assert_eq!(other, [ip("10.0.0.9")]);
    sound(&world);
}

#[test]
fn a_random_address_is_probed_before_the_next_sandbox_gets_it_if_configured() {
    let network = Network { probe: Probe::IfPossible, ..subnet("10.0.0.0/24") };
    let mut world = World::default();
    let old = world.give(&sandbox("old", &network, 100));
    let address = old[0].to_string();
    let call = || sandbox("new", &network, 200).after_sandbox(&attachment("old"));
    let answer = ProbeResult::Conflict { mac: Mac([2, 0, 0, 0, 0, 1]), ifname: call().id.ifname };
    let mut apart = world.clone();
    assert_ne!(apart.give(&call().with_probe(&address, answer)), old, "the earlier sandbox still uses it");
    sound(&apart);
    assert_eq!(world.give(&call().with_probe(&address, ProbeResult::NoReply)), old);
    sound(&world);
}

#[test]
fn a_later_sandbox_on_a_renamed_node_gets_the_pods_address() {
    for asked in [&[][..], &["10.0.0.7"]] {
        let mut world = World::default();
        let old = sandbox("old", &subnet("10.0.0.0/24"), 100).requesting(asked);
        let old = Call { id: AttachmentId { node: name("n1.example"), ..old.id.clone() }, ..old };
        let given = world.give(&old);
        let new = sandbox("new", &subnet("10.0.0.0/24"), 200).after_sandbox(&old.id).requesting(asked);
        assert_eq!(world.give(&new), given);
        assert_eq!(world.held().into_values().collect::<Vec<_>>(), [new.id]);
        sound(&world);
    }
}

#[test]
fn a_static_pod_of_another_node_keeps_what_it_has() {
    // One manifest from one URL: the same UID, and pod names with the node's name.
    let hash = "c0ffee00c0ffee00c0ffee00c0ffee00";
    let network = subnet("10.0.0.0/24");
    let mut world = World::default();
    let there = Call { pod: Some(pod("web-n2", hash)), ..sandbox("old", &network, 100) };
    let there = Call { id: AttachmentId { node: name("n2"), ..there.id.clone() }, ..there }.requesting(&["10.0.0.7"]);
    world.give(&there);
    let here = Call { pod: Some(pod("web-n1", hash)), ..sandbox("new", &network, 200) }.requesting(&["10.0.0.7"]);
    assert!(matches!(world.add(&here), Err(Refusal::Held { .. })));
    assert_eq!(world.held().into_values().collect::<Vec<_>>(), [there.id]);
}

/// The pods of a node, as many as it has random addresses.
const PODS: usize = 3;

/// The address that its containers without a pod request, one after the other.
const ASKED: &str = "10.0.0.9";

#[derive(Clone, Debug)]
enum Action {
    /// A pod gets a new sandbox, whatever happened to the one before.
    Sandbox(usize),
    /// One of a pod's sandboxes is deleted, counted from the last one.
    Del(usize, usize),
    /// A container without a pod starts, either a new one or the previous one again.
    Container { again: bool },
    /// The node boots.
    Boot,
    /// The node is renamed.
    Rename,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        6 => (0..PODS).prop_map(Action::Sandbox),
        3 => (0..PODS, 0..3_usize).prop_map(|(pod, nth)| Action::Del(pod, nth)),
        3 => any::<bool>().prop_map(|again| Action::Container { again }),
        1 => Just(Action::Boot),
        1 => Just(Action::Rename),
    ];
    proptest::collection::vec(action, 1..60)
}

/// A node and its records.
#[derive(Default)]
struct Node {
    world: World,
    /// How often it booted and was renamed, and the calls in this boot.
    boots: u64,
    renames: usize,
    calls: u64,
    /// The sandboxes of each pod that were not deleted, the latest last, and the one that its link names.
    sandboxes: BTreeMap<usize, Vec<AttachmentId>>,
    links: BTreeMap<usize, AttachmentId>,
    /// The container with the requested address, and the boot of its last ADD.
    container: Option<(AttachmentId, u64)>,
    /// How many there were, so that no ID is reused.
    containers: usize,
}

impl Node {
    /// A call of this node in this boot, for an attachment under the node's present or former name.
    fn call(&mut self, container: &str, known: Option<&AttachmentId>) -> Call {
        self.calls += 1;
        let range = range("10.0.0.0/28");
        let window = "10.0.0.2-10.0.0.4".parse().unwrap();
        let call = Call::of(container, &cooling(network(vec![vec![Range { window, ..range }]]), 0, false));
        let node = name(["n1", "n1.example"][self.renames % 2]);
        let id = known.cloned().unwrap_or_else(|| AttachmentId { node, ..call.id.clone() });
        Call { id, began: began(&format!("boot-{}", self.boots), self.calls), ..call }
    }

    fn new_sandbox(&mut self, number: usize) -> Result<(), TestCaseError> {
        self.containers += 1;
        let call = self.call(&format!("pod-{}", self.containers), None);
        let call = Call { pod: Some(pod(&format!("web-{number}"), &format!("u-{number}"))), ..call };
        let call = match self.links.get(&number) {
            Some(earlier) => call.after_sandbox(earlier),
            None => call,
        };
        let had = self.held_by(number);
        let given = self.world.add(&call).map_err(|refusal| TestCaseError::fail(refusal.to_string()))?;
        let given: Vec<String> = given.leases.iter().map(|(ip, _)| ip.to_string()).collect();
        // Its own DEL may have removed the link that a later sandbox would follow. Then everything was released.
        prop_assert!(had.is_empty() || had == given, "{:?} became {:?}", had, given);
        self.links.insert(number, call.id.clone());
        self.sandboxes.entry(number).or_default().push(call.id);
        Ok(())
    }

    fn held_by(&self, number: usize) -> Vec<String> {
        let none = Vec::new();
        let own = self.sandboxes.get(&number).unwrap_or(&none);
        let held = self.world.held();
        held.iter().filter(|(_, id)| own.contains(id)).map(|((_, ip), _)| ip.to_string()).collect()
    }

    fn del(&mut self, number: usize, nth: usize) {
        let Some(sandboxes) = self.sandboxes.get_mut(&number).filter(|sandboxes| nth < sandboxes.len()) else { return };
        let id = sandboxes.remove(sandboxes.len() - 1 - nth);
        self.world.del(&id);
        if self.links.get(&number) == Some(&id) {
            self.links.remove(&number);
        }
    }

    fn start_container(&mut self, again: bool) -> Result<(), TestCaseError> {
        let before = self.container.clone();
        let known = before.as_ref().filter(|_| again).map(|(id, _)| id);
        self.containers += usize::from(known.is_none());
        let call = self.call(&format!("podman-{}", self.containers), known).requesting(&[ASKED]);
        let call = match &before {
            Some((id, boot)) if *boot < self.boots => call.with_container_check(id, Ok(GoneReason::EarlierBoot)),
            Some((id, _)) => call.with_container_check(id, Err(InUseReason::NamespaceExists)),
            None => call,
        };
        // The record has the present boot, the store the first one.
        let may_have = before.is_none_or(|(id, boot)| id == call.id || boot < self.boots);
        let given = self.world.add(&call);
        prop_assert_eq!(given.is_ok(), may_have, "{:?}", given);
        if may_have {
            self.container = Some((call.id, self.boots));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_becomes_of_a_node_no_pod_of_it_is_refused_and_each_holds_one_address(actions in actions()) {
        let mut node = Node::default();
        for action in actions {
            match action {
                Action::Sandbox(number) => node.new_sandbox(number)?,
                Action::Del(number, nth) => node.del(number, nth),
                Action::Container { again } => node.start_container(again)?,
                Action::Boot => (node.boots, node.calls) = (node.boots + 1, 0),
                Action::Rename => node.renames += 1,
            }
            prop_assert_eq!(contradictions(&node.world.state), Vec::<String>::new());
            for number in 0..PODS {
                prop_assert!(node.held_by(number).len() <= 1, "{:?}", node.world.held());
            }
        }
        for number in 0..PODS {
            while node.sandboxes.get(&number).is_some_and(|sandboxes| !sandboxes.is_empty()) {
                node.del(number, 0);
            }
        }
        let left: Vec<String> = node.world.held().into_keys().map(|(_, ip)| ip.to_string()).collect();
        prop_assert!(left.iter().all(|ip| ip == ASKED), "{:?}", left);
    }
}
