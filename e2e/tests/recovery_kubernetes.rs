//! The store in the Kubernetes API after the cluster's etcd was restored, or after objects were put back or deleted one
//! by one (invariant 8). Revisions have no order there.
#![allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]

use std::path::PathBuf;

use kube_ipam::store::KubernetesConfig;
use kube_ipam_e2e::api_server::{ApiServer, Client, Tenant, store};
use kube_ipam_e2e::cni::Reply;
use kube_ipam_e2e::node::{Network, Node};
use kube_ipam_e2e::operator::{self, printed};
use serde_json::{Value, json};

/// What the refusal of an ADD says during a recovery.
const WENT_BACK: &str = "the store went back in time";

/// Four addresses, without a cooldown.
fn network(node: &Node) -> Network<'_> {
    node.network(json!({
        "subnet": "10.1.0.0/29", "rangeStart": "10.1.0.2", "rangeEnd": "10.1.0.5", "cooldown": "0s",
    }))
}

fn refused_for_recovery(reply: Reply) {
    let reply = reply.refused();
    assert_eq!(reply.code(), 11, "{}", reply.stdout);
    assert!(reply.text().contains(WENT_BACK), "{}", reply.text());
}

fn held(node: &Node) -> Vec<(String, String)> {
    let mut held = node.held();
    held.sort();
    held
}

/// The containers that hold addresses.
fn holders(node: &Node) -> Vec<String> {
    let mut holders: Vec<String> = node.held().into_iter().map(|(_, holder)| holder).collect();
    holders.sort();
    holders
}

/// How a recovery stands.
fn recovery(node: &Node) -> Value {
    serde_json::from_str(&printed(node, &["recovery", "-o", "json"])).unwrap()
}

/// A cluster of its own, whose etcd can be restored, with two nodes.
struct Cluster {
    server: ApiServer,
    namespace: String,
    snapshot: PathBuf,
    nodes: [Node; 2],
}

impl Cluster {
    /// `None` where no API server is installed.
    fn start(test: &str) -> Option<Self> {
        let server = ApiServer::start(test)?;
        let names = ["node-1", "node-2"];
        for name in names {
            let labels = json!({ "kubernetes.io/os": "linux" });
            server.admin().create("/api/v1/nodes", &json!({ "metadata": { "name": name, "labels": labels } })).unwrap();
        }
        let tenant = server.tenant().unwrap();
        store::install(&tenant).unwrap();
        let nodes = names.map(|name| {
            let node = Node::on_kubernetes(&tenant);
            node.set_defaults(&json!({ "nodeName": name, "annotations": true }));
            node
        });
        let namespace = tenant.namespace().to_owned();
        let snapshot = server.folder().join("snapshot");
        Some(Self { server, namespace, snapshot, nodes })
    }

    fn back_up(&self) {
        self.server.save(&self.snapshot).unwrap();
    }

    fn restore(&mut self) {
        self.server.restore(&self.snapshot).unwrap();
    }

    /// Creates a pod, which runs nowhere yet. Returns its UID.
    fn create_pod(&self, name: &str) -> String {
        let spec = json!({ "nodeName": "node-1", "containers": [{ "name": "main", "image": "none" }] });
        let path = format!("/api/v1/namespaces/{}/pods", self.namespace);
        let pod = self.server.admin().create(&path, &json!({ "metadata": { "name": name }, "spec": spec })).unwrap();
        pod["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    fn delete_pod(&self, name: &str) {
        self.server.admin().delete(&format!("/api/v1/namespaces/{}/pods/{name}", self.namespace)).unwrap();
    }

    /// An ADD of a pod, in a container of its name.
    fn add(&self, pod: &str, uid: &str) -> Reply {
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={pod};K8S_POD_UID={uid}", self.namespace);
        network(&self.nodes[0]).call("ADD", pod).args(&args).run()
    }
}

#[test]
fn a_restored_cluster_gives_nobody_the_address_of_a_container_that_runs() {
    let test = "a_restored_cluster_gives_nobody_the_address_of_a_container_that_runs";
    let Some(mut cluster) = Cluster::start(test) else { return };
    network(&cluster.nodes[0]).add("a").ok();
    cluster.back_up();
    network(&cluster.nodes[0]).add("b").ok();
    network(&cluster.nodes[1]).add("c").ok();
    let before = held(&cluster.nodes[0]);
    cluster.restore();
    let nodes = &cluster.nodes;
    // Each sees it for itself, and does its part.
    refused_for_recovery(network(&nodes[1]).add("d"));
    assert!(printed(&nodes[0], &["recovery"]).contains("Missing: node-1."));
    assert!(recovery(&nodes[0])["current"]["sign"].as_str().unwrap().contains("eth0 of container c"));
    refused_for_recovery(network(&nodes[0]).add("d"));
    assert!(printed(&nodes[0], &["recovery"]).starts_with("No recovery is in progress."));
    assert!(nodes[1].log().contains(WENT_BACK), "{}", nodes[1].log());
    assert_eq!(held(&nodes[0]), before);
    let last = network(&nodes[1]).add("d").address();
    assert!(!before.iter().any(|(ip, _)| last.starts_with(&format!("{ip}/"))), "{last} and {before:?}");
    assert_eq!(printed(&nodes[0], &["sweep", "--marked"]), "Of this node's deferred releases: nothing was freed.\n");
}

#[test]
fn pods_that_came_and_went_since_the_backup_share_no_address_after_it_was_restored() {
    let test = "pods_that_came_and_went_since_the_backup_share_no_address_after_it_was_restored";
    let Some(mut cluster) = Cluster::start(test) else { return };
    let [old, stays, later] = ["old", "stays", "later"].map(|pod| cluster.create_pod(pod));
    cluster.add("old", &old).ok();
    cluster.add("stays", &stays).ok();
    // Its address will be the only free one.
    network(&cluster.nodes[0]).add("unnamed").ok();
    cluster.back_up();
    network(&cluster.nodes[0]).del("old").ok();
    cluster.delete_pod("old");
    cluster.add("later", &later).ok();
    let new = cluster.create_pod("new");
    cluster.add("new", &new).ok();
    let before = held(&cluster.nodes[0]);
    assert_eq!(before.len(), 4);
    cluster.restore();
    let node = &cluster.nodes[0];
    // A sweep of the whole store sees pod old in the restored cluster, and frees nothing.
    assert!(printed(node, &["sweep"]).contains("nothing was freed"));
    let other = cluster.create_pod("other");
    refused_for_recovery(cluster.add("other", &other));
    assert_eq!(held(node), before, "what old had is of later or new");
    // Node node-2 runs nothing, and says so in its check.
    refused_for_recovery(cluster.add("other", &other));
    printed(&cluster.nodes[1], &["sweep", "--marked"]);
    assert!(recovery(node)["current"].is_null(), "{}", recovery(node));
    let full = cluster.add("other", &other).refused();
    assert!(full.text().contains("no address is free"), "{}", full.text());
    // A late DEL of what is gone, a GC of what runs, and sweeps take nothing.
    network(node).del("old").ok();
    let valid: Vec<Value> = ["stays", "later", "new", "unnamed"]
        .map(|container| json!({ "containerID": container, "ifname": "eth0" }))
        .to_vec();
    let gc = network(node).with(json!({ "cniVersion": "1.1.0", "cni.dev/valid-attachments": valid })).config;
    network(node).call("GC", "any").config(&gc).run().ok();
    for sweep in [&["sweep"][..], &["sweep", "--node"], &["sweep", "--marked"]] {
        printed(node, sweep);
    }
    assert_eq!(held(node), before);
    for container in ["stays", "later", "new", "unnamed"] {
        network(node).del(container).ok();
    }
    assert_eq!(holders(node), [""; 0]);
    cluster.add("other", &other).ok();
}

/// The objects of a store, as a program that backs up objects saves and restores them.
struct Objects<'a> {
    client: &'a Client,
    namespace: String,
}

impl<'a> Objects<'a> {
    fn of(tenant: &'a Tenant<'_>) -> Self {
        Self { client: &tenant.owner().client, namespace: tenant.namespace().to_owned() }
    }

    fn path(&self, resource: &str) -> String {
        format!("/apis/{}/v1alpha1/namespaces/{}/{resource}", KubernetesConfig::rule().0, self.namespace)
    }

    fn list(&self, resource: &str) -> Vec<Value> {
        let mut list = self.client.get(&self.path(resource)).unwrap();
        let kind = list["kind"].as_str().unwrap().trim_end_matches("List").to_owned();
        let version = list["apiVersion"].take();
        let mut items = list["items"].as_array().unwrap().clone();
        for item in &mut items {
            (item["kind"], item["apiVersion"]) = (json!(kind), version.clone());
        }
        items
    }

    /// All objects, by resource.
    fn save(&self) -> Vec<(String, Vec<Value>)> {
        let (_, resources, _) = KubernetesConfig::rule();
        resources.into_iter().map(|resource| (resource.to_owned(), self.list(resource))).collect()
    }

    fn delete(&self, resource: &str) {
        for object in self.list(resource) {
            let name = object["metadata"]["name"].as_str().unwrap();
            self.client.delete(&format!("{}/{name}", self.path(resource))).unwrap();
        }
    }

    /// Replaces all objects by those of a backup, except those of one resource. They get new UIDs.
    fn restore(&self, backup: &[(String, Vec<Value>)], except: &str) {
        for (resource, objects) in backup {
            self.delete(resource);
            for object in objects.iter().filter(|_| resource != except) {
                let mut object = object.clone();
                let metadata = object["metadata"].as_object_mut().unwrap();
                metadata.retain(|key, _| ["name", "labels", "annotations"].contains(&key.as_str()));
                self.client.create(&self.path(resource), &object).unwrap();
            }
        }
    }
}

#[test]
fn objects_that_were_put_back_one_by_one_give_nobody_the_address_of_a_container_that_runs() {
    let test = "objects_that_were_put_back_one_by_one_give_nobody_the_address_of_a_container_that_runs";
    for except in ["", "ipattachments", "ipleases"] {
        let Some(tenant) = ApiServer::with_store(test) else { return };
        let (node, objects) = (Node::on_kubernetes(&tenant), Objects::of(&tenant));
        network(&node).add("a").ok();
        network(&node).add("gone").ok();
        let backup = objects.save();
        network(&node).del("gone").ok();
        network(&node).add("b").ok();
        network(&node).add("c").ok();
        let before = held(&node);
        objects.restore(&backup, except);
        // b or c has the address that container gone has in the backup.
        refused_for_recovery(network(&node).add("d"));
        assert_eq!(held(&node), before, "without {except:?}");
        assert!(recovery(&node)["current"].is_null(), "{}", recovery(&node));
        let of_d = network(&node).add("d").address();
        assert!(!before.iter().any(|(ip, _)| of_d.starts_with(&format!("{ip}/"))), "{of_d} and {before:?}");
        for container in ["a", "b", "c", "d", "gone"] {
            network(&node).del(container).ok();
        }
        assert_eq!(node.held(), [], "without {except:?}");
        assert_eq!(tenant.server().open_objects(&tenant.store()).unwrap(), [""; 0]);
    }
}

#[test]
fn attachments_that_were_put_back_without_leases_have_theirs_again_after_a_check_of_the_node() {
    let test = "attachments_that_were_put_back_without_leases_have_theirs_again_after_a_check_of_the_node";
    let Some(tenant) = ApiServer::with_store(test) else { return };
    let (node, objects) = (Node::on_kubernetes(&tenant), Objects::of(&tenant));
    network(&node).add("a").ok();
    network(&node).add("b").ok();
    let before = held(&node);
    objects.restore(&objects.save(), "ipleases");
    let checked = String::from_utf8(operator::run(&node, &["sweep", "--marked"]).stderr).unwrap();
    assert!(checked.contains("2 attachments of this node were written back; the recovery is over"), "{checked}");
    assert_eq!(held(&node), before);
}

#[test]
fn doctor_and_check_find_a_lease_that_was_deleted_by_hand_and_its_node_writes_it_back() {
    let test = "doctor_and_check_find_a_lease_that_was_deleted_by_hand_and_its_node_writes_it_back";
    let Some(tenant) = ApiServer::with_store(test) else { return };
    let (node, objects) = (Node::on_kubernetes(&tenant), Objects::of(&tenant));
    let of_a = network(&node).add("a").ok();
    let before = held(&node);
    objects.delete("ipleases");
    let sign = "whose lease does not name it";
    let doctor = operator::run(&node, &["doctor"]);
    let shown = String::from_utf8(doctor.stdout).unwrap();
    assert!(!doctor.status.success() && shown.contains(sign), "{shown}");
    assert!(recovery(&node)["current"].is_null(), "doctor begins nothing");
    let checked = network(&node).check("a", &of_a).refused();
    assert!(checked.text().contains("10.1.0."), "{}", checked.text());
    // That call has begun a recovery, and done what its node can.
    assert!(recovery(&node)["last"]["sign"].as_str().unwrap().contains(sign), "{}", recovery(&node));
    assert_eq!(held(&node), before);
    network(&node).check("a", &of_a).ok();
}
