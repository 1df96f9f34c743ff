//! What each interface of a pod has.

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Cluster, on};

use crate::shared::{Namespace, all_distinct, by_kube_ipam, held_is_what_pods_have, layered};

const PODS: [(&str, &str); 4] = [("a", "n1"), ("b", "n2"), ("c", "n1"), ("d", "n2")];

fn make_pods(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let pods = PODS.map(|(name, node)| on(layered(cluster, name), node));
    cluster.apply(namespace, &pods)?;
    cluster.wait_ready(namespace, "--all")
}

pub fn distinct(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    make_pods(cluster, namespace)?;
    let pods = cluster.running(namespace)?;
    all_distinct(&pods, PODS.len() * cluster.interfaces().len())?;
    for (pod, (name, node)) in pods.iter().zip(PODS) {
        assert_eq!((pod.name.as_str(), pod.node.as_str()), (name, node));
        for (interface, subnet) in cluster.interfaces().into_iter().zip(["10.244.", "10.10.", "10.188."]) {
            let address = pod.address(interface)?.to_string();
            assert!(address.starts_with(subnet), "{name} has {address} on {interface}");
        }
    }
    held_is_what_pods_have(cluster, namespace, by_kube_ipam(cluster))
}

pub fn reachable(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    make_pods(cluster, namespace)?;
    let pods = cluster.running(namespace)?;
    for from in &pods {
        for to in pods.iter().filter(|to| to.name != from.name) {
            for interface in cluster.interfaces() {
                cluster.ping(from, to.address(interface)?)?;
            }
        }
    }
    Ok(())
}
