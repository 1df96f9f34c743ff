//! Earlier values of a key on real etcd: across writes and deletions, at a compaction, at a limit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::time::Duration;

use kube_ipam::deadline::Deadline;
use kube_ipam::store::{EtcdConfig, EtcdStore, HistoryEnd, Key, KeyHistory, Op, Revision, Store, StoreError, Txn};
use kube_ipam_e2e::etcd::{self, Cluster};
use kube_ipam_e2e::proxy::{Fault, Proxy};

/// Leaves the test out where there is no etcd.
macro_rules! needs_etcd {
    ($test:literal) => {
        if !etcd::installed_or_skip($test) {
            return;
        }
    };
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

async fn commit(store: &EtcdStore, op: Op) -> Revision {
    store.commit(&Txn::new(vec![], vec![op], vec![]).unwrap(), soon()).await.unwrap().at
}

async fn put(store: &EtcdStore, key: &str, value: &str) -> Revision {
    commit(store, Op::Put(Key::new(key), value.as_bytes().to_vec())).await
}

async fn delete(store: &EtcdStore, key: &str) -> Revision {
    commit(store, Op::Delete(Key::new(key))).await
}

async fn history(store: &EtcdStore, key: &str, limit: usize) -> KeyHistory {
    store.history(&Key::new(key), limit, soon()).await.unwrap()
}

/// The changes as revision and text; no text for a deletion.
fn texts(history: &KeyHistory) -> Vec<(Revision, Option<String>)> {
    let text = |value: &Vec<u8>| String::from_utf8(value.clone()).unwrap();
    history.changes.iter().map(|change| (change.at, change.value.as_ref().map(text))).collect()
}

fn written(at: Revision, text: &str) -> (Revision, Option<String>) {
    (at, Some(text.to_owned()))
}

#[tokio::test]
async fn a_key_that_was_deleted_and_written_again_has_all_its_values() {
    needs_etcd!("a_key_that_was_deleted_and_written_again_has_all_its_values");
    let cluster = Cluster::plain(1).unwrap();
    let store = EtcdStore::new(cluster.config(), None);
    assert_eq!(history(&store, "k", 9).await, KeyHistory { changes: vec![], end: HistoryEnd::Complete });

    let one = put(&store, "k", "one").await;
    let two = put(&store, "k", "two").await;
    let gone = delete(&store, "k").await;
    // Far enough that one request does not bridge it.
    for i in 0..300 {
        put(&store, "other", &i.to_string()).await;
    }
    let three = put(&store, "k", "three").await;
    let changes = [written(three, "three"), (gone, None), written(two, "two"), written(one, "one")];
    let all = history(&store, "k", 9).await;
    assert_eq!((texts(&all), all.end), (changes.to_vec(), HistoryEnd::Complete));
    let two_values = history(&store, "k", 2).await;
    assert_eq!((texts(&two_values), two_values.end), (changes[..3].to_vec(), HistoryEnd::Limit));

    let again = delete(&store, "k").await;
    let absent = history(&store, "k", 9).await;
    assert_eq!(texts(&absent), [&[(again, None)], &changes[..]].concat());
}

#[tokio::test]
async fn a_compaction_ends_the_history_with_its_revision() {
    needs_etcd!("a_compaction_ends_the_history_with_its_revision");
    let cluster = Cluster::plain(1).unwrap();
    let store = EtcdStore::new(cluster.config(), None);
    put(&store, "k", "one").await;
    let gone = delete(&store, "k").await;
    let two = put(&store, "k", "two").await;
    for i in 0..10 {
        put(&store, "other", &i.to_string()).await;
    }
    let three = put(&store, "k", "three").await;

    cluster.etcdctl(&["compact", &gone.0.to_string()]).unwrap();
    let left = history(&store, "k", 9).await;
    // It was deleted at the oldest revision that is left: what it was before is not known.
    assert_eq!(texts(&left), [written(three, "three"), written(two, "two")]);
    assert_eq!(left.end, HistoryEnd::Compacted(gone));

    let middle = Revision(two.0.saturating_add(5));
    cluster.etcdctl(&["compact", &middle.0.to_string()]).unwrap();
    let left = history(&store, "k", 9).await;
    assert_eq!(texts(&left), [written(three, "three"), written(two, "two")]);
    assert_eq!(left.end, HistoryEnd::Compacted(middle));

    cluster.etcdctl(&["compact", &three.0.to_string()]).unwrap();
    let left = history(&store, "k", 9).await;
    assert_eq!((texts(&left), left.end), (vec![written(three, "three")], HistoryEnd::Compacted(three)));
}

#[tokio::test]
async fn a_user_of_the_prefix_alone_may_read_it() {
    needs_etcd!("a_user_of_the_prefix_alone_may_read_it");
    let cluster = Cluster::secure(1).unwrap();
    let store = EtcdStore::new(cluster.config(), None);
    let one = put(&store, "k", "one").await;
    let two = put(&store, "k", "two").await;
    assert_eq!(texts(&history(&store, "k", 9).await), [written(two, "two"), written(one, "one")]);
}

#[tokio::test]
async fn a_store_that_falls_silent_leaves_what_was_found_and_names_where_it_ended() {
    needs_etcd!("a_store_that_falls_silent_leaves_what_was_found_and_names_where_it_ended");
    let cluster = Cluster::plain(1).unwrap();
    let store = EtcdStore::new(cluster.config(), None);
    put(&store, "k", "one").await;
    let two = put(&store, "k", "two").await;

    let proxy = Proxy::new(cluster.port(0), Fault::AnswerLost, 2).unwrap();
    let behind = EtcdStore::new(EtcdConfig { urls: vec![proxy.url()], ..cluster.config() }, None);
    let found = behind.history(&Key::new("k"), 9, Deadline::after(Duration::from_millis(500))).await.unwrap();
    assert_eq!(texts(&found), [written(two, "two")]);
    match found.end {
        HistoryEnd::Unfinished { from, error: Some(StoreError::Unavailable(_)) } => assert_eq!(from, two),
        other => panic!("{other:?}"),
    }
}
