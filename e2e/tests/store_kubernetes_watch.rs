//! Watches of the store in custom resources of a real API server: what continues, what is a gap, and what is an error.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::time::Duration;

use kube_ipam::apiserver::Access;
use kube_ipam::cause::chain;
use kube_ipam::deadline::Deadline;
use kube_ipam::store::conformance::watch::{self, Replay};
use kube_ipam::store::conformance::{Violation, actors};
use kube_ipam::store::{
    Before, Key, KeySpan, KubernetesConfig, KubernetesStore, Op, Position, Store, StoreError, Txn, Update, Watch,
};
use kube_ipam_e2e::api_server::{ApiServer, Tenant, store as resources};
use serde_json::json;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(60);

fn key(name: &str) -> Key {
    Key::new(format!("conformance/{name}"))
}

fn span() -> KeySpan {
    KeySpan::prefix("conformance/")
}

fn store(tenant: &Tenant<'_>) -> KubernetesStore {
    KubernetesStore::new(tenant.store())
}

async fn put(store: &KubernetesStore, name: &str) {
    let txn = Txn::new(vec![], vec![Op::Put(key(name), b"{}".to_vec())], vec![]).unwrap();
    store.commit(&txn, Deadline::after(LONG)).await.unwrap();
}

/// Waits until a watch has shown a key, and checks that it has shown everything else, too.
async fn shows(replay: &mut Replay, store: &KubernetesStore, name: &str) {
    let shown = timeout(LONG, replay.until_shown(&key(name))).await;
    shown.unwrap_or_else(|_| panic!("no {name}: {replay:?}")).unwrap();
    replay.is_current(store, &span()).await.unwrap();
}

async fn next(watch: &mut Watch) -> Result<Update, StoreError> {
    timeout(LONG, watch.next()).await.unwrap()
}

/// A server of the test's own, with the store's resources.
fn own_server(test: &str) -> Option<ApiServer> {
    let server = ApiServer::start(test)?;
    resources::install(&server.tenant().unwrap()).unwrap();
    Some(server)
}

#[tokio::test]
async fn its_watches_keep_the_rules() {
    let Some(tenant) = ApiServer::with_store("its_watches_keep_the_rules") else { return };
    timeout(LONG, watch::check_without_deletions(&store(&tenant))).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_of_clients_at_once_is_shown_once_in_the_order_of_its_key() {
    let test = "every_change_of_clients_at_once_is_shown_once_in_the_order_of_its_key";
    let Some(tenant) = ApiServer::with_store(test) else { return };
    let mut replays: Vec<_> = (0..2).map(|_| Replay::new(store(&tenant).changes(&span(), None))).collect();
    for replay in &mut replays {
        replay.advance().await.unwrap();
    }
    let started: Vec<_> = (0..4)
        .map(|_| {
            let store = store(&tenant);
            tokio::spawn(async move { actors::count_up(&store, 4).await })
        })
        .collect();
    for actor in started {
        actor.await.unwrap().unwrap();
    }
    let store = store(&tenant);
    put(&store, "end").await;
    for replay in &mut replays {
        shows(replay, &store, "end").await;
        assert_eq!((replay.changes, replay.gaps), (17, 0));
    }
}

#[tokio::test]
async fn a_server_that_is_killed_is_an_error_and_no_change_is_missed_when_it_is_back() {
    let test = "a_server_that_is_killed_is_an_error_and_no_change_is_missed_when_it_is_back";
    let Some(mut server) = own_server(test) else { return };
    let config = server.tenant().unwrap().store();
    let store = KubernetesStore::new(config.clone());
    let mut replay = Replay::new(store.changes(&span(), None));
    for round in 0..3 {
        let (before, after) = (format!("before-{round}"), format!("after-{round}"));
        put(&store, &before).await;
        shows(&mut replay, &store, &before).await;
        server.restart().unwrap();
        // The watch looks only when this has happened.
        put(&store, &after).await;
        shows(&mut replay, &store, &after).await;
    }
    server.stop().unwrap();
    match timeout(LONG, replay.advance()).await.unwrap() {
        Err(Violation::Failed(StoreError::Unavailable(cause))) => {
            assert!(chain(&cause).to_string().contains(&server.url()), "{cause}");
        }
        other => panic!("{other:?}"),
    }
    server.start_again().unwrap();
    put(&store, "end").await;
    while let Err(violation) = timeout(LONG, replay.until_shown(&key("end"))).await.unwrap() {
        assert!(matches!(violation, Violation::Failed(StoreError::Unavailable(_))), "{violation:?}");
    }
    replay.is_current(&store, &span()).await.unwrap();
}

#[tokio::test]
async fn a_watch_continues_at_its_position_and_knows_what_was_there() {
    let test = "a_watch_continues_at_its_position_and_knows_what_was_there";
    let Some(tenant) = ApiServer::with_store(test) else { return };
    let store = store(&tenant);
    put(&store, "a").await;
    put(&store, "b").await;
    let mut watch = store.changes(&span(), None);
    let position = loop {
        if let Update::Listed(position) = next(&mut watch).await.unwrap() {
            break position;
        }
    };
    // Neither of them shows by itself whether it is new.
    put(&store, "b").await;
    put(&store, "c").await;
    let mut again = store.changes(&span(), Some(position));
    for (name, before) in [("b", Before::Value(b"{}".to_vec())), ("c", Before::Absent)] {
        match next(&mut again).await.unwrap() {
            Update::Changes { changes, .. } => {
                let shown: Vec<_> = changes.iter().map(|change| (&change.key, &change.before)).collect();
                assert_eq!(shown, [(&key(name), &before)]);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_position_that_the_server_does_not_have_is_a_gap() {
    let Some(tenant) = ApiServer::with_store("a_position_that_the_server_does_not_have_is_a_gap") else { return };
    let store = store(&tenant);
    put(&store, "kept").await;
    // From before the server's watches begin, from the future, and from another store.
    for position in ["1", "9000000000000000", "none"] {
        let mut watch = store.changes(&span(), Some(Position::new(position)));
        assert_eq!(next(&mut watch).await, Ok(Update::Gap), "{position}");
        shows(&mut Replay::new(watch), &store, "kept").await;
    }
}

#[tokio::test]
async fn a_cluster_that_went_back_in_time_is_a_gap() {
    let Some(mut server) = own_server("a_cluster_that_went_back_in_time_is_a_gap") else { return };
    let store = KubernetesStore::new(server.tenant().unwrap().store());
    put(&store, "kept").await;
    let snapshot = server.folder().join("snapshot");
    server.save(&snapshot).unwrap();
    let mut replay = Replay::new(store.changes(&span(), None));
    for number in 0..40 {
        put(&store, &format!("lost-{number}")).await;
    }
    shows(&mut replay, &store, "lost-39").await;
    server.restore(&snapshot).unwrap();
    put(&store, "new").await;
    shows(&mut replay, &store, "new").await;
    assert_eq!(replay.gaps, 1);
}

#[tokio::test]
async fn a_user_who_may_not_watch_reads_which_rule_lacks() {
    let Some(tenant) = ApiServer::with_store("a_user_who_may_not_watch_reads_which_rule_lacks") else { return };
    let group = KubernetesConfig::rule().0;
    let rule = json!({ "apiGroups": [group], "resources": ["*"], "verbs": ["get", "list"] });
    let user = tenant.user("reader", &[rule], &[]).unwrap();
    let config = KubernetesConfig { access: vec![Access::Kubeconfig(user.kubeconfig)], ..tenant.store() };
    let mut watch = KubernetesStore::new(config).changes(&span(), None);
    assert!(matches!(next(&mut watch).await, Ok(Update::Listed(_))));
    match next(&mut watch).await {
        Err(StoreError::Denied(cause)) => {
            let text = chain(&cause).to_string();
            assert!(text.contains("does not allow a watch") && text.contains(r#"verbs ["list", "watch"]"#), "{text}");
        }
        other => panic!("{other:?}"),
    }
}
