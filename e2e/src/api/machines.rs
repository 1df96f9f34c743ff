//! Virtual machines as KubeVirt writes them: running instances with their active pods, migrations, and the pods of
//! both.

use serde_json::{Value, json};

use super::{Api, NAMESPACE, pod};

/// A running virtual machine with these pods. With `maker`, a VirtualMachine of that UID has created it.
#[must_use]
pub fn instance(name: &str, uid: &str, maker: Option<&str>, active_pods: &[&str]) -> Value {
    let mut instance = json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
        "metadata": { "namespace": NAMESPACE, "name": name, "uid": uid },
        "status": { "activePods": active_pods.iter().map(|uid| ((*uid).to_owned(), json!("node-1"))).collect::<serde_json::Map<_, _>>() },
    });
    if let Some(maker) = maker {
        let kind = "VirtualMachine";
        let maker =
            json!({ "apiVersion": "kubevirt.io/v1", "kind": kind, "name": name, "uid": maker, "controller": true });
        instance["metadata"]["ownerReferences"] = json!([maker]);
    }
    instance
}

/// The migration of a running machine.
#[must_use]
pub fn migration(name: &str, uid: &str, instance: &str, phase: &str) -> Value {
    json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration",
        "metadata": { "namespace": NAMESPACE, "name": name, "uid": uid },
        "spec": { "vmiName": instance }, "status": { "phase": phase },
    })
}

/// A pod of a running machine. With a name and UID, it is the target of that migration.
#[must_use]
pub fn launcher(name: &str, uid: &str, instance: (&str, &str), migration: Option<(&str, &str)>) -> Value {
    let (machine, machine_uid) = instance;
    let mut launcher = pod(name, uid, "Running", &json!({}));
    launcher["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": machine, "uid": machine_uid,
        "controller": true,
    }]);
    launcher["metadata"]["annotations"]["kubevirt.io/domain"] = json!(machine);
    if let Some((name, uid)) = migration {
        launcher["metadata"]["annotations"]["kubevirt.io/migrationJobName"] = json!(name);
        launcher["metadata"]["labels"] = json!({ "kubevirt.io/migrationJobUID": uid });
    }
    launcher
}

impl Api {
    /// Creates or replaces this object by its name. The server does not distinguish kinds.
    pub fn has_object(&self, object: &Value) {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        self.shows(name, object);
    }
}
