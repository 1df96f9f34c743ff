//! The store in custom resources of a real API server: the rules of all stores, and what only an API server can do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::sync::Arc;

use kube_ipam::store::KubernetesStore;
use kube_ipam::store::conformance::{self, actors};
use kube_ipam_e2e::api_server::ApiServer;

#[tokio::test]
async fn it_follows_the_rules_of_all_stores() {
    let Some(tenant) = ApiServer::with_store("it_follows_the_rules_of_all_stores") else { return };
    conformance::check_any_revisions(&KubernetesStore::new(tenant.store())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_at_once_lose_no_update_and_claim_no_key_twice() {
    let Some(tenant) = ApiServer::with_store("clients_at_once_lose_no_update_and_claim_no_key_twice") else { return };
    let started: Vec<_> = (0..8)
        .map(|i| {
            let store = KubernetesStore::new(tenant.store());
            tokio::spawn(async move {
                actors::count_up(&store, 3).await?;
                actors::claim(&store, &i.to_string(), 4).await
            })
        })
        .collect();
    for actor in started {
        actor.await.unwrap().unwrap();
    }
    let store = KubernetesStore::new(tenant.store());
    actors::counted(&store, 8, 3).await.unwrap();
    actors::claimed(&store, 8, 4).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_share_one_store() {
    let Some(tenant) = ApiServer::with_store("tasks_share_one_store") else { return };
    let shared = Arc::new(KubernetesStore::new(tenant.store()));
    let started: Vec<_> = (0..4)
        .map(|_| {
            let store = Arc::clone(&shared);
            tokio::spawn(async move { actors::count_up(&*store, 4).await })
        })
        .collect();
    for actor in started {
        actor.await.unwrap().unwrap();
    }
    actors::counted(&*shared, 4, 4).await.unwrap();
}
