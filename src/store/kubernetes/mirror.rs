//! Objects that show the entries of another store to people with kubectl: *mirrors*. Nobody reads them but this.
//!
//! ```text
//! entries of the other store ─┐
//!                             ├─► Difference ─► deletes, creates ─► the status of each mirror
//! objects of the namespace ───┘
//! ```
//!
//! A mirror has a key and a summary, and no value. So its key is absent to a store of this namespace: a transaction that
//! writes the key takes the object over, and a sweep removes it as what remains of a key. Only a mirror is changed here,
//! and only as it was read: an object with the label, whose `spec` has nothing but key and summary. What a store has
//! written stays.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value as Json;
use tokio::runtime::Runtime;

use super::answer::Reply;
use super::client::{Client, MAX_OBJECT, place, stretch};
use super::inspect::ObjectName;
use super::lists;
use super::manifest::{MIRROR, mirror};
use super::object::{Uid, Version};
use super::request;
use super::resource::{Place, Resource};
use super::status::{self, ObjectStatus};
use crate::apiserver::Endpoint;
use crate::cause::Cause;
use crate::deadline::Deadline;
use crate::store::{Key, KeySpan, StoreError, Summary};

/// All that a mirror's `spec` has.
const FIELDS: [&str; 2] = ["key", "summary"];

/// The mirrors in a namespace.
pub struct KubernetesMirror {
    client: Client,
    runtime: Arc<Runtime>,
}

/// What there is after [`KubernetesMirror::sync`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrored {
    /// The status of each mirror.
    pub statuses: Vec<ObjectStatus>,
    /// Objects that are no mirrors, and have the name of one.
    pub taken: Vec<ObjectName>,
}

#[derive(Deserialize)]
struct Listed {
    metadata: Metadata,
    spec: serde_json::Map<String, Json>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    uid: Uid,
    resource_version: String,
    #[serde(default)]
    labels: serde_json::Map<String, Json>,
}

/// How the objects of a namespace differ from the mirrors that should be there.
#[derive(Debug, Default)]
struct Difference {
    current: Vec<ObjectStatus>,
    /// Mirrors of entries that are gone, or that look different.
    outdated: Vec<(Place, Version)>,
    /// The manifests of mirrors that are to be created, after those are gone.
    missing: Vec<(Place, Json)>,
    taken: Vec<ObjectName>,
}

impl fmt::Debug for KubernetesMirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubernetesMirror").field("client", &self.client).finish_non_exhaustive()
    }
}

impl KubernetesMirror {
    /// The verbs of RBAC that it needs on its resource. Its status is another one, with the verb patch.
    pub const VERBS: [&str; 4] = ["get", "list", "create", "delete"];

    /// The mirrors in this namespace, over connections that exist already, with their runtime.
    pub fn new(endpoint: Endpoint, runtime: Arc<Runtime>, namespace: &str) -> Self {
        Self { client: Client::new(endpoint, namespace.to_owned()).needing(&Self::VERBS), runtime }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        self.client.namespace()
    }

    /// Creates and deletes mirrors until there is one of each of these entries, which are all of a span. Stops early if
    /// `may_continue` says no. `timeout` is the limit for each request.
    pub fn sync(
        &self,
        span: &KeySpan,
        entries: &BTreeMap<Key, Summary>,
        timeout: Duration,
        may_continue: &dyn Fn() -> bool,
    ) -> Result<Mirrored, StoreError> {
        self.runtime.block_on(async {
            let stretch = stretch(span)?;
            let objects = lists::objects(&self.client, &stretch, Deadline::after(timeout)).await?;
            let difference = Difference::new(stretch.resource, self.namespace(), entries, objects)?;
            let Difference { current: mut statuses, outdated, missing, taken } = difference;
            for (place, version) in outdated.iter().take_while(|_| may_continue()) {
                self.delete(place, version, Deadline::after(timeout)).await?;
            }
            for (place, manifest) in missing.iter().take_while(|_| may_continue()) {
                statuses.extend(self.create(place, manifest, Deadline::after(timeout)).await?);
            }
            Ok(Mirrored { statuses, taken })
        })
    }

    /// Writes fields of a mirror's status. `false` if the object has been changed or deleted since it was read.
    pub fn set_status(&self, of: &ObjectStatus, status: &Json, deadline: Deadline) -> Result<bool, StoreError> {
        self.runtime.block_on(status::write(&self.client, of, status, deadline))
    }

    /// `None` if somebody has created an object of this name since.
    async fn create(
        &self,
        place: &Place,
        manifest: &Json,
        deadline: Deadline,
    ) -> Result<Option<ObjectStatus>, StoreError> {
        let asked = self.client.asked(place.resource, &place.name, "create");
        let request = || request::create(self.namespace(), place, manifest.clone());
        let created = done(self.client.send_until_known(&asked, deadline, MAX_OBJECT, request).await)?;
        let created = created.map(|body| serde_json::from_slice(&body)).transpose();
        created.map_err(|error| StoreError::Corrupt(Cause::new(error)))?.map_or(Ok(None), ObjectStatus::of)
    }

    async fn delete(&self, place: &Place, version: &Version, deadline: Deadline) -> Result<(), StoreError> {
        let asked = self.client.asked(place.resource, &place.name, "delete");
        let request = || request::delete(self.namespace(), place, version);
        done(self.client.send_until_known(&asked, deadline, MAX_OBJECT, request).await).map(drop)
    }
}

/// The answer to a write; `None` if the object is another one than it was.
fn done(reply: Reply) -> Result<Option<Vec<u8>>, StoreError> {
    match reply {
        Reply::Done(body) => Ok(Some(body)),
        Reply::Conflict | Reply::NotFound | Reply::Expired => Ok(None),
        Reply::Later(cause, _) | Reply::Silence(cause) => Err(StoreError::Unavailable(cause)),
        Reply::Refused(problem) => Err(problem.into()),
    }
}

impl Difference {
    fn new(
        resource: &'static Resource,
        namespace: &str,
        entries: &BTreeMap<Key, Summary>,
        objects: Vec<Json>,
    ) -> Result<Self, StoreError> {
        let mut missing = BTreeMap::new();
        for (key, summary) in entries {
            let place = place(key)?;
            let manifest = mirror(&place, namespace, key, summary);
            let manifest = manifest.map_err(|error| StoreError::Corrupt(Cause::new(error)))?;
            missing.insert(place.name.clone(), (place, manifest));
        }
        let mut difference = Self::default();
        for object in objects {
            // Whatever this is, it is not a mirror.
            let Ok(listed) = Listed::deserialize(&object) else { continue };
            let name = listed.metadata.name.clone();
            match missing.get(&name) {
                Some((_, manifest)) if listed.is_mirror() && listed.looks_like(manifest) => {
                    missing.remove(&name);
                    difference.current.extend(ObjectStatus::of(object)?);
                }
                _ if listed.is_mirror() => {
                    let Metadata { name, uid, resource_version, .. } = listed.metadata;
                    difference.outdated.push((Place { resource, name }, Version { uid, resource_version }));
                }
                Some(_) => {
                    missing.remove(&name);
                    difference.taken.push(ObjectName::of(resource, &name));
                }
                None => {}
            }
        }
        Ok(Self { missing: missing.into_values().collect(), ..difference })
    }
}

impl Listed {
    fn is_mirror(&self) -> bool {
        self.metadata.labels.contains_key(MIRROR) && self.spec.keys().all(|field| FIELDS.contains(&field.as_str()))
    }

    /// Whether it has the labels and the `spec` of a manifest. Others may add labels of their own.
    fn looks_like(&self, manifest: &Json) -> bool {
        let labels = manifest["metadata"]["labels"].as_object();
        let has_labels =
            labels.into_iter().flatten().all(|(name, value)| self.metadata.labels.get(name) == Some(value));
        has_labels && manifest["spec"].as_object() == Some(&self.spec)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use serde_json::json;

    use super::super::resource::RESOURCES;
    use super::*;

    const KEY: &str = "net/default/blue/0a";

    fn entries(keys: &[&str]) -> BTreeMap<Key, Summary> {
        let summary = Summary::from([("network", "blue".to_owned()), ("subnets", "10.1.0.0/24".to_owned())]);
        keys.iter().map(|key| (Key::new(*key), summary.clone())).collect()
    }

    /// The mirror of a key as the server has it, with these changes (RFC 7396).
    fn object(key: &str, change: &Json) -> Json {
        let key = Key::new(key);
        let mut object = mirror(&Place::of(&key).unwrap(), "pods", &key, &entries(&[KEY])[&Key::new(KEY)]).unwrap();
        object["metadata"]["uid"] = json!("u-1");
        object["metadata"]["resourceVersion"] = json!("7");
        merge(&mut object, change);
        object
    }

    fn merge(object: &mut Json, change: &Json) {
        match change {
            Json::Object(fields) => fields.iter().for_each(|(name, change)| merge(&mut object[name.as_str()], change)),
            value => *object = value.clone(),
        }
    }

    /// What is done with the objects: `=` stays, `-` goes, `+` is made, `!` is in the way.
    fn done_with(keys: &[&str], objects: Vec<Json>) -> String {
        let resource = RESOURCES.iter().find(|resource| resource.plural == "ipnetworks").unwrap();
        let found = Difference::new(resource, "pods", &entries(keys), objects).unwrap();
        let current = found.current.iter().map(|status| format!("={}", status.key));
        let outdated = found.outdated.iter().map(|(place, _)| format!("-{}", place.name));
        let missing = found.missing.iter().map(|(place, _)| format!("+{}", place.name));
        let taken = found.taken.iter().map(|object| format!("!{}", object.name));
        current.chain(outdated).chain(missing).chain(taken).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn there_is_one_mirror_of_each_entry_and_none_else() {
        assert_eq!(done_with(&[], vec![]), "");
        assert_eq!(done_with(&[KEY], vec![]), "+default-fblue-f0a");
        assert_eq!(done_with(&[KEY], vec![object(KEY, &json!({}))]), format!("={KEY}"));
        assert_eq!(done_with(&[], vec![object(KEY, &json!({}))]), "-default-fblue-f0a");
        let copy = json!({ "metadata": { "name": "copy" } });
        assert_eq!(done_with(&[KEY], vec![object(KEY, &json!({})), object(KEY, &copy)]), format!("={KEY} -copy"));
    }

    #[test]
    fn a_mirror_that_looks_different_is_made_again() {
        for change in [
            json!({ "spec": { "summary": { "subnets": "10.9.0.0/24" } } }),
            json!({ "spec": { "key": "net/default/blue/0b" } }),
            json!({ "metadata": { "labels": { "kube-ipam.cloudnativer.io/network": "green" } } }),
        ] {
            let found = done_with(&[KEY], vec![object(KEY, &change)]);
            assert_eq!(found, "-default-fblue-f0a +default-fblue-f0a", "{change}");
        }
        let more = json!({ "metadata": { "labels": { "team": "db" } }, "status": { "held": 1 } });
        assert_eq!(done_with(&[KEY], vec![object(KEY, &more)]), format!("={KEY}"));
    }

    #[test]
    fn what_is_not_a_mirror_is_left_alone() {
        let unlabelled = json!({ "metadata": { "labels": {} } });
        let mut of_a_store = object(KEY, &json!({}));
        of_a_store["metadata"]["labels"] = unlabelled["metadata"]["labels"].clone();
        let mut others = vec![of_a_store];
        for field in ["revision", "value", "order", "base64", "lock", "commit", "later"] {
            others.push(object(KEY, &json!({ "spec": { field: { "v": 1 } } })));
        }
        for other in others {
            assert_eq!(done_with(&[], vec![other.clone()]), "", "{other}");
            assert_eq!(done_with(&[KEY], vec![other.clone()]), "!default-fblue-f0a", "{other}");
        }
    }
}
