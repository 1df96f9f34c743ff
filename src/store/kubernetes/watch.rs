//! Watches: a list of the span's objects at one resource version, and then the API's own watch from there.
//!
//! ```text
//!  Listing ── pages of one version ──► Entries ──► Watching ── a connection of its own
//!     ▲  ▲                                          │  ▲  ▲
//!     │  └ Resuming ── the list at a position ──────┼──┼──┘
//!     │                                             │  └── it ended or broke: from the last version
//!     └───────── Gap: the version is too old (410), or the server went back
//! ```
//!
//! An event has its object after a change. What that changes shows a comparison with what is known ([`Known`]). So a
//! watch that continues at a position first lists what was there at it. A quiet watch gets bookmarks: the server's
//! version about once a minute. They keep it from falling behind what the server still has, and show that the
//! connection is alive.
//!
//! Resource versions are opaque, but two of one resource have an order if both are numbers (Kubernetes API concepts,
//! "Resource versions"). Before a watch is opened, the current one is requested: a cluster that was restored from a
//! backup may be behind the watch, and a watch from a version in the future stays silent.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::Value as Json;

use super::client::{Client, ListError, stretch};
use super::known::{Event, Known};
use super::lists::PAGE;
use super::manifest::listed;
use super::request::{ListPage, ListState};
use super::resource::Stretch;
use super::store::KubernetesConfig;
use crate::cause::Cause;
use crate::deadline::Deadline;
use crate::store::{Backoff, Key, KeySpan, Position, StoreError, Update};

/// How long to wait for a page of the list.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for the current version, and for the start of a watch.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// When the server ends a watch. The next one reads the credentials again, and may reach another server.
const LASTS: Duration = Duration::from_secs(240);

/// How long a watch may be silent. The server sends a bookmark every minute.
const SILENCE: Duration = Duration::from_secs(90);

/// The most bytes of a line. An object has 2 MiB at most.
const MAX_LINE: usize = 4 << 20;

/// The first and the longest pause before a connection is opened again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How long a connection without any line has to last to count as a good one.
const GOOD: Duration = Duration::from_secs(5);

/// A watch of a span. Keeps the values of the span in memory.
#[derive(Debug)]
pub(in crate::store) struct KubernetesWatch {
    config: KubernetesConfig,
    span: KeySpan,
    stage: Stage,
    known: Known,
    /// A client of its own: its connections are not shared. Each failure ends it, so that the next one reads the
    /// credentials again.
    client: Option<Arc<Client>>,
    /// The connection of the watch.
    open: Option<OpenWatch>,
    /// Set after a failure.
    pauses: Option<Backoff>,
    /// Whether the caller was told of one, and not yet that it is over.
    has_failed: bool,
}

#[derive(Debug)]
enum Stage {
    /// Continues at this version, if the server still has it.
    Resuming(String),
    Listing(Listing),
    /// Passes on what is known at this version, behind this key.
    Entries {
        version: String,
        after: Option<Key>,
    },
    /// The changes up to this version were passed on.
    Watching {
        after: String,
    },
}

/// The part of a list that was read.
#[derive(Debug, Default)]
struct Listing {
    /// The version of all pages, once it is known.
    version: Option<String>,
    /// Where the next page begins.
    continues: Option<String>,
    /// Whether the caller knows the entries.
    is_resumed: bool,
}

/// A watch that the server has accepted.
struct OpenWatch {
    body: Incoming,
    /// What was received, from the first line that was not read.
    received: Vec<u8>,
    since: Instant,
    heard: Instant,
}

impl fmt::Debug for OpenWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenWatch").field("since", &self.since).field("heard", &self.heard).finish_non_exhaustive()
    }
}

/// A line of a watch (Kubernetes API concepts, "Efficient detection of changes").
#[derive(Deserialize)]
struct Line {
    r#type: String,
    object: Json,
}

/// The metadata of a bookmark, or the code of a Status object.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Notice {
    metadata: NoticeMetadata,
    code: u16,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NoticeMetadata {
    resource_version: String,
}

impl KubernetesWatch {
    pub(super) fn new(config: KubernetesConfig, span: KeySpan, after: Option<Position>) -> Self {
        let stage = match after {
            None => Stage::Listing(Listing::default()),
            Some(after) => Stage::Resuming(after.as_str().to_owned()),
        };
        let known = Known::default();
        Self { config, span, stage, known, client: None, open: None, pauses: None, has_failed: false }
    }

    pub(in crate::store) async fn next(&mut self) -> Result<Update, StoreError> {
        loop {
            let update = match &self.stage {
                Stage::Resuming(_) => self.resume().await,
                Stage::Listing(_) => self.list().await,
                Stage::Entries { .. } => Ok(self.entries()),
                Stage::Watching { .. } => self.watch().await,
            };
            match update {
                Ok(Some(update)) => {
                    self.has_failed = false;
                    return Ok(update);
                }
                Ok(None) => {}
                // It has discarded what comes next.
                Err(ListError::Expired) => {
                    self.has_failed = false;
                    return Ok(self.start_again());
                }
                Err(ListError::Store(error)) => {
                    self.has_failed = true;
                    (self.client, self.open) = (None, None);
                    self.pauses.get_or_insert_with(|| Backoff::new(PAUSES.0, PAUSES.1));
                    return Err(error);
                }
            }
        }
    }

    fn start_again(&mut self) -> Update {
        self.open = None;
        self.known = Known::default();
        self.stage = Stage::Listing(Listing::default());
        Update::Gap
    }

    async fn pause(&mut self) {
        if let Some(pauses) = &mut self.pauses {
            tokio::time::sleep(pauses.next()).await;
        }
    }

    fn client(&mut self) -> Result<Arc<Client>, StoreError> {
        if let Some(client) = &self.client {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(self.config.connect()?);
        self.client = Some(Arc::clone(&client));
        Ok(client)
    }

    fn stretch(&self) -> Result<Stretch, StoreError> {
        stretch(&self.span)
    }

    /// Whether the server has the version at which the watch is to continue.
    async fn resume(&mut self) -> Result<Option<Update>, ListError> {
        self.pause().await;
        let Stage::Resuming(version) = &self.stage else { return Ok(None) };
        let version = version.clone();
        self.ask_for(&version).await?;
        self.stage = Stage::Listing(Listing { version: Some(version), continues: None, is_resumed: true });
        Ok(None)
    }

    /// Reads the next page.
    async fn list(&mut self) -> Result<Option<Update>, ListError> {
        self.pause().await;
        let (client, stretch) = (self.client()?, self.stretch()?);
        let Stage::Listing(Listing { version, continues, is_resumed }) = &self.stage else { return Ok(None) };
        let is_resumed = *is_resumed;
        let state = version.as_deref().map_or(ListState::Current, ListState::At);
        let page = ListPage { state, ..ListPage::fresh(&stretch, PAGE, continues.as_deref()) };
        let page = client.page(&page, Deadline::after(LIST_TIMEOUT)).await?;
        self.pauses = None;
        let version = version.clone().unwrap_or(page.version);
        let is_past = page.items.last().is_some_and(|stored| stored.object.key >= self.span.to);
        for stored in page.items.iter().filter(|stored| self.span.contains(&stored.object.key)) {
            self.known.list(&stored.object);
        }
        self.stage = match page.continues.filter(|_| !is_past) {
            Some(token) => Stage::Listing(Listing { version: Some(version), continues: Some(token), is_resumed }),
            None if is_resumed => Stage::Watching { after: version },
            None => Stage::Entries { version, after: None },
        };
        Ok(None)
    }

    /// The next of the listed entries, and at last their version.
    fn entries(&mut self) -> Option<Update> {
        let Stage::Entries { version, after } = &mut self.stage else { return None };
        let entries = self.known.page(after.as_ref(), PAGE as usize);
        if let Some(last) = entries.last() {
            *after = Some(last.key.clone());
            return Some(Update::Entries(entries));
        }
        let version = std::mem::take(version);
        let position = Position::new(version.as_str());
        self.stage = Stage::Watching { after: version };
        Some(Update::Listed(position))
    }

    /// Waits for the next line, on a new connection if necessary.
    async fn watch(&mut self) -> Result<Option<Update>, ListError> {
        let Stage::Watching { after } = &self.stage else { return Ok(None) };
        let after = after.clone();
        if self.open.is_none() {
            self.pause().await;
            self.ask_for(&after).await?;
            let (client, stretch) = (self.client()?, self.stretch()?);
            let body = client.watch(&stretch, &after, LASTS, Deadline::after(OPEN_TIMEOUT)).await?;
            let now = Instant::now();
            self.open = Some(OpenWatch { body, received: Vec::new(), since: now, heard: now });
            return Ok(self.has_failed.then_some(Update::Resumed));
        }
        match self.receive().await {
            Ok(Some(line)) => self.note(&line),
            Ok(None) => self.end(Cause::new("the API server closed the watch")),
            Err(ListError::Store(StoreError::Unavailable(cause))) => self.end(cause),
            Err(error) => Err(error),
        }
    }

    /// Fails with [`ListError::Expired`] if the server's current version is before this one.
    async fn ask_for(&mut self, version: &str) -> Result<(), ListError> {
        let (client, stretch) = (self.client()?, self.stretch()?);
        let all = Stretch::all(stretch.resource);
        let first = ListPage { metadata_only: true, ..ListPage::fresh(&all, 1, None) };
        let first = client.names(&first, Deadline::after(OPEN_TIMEOUT)).await?;
        let number = |version: &str| version.parse::<u64>().ok();
        match (number(version), number(&first.version)) {
            (Some(version), Some(current)) if version <= current => Ok(()),
            // This server's versions have no order.
            (_, None) => Ok(()),
            (_, Some(_)) => Err(ListError::Expired),
        }
    }

    /// Waits for a line. Dropping the future loses none.
    async fn receive(&mut self) -> Result<Option<Vec<u8>>, ListError> {
        let (client, stretch) = (self.client()?, self.stretch()?);
        let Some(OpenWatch { body, received, heard, .. }) = &mut self.open else { return Ok(None) };
        loop {
            if let Some(end) = received.iter().position(|byte| *byte == b'\n') {
                return Ok(Some(received.drain(..=end).collect()));
            }
            if received.len() > MAX_LINE {
                let why = format!("a line of the API server's watch has more than {} MiB", MAX_LINE >> 20);
                return Err(ListError::Store(StoreError::Corrupt(Cause::new(why))));
            }
            let until = (*heard + SILENCE).into();
            let Ok(part) = tokio::time::timeout_at(until, client.next_part(&stretch, body)).await else {
                let why = format!("the API server sent nothing to a watch for {SILENCE:?}");
                return Err(ListError::Store(StoreError::Unavailable(Cause::new(why))));
            };
            let Some(part) = part? else { return Ok(None) };
            received.extend_from_slice(&part);
            *heard = Instant::now();
        }
    }

    /// Reads a line.
    fn note(&mut self, line: &[u8]) -> Result<Option<Update>, ListError> {
        let Line { r#type, object } = serde_json::from_slice(line).map_err(corrupt)?;
        let event = match r#type.as_str() {
            "ADDED" | "MODIFIED" => Event::Written,
            "DELETED" => Event::Deleted,
            "BOOKMARK" => {
                let Notice { metadata, .. } = Notice::deserialize(&object).map_err(corrupt)?;
                self.passed(metadata.resource_version);
                return Ok(None);
            }
            "ERROR" => {
                let Notice { code, .. } = Notice::deserialize(&object).map_err(corrupt)?;
                let failure = self.client()?.watch_failure(&self.stretch()?, code, &object);
                return match failure {
                    ListError::Store(StoreError::Unavailable(cause)) => self.end(cause),
                    failure => Err(failure),
                };
            }
            // Versions of the API to come may have others, which are about no object.
            _ => return Ok(None),
        };
        let Some(stored) = listed(self.stretch()?.resource, object).map_err(corrupt)? else { return Ok(None) };
        let version = stored.version.resource_version.clone();
        let is_within = self.span.contains(&stored.object.key);
        let change = if is_within { self.known.note(event, &stored) } else { None };
        self.passed(version.clone());
        let position = Position::new(version);
        Ok(change.map(|change| Update::Changes { changes: vec![change], position }))
    }

    /// Notes that everything up to a version was received.
    fn passed(&mut self, version: String) {
        self.stage = Stage::Watching { after: version };
        self.pauses = None;
    }

    /// Notes that the connection has ended. A server that accepts each watch and ends it at once is as good as none.
    fn end(&mut self, cause: Cause) -> Result<Option<Update>, ListError> {
        let Some(open) = self.open.take() else { return Ok(None) };
        tracing::debug!(said = %cause, "the API server ended a watch");
        self.client = None;
        match &self.pauses {
            Some(_) if open.since.elapsed() < GOOD => Err(ListError::Store(StoreError::Unavailable(cause))),
            _ => {
                self.pauses = Some(Backoff::new(PAUSES.0, PAUSES.1));
                Ok(None)
            }
        }
    }
}

fn corrupt(error: impl Error + Send + Sync + 'static) -> ListError {
    ListError::Store(StoreError::Corrupt(Cause::new(error)))
}
