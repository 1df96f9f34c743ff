//! Ranges by the labels of nodes, with real processes: which range a node draws from, who is refused, and what a node keeps
//! that gets other labels while its containers run.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::fs::File;

use kube_ipam_e2e::cni::Call;
use kube_ipam_e2e::machines::{Machines, on_each_store};
use kube_ipam_e2e::node::{Network, Node};
use serde_json::{Value, json};

const ZONE: &str = "topology.kubernetes.io/zone";

/// The node has these labels from now on; null: nobody has written down which.
fn label(node: &Node, labels: &Value) {
    node.set_defaults(&json!({ "annotations": true, "nodeLabels": labels }));
}

/// A network with one range per zone.
fn zones(node: &Node) -> Network<'_> {
    let range = |subnet: &str, zone: &str| json!({ "subnet": subnet, "nodeSelector": { ZONE: zone } });
    node.network(json!({ "ranges": [[range("10.1.0.0/24", "a"), range("10.2.0.0/24", "b")]], "cooldown": "0s" }))
}

/// A call for a container whose pod asks for a fixed address.
fn fixed(network: &Network<'_>, verb: &str, container: &str, ip: &str) -> Call {
    let annotations = json!({ "io.kubernetes.cri.pod-annotations": { "kube-ipam.eth0.ip": ip } });
    let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=db;K8S_POD_NAME={container};K8S_POD_UID=u-{container}");
    let keys = json!({ "capabilities": { "io.kubernetes.cri.pod-annotations": true }, "runtimeConfig": annotations });
    network.with(keys).call(verb, container).args(&args)
}

#[test]
fn the_labels_of_a_node_decide_from_which_range_it_draws() {
    on_each_store("the_labels_of_a_node_decide_from_which_range_it_draws", |node| {
        for (zone, subnet) in [("a", "10.1.0."), ("b", "10.2.0.")] {
            label(node, &json!({ ZONE: zone, "topology.kubernetes.io/region": "r1" }));
            let given = zones(node).add(zone).ok().address();
            assert!(given.starts_with(subnet), "{zone}: {given}");
        }
        // The other zone's are for its nodes alone.
        let refused = fixed(&zones(node), "ADD", "c1", "10.1.0.9").run().refused();
        assert_eq!(refused.code(), 7);
        let text = refused.text();
        assert!(text.contains(&format!("is for nodes labelled {ZONE}=a; this node is node-1 (nodeLabels: ")), "{text}");
        assert_eq!(node.held().len(), 2);
    });
}

#[test]
fn a_node_without_a_range_is_refused_with_its_labels_and_what_to_do() {
    let node = Machines::embedded().node();
    for (labels, found, remedy) in [
        (json!({ ZONE: "c" }), format!("(nodeLabels: {ZONE}=c)"), "kubectl label node"),
        (json!({}), "(nodeLabels: none)".to_owned(), "kubectl label node"),
        (json!(null), "(nodeLabels: missing in the node defaults)".to_owned(), "`kube-ipam install` writes nodeLabels"),
    ] {
        label(&node, &labels);
        let refused = zones(&node).add("c1").refused();
        assert_eq!(refused.code(), 7);
        assert!(refused.text().contains(&found) && refused.text().contains(remedy), "{}", refused.text());
        assert!(refused.text().contains("no range of ipam.ranges[0] is for node node-1"), "{}", refused.text());
        // An ADD would fail.
        let status = node.call("STATUS").config(&zones(&node).with(json!({ "cniVersion": "1.1.0" })).config).run();
        assert!(status.refused().text().contains(&found));
    }
    assert_eq!(node.records(), Vec::<String>::new());
}

#[test]
fn what_runs_on_a_node_that_gets_other_labels_keeps_its_addresses() {
    on_each_store("what_runs_on_a_node_that_gets_other_labels_keeps_its_addresses", |node| {
        label(node, &json!({ ZONE: "a" }));
        let netns = node.path("netns");
        File::create(&netns).unwrap();
        let any = |verb: &str| zones(node).call(verb, "any").netns(&netns);
        let asking = |verb: &str| fixed(&zones(node), verb, "fixed", "10.1.0.9");
        let (first, asked) = (any("ADD").run().ok(), asking("ADD").run().ok());
        let held = node.held();
        assert_eq!((held.len(), asked.addresses()), (2, vec!["10.1.0.9/24".to_owned()]));
        let gc = |valid: &Value| {
            let keys = json!({ "cniVersion": "1.1.0", "cni.dev/valid-attachments": valid });
            node.call("GC").config(&zones(node).with(keys).config).run().ok();
        };
        for labels in [json!({ ZONE: "b" }), json!({ ZONE: "c" }), json!({}), json!(null)] {
            label(node, &labels);
            assert_eq!(any("ADD").run().ok().document, first.document, "{labels}");
            assert_eq!(asking("ADD").run().ok().document, asked.document, "{labels}");
            for (container, given) in [("any", &first), ("fixed", &asked)] {
                zones(node).check(container, given).ok();
            }
            gc(&json!([{ "containerID": "any", "ifname": "eth0" }, { "containerID": "fixed", "ifname": "eth0" }]));
            assert_eq!(node.held(), held, "{labels}");
            // Another address than the one that it has is no repetition, and a container that has none gets none of them.
            let other = fixed(&zones(node), "ADD", "fixed", "10.1.0.10").run().refused();
            assert!(
                other.text().contains("already has 10.1.0.9/24, but now 10.1.0.10 is requested"),
                "{}",
                other.text()
            );
            assert_eq!(fixed(&zones(node), "ADD", "new", "10.1.0.11").run().refused().code(), 7);
        }
        // Both ways in which an attachment ends; afterwards nothing is repeated.
        std::fs::remove_file(&netns).unwrap();
        gc(&json!([{ "containerID": "fixed", "ifname": "eth0" }]));
        assert_eq!(node.held().len(), 1);
        asking("DEL").run().ok();
        asking("DEL").run().ok();
        assert_eq!((node.held(), node.records()), (vec![], vec![]));
        assert_eq!(asking("ADD").run().refused().code(), 7);
        assert_eq!(node.records(), Vec::<String>::new());
    });
}

#[test]
fn a_check_on_a_relabelled_node_finds_an_address_that_the_container_does_not_have() {
    let node = Machines::embedded().node();
    label(&node, &json!({ ZONE: "a" }));
    let (own, others) = (zones(&node).add("c1").ok(), zones(&node).add("c2").ok());
    label(&node, &json!({ ZONE: "b" }));
    zones(&node).check("c1", &own).ok();
    assert_eq!(zones(&node).check("c1", &others).refused().code(), 101);
}
