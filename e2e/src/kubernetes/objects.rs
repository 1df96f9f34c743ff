//! Backs up the objects of kube-ipam's store one by one, and puts them back, as Velero does.

use kube_ipam::store::KubernetesConfig;
use serde_json::{Value, json};

use super::Cluster;
use super::store::NAMESPACE;
use crate::Result;

/// What a restored object keeps of its metadata. It gets another UID.
const KEPT: [&str; 3] = ["name", "labels", "annotations"];

/// The objects of the store in the API, as they were.
pub struct Objects(Vec<Value>);

impl Cluster {
    /// Saves the objects of the store in the API.
    pub fn save_objects(&self) -> Result<Objects> {
        let mut list = self.get(&format!("--namespace {NAMESPACE} {}", resources()))?;
        let mut objects = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        for object in &mut objects {
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.retain(|key, _| KEPT.contains(&key.as_str()));
            }
        }
        Ok(Objects(objects))
    }

    /// Deletes all objects of the store, and puts back those that were saved. What a node has written in between stays.
    pub fn put_objects_back(&self, saved: &Objects) -> Result<()> {
        self.kubectl(&format!("--namespace {NAMESPACE} delete {} --all", resources()))?;
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": saved.0 });
        match self.feed(&["create", "--namespace", NAMESPACE, "--filename=-"], &list.to_string()) {
            Err(error) if error.to_string().lines().all(|line| line.contains("(AlreadyExists)")) => Ok(()),
            created => created,
        }
    }
}

/// The store's resources, for kubectl. The last one is deleted first: a recovery that begins meanwhile stays.
fn resources() -> String {
    let (group, resources, _) = KubernetesConfig::rule();
    resources.into_iter().rev().map(|resource| format!("{resource}.{group}")).collect::<Vec<_>>().join(",")
}
