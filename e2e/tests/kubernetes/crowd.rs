//! Many pods at once.

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::Cluster;
use serde_json::Value;

use crate::shared::{Namespace, all_distinct, by_kube_ipam, held_is_what_pods_have, layered, nothing_held};

pub fn a_hundred(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let pods: Vec<Value> = (0..100).map(|i| layered(cluster, &format!("pod-{i}"))).collect();
    cluster.apply(namespace, &pods)?;
    cluster.wait_ready(namespace, "--all")?;

    let pods = cluster.running(namespace)?;
    all_distinct(&pods, 100 * cluster.interfaces().len())?;
    for node in cluster.nodes() {
        assert!(pods.iter().any(|pod| pod.node == node.name), "no pod is on {}", node.name);
    }
    held_is_what_pods_have(cluster, namespace, by_kube_ipam(cluster))?;

    cluster.delete_pods(namespace, "--all")?;
    nothing_held(cluster, namespace)
}
