//! Something is full: the addresses that a pod may have, or the etcd with kube-ipam's store, which is its own one, or
//! the cluster's, where nothing can be written any more.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Cluster, Node, RunningPod, Store, eventually, on};
use serde_json::{Value, json};

use crate::fixed::{annotated, layers};
use crate::sandboxes::whole;
use crate::shared::{Namespace, all_distinct, by_kube_ipam, held_is_what_pods_have, layered, settled};
use crate::sweep::{self, held};

/// How much more etcd's database may have than it has. What a trial holds and writes is a small part of it.
const ROOM: u64 = 4 << 20;

/// Somebody else's key, and what fills the database with its history. It is one argument of a command.
const KEY: &str = "/somebody-else";
const PIECE: usize = 100_000;

const OFTEN: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(120);

/// What every error says.
fn full(store: Store) -> &'static str {
    match store {
        Store::Etcd => {
            "etcd's database is full (alarm NOSPACE); compact and defragment it, then run etcdctl alarm disarm"
        }
        // In the API server's words.
        Store::KubernetesApi => "database space exceeded",
    }
}

fn answers(cluster: &Cluster) -> Result<()> {
    let answer = || {
        let is_there = cluster.etcdctl(&["endpoint", "health"]).is_ok() && cluster.leases().is_ok();
        Ok(is_there.then_some(()))
    };
    eventually("the store answers", Duration::from_secs(60), Duration::from_millis(100), answer)
}

fn status(cluster: &Cluster) -> Result<Value> {
    let status: Value = serde_json::from_str(&cluster.etcdctl(&["endpoint", "status", "-w", "json"])?)?;
    Ok(status[0]["Status"].clone())
}

/// Restarts etcd with little room, and takes that.
fn fill(cluster: &mut Cluster) -> Result<()> {
    // What is free in its file would be room, too.
    cluster.etcdctl(&["defrag"])?;
    let size = status(cluster)?["dbSize"].as_u64().ok_or("etcd does not say how large it is")?;
    cluster.stop_store()?;
    cluster.start_store_of(size + ROOM)?;
    answers(cluster)?;
    let value = "x".repeat(PIECE);
    let pieces = 2 * ROOM as usize / PIECE;
    let refused = (0..pieces).find_map(|_| cluster.etcdctl(&["put", KEY, &value]).err());
    let refused = refused.ok_or("etcd took more than its quota")?.to_string();
    assert!(refused.contains("database space exceeded"), "{refused}");
    assert!(cluster.etcdctl(&["alarm", "list"])?.contains("NOSPACE"));
    Ok(())
}

/// The commands of docs/operations.md.
fn make_room(cluster: &Cluster) -> Result<()> {
    cluster.etcdctl(&["compact", &status(cluster)?["header"]["revision"].to_string()])?;
    cluster.etcdctl(&["defrag", "--cluster"])?;
    cluster.etcdctl(&["alarm", "disarm"]).map(drop)
}

/// The sandboxes with a deferred release on a node, once for each.
pub(crate) fn marked(node: &Node) -> Result<Vec<String>> {
    let folder = format!("/var/lib/kube-ipam/node/{}/marked", node.name);
    // It is made with the first one.
    let Ok(entries) = fs::read_dir(node.machine().path(folder)) else { return Ok(Vec::new()) };
    let entries = entries.collect::<std::io::Result<Vec<_>>>()?;
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

/// Waits until the pod's refusal is told: by an event, for which a full API server has no room, or by the kubelet's log.
fn refused(cluster: &Cluster, namespace: &Namespace, pod: &str) -> Result<()> {
    let (store, node) = (cluster.options().store, cluster.node("n1")?);
    let is_told =
        |line: &str| line.contains("failed to setup network") && line.contains(pod) && line.contains(full(store));
    match store {
        Store::Etcd => cluster.wait_event(namespace, pod, full(store)).map(drop),
        Store::KubernetesApi => eventually("the kubelet says that etcd is full", LONG, OFTEN, || {
            Ok(node.kubelet_log().lines().any(is_told).then_some(()))
        }),
    }
}

/// Three pods on two nodes may have one of two addresses.
pub(crate) fn pool(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let [_, db] = layers(cluster);
    let pool = "10.188.0.240-10.188.0.241";
    let of_pool =
        |name: &str, node: &str| on(annotated(layered(cluster, name), &format!("kube-ipam.{db}.pool"), pool), node);
    cluster.apply(namespace, &[of_pool("first", "n1"), of_pool("second", "n2")])?;
    cluster.wait_ready(namespace, "--all")?;
    let before = cluster.running(namespace)?;
    cluster.apply(namespace, &[of_pool("third", "n1")])?;
    cluster.wait_event(namespace, "third", pool)?;
    cluster.delete_pods(namespace, "second")?;
    cluster.wait_ready(namespace, "third")?;
    let after = cluster.running(namespace)?;
    all_distinct(&after, 2 * cluster.interfaces().len())?;
    let of = |pods: &[RunningPod], name: &str| {
        pods.iter().find(|pod| pod.name == name).ok_or("a pod does not run")?.address(db)
    };
    assert_eq!((of(&after, "first")?, of(&after, "third")?), (of(&before, "first")?, of(&before, "second")?));
    held_is_what_pods_have(cluster, namespace, by_kube_ipam(cluster))
}

pub(crate) fn store(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    let of_one = by_kube_ipam(cluster).len();
    let mut ends = on(layered(cluster, "ends"), "n1");
    ends["spec"]["restartPolicy"] = json!("Never");
    cluster.apply(namespace, &[ends, on(layered(cluster, "waits"), "n1"), on(layered(cluster, "stays"), "n2")])?;
    cluster.wait_ready(namespace, "--all")?;
    let before = held(cluster, namespace)?;
    assert_eq!(before.len(), 3 * of_one);
    let ends = sandboxes(cluster, namespace, "ends")?;
    assert_eq!(ends.len(), 1);
    let waits = whole(cluster, namespace, "waits")?.ok_or("the pod has no address on some interface")?;

    fill(cluster)?;
    // Both lose their sandbox. The one needs another, which waits for room, and the other ends without it.
    for pod in cluster.running(namespace)?.iter().filter(|pod| pod.node == "n1") {
        cluster.kill_sandbox(pod)?;
    }
    refused(cluster, namespace, "waits")?;
    let of_ends = || {
        let marked = marked(cluster.node("n1")?)?;
        Ok((marked.iter().filter(|container| ends.contains(*container)).count() == of_one).then_some(()))
    };
    eventually("the pod has ended, and its releases are deferred", LONG, OFTEN, of_ends)?;
    assert!(cluster.running(namespace)?.iter().all(|pod| pod.name != "ends"));
    match cluster.options().store {
        Store::Etcd => {
            let complaint =
                sweep::with(cluster.node("n1")?, "--node").err().ok_or("a sweep freed what it could not")?;
            assert!(complaint.to_string().contains("could not be released; each line above says why"), "{complaint}");
        }
        Store::KubernetesApi => {
            let delete = format!("--namespace {} delete pod stays --force --grace-period=0", &**namespace);
            let complaint = cluster.kubectl(&delete).err().ok_or("a pod was deleted without a change")?;
            assert!(complaint.to_string().contains(full(Store::KubernetesApi)), "{complaint}");
        }
    }
    assert_eq!(held(cluster, namespace)?, before);

    make_room(cluster)?;
    eventually("the pod has its new sandbox", LONG, OFTEN, || {
        Ok(whole(cluster, namespace, "waits")?.filter(|now| !now.is_sandbox_of(&waits)))
    })?;
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
