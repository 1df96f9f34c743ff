//! Named pools with real processes: who gets their addresses. The API server is one that plays scenarios.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::collections::BTreeSet;

use kube_ipam_e2e::api::{self, Api, NAMESPACE};
use kube_ipam_e2e::cni::Reply;
use kube_ipam_e2e::machines::{self, Machines};
use kube_ipam_e2e::node::Node;
use kube_ipam_e2e::operator::printed;
use serde_json::{Value, json};

/// A node whose pods are those of an API server, on a network with .2 to .6, of which .4 to .6 are pool db.
struct Host<'node> {
    node: &'node Node,
    api: Api,
}

impl<'node> Host<'node> {
    fn new(node: &'node Node) -> Self {
        let api = Api::start().unwrap();
        let kubeconfig = api.kubeconfig_of(node).unwrap();
        node.set_defaults(&json!({ "annotations": true, "kubeConfig": kubeconfig, "nodeName": "node-1" }));
        let set = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": { "namespace": NAMESPACE, "name": "pg", "uid": "o-1" }, "spec": { "ordinals": { "start": 1 } },
        });
        api.answers("pg", 200, &set);
        Self { node, api }
    }

    /// An ADD of a pod with these annotations, on a network whose pool is for these namespaces.
    fn add_for(&self, namespaces: &Value, pod: &str, annotations: &Value, owner: Option<&str>) -> Reply {
        let uid = uid(pod);
        let mut object = api::pod(pod, &uid, "Running", annotations);
        if let Some(name) = owner {
            let owner = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": name, "uid": "o-1", "controller": true });
            object["metadata"]["ownerReferences"] = json!([owner]);
        }
        self.api.shows(pod, &object);
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={pod};K8S_POD_UID={uid}");
        let pools = json!({ "db": { "addresses": ["10.1.0.6", "10.1.0.4-10.1.0.5"], "namespaces": namespaces } });
        let network = json!({ "subnet": "10.1.0.0/29", "cooldown": "0s", "pools": pools });
        self.node.network(network).call("ADD", pod).args(&args).run()
    }

    fn add(&self, pod: &str, annotations: &Value) -> Reply {
        self.add_for(&json!([NAMESPACE]), pod, annotations, None)
    }

    fn del(&self, pod: &str) {
        self.node.network(json!({ "subnet": "10.1.0.0/29" })).del(pod).ok();
    }
}

fn on_each_store(test: &str, case: impl Fn(&Host<'_>)) {
    machines::on_each_store(test, |node| case(&Host::new(node)));
}

/// A UID of the form that the API server gives; another one would be that of a static pod.
fn uid(pod: &str) -> String {
    format!("0b4f6a52-3c1d-4b8e-9a53-{:0>12}", pod.bytes().map(|byte| format!("{byte:x}")).collect::<String>())
}

fn listed(node: &Node, args: &[&str]) -> Vec<String> {
    let list: Value = serde_json::from_str(&printed(node, &[&["list", "-o", "json"], args].concat())).unwrap();
    list.as_array().unwrap().iter().map(|row| row["address"].as_str().unwrap().to_owned()).collect()
}

fn by_name() -> Value {
    json!({ "kube-ipam.eth0.pool": "db" })
}

#[test]
fn a_pools_addresses_go_to_pods_that_name_it_and_to_no_other() {
    on_each_store("a_pools_addresses_go_to_pods_that_name_it_and_to_no_other", |host| {
        let random: BTreeSet<String> = ["r1", "r2"].map(|pod| host.add(pod, &json!({})).address()).into();
        assert_eq!(random, ["10.1.0.2/29", "10.1.0.3/29"].map(str::to_owned).into());
        let full = host.add("r3", &json!({})).refused();
        assert_eq!(full.code(), 11);
        let pods = ["p1", "p2", "p3"];
        let given: BTreeSet<String> = pods.map(|pod| host.add(pod, &by_name()).address()).into();
        assert_eq!(given, ["10.1.0.4/29", "10.1.0.5/29", "10.1.0.6/29"].map(str::to_owned).into());
        // The refusal names the pool, how full it is, and who holds its addresses.
        let refused = host.add("p4", &by_name()).refused();
        assert_eq!(refused.code(), 11);
        let text = refused.text();
        for part in
            ["no address is free in pool db (annotation kube-ipam.eth0.pool): 3 addresses, 3 held", "db/p1", "db/p3"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(host.node.log().contains("pool db of annotation kube-ipam.eth0.pool"), "{}", host.node.log());
        // A pod that is gone gives its address up to the next one of the pool, and to nobody at random.
        host.api.lost("p2");
        assert_eq!(host.add("r3", &json!({})).refused().code(), 11);
        let taken = host.add("p4", &by_name()).address();
        assert!(given.contains(&taken), "{taken}");
        // What is released is free for the pool alone.
        host.del("p1");
        assert_eq!(host.add("r3", &json!({})).refused().code(), 11);
        assert!(given.contains(&host.add("p5", &by_name()).address()));
        assert_eq!(host.node.held().len(), 5);
    });
}

#[test]
fn a_pool_is_closed_to_pods_of_other_namespaces_by_name_and_by_address() {
    let node = Machines::embedded().node();
    let host = Host::new(&node);
    let closed = json!(["database"]);
    let refused = host.add_for(&closed, "p1", &by_name(), None).refused();
    assert_eq!(refused.code(), 7);
    let text = refused.text();
    assert!(text.contains("pods of namespace db may not get addresses from pool db of network"), "{text}");
    let by_address = json!({ "kube-ipam.eth0.ip": "10.1.0.5" });
    let refused = host.add_for(&closed, "p2", &by_address, None).refused();
    assert_eq!(refused.code(), 7);
    assert!(refused.text().contains("it is in pool db, which is for namespaces database"), "{}", refused.text());
    assert!(!node.path("addresses").exists(), "nothing was asked of the store");
    assert_eq!(host.add("p2", &by_address).address(), "10.1.0.5/29");
}

#[test]
fn the_pods_of_a_stateful_set_take_the_addresses_of_a_pool_in_its_order() {
    on_each_store("the_pods_of_a_stateful_set_take_the_addresses_of_a_pool_in_its_order", |host| {
        let add = |pod: &str| host.add_for(&json!(null), pod, &by_name(), Some("pg"));
        // Its ordinals start at 1.
        assert_eq!(add("pg-2").address(), "10.1.0.4/29");
        assert_eq!(add("pg-1").address(), "10.1.0.6/29");
        let refused = add("pg-4").refused();
        assert_eq!(refused.code(), 7);
        assert!(refused.text().contains("pool db has 3 addresses in"), "{}", refused.text());
        assert!(refused.text().contains("too few for pod number 4 (counted from 1)"), "{}", refused.text());
        host.del("pg-1");
        assert_eq!(add("pg-3").address(), "10.1.0.5/29");
        assert_eq!(add("pg-1").address(), "10.1.0.6/29");
    });
}

#[test]
fn an_operator_sees_how_full_a_pool_is_and_who_has_its_addresses() {
    on_each_store("an_operator_sees_how_full_a_pool_is_and_who_has_its_addresses", |host| {
        let node = host.node;
        host.add("r1", &json!({})).address();
        assert_eq!(host.add("p1", &json!({ "kube-ipam.eth0.ip": "10.1.0.5" })).address(), "10.1.0.5/29");
        let other = host.add("p2", &by_name()).address();
        let other = other.trim_end_matches("/29");
        let mut of_pool = vec!["10.1.0.5".to_owned(), other.to_owned()];
        of_pool.sort();
        assert_eq!(listed(node, &["--pool", "db"]), of_pool);
        assert_eq!(listed(node, &["--pool", "db", "--pod", "db/p1"]), ["10.1.0.5"]);
        assert_eq!(listed(node, &["--pool", "db", "--node", "node-1"]), of_pool);
        assert_eq!(listed(node, &["--pool", "db", "--ip", other]), [other]);
        for nothing in [
            &["--pool", "db", "--vrf", "tenant"],
            &["--pool", "db", "--network", "web"],
            &["--pool", "pg", "--vrf", "default"],
        ] {
            assert_eq!(listed(node, nothing), Vec::<String>::new(), "{nothing:?}");
        }
        let usage = printed(node, &["usage"]);
        let row: Vec<&str> = usage.lines().find(|line| line.contains("pool db")).unwrap().split_whitespace().collect();
        // Network, vrf, subnet, range (two words), size, held, reserved, resting, foreign, free, longest run.
        assert_eq!(row[2..], ["10.1.0.0/29", "pool", "db", "3", "2", "0", "0", "0", "1", "1"], "{usage}");
    });
}
