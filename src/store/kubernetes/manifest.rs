//! An object as the API server has it: `metadata`, and the `spec` of [`super::object`].

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::api::Stored;
use super::name::readable_label;
use super::object::{Object, ObjectError, Uid, Version};
use super::resource::{GROUP, Place, VERSION};
use crate::store::{Key, Summarize, Summary};

/// The label with a key's stem.
pub(super) const STEM: &str = "kube-ipam.cloudnativer.io/stem";

/// The label of an object whose metadata can't tell whether its key exists, because it has a lock or no value.
pub(super) const OPEN: &str = "kube-ipam.cloudnativer.io/open";

/// The label of an object that shows an entry of another store ([`super::mirror`]). A store that writes the object
/// removes it.
pub(super) const MIRROR: &str = "kube-ipam.cloudnativer.io/mirror";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: String,
    uid: Uid,
    resource_version: String,
}

#[derive(Deserialize)]
struct Manifest {
    metadata: Metadata,
    spec: Json,
}

#[derive(Deserialize)]
struct SpecKey {
    key: Key,
}

/// The fields of a summary that are labels, too, so that `kubectl get -l` selects by them.
const SELECTABLE: [&str; 5] = ["network", "namespace", "pod", "node", "state"];

/// The manifest with which an object is created, or replaced at a version. The summary is that of the value in the same
/// request, so it is never older than the value.
pub(super) fn manifest(
    place: &Place,
    namespace: &str,
    object: &Object,
    version: Option<&Version>,
    summarize: Summarize,
) -> Result<Json, ObjectError> {
    let summary = object.value.as_ref().map(|value| summarize(&object.key, &value.value)).unwrap_or_default();
    with_summary(place, namespace, object, version, &summary)
}

/// The manifest with which a mirror of a key is created. It is an object without a value, and has a summary all the
/// same.
pub(super) fn mirror(place: &Place, namespace: &str, key: &Key, summary: &Summary) -> Result<Json, ObjectError> {
    let object = Object { key: key.clone(), value: None, mark: None };
    let mut manifest = with_summary(place, namespace, &object, None, summary)?;
    manifest["metadata"]["labels"][MIRROR] = json!("true");
    Ok(manifest)
}

fn with_summary(
    place: &Place,
    namespace: &str,
    object: &Object,
    version: Option<&Version>,
    summary: &Summary,
) -> Result<Json, ObjectError> {
    let mut labels = serde_json::Map::new();
    for field in SELECTABLE {
        if let Some(text) = summary.get(field) {
            labels.insert(format!("{GROUP}/{field}"), readable_label(text).into());
        }
    }
    if let Some(stem) = Place::stem(&object.key) {
        labels.insert(STEM.to_owned(), stem.into());
    }
    if object.is_open() {
        labels.insert(OPEN.to_owned(), "true".into());
    }
    let mut metadata = json!({ "namespace": namespace, "name": place.name, "labels": labels });
    if let Some(Version { uid, resource_version }) = version {
        metadata["uid"] = json!(uid);
        metadata["resourceVersion"] = json!(resource_version);
        // Removes the record of who has set which field. Nobody else sets any, and it would be a third of the object.
        metadata["managedFields"] = json!([{}]);
    }
    let mut spec = object.to_spec()?;
    if !summary.is_empty() {
        spec["summary"] = json!(summary);
    }
    Ok(json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": place.resource.kind,
        "metadata": metadata,
        "spec": spec,
    }))
}

/// The conditions of a delete (`DeleteOptions`).
pub(super) fn delete_options(version: &Version) -> Json {
    let Version { uid, resource_version } = version;
    json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": { "uid": uid, "resourceVersion": resource_version },
    })
}

/// The object of a key, from its manifest.
pub(super) fn stored(key: &Key, manifest: Json) -> Result<Arc<Stored>, ObjectError> {
    let Manifest { metadata: Metadata { uid, resource_version, .. }, spec } =
        serde_json::from_value(manifest).map_err(ObjectError::Spec)?;
    let object = Object::from_spec(key, &spec)?;
    Ok(Arc::new(Stored { object, version: Version { uid, resource_version } }))
}

/// A listed object. It must have the name of the key in its `spec`.
pub(super) fn listed(manifest: Json) -> Result<Arc<Stored>, ObjectError> {
    let Manifest { metadata, spec } = serde_json::from_value(manifest).map_err(ObjectError::Spec)?;
    let SpecKey { key } = SpecKey::deserialize(&spec).map_err(ObjectError::Spec)?;
    if Place::of(&key).is_none_or(|place| place.name != metadata.name) {
        return Err(ObjectError::OtherName { name: metadata.name, found: key });
    }
    let object = Object::from_spec(&key, &spec)?;
    let Metadata { uid, resource_version, .. } = metadata;
    Ok(Arc::new(Stored { object, version: Version { uid, resource_version } }))
}
