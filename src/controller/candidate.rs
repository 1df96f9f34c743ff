//! One of those who may lead: drives its [`Election`] with what the API server says.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use super::election::{Election, Move};
use super::follow::said;
use super::shared::{Leadership, Part, Shared};
use crate::cluster::{Access, ClusterError, Connection, Office};
use crate::store::Deadline;

/// For how long a connection is kept. Credentials rotate, and the old ones are good for a while longer than that.
const KEPT: Duration = Duration::from_secs(60);

/// How long giving the office back may take. Without it the others wait until the term is over.
const RESIGNS: Duration = Duration::from_secs(2);

/// One of those who may lead.
pub struct Candidate {
    access: Access,
    office: Office,
    election: Election,
    connection: Option<(Connection, Instant)>,
}

impl Candidate {
    /// Asks nobody yet.
    pub fn new(access: Access, office: Office, election: Election) -> Self {
        Self { access, office, election, connection: None }
    }

    /// Tries to lead, and to go on leading, until it is to stop.
    pub async fn stand(mut self, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) -> Self {
        let random = RandomState::new();
        let mut tries = 0_u64;
        let mut led = false;
        let mut wrong = None;
        loop {
            let looked = tokio::select! {
                looked = self.look() => looked,
                _ = stopped.wait_for(|stopped| *stopped) => return self,
            };
            let until = self.election.leads_until();
            shared.leads(until.map_or(Leadership::Follows, Leadership::Until));
            let leads = until.is_some_and(|until| Instant::now() < until);
            if leads != led {
                tracing::info!(name = self.election.me(), leads, "the election has changed who leads");
                led = leads;
            }
            let now_wrong = looked.err().map(|error| format!("the election: {}", said(&error)));
            if let Some(why) = now_wrong.as_ref().filter(|_| wrong != now_wrong) {
                tracing::warn!(error = why, "the lease could not be read or written");
            }
            shared.is_wrong(Part::Election, now_wrong.clone());
            wrong = now_wrong;
            // Each a little earlier, so that not all of them ask at once.
            tries += 1;
            let part = u32::try_from(random.hash_one(tries) & 0x3f).unwrap_or(0);
            let pause = self.election.times().look();
            tokio::select! {
                () = tokio::time::sleep(pause - pause * part / 256) => {}
                _ = stopped.wait_for(|stopped| *stopped) => return self,
            }
        }
    }

    /// Gives the office back, if it is held.
    pub async fn resign(&mut self) {
        let until = Deadline::after(RESIGNS);
        if let Err(error) = self.try_resign(until).await {
            tracing::warn!(error = said(&error), "the lease could not be given back, and runs out by itself");
        }
    }

    async fn look(&mut self) -> Result<(), ClusterError> {
        let looked = self.try_look().await;
        if looked.is_err() {
            self.connection = None;
        }
        looked
    }

    async fn try_look(&mut self) -> Result<(), ClusterError> {
        // Both questions together take no longer than it leads.
        let until = Deadline::after(self.election.times().lead());
        let connection = connection(&mut self.connection, &self.access)?;
        let found = connection.term(&self.office, until).await?;
        match self.election.read(found.as_ref(), Instant::now(), Timestamp::now()) {
            Move::Wait => Ok(()),
            Move::Write(term) => {
                let sent = Instant::now();
                let made = connection.appoint(&self.office, found.as_ref(), &term, until).await?;
                self.election.written(made, sent);
                Ok(())
            }
        }
    }

    async fn try_resign(&mut self, until: Deadline) -> Result<(), ClusterError> {
        let connection = connection(&mut self.connection, &self.access)?;
        let found = connection.term(&self.office, until).await?;
        let Some(term) = self.election.resign(found.as_ref(), Timestamp::now()) else { return Ok(()) };
        let made = connection.appoint(&self.office, found.as_ref(), &term, until).await?;
        tracing::info!(made, "the lease is given back");
        Ok(())
    }
}

/// The connection, a new one if it is not there or has been kept for long.
fn connection<'a>(
    kept: &'a mut Option<(Connection, Instant)>,
    access: &Access,
) -> Result<&'a Connection, ClusterError> {
    let fresh = match kept.take().filter(|(_, since)| since.elapsed() < KEPT) {
        Some(fresh) => fresh,
        None => (Connection::open(access)?, Instant::now()),
    };
    Ok(&kept.insert(fresh).0)
}
