//! What has leaked is found, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{
    Cluster, Fault, KUBECONFIG, Node, RunningPod, SWEEPER_KUBECONFIG, Store, eventually, on, web,
};
use serde_json::{Value, json};

use crate::fixed::{annotated, layers};
use crate::full::marked;
use crate::shared::{Namespace, by_kube_ipam, layered, settled};

/// The defaults of a sweep, beside those of the node.
const DEFAULTS: &str = "/etc/kubernetes/kube-ipam-sweep.json";

/// Where the kubelet finds a static pod.
const MANIFEST: &str = "/etc/kubernetes/manifests/static.json";

/// The annotation that names the manifest of a mirror pod.
const HASH: &str = "kubernetes.io/config.hash";

const OFTEN: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(120);

/// What a sweep says that has found nothing.
pub(crate) const NOTHING: &str = "nothing was freed";

/// Sweeps on a node with these options; addresses of any age.
pub(crate) fn with(node: &Node, options: &str) -> Result<String> {
    let mut defaults = node.defaults()?;
    // It is looked for beside the defaults.
    defaults["kubeConfig"] = json!(KUBECONFIG);
    defaults["sweep"] = json!({ "minAge": "0s" });
    node.write(DEFAULTS, &defaults.to_string())?;
    let sweep = "/opt/cni/bin/kube-ipam sweep --interval 1s";
    node.machine().run(&format!("env KUBE_IPAM_CONFIG={DEFAULTS} {sweep} {options}"))
}

/// Sweeps the cluster, as an operator would, whatever share of it goes.
pub(crate) fn done(cluster: &Cluster) -> Result<String> {
    done_on(cluster.node("n1")?)
}

/// The same on this node.
pub(crate) fn done_on(node: &Node) -> Result<String> {
    with(node, &format!("--max-share 1 --kubeconfig {SWEEPER_KUBECONFIG}"))
}

/// What a runtime says in CNI_ARGS of a pod that is there.
pub(crate) fn args_of(cluster: &Cluster, namespace: &Namespace, pod: &str) -> Result<String> {
    let uid = cluster.get(&format!("--namespace {} pod {pod}", &**namespace))?["metadata"]["uid"].clone();
    let uid = uid.as_str().ok_or("a pod has no UID")?;
    Ok(format!("K8S_POD_NAMESPACE={};K8S_POD_NAME={pod};K8S_POD_UID={uid}", &**namespace))
}

/// Calls kube-ipam by hand on a node for a container's interface on the web layer, which is named as pods have it.
pub(crate) fn call(cluster: &Cluster, node: &str, verb: &str, container: &str, args: &str) -> Result<String> {
    call_on(&web(), cluster, node, verb, container, args)
}

/// The same on another network.
pub(crate) fn call_on(
    network: &Value,
    cluster: &Cluster,
    node: &str,
    verb: &str,
    container: &str,
    args: &str,
) -> Result<String> {
    let [interface, _] = layers(cluster);
    cluster.node(node)?.machine().script(&format!(
        "CNI_COMMAND={verb} CNI_CONTAINERID={container} CNI_NETNS=/run/netns/{container} CNI_IFNAME={interface} \
         CNI_PATH=/opt/cni/bin CNI_ARGS='IgnoreUnknown=1;{args}' /opt/cni/bin/kube-ipam <<'JSON'\n{network}\nJSON"
    ))
}

/// What is held for pods of a namespace.
pub(crate) fn held(cluster: &Cluster, namespace: &Namespace) -> Result<BTreeSet<IpAddr>> {
    Ok(cluster.held(namespace)?.into_iter().map(|lease| lease.address).collect())
}

/// Makes pods on a node, and waits until they are ready.
fn make(cluster: &Cluster, namespace: &Namespace, node: &str, names: &[&str]) -> Result<()> {
    let pods: Vec<Value> = names.iter().map(|name| on(layered(cluster, name), node)).collect();
    cluster.apply(namespace, &pods)?;
    cluster.wait_ready(namespace, &names.join(" "))
}

/// A list that is stale, forbidden, cut off, or no more to be had; then one that is whole.
pub(crate) fn spoiled_lists(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    let cluster = &*cluster;
    let node = cluster.node("n1")?;
    make(cluster, namespace, "n2", &["early", "leaks"])?;
    let proxy = cluster.api_proxy(node)?;
    let through = "/etc/kubernetes/kube-ipam-between.kubeconfig";
    node.write(through, &proxy.kubeconfig()?.to_string())?;
    let sweep = |kubeconfig: &str| with(node, &format!("--max-share 1 --kubeconfig {kubeconfig}"));
    let said = sweep(through)?;
    assert!(said.contains(NOTHING), "{said}");

    // An attachment of a pod of which no DEL comes. Its pod is in the stored list, and those made now are not.
    let pod = args_of(cluster, namespace, "leaks")?;
    call(cluster, "n1", "ADD", "planted", &pod)?;
    cluster.delete_pods(namespace, "leaks")?;
    make(cluster, namespace, "n2", &["late-0", "late-1"])?;
    let planted = cluster.held_by("planted")?;
    let before = held(cluster, namespace)?;
    assert_eq!((planted.len(), before.len()), (1, 3 * by_kube_ipam(cluster).len() + 1));

    proxy.sets(Fault::Stale);
    let said = sweep(through)?;
    let spared = said.matches("the API server reports that pod as Running since").count();
    assert_eq!(spared, 2 * by_kube_ipam(cluster).len(), "{said}");
    assert_eq!(held(cluster, namespace)?, before, "{said}");

    let fails = |kubeconfig: &str, why: &str| -> Result<()> {
        let complaint = sweep(kubeconfig).err().ok_or("a sweep without a whole list succeeded")?.to_string();
        assert!(complaint.contains(NOTHING) && complaint.contains(why), "{complaint}");
        assert_eq!(held(cluster, namespace)?, before, "{complaint}");
        Ok(())
    };
    // What a node may do on its own.
    fails(KUBECONFIG, "resources [\"pods\"], verbs [\"list\"]")?;
    proxy.sets(Fault::BreaksOff);
    fails(through, "the list of pods is incomplete")?;
    proxy.sets(Fault::Expired);
    fails(through, "the list of pods is gone")?;

    proxy.sets(Fault::None);
    let said = sweep(through)?;
    assert!(said.contains("its pod is gone") && said.contains(": 1 freed"), "{said}");
    let freed: BTreeSet<IpAddr> = before.difference(&held(cluster, namespace)?).copied().collect();
    assert_eq!(freed, planted.into_iter().collect());
    call(cluster, "n1", "DEL", "planted", &pod)?;
    settled(cluster, namespace)
}

/// The only sandbox of the static pod, if it has all its addresses.
fn static_sandbox(cluster: &Cluster, namespace: &Namespace) -> Result<Option<RunningPod>> {
    let of_pod: Vec<RunningPod> =
        cluster.running(namespace)?.into_iter().filter(|pod| pod.name == "static-n2").collect();
    let is_whole = |pod: &RunningPod| cluster.interfaces().iter().all(|interface| pod.address(interface).is_ok());
    Ok(match of_pod.as_slice() {
        [pod] if is_whole(pod) => Some(pod.clone()),
        _ => None,
    })
}

/// Of which manifest the mirror of the static pod is, if it is there.
fn mirrored(cluster: &Cluster, namespace: &Namespace) -> Option<String> {
    let mirror = cluster.get(&format!("--namespace {} pod static-n2", &**namespace)).ok()?;
    mirror["metadata"]["annotations"][HASH].as_str().map(str::to_owned)
}

/// A pod that a kubelet has by a file of its node, and the API server as a mirror pod only.
pub(crate) fn static_pod(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    let [_, _, db] = cluster.interfaces();
    let fixed: IpAddr = "10.188.0.140".parse()?;
    let manifest = |round: &str| {
        let mut pod = annotated(layered(cluster, "static"), &format!("kube-ipam.{db}.ip"), &fixed.to_string());
        pod["metadata"]["namespace"] = json!(**namespace);
        pod["metadata"]["labels"]["round"] = json!(round);
        pod.to_string()
    };
    let [first, second] = ["first", "second"].map(manifest);
    let of_one = by_kube_ipam(cluster).len();
    // No list is empty.
    make(cluster, namespace, "n1", &["beside"])?;
    cluster.node("n2")?.write(MANIFEST, &first)?;
    let sandbox = eventually("the static pod runs", LONG, OFTEN, || static_sandbox(cluster, namespace))?;
    assert_eq!(sandbox.address(db)?, fixed);
    eventually("its mirror pod is in the API", LONG, OFTEN, || Ok(mirrored(cluster, namespace)))?;
    settled(cluster, namespace)?;
    let said = done(cluster)?;
    assert!(said.contains(NOTHING), "{said}");

    // Somebody deletes its mirror pod, and nobody is there to recreate it. The pod runs on.
    cluster.node_mut("n2")?.stop_kubelet()?;
    cluster.delete_pods(namespace, "static-n2 --force --grace-period=0")?;
    let said = done(cluster)?;
    assert_eq!(said.matches("the holder is a static pod").count(), of_one, "{said}");
    settled(cluster, namespace)?;
    cluster.node_mut("n2")?.start_kubelet()?;

    // Another manifest is another pod of the same name. What is held for the one before goes.
    let hash = eventually("its mirror pod is in the API again", LONG, OFTEN, || Ok(mirrored(cluster, namespace)))?;
    let pod = format!("K8S_POD_NAMESPACE={};K8S_POD_NAME=static-n2;K8S_POD_UID={hash}", &**namespace);
    call(cluster, "n1", "ADD", "planted", &pod)?;
    let said = done(cluster)?;
    assert!(said.contains(NOTHING), "{said}");
    cluster.node("n2")?.write(MANIFEST, &second)?;
    let sandbox = eventually("the changed pod runs", LONG, OFTEN, || {
        Ok(static_sandbox(cluster, namespace)?.filter(|now| !now.is_sandbox_of(&sandbox)))
    })?;
    assert_eq!(sandbox.address(db)?, fixed);
    eventually("its mirror pod is that of the changed manifest", LONG, OFTEN, || {
        Ok(mirrored(cluster, namespace).filter(|now| *now != hash))
    })?;
    let said = done(cluster)?;
    assert!(said.contains("its pod is replaced") && said.contains(": 1 freed"), "{said}");
    call(cluster, "n1", "DEL", "planted", &pod)?;
    settled(cluster, namespace)?;

    match cluster.options().store {
        Store::Etcd => ends_without_program(cluster, namespace)?,
        Store::KubernetesApi => ends_without_store(cluster, namespace)?,
    }
    assert_eq!(held(cluster, namespace)?.len(), of_one);
    Ok(())
}

/// Waits until the static pod has ended on its node, after its manifest went.
fn end(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    fs::remove_file(cluster.node("n2")?.machine().path(MANIFEST))?;
    eventually("the static pod is gone from the node", LONG, OFTEN, || {
        Ok(static_sandbox(cluster, namespace)?.is_none().then_some(()))
    })
}

/// It ends while kube-ipam is missing. The runtime repeats the DEL until it is there again.
fn ends_without_program(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let before = held(cluster, namespace)?;
    let machine = cluster.node("n2")?.machine();
    let [program, aside] = ["kube-ipam", "kube-ipam.aside"].map(|name| machine.path("/opt/cni/bin").join(name));
    fs::rename(&program, &aside)?;
    let said = end(cluster, namespace).and_then(|()| done(cluster));
    fs::rename(&aside, &program)?;
    let said = said?;
    assert_eq!(held(cluster, namespace)?, before, "{said}");
    settled(cluster, namespace)
}

/// It ends while the API server is away, and with it the store. The installer's pod performs the deferred releases.
fn ends_without_store(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    cluster.stop_api()?;
    let deferred = end(cluster, namespace).and_then(|()| {
        eventually("its releases are deferred", LONG, OFTEN, || {
            let deferred = marked(cluster.node("n2")?)?.len();
            Ok((deferred == by_kube_ipam(cluster).len()).then_some(()))
        })
    });
    cluster.start_api()?;
    deferred?;
    settled(cluster, namespace)
}
