//! An object as the API server has it: `metadata`, and the `spec` of [`super::object`].

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::api::Stored;
use super::name::{is_hashed, readable_label};
use super::object::{Object, ObjectError, Uid, Version};
use super::resource::{GROUP, Place, Resource, VERSION};
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
    #[serde(default)]
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

/// The object of a key, from its manifest. What can't be read of it counts as in use ([`Object::damaged`]).
pub(super) fn stored(key: &Key, manifest: Json) -> Result<Arc<Stored>, ObjectError> {
    let manifest: Manifest = serde_json::from_value(manifest).map_err(ObjectError::Spec)?;
    manifest.stored(key)
}

/// A listed object of a resource. Its name says whose it is, as it does for a read of one object, even if its `spec` can't
/// be read or has another key. `None` if no key has an object of this name.
pub(super) fn listed(resource: &'static Resource, manifest: Json) -> Result<Option<Arc<Stored>>, ObjectError> {
    let manifest: Manifest = serde_json::from_value(manifest).map_err(ObjectError::Spec)?;
    let key = match manifest.key() {
        Ok(key) if Place::of(&key).is_some_and(|place| place.resource == resource) => Some(key),
        // One of the long keys has it, and it may be any.
        Err(error) if is_hashed(&manifest.metadata.name) => return Err(error),
        Ok(_) | Err(_) => resource.key_of(&manifest.metadata.name),
    };
    key.map(|key| manifest.stored(&key)).transpose()
}

/// An object as kube-ipam writes it, by the key in its `spec`.
pub(super) fn written(manifest: Json) -> Result<Arc<Stored>, ObjectError> {
    let manifest: Manifest = serde_json::from_value(manifest).map_err(ObjectError::Spec)?;
    let object = Object::from_spec(&manifest.key()?, &manifest.spec)?;
    Ok(manifest.with(object))
}

impl Manifest {
    /// The key in its `spec`. It must be the one that its name is made from.
    fn key(&self) -> Result<Key, ObjectError> {
        let SpecKey { key } = SpecKey::deserialize(&self.spec).map_err(ObjectError::Spec)?;
        if Place::of(&key).is_none_or(|place| place.name != self.metadata.name) {
            return Err(ObjectError::OtherName { name: self.metadata.name.clone(), found: key });
        }
        Ok(key)
    }

    fn stored(self, key: &Key) -> Result<Arc<Stored>, ObjectError> {
        let object = Object::from_spec(key, &self.spec).or_else(|why| Object::damaged(key, &self.spec, why))?;
        Ok(self.with(object))
    }

    fn with(self, object: Object) -> Arc<Stored> {
        let Metadata { uid, resource_version, .. } = self.metadata;
        Arc::new(Stored { object, version: Version { uid, resource_version } })
    }
}
