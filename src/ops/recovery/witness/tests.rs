//! An ADD compares its node's newest records with the store.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::fs;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::MAX_WITNESSES;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::decide::{Allocation, Evict};
use crate::ipam::keys;
use crate::ipam::lease::PodRef;
use crate::ipam::name::AttachmentId;
use crate::ipam::refusal::Refusal;
use crate::ops::del;
use crate::ops::rehearsal::tests::{Bed, target};
use crate::record::{Netns, ReadResult, Record, RecordState};
use crate::store::{MemoryMap, Op, Revision, StoreConfig, Txn};

/// A node and its store, whose revisions have no order.
struct Host {
    bed: Bed,
}

impl Host {
    fn new() -> Self {
        Self { bed: Bed::without_order(json!({ "subnet": "10.1.0.0/24", "cooldown": "0s" })) }
    }

    fn add(&self, container: &str) -> Result<Allocation, Error> {
        self.bed.add(&target(container, "eth0", PodRef::default()), None)
    }

    /// An ADD that assigns an address.
    fn given(&self, container: &str) -> IpAddr {
        self.add(container).unwrap().leases[0].0
    }

    /// The sign for which an ADD is refused.
    fn sign(&self, container: &str) -> String {
        match self.add(container) {
            Err(Error::Refused(Refusal::Recovering { sign, .. })) => sign,
            other => panic!("it is not refused for a recovery: {other:?}"),
        }
    }

    fn back_up(&self) -> MemoryMap {
        self.bed.memory.as_ref().unwrap().back_up()
    }

    fn restore(&self, backup: &MemoryMap) {
        self.bed.memory.as_ref().unwrap().restore(backup);
    }

    fn id(&self, container: &str) -> AttachmentId {
        self.bed.call().attachment(&target(container, "eth0", PodRef::default()))
    }

    fn record(&self, container: &str) -> Record {
        match self.bed.call().node.records.peek(&self.id(container)).unwrap() {
            ReadResult::Record(record) => *record,
            other => panic!("{container} has no record: {other:?}"),
        }
    }

    /// Changes a record, as a call would, and leaves it as old as it was.
    fn change(&self, container: &str, change: impl FnOnce(&mut Record)) {
        let records = &self.bed.call().node.records;
        let lock = records.lock(&self.id(container), Deadline::after(Duration::from_secs(10))).unwrap();
        let mut record = self.record(container);
        change(&mut record);
        records.update(&lock, &record).unwrap();
    }

    fn written_at(&self, container: &str) -> SystemTime {
        fs::metadata(self.bed.call().node.records.path(&self.id(container))).unwrap().modified().unwrap()
    }

    /// Takes an address from its holder, with a trace of it.
    fn evict(&self, ip: IpAddr) {
        let vrf = self.bed.settings.vrf.clone();
        let (mut call, deadline) = (self.bed.call(), Deadline::after(Duration::from_secs(10)));
        let session = call.node.open(&self.bed.store()).unwrap();
        let lease = session.get(keys::lease(&vrf, ip), deadline).unwrap().unwrap();
        session.decide(&mut Evict::new(vrf, ip, lease.revision), deadline).unwrap();
    }

    fn is_recovering(&self) -> bool {
        let (mut call, deadline) = (self.bed.call(), Deadline::after(Duration::from_secs(10)));
        call.node.open(&self.bed.store()).unwrap().get(keys::recovery(), deadline).unwrap().is_some()
    }
}

#[test]
fn an_add_begins_a_recovery_if_the_store_lacks_the_newest_record() {
    let host = Host::new();
    host.given("a");
    let backup = host.back_up();
    let of_b = host.given("b");
    host.restore(&backup);
    let before = host.back_up();
    assert!(host.sign("c").contains("eth0 of container b"));
    assert!(host.is_recovering());
    // It has written the recovery, and nothing else.
    let written = |map: &MemoryMap| map.range(&keys::all_leases()).count();
    assert_eq!(written(&host.back_up()), written(&before));
    assert_eq!(host.bed.take_part().unwrap().written_back, [host.id("b")]);
    assert_ne!(host.given("c"), of_b);
}

#[test]
fn a_record_that_the_store_has_otherwise_for_a_reason_is_followed_by_the_next() {
    let host = Host::new();
    let backup = host.back_up();
    host.given("a");
    let of_b = host.given("b");
    host.evict(of_b);
    let with_both = host.back_up();
    // What was left of b is known, and so is a.
    host.given("c");
    assert_eq!(host.record("b").held.unwrap().attachment.lost, [of_b]);
    host.restore(&with_both);
    assert!(host.sign("d").contains("container c"));
    host.restore(&backup);
    // Now c has no record; b has only a trace, and a is lost.
    host.change("c", |record| record.deleting = true);
    assert!(host.sign("d").contains("container a"));
}

#[test]
fn a_record_that_was_updated_stays_as_old_as_it_was() {
    let host = Host::new();
    let of_a = host.given("a");
    host.evict(of_a);
    let (before, revision) = (host.written_at("a"), host.record("a").held.unwrap().revision);
    host.given("b");
    assert_eq!(host.written_at("a"), before);
    assert_ne!(host.record("a").held.unwrap().revision, revision);
    let newest = host.bed.call().node.records.newest_first().unwrap();
    assert_eq!(newest, [host.id("b"), host.id("a")]);
}

#[test]
fn records_of_another_store_or_of_calls_without_an_outcome_are_no_witnesses() {
    let changes: [fn(&mut Record); 4] = [
        |record| record.state = RecordState::Asked,
        |record| record.held = None,
        |record| record.deleting = true,
        |record| record.store = StoreConfig::Embedded { data_dir: "/elsewhere".into() },
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let host = Host::new();
        let empty = host.back_up();
        host.given("a");
        host.change("a", change);
        host.restore(&empty);
        assert!(host.add("b").is_ok(), "change {n}");
    }
}

#[test]
fn a_container_that_is_gone_for_certain_lost_nothing() {
    let host = Host::new();
    let empty = host.back_up();
    host.given("a");
    let (folder, boot) = (host.bed.folder.path().join("netns"), host.bed.call().node.began.boot.clone());
    fs::write(&folder, "").unwrap();
    let netns = Netns::from_path(&folder).unwrap();
    fs::remove_file(&folder).unwrap();
    assert!(netns.is_gone(&boot, &boot));
    host.change("a", |record| record.netns = Some(netns));
    host.restore(&empty);
    assert!(host.add("b").is_ok());
    assert!(!host.is_recovering());
}

#[test]
fn an_add_that_is_refused_for_its_own_record_leaves_it_as_it_was() {
    let host = Host::new();
    let empty = host.back_up();
    host.given("a");
    host.given("b");
    let (record, written_at) = (host.record("a"), host.written_at("a"));
    host.restore(&empty);
    assert!(host.sign("a").contains("eth0 of container a"));
    assert_eq!(host.record("a"), record);
    assert_eq!(host.written_at("a"), written_at);
    // Its recovery gives both back, and the repeated ADD is served.
    assert_eq!(host.bed.take_part().unwrap().written_back.len(), 2);
    assert!(host.add("a").unwrap().repeated);
}

#[test]
fn a_record_that_another_call_is_changing_is_not_waited_for() {
    let host = Host::new();
    let empty = host.back_up();
    host.given("a");
    host.given("b");
    host.restore(&empty);
    let records = host.bed.call().node.records;
    let lock = records.lock(&host.id("b"), Deadline::after(Duration::from_secs(10))).unwrap();
    let began = std::time::Instant::now();
    assert!(host.sign("c").contains("container a"), "the next one is compared");
    assert!(began.elapsed() < Duration::from_secs(5));
    drop(lock);
}

#[test]
fn an_entry_that_a_restore_has_brought_back_is_as_old_as_its_lease() {
    let host = Host::new();
    host.given("a");
    let backup = host.back_up();
    del::del(&mut host.bed.call(), &target("a", "eth0", PodRef::default())).unwrap();
    // Nothing that runs is lost, so nobody notices it.
    host.restore(&backup);
    host.given("c");
    assert!(host.add("a").unwrap().repeated, "the backup has its entry");
    assert_eq!(host.bed.call().node.records.newest_first().unwrap(), [host.id("c"), host.id("a")]);
    host.restore(&backup);
    assert!(host.add("a").unwrap().repeated);
    assert!(host.sign("d").contains("container c"));
}

#[test]
fn an_add_compares_so_many_records_and_no_more() {
    let host = Host::new();
    host.given("lost");
    let others: Vec<String> = (0..MAX_WITNESSES).map(|n| format!("evicted-{n}")).collect();
    let given: Vec<IpAddr> = others.iter().map(|container| host.given(container)).collect();
    given.into_iter().for_each(|ip| host.evict(ip));
    let revisions: Vec<Revision> = others.iter().map(|c| host.record(c).held.unwrap().revision).collect();
    // Each of them has changed since its record, and has to be compared.
    let mut without = host.back_up();
    let delete = Op::Delete(keys::attachment(&host.id("lost")));
    without.commit(&Txn::new(Vec::new(), vec![delete], Vec::new()).unwrap());
    host.restore(&without);
    assert!(host.add("next").is_ok());
    let after: Vec<Revision> = others.iter().map(|c| host.record(c).held.unwrap().revision).collect();
    assert!(revisions.iter().zip(&after).all(|(before, after)| before != after), "{after:?}");
}

#[test]
fn where_revisions_are_counted_there_is_no_witness() {
    let bed = Bed::new(json!({ "subnet": "10.1.0.0/24" }));
    bed.add(&target("a", "eth0", PodRef::default()), None).unwrap();
    let call = bed.call();
    let id = call.attachment(&target("b", "eth0", PodRef::default()));
    let mut witnesses = super::Witnesses::list(&call.node, &bed.store(), &id, None).unwrap();
    assert_eq!(witnesses.first(&call.node, &bed.store()).unwrap(), None);
}
