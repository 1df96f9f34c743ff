//! The map in etcd, shared by all nodes of a cluster.
//!
//! The members are asked one at a time: a client that is given several has been seen to stay with a dead one
//! (grpc/grpc-rust issue 2839). The one that answered last comes first, and a node remembers it between its calls. What
//! a member says decides how it goes on:
//!
//! ```text
//! an answer                                      done
//! refused, no leader, overloaded                 the next member; nothing has happened
//! silence, connection lost, "request timed out"  the next member; it may have happened, or may yet
//! no right, wrong password, beyond a limit       the end: no other member would say otherwise
//! ```
//!
//! Going on is sound after silence too, because every transaction is safe to run twice (see [`crate::store`]). When the
//! deadline comes first, the error names what each member said.
//!
//! The futures need a tokio runtime with I/O and timers.

mod endpoint;
mod failure;
mod hint;
mod wire;

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use etcd_client::{KvClient, TxnResponse};

use self::endpoint::Endpoint;
use self::failure::{Failure, Reports};
use self::hint::Hint;
use super::pause::Pauses;
use super::{Deadline, EtcdConfig, Outcome, Store, StoreError, Txn};

/// The longest that one member is given to accept a connection.
const CONNECT: Duration = Duration::from_secs(1);

/// How long one of several members is given to answer, in the first round; each further round doubles it.
const ANSWER: Duration = Duration::from_secs(2);

/// A map in etcd, below a prefix.
pub struct EtcdStore {
    config: EtcdConfig,
    prefix: String,
    hint: Hint,
    session: Mutex<Option<Session>>,
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
        Self { config, prefix, hint: Hint::new(node_folder), session: Mutex::new(None) }
    }

    fn session(&self) -> std::sync::MutexGuard<'_, Option<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks one member after the other until one answers.
    async fn ask(&self, request: etcd_client::Txn, writes: bool, until: Deadline) -> Result<TxnResponse, StoreError> {
        let mut endpoints = Endpoint::all(&self.config)?;
        let last = self.session().as_ref().map(|session| session.url.clone()).or_else(|| self.hint.read());
        // A stable sort: the others stay in the order of the config.
        endpoints.sort_by_key(|endpoint| Some(endpoint.url()) != last.as_deref());
        let mut reports = Reports::new();
        let mut pauses = Pauses::new(Duration::from_millis(50), Duration::from_secs(1));
        let mut patience = ANSWER;
        loop {
            for (i, endpoint) in endpoints.iter().enumerate() {
                let left = until.remaining();
                if left.is_zero() {
                    return Err(reports.give_up());
                }
                let others = u32::try_from(endpoints.len() - i).unwrap_or(u32::MAX);
                let share = if endpoints.len() == 1 { left } else { (left / others).min(patience) };
                match self.ask_one(endpoint, &request, until.at_most(share)).await {
                    Ok(response) => {
                        self.hint.write(endpoint.url());
                        return Ok(response);
                    }
                    Err(Failure::Everywhere(e)) => return Err(e),
                    Err(Failure::Here { said, sent }) => {
                        tracing::debug!(
                            endpoint = endpoint.url(),
                            said,
                            "this member of etcd did not serve the request"
                        );
                        reports.add(endpoint.url(), said, sent && writes);
                    }
                    Err(Failure::Login(said)) => reports.add(endpoint.url(), said, false),
                }
            }
            patience *= 2;
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
                let client = endpoint.connect(until.at_most(CONNECT)).await?;
                let session = Session { url: endpoint.url().to_owned(), client };
                *self.session() = Some(session.clone());
                session
            }
        };
        let failure = match tokio::time::timeout_at(until.instant().into(), session.client.txn(request.clone())).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(e)) => failure::of_answer(&e, &self.config),
            Err(_) => Failure::Here { said: "no answer in time".to_owned(), sent: true },
        };
        // Whatever was wrong may have to do with this connection.
        *self.session() = None;
        Err(failure)
    }
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
