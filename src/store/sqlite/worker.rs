//! The thread that owns the connection. Callers wait for it until their deadline.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::database::Database;
use crate::cause::Cause;
use crate::deadline::Deadline;
use crate::store::{Outcome, StoreError, Txn};

/// Whether a job has begun to commit. If its caller gives up before that, the job is rolled back and the caller knows
/// that nothing was written. After that, the outcome is unknown.
#[derive(Debug, Default)]
pub(super) struct CommitState(AtomicU8);

const OPEN: u8 = 0;
const COMMITTING: u8 = 1;
const ABANDONED: u8 = 2;

impl CommitState {
    fn step(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Called by the worker just before the commit. False if the caller has given up.
    pub(super) fn begin_commit(&self) -> bool {
        self.step(OPEN, COMMITTING)
    }

    /// Called by the worker if the commit has changed nothing.
    pub(super) fn end_commit(&self) {
        self.step(COMMITTING, OPEN);
    }

    /// Whether the caller has given up.
    pub(super) fn is_abandoned(&self) -> bool {
        self.0.load(Ordering::Acquire) == ABANDONED
    }

    /// Called by a caller that gives up. False if the commit may have begun.
    fn abandon(&self) -> bool {
        self.step(OPEN, ABANDONED)
    }
}

/// How long a caller waits beyond its deadline for a commit that has begun: the outcome matters more than the time.
const COMMIT_GRACE: Duration = Duration::from_millis(100);

struct Job {
    txn: Txn,
    deadline: Deadline,
    state: Arc<CommitState>,
    reply: Sender<Result<Outcome, StoreError>>,
}

/// The handle of the thread. Dropping it does not join the thread: a process must be able to exit while its disk hangs.
/// Between two transactions, ending the thread loses nothing.
pub(super) struct Worker {
    jobs: Sender<Job>,
}

impl Worker {
    /// Starts the thread, which opens the database if it exists while the caller still builds its first transaction.
    pub(super) fn start(folder: &Path) -> Result<Self, StoreError> {
        let (jobs, arriving) = mpsc::channel();
        let database = Database::new(folder);
        match thread::Builder::new().name("sqlite".to_owned()).spawn(move || work(database, &arriving)) {
            Ok(_) => Ok(Self { jobs }),
            Err(e) => Err(StoreError::Unavailable(Cause::new(e).context("no thread could be started"))),
        }
    }

    /// Sends a transaction to the thread and waits for its outcome.
    pub(super) fn commit(&self, txn: &Txn, deadline: Deadline) -> Result<Outcome, StoreError> {
        let state = Arc::new(CommitState::default());
        let (reply, response) = mpsc::channel();
        if self.jobs.send(Job { txn: txn.clone(), deadline, state: Arc::clone(&state), reply }).is_err() {
            return Err(StoreError::Unavailable(Cause::new("its thread has ended")));
        }
        let text = match response.recv_timeout(deadline.remaining()) {
            Ok(response) => return response,
            Err(RecvTimeoutError::Timeout) => {
                "it did not answer in time: its disk hangs, or a process that holds it does".to_owned()
            }
            Err(RecvTimeoutError::Disconnected) => "its thread ended without an answer".to_owned(),
        };
        if state.abandon() {
            return Err(StoreError::Unavailable(Cause::new(text)));
        }
        response.recv_timeout(COMMIT_GRACE).unwrap_or(Err(StoreError::Ambiguous(Cause::new(text))))
    }
}

/// Runs jobs until all callers are gone. Drops an outcome that no caller waits for.
fn work(mut database: Database, arriving: &Receiver<Job>) {
    database.prepare();
    for job in arriving {
        if !job.state.is_abandoned() {
            drop(job.reply.send(database.commit(&job.txn, job.deadline, &job.state)));
        }
    }
}
