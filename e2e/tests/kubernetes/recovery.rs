//! kube-ipam's store is restored from a backup under running pods: its etcd, that of the whole cluster, or its objects one
//! by one. The nodes are equipped by `examples/install` or `examples/install-etcd`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Backup, Cluster, RunningPod, eventually, on};
use serde_json::Value;

use crate::shared::{Namespace, all_distinct, by_kube_ipam, layered, nothing_held, settled};
use crate::sweep::held;

/// How long a recovery may last where the installer checks each minute.
const RECOVERED: Duration = Duration::from_secs(120);
const OFTEN: Duration = Duration::from_millis(500);

/// More writes than these trials make between a backup and its restore.
const RAISED: u32 = 200;

type Addresses = BTreeMap<String, BTreeMap<String, Vec<IpAddr>>>;

fn addresses(pods: Vec<RunningPod>) -> Addresses {
    pods.into_iter().map(|pod| (pod.name, pod.addresses.into_iter().collect())).collect()
}

fn pair(cluster: &Cluster, name: &str) -> Vec<Value> {
    ["n1", "n2"].map(|node| on(layered(cluster, &format!("{name}-{node}")), node)).to_vec()
}

/// How a recovery stands, as the operator sees it on a node.
fn recovery(cluster: &Cluster) -> Result<Value> {
    let shown = cluster.node("n1")?.machine().run("/opt/cni/bin/kube-ipam recovery --output json")?;
    Ok(serde_json::from_str(&shown)?)
}

/// Waits until a recovery is over that began after this one.
fn over(cluster: &Cluster, last: &Value) -> Result<()> {
    eventually("the recovery is over", RECOVERED, OFTEN, || {
        // The store may not answer yet.
        let Ok(now) = recovery(cluster) else { return Ok(None) };
        Ok((now["current"].is_null() && now["last"] != *last).then_some(()))
    })
}

/// Backs the store up between two pairs of pods, so that the backup knows the addresses of one pair alone, and puts it
/// back by `restore`. The pods run all the while, and others are made at once.
fn through<B>(
    cluster: &mut Cluster,
    namespace: &Namespace,
    back_up: impl FnOnce(&Cluster) -> Result<B>,
    restore: impl FnOnce(&mut Cluster, &B) -> Result<()>,
) -> Result<()> {
    cluster.apply(namespace, &pair(cluster, "early"))?;
    cluster.wait_ready(namespace, "--all")?;
    let backup = back_up(cluster)?;
    cluster.apply(namespace, &pair(cluster, "late"))?;
    cluster.wait_ready(namespace, "--all")?;
    let before = addresses(cluster.running(namespace)?);
    let last = recovery(cluster)?["last"].clone();

    restore(cluster, &backup)?;
    cluster.apply(namespace, &pair(cluster, "meanwhile"))?;
    over(cluster, &last)?;
    cluster.wait_ready(namespace, "--all")?;
    let running = cluster.running(namespace)?;
    all_distinct(&running, 6 * cluster.interfaces().len())?;
    let mut after = addresses(running);
    after.retain(|name, _| before.contains_key(name));
    assert_eq!(after, before);
    // All that runs is in the store again, and gives its addresses back as ever.
    settled(cluster, namespace)?;
    cluster.delete_pods(namespace, "--all")?;
    nothing_held(cluster, namespace)
}

/// The nodes notice by themselves.
pub(crate) fn of_a_backup_that_nobody_announced(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    through(cluster, namespace, Cluster::back_up_store, Cluster::restore_store)
}

/// The recovery begins before the nodes reach the store, whose revision does not show it.
pub(crate) fn of_a_backup_restored_as_documented(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    let restore = |cluster: &mut Cluster, backup: &Backup| cluster.restore_store_as_documented(backup, RAISED);
    through(cluster, namespace, Cluster::back_up_store, restore)
}

/// A tool that backs up objects puts back those of the store, and nobody says so. The nodes notice by themselves.
pub(crate) fn of_objects_put_back(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    through(cluster, namespace, Cluster::save_objects, |cluster, saved| cluster.put_objects_back(saved))
}

/// Waits until these pods run, each with all its addresses, and no others.
fn running(cluster: &Cluster, namespace: &Namespace, names: &[&str]) -> Result<Addresses> {
    eventually(&format!("these run: {names:?}"), RECOVERED, OFTEN, || {
        let running = cluster.running(namespace)?;
        let is_whole = running.iter().all(|pod| cluster.interfaces().iter().all(|name| pod.address(name).is_ok()));
        let found: Vec<&str> = running.iter().map(|pod| pod.name.as_str()).collect();
        if !is_whole || found != names {
            return Ok(None);
        }
        all_distinct(&running, names.len() * cluster.interfaces().len())?;
        Ok(Some(addresses(running)))
    })
    .map_err(|error| format!("{error}: {:?}", cluster.running(namespace)).into())
}

/// The cluster itself goes back, with the addresses in its API: a pod that has ended is there again, and one that runs is
/// not known any more. As long as its kubelet is away, it runs on, and nobody gets its address.
pub(crate) fn of_the_whole_cluster(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    let pairs = ["stays", "ended"].map(|name| pair(cluster, name)).concat();
    cluster.apply(namespace, &pairs)?;
    cluster.wait_ready(namespace, "--all")?;
    let backup = cluster.back_up_store()?;
    cluster.delete_pods(namespace, "ended-n1 ended-n2")?;
    cluster.apply(namespace, &pair(cluster, "late"))?;
    cluster.wait_ready(namespace, "--all")?;
    let before = addresses(cluster.running(namespace)?);
    let last = recovery(cluster)?["last"].clone();

    // Their watches would wait for resource versions that are in the future again.
    for node in ["n1", "n2"] {
        cluster.node_mut(node)?.stop_kubelet()?;
    }
    cluster.restore_cluster_as_documented(&backup)?;
    cluster.node_mut("n1")?.start_kubelet()?;
    cluster.apply(namespace, &pair(cluster, "meanwhile"))?;
    over(cluster, &last)?;
    let now = running(cluster, namespace, &["ended-n1", "late-n2", "meanwhile-n1", "stays-n1", "stays-n2"])?;
    // The store knows of the pod that the API server has lost.
    let held = held(cluster, namespace)?;
    for name in ["late-n2", "stays-n1", "stays-n2"] {
        assert_eq!(now[name], before[name], "{name}");
        for interface in by_kube_ipam(cluster) {
            assert!(now[name][*interface].iter().all(|address| held.contains(address)), "{name}: {held:?}");
        }
    }

    cluster.node_mut("n2")?.start_kubelet()?;
    let names = ["ended-n1", "ended-n2", "meanwhile-n1", "meanwhile-n2", "stays-n1", "stays-n2"];
    let after = running(cluster, namespace, &names)?;
    assert!(now.iter().all(|(name, addresses)| name == "late-n2" || after[name] == *addresses), "{now:?}, {after:?}");
    settled(cluster, namespace)?;
    cluster.delete_pods(namespace, "--all")?;
    nothing_held(cluster, namespace)
}
