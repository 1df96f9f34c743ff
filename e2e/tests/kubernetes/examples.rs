//! The set-ups of `examples/`, as they are written, on nodes to which kube-ipam came by one of them.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Cluster, DEFAULTS, Node, RunningPod, eventually, on, pod, with_networks};
use serde_json::{Value, json};

use crate::fixed::annotated;
use crate::shared::{
    Namespace, all_distinct, by_kube_ipam, held_is_what_pods_have, layered as on_both_layers, nothing_held,
};
use crate::workloads::rolled_out;

const OFTEN: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(180);

/// How long an answer is waited for that should not come.
const SILENCE: Duration = Duration::from_secs(2);

/// What the installer puts onto a node, and with which mode.
pub(crate) const INSTALLED: [(&str, u32); 3] =
    [("/opt/cni/bin/kube-ipam", 0o755), (DEFAULTS, 0o600), ("/etc/cni/net.d/kube-ipam.d/kubeconfig", 0o600)];

pub(crate) fn defaults(node: &Node) -> Result<Value> {
    Ok(serde_json::from_slice(&fs::read(node.machine().path(DEFAULTS))?)?)
}

/// What the ConfigMap says to all nodes.
fn configured(cluster: &Cluster) -> Result<Value> {
    let map = cluster.get("--namespace kube-ipam configmap kube-ipam")?;
    Ok(serde_json::from_str(map["data"]["kube-ipam.json"].as_str().ok_or("no defaults in the ConfigMap")?)?)
}

fn configure(cluster: &Cluster, text: &str) -> Result<()> {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "kube-ipam" },
        "data": { "kube-ipam.json": text } });
    cluster.apply("kube-ipam", &[map])?;
    // A kubelet refreshes it within a minute or two; at once, if its pod has changed too.
    cluster.kubectl("--namespace kube-ipam annotate pods --all --overwrite test/look=now")?;
    cluster.kubectl("--namespace kube-ipam annotate pods --all test/look-").map(drop)
}

pub(crate) fn addresses_by_kubectl(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let pods = ["n1", "n2"].map(|node| on(on_both_layers(cluster, &format!("on-{node}")), node));
    cluster.apply(namespace, &pods)?;
    cluster.wait_ready(namespace, "--all")?;
    for pod in cluster.running(namespace)? {
        let label = |name: &str, value: &str| format!("kube-ipam.cloudnativer.io/{name}={value}");
        let of_pod = [label("namespace", namespace), label("pod", &pod.name), label("state", "held")].join(",");
        let leases =
            cluster.kubectl(&format!("--namespace kube-ipam get ipleases --no-headers --selector {of_pod}"))?;
        let mut shown: Vec<&str> = leases.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
        let mut has: Vec<String> = by_kube_ipam(cluster)
            .iter()
            .filter_map(|interface| pod.addresses.get(*interface))
            .flatten()
            .map(ToString::to_string)
            .collect();
        shown.sort_unstable();
        has.sort_unstable();
        assert_eq!(shown, has, "{leases}");
    }
    Ok(())
}

pub(crate) fn install(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    let kube_system = cluster.get("namespace kube-system")?["metadata"]["uid"].clone();
    for node in cluster.nodes() {
        for (path, mode) in INSTALLED {
            let found = fs::metadata(node.machine().path(path))?;
            assert_eq!((found.mode() & 0o7777, found.uid()), (mode, 0), "{path} on {}", node.name);
        }
        let defaults = defaults(node)?;
        assert_eq!((&defaults["nodeName"], &defaults["cluster"]), (&json!(node.name), &kube_system));
    }
    let pods = ["n1", "n2"].map(|node| on(on_both_layers(cluster, node), node));
    cluster.apply(namespace, &pods)?;
    cluster.wait_ready(namespace, "--all")?;
    all_distinct(&cluster.running(namespace)?, pods.len() * cluster.interfaces().len())?;
    held_is_what_pods_have(cluster, namespace, by_kube_ipam(cluster))?;

    let before = configured(cluster)?;
    let mut changed = before.clone();
    changed["cooldown"] = json!("45s");
    configure(cluster, &changed.to_string())?;
    let all_have = |cooldown: &Value| -> Result<Option<()>> {
        let have = cluster.nodes().iter().map(|node| Ok(defaults(node)?["cooldown"] == *cooldown));
        Ok(have.collect::<Result<Vec<bool>>>()?.into_iter().all(|has| has).then_some(()))
    };
    eventually("both nodes have followed the ConfigMap", LONG, OFTEN, || all_have(&json!("45s")))?;

    // A broken one changes nothing on the nodes, and the pods say so.
    configure(cluster, &changed.to_string().replace("45s", "soon"))?;
    cluster.wait("kube-ipam", "condition=Ready=false", "pods --all")?;
    let said = cluster.kubectl("--namespace kube-ipam logs --selector=app.kubernetes.io/name=kube-ipam")?;
    assert!(said.contains("cooldown") && said.contains("soon"), "{said}");
    assert!(all_have(&json!("45s"))?.is_some());
    configure(cluster, &before.to_string())?;
    cluster.wait_ready("kube-ipam", "--all")?;
    eventually("both nodes have followed the ConfigMap back", LONG, OFTEN, || all_have(&Value::Null))
}

fn addresses(pods: &[RunningPod], interface: &str) -> Result<Vec<IpAddr>> {
    pods.iter().map(|pod| pod.address(interface)).collect()
}

fn ips<const N: usize>(texts: [&str; N]) -> Result<Vec<IpAddr>> {
    texts.iter().map(|text| Ok(text.parse()?)).collect()
}

pub(crate) fn layered(cluster: &mut Cluster, _: &Namespace) -> Result<()> {
    let [web, middle, database] = ["layered-web", "layered-middle", "layered-database"];
    cluster.apply_example("layered")?;
    let databases = rolled_out(cluster, database, "statefulset/database")?;
    let webs = rolled_out(cluster, web, "deployment/web")?;
    let edge = rolled_out(cluster, middle, "deployment/middle")?;

    assert_eq!(addresses(&databases, "net1")?, ips(["10.188.0.218", "10.188.0.219"])?);
    assert_eq!(addresses(&edge, "net1")?, ips(["10.199.0.254"])?);
    assert_eq!(addresses(&edge, "net2")?, ips(["10.188.0.254"])?);
    let range = ips(["10.199.1.0", "10.199.255.254"])?;
    let on_web = addresses(&webs, "net1")?;
    assert!(on_web.iter().all(|ip| range[0] <= *ip && *ip <= range[1]), "{on_web:?}");
    assert_eq!(on_web.iter().collect::<BTreeSet<_>>().len(), 3, "{on_web:?}");
    for namespace in [web, middle, database] {
        held_is_what_pods_have(cluster, namespace, by_kube_ipam(cluster))?;
    }

    let ttl = |from: &RunningPod, to: IpAddr| cluster.answer(from, to, SILENCE);
    for layer in [&databases, &webs] {
        let nodes: BTreeSet<&str> = layer.iter().map(|pod| pod.node.as_str()).collect();
        assert_eq!(nodes.len(), 2, "a layer is on one node: {layer:?}");
        for from in layer {
            for to in layer {
                assert_eq!(ttl(from, to.address("net1")?)?, Some(64), "{} to {}", from.name, to.name);
            }
        }
    }
    let across = |expected: Option<u8>| -> Result<()> {
        for from in &webs {
            for to in &databases {
                assert_eq!(ttl(from, to.address("net1")?)?, expected, "{} to {}", from.name, to.name);
                assert_eq!(ttl(to, from.address("net1")?)?, expected, "{} to {}", to.name, from.name);
            }
        }
        Ok(())
    };
    across(Some(63))?;
    let scale = |replicas: u8| {
        cluster.kubectl(&format!("--namespace {middle} scale deployment/middle --replicas={replicas}"))?;
        rolled_out(cluster, middle, "deployment/middle")
    };
    scale(0)?;
    // The kernel forwards as long as the interfaces are there, whatever has ended.
    cluster.wait(middle, "delete", &format!("pods {}", edge[0].name))?;
    across(None)?;
    scale(1)?;
    across(Some(63))?;

    // As its page says: a database keeps its address, and a web pod can't take it.
    cluster.delete_pods(database, "database-0")?;
    assert_eq!(
        addresses(&rolled_out(cluster, database, "statefulset/database")?, "net1")?,
        addresses(&databases, "net1")?
    );
    let thief = annotated(pod("thief"), "kube-ipam.net1.ip", "10.188.0.218");
    cluster.apply(web, &[with_networks(thief, "web-net")])?;
    cluster.wait_event(web, "thief", "is in no subnet of this network")?;

    cluster.delete_example("layered")?;
    [web, middle, database].into_iter().try_for_each(|namespace| nothing_held(cluster, namespace))
}

pub(crate) fn stateful_set(cluster: &mut Cluster, _: &Namespace) -> Result<()> {
    let expected = ips(["10.189.0.20", "10.189.0.21", "10.189.0.22"])?;
    cluster.apply_example("statefulset")?;
    assert_eq!(addresses(&rolled_out(cluster, "queue", "statefulset/queue")?, "net1")?, expected);
    cluster.kubectl("--namespace queue scale statefulset/queue --replicas=0")?;
    cluster.wait("queue", "delete", "pods --selector=app.kubernetes.io/name=queue")?;
    cluster.kubectl("--namespace queue scale statefulset/queue --replicas=3")?;
    assert_eq!(addresses(&rolled_out(cluster, "queue", "statefulset/queue")?, "net1")?, expected);
    held_is_what_pods_have(cluster, "queue", by_kube_ipam(cluster))?;
    cluster.delete_example("statefulset")?;
    nothing_held(cluster, "queue")
}
