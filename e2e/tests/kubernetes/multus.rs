//! What Multus makes of networks, and hands to kube-ipam when it takes pods down.

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{
    Cluster, ClusterNetwork, Flavour, Options, attachment, macvlan, on, pod, web, with_networks,
};
use serde_json::json;

use crate::shared::{Namespace, all_distinct, held_is_what_pods_have, nothing_held};

pub(crate) fn one_subnet(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let network = |name: &str| attachment(name, &macvlan(name, "web0", &json!({ "subnet": "10.53.0.0/16" })));
    cluster.apply(namespace, &[network("one"), network("two")])?;
    cluster.apply(namespace, &[with_networks(pod("a"), "one,two,one"), with_networks(pod("b"), "two,one,two")])?;
    cluster.wait_ready(namespace, "--all")?;
    let pods = cluster.running(namespace)?;
    all_distinct(&pods, 2 * 4)?;
    for pod in &pods {
        for interface in ["net1", "net2", "net3"] {
            assert!(pod.address(interface)?.to_string().starts_with("10.53."), "{pod:?}");
        }
    }
    held_is_what_pods_have(cluster, namespace, &["net1", "net2", "net3"])
}

pub(crate) fn deleted(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let pods = ["n1", "n2"].map(|node| on(with_networks(pod(node), "web,db"), node));
    cluster.apply(namespace, &pods)?;
    cluster.wait_ready(namespace, "--all")?;
    cluster.kubectl(&format!("--namespace {namespace} delete network-attachment-definitions web db"))?;
    cluster.delete_pods(namespace, "--all")?;
    nothing_held(cluster, namespace)
}

pub(crate) fn edited(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let pods = ["n1", "n2"].map(|node| on(with_networks(pod(node), "web"), node));
    cluster.apply(namespace, &pods)?;
    cluster.wait_ready(namespace, "--all")?;
    let mut other = web();
    other["name"] = json!("web-2");
    other["ipam"] = json!({ "type": "kube-ipam", "subnet": "10.54.0.0/16" });
    cluster.apply(namespace, &[attachment("web", &other)])?;
    cluster.delete_pods(namespace, "--all")?;
    nothing_held(cluster, namespace)?;

    cluster.apply(namespace, &pods)?;
    cluster.wait_ready(namespace, "--all")?;
    for pod in cluster.running(namespace)? {
        assert!(pod.address("net1")?.to_string().starts_with("10.54."), "{pod:?}");
    }
    Ok(())
}

/// In a cluster of its own, since its nodes are set up in another way.
pub(crate) fn list(shared: &Cluster, namespace: &Namespace) -> Result<()> {
    let mut options = Options::new(Flavour::Multus);
    options.cluster_network = ClusterNetwork::KubeIpamList;
    let cluster = Cluster::start(shared.tools(), options)?;
    cluster.create_namespace(namespace)?;
    cluster.apply(namespace, &["n1", "n2"].map(|node| on(pod(node), node)))?;
    cluster.wait_ready(namespace, "--all")?;
    all_distinct(&cluster.running(namespace)?, 2)?;
    held_is_what_pods_have(&cluster, namespace, &["eth0"])?;
    cluster.delete_pods(namespace, "--all")?;
    nothing_held(&cluster, namespace)
}
