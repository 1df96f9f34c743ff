//! Calls for pods, without an API server: annotations from the runtime, and what happens where the pod can't be looked
//! up. With one: tests/kubernetes, and the client's own tests.
#![allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]

use kube_ipam_e2e::cni::Call;
use kube_ipam_e2e::node::{Network, Node, Plugin};
use serde_json::{Value, json};

const POD: &str = "IgnoreUnknown=1;K8S_POD_NAMESPACE=web;K8S_POD_NAME=web-1;K8S_POD_UID=u-1";

/// A machine whose networks read pods.
fn node() -> Node {
    let node = Node::new(Plugin::kube_ipam());
    node.set_defaults(&json!({ "annotations": true }));
    node
}

fn network(node: &Node) -> Network<'_> {
    node.network(json!({ "ranges": [[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "fd00::/64" }]] }))
}

/// An ADD of a pod whose annotations the runtime hands over.
fn annotated(network: &Network, container: &str, annotations: &Value) -> Call {
    let config = network.with(json!({
        "capabilities": { "io.kubernetes.cri.pod-annotations": true },
        "runtimeConfig": { "io.kubernetes.cri.pod-annotations": annotations },
    }));
    config.call("ADD", container).args(POD)
}

#[test]
fn annotations_from_the_runtime_are_followed_without_an_api_server() {
    let node = node();
    let network = network(&node);
    let fixed = json!({ "kube-ipam.eth0.ip": "10.1.0.7", "other": "x" });
    let given = annotated(&network, "c1", &fixed).run().ok().addresses();
    assert_eq!(given[0], "10.1.0.7/24");
    assert!(given[1].starts_with("fd00::"));
    assert!(node.log().contains("fixed by annotation kube-ipam.eth0.ip"), "{}", node.log());

    // Another pod is refused, and what it might have had of the other family with it.
    let other = "K8S_POD_NAMESPACE=web;K8S_POD_NAME=web-2;K8S_POD_UID=u-2";
    let refused = annotated(&network, "c2", &fixed).args(other).run().refused();
    assert_eq!(refused.code(), 11);
    assert!(refused.text().contains("10.1.0.7 is held by pod web/web-1"), "{}", refused.text());
    assert_eq!(node.held().len(), 2);

    // The next sandbox of the same pod takes it over.
    assert_eq!(annotated(&network, "c5", &fixed).run().ok().addresses()[0], "10.1.0.7/24");

    // A pod without annotations is handed over as null.
    annotated(&network, "c3", &Value::Null).run().ok();
    let wrong = annotated(&network, "c4", &json!({ "kube-ipam.eth0.ip": 7 })).run().refused();
    assert_eq!(wrong.code(), 7, "{}", wrong.text());
    assert!(wrong.text().contains("kube-ipam.eth0.ip"), "{}", wrong.text());
}

#[test]
fn a_pool_needs_the_api_server_to_know_what_the_pod_belongs_to() {
    let node = node();
    let refused =
        annotated(&network(&node), "c1", &json!({ "kube-ipam.eth0.pool": "10.1.0.7-10.1.0.9" })).run().refused();
    assert_eq!(refused.code(), 7);
    assert!(refused.text().contains("there is no kubeconfig at"), "{}", refused.text());
    assert!(!node.path("addresses").exists(), "nothing was asked of the store");
}

#[test]
fn a_pod_that_can_t_be_looked_up_is_refused_and_never_gets_a_random_address() {
    let node = node();
    let network = network(&node);
    let add = || network.call("ADD", "c1").args(POD);
    let refused = add().run().refused();
    assert_eq!(refused.code(), 7);
    let beside_defaults = node.path("kubeconfig");
    for part in [
        "pod web/web-1",
        beside_defaults.to_str().unwrap(),
        "/etc/kubernetes/pki/kubectl.kubeconfig",
        "kube-ipam install",
    ] {
        assert!(refused.text().contains(part), "{part}: {}", refused.text());
    }

    // A kubeconfig that leads nowhere: try again later, and at once, not at the end of the call's time.
    let nowhere = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": "http://127.0.0.1:1" } }],
        "users": [{ "name": "u", "user": { "token": "t0ken" } }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
    });
    std::fs::write(&beside_defaults, nowhere.to_string()).unwrap();
    let refused = add().run().refused();
    assert_eq!(refused.code(), 11);
    assert!(refused.text().contains("127.0.0.1:1") && !refused.text().contains("t0ken"), "{}", refused.text());

    // Half of one, as an interrupted writer might leave it.
    std::fs::write(&beside_defaults, &nowhere.to_string()[..60]).unwrap();
    assert_eq!(add().run().refused().code(), 7);
    assert!(!node.path("addresses").exists() && node.records().is_empty(), "nothing was asked of the store");

    // What it takes is not the pod's: without namespace or name it is none (podman names its containers).
    network.call("ADD", "c2").args("IgnoreUnknown=1;K8S_POD_NAME=web-1").run().ok();
    // Who gives up annotations says so.
    network
        .with(json!({ "ipam": { "type": "kube-ipam", "subnet": "10.2.0.0/24", "annotations": false } }))
        .call("ADD", "c3")
        .args(POD)
        .run()
        .ok();
    // A DEL asks nobody.
    network.call("DEL", "c2").args(POD).run().ok();
}

#[test]
fn what_calico_exports_chooses_neither_the_api_server_nor_the_store() {
    let node = node();
    let network = network(&node);
    // One that would be read if it were looked for: its error would be another.
    let exported = node.path("calico.kubeconfig");
    std::fs::write(&exported, "{}").unwrap();
    let hostile = |call: Call| {
        call.env("KUBECONFIG", &exported)
            .env("DATASTORE_TYPE", "kubernetes")
            .env("ETCD_ENDPOINTS", "http://127.0.0.1:1")
            .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            .env("KUBERNETES_SERVICE_PORT", "1")
    };
    let refused = hostile(network.call("ADD", "c1").args(POD)).run().refused();
    assert!(refused.text().contains("there is no kubeconfig at"), "{}", refused.text());
    let annotations = json!({ "kube-ipam.eth0.ip": "10.1.0.7" });
    assert_eq!(hostile(annotated(&network, "c1", &annotations)).run().ok().addresses()[0], "10.1.0.7/24");
    assert_eq!(node.held().len(), 2);
}

#[test]
fn an_unscoped_annotation_of_the_go_version_serves_one_interface_of_the_pod() {
    let node = node();
    let network = network(&node);
    let annotations = json!({
        "kube-ipam.ip": "10.1.0.7", "kube-ipam.netmask": "255.255.255.0", "kube-ipam.gateway": "10.1.0.1",
        "k8s.v1.cni.cncf.io/networks": "blue",
    });
    let first = annotated(&network, "c1", &annotations).run().ok().addresses();
    let second = annotated(&network, "c1", &annotations).ifname("net1").run().ok().addresses();
    assert_eq!(first[0], "10.1.0.7/24");
    assert_ne!(second[0], first[0]);
    assert!(
        node.log().contains("any, since annotation kube-ipam.ip serves another interface of the pod"),
        "{}",
        node.log()
    );
}

#[test]
fn an_address_for_the_nodes_of_another_rack_is_refused_on_this_one() {
    let node = node();
    node.set_defaults(&json!({ "annotations": true, "nodeName": "rack2-a" }));
    let range = |subnet, nodes| json!({ "subnet": subnet, "nodes": [nodes] });
    let network =
        node.network(json!({ "ranges": [[range("10.1.0.0/24", "rack1-*"), range("10.2.0.0/24", "rack2-*")]] }));
    // A pod with two networks, whose address may be for the other one.
    let asked = |ip: &str| json!({ "kube-ipam.ip": ip, "k8s.v1.cni.cncf.io/networks": "db" });
    let refused = annotated(&network, "c1", &asked("10.1.0.5")).run().refused();
    assert_eq!(refused.code(), 7);
    let text = refused.text();
    assert!(
        text.contains("is in range 10.1.0.0/24 of this network, which is for nodes rack1-*; this node is rack2-a"),
        "{text}"
    );
    assert_eq!(annotated(&network, "c1", &asked("10.2.0.5")).run().ok().addresses(), ["10.2.0.5/24"]);
    assert_eq!(node.held().len(), 1);
}

#[test]
fn an_interface_of_one_family_has_no_address_route_or_name_server_of_the_other() {
    let node = node();
    let ipam = json!({
        "ranges": [[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "fd00::/64" }]],
        "routes": [{ "dst": "10.9.0.0/16" }, { "dst": "fd09::/16" }],
        "dns": { "nameservers": ["10.1.0.53", "fd00::53"] },
    });
    let network = node.network(ipam);
    let result = |container: &str, annotations: Value| {
        let pod = format!("K8S_POD_NAMESPACE=web;K8S_POD_NAME={container};K8S_POD_UID={container}");
        let added = annotated(&network, container, &annotations).args(&pod).run().ok();
        let destination = |route: &Value| route["dst"].as_str().unwrap().to_owned();
        let routes: Vec<String> = added.document["routes"].as_array().unwrap().iter().map(destination).collect();
        (added.addresses(), routes.join(" "), added.document["dns"]["nameservers"].clone())
    };
    let (addresses, routes, servers) = result("c1", json!({ "kube-ipam.eth0.families": "4" }));
    assert_eq!((addresses.len(), addresses[0].ends_with("/24")), (1, true), "{addresses:?}");
    assert_eq!((routes.as_str(), servers), ("10.9.0.0/16", json!(["10.1.0.53"])));
    let (addresses, routes, servers) = result("c2", json!({ "kube-ipam.eth0.families": "6" }));
    assert_eq!((addresses.len(), addresses[0].ends_with("/64")), (1, true), "{addresses:?}");
    assert_eq!((routes.as_str(), servers), ("fd09::/16", json!(["fd00::53"])));
    assert_eq!(node.held().len(), 2);
    let (addresses, routes, _) = result("c3", json!({}));
    assert_eq!((addresses.len(), routes.as_str()), (2, "10.9.0.0/16 fd09::/16"));

    let both = json!({ "kube-ipam.eth0.families": "4", "kube-ipam.eth0.ip": "fd00::7" });
    let refused = annotated(&network, "c4", &both).run().refused();
    assert_eq!(refused.code(), 7);
    for part in ["kube-ipam.eth0.families limits this interface to IPv4", "kube-ipam.eth0.ip requests fd00::7"] {
        assert!(refused.text().contains(part), "{part}: {}", refused.text());
    }
    assert_eq!(node.held().len(), 4);
}

#[test]
fn a_huge_annotation_is_refused_in_a_short_line_of_the_log() {
    let node = node();
    let network = network(&node);
    let huge = "10.1.0.7, ".repeat(25_000);
    let refused = annotated(&network, "c1", &json!({ "kube-ipam.eth0.pool": huge })).run().refused();
    assert_eq!(refused.code(), 7);
    assert!(refused.text().contains("250000 bytes") && refused.text().len() < 500, "{}", refused.text());
    let long = format!("10.1.0.7, {}", "x".repeat(90_000));
    let refused = annotated(&network, "c1", &json!({ "kube-ipam.eth0.ip": long })).run().refused();
    assert!(refused.text().len() < 500, "{}", refused.text());
    // Keys that nobody reads, each with a note.
    let unread: serde_json::Map<String, Value> =
        (0..5_000).map(|n| (format!("kube-ipam.colour{n}"), json!("red"))).collect();
    annotated(&network, "c2", &Value::Object(unread)).run().ok();
    assert!(node.log().len() < 16 << 10, "{} bytes", node.log().len());
}
