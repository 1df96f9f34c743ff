//! The `status` of objects, which shows people what is known of a value.
//!
//! The API server keeps it apart (subresource `status`): a write of the object leaves its status as it is, and a write of
//! the status changes neither the value nor what transactions have left. The protocol never reads it. To the protocol, a
//! write of a status is a change of the object's resource version, as anybody may make one: a writer has to look again.

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::answer::{Problem, Reply};
use super::client::{Client, MAX_OBJECT, place, stretch, unexpected};
use super::lists;
use super::request;
use super::resource::Place;
use crate::cause::Cause;
use crate::deadline::Deadline;
use crate::store::{Key, KeySpan, StoreError};

/// The status of an object, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectStatus {
    /// The key that the object is about.
    pub key: Key,
    /// The status; null if the object has none.
    pub status: Json,
    resource_version: String,
}

#[derive(Deserialize)]
struct Manifest {
    metadata: Metadata,
    spec: Spec,
    #[serde(default)]
    status: Json,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    resource_version: String,
}

#[derive(Deserialize)]
struct Spec {
    key: Key,
}

impl ObjectStatus {
    /// The status of an object. `None` if the object is a copy under another name than its key's.
    pub(super) fn of(object: Json) -> Result<Option<Self>, StoreError> {
        let manifest = serde_json::from_value(object).map_err(|error| StoreError::Corrupt(Cause::new(error)))?;
        let Manifest { metadata: Metadata { name, resource_version }, spec: Spec { key }, status } = manifest;
        let is_original = Place::of(&key).is_some_and(|place| place.name == name);
        Ok(is_original.then_some(Self { key, status, resource_version }))
    }
}

/// Reads the status of each object of a span.
pub(super) async fn read(client: &Client, span: &KeySpan, deadline: Deadline) -> Result<Vec<ObjectStatus>, StoreError> {
    let mut found = Vec::new();
    for object in lists::objects(client, &stretch(span)?, deadline).await? {
        found.extend(ObjectStatus::of(object)?.filter(|status| span.contains(&status.key)));
    }
    Ok(found)
}

/// Writes the fields of a status, and leaves others as they are. Sends the request once, unless it was certainly not
/// applied. `false` if the object has been changed or deleted since it was read.
pub(super) async fn write(
    client: &Client,
    of: &ObjectStatus,
    status: &Json,
    deadline: Deadline,
) -> Result<bool, StoreError> {
    let place = place(&of.key)?;
    let asked = client.asked(place.resource, &place.name, "patch");
    let patch = json!({ "metadata": { "resourceVersion": of.resource_version }, "status": status });
    let request = || request::patch_status(client.namespace(), &place, &patch);
    match client.send_until_known(&asked, deadline, MAX_OBJECT, request).await {
        Reply::Done(_) => Ok(true),
        Reply::Conflict => Ok(false),
        Reply::NotFound if is_as_read(client, of, &place, deadline).await? => {
            Err(Problem::NoStatus { url: client.url().to_owned(), resource: place.resource.plural }.into())
        }
        Reply::NotFound => Ok(false),
        Reply::Later(cause, _) | Reply::Silence(cause) => Err(StoreError::Unavailable(cause)),
        Reply::Refused(problem) => Err(problem.into()),
        Reply::Expired => Err(unexpected(&of.key)),
    }
}

/// Whether the object is still the one that was read. If its resource has no status, the server answers a write of it as
/// if there were no such object.
async fn is_as_read(client: &Client, of: &ObjectStatus, place: &Place, deadline: Deadline) -> Result<bool, StoreError> {
    let path = request::path_of(client.namespace(), place);
    let response = client.get_once(&path, deadline).await.map_err(StoreError::Unavailable)?;
    let found = serde_json::from_slice::<Manifest>(&response.body);
    Ok(response.status == 200 && found.is_ok_and(|found| found.metadata.resource_version == of.resource_version))
}
