//! Nodes whose clocks are two hours apart, and stepped.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use kube_ipam_e2e::Result;
use kube_ipam_e2e::faketime::Faketime;
use kube_ipam_e2e::kubernetes::{Cluster, RunningPod, eventually, on};
use serde_json::Value;

use crate::fixed::annotated;
use crate::shared::{Namespace, by_kube_ipam, layered, settled};
use crate::sweep;

/// The trial's name.
pub(crate) const APART: &str = "nodes_whose_clocks_are_two_hours_apart_and_stepped_give_no_address_twice_and_lose_none";

/// One that is passed on from node to node.
const PASSED: &str = "10.188.0.150";

/// In seconds.
const HOUR: i64 = 3600;
const OFTEN: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(120);

/// The one node's clock is an hour ahead from now on, the other one's an hour behind.
fn step(cluster: &mut Cluster, faketime: &Faketime, [ahead, behind]: [&str; 2]) -> Result<()> {
    cluster.node_mut(ahead)?.set_clock(faketime, HOUR)?;
    cluster.node_mut(behind)?.set_clock(faketime, -HOUR)
}

/// The pods that run all the time, one on each node.
fn lasting(cluster: &Cluster, namespace: &Namespace) -> Result<[RunningPod; 2]> {
    let whole = |pod: &RunningPod| cluster.interfaces().iter().all(|interface| pod.address(interface).is_ok());
    let pods = cluster.running(namespace)?.into_iter();
    let mut lasting = pods.filter(|pod| pod.name.starts_with("lasts-") && whole(pod));
    match (lasting.next(), lasting.next(), lasting.next()) {
        (Some(first), Some(second), None) => Ok([first, second]),
        found => Err(format!("not two pods with all their addresses: {found:?}").into()),
    }
}

/// When an address was given, by the clock of who did it.
fn since(cluster: &Cluster, address: IpAddr) -> Result<Timestamp> {
    Ok(cluster.stored(address)?["since"].as_str().ok_or("a lease without its begin")?.parse()?)
}

/// Gives both of them a new sandbox.
fn rebuild(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let before = lasting(cluster, namespace)?;
    for pod in &before {
        cluster.kill_sandbox(pod)?;
    }
    let [_, _, db] = cluster.interfaces();
    let after = eventually("both have a new sandbox", LONG, OFTEN, || {
        let is_new = |now: &[RunningPod; 2]| now.iter().zip(&before).all(|(now, before)| !now.is_sandbox_of(before));
        Ok(lasting(cluster, namespace).ok().filter(is_new))
    })?;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.address(db)?, after.address(db)?, "{} has its fixed address no more", after.name);
    }
    Ok(())
}

/// What is held on each node for a pod that is gone: one address at random, and where the clock is ahead one by name.
fn plant(cluster: &Cluster, namespace: &Namespace, [ahead, behind]: [&str; 2], named: &str) -> Result<()> {
    cluster.apply(namespace, &[layered(cluster, "leaks")])?;
    cluster.wait_ready(namespace, "leaks")?;
    let pod = sweep::args_of(cluster, namespace, "leaks")?;
    sweep::call(cluster, ahead, "ADD", "planted-ahead", &pod)?;
    sweep::call(cluster, ahead, "ADD", "planted-named", &format!("{pod};IP={named}"))?;
    sweep::call(cluster, behind, "ADD", "planted-behind", &pod)?;
    cluster.delete_pods(namespace, "leaks")
}

/// A pod with a fixed address on the database layer.
fn fixed(cluster: &Cluster, name: &str, node: &str, address: &str) -> Value {
    let [_, _, db] = cluster.interfaces();
    on(annotated(layered(cluster, name), &format!("kube-ipam.{db}.ip"), address), node)
}

/// The heir takes over what is held by name for a pod that is gone, and waits for what a living one has elsewhere.
fn passes(cluster: &Cluster, namespace: &Namespace, [holder, heir]: [&str; 2], node: &str, named: &str) -> Result<()> {
    let [_, web, _] = cluster.interfaces();
    let waits = annotated(fixed(cluster, heir, node, PASSED), &format!("kube-ipam.{web}.ip"), named);
    cluster.apply(namespace, &[waits])?;
    cluster.wait_event(namespace, heir, &format!("{PASSED} is held by"))?;
    cluster.delete_pods(namespace, holder)?;
    cluster.wait_ready(namespace, heir)
}

/// What was planted goes, by whatever clock.
fn collected(cluster: &Cluster, [ahead, behind]: [&str; 2]) -> Result<()> {
    // Leaks of other trials may go too.
    let freed = |said: &str| {
        let planted = said.lines().filter(|line| line.contains("/leaks ") && line.contains("its pod is gone"));
        planted.filter(|line| line.contains(" freed ")).count()
    };
    // To the one that is behind, what the other one gave is of a time to come, which ages from its first sight. What the entry
    // has lost of which the address was taken over stays noted there until its DEL.
    let said = sweep::done_on(cluster.node(behind)?)?;
    assert_eq!(freed(&said), 2, "{said}");
    let said = sweep::done_on(cluster.node(ahead)?)?;
    assert_eq!(freed(&said), 0, "{said}");
    for (node, container) in [(behind, "planted-ahead"), (behind, "planted-named"), (ahead, "planted-behind")] {
        assert_eq!(cluster.held_by(container)?, [] as [IpAddr; 0], "{container}");
        sweep::call(cluster, node, "DEL", container, "K8S_POD_NAME=leaks")?;
    }
    Ok(())
}

pub(crate) fn apart(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    let Some(faketime) = Faketime::or_skip(APART) else { return Ok(()) };
    let mut clocks = ["n1", "n2"];
    step(cluster, &faketime, clocks)?;
    let pods = [
        fixed(cluster, "lasts-n1", "n1", "10.188.0.151"),
        fixed(cluster, "lasts-n2", "n2", "10.188.0.152"),
        fixed(cluster, "passes-0", "n1", PASSED),
    ];
    cluster.apply(namespace, &pods)?;
    cluster.wait_ready(namespace, "--all")?;
    settled(cluster, namespace)?;
    let [_, _, db] = cluster.interfaces();
    let [first, second] = lasting(cluster, namespace)?;
    let apart = since(cluster, first.address(db)?)?.duration_since(since(cluster, second.address(db)?)?);
    assert!((HOUR..3 * HOUR).contains(&apart.as_secs()), "the clocks are {apart} apart");

    for (pair, named) in [(["passes-0", "passes-1"], "10.10.0.160"), (["passes-1", "passes-2"], "10.10.0.161")] {
        plant(cluster, namespace, clocks, named)?;
        // The step comes while pods do, and goes both ways.
        let amid: Vec<String> = (0..10).map(|i| format!("amid-{i}")).collect();
        let pods: Vec<Value> = amid.iter().map(|name| layered(cluster, name)).collect();
        cluster.apply(namespace, &pods)?;
        clocks.reverse();
        step(cluster, &faketime, clocks)?;
        cluster.wait_ready(namespace, "--all")?;
        rebuild(cluster, namespace)?;
        let [ahead, _] = clocks;
        passes(cluster, namespace, pair, ahead, named)?;
        collected(cluster, clocks)?;
        cluster.delete_pods(namespace, &amid.join(" "))?;
        settled(cluster, namespace)?;
        assert_eq!(cluster.held(namespace)?.len(), 3 * by_kube_ipam(cluster).len());
    }

    // And by the right clock.
    for node in ["n1", "n2"] {
        cluster.node_mut(node)?.right_clock()?;
    }
    rebuild(cluster, namespace)?;
    cluster.delete_pods(namespace, "passes-2")?;
    settled(cluster, namespace)?;
    // What else is left of this is for no other trial to find.
    sweep::done(cluster).map(drop)
}
