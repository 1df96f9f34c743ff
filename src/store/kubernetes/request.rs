//! The HTTP requests (kubernetes.io, "Kubernetes API Concepts").

use std::fmt::Write;

use http::{Method, Request};
use serde_json::Value as Json;

use super::api::{Change, Write as ObjectWrite};
use super::manifest::{OPEN, STEM, delete_options, manifest};
use super::object::{ObjectError, Version};
use super::resource::{GROUP, Place, Resource, Stretch, VERSION};
use crate::store::Summarize;

/// Only the metadata of a list's objects.
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

const JSON: &str = "application/json";

/// A patch whose fields replace fields (RFC 7396).
const MERGE_PATCH: &str = "application/merge-patch+json";

/// The state of the objects that a list shows.
#[derive(Clone, Copy, Debug)]
pub(super) enum ListState<'a> {
    /// The committed one.
    Current,
    /// That of the server's cache, which may be behind. There are no pages then: the server ignores the limit.
    Cached,
    /// That of this resource version.
    At(&'a str),
}

/// A page of a list.
pub(super) struct ListPage<'a> {
    pub(super) stretch: &'a Stretch,
    /// The most objects.
    pub(super) limit: u32,
    /// Where the last page ended.
    pub(super) continues: Option<&'a str>,
    pub(super) state: ListState<'a>,
    pub(super) metadata_only: bool,
}

impl<'a> ListPage<'a> {
    /// A page of whole objects, from the committed state.
    pub(super) fn fresh(stretch: &'a Stretch, limit: u32, continues: Option<&'a str>) -> Self {
        Self { stretch, limit, continues, state: ListState::Current, metadata_only: false }
    }
}

fn path(namespace: &str, resource: &Resource) -> String {
    format!("/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{}", resource.plural)
}

fn request(method: Method, path: String, accept: &'static str, body: Option<Json>) -> http::Result<Request<Vec<u8>>> {
    let request = Request::builder().method(method).uri(path).header(http::header::ACCEPT, accept);
    match body {
        Some(body) => request.header(http::header::CONTENT_TYPE, JSON).body(body.to_string().into_bytes()),
        None => request.body(Vec::new()),
    }
}

/// The path of an object.
pub(super) fn path_of(namespace: &str, place: &Place) -> String {
    format!("{}/{}", path(namespace, place.resource), place.name)
}

/// Reads an object.
pub(super) fn get(namespace: &str, place: &Place) -> http::Result<Request<Vec<u8>>> {
    read(&path_of(namespace, place))
}

/// Reads what is at a path.
pub(super) fn read(path: &str) -> http::Result<Request<Vec<u8>>> {
    request(Method::GET, path.to_owned(), JSON, None)
}

/// Changes an object.
pub(super) fn write(
    namespace: &str,
    place: &Place,
    write: &ObjectWrite,
    summarize: Summarize,
) -> Result<http::Result<Request<Vec<u8>>>, ObjectError> {
    let manifest = |object, version| manifest(place, namespace, object, version, summarize);
    Ok(match write.change() {
        Change::Create(object) => create(namespace, place, manifest(object, None)?),
        Change::Replace(object, version) => {
            request(Method::PUT, path_of(namespace, place), JSON, Some(manifest(object, Some(version))?))
        }
        Change::Delete(version) => delete(namespace, place, version),
    })
}

/// Creates an object.
pub(super) fn create(namespace: &str, place: &Place, manifest: Json) -> http::Result<Request<Vec<u8>>> {
    request(Method::POST, path(namespace, place.resource), JSON, Some(manifest))
}

/// Deletes an object at this version.
pub(super) fn delete(namespace: &str, place: &Place, version: &Version) -> http::Result<Request<Vec<u8>>> {
    request(Method::DELETE, path_of(namespace, place), JSON, Some(delete_options(version)))
}

/// Changes fields of an object's status.
pub(super) fn patch_status(namespace: &str, place: &Place, patch: &Json) -> http::Result<Request<Vec<u8>>> {
    let request = Request::builder().method(Method::PATCH).uri(format!("{}/status", path_of(namespace, place)));
    let request = request.header(http::header::ACCEPT, JSON).header(http::header::CONTENT_TYPE, MERGE_PATCH);
    request.body(patch.to_string().into_bytes())
}

/// Reads a page of a list.
pub(super) fn list(namespace: &str, page: &ListPage<'_>) -> http::Result<Request<Vec<u8>>> {
    let mut path = path(namespace, page.stretch.resource);
    // Writing to a string can't fail.
    let _ = match (page.state, page.continues) {
        (ListState::Cached, _) => write!(path, "?resourceVersion=0"),
        (ListState::At(version), None) => {
            write!(path, "?limit={}&resourceVersion={version}&resourceVersionMatch=Exact", page.limit)
        }
        // A token names the state by itself.
        (ListState::Current | ListState::At(_), _) => write!(path, "?limit={}", page.limit),
    };
    select(&mut path, page.stretch);
    if let Some(continues) = page.continues {
        // A token is base64 for URLs, without padding.
        path.extend(["&continue=", continues]);
    }
    request(Method::GET, path, if page.metadata_only { METADATA_LIST } else { JSON }, None)
}

/// Watches a stretch from behind a resource version. The server ends the watch after some seconds.
pub(super) fn watch(namespace: &str, stretch: &Stretch, after: &str, seconds: u64) -> http::Result<Request<Vec<u8>>> {
    let mut path = path(namespace, stretch.resource);
    // Writing to a string can't fail.
    let _ = write!(path, "?watch=true&allowWatchBookmarks=true&resourceVersion={after}&timeoutSeconds={seconds}");
    select(&mut path, stretch);
    request(Method::GET, path, JSON, None)
}

/// Adds the selector of a stretch's objects.
fn select(path: &mut String, stretch: &Stretch) {
    if stretch.only_open {
        path.extend(["&labelSelector=", OPEN]);
    }
    match stretch.stems.as_deref() {
        // Label values need no escapes, and a comma and parentheses are allowed in a query (RFC 3986, section 3.4).
        Some([stem]) => path.extend(["&labelSelector=", STEM, "%3D", stem]),
        Some(stems) => path.extend(["&labelSelector=", STEM, "%20in%20(", &stems.join(","), ")"]),
        None => {}
    }
}
