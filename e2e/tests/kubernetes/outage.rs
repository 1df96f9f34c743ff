//! Something that kube-ipam needs is not there.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Cluster, DEFAULTS, Flavour, RunningPod, eventually, on};
use serde_json::{Value, json};

use crate::fixed::layers;
use crate::shared::{Namespace, all_distinct, by_kube_ipam, held_is_what_pods_have, layered, settled};
use crate::sweep;
use crate::workloads::workload;

/// How often it is checked.
const EVERY: Duration = Duration::from_millis(200);

fn pods(cluster: &Cluster, names: &str) -> Vec<Value> {
    (0..10).map(|i| layered(cluster, &format!("{names}-{i}"))).collect()
}

/// How often a node's kubelet did not reach the API server.
fn misses(cluster: &Cluster) -> Vec<usize> {
    cluster.nodes().iter().map(|node| node.kubelet_log().matches("connection refused").count()).collect()
}

pub(crate) fn api(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    cluster.apply(namespace, &pods(cluster, "before"))?;
    cluster.wait_ready(namespace, "--all")?;
    // Some are being made and some are being torn down when it goes.
    cluster.apply(namespace, &pods(cluster, "amid"))?;
    cluster.kubectl(&format!(
        "--namespace {namespace} delete pods before-0 before-1 before-2 before-3 --wait=false",
        namespace = &**namespace
    ))?;
    let before = misses(cluster);
    cluster.stop_api()?;
    eventually("both kubelets miss the API server", Duration::from_secs(30), Duration::from_millis(100), || {
        Ok(misses(cluster).iter().zip(&before).all(|(now, before)| now > before).then_some(()))
    })?;
    cluster.start_api()?;

    cluster.apply(namespace, &pods(cluster, "after"))?;
    cluster.wait(namespace, "delete", "pods before-0 before-1 before-2 before-3")?;
    cluster.wait_ready(namespace, "--all")?;
    all_distinct(&cluster.running(namespace)?, 26 * cluster.interfaces().len())?;
    // With its store in the API, kube-ipam defers the releases of the outage. The installer's pod performs them.
    settled(cluster, namespace)
}

pub(crate) fn no_defaults(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    // etcd holds addresses meanwhile: one from elsewhere could be a second owner's.
    cluster.apply(namespace, &[on(layered(cluster, "early"), "n2")])?;
    cluster.wait_ready(namespace, "early")?;

    let node = cluster.node("n1")?;
    fs::remove_file(node.machine().path(DEFAULTS))?;
    cluster.apply(namespace, &[on(layered(cluster, "refused"), "n1")])?;
    let event = cluster.wait_event(namespace, "refused", DEFAULTS)?;
    assert!(event.contains("etcdConfig"), "the event does not say what to write there: {event}");
    assert!(!node.machine().path("/var/lib/kube-ipam/store").exists(), "a local store was made");

    node.write(DEFAULTS, &cluster.options().defaults.to_string())?;
    cluster.wait_ready(namespace, "refused")?;
    all_distinct(&cluster.running(namespace)?, 2 * cluster.interfaces().len())?;
    held_is_what_pods_have(cluster, namespace, by_kube_ipam(cluster))
}

pub(crate) fn no_program(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    let pods = [("late", "n2"), ("stays", "n1")].map(|(name, node)| on(layered(cluster, name), node));
    cluster.apply(namespace, &pods)?;
    cluster.wait_ready(namespace, "--all")?;
    let node = cluster.node("n2")?;
    let (program, aside) =
        (node.machine().path("/opt/cni/bin/kube-ipam"), node.machine().path("/opt/cni/bin/kube-ipam.aside"));
    fs::rename(&program, &aside)?;
    let deleted = cluster.kubectl(&format!("--namespace {} delete pod late --force", &**namespace));
    let missed = deleted.and_then(|_| {
        eventually("the kubelet misses kube-ipam", Duration::from_secs(60), EVERY, || {
            let log = node.kubelet_log();
            Ok(log.lines().any(|line| line.contains("failed to find plugin") && line.contains("late")).then_some(()))
        })
    });
    let held = cluster.held(namespace)?.len();
    fs::rename(&aside, &program)?;
    missed?;
    let of_one = by_kube_ipam(cluster).len();
    assert_eq!(held, 2 * of_one);
    // The runtime tries again until a DEL succeeds. Multus reports success, also if a plugin is missing:
    // then nobody calls kube-ipam any more for that pod.
    if cluster.flavour() == Flavour::Multus {
        eventually("the sandbox has ended", Duration::from_secs(60), EVERY, || {
            Ok((cluster.running(namespace)?.len() == 1).then_some(()))
        })?;
        assert_eq!(cluster.held(namespace)?.len(), held);
        let said = sweep::done(cluster)?;
        assert_eq!(said.matches("its pod is gone").count(), of_one, "{said}");
    }
    settled(cluster, namespace)
}

pub(crate) fn no_store(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    cluster.apply(namespace, &[on(layered(cluster, "early"), "n1")])?;
    cluster.wait_ready(namespace, "early")?;
    cluster.stop_store()?;
    cluster.apply(namespace, &[on(layered(cluster, "late"), "n1")])?;
    cluster.wait_event(namespace, "late", "192.168.250.1:2379")?;
    // It does not wait for the store. Its addresses are released by a later call on its node: that of the other pod.
    cluster.delete_pods(namespace, "early")?;
    cluster.start_store()?;
    cluster.wait_ready(namespace, "late")?;
    all_distinct(&cluster.running(namespace)?, cluster.interfaces().len())?;
    held_is_what_pods_have(cluster, namespace, by_kube_ipam(cluster))
}

pub(crate) fn no_store_and_no_later_call(cluster: &mut Cluster, _: &Namespace) -> Result<()> {
    // By hand: of pods, the runtime repeats the DEL at times.
    let ipam = json!({ "type": "kube-ipam", "subnet": "10.56.0.0/24" });
    let network = json!({ "cniVersion": "1.0.0", "name": "by-hand", "type": "macvlan", "ipam": ipam });
    let call = |cluster: &Cluster, verb: &str, node: &str, container: &str| {
        sweep::call_on(&network, cluster, node, verb, container, &format!("K8S_POD_NAME={container}"))
    };
    let containers = ["n1", "n2"].map(|node| (node, format!("last-on-{node}")));
    for (node, container) in &containers {
        call(cluster, "ADD", node, container)?;
    }
    cluster.stop_store()?;
    for (node, container) in &containers {
        call(cluster, "DEL", node, container)?;
    }
    cluster.start_store()?;
    // Nobody calls kube-ipam any more. The installer's pods perform the deferred releases of each node, and print them.
    let logs = "--namespace kube-ipam logs --container=sweep --tail=-1 --selector=app.kubernetes.io/name=kube-ipam";
    eventually("the pods say what they freed", Duration::from_secs(120), EVERY, || {
        let said = cluster.kubectl(logs)?;
        Ok(containers.iter().all(|(_, container)| said.contains(container)).then_some(()))
    })?;
    for (_, container) in &containers {
        assert_eq!(cluster.held_by(container)?, [] as [IpAddr; 0]);
    }
    Ok(())
}

pub(crate) fn no_kubelet(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    let [_, db] = layers(cluster);
    let address: IpAddr = "10.188.0.120".parse()?;
    let set = workload(cluster, "StatefulSet", 1, &[(&format!("kube-ipam.{db}.ip"), &address.to_string())]);
    cluster.kubectl("cordon n1")?;
    let applied = cluster.apply(namespace, &[set]);
    let ready = applied.and_then(|()| cluster.wait(namespace, "jsonpath={.status.readyReplicas}=1", "statefulset/db"));
    cluster.kubectl("uncordon n1")?;
    ready?;

    // Nobody on the node answers any more, and its pod runs on. As long as its object is there, so is its address.
    let node = cluster.node_mut("n2")?;
    node.stop_kubelet()?;
    node.stop_containerd()?;
    cluster.kubectl("cordon n2")?;
    let holder = |cluster: &Cluster| -> Result<String> {
        let lease = cluster.held(namespace)?.into_iter().find(|lease| lease.address == address);
        Ok(lease.and_then(|lease| lease.holders.into_iter().next()).ok_or("nobody holds the address")?.node)
    };
    assert_eq!(holder(cluster)?, "n2");

    // Somebody who knows that the node is lost says so.
    cluster.kubectl(&format!("--namespace {} delete pod db-0 --force --grace-period=0", &**namespace))?;
    cluster.wait(namespace, "jsonpath={.status.readyReplicas}=1", "statefulset/db")?;
    let there = |pod: &RunningPod| pod.node == "n1" && pod.address(db).is_ok_and(|has| has == address);
    eventually("the pod runs on the other node with its address", Duration::from_secs(60), EVERY, || {
        Ok(cluster.running(namespace)?.iter().any(there).then_some(()))
    })?;
    assert_eq!(holder(cluster)?, "n1");

    // The lost node comes back, ends what is left of the old pod, and frees nothing of the new one's.
    let node = cluster.node_mut("n2")?;
    node.start_containerd()?;
    node.start_kubelet()?;
    cluster.kubectl("uncordon n2")?;
    eventually("the old pod's sandbox has gone", Duration::from_secs(120), EVERY, || {
        let pods = cluster.running(namespace)?;
        let settled = held_is_what_pods_have(cluster, namespace, by_kube_ipam(cluster)).is_ok();
        Ok((settled && matches!(pods.as_slice(), [only] if there(only))).then_some(()))
    })?;
    assert_eq!(holder(cluster)?, "n1");
    cluster.kubectl(&format!("--namespace {} delete statefulset db", &**namespace)).map(drop)
}

pub(crate) fn no_power(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    let names = ["a", "b", "c"];
    cluster.apply(namespace, &names.map(|name| on(layered(cluster, name), "n2")))?;
    cluster.wait_ready(namespace, "--all")?;
    // As podman calls, which sends no DEL after a reboot.
    sweep::call(cluster, "n2", "ADD", "random", "K8S_POD_NAME=random")?;
    sweep::call(cluster, "n2", "ADD", "named", "K8S_POD_NAME=named;IP=10.10.0.130")?;
    let named: IpAddr = "10.10.0.130".parse()?;
    cluster.cut("n2")?;
    assert!(cluster.running(namespace)?.is_empty(), "a pod outlived its node");
    cluster.reboot("n2")?;
    eventually("all pods have a sandbox again", Duration::from_secs(60), Duration::from_millis(200), || {
        Ok((cluster.running(namespace)?.len() == names.len()).then_some(()))
    })?;
    cluster.wait_ready(namespace, "--all")?;
    all_distinct(&cluster.running(namespace)?, names.len() * cluster.interfaces().len())?;
    held_is_what_pods_have(cluster, namespace, by_kube_ipam(cluster))?;

    // What is left of the boot before goes, unless somebody requested it; what runs now keeps its own.
    let node = cluster.node("n2")?;
    assert_eq!((cluster.held_by("random")?.len(), cluster.held_by("named")?), (1, vec![named]));
    let said = sweep::with(node, "--node")?;
    assert!(said.contains("keeps them until the pod returns") && said.contains(": 1 freed"), "{said}");
    assert_eq!((cluster.held_by("random")?, cluster.held_by("named")?), (vec![], vec![named]));
    held_is_what_pods_have(cluster, namespace, by_kube_ipam(cluster))?;
    let said = sweep::with(node, "--node")?;
    assert!(said.contains("nothing was freed"), "{said}");
    sweep::call(cluster, "n2", "DEL", "named", "K8S_POD_NAME=named")?;
    assert_eq!(cluster.held_by("named")?, [] as [IpAddr; 0]);
    Ok(())
}
