//! The workloads and nodes of a cluster, as manifests with nothing but what decides on the addresses of pods.

use std::collections::BTreeMap;

use kube::core::params::ListParams;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::object::{ObjectRef, ResourceKind};
use super::workload_kind::WorkloadKind;
use super::{ApiServer, ClusterError};

/// A workload. Serialized, it is a manifest.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadManifest {
    api_version: &'static str,
    kind: &'static str,
    metadata: Meta,
    spec: Spec,
}

impl WorkloadManifest {
    /// Its kind, as the API spells it.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.metadata.namespace
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// Whether its pods use the network of their node, and so no address of their own.
    pub fn uses_host_network(&self) -> bool {
        self.spec.pods().is_some_and(|template| template.spec.host_network == Some(true))
    }

    /// The annotations of its pods.
    pub fn annotations(&mut self) -> Option<&mut BTreeMap<String, String>> {
        self.spec.pods_mut().map(|template| &mut template.metadata.annotations)
    }
}

/// A node. Serialized, it is a manifest.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeManifest {
    api_version: &'static str,
    kind: &'static str,
    metadata: NodeMeta,
    spec: NodeSpec,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Meta {
    namespace: String,
    name: String,
}

/// What is read of a workload and decides whether it needs addresses.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OwnedMeta {
    namespace: String,
    name: String,
    owner_references: Vec<Owner>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Owner {
    api_version: String,
    kind: String,
    controller: bool,
}

#[derive(Deserialize)]
struct Item {
    metadata: OwnedMeta,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Option<Vec<Condition>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    r#type: String,
    status: String,
}

/// The fields of a workload's spec that decide on its number of pods. Those of a Job in a CronJob are the same.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    #[serde(skip_serializing_if = "Option::is_none")]
    replicas: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallelism: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strategy: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    update_strategy: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ordinals: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<Template>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_template: Option<JobTemplate>,
}

impl Spec {
    fn pods(&self) -> Option<&Template> {
        self.template.as_ref().or_else(|| self.job_template.as_ref()?.spec.template.as_ref())
    }

    fn pods_mut(&mut self) -> Option<&mut Template> {
        self.template.as_mut().or_else(|| self.job_template.as_mut()?.spec.template.as_mut())
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct JobTemplate {
    spec: JobSpec,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct JobSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    parallelism: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<Template>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Template {
    metadata: TemplateMeta,
    spec: PodSpec,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct TemplateMeta {
    annotations: BTreeMap<String, String>,
}

/// On which nodes a pod may run, and whether it has a network of its own.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    host_network: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_selector: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    affinity: Option<Affinity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tolerations: Option<Value>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct Affinity {
    #[serde(skip_serializing_if = "Option::is_none")]
    node_affinity: Option<Value>,
}

#[derive(Deserialize)]
struct NodeItem {
    metadata: NodeMeta,
    #[serde(default)]
    spec: NodeSpec,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct NodeMeta {
    name: String,
    labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct NodeSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    taints: Option<Value>,
}

impl Item {
    /// The workload as a manifest; `None` if it needs no addresses of its own: another workload of the cluster has made
    /// it, or it is a Job that has ended.
    fn manifest(self, kind: WorkloadKind) -> Option<WorkloadManifest> {
        let Self { metadata: OwnedMeta { namespace, name, owner_references }, spec, status } = self;
        let is_part =
            owner_references.iter().any(|owner| owner.controller && kind.is_part_of(&owner.api_version, &owner.kind));
        let has_ended = kind == WorkloadKind::Job
            && status.conditions.iter().flatten().any(|condition| {
                matches!(condition.r#type.as_str(), "Complete" | "Failed") && condition.status == "True"
            });
        (!is_part && !has_ended).then(|| WorkloadManifest {
            api_version: kind.api_version(),
            kind: kind.word(),
            metadata: Meta { namespace, name },
            spec,
        })
    }
}

impl ApiServer {
    /// Passes on the workloads of a kind that need addresses of their own, page by page.
    pub fn workloads(&self, kind: WorkloadKind, mut each: impl FnMut(WorkloadManifest)) -> Result<(), ClusterError> {
        let object = ObjectRef::all(kind.list());
        self.list_full(&object, ListParams::default(), |item: Item| item.manifest(kind).into_iter().for_each(&mut each))
            .map(drop)
    }

    /// Passes on all nodes, page by page, with what decides on which of them a pod may run.
    pub fn node_manifests(&self, mut each: impl FnMut(NodeManifest)) -> Result<(), ClusterError> {
        let object = ObjectRef::all(ResourceKind::Nodes);
        self.list_full(&object, ListParams::default(), |NodeItem { metadata, spec }| {
            each(NodeManifest { api_version: "v1", kind: "Node", metadata, spec });
        })
        .map(drop)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ipam::pod::Controller;

    fn manifest(kind: WorkloadKind, item: &Value) -> Option<Value> {
        let item: Item = serde_json::from_value(item.clone()).unwrap();
        item.manifest(kind).map(|manifest| serde_json::to_value(manifest).unwrap())
    }

    #[test]
    fn a_manifest_has_what_decides_on_addresses_and_nothing_else() {
        let node_affinity = json!({ "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [] } });
        let found = manifest(
            WorkloadKind::Deployment,
            &json!({
                "metadata": { "namespace": "db", "name": "web", "managedFields": [{ "manager": "m" }] },
                "spec": {
                    "replicas": 3, "strategy": { "rollingUpdate": { "maxSurge": 1 } }, "selector": {},
                    "template": {
                        "metadata": { "annotations": { "a": "b" }, "labels": { "app": "web" } },
                        "spec": {
                            "containers": [{ "env": [{ "name": "PASSWORD", "value": "secret" }] }],
                            "nodeSelector": { "zone": "a" },
                            "affinity": { "nodeAffinity": node_affinity, "podAffinity": {} },
                        },
                    },
                },
            }),
        );
        let expected = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "namespace": "db", "name": "web" },
            "spec": {
                "replicas": 3, "strategy": { "rollingUpdate": { "maxSurge": 1 } },
                "template": {
                    "metadata": { "annotations": { "a": "b" } },
                    "spec": { "nodeSelector": { "zone": "a" }, "affinity": { "nodeAffinity": node_affinity } },
                },
            },
        });
        assert_eq!(found, Some(expected));
    }

    #[test]
    fn pods_are_counted_for_one_workload_alone() {
        let owned = |api_version: &str, kind: &str, status: Value| {
            let owner = json!({ "apiVersion": api_version, "kind": kind, "controller": true });
            json!({ "metadata": { "namespace": "db", "name": "x", "ownerReferences": [owner] }, "spec": {}, "status": status })
        };
        let ended = |of: &str, status: &str| json!({ "conditions": [{ "type": of, "status": status }] });
        let cases = [
            (WorkloadKind::ReplicaSet, owned("apps/v1", "Deployment", json!({})), false),
            (WorkloadKind::ReplicaSet, owned("argoproj.io/v1alpha1", "Rollout", json!({})), true),
            (WorkloadKind::Deployment, owned("example.com/v1", "App", json!({})), true),
            (WorkloadKind::Job, owned("batch/v1", "CronJob", json!({})), false),
            (WorkloadKind::Job, owned("example.com/v1", "Run", ended("Complete", "True")), false),
            (WorkloadKind::Job, owned("example.com/v1", "Run", ended("Failed", "True")), false),
            (WorkloadKind::Job, owned("example.com/v1", "Run", ended("Complete", "False")), true),
        ];
        for (kind, item, expected) in cases {
            assert_eq!(manifest(kind, &item).is_some(), expected, "{kind:?} {item}");
        }
        let controller = |group: &str, kind: &str| {
            let (kind, name) = (kind.to_owned(), "x".to_owned());
            Controller { group: group.to_owned(), kind, name, uid: String::new() }
        };
        assert!(WorkloadKind::controls(&controller("apps", "ReplicaSet")));
        assert!(WorkloadKind::controls(&controller("batch", "Job")));
        assert!(!WorkloadKind::controls(&controller("kubevirt.io", "VirtualMachineInstance")));
        assert!(!WorkloadKind::controls(&controller("example.com", "Job")));
    }

    #[test]
    fn the_pods_of_a_cron_job_are_those_of_its_jobs() {
        let item: Item = serde_json::from_value(json!({
            "metadata": { "namespace": "db", "name": "nightly" },
            "spec": { "jobTemplate": { "spec": {
                "parallelism": 2,
                "template": { "metadata": { "annotations": { "a": "b" } }, "spec": { "hostNetwork": true } },
            } } },
        }))
        .unwrap();
        let mut manifest = item.manifest(WorkloadKind::CronJob).unwrap();
        assert!(manifest.uses_host_network());
        assert_eq!(manifest.annotations().unwrap().len(), 1);
    }
}
