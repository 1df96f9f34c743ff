//! Users copy the definitions in network-attachments/, so they must be valid.

use std::collections::BTreeMap;
use std::path::Path;

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::defaults::Defaults;
use super::{load_with, shown};

/// The config of each definition, by its file's name.
fn configs() -> BTreeMap<String, Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("network-attachments");
    let config = |file: std::io::Result<std::fs::DirEntry>| {
        let file = file.unwrap();
        let definition: Value = serde_saphyr::from_str(&std::fs::read_to_string(file.path()).unwrap()).unwrap();
        assert_eq!(definition["apiVersion"], "k8s.cni.cncf.io/v1");
        assert_eq!(definition["kind"], "NetworkAttachmentDefinition");
        let config: Value = serde_json::from_str(definition["spec"]["config"].as_str().unwrap()).unwrap();
        assert_eq!(config["name"], definition["metadata"]["name"], "Multus and a person should see one name");
        (file.file_name().into_string().unwrap(), config)
    };
    std::fs::read_dir(folder).unwrap().map(config).collect()
}

#[test]
fn every_definition_is_served_without_a_mistake_or_warning() {
    // The store is in the node defaults, as the definitions say, and the labels are those that the installer writes.
    let labels = json!({ "topology.kubernetes.io/zone": "eu-west-1b" });
    let defaults = Defaults::with(&json!({ "nodeName": "worker-2", "nodeLabels": labels, "store": "embedded" }));
    let shown = configs().into_iter().map(|(file, config)| {
        let loaded = load_with(&config, defaults.path(), true);
        assert_eq!(loaded.warnings, [], "{file}");
        let network = loaded.network.unwrap_or_else(|mistakes| panic!("{file}: {mistakes}"));
        format!("{file} ({})\n{}\n", config["type"].as_str().unwrap(), shown(&network))
    });
    assert_snapshot!(shown.collect::<String>(), @r"
    bridge.yaml (bridge)
    10.30.2.0/24: 10.30.2.2-10.30.2.254, gateway 10.30.2.1
    dual-stack.yaml (macvlan)
    10.50.0.0/16: 10.50.0.2-10.50.255.254, gateway 10.50.0.1
    fd00:50::/64: fd00:50::2-fd00:50::ffff:ffff:ffff:ffff, gateway fd00:50::1
    ipvlan.yaml (ipvlan)
    10.20.0.0/16: 10.20.1.0-10.20.255.249, gateway 10.20.0.1
    layered-database.yaml (macvlan)
    10.188.0.0/16: 10.188.1.0-10.188.2.255, 10.188.4.0-10.188.255.254, fixed 10.188.0.10-10.188.0.255, gateway 10.188.0.1
    layered-web.yaml (macvlan)
    10.199.0.0/16: 10.199.0.2-10.199.255.254, gateway 10.199.0.1
    macvlan.yaml (macvlan)
    10.10.0.0/16: 10.10.1.0-10.10.255.254, fixed 10.10.0.10-10.10.0.255, gateway 10.10.0.1
    named-pools.yaml (macvlan)
    10.60.0.0/16: 10.60.0.2-10.60.0.19, 10.60.0.30-10.60.3.255, 10.60.4.16-10.60.255.254, gateway 10.60.0.1
    ptp.yaml (ptp)
    10.40.0.0/16: 10.40.0.2-10.40.255.254, gateway 10.40.0.1
    zones.yaml (macvlan)
    10.62.0.0/16: 10.62.0.2-10.62.255.254, gateway 10.62.0.1
    ");
}

#[test]
fn every_definition_has_what_its_main_plugin_needs() {
    for (file, config) in configs() {
        let needed: &[&str] = match config["type"].as_str().unwrap() {
            "macvlan" | "ipvlan" => &["master", "mode"],
            "bridge" => &["bridge", "isGateway"],
            "ptp" => &[],
            other => panic!("{file}: {other} is no main plugin of ours"),
        };
        for key in needed.iter().chain(&["cniVersion", "ipam"]) {
            assert!(config.get(*key).is_some(), "{file} lacks {key}");
        }
        assert_eq!(config["ipam"]["type"], "kube-ipam", "{file}");
    }
}
