//! etcd out of space.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Cluster, Node, eventually, on};
use serde_json::Value;

use crate::shared::{Namespace, all_distinct, by_kube_ipam, layered, settled};
use crate::sweep::{self, held};

/// What etcd's database may have. What is held meanwhile is a small part of it.
const QUOTA: u32 = 4 << 20;

/// Somebody else's key, and what fills the database with its history. It is one argument of a command.
const KEY: &str = "/somebody-else";
const PIECE: usize = 100_000;

/// What every error says.
const FULL: &str = "etcd's database is full (alarm NOSPACE); compact and defragment it, then run etcdctl alarm disarm";

/// Where a node keeps the releases that could not reach their store.
const MARKED: &str = "/var/lib/kube-ipam/node/n1/marked";

fn answers(cluster: &Cluster) -> Result<()> {
    let answer = || Ok(cluster.etcdctl(&["endpoint", "health"]).ok());
    eventually("etcd answers", Duration::from_secs(60), Duration::from_millis(100), answer).map(drop)
}

fn fill(cluster: &Cluster) -> Result<()> {
    let value = "x".repeat(PIECE);
    let refused = (0..=QUOTA as usize / PIECE).find_map(|_| cluster.etcdctl(&["put", KEY, &value]).err());
    let refused = refused.ok_or("etcd took more than its quota")?.to_string();
    assert!(refused.contains("database space exceeded"), "{refused}");
    assert!(cluster.etcdctl(&["alarm", "list"])?.contains("NOSPACE"));
    Ok(())
}

/// The commands of docs/operations.md.
fn make_room(cluster: &Cluster) -> Result<()> {
    let status: Value = serde_json::from_str(&cluster.etcdctl(&["endpoint", "status", "-w", "json"])?)?;
    cluster.etcdctl(&["compact", &status[0]["Status"]["header"]["revision"].to_string()])?;
    cluster.etcdctl(&["defrag", "--cluster"])?;
    cluster.etcdctl(&["alarm", "disarm"]).map(drop)
}

/// The sandboxes with a deferred release on a node, once for each.
fn marked(node: &Node) -> Result<Vec<String>> {
    let entries = fs::read_dir(node.machine().path(MARKED))?.collect::<std::io::Result<Vec<_>>>()?;
    let names = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let sandbox = |name: String| name.split_once(':').map(|(container, _)| container.to_owned());
    Ok(names.filter(|name| name.ends_with(".json")).filter_map(sandbox).collect())
}

/// The sandboxes for which something is held of a pod.
fn sandboxes(cluster: &Cluster, namespace: &Namespace, pod: &str) -> Result<BTreeSet<String>> {
    let holders = cluster.held(namespace)?.into_iter().flat_map(|lease| lease.holders);
    let of_pod = holders.filter(|holder| holder.pod.as_ref().is_some_and(|named| named.name == pod));
    Ok(of_pod.map(|holder| holder.container).collect())
}

pub(crate) fn store(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    let of_one = by_kube_ipam(cluster).len();
    cluster.apply(namespace, &[on(layered(cluster, "ends"), "n1"), on(layered(cluster, "stays"), "n2")])?;
    cluster.wait_ready(namespace, "--all")?;
    let before = held(cluster, namespace)?;
    assert_eq!(before.len(), 2 * of_one);
    let ends = sandboxes(cluster, namespace, "ends")?;
    assert_eq!(ends.len(), 1);

    cluster.stop_store()?;
    cluster.start_store_of(QUOTA)?;
    answers(cluster)?;
    fill(cluster)?;
    cluster.apply(namespace, &[on(layered(cluster, "waits"), "n1")])?;
    cluster.wait_event(namespace, "waits", FULL)?;
    // It does not wait for room: its addresses are released later.
    cluster.delete_pods(namespace, "ends")?;
    let node = cluster.node("n1")?;
    assert_eq!(marked(node)?.iter().filter(|container| ends.contains(*container)).count(), of_one);
    let complaint = sweep::with(node, "--node").err().ok_or("a sweep succeeded that could free nothing")?;
    assert!(complaint.to_string().contains("could not be released; each line above says why"), "{complaint}");
    assert_eq!(held(cluster, namespace)?, before);

    make_room(cluster)?;
    cluster.wait_ready(namespace, "waits")?;
    let node = cluster.node("n1")?;
    // The deferred releases that its calls have not performed, such as those of sandboxes that never came up.
    sweep::with(node, "--node")?;
    assert_eq!(marked(node)?, [""; 0]);
    all_distinct(&cluster.running(namespace)?, 2 * cluster.interfaces().len())?;
    settled(cluster, namespace)?;

    cluster.etcdctl(&["del", KEY])?;
    cluster.stop_store()?;
    cluster.start_store()?;
    answers(cluster)
}
