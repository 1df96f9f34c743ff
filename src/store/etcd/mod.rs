//! A store in etcd, shared by all nodes of a cluster.
//!
//! A request goes to one member at a time, because a client with several members may stay with a dead one
//! (grpc/grpc-rust issue 2839). The member that replied last is tried first, and a node remembers it between calls. The
//! kind of failure decides what happens next:
//!
//! ```text
//! no connection, a learner, no leader, overloaded  nothing was applied: try the next member at once
//! no reply, a closed connection, or a text that    in doubt: it may have been applied, or may still be. A read
//! is not etcd's                                    tries the next member; a write ends, as it must not be sent twice
//! no permission, wrong password, over a limit      nothing was applied: try the next member; fail after the last
//! ```
//!
//! A member that failed is tried after those that did not, until it serves a request again. One that left a request in
//! doubt comes last. If the deadline passes, the error quotes what each member returned for this request and earlier
//! ones.
//!
//! The futures need a tokio runtime with I/O and timers.

mod certificate;
mod endpoint;
mod failure;
mod hint;
mod history;
mod inspect;
mod members;
mod rights;
mod watch;
mod wire;

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{KvClient, TxnResponse};

use self::endpoint::Endpoint;
use self::failure::MemberFailure;
use self::hint::Hint;
pub use self::inspect::{EtcdInspector, MemberStatus};
use self::members::MemberErrors;
pub use self::rights::{KeyPermission, Rights};
pub(super) use self::watch::EtcdWatch;
use super::backoff::Backoff;
use super::watch::{Source, Watch};
use super::{EtcdConfig, Key, KeyHistory, KeySpan, Outcome, Position, Store, StoreError, Txn};
use crate::cause::Cause;
use crate::deadline::Deadline;

/// How long one of several members may take to reply. It doubles after each timeout.
const MEMBER_TIMEOUT: Duration = Duration::from_secs(1);

const MAX_DOUBLINGS: u32 = 4;

/// A store in etcd, below a key prefix.
pub struct EtcdStore {
    config: EtcdConfig,
    prefix: String,
    hint: Hint,
    session: Mutex<Option<Session>>,
    errors: Mutex<MemberErrors>,
}

/// A member's reply to a request.
enum Reply {
    Txn(TxnResponse),
    /// Nothing was done: the request reads a revision that etcd has discarded.
    Compacted,
}

/// A connection that has served a request.
#[derive(Clone)]
struct Session {
    url: String,
    client: KvClient,
}

impl EtcdStore {
    /// A store on these members. It connects with the first request. `node_folder` keeps the URL of the last good
    /// member between processes.
    pub fn new(config: EtcdConfig, node_folder: Option<&Path>) -> Self {
        let prefix = format!("{}/", config.prefix.trim_end_matches('/'));
        Self { config, prefix, hint: Hint::new(node_folder), session: Mutex::default(), errors: Mutex::default() }
    }

    fn session(&self) -> MutexGuard<'_, Option<Session>> {
        lock(&self.session)
    }

    fn errors(&self) -> MutexGuard<'_, MemberErrors> {
        lock(&self.errors)
    }

    /// The members in the order to try them: by their failures since their last success. Among equal ones, the last
    /// good member comes first.
    fn members_in_order(&self) -> Result<Vec<Endpoint<'_>>, StoreError> {
        let mut round = Endpoint::all(&self.config)?;
        let last = self.session().as_ref().map(|session| session.url.clone()).or_else(|| self.hint.read());
        let errors = self.errors();
        // The sort is stable: the others stay in the order of the configuration.
        round.sort_by_key(|endpoint| (errors.rank(endpoint.url()), Some(endpoint.url()) != last.as_deref()));
        Ok(round)
    }

    /// How long this member may take to reply.
    fn member_timeout(&self, url: &str) -> Duration {
        MEMBER_TIMEOUT * 2_u32.pow(self.errors().rank(url).silences.min(MAX_DOUBLINGS))
    }

    /// Sends a request to one member after another until one replies or a write is in doubt.
    async fn send(&self, request: etcd_client::Txn, writes: bool, deadline: Deadline) -> Result<Reply, StoreError> {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        loop {
            let round = self.members_in_order()?;
            let mut refusals = Vec::new();
            for (i, endpoint) in round.iter().enumerate() {
                let left = deadline.remaining();
                if left.is_zero() {
                    return Err(StoreError::Unavailable(Cause::new(self.errors().text())));
                }
                let waiting = u32::try_from(round.len() - i).unwrap_or(u32::MAX);
                let share = match round.len() {
                    1 => left,
                    _ => (left / waiting).min(self.member_timeout(endpoint.url())),
                };
                let failure = match self.send_to_member(endpoint, &request, deadline.at_most(share)).await {
                    Ok(reply) => {
                        self.errors().record_success(endpoint.url());
                        self.hint.write(endpoint.url());
                        return Ok(reply);
                    }
                    Err(MemberFailure::InvalidConfig(error)) => return Err(error),
                    Err(failure) => failure,
                };
                tracing::debug!(endpoint = endpoint.url(), said = %failure, "this member of etcd did not serve the request");
                self.errors().record_failure(endpoint.url(), &failure);
                if writes && failure.is_in_doubt() {
                    return Err(StoreError::Ambiguous(Cause::new(self.errors().text())));
                }
                if let MemberFailure::Refused(error) = failure {
                    refusals.push(error);
                }
            }
            if let Some(error) = self.refusal(refusals, round.len()) {
                return Err(error);
            }
            tokio::time::sleep(backoff.next().min(deadline.remaining())).await;
        }
    }

    /// The error after a round in which a member refused the request. If all members return the same error, it is the
    /// cluster's. Otherwise each one is quoted.
    fn refusal(&self, mut refusals: Vec<StoreError>, asked: usize) -> Option<StoreError> {
        let unanimous = refusals.len() == asked && refusals.windows(2).all(|pair| pair[0] == pair[1]);
        let first = refusals.drain(..).next()?;
        if unanimous {
            return Some(first);
        }
        let text = self.errors().text();
        Some(match first {
            StoreError::Unavailable(_) => StoreError::Unavailable(Cause::new(text)),
            StoreError::Ambiguous(_) => StoreError::Ambiguous(Cause::new(text)),
            StoreError::Denied(_) => StoreError::Denied(Cause::new(text)),
            StoreError::Corrupt(_) => StoreError::Corrupt(Cause::new(text)),
        })
    }

    /// Sends a request to one member. Logs in again once if the auth token has expired.
    async fn send_to_member(
        &self,
        endpoint: &Endpoint<'_>,
        request: &etcd_client::Txn,
        deadline: Deadline,
    ) -> Result<Reply, MemberFailure> {
        match self.try_send(endpoint, request, deadline).await {
            Err(MemberFailure::Reauthenticate(_)) => self.try_send(endpoint, request, deadline).await,
            response => response,
        }
    }

    async fn try_send(
        &self,
        endpoint: &Endpoint<'_>,
        request: &etcd_client::Txn,
        deadline: Deadline,
    ) -> Result<Reply, MemberFailure> {
        let open = self.session().clone().filter(|session| session.url == endpoint.url());
        let mut session = match open {
            Some(session) => session,
            None => {
                let client = endpoint.connect(deadline).await?;
                let session = Session { url: endpoint.url().to_owned(), client };
                *self.session() = Some(session.clone());
                session
            }
        };
        let failure =
            match tokio::time::timeout_at(deadline.instant().into(), session.client.txn(request.clone())).await {
                Ok(Ok(response)) => return Ok(Reply::Txn(response)),
                Ok(Err(e)) if failure::is_compacted(&e) => return Ok(Reply::Compacted),
                Ok(Err(e)) => failure::from_response_error(&e, &self.config),
                Err(_) => failure::timed_out(),
            };
        // The connection may be broken.
        *self.session() = None;
        Err(failure)
    }
}

/// Ignores poisoning: the guarded value changes in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Store for EtcdStore {
    async fn commit(&self, txn: &Txn, deadline: Deadline) -> Result<Outcome, StoreError> {
        match self.send(wire::request(&self.prefix, txn), txn.writes(), deadline).await? {
            Reply::Txn(response) => wire::outcome(&self.prefix, txn, &response),
            // A transaction reads the current revision only.
            Reply::Compacted => Err(wire::unexpected()),
        }
    }

    async fn history(&self, key: &Key, limit: usize, deadline: Deadline) -> Result<KeyHistory, StoreError> {
        self.walk(key, limit, deadline).await
    }

    fn changes(&self, span: &KeySpan, after: Option<Position>) -> Watch {
        let store = Self::new(self.config.clone(), None);
        Watch::new(Source::Etcd(Box::new(EtcdWatch::new(store, span.clone(), after))))
    }
}

#[cfg(test)]
mod tests;
