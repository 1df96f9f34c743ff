//! Two versions of kube-ipam on one store: an upgrade in place, and the way back.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use kube_ipam_e2e::kubernetes::{Cluster, Node, attachment, eventually, macvlan, on, pod, with_networks};
use kube_ipam_e2e::{Result, binary};
use serde_json::{Value, json};

use crate::fixed::annotated;
use crate::shared::{Namespace, all_distinct, by_kube_ipam, held_is_what_pods_have, layered};

const THIS: &str = env!("CARGO_PKG_VERSION");

/// The program that came before this one, as e2e/setup has built it.
const OTHER: &str = "0.0.1-previous";

/// What a later version of kube-ipam might add to a stored value, which neither of them knows.
const ADDED: &str = "addedByAnother";

/// Brings another version onto the nodes, as an upgrade does: by the image of the DaemonSet.
fn bring(cluster: &Cluster, version: &str) -> Result<()> {
    cluster.kubectl(&format!("--namespace kube-ipam set image daemonset/kube-ipam *=kube-ipam:{version}")).map(drop)
}

pub(crate) fn installed_size(cluster: &Cluster) -> Result<Vec<u64>> {
    let size = |node: &Node| Ok(fs::metadata(node.machine().path("/opt/cni/bin/kube-ipam"))?.len());
    cluster.nodes().iter().map(size).collect()
}

pub(crate) fn in_place(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    let trial = "two_versions_take_turns_on_one_store_while_pods_come_and_go";
    let Some(previous) = binary::previous_or_skip(trial) else { return Ok(()) };
    cluster.import_kube_ipam(OTHER, &previous)?;

    // Held by both, with what the one doesn't know.
    let steady = annotated(layered(cluster, "steady"), "kube-ipam.net2.ip", "10.188.0.120");
    cluster.apply(namespace, &[on(steady, "n1"), on(layered(cluster, "leaving"), "n2")])?;
    cluster.wait_ready(namespace, "--all")?;
    let running = cluster.running(namespace)?;
    let leaving = running.iter().find(|pod| pod.name == "leaving").ok_or("no pod")?.address("net1")?;
    let fixed: IpAddr = "10.188.0.120".parse()?;
    for ip in [fixed, leaving] {
        let mut value = cluster.stored(ip)?;
        value[ADDED] = json!({ "deep": [1, 2] });
        value["holders"][0][ADDED] = json!("too");
        cluster.store(ip, &value)?;
    }
    // By all appearances written by a newer version: one of two addresses, and one that a pod requests.
    let newer = json!({ "v": 2, "whatever": { "it": "means" } });
    let narrow = json!({ "subnet": "10.55.0.0/24", "rangeStart": "10.55.0.10", "rangeEnd": "10.55.0.11" });
    cluster.apply(namespace, &[attachment("narrow", &macvlan("narrow", "web0", &narrow))])?;
    let of_newer: [IpAddr; 2] = ["10.55.0.10".parse()?, "10.188.0.121".parse()?];
    for ip in of_newer {
        cluster.store(ip, &newer)?;
    }

    let mut rested = Value::Null;
    let mut sizes = vec![installed_size(cluster)?];
    for (round, version) in [OTHER, THIS, OTHER, THIS].into_iter().enumerate() {
        let pods: Vec<Value> = (0..6).map(|i| layered(cluster, &format!("round-{round}-{i}"))).collect();
        bring(cluster, version)?;
        cluster.apply(namespace, &pods)?;
        if round == 1 {
            cluster.delete_pods(namespace, "leaving")?;
            // At once: when its cooldown is over, the next release may remove it.
            rested = cluster.stored(leaving)?;
        }
        if round > 0 {
            let names: Vec<String> = (0..6).map(|i| format!("round-{}-{i}", round - 1)).collect();
            cluster.delete_pods(namespace, &names.join(" "))?;
        }
        cluster.wait_installed()?;
        cluster.wait_ready(namespace, "--all")?;
        let others = sizes.last().cloned().unwrap_or_default();
        eventually("both nodes have the other program", Duration::from_secs(60), Duration::from_millis(200), || {
            let now = installed_size(cluster)?;
            Ok(now.iter().zip(&others).all(|(now, other)| now != other).then_some(()))
        })?;
        sizes.push(installed_size(cluster)?);
        let expected = if round == 0 { 8 } else { 7 };
        all_distinct(&cluster.running(namespace)?, expected * cluster.interfaces().len())?;
        held_is_what_pods_have(cluster, namespace, by_kube_ipam(cluster))?;
    }
    assert_eq!(sizes[0], sizes[2]);
    assert_eq!(sizes[1], sizes[3]);

    // The one rewrote a lease when its pod went, and kept what it did not know; the other it left alone.
    assert!(rested["rest"].is_object(), "{rested}");
    for value in [rested, cluster.stored(fixed)?] {
        assert_eq!(value[ADDED], json!({ "deep": [1, 2] }), "{value}");
        assert_eq!(value["holders"][0][ADDED], json!("too"), "{value}");
    }

    // What is newer counts as held.
    let first = with_networks(pod("first"), "narrow");
    let second = with_networks(pod("second"), "narrow");
    let asking = annotated(with_networks(pod("asking"), "db"), "kube-ipam.net1.ip", "10.188.0.121");
    cluster.apply(namespace, &[first, asking])?;
    cluster.wait_ready(namespace, "first")?;
    cluster.apply(namespace, &[second])?;
    cluster.wait_event(namespace, "asking", "newer kube-ipam wrote it (value version 2")?;
    cluster.wait_event(namespace, "second", "10.55.0.10-10.55.0.11")?;
    for ip in of_newer {
        assert_eq!(cluster.stored(ip)?, newer);
        cluster.unstore(ip)?;
    }
    cluster.wait_ready(namespace, "asking second")
}
