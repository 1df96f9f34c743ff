//! Sends the requests of the protocol, and turns what comes back into its answers.
//!
//! Whatever has certainly not been applied is sent again until the deadline, as are reads. A write without an answer is
//! not: the protocol looks up what became of it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::Value as Json;

use super::answer::{Asked, Reply, Response, retry_after};
use super::api::{Answer, Change, Request, Stored, Write};
use super::lists;
use super::manifest::{Metadata, listed, stored};
use super::object::{Object, ObjectError};
use super::request::{self, ListPage};
use super::resource::{Place, Resource, Stretch};
use crate::apiserver::{ConnectionError, Endpoint};
use crate::cause::Cause;
use crate::deadline::Deadline;
use crate::store::{Backoff, Key, KeySpan, StoreError, Summarize, Summary};

/// The most bytes of an object. etcd accepts none above 1.5 MiB.
pub(super) const MAX_OBJECT: usize = 2 << 20;

/// The most bytes of a list.
const MAX_LIST: usize = 256 << 20;

/// The first and the longest pause before a request is sent again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// The verbs of RBAC that a store needs.
pub(super) const STORE_VERBS: [&str; 5] = ["get", "list", "create", "update", "delete"];

/// The API server, for the objects of one namespace.
pub(super) struct Client {
    endpoint: Endpoint,
    namespace: String,
    summarize: Summarize,
    /// The verbs of RBAC that it needs.
    verbs: &'static [&'static str],
}

/// The summary of a store that shows none.
pub(super) fn without_summary(_: &Key, _: &[u8]) -> Summary {
    Summary::new()
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.endpoint.url()).finish_non_exhaustive()
    }
}

/// A page of a list.
pub(super) struct Listed<T> {
    pub(super) items: Vec<T>,
    /// Where the next page begins.
    pub(super) continues: Option<String>,
    /// The resource version of the list's state, which is that of its first page.
    pub(super) version: String,
}

/// How a page of a list or a watch failed.
pub(super) enum ListError {
    /// The server no longer has the state from which it was to continue. The list has to be read from the start.
    Expired,
    Store(StoreError),
}

impl ListError {
    /// The error for a list that can't be read anew.
    pub(super) fn into_store_error(self) -> StoreError {
        match self {
            Self::Expired => StoreError::Unavailable(Cause::new("the API server no longer has the state of a list")),
            Self::Store(error) => error,
        }
    }
}

impl From<StoreError> for ListError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[derive(Deserialize)]
struct List<T> {
    metadata: ListMetadata,
    /// Null if the list is empty.
    items: Option<Vec<T>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListMetadata {
    r#continue: String,
    resource_version: String,
}

#[derive(Deserialize)]
struct MetadataOnly {
    metadata: Metadata,
}

impl Client {
    pub(super) fn new(endpoint: Endpoint, namespace: String) -> Self {
        Self { endpoint, namespace, summarize: without_summary, verbs: &STORE_VERBS }
    }

    /// Needs these verbs of RBAC alone.
    pub(super) fn needing(self, verbs: &'static [&'static str]) -> Self {
        Self { verbs, ..self }
    }

    /// Shows summaries beside the values that it writes.
    pub(super) fn showing(self, summarize: Summarize) -> Self {
        Self { summarize, ..self }
    }

    /// The answer to a request, and how long it took.
    pub(super) async fn answer(&self, request: &Request, deadline: Deadline) -> (Answer, Duration) {
        let began = Instant::now();
        let answer = match request {
            Request::Get(key) => self.get(key, deadline).await,
            Request::Write(write) => self.write(write, deadline).await,
            Request::Spans { reads, .. } => match lists::read(self, reads, deadline).await {
                Ok(results) => Answer::Spans(results),
                Err(error) => Answer::Failed(error),
            },
        };
        (answer, began.elapsed())
    }

    /// The object of a key.
    pub(super) async fn get(&self, key: &Key, deadline: Deadline) -> Answer {
        let place = match place(key) {
            Ok(place) => place,
            Err(error) => return Answer::Failed(error),
        };
        let asked = self.asked(place.resource, &place.name, "get");
        match self.send_until_known(&asked, deadline, MAX_OBJECT, || request::get(&self.namespace, &place)).await {
            Reply::Done(body) => match parsed(key, &body) {
                Ok(seen) => Answer::Seen(Some(seen)),
                Err(error) => Answer::Failed(error),
            },
            Reply::NotFound => Answer::Seen(None),
            Reply::Later(cause, _) | Reply::Silence(cause) => Answer::Failed(StoreError::Unavailable(cause)),
            Reply::Refused(problem) => Answer::Failed(problem.into()),
            Reply::Conflict | Reply::Expired => Answer::Failed(unexpected(key)),
        }
    }

    async fn write(&self, write: &Write, deadline: Deadline) -> Answer {
        let key = write.key();
        let place = match place(key) {
            Ok(place) => place,
            Err(error) => return Answer::Failed(error),
        };
        let (verb, wanted) = match write.change() {
            Change::Create(wanted) => ("create", Some(wanted)),
            Change::Replace(wanted, _) => ("update", Some(wanted)),
            Change::Delete(_) => ("delete", None),
        };
        let request = match request::write(&self.namespace, &place, write, self.summarize) {
            Ok(request) => request.map_err(|error| StoreError::Corrupt(Cause::new(error))),
            Err(error) => Err(StoreError::Corrupt(Cause::new(error))),
        };
        let request = match request {
            Ok(request) => request,
            Err(error) => return Answer::Failed(error),
        };
        let asked = self.asked(place.resource, &place.name, verb);
        match self.send_until_known(&asked, deadline, MAX_OBJECT, || Ok(request.clone())).await {
            Reply::Done(body) => match wanted.map(|wanted| applied(wanted, &body)).transpose() {
                Ok(seen) => Answer::Seen(seen),
                // It was applied, and what it made can't be named.
                Err(error) => Answer::Silence(Cause::new(error)),
            },
            Reply::Conflict | Reply::NotFound => Answer::Conflict,
            Reply::Silence(cause) => Answer::Silence(cause),
            Reply::Later(cause, _) => Answer::Failed(StoreError::Unavailable(cause)),
            Reply::Refused(problem) => Answer::Failed(problem.into()),
            Reply::Expired => Answer::Silence(Cause::new(unexpected(key))),
        }
    }

    /// A page of objects, whatever their `spec` is.
    pub(super) async fn objects(&self, page: &ListPage<'_>, deadline: Deadline) -> Result<Listed<Json>, ListError> {
        self.list(page, deadline).await
    }

    /// The answer to a GET that is sent once.
    pub(super) async fn get_once(&self, path: &str, deadline: Deadline) -> Result<Response, Cause> {
        let request = request::read(path).map_err(Cause::new)?;
        self.send(request, deadline, MAX_OBJECT).await.map_err(Cause::new)
    }

    /// The API server's URL.
    pub(super) fn url(&self) -> &str {
        self.endpoint.url()
    }

    /// The namespace of the objects.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A page of objects.
    pub(super) async fn page(&self, page: &ListPage<'_>, deadline: Deadline) -> Result<Listed<Arc<Stored>>, ListError> {
        let Listed { items, continues, version } = self.objects(page, deadline).await?;
        let resource = page.stretch.resource;
        let items = items.into_iter().filter_map(|item| listed(resource, item).map_err(corrupt).transpose());
        Ok(Listed { items: items.collect::<Result<_, _>>().map_err(ListError::Store)?, continues, version })
    }

    /// The names of a page of objects.
    pub(super) async fn names(&self, page: &ListPage<'_>, deadline: Deadline) -> Result<Listed<String>, ListError> {
        let Listed { items, continues, version } = self.list::<MetadataOnly>(page, deadline).await?;
        Ok(Listed { items: items.into_iter().map(|item| item.metadata.name).collect(), continues, version })
    }

    async fn list<T: for<'de> Deserialize<'de>>(
        &self,
        page: &ListPage<'_>,
        deadline: Deadline,
    ) -> Result<Listed<T>, ListError> {
        let resource = page.stretch.resource;
        let asked = self.asked(resource, "", "list");
        let reply = self.send_until_known(&asked, deadline, MAX_LIST, || request::list(&self.namespace, page)).await;
        let body = match reply {
            Reply::Done(body) => body,
            reply => return Err(failed(resource, reply)),
        };
        let List { metadata, items } =
            serde_json::from_slice(&body).map_err(|e| ListError::Store(StoreError::Corrupt(Cause::new(e))))?;
        Ok(Listed {
            items: items.unwrap_or_default(),
            continues: Some(metadata.r#continue).filter(|token| !token.is_empty()),
            version: metadata.resource_version,
        })
    }

    /// Opens a watch of a stretch from behind a resource version, which the server ends after this time. Returns the
    /// body with its lines.
    pub(super) async fn watch(
        &self,
        stretch: &Stretch,
        after: &str,
        lasts: Duration,
        deadline: Deadline,
    ) -> Result<Incoming, ListError> {
        let request = request::watch(&self.namespace, stretch, after, lasts.as_secs());
        let request = request.map_err(|e| ListError::Store(StoreError::Corrupt(Cause::new(e))))?;
        let exchange = async {
            let response = self.endpoint.send(request).await?;
            let (status, retry_after) = (response.status().as_u16(), retry_after(response.headers()));
            if status == 200 {
                return Ok(Ok(response.into_body()));
            }
            let body = self.endpoint.read(response.into_body(), MAX_OBJECT).await?;
            Ok(Err(Response { status, retry_after, body }))
        };
        let asked = self.asked(stretch.resource, "", "watch");
        match self.endpoint.within(deadline, exchange).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(response)) => Err(failed(stretch.resource, asked.reply(response))),
            Err(error) => Err(failed(stretch.resource, asked.no_reply(error))),
        }
    }

    /// The next part of a watch's body; `None` at its end. Dropping the future loses nothing.
    pub(super) async fn next_part(&self, stretch: &Stretch, body: &mut Incoming) -> Result<Option<Vec<u8>>, ListError> {
        let part = self.endpoint.next_part(body).await;
        part.map_err(|error| failed(stretch.resource, self.asked(stretch.resource, "", "watch").no_reply(error)))
    }

    /// The failure that the server reports in a watch: the Status object with this code.
    pub(super) fn watch_failure(&self, stretch: &Stretch, status: u16, object: &Json) -> ListError {
        let response = Response { status, retry_after: None, body: object.to_string().into_bytes() };
        failed(stretch.resource, self.asked(stretch.resource, "", "watch").reply(response))
    }

    /// Sends a request again and again until it was applied, or won't be, or may have been.
    pub(super) async fn send_until_known(
        &self,
        asked: &Asked<'_>,
        deadline: Deadline,
        max_size: usize,
        request: impl Fn() -> http::Result<http::Request<Vec<u8>>>,
    ) -> Reply {
        let mut pauses = Backoff::new(PAUSES.0, PAUSES.1);
        loop {
            let request = match request() {
                Ok(request) => request,
                Err(error) => return Reply::Later(Cause::new(error), None),
            };
            let reply = match self.send(request, deadline, max_size).await {
                Ok(response) => asked.reply(response),
                Err(error) => asked.no_reply(error),
            };
            let Reply::Later(cause, after) = reply else { return reply };
            let pause = pauses.next().max(after.unwrap_or_default());
            if deadline.remaining() <= pause {
                return Reply::Later(cause, after);
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn send(
        &self,
        request: http::Request<Vec<u8>>,
        deadline: Deadline,
        max_size: usize,
    ) -> Result<Response, ConnectionError> {
        let exchange = async {
            let response = self.endpoint.send(request).await?;
            let (status, retry_after) = (response.status().as_u16(), retry_after(response.headers()));
            let body = self.endpoint.read(response.into_body(), max_size).await?;
            Ok(Response { status, retry_after, body })
        };
        self.endpoint.within(deadline, exchange).await
    }

    pub(super) fn asked<'a>(&'a self, resource: &'static Resource, name: &'a str, verb: &'static str) -> Asked<'a> {
        let credentials = self.endpoint.credentials().display().to_string();
        Asked {
            url: self.endpoint.url(),
            credentials,
            namespace: &self.namespace,
            resource,
            name,
            verb,
            verbs: self.verbs,
        }
    }
}

/// How a list or a watch failed, by the answer to it.
fn failed(resource: &Resource, reply: Reply) -> ListError {
    ListError::Store(match reply {
        Reply::Expired => return ListError::Expired,
        Reply::Later(cause, _) | Reply::Silence(cause) => StoreError::Unavailable(cause),
        Reply::Refused(problem) => problem.into(),
        Reply::Done(_) | Reply::NotFound | Reply::Conflict => {
            let why = format!("the API server answered a list of {} as if it were an object", resource.plural);
            StoreError::Corrupt(Cause::new(why))
        }
    })
}

/// The object of a key.
pub(super) fn place(key: &Key) -> Result<Place, StoreError> {
    Place::of(key).ok_or_else(|| StoreError::Denied(Cause::new(format!("no resource holds keys like {key}"))))
}

/// The objects that a span is about.
pub(super) fn stretch(span: &KeySpan) -> Result<Stretch, StoreError> {
    Stretch::of(span).ok_or_else(|| {
        let why = format!("no resource holds all keys from {} to {}", span.from, span.to);
        StoreError::Denied(Cause::new(why))
    })
}

fn parsed(key: &Key, body: &[u8]) -> Result<Arc<Stored>, StoreError> {
    let manifest = serde_json::from_slice(body).map_err(ObjectError::Spec).map_err(corrupt)?;
    stored(key, manifest).map_err(corrupt)
}

/// The object that a write has made. It is damaged only if what it replaced was.
fn applied(wanted: &Object, body: &[u8]) -> Result<Arc<Stored>, StoreError> {
    let made = parsed(&wanted.key, body)?;
    match made.object.unreadable_mark().is_none() && made.object.is_damaged() == wanted.is_damaged() {
        true => Ok(made),
        false => {
            let why =
                format!("the object of {} is not what was written: something has changed it on its way", wanted.key);
            Err(StoreError::Corrupt(Cause::new(why)))
        }
    }
}

fn corrupt(error: ObjectError) -> StoreError {
    StoreError::Corrupt(Cause::new(error))
}

/// The error for an answer that is not one to the request.
pub(super) fn unexpected(key: &Key) -> StoreError {
    StoreError::Corrupt(Cause::new(format!(
        "the API server answered the request about {key} as if it were another one"
    )))
}
