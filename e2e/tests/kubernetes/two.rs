//! Two clusters of equal names on one etcd, under one prefix; nobody has named them. A store in the Kubernetes API is not
//! for two: a node reads its pods and its store by one kubeconfig.

use std::net::IpAddr;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Cluster, Options, no_address_had_two_owners, on};
use serde_json::Value;

use crate::fixed::annotated;
use crate::shared::{Namespace, all_distinct, by_kube_ipam, layered, nothing_held, settled};
use crate::sweep::{self, NOTHING};

/// The node on which all pods are, and which each cluster has.
const NODE: &str = "n1";

/// What pods of both clusters request.
const FIXED: &str = "10.188.0.170";

/// The cluster that each holder of an address names.
fn named(cluster: &Cluster, ip: IpAddr) -> Result<Value> {
    Ok(cluster.stored(ip)?["holders"][0]["cluster"].clone())
}

fn make(cluster: &Cluster, namespace: &Namespace, pods: &[&str]) -> Result<()> {
    let made: Vec<Value> = pods.iter().map(|name| on(layered(cluster, name), NODE)).collect();
    cluster.apply(namespace, &made)?;
    cluster.wait_ready(namespace, &pods.join(" "))
}

/// A pod that requests the fixed address.
fn asking(cluster: &Cluster) -> Value {
    let [_, _, db] = cluster.interfaces();
    on(annotated(layered(cluster, "fixed"), &format!("kube-ipam.{db}.ip"), FIXED), NODE)
}

/// Makes an address held for a pod, which no DEL will release; then the pod goes, in this cluster alone.
fn leak(cluster: &Cluster, namespace: &Namespace, container: &str) -> Result<()> {
    let pod = sweep::args_of(cluster, namespace, "leaks")?;
    sweep::call(cluster, NODE, "ADD", container, &pod)?;
    cluster.delete_pods(namespace, "leaks")
}

/// Sweeps the one, which has so many addresses of the other before it, and says what was found.
fn swept(cluster: &Cluster, of_another: usize) -> Result<String> {
    let said = sweep::done(cluster)?;
    assert!(said.contains(&format!("{of_another} of another cluster")), "{said}");
    Ok(said)
}

/// Each cluster has what its own pods have, and no address is there twice.
fn both_settled(clusters: [&Cluster; 2], namespace: &Namespace, addresses: usize) -> Result<()> {
    let mut pods = Vec::new();
    for cluster in clusters {
        settled(cluster, namespace)?;
        pods.extend(cluster.running(namespace)?);
    }
    all_distinct(&pods, addresses)
}

pub(crate) fn clusters(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    let mut options = Options::new(cluster.flavour());
    options.nodes = vec![NODE.to_owned()];
    let mut other = Cluster::start(cluster.tools(), options)?;
    let _tunnel = cluster.tunnel_store_to(&mut other)?;
    let identities = [cluster.tells_its_own_apart()?, other.tells_its_own_apart()?];
    other.create_namespace(namespace)?;
    on_one_store([cluster, &other], &identities, namespace)?;
    for each in [cluster, &other] {
        each.delete_pods(namespace, "--all")?;
        nothing_held(each, namespace)?;
    }
    no_address_had_two_owners(&[cluster, &other])?;
    cluster.counts_all();
    Ok(())
}

fn on_one_store([one, other]: [&Cluster; 2], identities: &[String; 2], namespace: &Namespace) -> Result<()> {
    let [of_pod, names] = [by_kube_ipam(one).len(), 3];
    for each in [one, other] {
        make(each, namespace, &["stays", "same", "leaks"])?;
    }
    both_settled([one, other], namespace, 2 * names * of_pod)?;
    // Each node has found out which cluster it is in.
    for (each, identity) in [one, other].into_iter().zip(identities) {
        let defaults = each.node(NODE)?.defaults()?;
        assert!(defaults.get("cluster").is_none(), "{defaults}");
        let held = each.held(namespace)?;
        assert_eq!(held.len(), names * of_pod);
        for lease in held {
            assert_eq!(named(each, lease.address)?, Value::from(identity.as_str()));
        }
    }
    for each in [one, other] {
        let said = swept(each, names * of_pod)?;
        assert!(said.contains(NOTHING), "{said}");
    }

    // What leaks in one is found by that one alone: by the other neither while a pod of that name lives there, nor when
    // there is none any more.
    for (leaking, beside, container) in [(one, other, "planted-one"), (other, one, "planted-other")] {
        let planted = || -> Result<usize> { Ok(leaking.held_by(container)?.len()) };
        leak(leaking, namespace, container)?;
        let said = sweep::done(beside)?;
        assert!(said.contains(NOTHING), "{said}");
        assert_eq!(planted()?, 1);
        let said = sweep::done(leaking)?;
        assert!(said.contains("its pod is gone") && said.contains(": 1 freed"), "{said}");
        assert_eq!(planted()?, 0);
        sweep::call(leaking, NODE, "DEL", container, "K8S_POD_NAME=leaks")?;
    }
    both_settled([one, other], namespace, 2 * 2 * of_pod)?;

    // The pods of one name go in the one only.
    one.delete_pods(namespace, "same")?;
    let said = swept(one, 2 * of_pod)?;
    assert!(said.contains(NOTHING), "{said}");
    both_settled([one, other], namespace, (1 + 2) * of_pod)?;

    // An address that the other cluster's pod of that very name has is refused, until it is free.
    one.apply(namespace, &[asking(one)])?;
    one.wait_ready(namespace, "fixed")?;
    other.apply(namespace, &[asking(other)])?;
    let event = other.wait_event(namespace, "fixed", &format!("{FIXED} is held by"))?;
    for part in [&*format!("pod {}/fixed", &**namespace), "is in another cluster", "doesn't know"] {
        assert!(event.contains(part), "the event does not say {part}: {event}");
    }
    let fixed: IpAddr = FIXED.parse()?;
    let has_it =
        |cluster: &Cluster| -> Result<bool> { Ok(cluster.held(namespace)?.iter().any(|lease| lease.address == fixed)) };
    assert!(has_it(one)? && !has_it(other)?);
    one.delete_pods(namespace, "fixed")?;
    other.wait_ready(namespace, "fixed")?;
    assert!(has_it(other)? && !has_it(one)?);
    both_settled([one, other], namespace, (1 + 3) * of_pod)
}
