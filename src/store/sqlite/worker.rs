//! The thread that owns the connection, and how a caller waits for it until a deadline.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::database::Database;
use crate::store::{Deadline, Outcome, StoreError, Txn};

/// How far a job has got. What a caller that stops waiting may claim depends on it: until the commit, that nothing
/// happened, since the job is then rolled back; from the commit on, nothing.
#[derive(Debug, Default)]
pub(super) struct Progress(AtomicU8);

const OPEN: u8 = 0;
const COMMITTING: u8 = 1;
const ABANDONED: u8 = 2;

impl Progress {
    fn step(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Taken by the worker just before it commits; false if the caller has gone.
    pub(super) fn begin_commit(&self) -> bool {
        self.step(OPEN, COMMITTING)
    }

    /// Taken back by the worker when the commit is known to have changed nothing.
    pub(super) fn end_commit(&self) {
        self.step(COMMITTING, OPEN);
    }

    /// Whether the caller has gone.
    pub(super) fn is_abandoned(&self) -> bool {
        self.0.load(Ordering::Acquire) == ABANDONED
    }

    /// Taken by a caller that stops waiting; false if the commit may already be under way.
    fn abandon(&self) -> bool {
        self.step(OPEN, ABANDONED)
    }
}

/// How long a commit that is under way at the deadline is still waited for: what came of it is worth more than the moment.
const COMMIT: Duration = Duration::from_millis(100);

struct Job {
    txn: Txn,
    until: Deadline,
    progress: Arc<Progress>,
    reply: Sender<Result<Outcome, StoreError>>,
}

/// The near end of the thread. It is not joined when dropped: a process must be able to end while its disk hangs, and a
/// connection that is killed between two transactions loses nothing.
pub(super) struct Worker {
    jobs: Sender<Job>,
}

impl Worker {
    /// Starts the thread; it opens the database, if there is one, while its first job is still being put together.
    pub(super) fn start(folder: &Path) -> Result<Self, StoreError> {
        let (jobs, arriving) = mpsc::channel();
        let database = Database::new(folder);
        match thread::Builder::new().name("sqlite".to_owned()).spawn(move || work(database, &arriving)) {
            Ok(_) => Ok(Self { jobs }),
            Err(e) => Err(StoreError::Unavailable(format!("no thread could be started: {e}"))),
        }
    }

    /// Hands over a transaction and waits for what comes of it.
    pub(super) fn commit(&self, txn: &Txn, until: Deadline) -> Result<Outcome, StoreError> {
        let progress = Arc::new(Progress::default());
        let (reply, answer) = mpsc::channel();
        if self.jobs.send(Job { txn: txn.clone(), until, progress: Arc::clone(&progress), reply }).is_err() {
            return Err(StoreError::Unavailable("its thread has ended".to_owned()));
        }
        let text = match answer.recv_timeout(until.remaining()) {
            Ok(answer) => return answer,
            Err(RecvTimeoutError::Timeout) => {
                "it did not answer in time: its disk hangs, or a process that holds it does".to_owned()
            }
            Err(RecvTimeoutError::Disconnected) => "its thread ended without an answer".to_owned(),
        };
        if progress.abandon() {
            return Err(StoreError::Unavailable(text));
        }
        answer.recv_timeout(COMMIT).unwrap_or(Err(StoreError::Ambiguous(text)))
    }
}

/// Serves jobs until no caller is left. An answer that nobody waits for any more is dropped.
fn work(mut database: Database, arriving: &Receiver<Job>) {
    database.prepare();
    for job in arriving {
        if !job.progress.is_abandoned() {
            drop(job.reply.send(database.commit(&job.txn, job.until, &job.progress)));
        }
    }
}
