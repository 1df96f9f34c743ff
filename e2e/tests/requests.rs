//! What a call asks of etcd: how often, by etcd's own count, and which keys, by the rights of its user. Both are bounded,
//! however full the range is (invariant 7).

#![allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]

use std::process::Command;
use std::time::Duration;

use kube_ipam::deadline::Deadline;
use kube_ipam::ipam::keys;
use kube_ipam::ipam::name::Name;
use kube_ipam::ops::Session;
use kube_ipam::store::{Cursor, StoreConfig};
use kube_ipam_e2e::etcd::{self, Cluster};
use kube_ipam_e2e::fill;
use kube_ipam_e2e::node::{Network, Node};
use serde_json::json;

/// The requests that a member has answered, of whatever kind.
const HANDLED: &str = "grpc_server_handled_total";

/// A network over [`fill::SUBNET`]. It has no cooldown, so that what was released is free.
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

/// etcd counts all keys of a span, however few of them are asked for. So what asks for one thing must ask for its key.
#[test]
fn status_release_and_the_controller_ask_for_one_key_and_no_span() {
    if !etcd::installed_or_skip("status_release_and_the_controller_ask_for_one_key_and_no_span") {
        return;
    }
    let mut cluster = Cluster::plain(1).unwrap();
    let given = {
        let node = Node::on_etcd(&cluster.config());
        network(&node).add("c1").address().split('/').next().unwrap().to_owned()
    };
    let vrf = Name::new("default").unwrap();
    let lease = keys::lease(&vrf, given.parse().unwrap());
    cluster.restrict_to_reading(&[keys::recovery(), lease]).unwrap();
    let node = Node::on_etcd(&cluster.config());
    let strict =
        node.network(json!({ "subnet": fill::SUBNET, "status": "strict" })).with(json!({ "cniVersion": "1.1.0" }));
    node.call("STATUS").config(&strict.config).run().ok();
    let mut release = Command::new(&node.plugin().path);
    release.env_clear().env("KUBE_IPAM_CONFIG", node.path("kube-ipam.json")).args(["release", &given]);
    let shown = release.output().unwrap();
    assert!(String::from_utf8_lossy(&shown.stdout).starts_with(&format!("{given} is held by ")), "{shown:?}");
    // What the controller's readiness comes from.
    let session = Session::open(StoreConfig::Etcd(cluster.config()), None).unwrap();
    let deadline = Deadline::after(Duration::from_secs(10));
    session.ping(deadline).unwrap();
    // The first entry of a span is one of its keys, and is denied.
    session.page(&keys::leases_of_vrf(&vrf), &Cursor::default(), 1, deadline).unwrap_err();
}

#[test]
fn where_new_addresses_are_probed_an_add_takes_one_request_more() {
    if !etcd::installed_or_skip("where_new_addresses_are_probed_an_add_takes_one_request_more") {
        return;
    }
    let cluster = Cluster::plain(1).unwrap();
    let node = Node::on_etcd(&cluster.config());
    // The test's own namespace has no such interface, so that nothing is sent.
    let network = node.network(json!({ "subnet": fill::SUBNET, "cooldown": "0s", "probe": "always" }));
    let call = |verb: &str, container: &str| network.call(verb, container).ifname("kipam-none").run().ok();
    // A repeated ADD is served as without probes.
    for (verb, container, requests) in [("ADD", "c1", 2), ("DEL", "c1", 1), ("ADD", "c2", 2), ("ADD", "c2", 2)] {
        assert_eq!(requests_of(&cluster, || drop(call(verb, container))), requests, "{verb} {container}");
    }
}

#[test]
fn an_address_in_cooldown_of_a_full_29_is_found_beside_sixty_thousand_of_others() {
    if !etcd::installed_or_skip("an_address_in_cooldown_of_a_full_29_is_found_beside_sixty_thousand_of_others") {
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
        // Where an ADD begins its search depends on its container.
        let container = format!("c{i}");
        let requests = requests_of(&cluster, || {
            assert_eq!(network.add(&container).address(), format!("{last}/16"));
        });
        assert!(requests <= 6, "{container}: {requests} requests");
        network.del(&container).ok();
    }
}

#[test]
fn an_add_beside_named_pools_takes_one_request_and_so_does_one_of_one_family() {
    if !etcd::installed_or_skip("an_add_beside_named_pools_takes_one_request_and_so_does_one_of_one_family") {
        return;
    }
    let cluster = Cluster::plain(1).unwrap();
    let node = Node::on_etcd(&cluster.config());
    node.set_defaults(&json!({ "annotations": true }));
    let network = node.network(json!({
        "ranges": [[{ "subnet": fill::SUBNET }], [{ "subnet": "fd00::/64" }]],
        "pools": { "db": { "addresses": ["10.188.0.20-10.188.0.29"] } },
        "cooldown": "0s",
    }));
    for (container, annotations) in [("c1", json!({})), ("c2", json!({ "kube-ipam.eth0.families": "4" }))] {
        let config = network.with(json!({
            "capabilities": { "io.kubernetes.cri.pod-annotations": true },
            "runtimeConfig": { "io.kubernetes.cri.pod-annotations": annotations },
        }));
        let pod = format!("K8S_POD_NAMESPACE=web;K8S_POD_NAME={container};K8S_POD_UID={container}");
        let add = || drop(config.call("ADD", container).args(&pod).run().ok());
        assert_eq!(requests_of(&cluster, add), 1, "{container}");
        assert_eq!(requests_of(&cluster, || drop(network.del(container).ok())), 1, "{container}");
    }
}
