//! The files of the store, and the lock that orders its writers.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::{self, SqliteFailure};
use super::transaction;
use super::worker::CommitState;
use crate::deadline::Deadline;
use crate::store::backoff::Backoff;
use crate::store::{Outcome, StoreError, Txn};

pub(super) const DATABASE: &str = "kube-ipam.sqlite3";

/// The database until its creation is complete.
pub(super) const NEW: &str = "kube-ipam.sqlite3.new";

/// Locked by each writer, and by the process that creates the database.
const LOCK: &str = "kube-ipam.lock";

/// Schema version 1. The keys of `entries` are text, which is easier to read with `sqlite3`. They are ordered by their
/// bytes. `meta` has one row with the revision counter: the highest revision in `entries` would be used again after a
/// delete.
const CREATE: &str = "
    BEGIN;
    CREATE TABLE entries (key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE meta (version INTEGER NOT NULL, revision INTEGER NOT NULL);
    INSERT INTO meta VALUES (1, 1);
    COMMIT;";

/// The database of a folder. It is opened on first use.
pub(super) struct Database {
    folder: PathBuf,
    lock: Option<File>,
    connection: Option<Connection>,
}

/// The writers' lock. Dropping it releases it.
struct WriteLock<'a>(&'a File);

impl Drop for WriteLock<'_> {
    fn drop(&mut self) {
        // If this fails, the lock is released when the process ends.
        let _ = self.0.unlock();
    }
}

impl Database {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), lock: None, connection: None }
    }

    /// Opens the file if it exists. A connection holds no lock before its first transaction.
    pub(super) fn prepare(&mut self) {
        self.connection = open(&self.folder.join(DATABASE)).ok();
    }

    /// Runs a transaction. Retries until the deadline while other processes hold locks.
    pub(super) fn commit(&mut self, txn: &Txn, deadline: Deadline, state: &CommitState) -> Result<Outcome, StoreError> {
        let mut backoff = Backoff::new(Duration::from_micros(200), Duration::from_millis(10));
        let mut created = false;
        loop {
            let failure = match self.attempt(txn, deadline, state)? {
                Ok(outcome) => return Ok(outcome),
                Err(failure) => failure,
            };
            match failure {
                SqliteFailure::Busy if !deadline.has_passed() && !state.is_abandoned() => thread::sleep(backoff.next()),
                SqliteFailure::NotOpened(_) if !created => {
                    self.create()?;
                    created = true;
                }
                failure => {
                    // The connection may be broken.
                    self.connection = None;
                    return Err(error::report(failure));
                }
            }
        }
    }

    fn attempt(
        &mut self,
        txn: &Txn,
        deadline: Deadline,
        state: &CommitState,
    ) -> Result<Result<Outcome, SqliteFailure>, StoreError> {
        // Only writers queue: readers don't block each other, and a writer holds its locks only briefly.
        let _lock = if txn.writes() { Some(lock_for_writing(&self.folder, &mut self.lock)?) } else { None };
        if state.is_abandoned() {
            return Ok(Err(SqliteFailure::Abandoned));
        }
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => match open(&self.folder.join(DATABASE)) {
                Ok(connection) => connection,
                Err(failure) => return Ok(Err(failure)),
            },
        };
        let connection = self.connection.insert(connection);
        Ok(transaction::run(connection, txn, deadline, state))
    }

    /// Creates the database, unless another process has. It is renamed into place once it is complete, so that no
    /// process opens an incomplete one. An interrupted creation starts over.
    fn create(&mut self) -> Result<(), StoreError> {
        let _lock = lock_for_writing(&self.folder, &mut self.lock)?;
        let path = self.folder.join(DATABASE);
        let new = self.folder.join(NEW);
        let failed = |e: io::Error| error::report_file(&path, e);
        if path.try_exists().map_err(failed)? {
            return Ok(());
        }
        // Remove what an interrupted creation or a deleted database left: SQLite would apply their journals to this
        // one.
        for left in [&new, &journal(&new), &journal(&path)] {
            remove_if_there(left).map_err(failed)?;
        }
        // SQLite would create a file that everybody can read.
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(failed)?;
        let made = open(&new).and_then(|connection| Ok(connection.execute_batch(CREATE)?));
        made.map_err(error::report)?;
        fs::rename(&new, &path).map_err(failed)?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

fn journal(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-journal");
    PathBuf::from(name)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Waits for the writers' lock without a time limit. The caller has one.
fn lock_for_writing<'a>(folder: &Path, lock: &'a mut Option<File>) -> Result<WriteLock<'a>, StoreError> {
    let path = folder.join(LOCK);
    let failed = |e: io::Error| error::report_file(&path, e);
    let file = match lock.take() {
        Some(file) => file,
        None => open_lock(folder, &path).map_err(failed)?,
    };
    let file = lock.insert(file);
    file.lock().map_err(failed)?;
    Ok(WriteLock(file))
}

fn open_lock(folder: &Path, path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    match open() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            open()
        }
        opened => opened,
    }
}

/// Opens an existing database.
pub(super) fn open(path: &Path) -> Result<Connection, SqliteFailure> {
    // SQLite needs no mutex: the connection stays on its thread.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(SqliteFailure::not_opened)?;
    // `commit` waits instead, with jitter and until the deadline.
    connection.busy_timeout(Duration::ZERO)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_there_is_open_before_it_is_needed() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir()?;
        let mut database = Database::new(folder.path());
        database.prepare();
        assert!(database.connection.is_none());
        database.create()?;
        database.prepare();
        assert!(database.connection.is_some());
        Ok(())
    }
}
