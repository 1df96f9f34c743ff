//! One participant of the leader election: drives its [`Election`] with what the API server returns.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use super::election::{Election, ElectionAction};
use super::follow::said;
use super::shared::{Component, Leadership, Shared};
use crate::cluster::{Access, ClusterError, Connection, LeaderLease};
use crate::deadline::Deadline;

/// How long a connection is used. Credentials rotate, and the old ones stay valid for longer than that.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(60);

/// How long releasing the lease may take. Without a release, the others wait until the lease expires.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// Acquires, renews and releases the lease for this process.
pub(super) struct LeaderElector {
    access: Access,
    lease: LeaderLease,
    election: Election,
    connection: Option<(Connection, Instant)>,
}

impl LeaderElector {
    /// Sends no request yet.
    pub(super) fn new(access: Access, lease: LeaderLease, election: Election) -> Self {
        Self { access, lease, election, connection: None }
    }

    /// Tries to become the leader and to stay the leader, until `stopped` is set.
    pub(super) async fn run(mut self, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) -> Self {
        let random = RandomState::new();
        let mut attempts = 0_u64;
        let mut was_leader = false;
        let mut last_problem = None;
        loop {
            let result = tokio::select! {
                result = self.try_acquire_or_renew() => result,
                _ = stopped.wait_for(|stopped| *stopped) => return self,
            };
            let leader_until = self.election.leader_until();
            shared.leads(leader_until.map_or(Leadership::Follows, Leadership::Until));
            let is_leader = leader_until.is_some_and(|end| Instant::now() < end);
            if is_leader != was_leader {
                let message = if is_leader { "became leader" } else { "lost the lease" };
                tracing::info!(name = self.election.identity(), leads = is_leader, "{message}");
                was_leader = is_leader;
            }
            let problem = result.err().map(|error| format!("the election: {}", said(&error)));
            if let Some(error) = problem.as_ref().filter(|_| last_problem != problem) {
                tracing::warn!(error, "the lease could not be read or written");
            }
            shared.set_problem(Component::Election, problem.clone());
            last_problem = problem;
            // Up to a quarter shorter, so that the replicas don't send their requests at the same time.
            attempts += 1;
            let part = u32::try_from(random.hash_one(attempts) & 0x3f).unwrap_or(0);
            let pause = self.election.timing().retry_period();
            tokio::select! {
                () = tokio::time::sleep(pause - pause * part / 256) => {}
                _ = stopped.wait_for(|stopped| *stopped) => return self,
            }
        }
    }

    /// Releases the lease if this process holds it.
    pub(super) async fn release(&mut self) {
        let deadline = Deadline::after(RELEASE_TIMEOUT);
        if let Err(error) = self.try_release(deadline).await {
            tracing::warn!(error = said(&error), "the lease could not be released; it expires on its own");
        }
    }

    /// A failed attempt drops the connection, so that the next one reads the credentials again.
    async fn try_acquire_or_renew(&mut self) -> Result<(), ClusterError> {
        let result = self.read_and_write().await;
        if result.is_err() {
            self.connection = None;
        }
        result
    }

    async fn read_and_write(&mut self) -> Result<(), ClusterError> {
        // Both requests together take no longer than leadership lasts.
        let deadline = Deadline::after(self.election.timing().renew_deadline());
        let connection = connection(&mut self.connection, &self.access)?;
        let observed = connection.read_record(&self.lease, deadline).await?;
        match self.election.on_read(observed.as_ref(), Instant::now(), Timestamp::now()) {
            ElectionAction::Wait => Ok(()),
            ElectionAction::Write(record) => {
                let sent = Instant::now();
                let written = connection.write_record(&self.lease, observed.as_ref(), &record, deadline).await?;
                self.election.on_written(written, sent);
                Ok(())
            }
        }
    }

    async fn try_release(&mut self, deadline: Deadline) -> Result<(), ClusterError> {
        let connection = connection(&mut self.connection, &self.access)?;
        let observed = connection.read_record(&self.lease, deadline).await?;
        let Some(record) = self.election.release(observed.as_ref(), Timestamp::now()) else { return Ok(()) };
        let written = connection.write_record(&self.lease, observed.as_ref(), &record, deadline).await?;
        tracing::info!(made = written, "the lease was released");
        Ok(())
    }
}

/// The cached connection, or a new one if there is none or it is too old.
fn connection<'a>(
    cached: &'a mut Option<(Connection, Instant)>,
    access: &Access,
) -> Result<&'a Connection, ClusterError> {
    let fresh = match cached.take().filter(|(_, opened)| opened.elapsed() < MAX_CONNECTION_AGE) {
        Some(fresh) => fresh,
        None => (Connection::open(access)?, Instant::now()),
    };
    Ok(&cached.insert(fresh).0)
}
