//! `kube-ipam explain`: why a pod waits, and what ends that.

use std::time::Duration;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Cluster, Store, Workstation, attachment, eventually, macvlan, on, pod, with_networks};
use serde_json::{Value, json};

use crate::fixed::{annotated, layers};
use crate::shared::{Namespace, has_multus_or_skip, layered};

const OFTEN: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(120);

/// An explanation of a subject by an operator.
struct Page {
    text: String,
    /// The first explanation of the JSON document.
    document: Value,
}

fn explain(workstation: &Workstation, subject: &str) -> Result<Page> {
    let run = |options: &str| -> Result<String> {
        let script = format!("kube-ipam explain {subject} --store $STORE --kubeconfig $KUBECONFIG {options}");
        let output = workstation.run(&script)?;
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout)?),
            false => Err(format!("{script}: {}", String::from_utf8_lossy(&output.stderr)).into()),
        }
    };
    let document: Value = serde_json::from_str(&run("-o json")?)?;
    Ok(Page { text: run("")?, document: document[0].clone() })
}

/// The explanation of a pod as soon as the API server has the events of its refusal. Each of its sandboxes has the
/// addresses of its other interfaces for a moment, and that may be the moment of the text or of the document.
fn waiting(workstation: &Workstation, pod: &str) -> Result<Page> {
    let is_waiting = |page: &Page| {
        page.document["state"] == "waiting" && page.text.contains(&format!("Pod {pod} has waited for an address"))
    };
    eventually(&format!("{pod} is said to wait"), LONG, OFTEN, || {
        Ok(Some(explain(workstation, pod)?).filter(is_waiting))
    })
}

#[track_caller]
fn says(page: &Page, parts: &[&str]) {
    for part in parts {
        assert!(page.text.contains(part), "the page does not say {part:?}:\n{}", page.text);
    }
}

pub(crate) fn held(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir()?;
    let workstation = Workstation::new(cluster, folder.path())?;
    let name = &**namespace;
    let [_, db] = layers(cluster);
    let annotation = format!("kube-ipam.{db}.ip");
    let asks = |pod_name: &str, node: &str| on(annotated(layered(cluster, pod_name), &annotation, "10.188.0.30"), node);
    cluster.apply(namespace, &[asks("first", "n1")])?;
    cluster.wait_ready(namespace, "first")?;
    cluster.apply(namespace, &[asks("second", "n2")])?;
    let page = waiting(&workstation, &format!("{name}/second"))?;
    says(
        &page,
        &[
            &format!("Pod {name}/second has waited for an address for "),
            "event",
            "AddressRefused",
            &format!("10.188.0.30 is held by pod {name}/first, interface {db}, node n1, network db"),
            "The pod gets an address once 10.188.0.30 is free for it, or once its request is changed",
            &format!("10.188.0.30 has been held by pod {name}/first for "),
            &format!("requested, as now by annotation {annotation}: \"10.188.0.30\""),
        ],
    );
    // How often: once so far, or more.
    assert!([" once, ", " times, "].iter().any(|count| page.text.contains(count)), "{}", page.text);

    // What it says helps.
    cluster.delete_pods(namespace, "first")?;
    cluster.wait_ready(namespace, "second")?;
    let page = explain(&workstation, &format!("{name}/second {db}"))?;
    assert_eq!(page.document["state"], "held", "{}", page.text);
    says(&page, &[&format!("Pod {name}/second has 10.188.0.30 ({db}).")]);
    let page = explain(&workstation, "10.188.0.30")?;
    assert_eq!(page.document["agreement"]["verdict"], "agree", "{}", page.text);
    let before = match cluster.options().store {
        Store::Etcd => format!("pod {name}/first"),
        Store::KubernetesApi => "not known: the store keeps only the current lease".to_owned(),
    };
    says(&page, &[&format!("10.188.0.30 has been held by pod {name}/second for "), &before]);
    Ok(())
}

/// The name of the trial on a full range.
pub(crate) const FULL: &str = "explain_and_doctor_say_that_a_range_is_full";

/// A network of two addresses, and three pods on it.
pub(crate) fn full(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    if !has_multus_or_skip(cluster, FULL) {
        return Ok(());
    }
    let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir()?;
    let workstation = Workstation::new(cluster, folder.path())?;
    let name = &**namespace;
    let small = |last: &str| {
        let ipam = json!({ "subnet": "10.78.0.0/29", "rangeStart": "10.78.0.2", "rangeEnd": last });
        attachment("small", &macvlan("small", "web0", &ipam))
    };
    cluster.apply(namespace, &[small("10.78.0.3")])?;
    let pods = ["full-1", "full-2"].map(|name| with_networks(pod(name), "small"));
    cluster.apply(namespace, &pods)?;
    cluster.wait_ready(namespace, "--all")?;
    cluster.apply(namespace, &[with_networks(pod("full-3"), "small")])?;
    let page = waiting(&workstation, &format!("{name}/full-3"))?;
    says(
        &page,
        &[
            "no address is free in 10.78.0.2-10.78.0.3 of 10.78.0.0/29: 2 addresses, 2 held",
            "The pod gets an address once one of them is free or the range is wider.",
            "kube-ipam usage --",
        ],
    );
    let doctor = "kube-ipam doctor --store $STORE --kubeconfig $KUBECONFIG";
    let output = workstation.run(doctor)?;
    let said = String::from_utf8(output.stdout)?;
    assert_eq!(output.status.code(), Some(1), "{said}");
    let line = "error    ranges: small 10.78.0.0/29 dynamic: 0 of 2 addresses are free: 2 held or reserved";
    assert!(said.contains(line), "{said}");

    // A wider range helps.
    cluster.apply(namespace, &[small("10.78.0.5")])?;
    cluster.wait_ready(namespace, "full-3")?;
    let output = workstation.run(doctor)?;
    let said = String::from_utf8(output.stdout)?;
    assert!(output.status.success() && !said.contains("small 10.78.0.0/29"), "{said}");
    Ok(())
}

/// The command of a page that has these words.
fn command<'a>(page: &'a Page, words: &str) -> Result<&'a str> {
    let mut commands = page.text.lines().filter_map(|line| line.strip_prefix("    "));
    let found = commands.find(|command| command.contains(words));
    found.ok_or_else(|| format!("the page has no command {words:?}:\n{}", page.text).into())
}

/// Pastes a command into the workstation's shell.
fn paste(workstation: &Workstation, command: &str) -> Result<()> {
    let output = workstation.run(command)?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command}: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// A node is lost with two pods that have fixed addresses, and each of two ways that the page shows passes one on.
pub(crate) fn lost_node(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir()?;
    let workstation = Workstation::new(cluster, folder.path())?;
    let asks =
        |name: &str, ip: &str, node: &str| on(annotated(with_networks(pod(name), "db"), "kube-ipam.net1.ip", ip), node);
    let (first, second) = ("10.188.0.40", "10.188.0.41");
    cluster.apply(namespace, &[asks("lost-1", first, "n2"), asks("lost-2", second, "n2")])?;
    cluster.wait_ready(namespace, "--all")?;

    let node = cluster.node_mut("n2")?;
    node.stop_kubelet()?;
    node.stop_containerd()?;
    cluster.kubectl("wait --for=condition=Ready=Unknown --timeout=120s node/n2")?;
    let passed = passes_on(cluster, namespace, &workstation, (first, second));
    // The next trial has both nodes, whatever came of this one.
    let taint = cluster.kubectl("taint node n2 node.kubernetes.io/out-of-service-");
    let node = cluster.node_mut("n2")?;
    node.start_containerd()?;
    node.start_kubelet()?;
    cluster.kubectl("wait --for=condition=Ready --timeout=120s node/n2")?;
    passed?;
    taint?;

    // The node ends what is left of its pods, and frees nothing of the others'.
    eventually("only the new pods have a sandbox", LONG, OFTEN, || {
        let mut pods: Vec<String> = cluster.running(namespace)?.into_iter().map(|pod| pod.name).collect();
        pods.sort();
        Ok((pods == ["heir-1", "heir-2"]).then_some(()))
    })?;
    for (heir, ip) in [("heir-1", first), ("heir-2", second)] {
        let page = explain(&workstation, ip)?;
        assert_eq!(page.document["agreement"]["verdict"], "agree", "{}", page.text);
        says(&page, &[&format!("{ip} has been held by pod {}/{heir} for ", &**namespace)]);
    }
    Ok(())
}

/// Two pods on the other node wait for the addresses of the lost ones, and get them as the pages say.
fn passes_on(
    cluster: &Cluster,
    namespace: &Namespace,
    workstation: &Workstation,
    (first, second): (&str, &str),
) -> Result<()> {
    let name = &**namespace;
    let asks = |name: &str, ip: &str| on(annotated(with_networks(pod(name), "db"), "kube-ipam.net1.ip", ip), "n1");
    cluster.apply(namespace, &[asks("heir-1", first), asks("heir-2", second)])?;
    waiting(workstation, &format!("{name}/heir-1"))?;
    // The address, its holder and the pod that waits lead to the same.
    let pages =
        [first, &format!("{name}/lost-1"), &format!("{name}/heir-1")].map(|subject| explain(workstation, subject));
    for page in pages {
        let page = page?;
        says(
            &page,
            &[
                &format!("{first} has been held by pod {name}/lost-1 for "),
                ", on node n2, which has not been ready for ",
                "node n2 has the condition Ready=Unknown for ",
                "Kubelet stopped posting node status",
            ],
        );
        for words in ["delete pod lost-1", "taint node n2", "delete node n2"] {
            command(&page, words)?;
        }
    }
    let page = explain(workstation, first)?;
    paste(workstation, command(&page, "describe node n2")?)?;
    // A node that is deleted would have to be set up again.
    paste(workstation, &format!("{} --dry-run=server", command(&page, "delete node n2")?))?;
    paste(workstation, command(&page, "delete pod lost-1")?)?;
    cluster.wait_ready(namespace, "heir-1")?;

    waiting(workstation, &format!("{name}/heir-2"))?;
    let page = explain(workstation, second)?;
    paste(workstation, command(&page, "taint node n2")?)?;
    cluster.wait_ready(namespace, "heir-2")
}
