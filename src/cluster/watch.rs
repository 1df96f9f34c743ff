//! What happens in the cluster, as soon as the API server says so: that an object of a kind was deleted, and what kube-ipam
//! itself has said of pods. Nothing of the objects is kept but the place from which to go on.

use std::collections::BTreeMap;
use std::time::Duration;

use http_body_util::BodyExt;
use kube::client::Body;
use kube::core::Request;
use kube::core::params::{ListParams, WatchParams};
use serde::Deserialize;

use super::answer::cut;
use super::census::UNFINISHED;
use super::connection::LARGEST;
use super::event::{ERROR_LABEL, LABEL, REFUSED, TAKEN_OVER};
use super::object::{Kind, Object};
use super::{ClusterError, Connection, failure};
use crate::store::Deadline;

/// How long the begin of an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// After so many seconds the server ends a watch by itself, and the next one may find another server.
const LASTS: u32 = 240;

/// A connection on which nothing comes any more is given up after that.
const OVERDUE: Duration = Duration::from_secs(LASTS as u64 + 30);

/// All objects of a kind, their metadata only.
#[derive(Debug)]
pub struct Watch {
    object: Object,
    /// The moment up to which everything was seen.
    version: Option<String>,
}

/// What a watch hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// An object was deleted, or a pod has run to its end.
    Deleted,
    /// A node has refused a pod its address: the word of the error, in whatever version's words.
    Refused(&'a str),
    /// A pod has an address that another one held.
    TakenOver,
}

/// How a watch ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its time was over. The next one goes on where it was.
    Closed,
    /// The server has forgotten the moment from which it was to go on (410). What happened since may have been missed.
    Stale,
    /// The cluster has no objects of this kind.
    Absent,
}

/// A list, of which only the moment is read.
#[derive(Deserialize)]
struct List {
    metadata: Moment,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Moment {
    resource_version: String,
    labels: BTreeMap<String, String>,
}

/// A line of a watch (Kubernetes API concepts, "Efficient detection of changes").
#[derive(Deserialize)]
struct Line {
    r#type: String,
    object: Seen,
}

/// Metadata of any object, or the Status of an error.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Seen {
    metadata: Moment,
    code: u16,
    message: String,
}

impl Watch {
    /// A watch of pods that have not run to their end, of our own events, or of all objects of another kind.
    pub fn of(kind: Kind) -> Self {
        Self { object: Object::all(kind), version: None }
    }

    /// Whether it has to begin at the present, and knows of nothing before.
    pub fn begins_anew(&self) -> bool {
        self.version.is_none()
    }

    /// What it watches, for texts.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// Watches until the server ends it, or it breaks. After that it can be run again, and goes on where it was.
    pub async fn run(&mut self, api: &Connection, mut hear: impl FnMut(Heard<'_>)) -> Result<Ended, ClusterError> {
        let version = match self.version.clone() {
            Some(version) => version,
            None => match self.present(api).await? {
                Some(version) => version,
                None => return Ok(Ended::Absent),
            },
        };
        self.version = Some(version.clone());
        let params = WatchParams::default().timeout(LASTS);
        let params = match self.object.kind {
            // A pod that runs to its end leaves what is watched, which comes as a deletion.
            Kind::Pod => params.fields(UNFINISHED),
            Kind::Event => params.labels(LABEL),
            _ => params,
        };
        let request =
            Request::new(self.object.path()).watch_metadata(&params, &version).map_err(|_| self.nameless())?;
        let (status, body) = api.within(Deadline::after(PATIENCE), api.send(request)).await?;
        match status {
            200 => {
                let following = self.follow(api, body, &mut hear);
                api.within(Deadline::after(OVERDUE), following).await
            }
            410 => Ok(self.stale()),
            _ => {
                let answer = api.within(Deadline::after(PATIENCE), api.whole(status, body, &self.object)).await?;
                Err(answer.failure(&self.object))
            }
        }
    }

    /// The present moment, by a list of one.
    async fn present(&self, api: &Connection) -> Result<Option<String>, ClusterError> {
        let list = Request::new(self.object.path()).list_metadata(&ListParams::default().limit(1));
        let request = list.map_err(|_| self.nameless())?;
        let answer = api.ask(request, &self.object, Deadline::after(PATIENCE)).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        let List { metadata } = answer.document(&self.object)?;
        Ok(Some(metadata.resource_version))
    }

    async fn follow(
        &mut self,
        api: &Connection,
        mut body: Body,
        hear: &mut impl FnMut(Heard<'_>),
    ) -> Result<Ended, ClusterError> {
        let mut rest = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| failure::of_reading(&api.url, &self.object, LARGEST, &e))?;
            let Ok(data) = frame.into_data() else { continue };
            rest.extend_from_slice(&data);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let line: Line = serde_json::from_slice(&line).map_err(|e| self.strange(api, e.to_string()))?;
                if let Some(ended) = self.note(api, line, hear)? {
                    return Ok(ended);
                }
            }
            if rest.len() > LARGEST {
                return Err(self.strange(api, format!("a line of it is larger than {} MiB", LARGEST >> 20)));
            }
        }
        Ok(Ended::Closed)
    }

    fn note(
        &mut self,
        api: &Connection,
        line: Line,
        hear: &mut impl FnMut(Heard<'_>),
    ) -> Result<Option<Ended>, ClusterError> {
        let Line { r#type, object } = line;
        match r#type.as_str() {
            "ERROR" if object.code == 410 => return Ok(Some(self.stale())),
            "ERROR" => {
                let (url, status, said) = (api.url.clone(), object.code, cut(&object.message));
                return Err(ClusterError::Failing { url, status, said });
            }
            // An event goes after an hour, which is no news.
            "DELETED" if self.object.kind != Kind::Event => hear(Heard::Deleted),
            "ADDED" if self.object.kind == Kind::Event => said(&object.metadata.labels).into_iter().for_each(hear),
            _ => {}
        }
        if !object.metadata.resource_version.is_empty() {
            self.version = Some(object.metadata.resource_version);
        }
        Ok(None)
    }

    fn stale(&mut self) -> Ended {
        self.version = None;
        Ended::Stale
    }

    fn strange(&self, api: &Connection, why: String) -> ClusterError {
        ClusterError::Strange { url: api.url.clone(), object: Box::new(self.object.clone()), why }
    }

    fn nameless(&self) -> ClusterError {
        ClusterError::Name { what: "name", text: self.object.name.clone() }
    }
}

/// What an event of ours says, by its labels.
fn said(labels: &BTreeMap<String, String>) -> Option<Heard<'_>> {
    match labels.get(LABEL)?.as_str() {
        REFUSED => Some(Heard::Refused(labels.get(ERROR_LABEL).map_or("", String::as_str))),
        TAKEN_OVER => Some(Heard::TakenOver),
        _ => None,
    }
}
