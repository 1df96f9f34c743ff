//! `kube-ipam explain`: why a pod waits, and what ends that.

use std::time::Duration;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Cluster, Workstation, attachment, eventually, macvlan, on, pod, with_networks};
use serde_json::{Value, json};

use crate::fixed::annotated;
use crate::shared::Namespace;

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

/// The explanation of a pod as soon as the API server has the events of its refusal.
fn waiting(workstation: &Workstation, pod: &str) -> Result<Page> {
    eventually(&format!("{pod} is said to wait"), LONG, OFTEN, || {
        Ok(Some(explain(workstation, pod)?).filter(|page| page.document["state"] == "waiting"))
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
    let asks = |pod_name: &str, node: &str| {
        on(annotated(with_networks(pod(pod_name), "db"), "kube-ipam.net1.ip", "10.188.0.30"), node)
    };
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
            &format!("10.188.0.30 is held by pod {name}/first, interface net1, node n1, network db"),
            "The pod gets an address once 10.188.0.30 is free for it, or once its request is changed",
            &format!("10.188.0.30 has been held by pod {name}/first for "),
            "requested, as now by annotation kube-ipam.net1.ip: \"10.188.0.30\"",
        ],
    );
    // How often: once so far, or more.
    assert!([" once, ", " times, "].iter().any(|count| page.text.contains(count)), "{}", page.text);

    // What it says helps.
    cluster.delete_pods(namespace, "first")?;
    cluster.wait_ready(namespace, "second")?;
    let page = explain(&workstation, &format!("{name}/second net1"))?;
    assert_eq!(page.document["state"], "held", "{}", page.text);
    says(&page, &[&format!("Pod {name}/second has 10.188.0.30 (net1).")]);
    let page = explain(&workstation, "10.188.0.30")?;
    assert_eq!(page.document["agreement"]["verdict"], "agree", "{}", page.text);
    says(&page, &[&format!("10.188.0.30 has been held by pod {name}/second for "), &format!("pod {name}/first")]);
    Ok(())
}

/// A network of two addresses, and three pods on it.
pub(crate) fn full(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
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
            "kube-ipam usage --store ",
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
