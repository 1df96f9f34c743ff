//! A configuration as a NetworkAttachmentDefinition, with comments for who edits it.

use std::fmt::Write as _;

use serde_json::Value;

use crate::ops::operator::config::ConfigReport;

/// The keys to check before the definition is applied, by their places in the configuration, and what for.
const TO_CHECK: [(&str, &str, &str); 13] = [
    ("/master", "master", "the node's interface on that network; it has the same name on every node"),
    ("/bridge", "bridge", "the bridge on each node; the plugin creates it if it is not there"),
    ("/ipam/subnet", "subnet", "the network's own subnet"),
    ("/ipam/ranges", "ranges", "the network's own subnets; an interface gets one address from each inner list"),
    (
        "/ipam/fixedStart",
        "fixedStart",
        "with fixedEnd: only these addresses can be requested, and none of them is random",
    ),
    ("/ipam/rangeStart", "rangeStart", "with rangeEnd: the addresses for pods that request none"),
    ("/ipam/gateway", "gateway", "the router of the subnet; it is never assigned"),
    ("/ipam/exclude", "exclude", "addresses that others use; they are never assigned"),
    ("/ipam/pools", "pools", "addresses for pods with the annotation kube-ipam.<interface>.pool"),
    ("/ipam/routes", "routes", "networks that pods reach through the gateway"),
    ("/ipam/etcdConfig", "etcdConfig", "the members, and files that are on every node"),
    ("/ipam/store", "store", "embedded: each node assigns addresses by itself, so no other node may have this network"),
    ("/ipam/kubeConfig", "kubeConfig", "a file on every node, for reading the annotations of pods"),
];

/// Where the store is if the configuration does not say so.
const DEFAULT_STORE: &str = "in the node defaults, /etc/cni/net.d/kube-ipam.d/kube-ipam.json";

/// The text of a definition, without a line break at its end.
pub(crate) fn definition(report: &ConfigReport, namespace: Option<&str>) -> String {
    let is_secondary = report.document.get("capabilities").is_some();
    let interface = if is_secondary { "net1" } else { "eth0" };
    let mut text = comments(report, namespace, interface);
    text += "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata:\n";
    let names = [("name", Some(report.name.as_str())), ("namespace", namespace)];
    for (key, name) in names.into_iter().filter_map(|(key, name)| Some((key, name?))) {
        // Writing to a String can't fail.
        let _ = writeln!(text, "  {key}: {}", scalar(name));
    }
    text += "spec:\n  config: |";
    format!("{:#}", report.document).lines().for_each(|line| text += &format!("\n    {line}"));
    text
}

fn comments(report: &ConfigReport, namespace: Option<&str>, interface: &str) -> String {
    let found = TO_CHECK.iter().filter(|(place, ..)| report.document.pointer(place).is_some());
    let mut rows: Vec<(&str, String)> = found.map(|(_, key, text)| (*key, in_this(interface, text))).collect();
    if !["/ipam/store", "/ipam/etcdConfig"].iter().any(|place| report.document.pointer(place).is_some()) {
        rows.push(("the store", DEFAULT_STORE.to_owned()));
    }
    let mut lines = vec![title(&report.document), String::new()];
    lines.push("Before you apply it, check:".to_owned());
    lines.extend(rows.iter().map(|(key, text)| format!("  {key:<10}  {text}")));
    lines.push(String::new());
    lines.extend(requests(report, namespace, interface));
    lines.iter().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect()
}

/// How a pod requests the network, and an address on it.
fn requests(report: &ConfigReport, namespace: Option<&str>, interface: &str) -> Vec<String> {
    let key = if interface == "net1" { "k8s.v1.cni.cncf.io/networks" } else { "v1.multus-cni.io/default-network" };
    let network = namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default() + report.name.as_str();
    let mut lines = vec![format!("A pod requests it with the annotation   {key}: {network}")];
    let sample =
        report.sample.map(|ip| format!("and a specific address with             kube-ipam.{interface}.ip: {ip}"));
    lines.extend(sample);
    lines
}

fn title(document: &Value) -> String {
    let plugin = document["type"].as_str().unwrap_or_default();
    let interfaces = match plugin {
        "macvlan" => "Interfaces with MAC addresses of their own, on a network of the node",
        "ipvlan" => "Interfaces that share the MAC address of an interface of the node",
        "bridge" => "Interfaces on a bridge of the node, which does not extend beyond it",
        "ptp" => "A link between each pod and its node",
        _ => "The first interface of a pod",
    };
    format!("{interfaces} ({plugin}), with addresses from kube-ipam.")
}

/// A name, with quotes if it would be no text without them.
fn scalar(name: &str) -> String {
    serde_saphyr::to_string(&name).map_or_else(|_| format!("{name:?}"), |text| text.trim_end().to_owned())
}

fn in_this(interface: &str, text: &str) -> String {
    text.replace("<interface>", interface)
}
