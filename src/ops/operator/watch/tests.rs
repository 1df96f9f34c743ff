#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::deadline::Deadline;
use crate::ipam::address::Span;
use crate::ipam::lease::{AllocationKind, Began, Holder, Lease, OnRelease, PodRef, Unknown, write};
use crate::ipam::name::{AttachmentId, IfName};
use crate::store::{Key, Op, Txn};

const MINUTE: Duration = Duration::from_secs(60);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn lease(namespace: &str, pod: &str, node: &str, network: &str) -> Vec<u8> {
    let holder = Holder {
        id: AttachmentId {
            node: name(node),
            container: name("c1"),
            ifname: IfName::new("net1").unwrap(),
            network: name(network),
        },
        pod: PodRef { namespace: Some(namespace.into()), name: Some(pod.into()), uid: Some("u".into()) },
        workload: None,
        controller: None,
        cluster: None,
        began: Began { boot: "b".into(), boottime: 1 },
        unknown: Unknown::new(),
    };
    write(&Lease::new(AllocationKind::Fixed, vec![holder], now(), OnRelease::Forget))
}

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 1, 0, last])
}

struct Fixture {
    store: StoreConfig,
    _folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("kube-ipam-watch-").tempdir().unwrap();
        Self { store: StoreConfig::Embedded { data_dir: folder.path().to_owned() }, _folder: folder }
    }

    async fn write(&self, ops: Vec<Op>) {
        let txn = Txn::new(vec![], ops, vec![]).unwrap();
        self.store.open(None).commit(&txn, Deadline::after(MINUTE)).await.unwrap();
    }

    async fn put(&self, vrf: &str, last: u8, value: Vec<u8>) {
        self.write(vec![Op::Put(keys::lease(&name(vrf), ip(last)), value)]).await;
    }
}

async fn next(watcher: &mut Watcher) -> Watched {
    timeout(MINUTE, watcher.next(now)).await.unwrap().unwrap()
}

/// Checks that a watch with these options shows one change alone, that of an address which ends in 2.
async fn shows_only_the_second(options: WatchOptions) {
    let fixture = Fixture::new();
    let pools = serde_json::json!({ "primaries": "10.1.0.2-10.1.0.2" });
    let definition = serde_json::json!({ "v": 1, "sets": [[{ "subnet": "10.1.0.0/24", "dynamic": "10.1.0.10-10.1.0.254", "pools": pools }]] });
    let key = Key::new("net/blue/db-net/00000000000000000000000000000001");
    fixture.write(vec![Op::Put(key, definition.to_string().into_bytes())]).await;
    let mut watcher = Watcher::new(&fixture.store, options.clone()).unwrap();
    assert!(matches!(next(&mut watcher).await, Watched::Started(Some(0))));
    fixture.put("default", 1, lease("web", "web-1", "n1", "lan")).await;
    fixture.put("blue", 2, lease("db", "pg-0", "n2", "db-net")).await;
    fixture.put("default", 3, lease("web", "web-3", "n1", "lan")).await;
    match next(&mut watcher).await {
        Watched::Change(change) => {
            assert_eq!((change.address, change.event.word()), (ip(2), "assigned"), "{options:?}")
        }
        other => panic!("{options:?}: {other:?}"),
    }
    fixture.write(vec![Op::Delete(keys::lease(&name("default"), ip(1)))]).await;
    fixture.write(vec![Op::Delete(keys::lease(&name("blue"), ip(2)))]).await;
    match next(&mut watcher).await {
        Watched::Change(change) => {
            assert_eq!((change.address, change.event.word()), (ip(2), "released"), "{options:?}")
        }
        other => panic!("{options:?}: {other:?}"),
    }
}

#[tokio::test]
async fn each_option_shows_what_it_names_and_nothing_else() {
    let none = Selection::default;
    for selection in [
        Selection { vrfs: [name("blue")].into(), ..none() },
        Selection { networks: [name("db-net")].into(), ..none() },
        Selection { pools: ["primaries".to_owned()].into(), ..none() },
        Selection { pools: ["primaries".to_owned()].into(), networks: [name("db-net")].into(), ..none() },
        Selection { namespaces: ["db".to_owned()].into(), ..none() },
        Selection { pods: ["pg-0".to_owned()].into(), ..none() },
        Selection { pods: ["other".to_owned(), "db/pg-0".to_owned()].into(), ..none() },
        Selection { nodes: [name("n2")].into(), ..none() },
        Selection { ranges: vec![Span::single(ip(2))], ..none() },
        Selection { vrfs: [name("blue")].into(), ranges: vec![Span::single(ip(2))], ..none() },
        Selection { vrfs: [name("blue"), name("red")].into(), nodes: [name("n2")].into(), ..none() },
    ] {
        shows_only_the_second(WatchOptions { selection, since: None }).await;
    }
}

#[tokio::test]
async fn a_store_without_a_history_says_that_it_can_not_start_in_the_past() {
    let fixture = Fixture::new();
    fixture.put("default", 1, lease("web", "web-1", "n1", "lan")).await;
    let options = WatchOptions { since: Some(Position::new("1")), ..WatchOptions::default() };
    let mut watcher = Watcher::new(&fixture.store, options).unwrap();
    assert!(matches!(next(&mut watcher).await, Watched::Started(None)));
    let error = timeout(MINUTE, watcher.next(now)).await.unwrap().unwrap_err();
    assert!(error.to_string().ends_with("does not have all changes since 1; leave --since out to watch from now on"));
}

#[tokio::test]
async fn after_a_gap_the_difference_follows() {
    let fixture = Fixture::new();
    let filter = Filter::new(&fixture.store, Selection::default()).unwrap();
    let (watch, known) = (fixture.store.open(None).changes(&filter.span(), None), Known::default());
    let store = fixture.store.clone();
    let mut watcher =
        Watcher { store, filter, watch, known, since: None, ready: VecDeque::new(), is_started: false, is_lost: false };
    let entry = |last: u8, revision: u64| crate::store::Entry {
        key: keys::lease(&name("default"), ip(last)),
        value: lease("db", "pg-0", "n1", "lan"),
        revision: crate::store::Revision(revision.try_into().unwrap()),
    };
    let position = || Position::new("9");
    for update in [
        Update::Entries(vec![entry(1, 2), entry(2, 3), entry(3, 4)]),
        Update::Listed(position()),
        Update::Gap,
        Update::Entries(vec![entry(1, 2), entry(2, 5), entry(4, 6)]),
        Update::Listed(position()),
    ] {
        watcher.note(update, now()).unwrap();
    }
    let words = watcher.ready.iter().map(|watched| match watched {
        Watched::Change(change) => format!("{} {}", change.address, change.event.word()),
        Watched::Started(count) => format!("{count:?}"),
        other => format!("{other:?}"),
    });
    let expected = ["Some(3)", "Gap { is_compared: true }", "10.1.0.2 assigned", "10.1.0.4 assigned", "10.1.0.3 freed"];
    assert_eq!(words.collect::<Vec<_>>(), expected);
}

#[test]
fn an_outage_is_passed_on_once_and_so_is_its_end() {
    let fixture = Fixture::new();
    let mut watcher = Watcher::new(&fixture.store, WatchOptions::default()).unwrap();
    let down = || StoreError::Unavailable(crate::cause::Cause::new("down"));
    assert!(matches!(watcher.fail(down()), Err(WatchError::Store(_))));
    watcher.note(Update::Listed(Position::new("1")), now()).unwrap();
    for _ in 0..3 {
        watcher.fail(down()).unwrap();
    }
    watcher.note(Update::Resumed, now()).unwrap();
    watcher.note(Update::Resumed, now()).unwrap();
    let seen: Vec<_> = watcher.ready.iter().collect();
    assert!(matches!(seen[..], [Watched::Started(_), Watched::Lost(_), Watched::Back]), "{seen:?}");
}
