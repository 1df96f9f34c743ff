//! Ranges by the labels of nodes, which the installer of `examples/install` copies into the node defaults.

use std::net::IpAddr;
use std::time::Duration;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Cluster, attachment, eventually, macvlan, on, pod, with_networks};
use serde_json::{Value, json};

use crate::examples::defaults;
use crate::shared::{Namespace, settled};

const ZONE: &str = "topology.kubernetes.io/zone";

/// The installer reads its node once a minute.
const FOLLOWED: Duration = Duration::from_secs(120);
const OFTEN: Duration = Duration::from_millis(200);

/// A network with a range for each of two zones.
fn zones() -> Value {
    let range = |subnet: &str, zone: &str| json!({ "subnet": subnet, "nodeSelector": { ZONE: zone } });
    let ranges = json!([[range("10.56.1.0/24", "a"), range("10.56.2.0/24", "b")]]);
    attachment("zones", &macvlan("zones", "db0", &json!({ "ranges": ranges })))
}

/// Labels the nodes with these zones, or with none, and waits until their defaults say so.
fn label(cluster: &Cluster, zones: [(&str, Option<&str>); 2]) -> Result<()> {
    for (node, zone) in zones {
        let label = zone.map_or(format!("{ZONE}-"), |zone| format!("{ZONE}={zone}"));
        cluster.kubectl(&format!("label node {node} --overwrite {label}"))?;
    }
    eventually("the node defaults have the labels", FOLLOWED, OFTEN, || {
        for (node, zone) in zones {
            let expected = zone.map_or(json!({}), |zone| json!({ ZONE: zone }));
            if defaults(cluster.node(node)?)?["nodeLabels"] != expected {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}

fn on_zones(name: &str, node: &str) -> Value {
    on(with_networks(pod(name), "zones"), node)
}

/// The addresses of these pods on the network.
fn addresses<const N: usize>(cluster: &Cluster, namespace: &Namespace, pods: [&str; N]) -> Result<Vec<IpAddr>> {
    let running = cluster.running(namespace)?;
    let address = |name: &str| {
        let pod = running.iter().find(|pod| pod.name == name).ok_or_else(|| format!("{name} does not run"))?;
        pod.address("net1")
    };
    pods.into_iter().map(address).collect()
}

pub(crate) fn decide(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    label(cluster, [("n1", Some("a")), ("n2", Some("b"))])?;
    cluster.apply(namespace, &[zones(), on_zones("a", "n1"), on_zones("b", "n2")])?;
    cluster.wait_ready(namespace, "--all")?;
    let first = addresses(cluster, namespace, ["a", "b"])?;
    let subnets = first.iter().map(|ip| ip.to_string()[..8].to_owned());
    assert_eq!(subnets.collect::<Vec<_>>(), ["10.56.1.", "10.56.2."], "{first:?}");

    // One node changes its zone, and the other has none any more.
    label(cluster, [("n1", Some("b")), ("n2", None)])?;
    cluster.apply(namespace, &[on_zones("later", "n1"), on_zones("nowhere", "n2")])?;
    cluster.wait_ready(namespace, "later")?;
    let later = addresses(cluster, namespace, ["later"])?[0];
    assert!(later.to_string().starts_with("10.56.2."), "{later}");
    let refused = "no range of ipam.ranges[0] is for node n2 (nodeLabels: none)";
    cluster.wait_event(namespace, "nowhere", refused)?;
    cluster.delete_pods(namespace, "nowhere")?;
    // What runs has what it had, and gives it back.
    assert_eq!(addresses(cluster, namespace, ["a", "b"])?, first);
    settled(cluster, namespace)?;
    cluster.delete_pods(namespace, "a b")?;
    settled(cluster, namespace)?;
    label(cluster, [("n1", None), ("n2", None)])
}
