//! Watches: the entries at one revision, and then etcd's own watch from the next one on.
//!
//! ```text
//!  Listing ── pages of one revision ──► Listed ──► Watching ── a connection of its own to one member
//!     ▲                                               │  ▲
//!     │ the revision is compacted, or etcd went back  │  └── it broke: from the last revision, at any member
//!     └────────────────────── Gap ────────────────────┘
//! ```
//!
//! etcd never splits a revision over two responses without `fragment`, so the last revision of a response is where the
//! watch continues. If nothing changes, etcd sends its revision from time to time (`progress_notify`, every ten
//! minutes). So a quiet watch does not fall behind a compaction.
//!
//! A new connection logs in again, so an auth token that expired does not matter. Before it is opened, a linearizable
//! read asks for etcd's revision: an etcd that was restored from a snapshot may be behind the watch, and a watch from a
//! revision in the future stays silent.

use std::time::{Duration, Instant};

use etcd_client::{Error, WatchResponse, WatchStream};
use tonic::{Code, Status};

use super::endpoint::Endpoint;
use super::failure::{self, MemberFailure};
use super::{EtcdStore, Reply, wire};
use crate::cause::Cause;
use crate::deadline::Deadline;
use crate::store::backoff::Backoff;
use crate::store::{Key, KeySpan, Position, Revision, StoreError, Update};

/// The entries of a page. Their values have a few megabytes at most.
const PAGE: u32 = 5_000;

/// How long to wait for a page or for etcd's revision, over all members.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The first and the longest pause before a connection is opened again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How long a connection without any change has to last to count as a good one.
const GOOD: Duration = Duration::from_secs(5);

/// A watch of a span.
#[derive(Debug)]
pub(in crate::store) struct EtcdWatch {
    /// A store of its own: its connections are not shared.
    store: EtcdStore,
    span: KeySpan,
    stage: Stage,
    /// The connection of the watch.
    open: Option<OpenWatch>,
    /// The ID of the etcd cluster. A snapshot is usually restored into a new one.
    cluster: Option<u64>,
    /// Set after a failure.
    pauses: Option<Backoff>,
    /// Whether the caller was told of one, and not yet that it is over.
    has_failed: bool,
}

#[derive(Debug)]
enum Stage {
    /// The next page, and the revision of all pages once the first one was read.
    Listing { from: Key, at: Option<u64> },
    /// All entries of this revision were passed on.
    Listed(u64),
    /// The changes up to this revision were passed on.
    Watching { after: u64 },
}

/// A watch that a member has accepted.
#[derive(Debug)]
struct OpenWatch {
    url: String,
    stream: WatchStream,
    since: Instant,
}

/// Why a watch was not opened.
enum NotOpened {
    Failed(StoreError),
    Compacted,
}

/// A response of a watch.
enum WatchEvent {
    Changes(Update, u64),
    /// There is no other change up to this revision.
    Progress(u64),
    /// The member has accepted the watch.
    Created,
    Compacted,
    Ended(MemberFailure),
}

impl EtcdWatch {
    pub(super) fn new(store: EtcdStore, span: KeySpan, after: Option<Position>) -> Self {
        let stage = match after.as_ref().map(Position::revision) {
            None => listing(&span),
            // A position of another store is behind every revision, and so leads to a gap.
            Some(after) => Stage::Watching { after: after.map_or(u64::MAX, |Revision(at)| at.get()) },
        };
        Self { store, span, stage, open: None, cluster: None, pauses: None, has_failed: false }
    }

    pub(in crate::store) async fn next(&mut self) -> Result<Update, StoreError> {
        loop {
            let update = match &self.stage {
                Stage::Listing { .. } => self.list().await,
                Stage::Listed(at) => {
                    let at = *at;
                    self.stage = Stage::Watching { after: at };
                    return position(at).map(Update::Listed);
                }
                Stage::Watching { .. } => self.watch().await,
            };
            match update {
                Ok(Some(update)) => {
                    self.has_failed = false;
                    return Ok(update);
                }
                Ok(None) => {}
                Err(error) => {
                    self.has_failed = true;
                    self.pauses.get_or_insert_with(|| Backoff::new(PAUSES.0, PAUSES.1));
                    return Err(error);
                }
            }
        }
    }

    fn start_again(&mut self) -> Update {
        self.open = None;
        self.stage = listing(&self.span);
        Update::Gap
    }

    async fn pause(&mut self) {
        if let Some(pauses) = &mut self.pauses {
            tokio::time::sleep(pauses.next()).await;
        }
    }

    /// Reads the next page.
    async fn list(&mut self) -> Result<Option<Update>, StoreError> {
        self.pause().await;
        let Stage::Listing { from, at } = &self.stage else { return Ok(None) };
        let rest = KeySpan::from_to(from.clone(), self.span.to.clone());
        let request = wire::page_at(&self.store.prefix, &rest, PAGE, *at);
        let response = match self.store.send(request, false, Deadline::after(READ_TIMEOUT)).await? {
            Reply::Txn(response) => response,
            Reply::Compacted => return Ok(Some(self.start_again())),
        };
        let (cluster, current) = wire::cluster_and_revision(&response)?;
        let at = at.unwrap_or(current);
        let entries = wire::page(&self.store.prefix, &response)?;
        self.pauses = None;
        self.cluster = Some(cluster);
        let is_last = entries.len() < PAGE as usize;
        self.stage = match entries.last() {
            Some(last) if !is_last => Stage::Listing { from: last.key.clone().successor(), at: Some(at) },
            _ => Stage::Listed(at),
        };
        Ok(Some(entries).filter(|entries| !entries.is_empty()).map(Update::Entries))
    }

    /// Waits for the next response, on a new connection if necessary.
    async fn watch(&mut self) -> Result<Option<Update>, StoreError> {
        let Stage::Watching { after } = self.stage else { return Ok(None) };
        if self.open.is_none() {
            self.pause().await;
            if !self.is_ahead_of(after).await? {
                return Ok(Some(self.start_again()));
            }
            match open_watch(&self.store, &self.span, after).await {
                Ok(open) => {
                    self.open = Some(open);
                    return Ok(self.has_failed.then_some(Update::Resumed));
                }
                Err(NotOpened::Compacted) => return Ok(Some(self.start_again())),
                Err(NotOpened::Failed(error)) => return Err(error),
            }
        }
        let Some(open) = &mut self.open else { return Ok(None) };
        match receive(&self.store, &mut open.stream, after).await {
            WatchEvent::Changes(update, at) => {
                self.stage = Stage::Watching { after: at };
                self.pauses = None;
                Ok(Some(update))
            }
            WatchEvent::Progress(at) => {
                self.stage = Stage::Watching { after: at };
                self.pauses = None;
                Ok(None)
            }
            WatchEvent::Created => Ok(None),
            WatchEvent::Compacted => Ok(Some(self.start_again())),
            WatchEvent::Ended(failure) => self.end(&failure).map(|()| None),
        }
    }

    /// Notes that the connection has ended. A member that accepts each watch and ends it at once is as good as none.
    fn end(&mut self, failure: &MemberFailure) -> Result<(), StoreError> {
        let Some(OpenWatch { url, since, .. }) = self.open.take() else { return Ok(()) };
        tracing::debug!(endpoint = url, said = %failure, "this member of etcd ended a watch");
        self.store.errors().record_failure(&url, failure);
        match &self.pauses {
            Some(_) if since.elapsed() < GOOD => Err(StoreError::Unavailable(Cause::new(self.store.errors().text()))),
            _ => {
                self.pauses = Some(Backoff::new(PAUSES.0, PAUSES.1));
                Ok(())
            }
        }
    }

    /// Whether etcd's revision is this one or a later one of the same history.
    async fn is_ahead_of(&mut self, after: u64) -> Result<bool, StoreError> {
        let request = wire::at_revisions(&self.store.prefix, &self.span.from, &[]);
        let response = match self.store.send(request, false, Deadline::after(READ_TIMEOUT)).await? {
            Reply::Txn(response) => response,
            // It reads the current revision.
            Reply::Compacted => return Err(wire::unexpected()),
        };
        let (cluster, current) = wire::cluster_and_revision(&response)?;
        let is_other = self.cluster.replace(cluster).is_some_and(|known| known != cluster);
        Ok(current >= after && !is_other)
    }
}

fn listing(span: &KeySpan) -> Stage {
    Stage::Listing { from: span.from.clone(), at: None }
}

fn position(at: u64) -> Result<Position, StoreError> {
    wire::revision_number(at).map(Position::from).ok_or_else(wire::unexpected)
}

/// Opens the watch at one member after another.
async fn open_watch(store: &EtcdStore, span: &KeySpan, after: u64) -> Result<OpenWatch, NotOpened> {
    let round = store.members_in_order().map_err(NotOpened::Failed)?;
    let mut refusals = Vec::new();
    for endpoint in &round {
        let deadline = Deadline::after(store.member_timeout(endpoint.url()));
        let failure = match open_at(store, endpoint, span, after, deadline).await {
            Ok(Some(stream)) => {
                store.errors().record_success(endpoint.url());
                return Ok(OpenWatch { url: endpoint.url().to_owned(), stream, since: Instant::now() });
            }
            Ok(None) => return Err(NotOpened::Compacted),
            Err(MemberFailure::InvalidConfig(error)) => return Err(NotOpened::Failed(error)),
            Err(failure) => failure,
        };
        tracing::debug!(endpoint = endpoint.url(), said = %failure, "this member of etcd opened no watch");
        store.errors().record_failure(endpoint.url(), &failure);
        if let MemberFailure::Refused(error) = failure {
            refusals.push(error);
        }
    }
    let text = || StoreError::Unavailable(Cause::new(store.errors().text()));
    Err(NotOpened::Failed(store.refusal(refusals, round.len()).unwrap_or_else(text)))
}

/// Opens the watch at a member, and waits until it has accepted it; `None` if etcd has discarded the next revision.
async fn open_at(
    store: &EtcdStore,
    endpoint: &Endpoint<'_>,
    span: &KeySpan,
    after: u64,
    deadline: Deadline,
) -> Result<Option<WatchStream>, MemberFailure> {
    let client = endpoint.connect_client(deadline).await?;
    let (from, options) = wire::watch(&store.prefix, span, after);
    let mut client = client.watch_client().max_decoding_message_size(super::endpoint::MAX_RESPONSE);
    let opening = async {
        let stream = client.watch(from, Some(options)).await;
        let mut stream = stream.map_err(|e| failure::from_response_error(&e, &store.config))?;
        match receive(store, &mut stream, after).await {
            WatchEvent::Created => Ok(Some(stream)),
            WatchEvent::Compacted => Ok(None),
            WatchEvent::Ended(failure) => Err(failure),
            WatchEvent::Changes(..) | WatchEvent::Progress(_) => {
                Err(MemberFailure::InDoubt("it sent changes before it accepted the watch".to_owned()))
            }
        }
    };
    let opened = tokio::time::timeout_at(deadline.instant().into(), opening).await;
    opened.unwrap_or_else(|_| Err(failure::timed_out()))
}

/// Waits for a response. Dropping the future loses none.
async fn receive(store: &EtcdStore, stream: &mut WatchStream, after: u64) -> WatchEvent {
    match stream.message().await {
        Ok(Some(response)) => read(store, &response, after),
        Ok(None) => WatchEvent::Ended(MemberFailure::TryNextMember("it closed the watch".to_owned())),
        Err(e) => WatchEvent::Ended(failure::from_response_error(&e, &store.config)),
    }
}

fn read(store: &EtcdStore, response: &WatchResponse, after: u64) -> WatchEvent {
    if response.compact_revision() > 0 {
        return WatchEvent::Compacted;
    }
    if response.canceled() {
        return WatchEvent::Ended(canceled(store, response.cancel_reason()));
    }
    if response.created() {
        return WatchEvent::Created;
    }
    let (changes, at) = wire::changes(&store.prefix, response, after);
    match position(at) {
        Ok(position) if !changes.is_empty() => WatchEvent::Changes(Update::Changes { changes, position }, at),
        _ => WatchEvent::Progress(at),
    }
}

/// The failure that etcd means by the reason of a cancellation, such as `rpc error: code = PermissionDenied desc =
/// etcdserver: permission denied`.
fn canceled(store: &EtcdStore, reason: &str) -> MemberFailure {
    let message = reason.rsplit_once("desc = ").map_or(reason, |(_, message)| message);
    failure::from_response_error(&Error::GRpcStatus(Status::new(Code::Cancelled, message)), &store.config)
}
