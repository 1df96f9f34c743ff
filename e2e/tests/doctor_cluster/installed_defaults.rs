//! Node defaults that are not those of the installer's ConfigMap, with an installer that fails, lacks or is ready.

use kube_ipam_e2e::diagnosis::Diagnosis;
use serde_json::{Value, json};

use crate::{Cluster, on_each_store, own_image};

/// Sets the ConfigMap to the node's own defaults, with these keys instead.
fn change(cluster: &Cluster<'_>, keys: &Value) {
    let mut defaults: Value = serde_json::from_str(&cluster.defaults()).unwrap();
    defaults.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    cluster.api.has_installed_defaults(Some(&defaults.to_string()));
}

fn node_name(cluster: &Cluster<'_>) -> String {
    let defaults: Value = serde_json::from_str(&cluster.defaults()).unwrap();
    defaults["nodeName"].as_str().unwrap().to_owned()
}

#[test]
fn keys_that_differ_are_named_with_what_the_installer_on_this_node_does() {
    on_each_store("keys_that_differ_are_named_with_what_the_installer_on_this_node_does", |cluster| {
        let node = node_name(cluster);
        // The installer adds it on each node.
        let mut defaults: Value = serde_json::from_str(&cluster.defaults()).unwrap();
        defaults.as_object_mut().unwrap().remove("nodeName");
        cluster.api.has_installed_defaults(Some(&defaults.to_string()));
        assert!(cluster.diagnosis().line("installed-defaults").starts_with("installed-defaults ok: "));

        change(cluster, &json!({ "sticky": true }));
        cluster.api.has_installer(&own_image(), &[("another", true)]);
        let diagnosis = cluster.diagnosis();
        let line = diagnosis.line("installed-defaults");
        assert!(line.starts_with("installed-defaults warning: ConfigMap kube-ipam/kube-ipam: "), "{line}");
        assert!(line.ends_with("differs from it in sticky (only in the ConfigMap)"), "{line}");
        assert!(
            diagnosis.next("installed-defaults").starts_with(&format!("no pod of the installer runs on node {node}"))
        );

        cluster.api.has_installer(&own_image(), &[(&*node, false)]);
        let next = cluster.diagnosis().next("installed-defaults");
        assert!(next.ends_with("on this node fails: container install: CrashLoopBackOff; look why"), "{next}");
        let logs = format!("kubectl -n kube-ipam logs kube-ipam-{node} -c install --tail=20");
        assert_eq!(cluster.diagnosis().commands("installed-defaults")[0], logs);

        cluster.api.has_installer(&own_image(), &[(&*node, true)]);
        let next = cluster.diagnosis().next("installed-defaults");
        assert!(next.contains("is ready, so the ConfigMap has not reached it"), "{next}");
    });
}

#[test]
fn another_vrf_than_that_of_the_config_map_is_an_error() {
    on_each_store("another_vrf_than_that_of_the_config_map_is_an_error", |cluster| {
        change(cluster, &json!({ "vrf": "blue" }));
        let line = cluster.diagnosis().line("installed-defaults");
        assert!(line.starts_with("installed-defaults error: ") && line.contains("give one address twice"), "{line}");
        cluster.api.has_installed_defaults(Some("no JSON"));
        let line = cluster.diagnosis().line("installed-defaults");
        assert!(line.contains("its kube-ipam.json is no JSON object"), "{line}");
    });
}

#[test]
fn a_config_map_that_is_not_known_is_skipped_with_the_reason() {
    on_each_store("a_config_map_that_is_not_known_is_skipped_with_the_reason", |cluster| {
        let skipped = |diagnosis: &Diagnosis, why: &str| {
            let line = diagnosis.line("installed-defaults");
            assert!(line.starts_with("installed-defaults skipped: ") && line.contains(why), "{line}");
        };
        change(cluster, &json!({ "vrf": "blue" }));
        skipped(&Diagnosis::of(cluster.node, &["--node"]), "with --node, no API server is asked for it");
        let kubeconfig = cluster.api.kubeconfig_of(cluster.node).unwrap();
        let asked = Diagnosis::of(cluster.node, &["--node", "--kubeconfig", kubeconfig.to_str().unwrap()]);
        assert!(asked.line("installed-defaults").starts_with("installed-defaults error: "));
        cluster.api.hides(&["configmaps"]);
        skipped(&cluster.diagnosis(), "this kubeconfig may not read that");
        cluster.api.hides(&[]);
        cluster.api.has_installed_defaults(None);
        skipped(&cluster.diagnosis(), "the cluster does not have it, so somebody else maintains");
    });
}
