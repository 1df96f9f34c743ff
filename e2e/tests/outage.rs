//! When etcd is away, as a whole or member by member (contract, section 7). What a DEL does then is in record.rs.
#![allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kube_ipam::store::EtcdConfig;
use kube_ipam_e2e::cni::Reply;
use kube_ipam_e2e::etcd::{self, Cluster, PREFIX};
use kube_ipam_e2e::node::{Network, Node};
use serde_json::{Value, json};

/// The time-out of the calls below.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What a busy machine may add to it.
const LEEWAY: Duration = Duration::from_secs(5);

fn etcd_at(urls: Vec<String>) -> EtcdConfig {
    let none: Option<PathBuf> = None;
    EtcdConfig {
        urls,
        cert_file: none.clone(),
        key_file: none.clone(),
        ca_file: none.clone(),
        username: None,
        password_file: none,
        prefix: PREFIX.to_owned(),
    }
}

fn network<'node>(node: &'node Node, defaults: &Value) -> Network<'node> {
    node.set_defaults(defaults);
    node.network(json!({ "subnet": "10.1.0.0/24" })).with(json!({ "cniVersion": "1.1.0" }))
}

fn status(node: &Node, network: &Network<'_>) -> Reply {
    node.call("STATUS").config(&network.config).run()
}

/// Ports at which nobody listens.
fn refusing() -> EtcdConfig {
    etcd_at((0..3).map(|_| format!("http://127.0.0.1:{}", etcd::free_port().unwrap())).collect())
}

/// Members that accept connections, as far as the kernel does that, and say nothing as long as the listeners live.
fn silent() -> (Vec<TcpListener>, EtcdConfig) {
    let listeners: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    let urls = listeners.iter().map(|listener| format!("http://{}", listener.local_addr().unwrap())).collect();
    (listeners, etcd_at(urls))
}

/// ADD fails within its deadline, with code 11, and names every endpoint and what the time went by on.
fn an_add_gives_up(etcd: &EtcdConfig) {
    let node = Node::on_etcd(etcd);
    let network = network(&node, &json!({ "timeout": "1s" }));
    let began = Instant::now();
    let reply = network.add("c1").refused();
    assert!(began.elapsed() < TIMEOUT + LEEWAY, "{:?}", began.elapsed());
    assert_eq!(reply.code(), 11, "{}", reply.stdout);
    for part in etcd.urls.iter().map(String::as_str).chain(["time spent"]) {
        assert!(reply.text().contains(part), "the error has no {part}: {}", reply.text());
    }
}

#[test]
fn an_add_with_every_member_down_names_them_all_within_its_deadline() {
    an_add_gives_up(&refusing());
}

#[test]
fn an_add_with_every_member_silent_names_them_all_within_its_deadline() {
    let (_listeners, etcd) = silent();
    an_add_gives_up(&etcd);
}

#[test]
fn an_add_that_etcd_refused_leaves_no_record() {
    let node = Node::on_etcd(&refusing());
    let network = network(&node, &json!({ "timeout": "300ms" }));
    let text = network.add("c1").refused().text();
    assert!(text.contains("nothing was changed"), "{text}");
    assert_eq!(node.records(), [""; 0]);
}

#[test]
fn status_does_not_ask_etcd_unless_it_is_strict() {
    let (_listeners, silent) = silent();
    for etcd in [refusing(), silent] {
        let node = Node::on_etcd(&etcd);
        let lenient = network(&node, &json!({}));
        assert_eq!(status(&node, &lenient).ok().stdout, "");
        let strict = network(&node, &json!({ "timeout": "1s", "status": "strict" }));
        let began = Instant::now();
        let reply = status(&node, &strict).refused();
        assert!(began.elapsed() < TIMEOUT + LEEWAY, "{:?}", began.elapsed());
        assert_eq!(reply.code(), 50, "{}", reply.stdout);
        assert!(reply.text().contains(&etcd.urls[0]), "{}", reply.text());
    }
}

#[test]
fn a_strict_status_succeeds_while_etcd_answers() {
    if !etcd::installed_or_skip("a_strict_status_succeeds_while_etcd_answers") {
        return;
    }
    let cluster = Cluster::plain(1).unwrap();
    let node = Node::on_etcd(&cluster.config());
    let strict = network(&node, &json!({ "status": "strict" }));
    assert_eq!(status(&node, &strict).ok().stdout, "");
}

#[test]
fn members_that_hang_one_after_another_are_not_noticed() {
    if !etcd::installed_or_skip("members_that_hang_one_after_another_are_not_noticed") {
        return;
    }
    let mut cluster = Cluster::plain(3).unwrap();
    let node = Node::on_etcd(&cluster.config());
    // Also a new leader's election fits in the ten seconds that a call has.
    let network = network(&node, &json!({}));
    for member in 0..3 {
        cluster.stop(member).unwrap();
        let container = format!("c{member}");
        network.add(&container).ok();
        network.del(&container).ok();
        cluster.go_on(member).unwrap();
        network.add(&container).ok();
        assert!(node.held().iter().any(|(_, holder)| *holder == format!("{container}/eth0")));
    }
    assert_eq!(node.held().len(), 3);
}

#[test]
fn members_that_are_killed_one_after_another_are_not_noticed() {
    if !etcd::installed_or_skip("members_that_are_killed_one_after_another_are_not_noticed") {
        return;
    }
    let mut cluster = Cluster::plain(3).unwrap();
    let node = Node::on_etcd(&cluster.config());
    let network = network(&node, &json!({}));
    for member in 0..3 {
        cluster.kill(member).unwrap();
        network.add(&format!("c{member}")).ok();
        cluster.restart(member).unwrap();
    }
    assert_eq!(node.held().len(), 3);
}

#[test]
fn without_a_majority_an_add_fails_and_succeeds_when_it_is_back() {
    if !etcd::installed_or_skip("without_a_majority_an_add_fails_and_succeeds_when_it_is_back") {
        return;
    }
    let mut cluster = Cluster::plain(3).unwrap();
    let node = Node::on_etcd(&cluster.config());
    let network = network(&node, &json!({ "timeout": "1s" }));
    for member in [0, 1] {
        cluster.stop(member).unwrap();
    }
    assert_eq!(network.add("c1").refused().code(), 11);
    for member in [0, 1] {
        cluster.go_on(member).unwrap();
    }
    node.set_defaults(&json!({}));
    network.add("c1").ok();
    assert_eq!(node.held().len(), 1);
}
