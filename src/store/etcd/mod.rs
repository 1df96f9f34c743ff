//! The map in etcd, shared by all nodes of a cluster.
//!
//! The members are asked one at a time: a client that is given several has been seen to stay with a dead one
//! (grpc/grpc-rust issue 2839). The one that answered last comes first, and a node remembers it between its calls. What
//! a member says decides how it goes on:
//!
//! ```text
//! an answer                                      done
//! refused, no leader, overloaded                 the next member; nothing has happened
//! silence, connection lost, "request timed out"  it may have happened, or may yet: the next member for what only reads,
//!                                                for what writes the end, since it is not to be sent twice
//! no right, wrong password, beyond a limit       the end: no other member would say otherwise
//! ```
//!
//! A member that was silent is the last to be asked from then on. When the deadline comes first, the error names what each
//! member said, to this request and to those before it.
//!
//! The futures need a tokio runtime with I/O and timers.

mod endpoint;
mod failure;
mod hint;
mod wire;

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{KvClient, TxnResponse};

use self::endpoint::Endpoint;
use self::failure::{Failure, Reports};
use self::hint::Hint;
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
    reports: Mutex<Reports>,
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
        Self { config, prefix, hint: Hint::new(node_folder), session: Mutex::default(), reports: Mutex::default() }
    }

    fn session(&self) -> MutexGuard<'_, Option<Session>> {
        lock(&self.session)
    }

    fn reports(&self) -> MutexGuard<'_, Reports> {
        lock(&self.reports)
    }

    /// The members in the order in which they are asked: the last good one first, those last that were silent most. One that refuses may
    /// serve soon, and says so at once; one that hangs costs its whole share again.
    fn round(&self) -> Result<Vec<Endpoint<'_>>, StoreError> {
        let mut round = Endpoint::all(&self.config)?;
        let last = self.session().as_ref().map(|session| session.url.clone()).or_else(|| self.hint.read());
        let reports = self.reports();
        // A stable sort: the others stay in the order of the config.
        round.sort_by_key(|endpoint| (reports.silences(endpoint.url()), Some(endpoint.url()) != last.as_deref()));
        Ok(round)
    }

    /// Asks one member after the other until one answers, or may have taken what is not to be sent twice.
    async fn ask(&self, request: etcd_client::Txn, writes: bool, until: Deadline) -> Result<TxnResponse, StoreError> {
        let mut pauses = Pauses::new(Duration::from_millis(50), Duration::from_secs(1));
        loop {
            let round = self.round()?;
            for (i, endpoint) in round.iter().enumerate() {
                let left = until.remaining();
                if left.is_zero() {
                    return Err(StoreError::Unavailable(self.reports().text()));
                }
                let waiting = u32::try_from(round.len() - i).unwrap_or(u32::MAX);
                let patience = ANSWER * 2_u32.pow(self.reports().silences(endpoint.url()).min(DOUBLINGS));
                let share = if round.len() == 1 { left } else { (left / waiting).min(patience) };
                let failure = match self.ask_one(endpoint, &request, until.at_most(share)).await {
                    Ok(response) => {
                        self.hint.write(endpoint.url());
                        return Ok(response);
                    }
                    Err(failure) => failure,
                };
                let open = writes && failure.may_take_effect();
                let (said, silent) = match failure {
                    Failure::Everywhere(e) => return Err(e),
                    Failure::Silent { .. } => ("no answer in time".to_owned(), true),
                    Failure::Here { said, .. } | Failure::Login(said) => (said, false),
                };
                tracing::debug!(endpoint = endpoint.url(), said, "this member of etcd did not serve the request");
                self.reports().add(endpoint.url(), said, silent);
                if open {
                    return Err(StoreError::Ambiguous(self.reports().text()));
                }
            }
            tokio::time::sleep(pauses.next().min(until.remaining())).await;
        }
    }

    /// Asks one member; logs in anew, once, when it no longer knows the login.
    async fn ask_one(
        &self,
        endpoint: &Endpoint<'_>,
        request: &etcd_client::Txn,
        until: Deadline,
    ) -> Result<TxnResponse, Failure> {
        match self.ask_as_it_is(endpoint, request, until).await {
            Err(Failure::Login(_)) => self.ask_as_it_is(endpoint, request, until).await,
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
            Err(_) => Failure::Silent { sent: true },
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
