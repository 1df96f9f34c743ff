//! The controller of `examples/install/controller`, as it is written except that nobody waits long, with its own rights.

use std::error::Error;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Cluster, eventually, on, pod};
use serde_json::{Value, json};

use crate::claims::define;
use crate::fixed::layers;
use crate::shared::{Namespace, by_kube_ipam, held_is_what_pods_have, layered};

const OFTEN: Duration = Duration::from_millis(500);

/// The lease duration, two scans, and a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Since when leaks have been there: no minimum age keeps them.
const LONG_AGO: &str = "2026-01-01T00:00:00Z";

const EXAMPLE: &str = "install/controller";

/// It scans soon after a deletion, and again.
const SOON: [&str; 2] = ["- --listen=0.0.0.0:9478", "- --listen=0.0.0.0:9478\n            - --settle=2s"];

/// Who holds the lease, once somebody other than this one does.
fn leader_after(cluster: &Cluster, last: &str) -> Result<String> {
    eventually("a controller leads", PATIENCE, OFTEN, || {
        let Ok(lease) = cluster.get("--namespace kube-ipam lease kube-ipam-controller") else { return Ok(None) };
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        Ok((!holder.is_empty() && holder != last).then(|| holder.to_owned()))
    })
}

/// The pod of the controller that has this name in the election.
fn pod_of(cluster: &Cluster, leader: &str) -> Result<Value> {
    let pods = cluster.get("--namespace kube-ipam pods --selector=app.kubernetes.io/name=kube-ipam-controller")?;
    for pod in pods["items"].as_array().into_iter().flatten() {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        if cluster.kubectl(&format!("--namespace kube-ipam logs {name} --container=controller"))?.contains(leader) {
            return Ok(pod.clone());
        }
    }
    Err(format!("no pod has said that it is {leader}").into())
}

/// Kills the process of a controller, as the kernel would that lacks memory.
fn kill(cluster: &Cluster, pod: &Value) -> Result<()> {
    let node = cluster.node(pod["spec"]["nodeName"].as_str().unwrap_or_default())?;
    let id = pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap_or_default();
    let id = id.strip_prefix("containerd://").ok_or("a container without an id")?;
    node.machine().run(&format!("ctr --namespace k8s.io tasks kill --signal SIGKILL {id}")).map(drop)
}

/// What a controller follows beside pods: each can own addresses that no pod uses.
const OWNERS: [(&str, &str); 4] = [
    ("apps/v1", "StatefulSet"),
    ("kubevirt.io/v1", "VirtualMachine"),
    ("kubevirt.io/v1", "VirtualMachineInstance"),
    ("k8s.cni.cncf.io/v1alpha1", "IPAMClaim"),
];

/// Makes an object that owns addresses.
fn make_owner(cluster: &Cluster, namespace: &Namespace, version: &str, kind: &str) -> Result<Value> {
    let labels = json!({ "app": "owner" });
    let spec = match kind {
        "StatefulSet" => json!({
            "replicas": 0, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": pod("any")["spec"] } }),
        "IPAMClaim" => json!({ "network": "db", "interface": "" }),
        _ => json!({}),
    };
    let owner = json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "owner" }, "spec": spec });
    cluster.apply(namespace, &[owner])?;
    let uid = cluster.get(&format!("--namespace {} {kind} owner", &**namespace))?["metadata"]["uid"].clone();
    Ok(json!({ "kind": kind, "namespace": **namespace, "name": "owner", "uid": uid }))
}

/// Makes an address reserved for an owner, unused for long.
fn reserve(cluster: &Cluster, living: IpAddr, mut owner: Value) -> Result<IpAddr> {
    let reserved = beside(living)?;
    let mut lease = cluster.stored(living)?;
    owner["cluster"] = lease["holders"][0]["cluster"].clone();
    if owner["kind"] == "StatefulSet" {
        owner["pod"] = json!("owner-0");
    }
    for (key, value) in [
        ("kind", json!("sticky")),
        ("holders", json!([])),
        ("since", json!(LONG_AGO)),
        ("unused", json!(LONG_AGO)),
        ("onRelease", json!({ "keep": null })),
        ("owner", owner),
    ] {
        lease[key] = value;
    }
    cluster.store(reserved, &lease)?;
    Ok(reserved)
}

/// What is reserved goes soon after its owner is deleted.
fn follows(cluster: &Cluster, namespace: &Namespace, living: IpAddr) -> Result<()> {
    for (version, kind) in OWNERS {
        let owner = make_owner(cluster, namespace, version, kind)?;
        let reserved = reserve(cluster, living, owner)?;
        cluster.kubectl(&format!("--namespace {} delete {kind} owner", &**namespace))?;
        eventually(&format!("what was reserved for the {kind} is free"), PATIENCE, OFTEN, || {
            let leases = cluster.leases()?;
            let lease = leases.iter().find(|lease| lease.address == reserved);
            Ok(lease.is_none_or(|lease| lease.state == "resting").then_some(()))
        })
        .map_err(|error| with_logs(cluster, error))?;
    }
    Ok(())
}

/// Makes an address held for a pod that is gone: beside that of one which lives, by a lease like its own.
fn leak(cluster: &Cluster, living: IpAddr) -> Result<IpAddr> {
    let leaked = beside(living)?;
    let mut lease = cluster.stored(living)?;
    lease["since"] = json!(LONG_AGO);
    let holder = &mut lease["holders"][0];
    holder["containerID"] = json!("of-a-ghost");
    holder["pod"]["name"] = json!("ghost");
    holder["pod"]["uid"] = json!("2971e5e0-8d34-4178-b2d3-3e2cbf240adf");
    cluster.store(leaked, &lease)?;
    cluster.store_attachment(leaked, &lease["holders"][0])?;
    Ok(leaked)
}

/// Another address of the same network.
fn beside(ip: IpAddr) -> Result<IpAddr> {
    let IpAddr::V4(ip) = ip else { return Err("an address of IPv6".into()) };
    let [a, b, c, d] = ip.octets();
    Ok(IpAddr::V4(Ipv4Addr::new(a, b, c, if d == 200 { 201 } else { 200 })))
}

fn freed(cluster: &Cluster, namespace: &Namespace, leaked: IpAddr) -> Result<()> {
    eventually("the leaked address is free", PATIENCE, OFTEN, || {
        Ok(cluster.held(namespace)?.iter().all(|lease| lease.address != leaked).then_some(()))
    })
    .map_err(|error| with_logs(cluster, error))
}

fn with_logs(cluster: &Cluster, error: impl Display) -> Box<dyn Error + Send + Sync> {
    let logs = "--namespace kube-ipam logs --selector=app.kubernetes.io/name=kube-ipam-controller --tail=30";
    format!("{error}\n{}", cluster.kubectl(logs).unwrap_or_else(|error| error.to_string())).into()
}

pub(crate) fn two(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    let [web, _] = layers(cluster);
    define(cluster)?;
    cluster.apply_example_with(EXAMPLE, "deployment.yaml", SOON)?;
    let rollout = "--namespace kube-ipam rollout status deployment/kube-ipam-controller --timeout=180s";
    cluster.kubectl(rollout).map_err(|error| {
        let say = |line: &str| cluster.kubectl(line).unwrap_or_else(|error| error.to_string());
        let pods = say("--namespace kube-ipam get pods,events");
        let selector = "--selector=app.kubernetes.io/name=kube-ipam-controller";
        format!("{error}\n{pods}\n{}", say(&format!("--namespace kube-ipam logs {selector} --all-containers")))
    })?;
    let pods = [("goes", "n1"), ("lives", "n1")].map(|(name, node)| on(layered(cluster, name), node));
    cluster.apply(namespace, &pods)?;
    cluster.wait_ready(namespace, "--all")?;
    let pods = cluster.running(namespace)?;
    let living = pods.iter().find(|pod| pod.name == "lives").ok_or("no pod lives")?.address(web)?;

    let first = leader_after(cluster, "")?;
    // The interval is longer than anybody waits here: the deletion of a pod of this node starts a scan of the node.
    let leaked = leak(cluster, living)?;
    cluster.delete_pods(namespace, "goes")?;
    freed(cluster, namespace, leaked)?;
    follows(cluster, namespace, living)?;

    kill(cluster, &pod_of(cluster, &first)?)?;
    let leaked = leak(cluster, living)?;
    let second = leader_after(cluster, &first)?;
    assert_ne!(first, second);
    freed(cluster, namespace, leaked)?;
    // It leads by what it has freed, too.
    let log = pod_of(cluster, &second)?["metadata"]["name"].clone();
    let log = cluster.kubectl(&format!("--namespace kube-ipam logs {}", log.as_str().unwrap_or_default()))?;
    assert!(log.contains(&leaked.to_string()), "{log}");
    held_is_what_pods_have(cluster, namespace, by_kube_ipam(cluster))?;
    cluster.delete_example(EXAMPLE)
}
