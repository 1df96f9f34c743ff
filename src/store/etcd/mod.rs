//! The map in etcd, shared by all nodes of a cluster.
//!
//! The members are asked one at a time: a client that is given several has been seen to stay with a dead one
//! (grpc/grpc-rust issue 2839). The one that answered last comes first, and a node remembers it between its calls. What
//! came instead of an answer decides how it goes on:
//!
//! ```text
//! no connection, a learner, no leader, overloaded  nothing was applied: the next member at once
//! silence, a connection that closes, anything      it may have been applied, or may yet be: the next member for what only
//! that is not etcd's own text                      reads; for what writes the end, since it is not to be sent twice
//! no right, wrong password, beyond a limit         nothing was applied: the next member, and the end when all were asked
//! ```
//!
//! A member that failed is asked after those that did not, until it serves a request again; one that left a request in
//! doubt is the last. When the deadline comes first, the error names what each member said, to this request and to those
//! before it.
//!
//! The futures need a tokio runtime with I/O and timers.

mod endpoint;
mod failure;
mod hint;
mod members;
mod wire;

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{KvClient, TxnResponse};

use self::endpoint::Endpoint;
use self::failure::Failure;
use self::hint::Hint;
use self::members::MemberErrors;
use super::pause::Pauses;
use super::{Deadline, EtcdConfig, Outcome, Store, StoreError, Txn};

/// How long one of several members is given to answer; each time it is silent doubles it.
const ANSWER: Duration = Duration::from_secs(1);

/// How often that is doubled at most.
const DOUBLINGS: u32 = 4;

/// A map in etcd, below a prefix.
pub struct EtcdStore {
    config: EtcdConfig,
    prefix: String,
    hint: Hint,
    session: Mutex<Option<Session>>,
    errors: Mutex<MemberErrors>,
}

/// A connection that has worked.
#[derive(Clone)]
struct Session {
    url: String,
    client: KvClient,
}

impl EtcdStore {
    /// The store behind these members; the first request connects. `node_folder` is where the last good member's URL is
    /// kept between processes.
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

    /// The members in the order in which they are asked: the last good one first, then by what they did since they last
    /// served a request.
    fn round(&self) -> Result<Vec<Endpoint<'_>>, StoreError> {
        let mut round = Endpoint::all(&self.config)?;
        let last = self.session().as_ref().map(|session| session.url.clone()).or_else(|| self.hint.read());
        let errors = self.errors();
        // A stable sort: the others stay in the order of the config.
        round.sort_by_key(|endpoint| (errors.rank(endpoint.url()), Some(endpoint.url()) != last.as_deref()));
        Ok(round)
    }

    /// Asks one member after the other until one answers, or may have taken what is not to be sent twice.
    async fn ask(&self, request: etcd_client::Txn, writes: bool, until: Deadline) -> Result<TxnResponse, StoreError> {
        let mut pauses = Pauses::new(Duration::from_millis(50), Duration::from_secs(1));
        loop {
            let round = self.round()?;
            let mut refusals = Vec::new();
            for (i, endpoint) in round.iter().enumerate() {
                let left = until.remaining();
                if left.is_zero() {
                    return Err(StoreError::Unavailable(self.errors().text()));
                }
                let waiting = u32::try_from(round.len() - i).unwrap_or(u32::MAX);
                let patience = ANSWER * 2_u32.pow(self.errors().rank(endpoint.url()).silences.min(DOUBLINGS));
                let share = if round.len() == 1 { left } else { (left / waiting).min(patience) };
                let failure = match self.ask_one(endpoint, &request, until.at_most(share)).await {
                    Ok(response) => {
                        self.errors().served(endpoint.url());
                        self.hint.write(endpoint.url());
                        return Ok(response);
                    }
                    Err(Failure::Unusable(error)) => return Err(error),
                    Err(failure) => failure,
                };
                tracing::debug!(endpoint = endpoint.url(), said = %failure, "this member of etcd did not serve the request");
                self.errors().add(endpoint.url(), &failure);
                if writes && failure.is_in_doubt() {
                    return Err(StoreError::Ambiguous(self.errors().text()));
                }
                if let Failure::Refused(error) = failure {
                    refusals.push(error);
                }
            }
            if let Some(error) = self.refusal(refusals, round.len()) {
                return Err(error);
            }
            tokio::time::sleep(pauses.next().min(until.remaining())).await;
        }
    }

    /// The error after a round in which a member refused for good. Where all of them say the same, it is the cluster's word;
    /// where they differ, each is quoted.
    fn refusal(&self, mut refusals: Vec<StoreError>, asked: usize) -> Option<StoreError> {
        let unanimous = refusals.len() == asked && refusals.windows(2).all(|pair| pair[0] == pair[1]);
        let first = refusals.drain(..).next()?;
        if unanimous {
            return Some(first);
        }
        let text = self.errors().text();
        Some(match first {
            StoreError::Unavailable(_) => StoreError::Unavailable(text),
            StoreError::Ambiguous(_) => StoreError::Ambiguous(text),
            StoreError::Denied(_) => StoreError::Denied(text),
            StoreError::Corrupt(_) => StoreError::Corrupt(text),
        })
    }

    /// Asks one member; logs in anew, once, when it no longer knows the login.
    async fn ask_one(
        &self,
        endpoint: &Endpoint<'_>,
        request: &etcd_client::Txn,
        until: Deadline,
    ) -> Result<TxnResponse, Failure> {
        match self.ask_as_it_is(endpoint, request, until).await {
            Err(Failure::Reauthenticate(_)) => self.ask_as_it_is(endpoint, request, until).await,
            answer => answer,
        }
    }

    async fn ask_as_it_is(
        &self,
        endpoint: &Endpoint<'_>,
        request: &etcd_client::Txn,
        until: Deadline,
    ) -> Result<TxnResponse, Failure> {
        let open = self.session().clone().filter(|session| session.url == endpoint.url());
        let mut session = match open {
            Some(session) => session,
            None => {
                let client = endpoint.connect(until).await?;
                let session = Session { url: endpoint.url().to_owned(), client };
                *self.session() = Some(session.clone());
                session
            }
        };
        let failure = match tokio::time::timeout_at(until.instant().into(), session.client.txn(request.clone())).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(e)) => failure::of_answer(&e, &self.config),
            Err(_) => failure::of_silence(),
        };
        // Whatever was wrong may have to do with this connection.
        *self.session() = None;
        Err(failure)
    }
}

/// A lock that outlives a panic elsewhere: what it guards changes in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Store for EtcdStore {
    async fn commit(&self, txn: &Txn, until: Deadline) -> Result<Outcome, StoreError> {
        let response = self.ask(wire::request(&self.prefix, txn), txn.writes(), until).await?;
        wire::outcome(&self.prefix, txn, &response)
    }
}

#[cfg(test)]
mod tests;
