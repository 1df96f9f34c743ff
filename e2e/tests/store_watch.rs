//! Watches of a store on real etcd: what continues, what is a gap, and what is an error.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::time::Duration;

use kube_ipam::cause::chain;
use kube_ipam::deadline::Deadline;
use kube_ipam::store::conformance::actors;
use kube_ipam::store::conformance::watch::{self, Replay};
use kube_ipam::store::{
    EtcdConfig, EtcdStore, Key, KeySpan, Op, Outcome, Position, Store, StoreError, Txn, Update, Watch,
};
use kube_ipam_e2e::etcd::{self, Cluster, PREFIX};
use kube_ipam_e2e::gate::Gate;
use tokio::time::timeout;

/// Leaves the test out where there is no etcd.
macro_rules! needs_etcd {
    ($test:literal) => {
        if !etcd::installed_or_skip($test) {
            return;
        }
    };
}

const LONG: Duration = Duration::from_secs(60);

fn store(cluster: &Cluster) -> EtcdStore {
    EtcdStore::new(cluster.config(), None)
}

fn span() -> KeySpan {
    KeySpan::prefix("k/")
}

async fn put(store: &EtcdStore, key: &str) -> Outcome {
    let txn = Txn::new(vec![], vec![Op::Put(Key::new(key), b"{}".to_vec())], vec![]).unwrap();
    loop {
        match store.commit(&txn, Deadline::after(LONG)).await {
            Err(StoreError::Ambiguous(_)) => {}
            outcome => return outcome.unwrap(),
        }
    }
}

/// Waits until a watch has shown a key, and checks that it has shown everything else, too.
async fn shows(replay: &mut Replay, store: &EtcdStore, key: &str) {
    timeout(LONG, replay.until_shown(&Key::new(key))).await.unwrap_or_else(|_| panic!("no {key}: {replay:?}")).unwrap();
    replay.is_current(store, &span()).await.unwrap();
}

async fn next(watch: &mut Watch) -> Result<Update, StoreError> {
    timeout(LONG, watch.next()).await.unwrap()
}

#[tokio::test]
async fn its_watches_keep_the_rules() {
    needs_etcd!("its_watches_keep_the_rules");
    let cluster = Cluster::plain(1).unwrap();
    timeout(LONG, watch::check(&store(&cluster))).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_of_clients_at_once_is_shown_once_in_order() {
    needs_etcd!("every_change_of_clients_at_once_is_shown_once_in_order");
    let cluster = Cluster::plain(1).unwrap();
    let all = KeySpan::prefix("conformance/");
    let mut replays: Vec<_> = (0..2).map(|_| Replay::new(store(&cluster).changes(&all, None))).collect();
    for replay in &mut replays {
        replay.advance().await.unwrap();
    }
    let started: Vec<_> = (0..8)
        .map(|_| {
            let store = store(&cluster);
            tokio::spawn(async move { actors::count_up(&store, 10).await })
        })
        .collect();
    for actor in started {
        actor.await.unwrap().unwrap();
    }
    let store = store(&cluster);
    put(&store, "conformance/end").await;
    for replay in &mut replays {
        timeout(LONG, replay.until_shown(&Key::new("conformance/end"))).await.unwrap().unwrap();
        replay.is_current(&store, &all).await.unwrap();
        assert_eq!((replay.changes, replay.gaps), (81, 0));
    }
}

#[tokio::test]
async fn a_member_that_restarts_or_hangs_causes_no_gap_and_no_error() {
    needs_etcd!("a_member_that_restarts_or_hangs_causes_no_gap_and_no_error");
    let mut cluster = Cluster::plain(3).unwrap();
    let store = store(&cluster);
    put(&store, "k/start").await;
    let mut replay = Replay::new(store.changes(&span(), None));
    shows(&mut replay, &store, "k/start").await;
    for member in 0..3 {
        cluster.kill(member).unwrap();
        let key = format!("k/without-{member}");
        put(&store, &key).await;
        shows(&mut replay, &store, &key).await;
        cluster.restart(member).unwrap();
        cluster.stop(member).unwrap();
        let key = format!("k/stopped-{member}");
        put(&store, &key).await;
        shows(&mut replay, &store, &key).await;
        cluster.go_on(member).unwrap();
    }
    assert_eq!((replay.gaps, replay.changes), (0, 6));
}

#[tokio::test]
async fn an_etcd_that_is_down_is_an_error_and_the_watch_continues_when_it_is_back() {
    needs_etcd!("an_etcd_that_is_down_is_an_error_and_the_watch_continues_when_it_is_back");
    let mut cluster = Cluster::plain(1).unwrap();
    let store = store(&cluster);
    let mut watch = store.changes(&span(), None);
    assert!(matches!(next(&mut watch).await, Ok(Update::Listed(_))));
    cluster.kill(0).unwrap();
    for _ in 0..2 {
        match next(&mut watch).await {
            Err(StoreError::Unavailable(cause)) => {
                assert!(chain(&cause).to_string().contains(&cluster.urls()[0]), "{cause}");
            }
            other => panic!("{other:?}"),
        }
    }
    cluster.restart(0).unwrap();
    while let Err(error) = next(&mut watch).await.map(|update| assert_eq!(update, Update::Resumed)) {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    }
    put(&store, "k/after").await;
    let changes = next(&mut watch).await.unwrap();
    assert!(matches!(&changes, Update::Changes { changes, .. } if changes.len() == 1), "{changes:?}");
}

#[tokio::test]
async fn what_etcd_has_compacted_is_a_gap_and_the_watch_starts_again() {
    needs_etcd!("what_etcd_has_compacted_is_a_gap_and_the_watch_starts_again");
    let cluster = Cluster::plain(1).unwrap();
    let store = store(&cluster);
    let first = Position::from(put(&store, "k/first").await.at);
    put(&store, "k/second").await;
    let last = put(&store, "k/third").await.at;
    cluster.etcdctl(&["compact", &last.0.to_string()]).unwrap();
    let mut watch = store.changes(&span(), Some(first));
    assert_eq!(next(&mut watch).await, Ok(Update::Gap));
    let mut replay = Replay::new(watch);
    shows(&mut replay, &store, "k/third").await;
    // A watch that is connected needs none of it.
    let end = put(&store, "k/end").await.at;
    cluster.etcdctl(&["compact", &end.0.to_string()]).unwrap();
    shows(&mut replay, &store, "k/end").await;
    assert_eq!((replay.gaps, replay.changes), (0, 1));
}

#[tokio::test]
async fn a_compaction_while_the_connection_is_lost_is_a_gap() {
    needs_etcd!("a_compaction_while_the_connection_is_lost_is_a_gap");
    let cluster = Cluster::plain(1).unwrap();
    let direct = store(&cluster);
    let gate = Gate::to(cluster.port(0)).unwrap();
    let config = EtcdConfig { urls: vec![gate.url()], ..cluster.config() };
    let mut replay = Replay::new(EtcdStore::new(config, None).changes(&span(), None));
    put(&direct, "k/before").await;
    shows(&mut replay, &direct, "k/before").await;
    gate.close();
    put(&direct, "k/missed").await;
    let last = put(&direct, "k/end").await.at;
    cluster.etcdctl(&["compact", &last.0.to_string()]).unwrap();
    gate.open();
    shows(&mut replay, &direct, "k/end").await;
    assert_eq!(replay.gaps, 1);
}

#[tokio::test]
async fn an_etcd_that_went_back_in_time_is_a_gap() {
    needs_etcd!("an_etcd_that_went_back_in_time_is_a_gap");
    let mut cluster = Cluster::plain(1).unwrap();
    let store = store(&cluster);
    put(&store, "k/kept").await;
    let snapshot = cluster.folder().join("snapshot");
    cluster.etcdctl(&["snapshot", "save", &snapshot.display().to_string()]).unwrap();
    let mut replay = Replay::new(store.changes(&span(), None));
    for i in 0..9 {
        put(&store, &format!("k/lost-{i}")).await;
    }
    shows(&mut replay, &store, "k/lost-8").await;
    cluster.restore(&snapshot).unwrap();
    let back = self::store(&cluster);
    put(&back, "k/new").await;
    shows(&mut replay, &back, "k/new").await;
    assert_eq!(replay.gaps, 1);
}

#[tokio::test]
async fn a_position_that_the_store_never_had_is_a_gap() {
    needs_etcd!("a_position_that_the_store_never_had_is_a_gap");
    let cluster = Cluster::plain(1).unwrap();
    for position in ["1000000", "18446744073709551615", "0", "-1", "", "main"] {
        let mut watch = store(&cluster).changes(&span(), Some(Position::new(position)));
        assert_eq!(next(&mut watch).await, Ok(Update::Gap), "{position:?}");
    }
}

#[tokio::test]
async fn a_user_watches_its_prefix_alone_and_longer_than_its_token_is_valid() {
    needs_etcd!("a_user_watches_its_prefix_alone_and_longer_than_its_token_is_valid");
    let mut cluster = Cluster::secure(1).unwrap();
    let store = store(&cluster);
    put(&store, "k/1").await;
    let mut replay = Replay::new(store.changes(&span(), None));
    shows(&mut replay, &store, "k/1").await;
    // A member forgets its tokens when it restarts.
    cluster.kill(0).unwrap();
    cluster.restart(0).unwrap();
    put(&store, "k/2").await;
    shows(&mut replay, &store, "k/2").await;
    assert_eq!((replay.gaps, replay.changes), (0, 1));
    let other = EtcdConfig { prefix: PREFIX.replace("v1", "v2"), ..cluster.config() };
    let error = next(&mut EtcdStore::new(other, None).changes(&span(), None)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Denied(cause) if cause.to_string().contains("grant its role")), "{error:?}");
}
