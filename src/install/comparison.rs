//! Compares a node's file with the ConfigMap that it comes from, as an installer would complete it for that node.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::defaults::{DefaultsBuilder, NodeNames, cluster_of, etcd, is_set, labels_of, set};
use super::etcd::EtcdSecret;

/// A key of the node defaults that is not as in the ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DifferingKey {
    /// The key; one of an object with the object's key before it, as in `etcdConfig.etcdURL`.
    pub key: String,
    /// How it differs.
    pub difference: Difference,
}

/// How a key of a node's file differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It has another value.
    Changed,
    /// The node's file does not have it.
    Missing,
    /// Only the node's file has it.
    Extra,
}

/// The keys of a node's file that an installer would write in another way from this ConfigMap. What it adds for a node
/// is no difference: the node's names and labels, the cluster, and the paths of kubeconfig and credentials.
pub fn differing_keys(config_map: Map<String, Value>, node: &Map<String, Value>) -> Vec<DifferingKey> {
    let mut differing = Vec::new();
    compare("", &completed(config_map, node), node, &mut differing);
    differing
}

/// The ConfigMap, with what an installer adds for the node that has this file.
fn completed(config_map: Map<String, Value>, node: &Map<String, Value>) -> Map<String, Value> {
    let mut defaults = DefaultsBuilder::from_object(config_map);
    let names = NodeNames::of(node);
    if let Some(name) = names.current.clone() {
        defaults.node(&name, &names);
    }
    if let Some(cluster) = cluster_of(node).filter(|_| !defaults.names_cluster()) {
        defaults.cluster(&cluster);
    }
    if let Some(labels) = labels_of(node).filter(|_| !defaults.has_labels()) {
        defaults.labels(&labels);
    }
    if let Some(kubeconfig) = node.get("kubeConfig").and_then(Value::as_str) {
        defaults.kubeconfig(kubeconfig.as_ref());
    }
    let mut object = defaults.into_object();
    let own = node.iter().find(|(key, _)| key.eq_ignore_ascii_case("etcdConfig")).and_then(|(_, own)| own.as_object());
    if let (Some(own), Some(etcd)) = (own, etcd(&mut object)) {
        for key in EtcdSecret::all_keys() {
            let value = own.get(key).and_then(Value::as_str);
            // The spelling of kube-ipam 0.2.0.
            let other = if key == "etcdTrustedCAFile" { "etcdTrustedCAFileFile" } else { key };
            if let Some(value) = value.filter(|_| !is_set(etcd, other)) {
                set(etcd, key, value);
            }
        }
    }
    object
}

fn compare(above: &str, expected: &Map<String, Value>, found: &Map<String, Value>, differing: &mut Vec<DifferingKey>) {
    let keys: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    for key in keys {
        let name = format!("{above}{key}");
        let difference = match (expected.get(key), found.get(key)) {
            (Some(expected), Some(found)) if expected == found => continue,
            (Some(Value::Object(expected)), Some(Value::Object(found))) => {
                compare(&format!("{name}."), expected, found, differing);
                continue;
            }
            (Some(_), Some(_)) => Difference::Changed,
            (Some(_), None) => Difference::Missing,
            (None, _) => Difference::Extra,
        };
        differing.push(DifferingKey { key: name, difference });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn found(config_map: &Value, node: &Value) -> Vec<String> {
        let differing = differing_keys(map(config_map), &map(node));
        differing.iter().map(|DifferingKey { key, difference }| format!("{key} {difference:?}")).collect()
    }

    /// What an installer writes on a node, from this ConfigMap with these credentials.
    fn installed(config_map: &Value) -> Value {
        let folder = tempfile::tempdir().unwrap();
        for name in ["ca.crt", "tls.crt", "tls.key"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        std::fs::write(folder.path().join("username"), "u").unwrap();
        let name = |name: &str| crate::ipam::name::Name::new(name).unwrap();
        let mut defaults = DefaultsBuilder::from_object(map(config_map));
        let earlier = NodeNames { current: Some(name("host-1")), former: vec![name("host-0")] };
        defaults.node(&name("node-1"), &earlier);
        defaults.kubeconfig("/c/kubeconfig".as_ref());
        defaults.etcd(EtcdSecret::read(folder.path()).unwrap(), "/c/etcd".as_ref());
        if !defaults.names_cluster() {
            defaults.cluster(&name("c-1"));
        }
        if !defaults.has_labels() {
            let mut labels = crate::ipam::label::Labels::default();
            labels.insert("zone", "a").unwrap();
            defaults.labels(&labels);
        }
        Value::Object(defaults.into_object())
    }

    #[test]
    fn what_an_installer_adds_is_no_difference() {
        let etcd = json!({ "etcdURL": "https://192.0.2.1:2379" });
        for config_map in [
            json!({}),
            json!({ "store": "embedded" }),
            json!({ "etcdConfig": etcd, "locked": ["vrf"] }),
            json!({ "etcdConfig": { "etcdURL": "https://192.0.2.1:2379", "etcdTrustedCAFileFile": "/own/ca.crt" } }),
            json!({ "cluster": "mine", "nodeLabels": { "zone": "b" }, "formerNodeNames": ["old"], "kubeConfig": "/k" }),
            json!({ "nodeName": "", "NODELABELS": { "zone": "b" } }),
        ] {
            assert_eq!(found(&config_map, &installed(&config_map)), [""; 0], "{config_map}");
        }
    }

    #[test]
    fn each_key_that_an_installer_would_write_differently_is_named() {
        let config_map = json!({
            "etcdConfig": { "etcdURL": "https://192.0.2.1:2379", "prefix": "/a/" }, "locked": ["vrf"], "vrf": "blue",
        });
        let mut node = installed(&config_map);
        assert_eq!(found(&config_map, &node), [""; 0]);
        node["etcdConfig"]["etcdURL"] = json!("https://192.0.2.9:2379");
        node["etcdConfig"].as_object_mut().unwrap().remove("prefix");
        node["sticky"] = json!(true);
        node.as_object_mut().unwrap().remove("vrf");
        assert_eq!(
            found(&config_map, &node),
            ["etcdConfig.etcdURL Changed", "etcdConfig.prefix Missing", "sticky Extra", "vrf Missing"]
        );
        assert_eq!(found(&json!({ "cluster": "a" }), &json!({ "cluster": "b" })), ["cluster Changed"]);
        assert_eq!(
            found(&json!({ "formerNodeNames": ["x"] }), &json!({ "nodeName": "n" })),
            ["formerNodeNames Missing"]
        );
    }
}
