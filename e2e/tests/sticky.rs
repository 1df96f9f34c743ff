//! Stable identities with real processes: a workload's next pod has the address of the one before. The API server is one
//! that plays scenarios.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use kube_ipam::store::EtcdConfig;
use kube_ipam_e2e::api::{self, Api, NAMESPACE};
use kube_ipam_e2e::cni::Reply;
use kube_ipam_e2e::etcd::{self, Cluster};
use kube_ipam_e2e::machines;
use kube_ipam_e2e::node::Node;
use kube_ipam_e2e::operator;
use serde_json::{Value, json};

const UIDS: [&str; 3] = [
    "0b4f6a52-3c1d-4b8e-9a53-0f6d8c1f1a11",
    "7d8a2f90-52f5-4f53-a1f4-3f5f8f5a2b22",
    "c2b5e0aa-9f04-4c8e-8f0e-6a4c7b1d9e33",
];

/// A node whose pods are those of an API server, on a network that keeps addresses.
struct Host<'node> {
    node: &'node Node,
    api: &'node Api,
    network: Value,
}

impl<'node> Host<'node> {
    fn new(node: &'node Node, api: &'node Api, name: &str) -> Self {
        let kubeconfig = api.kubeconfig_of(node).unwrap();
        node.set_defaults(&json!({ "annotations": true, "kubeConfig": kubeconfig, "nodeName": name }));
        api.has("pg", "o-1", "Running", &json!({}));
        Self { node, api, network: json!({ "subnet": "10.1.0.0/24", "cooldown": "0s", "sticky": true }) }
    }

    /// A pod of this controller runs.
    fn runs(&self, name: &str, uid: &str, (api_version, kind, owner): (&str, &str, &str), annotations: &Value) {
        let mut pod = api::pod(name, uid, "Running", annotations);
        let owner = json!({ "apiVersion": api_version, "kind": kind, "name": owner, "uid": "o-1", "controller": true });
        pod["metadata"]["ownerReferences"] = json!([owner]);
        self.api.shows(name, &pod);
    }

    fn runs_of_set(&self, name: &str, uid: &str) {
        self.runs(name, uid, ("apps/v1", "StatefulSet", "pg"), &json!({}));
    }

    fn add(&self, container: &str, pod: &str, uid: &str) -> Reply {
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={pod};K8S_POD_UID={uid}");
        self.node.network(self.network.clone()).call("ADD", container).args(&args).run()
    }

    fn del(&self, container: &str) {
        self.node.network(self.network.clone()).del(container).ok();
    }

    fn prints(&self, args: &[&str]) -> String {
        let output = operator::run(self.node, args);
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    }
}

fn on_each_store(test: &str, case: impl Fn(&Host<'_>)) {
    machines::on_each_store(test, |node| case(&Host::new(node, &Api::start().unwrap(), "node-1")));
}

#[test]
fn a_stateful_sets_pod_comes_back_with_its_address_and_no_other_gets_it_meanwhile() {
    on_each_store("a_stateful_sets_pod_comes_back_with_its_address_and_no_other_gets_it_meanwhile", |host| {
        host.runs_of_set("pg-0", UIDS[0]);
        host.runs_of_set("pg-1", UIDS[1]);
        let zero = host.add("c0", "pg-0", UIDS[0]).ok().address();
        let one = host.add("c1", "pg-1", UIDS[1]).ok().address();
        let ip = one.trim_end_matches("/24").to_owned();
        assert_ne!(zero, one);
        // Scaled down.
        host.api.lost("pg-1");
        host.del("c1");
        let listed = host.prints(&["list"]);
        let line = listed.lines().find(|line| line.starts_with(&format!("{ip} "))).unwrap();
        assert!(
            line.contains(" reserved ") && line.contains(&format!(" StatefulSet pod {NAMESPACE}/pg-1 ")),
            "{listed}"
        );
        let listed: Value = serde_json::from_str(&host.prints(&["list", "--ip", &ip, "-o", "json"])).unwrap();
        assert_eq!(listed[0]["owner"]["pod"], "pg-1");
        assert_eq!((&listed[0]["state"], &listed[0]["owner"]["kind"]), (&json!("reserved"), &json!("StatefulSet")));
        let fixed = json!({ "kube-ipam.eth0.ip": ip });
        host.api.has("thief", UIDS[2], "Running", &fixed);
        let refused = host.add("c2", "thief", UIDS[2]).refused();
        assert_eq!(refused.code(), 11);
        let text = refused.text();
        assert!(
            text.contains(&format!("{ip} is reserved for StatefulSet pod {NAMESPACE}/pg-1, unused since")),
            "{text}"
        );
        assert!(text.contains(&format!("kube-ipam release {ip} --yes")), "{text}");
        // Scaled up.
        host.runs_of_set("pg-1", UIDS[2]);
        assert_eq!(host.add("c3", "pg-1", UIDS[2]).ok().address(), one);
        assert!(host.node.log().contains("kept for StatefulSet pod db/pg-1"), "{}", host.node.log());
        host.del("c3");
        // Freed by an operator, it is anybody's.
        assert!(host.prints(&["release", &ip]).contains("is reserved for StatefulSet pod db/pg-1"));
        assert!(host.prints(&["release", &ip, "--yes"]).contains("is free now"));
        assert_eq!(host.add("c4", "thief", UIDS[2]).ok().address(), one);
    });
}

#[test]
fn on_another_node_it_has_its_address_too() {
    let test = "on_another_node_it_has_its_address_too";
    if !etcd::installed_or_skip(test) {
        return;
    }
    let cluster = Cluster::plain(1).unwrap();
    let config = EtcdConfig { prefix: etcd::PREFIX.to_owned(), ..cluster.config() };
    let (lost, other) = (Node::on_etcd(&config), Node::on_etcd(&config));
    let api = Api::start().unwrap();
    let (here, there) = (Host::new(&lost, &api, "node-1"), Host::new(&other, &api, "node-2"));
    here.runs_of_set("pg-0", UIDS[0]);
    let address = here.add("old", "pg-0", UIDS[0]).ok().address();
    // Its node is lost; the StatefulSet makes its next pod after a forced delete, and only then it passes.
    assert_eq!(there.add("new", "pg-0", UIDS[1]).refused().code(), 11);
    here.runs_of_set("pg-0", UIDS[1]);
    assert_eq!(there.add("new", "pg-0", UIDS[1]).ok().address(), address);
    here.del("old");
    assert_eq!(there.add("new", "pg-0", UIDS[1]).ok().address(), address);
    there.del("new");
    here.runs_of_set("pg-0", UIDS[2]);
    assert_eq!(here.add("again", "pg-0", UIDS[2]).ok().address(), address);
}

#[test]
fn the_pods_annotation_goes_before_the_networks_setting() {
    on_each_store("the_pods_annotation_goes_before_the_networks_setting", |host| {
        let set = ("apps/v1", "StatefulSet", "pg");
        host.runs("pg-0", UIDS[0], set, &json!({ "kube-ipam.eth0.sticky": "false" }));
        host.add("c0", "pg-0", UIDS[0]).ok();
        host.del("c0");
        assert_eq!(host.prints(&["list"]), "No addresses are held, reserved, in cooldown or foreign.\n");
        let off = Host { node: host.node, api: host.api, network: json!({ "subnet": "10.1.0.0/24" }) };
        off.runs("pg-1", UIDS[1], set, &json!({ "kube-ipam.eth0.sticky": "true" }));
        let address = off.add("c1", "pg-1", UIDS[1]).ok().address();
        off.del("c1");
        assert_eq!(off.add("c2", "pg-1", UIDS[1]).ok().address(), address);
        // A pod without an identity gets a warning.
        off.api.has("alone", UIDS[2], "Running", &json!({ "kube-ipam.eth0.sticky": "true" }));
        off.add("c3", "alone", UIDS[2]).ok();
        let log = off.node.log();
        assert!(log.contains("kube-ipam.eth0.sticky has no effect: the pod is of no StatefulSet"), "{log}");
    });
}

#[test]
fn what_is_reserved_for_a_stateful_set_is_not_for_a_pod_that_only_names_it() {
    on_each_store("what_is_reserved_for_a_stateful_set_is_not_for_a_pod_that_only_names_it", |host| {
        host.runs_of_set("pg-0", UIDS[0]);
        let address = host.add("c0", "pg-0", UIDS[0]).ok().address();
        host.api.lost("pg-0");
        host.del("c0");
        let before = host.prints(&["list", "-o", "json"]);
        let refused = |what: &str| {
            let reply = host.add("c1", "pg-0", UIDS[1]).refused();
            assert_eq!(reply.code(), 11, "{what}");
            assert_eq!(host.prints(&["list", "-o", "json"]), before, "{what}");
            reply.text()
        };
        // The set is deleted, another one has its name, or the server does not answer.
        host.runs_of_set("pg-0", UIDS[1]);
        host.api.lost("pg");
        assert!(refused("gone").contains("the API server knows no such object"));
        host.api.has("pg", "o-2", "Running", &json!({}));
        assert!(refused("another").contains("ownerReference has UID o-1, and the API server has UID o-2"));
        let message = "statefulsets.apps \"pg\" is forbidden: User \"node\" cannot get resource";
        let forbidden = json!({ "kind": "Status", "reason": "Forbidden", "code": 403, "message": message });
        host.api.answers("pg", 403, &forbidden);
        let text = refused("forbidden");
        let rule = r#"apiGroups ["apps"], resources ["statefulsets"], verbs ["get"]"#;
        assert!(text.contains("does not allow user node to get StatefulSet db/pg") && text.contains(rule), "{text}");
        // Of another group, or under the name of another set's pod, it is of no set, and gets any other address.
        for of in [("evil.example/v1", "StatefulSet", "pg"), ("apps/v1", "StatefulSet", "web")] {
            host.runs("pg-0", UIDS[1], of, &json!({}));
            assert_ne!(host.add("c2", "pg-0", UIDS[1]).ok().address(), address);
            host.del("c2");
        }
        host.api.has("pg", "o-1", "Running", &json!({}));
        host.runs_of_set("pg-0", UIDS[1]);
        assert_eq!(host.add("c3", "pg-0", UIDS[1]).ok().address(), address);
    });
}
