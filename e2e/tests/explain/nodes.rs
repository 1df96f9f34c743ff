//! The address of a pod on a node whose kubelet no longer answers.

use kube_ipam_e2e::api::{forbidden, node_with};
use kube_ipam_e2e::machines::Machines;
use serde_json::json;

use crate::{Host, document, explained, on_each_host, printed};

const SILENT: &str = "Kubelet stopped posting node status.";

/// The commands of a page.
fn commands(page: &str) -> Vec<&str> {
    page.lines().filter_map(|line| line.strip_prefix("    ")).collect()
}

#[test]
fn a_lost_node_s_address_says_since_when_and_what_ends_the_wait() {
    on_each_host("a_lost_node_s_address_says_since_when_and_what_ends_the_wait", |host| {
        let asks = json!({ "kube-ipam.eth0.ip": "10.1.0.11" });
        host.add("db-0", &asks).ok();
        assert!(!explained(host.node, "10.1.0.11").contains("node-1, which"), "its node is ready");
        host.add("db-1", &asks).refused();
        host.api.answers("node-1", 200, &node_with("node-1", "Unknown", SILENT));
        for subject in ["10.1.0.11", "db/db-0", "db/db-1"] {
            let page = explained(host.node, subject);
            let condition = "node node-1 has the condition Ready=Unknown for ";
            assert!(page.contains(", on node node-1, which has not been ready for "), "{subject}: {page}");
            assert!(page.contains(condition) && page.contains(&format!(": {SILENT} [API server]")), "{page}");
            let expected = [
                "kubectl describe node node-1",
                "kubectl delete pod db-0 --namespace db --force --grace-period=0",
                "kubectl taint node node-1 node.kubernetes.io/out-of-service=nodeshutdown:NoExecute",
                "kubectl delete node node-1",
            ];
            assert_eq!(commands(&page), expected, "{page}");
        }
        let exact = document(host.node, "10.1.0.11")[0]["headline"].as_str().unwrap().to_owned();
        assert!(exact.ends_with("which has not been ready since 2026-11-01T10:00:00Z."), "{exact}");
        // The commands use the kubeconfig that was named.
        let kubeconfig = host.node.path("kubeconfig").display().to_string();
        let page = printed(host.node, &["explain", "10.1.0.11", "--kubeconfig", &kubeconfig]);
        assert!(page.contains(&format!("kubectl delete node node-1 --kubeconfig {kubeconfig}")), "{page}");
        // Once the pod's object is gone, the other pod gets the address.
        host.api.lost("db-0");
        host.call("ADD", "db-1").ok();
    });
}

#[test]
fn a_node_that_is_marked_is_not_marked_again() {
    let node = Machines::embedded().node();
    let host = Host::new(&node);
    host.add("db-0", &json!({ "kube-ipam.eth0.ip": "10.1.0.11" })).ok();
    let mut lost = node_with("node-1", "Unknown", SILENT);
    let taint = json!({ "key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute" });
    lost["spec"]["taints"] = json!([taint]);
    host.api.answers("node-1", 200, &lost);
    let page = explained(&node, "10.1.0.11");
    assert!(page.contains("; it is marked as out of service") && !page.contains("kubectl taint"), "{page}");
}

#[test]
fn nothing_is_said_to_be_lost_that_is_not_known_to_be() {
    let node = Machines::embedded().node();
    let host = Host::new(&node);
    host.add("db-0", &json!({ "kube-ipam.eth0.ip": "10.1.0.11" })).ok();
    let absent = json!({ "kind": "Status", "reason": "NotFound", "code": 404, "details": { "name": "node-1", "kind": "nodes" } });
    for (status, answer, text) in [
        (404, absent, "it knows no node node-1: it has another name there, or was deleted"),
        (403, forbidden("nodes", "node-1"), "whether node node-1 is ready is not known: "),
    ] {
        host.api.answers("node-1", status, &answer);
        let page = explained(&node, "10.1.0.11");
        assert!(page.contains(text), "{page}");
        assert!(!page.contains("--force") && !page.contains("not been ready"), "{page}");
    }
}
