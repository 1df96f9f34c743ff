//! Addresses that outlive their pods: those of IPAMClaims. The objects are made by hand, as KubeVirt's extension would make
//! them; what serves them is the real API server.

use std::net::IpAddr;
use std::time::Duration;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Cluster, RunningPod, eventually, on, pod, with_networks};
use serde_json::{Value, json};

use crate::shared::{Namespace, held_is_what_pods_have, nothing_held};

/// The kinds that take it.
const DEFINITIONS: &str = include_str!("definitions.yaml");

const OFTEN: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(60);

/// Makes the kinds known that other projects bring.
pub(crate) fn define(cluster: &Cluster) -> Result<()> {
    cluster.apply_text(DEFINITIONS)?;
    cluster.kubectl("wait --for=condition=Established --timeout=60s customresourcedefinitions --all").map(drop)
}

/// A claim for any interface, as KubeVirt's extension makes it.
pub(crate) fn claim(name: &str, network: &str) -> Value {
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1alpha1", "kind": "IPAMClaim", "metadata": { "name": name },
        "spec": { "network": network, "interface": "" },
    })
}

/// A pod on a node whose net1 is on the network db, and belongs to this claim.
fn naming(name: &str, node: &str, claim: &str) -> Value {
    let selection = json!([{ "name": "db", "ipam-claim-reference": claim }]);
    on(with_networks(pod(name), &selection.to_string()), node)
}

/// The pod of this name, once it runs.
pub(crate) fn runs(cluster: &Cluster, namespace: &Namespace, pod: &Value) -> Result<RunningPod> {
    let name = pod["metadata"]["name"].as_str().ok_or("a pod without a name")?;
    cluster.apply(namespace, std::slice::from_ref(pod))?;
    cluster.wait_ready(namespace, name)?;
    let found = cluster.running(namespace)?.into_iter().find(|running| running.name == name);
    found.ok_or_else(|| format!("{name} does not run").into())
}

/// The status of a claim says that a pod got this address.
pub(crate) fn says(cluster: &Cluster, namespace: &Namespace, claim: &str, address: IpAddr, pod: &str) -> Result<()> {
    let found = cluster.get(&format!("--namespace {namespace} ipamclaim {claim}"))?;
    let status = &found["status"];
    assert_eq!(status["ips"], json!([format!("{address}/16")]));
    assert_eq!(status["ownerPod"]["name"], pod);
    let condition = &status["conditions"][0];
    assert_eq!((&condition["type"], &condition["status"]), (&json!("IPsAllocated"), &json!("True")));
    Ok(())
}

/// How `kube-ipam list` shows an address.
fn listed(cluster: &Cluster, address: IpAddr) -> Result<Value> {
    let node = cluster.nodes().first().ok_or("no node")?;
    let list = node.machine().run(&format!("/opt/cni/bin/kube-ipam list --ip {address} --output json"))?;
    Ok(serde_json::from_str::<Value>(&list)?[0].clone())
}

/// Waits until an address is held by so many pods; by none, it is reserved for its owner.
pub(crate) fn held_by(cluster: &Cluster, address: IpAddr, count: usize, kind: &str) -> Result<()> {
    eventually(&format!("{address} is held by {count}"), LONG, OFTEN, || {
        let lease = listed(cluster, address)?;
        assert_eq!(lease["owner"]["kind"], kind, "{lease}");
        let held = if lease["state"] == "held" { lease["holders"].as_array().map_or(0, Vec::len) } else { 0 };
        Ok((held == count).then_some(()))
    })
}

pub(crate) fn release(cluster: &Cluster, address: IpAddr) -> Result<()> {
    let node = cluster.nodes().first().ok_or("no node")?;
    node.machine().run(&format!("/opt/cni/bin/kube-ipam release {address} --yes")).map(drop)
}

pub(crate) fn of_pods(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    define(cluster)?;
    // The pod comes first, and waits for its claim.
    cluster.apply(namespace, &[naming("a", "n1", "data")])?;
    cluster.wait_event(namespace, "a", &format!("knows no IPAMClaim {namespace}/data"))?;
    cluster.apply(namespace, &[claim("data", "db")])?;
    let first = runs(cluster, namespace, &naming("a", "n1", "data"))?;
    let address = first.address("net1")?;
    says(cluster, namespace, "data", address, "a")?;
    held_is_what_pods_have(cluster, namespace, &["net1"])?;

    // A second pod of it waits for the first; on the other node it then has the address.
    cluster.apply(namespace, &[naming("b", "n2", "data")])?;
    let event = cluster.wait_event(namespace, "b", &format!("{address} is held by pod {namespace}/a"))?;
    assert!(event.contains("node n1"), "{event}");
    cluster.delete_pods(namespace, "a")?;
    let second = runs(cluster, namespace, &naming("b", "n2", "data"))?;
    assert_eq!((second.address("net1")?, second.node.as_str()), (address, "n2"));
    says(cluster, namespace, "data", address, "b")?;
    cluster.delete_pods(namespace, "b")?;
    held_by(cluster, address, 0, "IPAMClaim")?;

    // The status was lost, and the next pod writes it again.
    let clear = format!("--namespace {namespace} patch ipamclaim data --subresource=status --type=merge");
    cluster.kubectl(&format!(r#"{clear} --patch={{"status":{{"ips":[]}}}}"#))?;
    assert_eq!(runs(cluster, namespace, &naming("c", "n1", "data"))?.address("net1")?, address);
    says(cluster, namespace, "data", address, "c")?;

    // Deleted under its pod, and recreated: another claim, which takes nothing over.
    cluster.kubectl(&format!("--namespace {namespace} delete ipamclaim data"))?;
    assert_eq!(cluster.running(namespace)?.len(), 1);
    cluster.delete_pods(namespace, "c")?;
    held_by(cluster, address, 0, "IPAMClaim")?;
    cluster.apply(namespace, &[claim("data", "db")])?;
    let other = runs(cluster, namespace, &naming("d", "n2", "data"))?.address("net1")?;
    assert_ne!(other, address);
    says(cluster, namespace, "data", other, "d")?;
    cluster.delete_pods(namespace, "d")?;

    // For another network, it is of no use.
    cluster.apply(namespace, &[claim("web", "web"), naming("e", "n1", "web")])?;
    cluster.wait_event(namespace, "e", "is for network web (spec.network), and this is db")?;
    cluster.delete_pods(namespace, "e")?;
    held_by(cluster, other, 0, "IPAMClaim")?;
    [address, other].into_iter().try_for_each(|address| release(cluster, address))?;
    nothing_held(cluster, namespace)
}
