//! A store that went back in time, with real processes: a backup is put back while containers run (invariant 8).
#![allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]

use std::fs;
use std::path::Path;

use kube_ipam_e2e::api::{self, Api, NAMESPACE};
use kube_ipam_e2e::cni::Reply;
use kube_ipam_e2e::etcd::{self, Cluster};
use kube_ipam_e2e::node::{Network, Node, Plugin};
use kube_ipam_e2e::operator;
use serde_json::{Value, json};

/// What the refusal of an ADD says during a recovery.
const WENT_BACK: &str = "the store went back in time";

/// A machine with an embedded store, and two addresses to give.
struct Host {
    node: Node,
}

impl Host {
    fn new() -> Self {
        Self { node: Node::new(Plugin::kube_ipam()) }
    }

    fn network(&self) -> Network<'_> {
        let range = json!({ "subnet": "10.1.0.0/29", "rangeStart": "10.1.0.2", "rangeEnd": "10.1.0.3" });
        self.node.network(range).with(json!({}))
    }

    /// Without a cooldown.
    fn unresting(&self) -> Network<'_> {
        let mut network = self.network();
        network.config["ipam"]["cooldown"] = json!("0s");
        network
    }

    fn back_up(&self) {
        copy(&self.node.path("addresses"), &self.node.path("backup"));
    }

    fn restore(&self) {
        copy(&self.node.path("backup"), &self.node.path("addresses"));
    }

    fn holders(&self) -> Vec<String> {
        let mut holders: Vec<String> = self.node.held().into_iter().map(|(_, holder)| holder).collect();
        holders.sort();
        holders
    }

    fn prints(&self, args: &[&str]) -> String {
        prints(&self.node, args)
    }

    /// How a recovery stands.
    fn recovery(&self) -> Value {
        serde_json::from_str(&self.prints(&["recovery", "-o", "json"])).unwrap()
    }
}

fn prints(node: &Node, args: &[&str]) -> String {
    let output = operator::run(node, args);
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(to).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn refused_for_recovery(reply: Reply) {
    let reply = reply.refused();
    assert_eq!(reply.code(), 11, "{}", reply.stdout);
    assert!(reply.text().contains(WENT_BACK), "{}", reply.text());
}

#[test]
fn an_old_copy_of_an_embedded_store_gives_nobody_the_address_of_a_container_that_runs() {
    let host = Host::new();
    let network = host.unresting();
    network.add("a").ok();
    host.back_up();
    let of_b = network.add("b").ok();
    host.restore();
    // By the old copy the address of b is the one that is free.
    refused_for_recovery(network.add("c"));
    assert_eq!(host.holders(), ["a/eth0", "b/eth0"]);
    assert!(host.recovery()["current"].is_null(), "{}", host.recovery());
    assert!(host.recovery()["last"]["sign"].as_str().unwrap().starts_with("the store is at revision"));
    assert!(host.node.log().contains(WENT_BACK), "{}", host.node.log());
    let full = network.add("c").refused();
    assert!(full.text().contains("no address is free"), "{}", full.text());
    // All that runs continues as if nothing had happened.
    network.check("b", &of_b).ok();
    assert_eq!(network.add("b").address(), of_b.address());
    for container in ["a", "b", "c"] {
        network.del(container).ok();
    }
    assert_eq!(host.holders(), [""; 0]);
    network.add("d").ok();
    network.add("e").ok();
}

#[test]
fn a_container_that_ended_since_the_backup_gives_its_address_to_the_one_that_runs() {
    let host = Host::new();
    let network = host.unresting();
    network.add("a").ok();
    network.add("b").ok();
    host.back_up();
    network.del("b").ok();
    // It has what b had.
    network.add("c").ok();
    host.restore();
    refused_for_recovery(network.add("d"));
    assert_eq!(host.holders(), ["a/eth0", "c/eth0"]);
}

#[test]
fn a_del_that_finds_less_than_its_record_says_begins_a_recovery() {
    let host = Host::new();
    let network = host.unresting();
    network.add("a").ok();
    host.back_up();
    network.add("b").ok();
    network.del("a").ok();
    host.restore();
    // Others have brought the store to where it was before.
    for _ in 0..5 {
        host.prints(&["recovery", "--begin"]);
        host.prints(&["recovery", "--end"]);
    }
    network.del("b").ok();
    assert!(host.recovery()["last"]["sign"].as_str().unwrap().contains("has no entry in the store"));
}

#[test]
fn what_somebody_released_by_hand_is_no_sign() {
    let host = Host::new();
    let network = host.unresting();
    let of_a = network.add("a").address();
    host.prints(&["release", of_a.split('/').next().unwrap(), "--yes"]);
    assert!(host.prints(&["sweep", "--node"]).contains("nothing was freed"));
    network.del("a").ok();
    assert_eq!(host.recovery(), json!({ "current": null, "done": [], "missing": [], "last": null }));
}

#[test]
fn a_check_of_the_node_writes_back_what_an_old_copy_lacks() {
    let host = Host::new();
    let network = host.network();
    network.add("a").ok();
    host.back_up();
    network.add("b").ok();
    host.restore();
    let said = host.prints(&["sweep", "--marked"]);
    assert!(said.contains("1 attachments of this node were written back; the recovery is over"), "{said}");
    assert_eq!(host.holders(), ["a/eth0", "b/eth0"]);
    // And sees nothing more to do.
    assert!(!host.prints(&["sweep", "--marked"]).contains("went back in time"));
}

#[test]
fn a_recovery_that_the_operator_has_begun_stops_every_request_until_this_node_is_done() {
    let host = Host::new();
    let network = host.network();
    let of_a = network.add("a").address();
    host.prints(&["recovery", "--begin"]);
    let mut fixed = host.unresting();
    let other = if of_a == "10.1.0.2/29" { "10.1.0.3" } else { "10.1.0.2" };
    fixed.config["args"] = json!({ "cni": { "ips": [other] } });
    // What it has already, it is given again.
    assert_eq!(network.add("a").address(), of_a);
    refused_for_recovery(fixed.add("b"));
    fixed.add("b").ok();
}

/// A machine in a cluster with StatefulSet pg, one of whose pods runs; on a network that keeps addresses.
struct Sticky {
    host: Host,
    api: Api,
}

impl Sticky {
    fn new() -> Self {
        let (host, api) = (Host::new(), Api::start().unwrap());
        let kubeconfig = api.kubeconfig(&host.node.path("")).unwrap();
        host.node.set_defaults(&json!({ "annotations": true, "kubeConfig": kubeconfig, "nodeName": "node-1" }));
        api.has("pg", "o-1", "Running", &json!({}));
        Self { host, api }
    }

    /// An ADD of a new pod pg-1.
    fn add(&self, container: &str, uid: &str) -> String {
        let mut pod = api::pod("pg-1", uid, "Running", &json!({}));
        pod["metadata"]["ownerReferences"] =
            json!([{ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "pg", "uid": "o-1", "controller": true }]);
        self.api.shows("pg-1", &pod);
        let args = format!("K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME=pg-1;K8S_POD_UID={uid}");
        self.network().call("ADD", container).args(&args).run().ok().address()
    }

    fn network(&self) -> Network<'_> {
        self.host.node.network(json!({ "subnet": "10.1.0.0/16", "cooldown": "0s", "sticky": true }))
    }
}

#[test]
fn the_next_pod_of_an_owner_has_the_address_that_an_old_copy_lacks() {
    let sticky = Sticky::new();
    sticky.network().add("other").ok();
    sticky.host.back_up();
    let given = sticky.add("a", "0b4f6a52-3c1d-4b8e-9a53-0f6d8c1f1a11");
    sticky.host.restore();
    let said = sticky.host.prints(&["sweep", "--marked"]);
    assert!(said.contains("1 attachments of this node were written back; the recovery is over"), "{said}");
    sticky.network().del("a").ok();
    assert_eq!(sticky.add("b", "7d8a2f90-52f5-4f53-a1f4-3f5f8f5a2b22"), given);
}

/// Two nodes of a cluster on one etcd, and what it was when the backup was made: container a ran on the first.
struct Shared {
    cluster: Cluster,
    nodes: [Node; 2],
    _api: Api,
}

impl Shared {
    /// `None` where there is no etcd.
    fn backed_up(test: &str) -> Option<Self> {
        if !etcd::installed_or_skip(test) {
            return None;
        }
        let cluster = Cluster::plain(1).unwrap();
        let api = Api::start().unwrap();
        api.has_nodes(&["node-1", "node-2"]);
        let nodes = ["node-1", "node-2"].map(|name| {
            let node = Node::on_etcd(&cluster.config());
            let kubeconfig = api.kubeconfig(&node.path("")).unwrap();
            node.set_defaults(&json!({ "nodeName": name, "kubeConfig": kubeconfig }));
            node
        });
        let shared = Self { cluster, nodes, _api: api };
        shared.network(0).add("a").ok();
        shared.cluster.etcdctl(&["snapshot", "save", shared.snapshot().to_str().unwrap()]).unwrap();
        Some(shared)
    }

    fn snapshot(&self) -> std::path::PathBuf {
        self.cluster.folder().join("snapshot")
    }

    /// Four addresses, without a cooldown.
    fn network(&self, node: usize) -> Network<'_> {
        let range = json!({
            "subnet": "10.1.0.0/29", "rangeStart": "10.1.0.2", "rangeEnd": "10.1.0.5", "cooldown": "0s",
        });
        self.nodes[node].network(range)
    }

    fn restore(&mut self) {
        let snapshot = self.snapshot();
        self.cluster.restore(&snapshot).unwrap();
    }

    fn held(&self) -> Vec<(String, String)> {
        let mut held = self.nodes[0].held();
        held.sort_by(|one, other| one.1.cmp(&other.1));
        held
    }

    fn all_three_are_back(&self, before: &[(String, String)]) {
        assert_eq!(self.held(), before);
        let addresses: Vec<&String> = before.iter().map(|(ip, _)| ip).collect();
        let last = self.network(1).add("d").address();
        assert!(!addresses.iter().any(|ip| last.starts_with(&format!("{ip}/"))), "{last} and {addresses:?}");
        assert_eq!(
            prints(&self.nodes[0], &["sweep", "--marked"]),
            "Of this node's deferred releases: nothing was freed.\n"
        );
    }
}

#[test]
fn an_etcd_snapshot_gives_nobody_the_address_of_a_container_that_runs() {
    let Some(mut shared) = Shared::backed_up("an_etcd_snapshot_gives_nobody_the_address_of_a_container_that_runs")
    else {
        return;
    };
    shared.network(0).add("b").ok();
    shared.network(1).add("c").ok();
    let before = shared.held();
    shared.restore();
    // Each sees it for itself, and does its part.
    refused_for_recovery(shared.network(1).add("d"));
    assert!(prints(&shared.nodes[0], &["recovery"]).contains("Missing: node-1."));
    refused_for_recovery(shared.network(0).add("d"));
    assert!(prints(&shared.nodes[0], &["recovery"]).starts_with("No recovery is in progress."));
    shared.all_three_are_back(&before);
}

#[test]
fn an_etcd_snapshot_with_a_raised_revision_is_noticed_by_what_the_nodes_miss() {
    let test = "an_etcd_snapshot_with_a_raised_revision_is_noticed_by_what_the_nodes_miss";
    let Some(mut shared) = Shared::backed_up(test) else { return };
    shared.network(0).add("b").ok();
    shared.network(1).add("c").ok();
    let before = shared.held();
    shared.restore();
    // What `etcdutl snapshot restore --bump-revision` does, which Debian's etcdctl does not have.
    for _ in 0..20 {
        shared.cluster.etcdctl(&["put", "/elsewhere", "raised"]).unwrap();
    }
    let said = prints(&shared.nodes[1], &["sweep", "--marked"]);
    assert!(said.contains("1 attachments of this node were written back; these nodes are missing: node-1"), "{said}");
    refused_for_recovery(shared.network(1).add("d"));
    let said = prints(&shared.nodes[0], &["sweep", "--marked"]);
    assert!(said.contains("1 attachments of this node were written back; the recovery is over"), "{said}");
    shared.all_three_are_back(&before);
}

#[test]
fn a_recovery_begun_before_the_snapshot_is_opened_keeps_every_address_though_no_node_has_seen_a_sign() {
    let test = "a_recovery_begun_before_the_snapshot_is_opened_keeps_every_address_though_no_node_has_seen_a_sign";
    let Some(mut shared) = Shared::backed_up(test) else { return };
    shared.network(1).add("b").ok();
    shared.network(1).add("c").ok();
    let before = shared.held();
    shared.restore();
    assert!(prints(&shared.nodes[0], &["recovery", "--begin"]).starts_with("The recovery begins"));
    // Nothing of this node is missing; but it knows nothing of the other one.
    refused_for_recovery(shared.network(0).add("d"));
    refused_for_recovery(shared.network(0).add("d"));
    prints(&shared.nodes[1], &["sweep", "--node"]);
    shared.all_three_are_back(&before);
}
