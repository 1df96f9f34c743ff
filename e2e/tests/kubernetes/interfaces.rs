//! What each interface of a pod has.

use std::net::IpAddr;
use std::time::Duration;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Cluster, RunningPod, eventually, on};

use crate::fixed::annotated;
use crate::shared::{Namespace, all_distinct, by_kube_ipam, held_is_what_pods_have, layered, settled};

const PODS: [(&str, &str); 4] = [("a", "n1"), ("b", "n2"), ("c", "n1"), ("d", "n2")];

fn make_pods(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let pods = PODS.map(|(name, node)| on(layered(cluster, name), node));
    cluster.apply(namespace, &pods)?;
    cluster.wait_ready(namespace, "--all")
}

pub(crate) fn distinct(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    make_pods(cluster, namespace)?;
    let pods = cluster.running(namespace)?;
    all_distinct(&pods, PODS.len() * cluster.interfaces().len())?;
    for (pod, (name, node)) in pods.iter().zip(PODS) {
        assert_eq!((pod.name.as_str(), pod.node.as_str()), (name, node));
        for (interface, subnet) in cluster.interfaces().into_iter().zip(["10.244.", "10.10.", "10.188."]) {
            let address = pod.address(interface)?.to_string();
            assert!(address.starts_with(subnet), "{name} has {address} on {interface}");
        }
    }
    held_is_what_pods_have(cluster, namespace, by_kube_ipam(cluster))
}

pub(crate) fn reachable(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    make_pods(cluster, namespace)?;
    let pods = cluster.running(namespace)?;
    for from in &pods {
        for to in pods.iter().filter(|to| to.name != from.name) {
            for interface in cluster.interfaces() {
                cluster.ping(from, to.address(interface)?)?;
            }
        }
    }
    Ok(())
}

/// The only sandbox of the only pod, with all its addresses.
fn whole(cluster: &Cluster, namespace: &Namespace) -> Result<Option<RunningPod>> {
    let interfaces = cluster.interfaces();
    let is_whole = |pod: &RunningPod| interfaces.iter().all(|interface| pod.address(interface).is_ok());
    match cluster.running(namespace)?.as_slice() {
        [pod] if is_whole(pod) => Ok(Some(pod.clone())),
        _ => Ok(None),
    }
}

pub(crate) fn rebuilt(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let [_, _, db] = cluster.interfaces();
    let fixed: IpAddr = "10.188.0.77".parse()?;
    let pod = annotated(layered(cluster, "rebuilt"), &format!("kube-ipam.{db}.ip"), &fixed.to_string());
    cluster.apply(namespace, &[pod])?;
    cluster.wait_ready(namespace, "rebuilt")?;
    let mut sandbox = whole(cluster, namespace)?.ok_or("the pod has no address on some interface")?;
    for _ in 0..10 {
        cluster.kill_sandbox(&sandbox)?;
        // Its containers may wait ever longer until they are started again; their sandbox does not.
        let anew = || Ok(whole(cluster, namespace)?.filter(|now| !now.is_sandbox_of(&sandbox)));
        let now = eventually("the pod has a new sandbox", Duration::from_secs(120), Duration::from_millis(200), anew)?;
        assert_eq!(now.address(db)?, fixed);
        sandbox = now;
    }
    settled(cluster, namespace)
}
