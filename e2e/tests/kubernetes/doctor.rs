//! `kube-ipam doctor`: it has nothing to say about a healthy cluster, and what it says about a leak frees it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Cluster, Node, Workstation, eventually, on};
use serde_json::{Value, json};

use crate::shared::{Namespace, layered};
use crate::sweep::{self, args_of};

const OFTEN: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(120);

/// What is said of every cluster of these trials: its etcd has neither users nor TLS, and only the cluster reaches it.
const OF_THE_TESTBED: [&str; 2] = ["etcd has no users", "anyone on the network path can read and change addresses"];

/// Longer than an address has to be held before it counts as leaked (`sweep.minAge`).
pub(crate) const LEAKED: SignedDuration = SignedDuration::from_mins(10);

/// The checks of the whole cluster by an operator.
const BY_OPERATOR: &str = "kube-ipam doctor --store $STORE --kubeconfig $KUBECONFIG -o json";

/// What was found, with the commands for it.
struct Finding {
    check: String,
    status: String,
    message: String,
    commands: Vec<String>,
}

/// The findings of a report, without what is odd about every cluster of these trials.
fn findings(report: &str) -> Result<Vec<Finding>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let results: Vec<Value> = serde_json::from_str(report).map_err(|error| format!("{error}: {report}"))?;
    let found = results.iter().map(|result| Finding {
        check: text(&result["check"]),
        status: text(&result["status"]),
        message: text(&result["message"]),
        commands: result["remedy"]["commands"].as_array().into_iter().flatten().map(text).collect(),
    });
    let is_of_testbed = |found: &Finding| OF_THE_TESTBED.iter().any(|text| found.message.contains(text));
    Ok(found.filter(|found| !is_of_testbed(found)).collect())
}

fn by_operator(workstation: &Workstation) -> Result<Vec<Finding>> {
    findings(&String::from_utf8(workstation.run(BY_OPERATOR)?.stdout)?)
}

fn on_node(node: &Node, options: &str) -> Result<Vec<Finding>> {
    findings(&node.machine().run(&format!("/opt/cni/bin/kube-ipam doctor -o json {options}"))?)
}

/// Asserts that at least so many checks are ok, and that nothing is wrong.
fn assert_healthy(whose: &str, found: &[Finding], checks: usize) {
    let of = |status: &str| found.iter().filter(|found| found.status == status).count();
    let wrong: Vec<String> = found
        .iter()
        .filter(|found| !["ok", "skipped"].contains(&found.status.as_str()))
        .map(|found| format!("{} {}: {}", found.status, found.check, found.message))
        .collect();
    assert_eq!(wrong, [""; 0], "{whose}");
    assert!(of("ok") >= checks, "{whose}: only {} of {} checks are ok", of("ok"), found.len());
    assert!(found.iter().all(|found| !found.message.is_empty()), "{whose}: a result says nothing");
}

pub(crate) fn healthy(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    let pods = ["n1", "n2"].map(|node| on(layered(cluster, node), node));
    cluster.apply(namespace, &pods)?;
    cluster.wait_ready(namespace, "--all")?;
    let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir()?;
    let workstation = Workstation::new(cluster, folder.path())?;
    // Other trials have killed calls, which may have left objects open in the Kubernetes API. doctor's commands end that.
    let found = by_operator(&workstation)?;
    let left_open = found.iter().filter(|found| found.check == "kubernetes-transactions");
    for command in left_open.flat_map(|found| &found.commands) {
        workstation.run(command)?;
    }
    assert_healthy("an operator", &by_operator(&workstation)?, 15);
    for node in cluster.nodes() {
        assert_healthy(&format!("{} --node", node.name), &on_node(node, "--node")?, 10);
        assert_healthy(&node.name, &on_node(node, "")?, 20);
    }
    Ok(())
}

/// Lets a lease appear as old as one that counts as leaked.
pub(crate) fn age(cluster: &Cluster, container: &str) -> Result<()> {
    for ip in cluster.held_by(container)? {
        let mut lease = cluster.stored(ip)?;
        lease["since"] = json!((Timestamp::now() - LEAKED).to_string());
        cluster.store(ip, &lease)?;
    }
    Ok(())
}

/// An attachment of a pod of which no DEL comes.
pub(crate) fn leak(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir()?;
    let workstation = Workstation::new(cluster, folder.path())?;
    cluster.apply(namespace, &[on(layered(cluster, "lost"), "n1")])?;
    cluster.wait_ready(namespace, "lost")?;
    let args = args_of(cluster, namespace, "lost")?;
    sweep::call(cluster, "n1", "ADD", "planted", &args)?;
    cluster.delete_pods(namespace, "lost")?;
    let [planted] = cluster.held_by("planted")?[..] else { return Err("the leak holds nothing".into()) };
    age(cluster, "planted")?;

    let found = eventually("the leak is found", LONG, OFTEN, || {
        Ok(by_operator(&workstation)?.into_iter().find(|found| found.check == "leaks" && found.status == "warning"))
    })?;
    assert!(found.message.starts_with(&format!("{planted}: it has leaked: its pod is gone")), "{}", found.message);
    assert!(found.message.contains(&format!("{}/lost", &**namespace)), "{}", found.message);
    for command in &found.commands {
        let output = workstation.run(command)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("its pod is gone"), "{command}: {said}");
    }
    assert!(cluster.held_by("planted")?.is_empty(), "{:?}", found.commands);
    let after = by_operator(&workstation)?;
    assert_healthy("an operator, after the sweep", &after, 15);
    // The node's record of the container goes with its DEL.
    sweep::call(cluster, "n1", "DEL", "planted", &args).map(drop)
}
