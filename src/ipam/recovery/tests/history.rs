//! Random histories in which backups are put back: no address has two users, and all that runs is in the store in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::ipam::decide::tests::sticky::{owner, sticky_call};
use crate::ipam::decide::tests::world::{Call, World, addresses, contradictions, cooling, subnet};
use crate::ipam::decide::{Evict, Evicted, Release};
use crate::ipam::keys;
use crate::ipam::lease::{Stored, Written};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::recovery::{
    Begin, Conflict, EntryState, Examine, Recorded, Recovery, Sign, Survey, UpdateRecovery, Witness, WriteBack,
    WrittenBack,
};
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::{OwnerKind, Reservation};
use crate::store::{MemoryMap, Op, Revision, RevisionOrder, Txn};

#[derive(Clone, Debug)]
enum Action {
    /// An ADD of a container on a node, for a certain address or any.
    Add {
        node: usize,
        container: u8,
        fixed: Option<u8>,
    },
    /// Its DEL.
    Del {
        node: usize,
        container: u8,
    },
    BackUp,
    /// The backup takes the place of the store; its revision is raised beyond all that was seen, or not.
    Restore {
        raised: bool,
    },
    /// A node's look, as the installer has one each minute.
    Look {
        node: usize,
    },
}

/// What a node has outside of the store.
#[derive(Default)]
struct Node {
    records: BTreeMap<AttachmentId, Written>,
    /// When the addresses of each record were new.
    ages: BTreeMap<AttachmentId, Timestamp>,
    newest: Option<Revision>,
}

impl Node {
    /// A record whose addresses are not new stays as old as it was. Without one, it is as old as their leases.
    fn keep(&mut self, id: AttachmentId, written: Written) {
        let since = written.leases.iter().map(|(_, lease)| lease.since).max().unwrap();
        if self.records.insert(id.clone(), written).is_none() {
            self.ages.insert(id, since);
        }
    }

    /// The record of this attachment, then the others, the last written first.
    fn witnesses(&self, own: &AttachmentId) -> Vec<Witness> {
        let mut others: Vec<&AttachmentId> = self.records.keys().filter(|id| *id != own).collect();
        others.sort_by_key(|id| std::cmp::Reverse(self.ages[id]));
        let ids = std::iter::once(own).chain(others);
        let witness = |id: &AttachmentId| Some(Witness { id: id.clone(), revision: self.records.get(id)?.revision });
        ids.filter_map(witness).collect()
    }
}

struct Story {
    world: World,
    backup: MemoryMap,
    nodes: Vec<Node>,
    /// Whether the operator writes the recovery into a backup before it is opened.
    announced: bool,
}

impl Story {
    fn new(order: RevisionOrder, nodes: usize, announced: bool) -> Self {
        let nodes = (0..nodes).map(|_| Node::default()).collect();
        Self { world: World::with_order(order), backup: MemoryMap::default(), nodes, announced }
    }

    fn call(&self, node: usize, container: u8, fixed: Option<u8>) -> Call {
        let mut call = Call::of(&format!("c{node}-{container}"), &cooling(subnet("10.0.0.0/28"), 0, false));
        call.id.node = name(node);
        call.began.boottime = self.world.seconds.unsigned_abs();
        // One container of each node is that of a StatefulSet's pod, which keeps its address.
        if container == 0 {
            let pod = format!("pg-{node}");
            call = sticky_call(call, owner(OwnerKind::StatefulSet, "pg", Some(&pod)));
        }
        match fixed {
            Some(last) => call.requesting(&[&format!("10.0.0.{}", 2 + last % 13)]),
            None => call,
        }
    }

    fn run(&mut self, action: &Action) -> Result<(), TestCaseError> {
        self.world.wait(1);
        match action {
            Action::Add { node, container, fixed } => self.add(node % self.nodes.len(), *container, *fixed)?,
            Action::Del { node, container } => self.del(node % self.nodes.len(), *container),
            Action::BackUp => self.backup = self.world.state.clone(),
            Action::Restore { raised } => self.restore(*raised),
            Action::Look { node } => self.look(node % self.nodes.len())?,
        }
        self.nobody_shares()
    }

    fn add(&mut self, node: usize, container: u8, fixed: Option<u8>) -> Result<(), TestCaseError> {
        let call = self.call(node, container, fixed);
        let known = &self.nodes[node];
        let held = known.records.get(&call.id).map(|written| &written.attachment.addresses);
        let addresses_of_record = held.into_iter().flatten().map(|assigned| assigned.address.addr()).collect();
        let mut witnesses = match self.world.order {
            RevisionOrder::Counted => Vec::new(),
            RevisionOrder::Unordered => known.witnesses(&call.id),
        }
        .into_iter();
        let recorded = Recorded { newest: known.newest, addresses: addresses_of_record, witness: witnesses.next() };
        let mut add = call.decision().unwrap().with_records(recorded);
        let mut granted = self.world.ask_on(&call, &mut add);
        while let Some(id) = add.to_examine().cloned() {
            let written = self.nodes[node].records[&id].clone();
            if let (_, EntryState::Lost(sign)) = self.world.decide(&mut Examine::new(self.world.order, id, written)) {
                self.begin(&sign.to_string());
                break;
            }
            add.set_witness(witnesses.next());
            granted = self.world.ask_on(&call, &mut add);
        }
        match granted {
            Ok(granted) => {
                if let Some(earlier) = self.nodes[node].records.get(&call.id) {
                    let before: Vec<IpAddr> = earlier.leases.iter().map(|(ip, _)| *ip).collect();
                    prop_assert_eq!(addresses(&granted), before, "a repeated ADD");
                }
                self.note(node, granted.revision);
                self.nodes[node].keep(call.id, granted.written());
            }
            // Its call does what its node can, as all that meet a recovery do.
            Err(Refusal::Recovering { .. }) => self.take_part(node)?,
            Err(_) => {}
        }
        Ok(())
    }

    fn del(&mut self, node: usize, container: u8) {
        let id = self.call(node, container, None).id;
        let written = self.nodes[node].records.remove(&id);
        let vrf = Name::new("default").unwrap();
        let had_record = written.is_some();
        let release = Release::new(id, vrf, written, false).after_revision(self.world.order, self.nodes[node].newest);
        let released = self.world.release(release);
        let is_one = |sign: &Sign| had_record || matches!(sign, Sign::Behind { .. });
        if let Some(sign) = released.sign.filter(is_one) {
            self.begin(&sign.to_string());
        }
    }

    fn restore(&mut self, raised: bool) {
        let beyond = self.nodes.iter().filter_map(|node| node.newest).max_by_key(|newest| newest.0);
        self.world.state = self.backup.clone();
        // Without an order, there is nothing to raise.
        while raised && beyond.is_some_and(|beyond| self.at().0 <= beyond.0) {
            let put = vec![Op::Put(crate::store::Key::new("raised"), Vec::new())];
            self.world.commit(&Txn::new(Vec::new(), put, Vec::new()).unwrap());
        }
        if self.announced {
            // As `kube-ipam recovery --begin` does it.
            let recovery = Recovery::new("the operator has restored a backup".to_owned(), None, self.world.now());
            let mut begin = match self.world.decide(&mut Survey).1.current {
                Some((seen, _)) => Begin::instead_of(recovery, seen),
                None => Begin::new(recovery),
            };
            self.world.decide(&mut begin);
        } else if raised && self.world.order == RevisionOrder::Counted {
            // The order of revisions shows nothing, so that only a look does.
            for node in 0..self.nodes.len() {
                let _ = self.look(node);
            }
        }
    }

    fn at(&mut self) -> Revision {
        self.world.commit(&Txn::read(Vec::new()).unwrap()).at
    }

    /// Only numbers that are counted are worth noting.
    fn note(&mut self, node: usize, revision: Revision) {
        self.nodes[node].newest = (self.world.order == RevisionOrder::Counted).then_some(revision);
    }

    fn begin(&mut self, sign: &str) {
        let recovery = Recovery::new(sign.to_owned(), None, self.world.now());
        self.world.decide(&mut Begin::new(recovery));
    }

    fn look(&mut self, node: usize) -> Result<(), TestCaseError> {
        let (at, _) = self.world.decide(&mut Survey);
        let mut sign = Sign::behind(at, self.nodes[node].newest, false);
        for (id, written) in self.nodes[node].records.clone() {
            if let (_, EntryState::Lost(lost)) = self.world.decide(&mut Examine::new(self.world.order, id, written)) {
                sign = sign.or(Some(lost));
            }
        }
        if let Some(sign) = sign {
            self.begin(&sign.to_string());
        }
        self.take_part(node)
    }

    /// As `ops::recovery` does it.
    fn take_part(&mut self, node: usize) -> Result<(), TestCaseError> {
        let (_, progress) = self.world.decide(&mut Survey);
        let Some((mut current, recovery)) = progress.current.clone() else { return Ok(()) };
        let (mut wrote, mut waits) = (false, false);
        for (id, written) in self.nodes[node].records.clone() {
            loop {
                let step = self.world.decide(&mut WriteBack::new(self.world.order, id.clone(), written.clone()));
                match step {
                    WrittenBack::NothingLost(_) => break,
                    WrittenBack::Back(written) => {
                        self.nodes[node].keep(id, *written);
                        wrote = true;
                        break;
                    }
                    WrittenBack::Conflicts(conflicts) => {
                        for conflict in &conflicts {
                            waits |= !self.settle(node, conflict)?;
                        }
                        if waits {
                            break;
                        }
                    }
                }
            }
        }
        if waits {
            return Ok(());
        }
        if wrote && progress.done.contains_key(&name(node)) {
            self.world.decide(&mut Begin::instead_of(recovery, current));
            current = self.world.decide(&mut Survey).1.current.unwrap().0;
        }
        let at = self.at();
        self.note(node, at);
        self.world.decide(&mut UpdateRecovery::node_done(name(node), current));
        let (_, progress) = self.world.decide(&mut Survey);
        let all: Vec<Name> = (0..self.nodes.len()).map(name).collect();
        if progress.missing(&all).is_empty() {
            self.world.decide(&mut UpdateRecovery::end(&progress).unwrap());
            let missing = self.missing();
            prop_assert!(missing.is_empty(), "it is over without {:?}", missing);
        }
        Ok(())
    }

    /// Who holds it by the store has ended since the backup, or has another address by now, as its node's records or the API
    /// server tell. `false` if the latter knows only that it runs.
    fn settle(&mut self, asks: usize, conflict: &Conflict) -> Result<bool, TestCaseError> {
        let holder = conflict.holder.clone().unwrap();
        let of = (0..self.nodes.len()).find(|node| name(*node) == holder.id.node).unwrap();
        if let Some(record) = self.nodes[of].records.get(&holder.id) {
            let has = record.leases.iter().any(|(ip, _)| *ip == conflict.ip);
            prop_assert!(!has, "{} runs and has {}, as another one", holder.id, conflict.ip);
            if of != asks {
                return Ok(false);
            }
        }
        let vrf = Name::new("default").unwrap();
        let mut evict = Evict::new(vrf, conflict.ip, conflict.revision).keeping_reservation();
        let evicted = self.world.decide(&mut evict);
        prop_assert!(matches!(evicted, Evicted::Freed(_)), "{:?}", evicted);
        Ok(true)
    }

    /// The attachments that run and that the store does not have.
    fn missing(&self) -> BTreeSet<AttachmentId> {
        let held: BTreeSet<AttachmentId> = self.world.held().into_values().collect();
        let records = self.nodes.iter().flat_map(|node| node.records.keys().cloned());
        records.filter(|id| !held.contains(id)).collect()
    }

    fn nobody_shares(&self) -> Result<(), TestCaseError> {
        let mut users: BTreeMap<IpAddr, AttachmentId> = BTreeMap::new();
        for (id, written) in self.nodes.iter().flat_map(|node| &node.records) {
            for (ip, _) in &written.leases {
                if let Some(other) = users.insert(*ip, id.clone()) {
                    prop_assert!(false, "{} and {} have {}", id, other, ip);
                }
            }
        }
        Ok(())
    }

    /// Every node looks, as often as it takes.
    fn settle_down(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..3 {
            for node in 0..self.nodes.len() {
                self.look(node)?;
            }
        }
        prop_assert!(!self.world.keys("recovery/").contains(&keys::recovery().to_string()), "it is not over");
        prop_assert_eq!(self.missing(), BTreeSet::new());
        prop_assert_eq!(contradictions(&self.world.state), Vec::<String>::new());
        self.owners_find_their_addresses()
    }

    /// What an owner's next pod would look for is what its pod has.
    fn owners_find_their_addresses(&self) -> Result<(), TestCaseError> {
        for (id, written) in self.nodes.iter().flat_map(|node| &node.records) {
            for (ip, lease) in &written.leases {
                let Some(owner) = &lease.owner else { continue };
                let entry = self.world.text(&keys::reservation(&written.attachment.vrf, owner, id));
                let reservation = entry.and_then(|text| Stored::<Reservation>::read(text.as_bytes()).known());
                let names = reservation.is_some_and(|reservation| reservation.addresses.contains(ip));
                prop_assert!(names, "{} has {} of {}, whose entry does not name it", id, ip, owner);
            }
        }
        Ok(())
    }
}

fn name(node: usize) -> Name {
    Name::new(format!("n{node}")).unwrap()
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let (node, container) = (0..3_usize, 0..5_u8);
    let action = prop_oneof![
        6 => (node.clone(), container.clone(), prop::option::weighted(0.3, 0..13_u8))
            .prop_map(|(node, container, fixed)| Action::Add { node, container, fixed }),
        4 => (node.clone(), container).prop_map(|(node, container)| Action::Del { node, container }),
        2 => Just(Action::BackUp),
        2 => any::<bool>().prop_map(|raised| Action::Restore { raised }),
        1 => node.prop_map(|node| Action::Look { node }),
    ];
    prop::collection::vec(action, 1..60)
}

fn tell(order: RevisionOrder, nodes: usize, announced: bool, actions: &[Action]) -> Result<(), TestCaseError> {
    let mut story = Story::new(order, nodes, announced);
    for action in actions {
        story.run(action)?;
    }
    story.settle_down()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_backup_is_put_back_no_address_of_a_lone_node_has_two_users(actions in actions()) {
        tell(RevisionOrder::Counted, 1, false, &actions)?;
    }

    #[test]
    fn whatever_backup_is_put_back_as_documented_no_address_has_two_users_on_any_node(actions in actions()) {
        tell(RevisionOrder::Counted, 3, true, &actions)?;
    }

    #[test]
    fn whatever_backup_is_put_back_without_an_order_of_revisions_no_address_of_a_lone_node_has_two_users(
        actions in actions(),
    ) {
        tell(RevisionOrder::Unordered, 1, false, &actions)?;
    }

    #[test]
    fn whatever_backup_is_put_back_as_documented_into_a_store_without_an_order_no_address_has_two_users(
        actions in actions(),
    ) {
        tell(RevisionOrder::Unordered, 3, true, &actions)?;
    }
}
