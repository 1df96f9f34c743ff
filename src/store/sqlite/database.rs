//! The files in the folder, and the lock that orders their writers.

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

/// The database.
pub(super) const DATABASE: &str = "kube-ipam.sqlite3";

/// The database while it is being created.
pub(super) const NEW: &str = "kube-ipam.sqlite3.new";

/// Writers lock this file, and so does the process that creates the database.
const LOCK: &str = "kube-ipam.lock";

/// Version 1 of the tables. The keys of `entries` are text, for people with a `sqlite3` at hand; what it orders them by is
/// their bytes. `meta` has one row: a counter of its own, since the highest revision of `entries` would come again after
/// a delete.
const CREATE: &str = "
    BEGIN;
    CREATE TABLE entries (key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE meta (version INTEGER NOT NULL, revision INTEGER NOT NULL);
    INSERT INTO meta VALUES (1, 1);
    COMMIT;";

/// The database of a folder, opened when it is first needed.
pub(super) struct Database {
    folder: PathBuf,
    lock: Option<File>,
    connection: Option<Connection>,
}

/// The writers' lock. Released when dropped.
struct WriteLock<'a>(&'a File);

impl Drop for WriteLock<'_> {
    fn drop(&mut self) {
        // If this fails, the lock ends with the process.
        let _ = self.0.unlock();
    }
}

impl Database {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), lock: None, connection: None }
    }

    /// Opens the file, if it can be: a connection holds no lock before its first transaction.
    pub(super) fn prepare(&mut self) {
        self.connection = open(&self.folder.join(DATABASE)).ok();
    }

    /// Runs a transaction; retries until the deadline while other processes hold locks.
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
                    // The connection may be the cause.
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
        // Readers don't queue: they don't block one another, and a writer takes only a moment.
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

    /// Creates the database, unless another process has. It is renamed into place when it is complete, so that no process opens
    /// a part of it; an interrupted creation starts over.
    fn create(&mut self) -> Result<(), StoreError> {
        let _lock = lock_for_writing(&self.folder, &mut self.lock)?;
        let path = self.folder.join(DATABASE);
        let new = self.folder.join(NEW);
        let failed = |e: io::Error| error::report_file(&path, e);
        if path.try_exists().map_err(failed)? {
            return Ok(());
        }
        // Leftovers of an interrupted creation, or of a database that was removed: their journals are not for this one.
        for left in [&new, &journal(&new), &journal(&path)] {
            remove_if_there(left).map_err(failed)?;
        }
        // SQLite would create it readable by everyone.
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

/// Waits for the writers' lock. Has no time limit; the caller has one.
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
fn open(path: &Path) -> Result<Connection, SqliteFailure> {
    // No mutex of SQLite's own: the connection never leaves its thread.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(SqliteFailure::not_opened)?;
    // Waiting is done in `commit`, with jitter and up to the deadline.
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
