//! Pods that come back: of a StatefulSet, and of a Deployment.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Cluster, ClusterNetwork, Options, RunningPod, eventually, pod_spec};
use serde_json::{Value, json};

use crate::fixed::layers;
use crate::shared::{Namespace, layered, nothing_held, settled};

const OFTEN: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(120);

/// A workload whose pods have both layers, and these annotations.
pub(crate) fn workload(cluster: &Cluster, kind: &str, replicas: u32, annotations: &[(&str, &str)]) -> Value {
    let mut template = layered(cluster, "unused");
    for (key, value) in annotations {
        template["metadata"]["annotations"][key] = json!(value);
    }
    json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": "db" },
        "spec": {
            "replicas": replicas, "serviceName": "db",
            "selector": { "matchLabels": { "app": "test" } },
            "template": {
                "metadata": { "labels": { "app": "test" }, "annotations": template["metadata"]["annotations"] },
                "spec": pod_spec(),
            },
        },
    })
}

/// A Deployment, which has no `serviceName`.
pub(crate) fn deployment(cluster: &Cluster, replicas: u32, strategy: &Value, annotations: &[(&str, &str)]) -> Value {
    let mut deployment = workload(cluster, "Deployment", replicas, annotations);
    deployment["spec"]["template"]["metadata"]["labels"]["drained"] = json!("yes");
    if let Some(spec) = deployment["spec"].as_object_mut() {
        spec.remove("serviceName");
        spec.insert("strategy".to_owned(), json!({ "type": "RollingUpdate", "rollingUpdate": strategy }));
    }
    deployment
}

fn addresses_on(pods: &[RunningPod], interface: &str) -> Result<Vec<IpAddr>> {
    pods.iter().map(|pod| pod.address(interface)).collect()
}

/// Waits until a workload has what it wants, and gives its pods.
pub(crate) fn rolled_out(cluster: &Cluster, namespace: &str, workload: &str) -> Result<Vec<RunningPod>> {
    let rolled_out = cluster.kubectl(&format!("--namespace {namespace} rollout status {workload} --timeout=120s"));
    rolled_out.map_err(|error| {
        let get = |what: &str| cluster.kubectl(&format!("--namespace {namespace} get {what}")).unwrap_or_default();
        format!("{error}\n{}\n{}", get("pods --output=wide"), get("events --sort-by=lastTimestamp"))
    })?;
    eventually("the pods that went are gone", LONG, OFTEN, || {
        let wanted = cluster.get(&format!("--namespace {namespace} {workload}"))?["spec"]["replicas"].as_u64();
        let pods = cluster.running(namespace)?;
        Ok((Some(pods.len() as u64) == wanted).then_some(pods))
    })
}

pub(crate) fn stateful_set(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let [_, db] = layers(cluster);
    let set = workload(
        cluster,
        "StatefulSet",
        3,
        &[(&format!("kube-ipam.{db}.pool"), "10.188.0.70, 10.188.0.80-10.188.0.81")],
    );
    let expected: Vec<IpAddr> = ["10.188.0.70", "10.188.0.80", "10.188.0.81"]
        .map(str::parse)
        .into_iter()
        .collect::<std::result::Result<_, _>>()?;
    cluster.apply(namespace, &[set])?;
    let before = rolled_out(cluster, namespace, "statefulset/db")?;
    assert_eq!(addresses_on(&before, db)?, expected, "pods in the order of their numbers");

    // To the other node.
    let moved = before.get(1).ok_or("no db-1")?;
    cluster.kubectl(&format!("cordon {}", moved.node))?;
    cluster.delete_pods(namespace, "db-1")?;
    let there = rolled_out(cluster, namespace, "statefulset/db");
    cluster.kubectl(&format!("uncordon {}", moved.node))?;
    let there = there?;
    assert_eq!(addresses_on(&there, db)?, expected);
    assert_ne!(there.get(1).map(|pod| &pod.node), Some(&moved.node), "it runs on the other node");

    // Away, and back.
    let set = format!("--namespace {} scale statefulset/db", &**namespace);
    cluster.kubectl(&format!("{set} --replicas=0"))?;
    cluster.wait(namespace, "delete", "pods --selector=app=test")?;
    cluster.kubectl(&format!("{set} --replicas=3"))?;
    assert_eq!(addresses_on(&rolled_out(cluster, namespace, "statefulset/db")?, db)?, expected);

    // One more than there are addresses.
    cluster.kubectl(&format!("{set} --replicas=4"))?;
    let event = cluster.wait_event(namespace, "db-3", "too few for pod number 3")?;
    assert!(event.contains(&format!("kube-ipam.{db}.pool has 3 addresses")), "{event}");
    cluster.kubectl(&format!("{set} --replicas=3"))?;
    cluster.wait(namespace, "delete", "pods db-3")?;
    settled(cluster, namespace)?;
    cluster.kubectl(&format!("--namespace {} delete statefulset db", &**namespace)).map(drop)
}

/// One replica with an address of its own, as users of the Go kube-ipam write it, on one of several networks.
pub(crate) fn fixed_deployment(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let [_, db] = layers(cluster);
    keeps_its_address_or_says_what_to_set(cluster, namespace, db)
}

/// The same where macvlan makes the pods' only interface, as it did for them. In a cluster of its own, since its nodes
/// are set up in another way.
pub(crate) fn fixed_deployment_on_the_only_network(shared: &Cluster, namespace: &Namespace) -> Result<()> {
    let mut options = Options::new(shared.flavour());
    options.cluster_network = ClusterNetwork::Database;
    let cluster = Cluster::start(shared.tools(), options)?;
    cluster.create_namespace(namespace)?;
    keeps_its_address_or_says_what_to_set(&cluster, namespace, "eth0")?;
    cluster.no_address_had_two_owners().map(drop)
}

fn keeps_its_address_or_says_what_to_set(cluster: &Cluster, namespace: &Namespace, db: &str) -> Result<()> {
    let annotations =
        [("kube-ipam.ip", "10.188.0.90"), ("kube-ipam.netmask", "255.255.0.0"), ("kube-ipam.gateway", "10.188.0.1")];
    let address: IpAddr = "10.188.0.90".parse()?;
    let old_first = json!({ "maxUnavailable": 1, "maxSurge": 0 });
    cluster.apply(namespace, &[deployment(cluster, 1, &old_first, &annotations)])?;
    let only = |pods: Vec<RunningPod>| -> Result<RunningPod> {
        assert_eq!(addresses_on(&pods, db)?, [address]);
        pods.into_iter().next().ok_or_else(|| "no pod".into())
    };
    let first = only(rolled_out(cluster, namespace, "deployment/db")?)?;

    // Its pod deleted; its node drained, which moves it; its template changed.
    cluster.delete_pods(namespace, &first.name)?;
    let second = only(rolled_out(cluster, namespace, "deployment/db")?)?;
    // Other trials' pods on that node stay.
    let drain = "--ignore-daemonsets --pod-selector=drained=yes --timeout=120s";
    cluster.kubectl(&format!("drain {} {drain}", second.node))?;
    let third = rolled_out(cluster, namespace, "deployment/db");
    cluster.kubectl(&format!("uncordon {}", second.node))?;
    let third = only(third?)?;
    assert_ne!(third.node, second.node);
    let restart = format!("--namespace {} rollout restart deployment/db", &**namespace);
    cluster.kubectl(&restart)?;
    only(rolled_out(cluster, namespace, "deployment/db")?)?;

    // With maxUnavailable 0 the new pod would have to start before the old one ends: it says what to set instead.
    let new_first = json!({ "maxUnavailable": 0, "maxSurge": 1 });
    cluster.apply(namespace, &[deployment(cluster, 1, &new_first, &annotations)])?;
    cluster.kubectl(&restart)?;
    let waiting = eventually("a second pod is there", LONG, OFTEN, || {
        let pods = cluster.get(&format!("--namespace {} pods", &**namespace))?;
        let pending = |pod: &&Value| pod["status"]["phase"] == "Pending";
        let name = pods["items"].as_array().into_iter().flatten().find(pending).map(|pod| &pod["metadata"]["name"]);
        Ok(name.and_then(Value::as_str).map(str::to_owned))
    })?;
    let event = cluster.wait_event(namespace, &waiting, "10.188.0.90 is held by")?;
    for part in ["both pods belong to Deployment db", "Recreate", "maxSurge 0"] {
        assert!(event.contains(part), "the event does not say {part}: {event}");
    }
    let holders: BTreeSet<IpAddr> = cluster.running(namespace)?.iter().filter_map(|pod| pod.address(db).ok()).collect();
    assert_eq!(holders, BTreeSet::from([address]));

    // What the event says helps.
    cluster.apply(namespace, &[deployment(cluster, 1, &old_first, &annotations)])?;
    only(rolled_out(cluster, namespace, "deployment/db")?)?;
    settled(cluster, namespace)?;
    cluster.kubectl(&format!("--namespace {} delete deployment db", &**namespace)).map(drop)
}

/// A rolling update in a pool of as many addresses as replicas and surge.
pub(crate) fn pooled_deployment(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let [_, db] = layers(cluster);
    let key = format!("kube-ipam.{db}.pool");
    let strategy = json!({ "maxUnavailable": 0, "maxSurge": 1 });
    let update = |round: &str| {
        let annotations = [(key.as_str(), "10.188.0.100-10.188.0.103"), ("round", round)];
        cluster.apply(namespace, &[deployment(cluster, 3, &strategy, &annotations)])?;
        let pods = rolled_out(cluster, namespace, "deployment/db")?;
        let distinct: BTreeSet<IpAddr> = addresses_on(&pods, db)?.into_iter().collect();
        assert_eq!(distinct.len(), 3, "{pods:?}");
        let pool: [IpAddr; 2] = ["10.188.0.100".parse()?, "10.188.0.103".parse()?];
        assert!(distinct.iter().all(|address| (pool[0]..=pool[1]).contains(address)), "{pods:?}");
        settled(cluster, namespace)
    };
    update("first")?;
    update("second")?;
    cluster.kubectl(&format!("--namespace {} delete deployment db", &**namespace)).map(drop)
}

pub(crate) fn job(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let mut pod = layered(cluster, "unused");
    pod["spec"]["restartPolicy"] = json!("Never");
    pod["spec"]["containers"][0]["command"] = json!(["/bin/busybox", "true"]);
    let template = json!({ "metadata": { "annotations": pod["metadata"]["annotations"] }, "spec": pod["spec"] });
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "done" },
        "spec": { "completions": 6, "parallelism": 3, "template": template },
    });
    cluster.apply(namespace, &[job])?;
    cluster.wait(namespace, "condition=complete", "job/done")?;
    // The pods stay in the API, for whoever wants to read their logs. Their addresses don't stay with them.
    nothing_held(cluster, namespace)?;
    let pods = cluster.get(&format!("--namespace {} pods", &**namespace))?;
    assert_eq!(pods["items"].as_array().map(Vec::len), Some(6));
    cluster.kubectl(&format!("--namespace {} delete job done", &**namespace)).map(drop)
}
