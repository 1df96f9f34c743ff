//! etcd out of space: nothing is assigned, lost or freed meanwhile, and all works again once there is room.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::process::{Command, Output};

use kube_ipam_e2e::api::{Api, NAMESPACE};
use kube_ipam_e2e::api_server::{ApiServer, store};
use kube_ipam_e2e::cni::Reply;
use kube_ipam_e2e::etcd::{self, Cluster};
use kube_ipam_e2e::node::Node;
use serde_json::{Value, json};

/// What every error says.
const FULL: &str = "etcd's database is full (alarm NOSPACE); compact and defragment it, then run etcdctl alarm disarm";

fn call(node: &Node, verb: &str, container: &str) -> Reply {
    call_with(node, verb, container, "30s")
}

fn call_with(node: &Node, verb: &str, container: &str, cooldown: &str) -> Reply {
    let args = format!("K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME=of-{container};K8S_POD_UID=u-{container}");
    node.network(json!({ "subnet": "10.1.0.0/24", "cooldown": cooldown })).call(verb, container).args(&args).run()
}

fn sweep(node: &Node, options: &[&str]) -> (Output, Vec<String>) {
    let mut command = Command::new(&node.plugin().path);
    command.env_clear().env("KUBE_IPAM_CONFIG", node.path("kube-ipam.json"));
    let output = command.args(["sweep", "--interval", "10ms", "-o", "json"]).args(options).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let line = |found: &Value| format!("{}: {}", found["fate"].as_str().unwrap(), found["why"].as_str().unwrap());
    (output, document["found"].as_array().unwrap().iter().map(line).collect())
}

fn fill(cluster: &Cluster) {
    let value = "x".repeat(20_000);
    let refused = (0..300).find_map(|_| cluster.etcdctl(&["put", "somebody-else", &value]).err());
    assert!(refused.unwrap().to_string().contains("database space exceeded"));
    assert!(cluster.etcdctl(&["alarm", "list"]).unwrap().contains("NOSPACE"));
}

/// The commands of docs/operations.md.
fn make_room(cluster: &Cluster) {
    let status: Value = serde_json::from_str(&cluster.etcdctl(&["endpoint", "status", "-w", "json"]).unwrap()).unwrap();
    cluster.etcdctl(&["compact", &status[0]["Status"]["header"]["revision"].to_string()]).unwrap();
    cluster.etcdctl(&["defrag"]).unwrap();
    cluster.etcdctl(&["alarm", "disarm"]).unwrap();
}

#[test]
fn an_etcd_that_is_full_gives_and_frees_nothing_and_all_is_done_once_there_is_room() {
    if !etcd::installed_or_skip("an_etcd_that_is_full_gives_and_frees_nothing_and_all_is_done_once_there_is_room") {
        return;
    }
    let cluster = Cluster::plain_with(1, &["--quota-backend-bytes", "200000"]).unwrap();
    let (node, api) = (Node::on_etcd(&cluster.config()), Api::start().unwrap());
    let kubeconfig = api.kubeconfig(&node.path("")).unwrap();
    let sweeping = json!({ "minAge": "0s" });
    node.set_defaults(&json!({ "annotations": true, "kubeConfig": kubeconfig, "sweep": sweeping }));
    for container in ["forgotten", "ends", "stays", "gone", "lost", "late"] {
        api.has(&format!("of-{container}"), &format!("u-{container}"), "Running", &json!({}));
    }
    for container in ["ends", "stays", "gone", "lost"] {
        call(&node, "ADD", container).ok();
    }
    call_with(&node, "ADD", "forgotten", "0s").ok();
    fill(&cluster);
    // What writes nothing is done: without a cooldown a DEL only deletes.
    call_with(&node, "DEL", "forgotten", "0s").ok();
    assert_eq!(node.records().len(), 4);
    let before = node.held();
    assert_eq!(before.len(), 4);

    let refused = call(&node, "ADD", "late").refused();
    assert_eq!(refused.code(), 11);
    assert!(refused.text().contains(FULL), "{}", refused.text());
    // A repeated ADD rewrites its attachment; that it can't costs nothing.
    assert!(call(&node, "ADD", "stays").refused().text().contains(FULL));
    call(&node, "DEL", "ends").ok();
    assert_eq!(node.records().iter().filter(|record| record.starts_with("marked/ends:")).count(), 1);
    api.lost("of-gone");
    api.lost("of-lost");
    let (output, found) = sweep(&node, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(found[0].starts_with("failed: its pod is gone; ") && found[0].contains(FULL), "{found:?}");
    assert_eq!(found[1], "failed: not tried: the store stopped answering");
    let (output, found) = sweep(&node, &["--node"]);
    assert!(output.status.code() == Some(1) && found[0].contains(FULL), "{found:?}");
    assert_eq!(node.held(), before);

    make_room(&cluster);
    assert_eq!(sweep(&node, &["--node"]).1, ["freed: its DEL could not reach the store and deferred the release"]);
    assert_eq!(sweep(&node, &[]).1, ["freed: its pod is gone", "freed: its pod is gone"]);
    call(&node, "ADD", "late").ok();
    call(&node, "ADD", "stays").ok();
    let mut holders: Vec<String> = node.held().into_iter().map(|(_, holder)| holder).collect();
    holders.sort();
    assert_eq!(holders, ["late/eth0", "stays/eth0"]);
    for container in ["ends", "stays", "gone", "lost", "late"] {
        call(&node, "DEL", container).ok();
    }
    assert_eq!((node.held(), node.records()), (vec![], vec![]));
}

/// The store cannot even lock what it is to delete, so that a DEL without a cooldown defers its release, too.
#[test]
fn an_api_server_whose_etcd_is_full_gives_and_frees_nothing_and_all_is_done_once_there_is_room() {
    let test = "an_api_server_whose_etcd_is_full_gives_and_frees_nothing_and_all_is_done_once_there_is_room";
    let Some(server) = ApiServer::with_etcd(test, &["--quota-backend-bytes", "3000000"]) else { return };
    let tenant = server.tenant().unwrap();
    store::install(&tenant).unwrap();
    let node = Node::on_kubernetes(&tenant);
    node.set_defaults(&json!({ "annotations": false, "timeout": "3s" }));
    for container in ["ends", "stays"] {
        call_with(&node, "ADD", container, "0s").ok();
    }
    let before = node.held();
    fill(server.etcd());

    let refused = call(&node, "ADD", "late").refused();
    assert_eq!(refused.code(), 11, "{}", refused.stdout);
    call_with(&node, "DEL", "ends", "0s").ok();
    assert_eq!(node.records().iter().filter(|record| record.starts_with("marked/ends:")).count(), 1);
    assert_eq!(node.held(), before);

    make_room(server.etcd());
    assert_eq!(sweep(&node, &["--node"]).1, ["freed: its DEL could not reach the store and deferred the release"]);
    call(&node, "ADD", "late").ok();
    let mut holders: Vec<String> = node.held().into_iter().map(|(_, holder)| holder).collect();
    holders.sort();
    assert_eq!(holders, ["late/eth0", "stays/eth0"]);
}
