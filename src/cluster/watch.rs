//! Watches objects of one kind for deletions, or the events that kube-ipam publishes. Keeps the resourceVersion to
//! continue from, and nothing of the objects.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::body::Incoming;
use kube::core::Request;
use kube::core::params::{ListParams, WatchParams};
use serde::Deserialize;

use super::census::UNFINISHED;
use super::connection::MAX_BODY;
use super::event::{ERROR_LABEL, LABEL, REFUSED, TAKEN_OVER};
use super::object::{ObjectRef, ResourceKind};
use super::response::cut;
use super::{ClusterError, Connection, ResponseProblem};
use crate::deadline::Deadline;

/// How long to wait for the headers of a response.
const API_TIMEOUT: Duration = Duration::from_secs(30);

/// When the server ends a watch, in seconds. The next watch may reach another server.
const WATCH_SECONDS: u32 = 240;

/// When to give up a connection that the server has not closed.
const WATCH_TIMEOUT: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 30);

/// Watches all objects of a kind. Pods are read with their node, other objects only with their metadata.
#[derive(Debug)]
pub struct Watch {
    object: ObjectRef,
    /// All changes up to this version were delivered.
    resource_version: Option<String>,
}

/// What a watch delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchEvent<'a> {
    /// A pod was deleted or has finished. Holds its node; `None` if it was not scheduled.
    PodDeleted(Option<&'a str>),
    /// An object of another kind was deleted.
    Deleted,
    /// A node refused to assign an address to a pod. Holds the error's label, which may come from another version.
    Refused(&'a str),
    /// A pod has taken over an address.
    TakenOver,
}

/// How a watch ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchEnd {
    /// The server ended it after `WATCH_SECONDS`. The next watch continues from there.
    TimedOut,
    /// The server has compacted the version to continue from (410). Changes since then may have been missed.
    Expired,
    /// The cluster does not have this kind.
    NoSuchResource,
}

/// The metadata of a list.
#[derive(Deserialize)]
struct List {
    metadata: ListMeta,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListMeta {
    resource_version: String,
    labels: BTreeMap<String, String>,
}

/// The node of a pod. It is in the spec, so a watch of pods can't request only the metadata.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    node_name: Option<String>,
}

/// A line of a watch (Kubernetes API concepts, "Efficient detection of changes").
#[derive(Deserialize)]
struct Line {
    r#type: String,
    object: Seen,
}

/// The metadata of an object, the node of a pod, or the Status of an error.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Seen {
    metadata: ListMeta,
    spec: PodSpec,
    code: u16,
    message: String,
}

impl Watch {
    /// Watches unfinished pods, our own events, or all objects of another kind.
    pub fn new(kind: ResourceKind) -> Self {
        Self { object: ObjectRef::all(kind), resource_version: None }
    }

    /// What is watched, for log lines.
    pub fn object(&self) -> &ObjectRef {
        &self.object
    }

    /// Runs until the server ends the watch or it fails. The next run continues from there.
    pub async fn run(
        &mut self,
        api: &Connection,
        mut on_event: impl FnMut(WatchEvent<'_>),
    ) -> Result<WatchEnd, ClusterError> {
        let version = match self.resource_version.clone() {
            Some(version) => version,
            None => match self.current_version(api).await? {
                Some(version) => version,
                None => return Ok(WatchEnd::NoSuchResource),
            },
        };
        self.resource_version = Some(version.clone());
        let params = WatchParams::default().timeout(WATCH_SECONDS);
        let params = match self.object.kind {
            // A pod that finishes no longer matches the selector. The server reports that as a deletion.
            ResourceKind::Pod => params.fields(UNFINISHED),
            ResourceKind::Event => params.labels(LABEL),
            _ => params,
        };
        let request = Request::new(self.object.path());
        let request = match self.object.kind {
            ResourceKind::Pod => request.watch(&params, &version),
            _ => request.watch_metadata(&params, &version),
        };
        let request = request.map_err(|_| self.object.invalid_name())?;
        let response = api.endpoint.within(Deadline::after(API_TIMEOUT), api.endpoint.send(request)).await?;
        let (status, body) = (response.status().as_u16(), response.into_body());
        match status {
            200 => {
                let following = self.follow(api, body, &mut on_event);
                api.endpoint.within(Deadline::after(WATCH_TIMEOUT), following).await
            }
            410 => Ok(self.expire()),
            _ => {
                let response = api
                    .endpoint
                    .within(Deadline::after(API_TIMEOUT), api.read_body(status, body, &self.object))
                    .await?;
                Err(response.failure(&self.object))
            }
        }
    }

    /// The current resourceVersion, from a list limited to one object; `None` if the resource does not exist.
    async fn current_version(&self, api: &Connection) -> Result<Option<String>, ClusterError> {
        let list = Request::new(self.object.path()).list_metadata(&ListParams::default().limit(1));
        let request = list.map_err(|_| self.object.invalid_name())?;
        let response = api.request(request, &self.object, Deadline::after(API_TIMEOUT)).await?;
        if response.status == 404 {
            return Ok(None);
        }
        let List { metadata } = response.document(&self.object)?;
        Ok(Some(metadata.resource_version))
    }

    async fn follow(
        &mut self,
        api: &Connection,
        mut body: Incoming,
        on_event: &mut impl FnMut(WatchEvent<'_>),
    ) -> Result<WatchEnd, ClusterError> {
        let mut rest = Vec::new();
        while let Some(part) = api.endpoint.next_part(&mut body).await? {
            rest.extend_from_slice(&part);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let line: Line = serde_json::from_slice(&line).map_err(|e| self.unexpected(api, e))?;
                if let Some(ended) = self.on_line(api, line, on_event)? {
                    return Ok(ended);
                }
            }
            if rest.len() > MAX_BODY {
                return Err(self.unexpected(api, ResponseProblem::TooLarge(MAX_BODY)));
            }
        }
        Ok(WatchEnd::TimedOut)
    }

    fn on_line(
        &mut self,
        api: &Connection,
        line: Line,
        on_event: &mut impl FnMut(WatchEvent<'_>),
    ) -> Result<Option<WatchEnd>, ClusterError> {
        let Line { r#type, object } = line;
        match r#type.as_str() {
            "ERROR" if object.code == 410 => return Ok(Some(self.expire())),
            "ERROR" => {
                let (url, status, message) = (api.url().to_owned(), object.code, cut(&object.message));
                return Err(ClusterError::ServerError { url, status, message });
            }
            "DELETED" if self.object.kind == ResourceKind::Pod => {
                let node = object.spec.node_name.as_deref().filter(|node| !node.is_empty());
                on_event(WatchEvent::PodDeleted(node));
            }
            // Events expire after an hour. That says nothing about their pods.
            "DELETED" if self.object.kind != ResourceKind::Event => on_event(WatchEvent::Deleted),
            "ADDED" if self.object.kind == ResourceKind::Event => {
                event_from(&object.metadata.labels).into_iter().for_each(on_event)
            }
            _ => {}
        }
        if !object.metadata.resource_version.is_empty() {
            self.resource_version = Some(object.metadata.resource_version);
        }
        Ok(None)
    }

    fn expire(&mut self) -> WatchEnd {
        self.resource_version = None;
        WatchEnd::Expired
    }

    fn unexpected(&self, api: &Connection, problem: impl Into<ResponseProblem>) -> ClusterError {
        let (url, object) = (api.url().to_owned(), Box::new(self.object.clone()));
        ClusterError::UnexpectedResponse { url, object, problem: problem.into() }
    }
}

/// Reads the labels of one of our events.
fn event_from(labels: &BTreeMap<String, String>) -> Option<WatchEvent<'_>> {
    match labels.get(LABEL)?.as_str() {
        REFUSED => Some(WatchEvent::Refused(labels.get(ERROR_LABEL).map_or("", String::as_str))),
        TAKEN_OVER => Some(WatchEvent::TakenOver),
        _ => None,
    }
}
