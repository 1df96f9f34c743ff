//! Server-side apply of any object, and of definitions of custom resources.

use std::path::Path;
use std::{fs, slice};

use serde_json::Value;

use super::{ApiServer, Client, EVERY, Patch, READY};
use crate::Result;
use crate::kubernetes::eventually;

/// Who applies objects.
const MANAGER: &str = "kube-ipam-e2e";

impl ApiServer {
    /// Creates or changes an object, in this namespace if it names none. Returns it as the server has it. After that of a
    /// definition of custom resources, their objects can be created.
    pub(super) fn apply_in(&self, namespace: &str, object: &Value) -> Result<Value> {
        let name = object["metadata"]["name"].as_str().ok_or("an object has no name")?;
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or(namespace);
        let resource = resource_path(&self.admin, object, namespace)?;
        let path = format!("{resource}/{name}?fieldManager={MANAGER}&force=true");
        let applied = self.admin.patch(&path, Patch::Apply, object)?;
        if object["kind"] == "CustomResourceDefinition" {
            self.wait_established(name, object)?;
        }
        Ok(applied)
    }

    /// Applies each document of a YAML file.
    pub(super) fn apply_file_in(&self, namespace: &str, file: &Path) -> Result<Vec<Value>> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(file)?)?;
        documents.iter().filter(|document| !document.is_null()).map(|object| self.apply_in(namespace, object)).collect()
    }

    /// Waits until each served version of a definition's resources is listed by discovery and answers.
    fn wait_established(&self, name: &str, definition: &Value) -> Result<()> {
        let spec = &definition["spec"];
        let [group, plural] = [&spec["group"], &spec["names"]["plural"]].map(|text| text.as_str().unwrap_or_default());
        let versions = spec["versions"].as_array().into_iter().flatten().filter(|version| version["served"] == true);
        for version in versions.filter_map(|version| version["name"].as_str()) {
            let served = format!("/apis/{group}/{version}");
            eventually(&format!("{name} is established"), READY, EVERY, || {
                let listed =
                    self.admin.find(&served)?.is_some_and(|list| resources(&list).any(|it| it["name"] == plural));
                Ok((listed && self.admin.find(&format!("{served}/{plural}?limit=1"))?.is_some()).then_some(()))
            })?;
        }
        Ok(())
    }
}

/// The path of an object's resource, from the server's discovery.
fn resource_path(client: &Client, object: &Value, namespace: &str) -> Result<String> {
    let [version, kind] = ["apiVersion", "kind"].map(|key| object[key].as_str().unwrap_or_default());
    let group = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
    let list = client.get(&group)?;
    // The subresources of a kind have its kind too.
    let is_resource = |it: &&Value| it["kind"] == kind && it["name"].as_str().is_some_and(|name| !name.contains('/'));
    let found = resources(&list).find(is_resource).ok_or_else(|| format!("the API server has no {version} {kind}"))?;
    let name = found["name"].as_str().unwrap_or_default();
    Ok(if found["namespaced"] == true {
        format!("{group}/namespaces/{namespace}/{name}")
    } else {
        format!("{group}/{name}")
    })
}

fn resources(list: &Value) -> slice::Iter<'_, Value> {
    list["resources"].as_array().map(Vec::as_slice).unwrap_or_default().iter()
}
