//! Pods whose sandboxes are recreated, and a node that is renamed under its pods. The runtime sends a DEL for a sandbox
//! that was killed, before or after the next one's ADD.

use std::net::IpAddr;
use std::time::Duration;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Cluster, DEFAULTS, RunningPod, eventually, on};
use serde_json::json;

use crate::shared::{Namespace, layered, nothing_held, settled};
use crate::workloads::{deployment, rolled_out, workload};

const OFTEN: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(120);

/// The sandbox of a pod, with an address on each interface.
pub(crate) fn whole(cluster: &Cluster, namespace: &Namespace, pod: &str) -> Result<Option<RunningPod>> {
    let is_whole = |pod: &RunningPod| cluster.interfaces().iter().all(|interface| pod.address(interface).is_ok());
    Ok(cluster.running(namespace)?.into_iter().find(|running| running.name == pod && is_whole(running)))
}

/// Kills the sandbox of a pod, and waits for its next one.
fn rebuilt(cluster: &Cluster, namespace: &Namespace, sandbox: &RunningPod) -> Result<RunningPod> {
    cluster.kill_sandbox(sandbox)?;
    eventually("the pod has a new sandbox", LONG, OFTEN, || {
        Ok(whole(cluster, namespace, &sandbox.name)?.filter(|now| !now.is_sandbox_of(sandbox)))
    })
}

/// A layer has one address to give at random.
pub(crate) fn in_a_range_of_one(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    let only: IpAddr = "10.10.1.7".parse()?;
    let before = cluster.options().defaults.clone();
    let mut narrow = before.clone();
    narrow["exclude"] = json!(["10.10.1.0-10.10.1.6", "10.10.1.8-10.10.255.254"]);
    cluster.set_defaults(narrow)?;
    let [_, web, _] = cluster.interfaces();
    let strategy = json!({ "maxSurge": 0, "maxUnavailable": 1 });
    let workloads = [
        ("deployment/db", deployment(cluster, 1, &strategy, &[])),
        ("statefulset/db", workload(cluster, "StatefulSet", 1, &[])),
    ];
    for (name, object) in workloads {
        cluster.apply(namespace, &[object])?;
        let pods = rolled_out(cluster, namespace, name)?;
        let [pod] = pods.as_slice() else { return Err(format!("{name} has {pods:?}").into()) };
        assert_eq!(pod.address(web)?, only);
        let mut sandbox = pod.clone();
        for _ in 0..10 {
            sandbox = rebuilt(cluster, namespace, &sandbox)?;
            assert_eq!(sandbox.address(web)?, only, "{name}");
        }
        settled(cluster, namespace)?;
        cluster.kubectl(&format!("--namespace {} delete {name} --timeout=60s", &**namespace))?;
        nothing_held(cluster, namespace)?;
    }
    cluster.set_defaults(before)
}

/// A node went by its full host name, as an installation by hand has it, and is named as Kubernetes does from now on.
pub(crate) fn of_a_renamed_node(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    const FORMER: &str = "n2.example";
    let today = cluster.options().defaults.clone();
    let mut before = today.clone();
    before["nodeName"] = json!(FORMER);
    let node = cluster.node("n2")?;
    node.write(DEFAULTS, &before.to_string())?;
    let names = ["stays", "rebuilt", "ends"];
    let pods = names.map(|name| on(layered(cluster, name), "n2"));
    cluster.apply(namespace, &pods)?;
    cluster.wait_ready(namespace, "--all")?;
    let stays = whole(cluster, namespace, "stays")?.ok_or("the pod has no address on some interface")?;
    node.write(DEFAULTS, &today.to_string())?;

    cluster.delete_pods(namespace, "ends")?;
    let sandbox = whole(cluster, namespace, "rebuilt")?.ok_or("the pod has no address on some interface")?;
    rebuilt(cluster, namespace, &sandbox)?;
    settled(cluster, namespace)?;
    let running = cluster.running(namespace)?;
    let names: Vec<&str> = running.iter().map(|pod| pod.name.as_str()).collect();
    assert_eq!(names, ["rebuilt", "stays"]);
    let still = whole(cluster, namespace, "stays")?.ok_or("the pod has no address on some interface")?;
    assert!(still.is_sandbox_of(&stays) && still.addresses == stays.addresses, "{stays:?} became {still:?}");
    let nodes = |pod: &str| -> Result<Vec<String>> {
        let held = cluster.held(namespace)?.into_iter().flat_map(|lease| lease.holders);
        let of_pod = held.filter(|holder| holder.pod.as_ref().is_some_and(|named| named.name == pod));
        let mut nodes: Vec<String> = of_pod.map(|holder| holder.node).collect();
        nodes.dedup();
        Ok(nodes)
    };
    assert_eq!((nodes("stays")?, nodes("rebuilt")?), (vec![FORMER.to_owned()], vec!["n2".to_owned()]));
    Ok(())
}
