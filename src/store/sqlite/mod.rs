//! The map in one SQLite file of this node: the store where there is no etcd (kind, k3s, podman, tests).
//!
//! Every CNI call is a process of its own, which opens the file, commits one transaction, and goes. Three choices follow:
//!
//! - **Rollback journal, `PERSIST`.** Measured with processes that open, write three rows and the counter, and close
//!   (medians, 1 and 16 at once, a disk that syncs in 0.1 to 0.5 ms; then tmpfs): PERSIST 3.0 and 44 ms, then 1.2 and
//!   13 ms; TRUNCATE 3.4 and 91, then 1.3 and 16; DELETE 4.2 and 40, then 1.7 and 16; WAL, whose last closer
//!   checkpoints, 3.6 and 62, then 1.6 and 17, and twice that when its log is left for the next process to recover. A reader
//!   holds a writer up in this mode, which is why reads come in pages.
//! - **Writers queue on a lock file** beside the database and are woken in turn, where SQLite alone would have each of
//!   them poll: with 16 at once the slowest takes 100 ms and not 350.
//! - **The connection lives on a thread of its own**, and a caller waits for it no longer than its deadline, since no
//!   setting of SQLite bounds a disk that hangs. Callers block the thread that polls them; no runtime is needed.
//!
//! SQLite's `synchronous` stays at its default, FULL: the journal, the file and the journal's end are each synced, so that a
//! commit that was answered outlives a power cut. A weaker one could lose an address that is already in use.

mod database;
mod error;
mod transaction;
mod worker;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use self::worker::Worker;
use super::{Outcome, Store, StoreError, Txn};
use crate::deadline::Deadline;

/// A map in a SQLite file.
pub struct SqliteStore {
    folder: PathBuf,
    worker: OnceLock<Worker>,
}

impl SqliteStore {
    /// The store in this folder; both come into being with the first request that writes.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), worker: OnceLock::new() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens the database in the background, if there is one, so that the first request finds it open. What goes wrong is
    /// reported by that request.
    pub fn prepare(&self) {
        let _ = self.worker();
    }

    fn worker(&self) -> Result<&Worker, StoreError> {
        if let Some(worker) = self.worker.get() {
            return Ok(worker);
        }
        let started = Worker::start(&self.folder)?;
        // Of two that started at once one is dropped, and its thread ends.
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
}

#[cfg(test)]
mod tests;
