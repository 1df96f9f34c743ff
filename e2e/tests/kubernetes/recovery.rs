//! kube-ipam's etcd is restored from a backup under running pods, on a cluster whose nodes `examples/install` equips.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Backup, Cluster, RunningPod, eventually, on};
use serde_json::Value;

use crate::shared::{Namespace, all_distinct, layered, nothing_held, settled};

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

/// Backs etcd up between two pairs of pods, so that the backup knows the addresses of one pair alone, and puts it back by
/// `restore`. The pods run all the while, and others are made at once.
fn through(
    cluster: &mut Cluster,
    namespace: &Namespace,
    restore: impl FnOnce(&mut Cluster, &Backup) -> Result<()>,
) -> Result<()> {
    cluster.apply(namespace, &pair(cluster, "early"))?;
    cluster.wait_ready(namespace, "--all")?;
    let backup = cluster.back_up_store()?;
    cluster.apply(namespace, &pair(cluster, "late"))?;
    cluster.wait_ready(namespace, "--all")?;
    let before = addresses(cluster.running(namespace)?);
    let last = recovery(cluster)?["last"].clone();

    restore(cluster, &backup)?;
    cluster.apply(namespace, &pair(cluster, "meanwhile"))?;
    eventually("the recovery is over", RECOVERED, OFTEN, || {
        // etcd may not answer yet.
        let Ok(now) = recovery(cluster) else { return Ok(None) };
        Ok((now["current"].is_null() && now["last"] != last).then_some(()))
    })?;
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
    through(cluster, namespace, Cluster::restore_store)
}

/// The recovery begins before the nodes reach the store, whose revision does not show it.
pub(crate) fn of_a_backup_restored_as_documented(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    through(cluster, namespace, |cluster, backup| cluster.restore_store_as_documented(backup, RAISED))
}
