//! The network of the pods' first interfaces, which only the nodes' CNI folders have.

use std::fs;

use kube_ipam_e2e::api::{NAMESPACE, pod};
use serde_json::json;

use crate::{Cluster, on_each_store, uid};

/// Gives the node a cluster-wide network of kube-ipam.
fn with_network(cluster: &Cluster<'_>) {
    let folder = cluster.node.path("net.d");
    fs::create_dir_all(&folder).unwrap();
    let ipam = json!({ "type": "kube-ipam", "subnet": "10.1.0.0/24", "cooldown": "0s" });
    let conflist = json!({
        "cniVersion": "1.0.0", "name": "k8s-pod-network", "plugins": [{ "type": "bridge", "ipam": ipam }],
    });
    fs::write(folder.join("10-k8s.conflist"), conflist.to_string()).unwrap();
}

/// A running pod without Multus, whose first interface has this address.
fn runs(cluster: &Cluster<'_>, name: &str, address: &str, is_on_host: bool) {
    let mut pod = pod(name, &uid(name), "Running", &json!({}));
    pod["spec"]["hostNetwork"] = json!(is_on_host);
    pod["status"]["podIPs"] = json!([{ "ip": address }]);
    cluster.api.shows(name, &pod);
}

#[test]
fn addresses_of_first_interfaces_are_compared_as_well() {
    on_each_store("addresses_of_first_interfaces_are_compared_as_well", |cluster| {
        runs(cluster, "plain", "10.1.0.99", false);
        assert_eq!(cluster.faults(), [""; 0]);
        with_network(cluster);
        cluster.fault(
            "pod-addresses error: pod db/plain: its eth0 uses 10.1.0.99 of network k8s-pod-network, which nobody holds",
        );
        runs(cluster, "plain", "192.0.2.7", true);
        assert_eq!(cluster.faults(), [""; 0]);
        // With Multus, the status of the pod names the network.
        let status = json!([{ "name": "k8s-pod-network", "interface": "eth0", "ips": ["10.1.0.98"], "default": true }]);
        let annotations = json!({ "k8s.v1.cni.cncf.io/network-status": status.to_string() });
        cluster.api.has("stray", &uid("stray"), "Running", &annotations);
        cluster.fault(
            "pod-addresses error: pod db/stray: its eth0 uses 10.1.0.98 of network k8s-pod-network, which nobody holds",
        );
    });
}

#[test]
fn workloads_need_an_address_for_the_first_interface_of_each_pod() {
    on_each_store("workloads_need_an_address_for_the_first_interface_of_each_pod", |cluster| {
        let template = json!({ "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [] } });
        cluster.api.has_workload(&json!({
            "kind": "Deployment", "metadata": { "namespace": NAMESPACE, "name": "web" },
            "spec": { "replicas": 300, "strategy": { "type": "Recreate" }, "template": template },
        }));
        assert_eq!(cluster.faults(), [""; 0]);
        with_network(cluster);
        cluster.fault("workloads error: network k8s-pod-network: no address is left in 10.1.0.1-10.1.0.254 of 10.1.0.0/24 for pod 253 of 300 of Deployment db/web");
        assert_eq!(cluster.diagnosis().commands("workloads"), ["kubectl -n db edit deployment web"]);
    });
}
