//! A store in one SQLite file of this node, for installations without etcd (kind, k3s, podman, tests).
//!
//! Each CNI call is a separate process that opens the file, commits one transaction and exits. Hence three choices:
//!
//! - **Rollback journal, `PERSIST`.** Measured with processes that open the file, write three rows and the counter, and
//!   close it. Medians for 1 and 16 processes at once, first on a disk that syncs in 0.1 to 0.5 ms, then on tmpfs:
//!   PERSIST 3.0 and 44 ms, then 1.2 and 13 ms; TRUNCATE 3.4 and 91, then 1.3 and 16; DELETE 4.2 and 40, then 1.7 and
//!   16; WAL 3.6 and 62, then 1.6 and 17, and twice that if the next process has to recover the log. (In WAL mode, the
//!   last process to close the file checkpoints.) In PERSIST mode, a reader blocks writers, so reads are paged.
//! - **Writers queue on a lock file** next to the database and are woken in turn. With SQLite alone, each would poll.
//!   With 16 at once, the slowest takes 100 ms instead of 350.
//! - **A separate thread owns the connection**, and a caller waits for it until its deadline, because no setting of
//!   SQLite limits how long a hanging disk blocks. Callers block the thread that polls them and need no runtime.
//!
//! SQLite's `synchronous` keeps its default, FULL, which syncs the journal, the file and the journal's end. So a
//! reported commit survives a power failure. A weaker setting could lose an address that is already in use.

mod database;
mod error;
mod inspect;
mod snapshot;
mod transaction;
mod watch;
mod worker;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub use self::inspect::{Integrity, SqliteReport, inspect_sqlite};
pub(super) use self::watch::SqliteWatch;
use self::worker::Worker;
use super::watch::{Source, Watch};
use super::{KeySpan, Outcome, Position, Store, StoreError, Txn};
use crate::deadline::Deadline;

/// A store in a SQLite file.
pub struct SqliteStore {
    folder: PathBuf,
    worker: OnceLock<Worker>,
}

impl SqliteStore {
    /// A store in this folder. The first write creates the folder and the file.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), worker: OnceLock::new() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens the database in the background if it exists, so that it is open for the first request. That request
    /// reports any error.
    pub fn prepare(&self) {
        let _ = self.worker();
    }

    fn worker(&self) -> Result<&Worker, StoreError> {
        if let Some(worker) = self.worker.get() {
            return Ok(worker);
        }
        let started = Worker::start(&self.folder)?;
        // If two calls started a worker at once, one is dropped, and its thread ends.
        Ok(self.worker.get_or_init(|| started))
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Store for SqliteStore {
    async fn commit(&self, txn: &Txn, deadline: Deadline) -> Result<Outcome, StoreError> {
        self.worker()?.commit(txn, deadline)
    }

    fn changes(&self, span: &KeySpan, after: Option<Position>) -> Watch {
        Watch::new(Source::Sqlite(SqliteWatch::new(&self.folder, span.clone(), after)))
    }
}

#[cfg(test)]
mod tests;
