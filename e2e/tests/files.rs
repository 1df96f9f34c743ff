//! The files that calls leave on a node: who may read them, and when they are written.
#![allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kube_ipam_e2e::cni::{Call, Reply};
use kube_ipam_e2e::etcd::{self, Cluster};
use kube_ipam_e2e::node::{Network, Node, Plugin};
use kube_ipam_e2e::trace;
use serde_json::json;

fn network(node: &Node) -> Network<'_> {
    node.network(json!({ "subnet": "10.1.0.0/24" }))
}

/// A call whose files are as open as it makes them.
fn unmasked(call: Call) -> Reply {
    let start = ["sh", "-c", "umask 0 && exec \"$@\"", "sh"];
    call.through(start.map(Into::into)).run().ok()
}

/// The files and folders below this one that anybody but their user may touch.
fn open_to_others(path: &Path, found: &mut Vec<String>) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
    let mode = metadata.permissions().mode() & 0o7777;
    if mode != expected {
        found.push(format!("{} has {mode:o}", path.display()));
    }
    if metadata.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| open_to_others(&entry.unwrap().path(), found));
    }
}

fn nothing_is_open_to_others(node: &Node, files: &[&str]) {
    let mut found = Vec::new();
    for file in files {
        open_to_others(&node.path(file), &mut found);
    }
    assert_eq!(found, [""; 0]);
}

#[test]
fn files_of_a_node_with_a_store_of_its_own_are_for_their_user_alone() {
    let node = Node::new(Plugin::kube_ipam());
    for verb in ["ADD", "DEL", "ADD"] {
        unmasked(network(&node).call(verb, "c1"));
    }
    nothing_is_open_to_others(&node, &["records", "addresses", "kube-ipam.log"]);
}

#[test]
fn files_of_a_node_with_etcd_are_for_their_user_alone() {
    if !etcd::installed_or_skip("files_of_a_node_with_etcd_are_for_their_user_alone") {
        return;
    }
    let cluster = Cluster::plain(1).unwrap();
    let node = Node::on_etcd(&cluster.config());
    for container in ["c1", "c2"] {
        unmasked(network(&node).call("ADD", container));
    }
    cluster.stop(0).unwrap();
    unmasked(network(&node).call("DEL", "c1"));
    assert_eq!(node.records(), ["c2:eth0:blue.json", "marked/c1:eth0:blue.json"]);
    assert!(node.path("records/node-1/etcd-endpoint").exists());
    nothing_is_open_to_others(&node, &["records", "kube-ipam.log"]);
}

#[test]
fn a_failed_call_replies_before_it_performs_deferred_releases() {
    if !trace::works_or_skip("a_failed_call_replies_before_it_performs_deferred_releases") {
        return;
    }
    let node = Node::new(Plugin::kube_ipam());
    let given = network(&node).add("c1").ok();
    let (addresses, away) = (node.path("addresses"), node.path("addresses.away"));
    fs::rename(&addresses, &away).unwrap();
    fs::write(&addresses, "not a folder").unwrap();
    network(&node).del("c1").ok();
    fs::remove_file(&addresses).unwrap();
    fs::rename(&away, &addresses).unwrap();
    // CHECK of a container that holds nothing opens the store, fails, and releases what c1 has left.
    let config = network(&node).with(json!({ "prevResult": given.document })).config;
    let (reply, steps) = trace::steps(&node, network(&node).call("CHECK", "c2").config(&config));
    assert_eq!(reply.refused().code(), 101);
    assert_eq!(node.records(), [""; 0]);
    let steps: Vec<String> = steps.iter().map(ToString::to_string).collect();
    let replied = steps.iter().position(|step| step.starts_with("write ") && step.ends_with(" of (no file)"));
    let released = steps.iter().position(|step| step.contains("marked/c1:eth0:blue.json"));
    assert!(replied.is_some() && replied < released, "{steps:#?}");
}
