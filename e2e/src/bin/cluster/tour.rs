//! The tour of kube-ipam in a cluster: installs it with `examples/install`, and shows `examples/layered`.

use std::time::{Duration, Instant};

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Cluster, RunningPod, on, pod, with_networks};
use serde_json::json;

use crate::table;

pub(crate) const PING: Duration = Duration::from_secs(3);

const WEB: &str = "layered-web";
const MIDDLE: &str = "layered-middle";
const DATABASE: &str = "layered-database";

/// Files that the installer writes to a node.
const FILES: &str =
    "/opt/cni/bin/kube-ipam /etc/cni/net.d/kube-ipam.d/kube-ipam.json /etc/cni/net.d/kube-ipam.d/kubeconfig";

/// Installs kube-ipam on the nodes, and shows it.
pub(crate) fn install(cluster: &Cluster) -> Result<()> {
    let began = Instant::now();
    table::heading("kube-ipam on both nodes (kubectl apply -k examples/install)");
    cluster.install()?;
    table::quote(&cluster.kubectl("get nodes")?);
    table::quote(&cluster.kubectl("--namespace kube-ipam get daemonset")?);
    println!("   after {} s. Files on n1:", began.elapsed().as_secs());
    let files = cluster.node("n1")?.machine().script(&format!("cd /; stat --format='%A  %n' {FILES}"))?;
    table::quote(&files);
    Ok(())
}

/// Applies the example with two layers and the pod between them, and shows it.
pub(crate) fn layered(cluster: &Cluster) -> Result<()> {
    install(cluster)?;

    let began = Instant::now();
    table::heading("Two layers and the pod between them (kubectl apply -k examples/layered)");
    cluster.apply_example("layered")?;
    for (namespace, workload) in
        [(DATABASE, "statefulset/database"), (WEB, "deployment/web"), (MIDDLE, "deployment/middle")]
    {
        cluster.kubectl(&format!("--namespace {namespace} rollout status {workload} --timeout=120s"))?;
    }
    println!("   all ready after {} s", began.elapsed().as_secs());
    table::pods(cluster)?;

    table::heading("What each pod requested, and has");
    table::interfaces(cluster, &[WEB, MIDDLE, DATABASE], ["cluster", "", ""])?;

    pings(cluster)?;
    refused(cluster)?;

    holders(cluster)
}

pub(crate) fn holders(cluster: &Cluster) -> Result<()> {
    table::heading(
        "All addresses and their holders (kubectl -n kube-ipam exec daemonset/kube-ipam -- /kube-ipam list)",
    );
    table::quote(&cluster.kubectl("--namespace kube-ipam exec daemonset/kube-ipam -- /kube-ipam list")?);
    Ok(())
}

fn pings(cluster: &Cluster) -> Result<()> {
    let (web, databases) = (cluster.running(WEB)?, cluster.running(DATABASE)?);
    let [database, other_database] = databases.as_slice() else { return Err("expected two databases".into()) };
    let from = web.first().ok_or("no web pod")?;
    let elsewhere = web.iter().find(|pod| pod.node != from.node).ok_or("all web pods are on one node")?;

    table::heading("Within a layer, between nodes: no router on the way");
    table::ping(cluster, from, elsewhere, "net1", true)?;
    table::ping(cluster, database, other_database, "net1", true)?;

    table::heading("Between the layers: through the middle pod, one router, so the ttl is 63");
    table::ping(cluster, from, database, "net1", true)?;
    table::ping(cluster, database, from, "net1", true)?;

    table::heading("Without the middle pod (kubectl -n layered-middle scale deployment/middle --replicas=0)");
    let middle = cluster.running(MIDDLE)?.into_iter().next().ok_or("no pod in the middle")?;
    scale_middle(cluster, 0)?;
    cluster.wait(MIDDLE, "delete", &format!("pods {}", middle.name))?;
    table::ping(cluster, from, database, "net1", false)?;
    scale_middle(cluster, 1)?;
    println!("   With the middle pod again:");
    table::ping(cluster, from, database, "net1", true)
}

fn scale_middle(cluster: &Cluster, replicas: usize) -> Result<()> {
    cluster.kubectl(&format!("--namespace {MIDDLE} scale deployment/middle --replicas={replicas}"))?;
    cluster.kubectl(&format!("--namespace {MIDDLE} rollout status deployment/middle --timeout=120s")).map(drop)
}

/// Another pod requests the address of a database. It stays for inspection.
fn refused(cluster: &Cluster) -> Result<()> {
    table::heading("Another pod requests the address of database-0: it waits, and its event names the holder");
    let holder: RunningPod = cluster.running(DATABASE)?.into_iter().next().ok_or("no database")?;
    let elsewhere = cluster.nodes().iter().find(|node| node.name != holder.node).ok_or("one node only")?;
    let mut copy = on(with_networks(pod("copy"), "db-net"), &elsewhere.name);
    copy["metadata"]["annotations"]["kube-ipam.net1.ip"] = json!(holder.address("net1")?);
    cluster.apply(DATABASE, &[copy])?;
    let event = cluster.wait_event(DATABASE, "copy", "is held by")?;
    table::wrapped(&event);
    println!("   (kubectl -n {DATABASE} describe pod copy)");
    Ok(())
}
