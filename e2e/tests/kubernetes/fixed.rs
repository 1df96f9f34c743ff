//! What pods request by their annotations, and who waits for whom.

use std::net::IpAddr;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Cluster, ClusterNetwork, Flavour, KUBECONFIG, Options, on, pod, with_networks};
use serde_json::{Value, json};

use crate::shared::{Namespace, all_distinct, by_kube_ipam, held_is_what_pods_have, layered};

/// The pod, with an annotation of kube-ipam.
#[must_use]
pub(crate) fn annotated(mut pod: Value, key: &str, value: &str) -> Value {
    pod["metadata"]["annotations"][key] = json!(value);
    pod
}

/// The interfaces on the web and on the database layer.
pub(crate) fn layers(cluster: &Cluster) -> [&'static str; 2] {
    let [_, web, db] = cluster.interfaces();
    [web, db]
}

fn ip(text: &str) -> Result<IpAddr> {
    Ok(text.parse()?)
}

pub(crate) fn exactly(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let [web, db] = layers(cluster);
    let db_pod = annotated(layered(cluster, "db"), &format!("kube-ipam.{db}.ip"), "10.188.0.18");
    let both = annotated(layered(cluster, "both"), &format!("kube-ipam.{web}.ip"), "10.10.0.19");
    let both = annotated(both, &format!("kube-ipam.{db}.pool"), "10.188.0.20-10.188.0.21");
    let gateway = annotated(both.clone(), &format!("kube-ipam.{web}.ip"), "10.10.0.20");
    let mut gateway = annotated(gateway, &format!("kube-ipam.{web}.gateway"), "10.10.9.9");
    gateway["metadata"]["name"] = json!("gateway");
    cluster.apply(namespace, &[on(db_pod, "n1"), on(both, "n2"), on(gateway, "n1"), layered(cluster, "random")])?;
    cluster.wait_ready(namespace, "--all")?;
    let pods = cluster.running(namespace)?;
    all_distinct(&pods, 4 * cluster.interfaces().len())?;
    let of =
        |pod: &str, interface: &str| pods.iter().find(|found| found.name == pod).ok_or("no pod")?.address(interface);
    assert_eq!(of("db", db)?, ip("10.188.0.18")?);
    assert_eq!(of("both", web)?, ip("10.10.0.19")?);
    assert_eq!(of("gateway", web)?, ip("10.10.0.20")?);
    for pooled in ["both", "gateway"] {
        assert!([ip("10.188.0.20")?, ip("10.188.0.21")?].contains(&of(pooled, db)?), "{pods:?}");
    }
    for (pod, interface) in [("db", web), ("random", web), ("random", db)] {
        let third = of(pod, interface)?.to_string();
        assert_ne!(third.split('.').nth(2), Some("0"), "{pod} has {third}, of the window for fixed addresses");
    }
    held_is_what_pods_have(cluster, namespace, by_kube_ipam(cluster))
}

pub(crate) fn refused_until_free(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let [_, db] = layers(cluster);
    let asking = |name: &str, node: &str| {
        on(annotated(layered(cluster, name), &format!("kube-ipam.{db}.ip"), "10.188.0.30"), node)
    };
    cluster.apply(namespace, &[asking("first", "n1")])?;
    cluster.wait_ready(namespace, "first")?;
    cluster.apply(namespace, &[asking("second", "n2")])?;
    let event = cluster.wait_event(namespace, "second", "10.188.0.30 is held by")?;
    for part in [&*format!("pod {}/first", &**namespace), &format!("interface {db}"), "node n1", "since 20"] {
        assert!(event.contains(part), "the event does not name {part}: {event}");
    }
    // The kubelet wraps it in its own words and the runtime's; kube-ipam's own event is the sentence alone.
    let own = "reason=AddressRefused,involvedObject.name=second";
    let own = cluster.get(&format!("--namespace {} events --field-selector {own}", &**namespace))?;
    let said = own["items"][0]["message"].as_str().unwrap_or_default();
    assert!(said.starts_with("10.188.0.30 is held by"), "{own}");
    assert!(cluster.running(namespace)?.iter().all(|pod| !pod.addresses.contains_key(db) || pod.name == "first"));
    cluster.delete_pods(namespace, "first")?;
    cluster.wait_ready(namespace, "second")?;
    let pods = cluster.running(namespace)?;
    assert_eq!(pods.iter().map(|pod| pod.address(db)).collect::<Result<Vec<_>>>()?, [ip("10.188.0.30")?]);
    held_is_what_pods_have(cluster, namespace, by_kube_ipam(cluster))
}

/// Each mistake in a pod's annotations, and what its event says.
pub(crate) fn mistakes(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let [web, db] = layers(cluster);
    let cases = [
        ("typo", format!("kube-ipam.{db}.ipp"), "10.188.0.40", format!("did you mean kube-ipam.{db}.ip?")),
        ("elsewhere", format!("kube-ipam.{db}.ip"), "10.10.0.40", "is in no subnet of this network".to_owned()),
        ("gateway", format!("kube-ipam.{db}.ip"), "10.188.0.1", "it is the gateway of 10.188.0.0/16".to_owned()),
        ("window", format!("kube-ipam.{web}.ip"), "10.10.7.7", "outside the window for fixed addresses".to_owned()),
        ("text", format!("kube-ipam.{web}.ip"), "ten", "\\\"ten\\\" is not an IP address".to_owned()),
    ];
    let pods: Vec<Value> =
        cases.iter().map(|(name, key, value, _)| annotated(layered(cluster, name), key, value)).collect();
    cluster.apply(namespace, &pods)?;
    for (name, key, _, told) in &cases {
        let event = cluster.wait_event(namespace, name, key)?;
        assert!(
            event.replace("\\\\", "\\").contains(told) || event.contains(&told.replace('\\', "")),
            "{name}: {event}"
        );
    }
    assert!(cluster.running(namespace)?.iter().all(|pod| !pod.addresses.contains_key(db)));
    Ok(())
}

/// An interface that the pod does not have: with Multus, the interfaces are known.
pub(crate) fn no_such_interface(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let meant_for_net2 = annotated(with_networks(pod("net9"), "web,db"), "kube-ipam.net9.ip", "10.188.0.41");
    cluster.apply(namespace, &[meant_for_net2])?;
    let event = cluster.wait_event(namespace, "net9", "kube-ipam.net9.ip")?;
    assert!(event.contains("the pod's interfaces are eth0, net1, net2"), "{event}");
    Ok(())
}

/// One network twice, and one annotation without an interface: it serves one of them. Named interfaces are
/// distinguished.
pub(crate) fn one_annotation_serves_one_interface(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let unscoped = annotated(with_networks(pod("unscoped"), "db,db"), "kube-ipam.ip", "10.188.0.50");
    let named = with_networks(pod("named"), "db@data0,db,web@front");
    let named = annotated(named, "kube-ipam.data0.ip", "10.188.0.51");
    let named = annotated(named, "kube-ipam.front.ip", "10.10.0.51");
    cluster.apply(namespace, &[unscoped, named])?;
    cluster.wait_ready(namespace, "--all")?;
    let pods = cluster.running(namespace)?;
    all_distinct(&pods, 3 + 4)?;
    let of =
        |pod: &str, interface: &str| pods.iter().find(|found| found.name == pod).ok_or("no pod")?.address(interface);
    assert_eq!(of("unscoped", "net1")?, ip("10.188.0.50")?);
    assert_ne!(of("unscoped", "net2")?, ip("10.188.0.50")?);
    assert_eq!(of("named", "data0")?, ip("10.188.0.51")?);
    assert_eq!(of("named", "front")?, ip("10.10.0.51")?);
    held_is_what_pods_have(cluster, namespace, &["net1", "net2", "data0", "front"])
}

/// A network that has the runtime hand over the pods' annotations: no API server is asked, and none can be. In a cluster
/// of its own, since its nodes are set up in another way.
pub(crate) fn from_the_runtime(shared: &Cluster, namespace: &Namespace) -> Result<()> {
    let mut options = Options::new(shared.flavour());
    options.cluster_network = ClusterNetwork::DatabaseByRuntime;
    let cluster = Cluster::start(shared.tools(), options)?;
    cluster.create_namespace(namespace)?;
    for node in cluster.nodes() {
        std::fs::remove_file(node.machine().path(KUBECONFIG))?;
    }
    let fixed = |name: &str, node: &str| on(annotated(pod(name), "kube-ipam.eth0.ip", "10.188.0.55"), node);
    cluster.apply(namespace, &[fixed("fixed", "n1"), on(pod("random"), "n2")])?;
    cluster.wait_ready(namespace, "--all")?;
    let pods = cluster.running(namespace)?;
    all_distinct(&pods, 2)?;
    assert_eq!(pods.first().ok_or("no pod")?.address("eth0")?, ip("10.188.0.55")?);
    cluster.apply(namespace, &[fixed("second", "n2")])?;
    cluster.wait_event(namespace, "second", "10.188.0.55 is held by").map(drop)
}

/// Multus' own ways of asking, beside an annotation that agrees and one that does not.
pub(crate) fn by_multus(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    assert_eq!(cluster.flavour(), Flavour::Multus);
    let ips = |name: &str, ip: &str| with_networks(pod(name), &json!([{ "name": "db", "ips": [ip] }]).to_string());
    let args = json!([{ "name": "db", "cni-args": { "ips": ["10.188.0.61"] } }]).to_string();
    let agreeing = annotated(ips("agreeing", "10.188.0.62"), "kube-ipam.net1.ip", "10.188.0.62");
    let torn = annotated(ips("torn", "10.188.0.63"), "kube-ipam.net1.ip", "10.188.0.64");
    cluster.apply(namespace, &[ips("ips", "10.188.0.60"), with_networks(pod("args"), &args), agreeing, torn])?;
    cluster.wait_ready(namespace, "ips args agreeing")?;
    let event = cluster.wait_event(namespace, "torn", "remove one of them or make both equal")?;
    assert!(event.contains("10.188.0.63") && event.contains("10.188.0.64"), "{event}");
    let pods = cluster.running(namespace)?;
    for (name, address) in [("ips", "10.188.0.60"), ("args", "10.188.0.61"), ("agreeing", "10.188.0.62")] {
        let found = pods.iter().find(|pod| pod.name == name).ok_or("no pod")?;
        assert_eq!(found.address("net1")?, ip(address)?);
    }
    Ok(())
}
