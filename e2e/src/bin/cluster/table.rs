//! Prints texts and tables for people.

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Cluster, RunningPod};
use serde_json::Value;

/// The annotation with a pod's networks for Multus.
const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";

pub(crate) fn heading(text: &str) {
    println!("\n== {text}");
}

/// Prints the output of another program.
pub(crate) fn quote(text: &str) {
    text.lines().for_each(|line| println!("   {}", line.trim_end()));
}

/// Prints a text and wraps its lines.
pub(crate) fn wrapped(text: &str) {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.len() + word.len() > 100 {
            println!("     {line}");
            line.clear();
        }
        line.extend([if line.is_empty() { "" } else { " " }, word]);
    }
    println!("     {line}");
}

/// Prints rows with aligned columns.
pub(crate) fn rows(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max();
    let widths: Vec<usize> = (0..columns).map(|column| widest(column).unwrap_or_default()).collect();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("   {}", cells.join("  ").trim_end());
    }
}

/// `kubectl get pods` of all namespaces, without its last two columns, which are always empty here.
pub(crate) fn pods(cluster: &Cluster) -> Result<()> {
    let text = cluster.kubectl("get pods --all-namespaces --output=wide")?;
    let width = text.lines().next().and_then(|head| head.find("NOMINATED")).unwrap_or(usize::MAX);
    text.lines().for_each(|line| quote(line.get(..width).unwrap_or(line)));
    Ok(())
}

/// Prints what the pods of these namespaces request for each interface, and what they have.
pub(crate) fn interfaces(cluster: &Cluster, namespaces: &[&str], primary: [&str; 3]) -> Result<()> {
    let mut table = vec![["POD", "NODE", "INTERFACE", "NETWORK", "REQUESTED", "HAS"].map(str::to_owned).to_vec()];
    for namespace in namespaces {
        for pod in cluster.running(namespace)? {
            let object = cluster.get(&format!("--namespace {namespace} pod {}", pod.name))?;
            for (interface, addresses) in &pod.addresses {
                let has: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                let network = network(&object, interface, primary);
                let cells = [&pod.name, &pod.node, interface, &network, &asked(&object, interface), &has.join(", ")];
                table.push(cells.map(Clone::clone).to_vec());
            }
        }
    }
    rows(&table);
    Ok(())
}

/// The network of an interface: one that every pod has, or one that the pod requests from Multus.
fn network(pod: &Value, interface: &str, primary: [&str; 3]) -> String {
    let number = |prefix: &str| interface.strip_prefix(prefix)?.parse::<usize>().ok();
    let networks = pod["metadata"]["annotations"][NETWORKS].as_str().unwrap_or_default();
    let by_multus = number("net").and_then(|net| networks.split(',').nth(net.checked_sub(1)?));
    let on_each = || number("eth").and_then(|eth| primary.get(eth).copied());
    by_multus.or_else(on_each).unwrap_or_default().trim().to_owned()
}

/// What kube-ipam's annotations request for an interface.
fn asked(pod: &Value, interface: &str) -> String {
    let annotations = pod["metadata"]["annotations"].as_object().into_iter().flatten();
    let scope = format!("kube-ipam.{interface}.");
    let of_interface = annotations.filter_map(|(key, value)| Some((key.strip_prefix(&scope)?, value.as_str()?)));
    let asks: Vec<String> = of_interface.map(|(field, value)| format!("{field} {value}")).collect();
    if asks.is_empty() { "any".to_owned() } else { asks.join("; ") }
}

/// Pings an address and prints whether it replied. A TTL of 64 means that there was no router on the way.
pub(crate) fn ping(
    cluster: &Cluster,
    from: &RunningPod,
    to: &RunningPod,
    interface: &str,
    answers: bool,
) -> Result<()> {
    let address = to.address(interface)?;
    let answer = cluster.answer(from, address, super::tour::PING)?;
    let said = answer.map_or("no answer".to_owned(), |ttl| format!("answers, ttl {ttl}"));
    let [from, to] = [from, to].map(|pod| format!("{} ({})", pod.name, pod.node));
    println!("   {from:26} -> {to:26} {:16} {said}", address.to_string());
    if answer.is_some() == answers { Ok(()) } else { Err("the ping did not end as expected".into()) }
}
