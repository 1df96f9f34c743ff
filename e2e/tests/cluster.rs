//! Which cluster a node is of, where nobody named it (invariant 4): real processes, and API servers that play scenarios.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::process::Command;

use kube_ipam_e2e::api::{self, Api, CLUSTER, NAMESPACE};
use kube_ipam_e2e::cni::Reply;
use kube_ipam_e2e::machines;
use kube_ipam_e2e::node::Node;
use serde_json::{Value, json};

const ONE: &str = "0b4f6a52-3c1d-4b8e-9a53-0f6d8c1f1a11";
const TWO: &str = "7d8a2f90-52f5-4f53-a1f4-3f5f8f5a2b22";
const OTHER_CLUSTER: &str = "0bca6a5e-0e3e-4a2f-9c39-6f8f5f2f4c0e";
const IP: &str = "10.1.0.5";

/// A node that was installed by hand, and an API server.
struct Host<'node> {
    node: &'node Node,
    api: Api,
}

impl<'node> Host<'node> {
    fn new(node: &'node Node) -> Self {
        let host = Self { node, api: Api::start().unwrap() };
        host.connect(json!({}));
        host
    }

    /// The node's kubeconfig is that of this server from now on.
    fn connect(&self, more: Value) {
        let kubeconfig = self.api.kubeconfig_of(self.node).unwrap();
        let mut defaults = json!({ "annotations": true, "kubeConfig": kubeconfig, "sweep": { "minAge": "0s" } });
        defaults.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.node.set_defaults(&defaults);
    }

    /// A pod that requests the address runs.
    fn runs(&self, pod: &str, uid: &str) {
        self.api.has(pod, uid, "Running", &json!({ "kube-ipam.eth0.ip": IP }));
    }

    fn call(&self, verb: &str, container: &str, pod: &str, uid: &str) -> Reply {
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={pod};K8S_POD_UID={uid}");
        let network = self.node.network(json!({ "subnet": "10.1.0.0/24", "cooldown": "0s" }));
        network.call(verb, container).args(&args).run()
    }

    fn add(&self, container: &str, pod: &str, uid: &str) -> Reply {
        self.call("ADD", container, pod, uid)
    }

    fn sweep(&self, options: &[&str]) -> Value {
        let output = self.command(&[&["sweep", "-o", "json"], options].concat());
        serde_json::from_slice(&output).unwrap()
    }

    /// Container and cluster of each holder.
    fn holders(&self) -> Vec<(String, String)> {
        let listed: Value = serde_json::from_slice(&self.command(&["list", "-o", "json"])).unwrap();
        let held = listed.as_array().unwrap().iter().filter(|lease| lease["state"] != "resting");
        let holders = held.flat_map(|lease| lease["holders"].as_array().unwrap());
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        holders.map(|holder| (text(&holder["containerID"]), text(&holder["cluster"]))).collect()
    }

    fn command(&self, args: &[&str]) -> Vec<u8> {
        let mut command = Command::new(&self.node.plugin().path);
        command.env_clear().env("KUBE_IPAM_CONFIG", self.node.path("kube-ipam.json")).args(args);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn hides_its_cluster(&self) {
        self.api.hides_its_cluster(Some((403, api::forbidden("namespaces", "kube-system"))));
    }
}

fn holder(container: &str, cluster: &str) -> (String, String) {
    (container.to_owned(), cluster.to_owned())
}

fn on_each_store(test: &str, case: impl Fn(&Host<'_>)) {
    machines::on_each_store(test, |node| case(&Host::new(node)));
}

#[test]
fn a_node_that_names_no_cluster_asks_once_and_writes_it_into_each_holder() {
    on_each_store("a_node_that_names_no_cluster_asks_once_and_writes_it_into_each_holder", |host| {
        host.runs("db-0", ONE);
        host.add("c1", "db-0", ONE).ok();
        assert_eq!((host.holders(), host.api.identity_asked()), (vec![holder("c1", CLUSTER)], 1));
        host.api.lost("db-0");
        host.runs("db-1", TWO);
        host.add("c2", "db-1", TWO).ok();
        assert_eq!((host.holders(), host.api.identity_asked()), (vec![holder("c2", CLUSTER)], 0));
        host.call("DEL", "c2", "db-1", TWO).ok();
        // Who is named no pod is in no cluster, and needs no server.
        host.node.network(json!({ "subnet": "10.1.0.0/24" })).add("plain").ok();
        assert_eq!((host.holders(), host.api.identity_asked()), (vec![holder("plain", "-")], 0));
    });
}

#[test]
fn a_404_of_one_cluster_takes_nothing_of_another_that_nobody_named() {
    on_each_store("a_404_of_one_cluster_takes_nothing_of_another_that_nobody_named", |one| {
        one.runs("db-0", ONE);
        one.add("c1", "db-0", ONE).ok();
        // Its URL and its authority identify a server; only its kubeconfig points the node to another one.
        let two = Host { node: one.node, api: Api::start().unwrap() };
        two.connect(json!({}));
        two.api.is_of_cluster(OTHER_CLUSTER);
        two.runs("db-1", TWO);
        for _ in 0..2 {
            let text = two.add("c2", "db-1", TWO).refused().text();
            assert!(text.contains("held by pod db/db-0") && text.contains("is in another cluster"), "{text}");
        }
        assert_eq!((two.api.identity_asked(), one.api.identity_asked()), (1, 1));
        // Its pod is not even asked about.
        assert_eq!(two.api.asked(), ["db-1", "db-1"]);
        assert_eq!(one.holders(), [holder("c1", CLUSTER)]);
        // Until the administrator says that the cluster was called so.
        two.connect(json!({ "formerClusters": [CLUSTER] }));
        two.add("c2", "db-1", TWO).ok();
        assert_eq!(one.holders(), [holder("c2", OTHER_CLUSTER)]);
    });
}

#[test]
fn without_the_right_to_its_cluster_s_identity_pods_start_and_none_is_confirmed_gone() {
    on_each_store("without_the_right_to_its_cluster_s_identity_pods_start_and_none_is_confirmed_gone", |host| {
        host.hides_its_cluster();
        host.runs("db-0", ONE);
        host.add("c1", "db-0", ONE).ok();
        assert_eq!(host.holders(), [holder("c1", "-")]);
        host.api.lost("db-0");
        host.runs("db-1", TWO);
        let refused = host.add("c2", "db-1", TWO).refused();
        let rule = "apiGroups [\"\"], resources [\"namespaces\"], resourceNames [\"kube-system\"], verbs [\"get\"]";
        let text = refused.text();
        assert!(refused.code() == 11 && text.contains("held by pod db/db-0") && text.contains(rule), "{text}");
        // It was logged a moment ago.
        assert_eq!(host.api.identity_asked(), 1);
        // A later sandbox of the same pod needs nobody's word.
        host.runs("db-0", ONE);
        host.add("c3", "db-0", ONE).ok();
        assert_eq!(host.holders(), [holder("c3", "-")]);
        // The right is granted, and the node asks again.
        host.api.hides_its_cluster(None);
        host.sweep(&["--node"]);
        host.api.lost("db-0");
        let text = host.add("c4", "db-1", TWO).refused().text();
        assert!(text.contains("names no cluster") && text.contains("formerClusters"), "{text}");
        assert_eq!(host.sweep(&[])["ofUnnamedCluster"], 1);
        assert_eq!(host.holders(), [holder("c3", "-")]);
        host.connect(json!({ "formerClusters": [""] }));
        host.add("c4", "db-1", TWO).ok();
        assert_eq!(host.holders(), [holder("c4", CLUSTER)]);
    });
}

#[test]
fn a_sweep_writes_its_cluster_into_the_holders_of_pods_that_run_here() {
    on_each_store("a_sweep_writes_its_cluster_into_the_holders_of_pods_that_run_here", |host| {
        host.hides_its_cluster();
        for (container, pod, uid) in [("c1", "db-0", ONE), ("c2", "db-1", TWO)] {
            host.api.has(pod, uid, "Running", &json!({}));
            host.add(container, pod, uid).ok();
        }
        host.api.hides_its_cluster(None);
        host.api.lost("db-1");
        let unnamed = [holder("c1", "-"), holder("c2", "-")];
        let held = || {
            let mut holders = host.holders();
            holders.sort();
            holders
        };
        assert_eq!((&host.sweep(&["--dry-run"])["named"], held().as_slice()), (&json!(1), unnamed.as_slice()));
        let said = host.sweep(&[]);
        assert_eq!((&said["named"], &said["ofUnnamedCluster"]), (&json!(1), &json!(2)));
        assert_eq!(held(), [holder("c1", CLUSTER), holder("c2", "-")]);
        // It is checked from now on as any other; what is gone and names none still is not.
        host.api.lost("db-0");
        host.api.has("always", "5e1f0e0e-0000-4000-8000-000000000000", "Running", &json!({}));
        let said = host.sweep(&["--interval", "10ms"]);
        assert_eq!((&said["named"], &said["ofUnnamedCluster"]), (&json!(0), &json!(1)));
        assert_eq!(held(), [holder("c2", "-")]);
        for (container, pod, uid) in [("c1", "db-0", ONE), ("c2", "db-1", TWO)] {
            host.call("DEL", container, pod, uid).ok();
        }
        assert_eq!(held(), []);
        assert_eq!(host.node.records(), [""; 0]);
    });
}
