//! The files in the folder, and who may use them when.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::{self, Trouble};
use super::transaction;
use super::worker::Progress;
use crate::store::pause::Pauses;
use crate::store::{Deadline, Outcome, StoreError, Txn};

/// The database.
pub(super) const DATABASE: &str = "kube-ipam.sqlite3";

/// The database while it is being made.
pub(super) const NEW: &str = "kube-ipam.sqlite3.new";

/// The file whose lock a writer holds, and so does who makes the database.
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

/// A writer's turn; ends when dropped.
struct Turn<'a>(&'a File);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Should it fail, then the lock ends with the process.
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

    /// Runs a transaction, again while other processes are in the way, until the deadline.
    pub(super) fn commit(&mut self, txn: &Txn, until: Deadline, progress: &Progress) -> Result<Outcome, StoreError> {
        let mut pauses = Pauses::new(Duration::from_micros(200), Duration::from_millis(10));
        let mut created = false;
        loop {
            let trouble = match self.attempt(txn, until, progress)? {
                Ok(outcome) => return Ok(outcome),
                Err(trouble) => trouble,
            };
            match trouble {
                Trouble::Busy if !until.has_passed() && !progress.is_abandoned() => thread::sleep(pauses.next()),
                Trouble::NotOpened(_) if !created => {
                    self.create()?;
                    created = true;
                }
                trouble => {
                    // What is wrong with the file may have to do with this view of it.
                    self.connection = None;
                    return Err(error::report(trouble));
                }
            }
        }
    }

    fn attempt(
        &mut self,
        txn: &Txn,
        until: Deadline,
        progress: &Progress,
    ) -> Result<Result<Outcome, Trouble>, StoreError> {
        // Readers don't queue: they don't hinder one another, and a writer is gone in a moment.
        let _turn = if txn.writes() { Some(take_turn(&self.folder, &mut self.lock)?) } else { None };
        if progress.is_abandoned() {
            return Ok(Err(Trouble::Abandoned));
        }
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => match open(&self.folder.join(DATABASE)) {
                Ok(connection) => connection,
                Err(trouble) => return Ok(Err(trouble)),
            },
        };
        let connection = self.connection.insert(connection);
        Ok(transaction::run(connection, txn, until, progress))
    }

    /// Makes the database, unless another process has done so by now. It gets its name when it is whole: nobody ever opens
    /// a part of it, and one whose making was cut short is made again.
    fn create(&mut self) -> Result<(), StoreError> {
        let _turn = take_turn(&self.folder, &mut self.lock)?;
        let path = self.folder.join(DATABASE);
        let new = self.folder.join(NEW);
        let failed = |e: io::Error| error::report_file(&path, &e);
        if path.try_exists().map_err(failed)? {
            return Ok(());
        }
        // What is left of an earlier making, or of a database that somebody removed: its journal is not for this one.
        for left in [&new, &journal(&new), &journal(&path)] {
            remove_if_there(left).map_err(failed)?;
        }
        // SQLite would make it readable for everybody.
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

/// Waits for this process's turn to write. Without a bound: the caller has one.
fn take_turn<'a>(folder: &Path, lock: &'a mut Option<File>) -> Result<Turn<'a>, StoreError> {
    let path = folder.join(LOCK);
    let failed = |e: io::Error| error::report_file(&path, &e);
    let file = match lock.take() {
        Some(file) => file,
        None => open_lock(folder, &path).map_err(failed)?,
    };
    let file = lock.insert(file);
    file.lock().map_err(failed)?;
    Ok(Turn(file))
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

/// Opens a database that is there.
fn open(path: &Path) -> Result<Connection, Trouble> {
    // No mutex of SQLite's own: the connection never leaves its thread.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(Trouble::NotOpened)?;
    // Whoever waits does it here, with jitter and up to its deadline.
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
