//! How many requests a call makes of etcd, by etcd's own count: bounded, however full the range is (invariant 7).

#![allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]

use kube_ipam::store::StoreConfig;
use kube_ipam_e2e::etcd::{self, Cluster};
use kube_ipam_e2e::fill;
use kube_ipam_e2e::node::{Network, Node};
use serde_json::json;

/// The requests that a member has answered, of whatever kind.
const HANDLED: &str = "grpc_server_handled_total";

/// A network over [`fill::SUBNET`]. Nothing rests in it, so that what was released is free.
fn network(node: &Node) -> Network<'_> {
    node.network(json!({ "subnet": fill::SUBNET, "cooldown": "0s" }))
}

fn requests_of(cluster: &Cluster, call: impl FnOnce()) -> u64 {
    let before = cluster.metric(0, HANDLED).unwrap();
    call();
    (cluster.metric(0, HANDLED).unwrap() - before) as u64
}

#[test]
fn an_add_on_an_empty_range_takes_one_request_and_so_does_its_del() {
    if !etcd::installed_or_skip("an_add_on_an_empty_range_takes_one_request_and_so_does_its_del") {
        return;
    }
    let cluster = Cluster::plain(1).unwrap();
    let node = Node::on_etcd(&cluster.config());
    let network = network(&node);
    for container in ["c1", "c2", "c3"] {
        assert_eq!(requests_of(&cluster, || drop(network.add(container).ok())), 1);
        assert_eq!(requests_of(&cluster, || drop(network.del(container).ok())), 1);
    }
}

#[test]
fn a_resting_address_of_a_full_29_is_found_beside_sixty_thousand_rests_of_others() {
    if !etcd::installed_or_skip("a_resting_address_of_a_full_29_is_found_beside_sixty_thousand_rests_of_others") {
        return;
    }
    let cluster = Cluster::plain(1).unwrap();
    fill::rests(&StoreConfig::Etcd(cluster.config()), 60_000).unwrap();
    let node = Node::on_etcd(&cluster.config());
    let network = node.network(json!({ "subnet": "10.1.0.0/29", "cooldown": "30s" }));
    let given: Vec<String> = (0..5).map(|n| network.add(&format!("c{n}")).address()).collect();
    network.del("c3").ok();
    let requests = requests_of(&cluster, || assert_eq!(network.add("late").address(), given[3]));
    assert!(requests <= 6, "{requests} requests");
    let requests = requests_of(&cluster, || assert_eq!(network.add("later").refused().code(), 11));
    assert!(requests <= 5, "{requests} requests");
}

#[test]
fn an_add_for_the_last_free_address_of_a_16_takes_at_most_six_requests() {
    if !etcd::installed_or_skip("an_add_for_the_last_free_address_of_a_16_takes_at_most_six_requests") {
        return;
    }
    let cluster = Cluster::plain(1).unwrap();
    fill::store(&StoreConfig::Etcd(cluster.config()), fill::addresses(fill::SIZE - 1)).unwrap();
    let last = fill::addresses(fill::SIZE).last().unwrap();
    let node = Node::on_etcd(&cluster.config());
    let network = network(&node);
    for i in 0..10 {
        // Where an ADD begins to look depends on its container.
        let container = format!("c{i}");
        let requests = requests_of(&cluster, || {
            assert_eq!(network.add(&container).address(), format!("{last}/16"));
        });
        assert!(requests <= 6, "{container}: {requests} requests");
        network.del(&container).ok();
    }
}
