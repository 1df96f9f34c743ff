//! Inspects the files of the store for `kube-ipam doctor`. Only reads, and creates nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::statfs;

use super::database::DATABASE;
use super::error::SqliteFailure;
use crate::cause::Cause;

/// The schema version of this program (`database::CREATE`).
const SCHEMA: i64 = 1;

/// How many lines of the integrity check are kept.
const MAX_LINES: usize = 5;

/// The files of a store, and what is in them.
#[derive(Clone, Debug, PartialEq)]
pub struct SqliteReport {
    /// The database file.
    pub database: PathBuf,
    /// The size of the database file, in bytes.
    pub size: u64,
    /// How much of it is not in use, in bytes.
    pub unused: u64,
    /// The files of SQLite's journal with their sizes, in bytes. This program keeps one, `-journal`, which never
    /// becomes large. Another program may have switched the database to a write-ahead log, `-wal`.
    pub journals: Vec<(PathBuf, u64)>,
    /// The schema version.
    pub schema: i64,
    /// Whether this program can use the schema.
    pub is_readable: bool,
    /// The result of SQLite's check.
    pub integrity: Integrity,
    /// The name of the folder's file system, if it is one that other machines may share. SQLite's locks don't work on
    /// most of them.
    pub network_file_system: Option<&'static str>,
}

/// The result of `PRAGMA quick_check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Integrity {
    /// No damage was found.
    Intact,
    /// The damage, in SQLite's words; at most a few lines.
    Damaged(Vec<String>),
    /// It took too long and was ended, because a reader blocks writers.
    Unfinished,
}

/// File systems of networks, by the number that statfs(2) returns.
const NETWORK_FILE_SYSTEMS: [(u32, &str); 8] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x517b, "SMB"),
    (0x00c3_6400, "Ceph"),
    (0x0102_1997, "9P"),
    (0x0bd0_0bd0, "Lustre"),
    (0x7461_636f, "OCFS2"),
];

/// Inspects the store in a folder; `None` if it has no database yet. `timeout` limits the integrity check.
pub fn inspect_sqlite(folder: &Path, timeout: Duration) -> Result<Option<SqliteReport>, Cause> {
    let database = folder.join(DATABASE);
    let context = |e: io::Error| Cause::new(e).context(database.display().to_string());
    if !database.try_exists().map_err(context)? {
        return Ok(None);
    }
    let failed = |e: rusqlite::Error| Cause::new(SqliteFailure::from(e)).context(database.display().to_string());
    // A read-only connection can't roll back the journal of a writer that was killed, and fails then. The next ADD
    // rolls it back.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&database, flags).map_err(failed)?;
    connection.busy_timeout(timeout).map_err(failed)?;
    let number = |query: &str| connection.query_row(query, [], |row| row.get::<_, i64>(0)).map_err(failed);
    let bytes = |number: i64| u64::try_from(number).unwrap_or(0);
    let schema = number("SELECT version FROM meta")?;
    let page = bytes(number("PRAGMA page_size")?);
    let (pages, unused) = (bytes(number("PRAGMA page_count")?), bytes(number("PRAGMA freelist_count")?));
    let integrity = check(&connection, timeout).map_err(failed)?;
    Ok(Some(SqliteReport {
        size: pages.saturating_mul(page),
        unused: unused.saturating_mul(page),
        journals: journals(&database).map_err(context)?,
        schema,
        is_readable: schema <= SCHEMA,
        integrity,
        network_file_system: network_file_system(folder).map_err(context)?,
        database,
    }))
}

/// Runs the check, and ends it after the timeout.
fn check(connection: &Connection, timeout: Duration) -> Result<Integrity, rusqlite::Error> {
    let interrupt = connection.get_interrupt_handle();
    let (done, waiting) = sync_channel::<()>(1);
    let timer = thread::spawn(move || {
        if waiting.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout) {
            interrupt.interrupt();
        }
    });
    let lines = quick_check(connection);
    drop(done);
    // It has nothing left to do but to end.
    drop(timer.join());
    match lines {
        Ok(lines) if lines == ["ok"] => Ok(Integrity::Intact),
        Ok(lines) => Ok(Integrity::Damaged(lines)),
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Ok(Integrity::Unfinished),
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
            Ok(Integrity::Damaged(vec![e.to_string()]))
        }
        Err(e) => Err(e),
    }
}

fn quick_check(connection: &Connection) -> Result<Vec<String>, rusqlite::Error> {
    let mut statement = connection.prepare(&format!("PRAGMA quick_check({MAX_LINES})"))?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut lines = Vec::new();
    for row in rows {
        // One row may have several lines.
        lines.extend(row?.lines().map(str::to_owned));
    }
    lines.truncate(MAX_LINES);
    Ok(lines)
}

fn journals(database: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for suffix in ["-journal", "-wal"] {
        let mut path = database.as_os_str().to_owned();
        path.push(suffix);
        match fs::metadata(&path) {
            Ok(metadata) => found.push((PathBuf::from(path), metadata.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

fn network_file_system(folder: &Path) -> io::Result<Option<&'static str>> {
    // Its C type differs between architectures. The number has 32 bits on all of them.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the lower 32 bits are the number")]
    let kind = statfs(folder)?.f_type as u32;
    Ok(NETWORK_FILE_SYSTEMS.iter().find(|(number, _)| *number == kind).map(|(_, name)| *name))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::deadline::Deadline;
    use crate::store::{Key, Op, SqliteStore, Store, Txn};

    const TIMEOUT: Duration = Duration::from_secs(20);

    fn filled() -> tempfile::TempDir {
        let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
        let store = SqliteStore::new(folder.path());
        for page in 0..20 {
            let puts = (0..50).map(|n| Op::Put(Key::new(format!("ip/{page:02}/{n:02}")), vec![b'x'; 200])).collect();
            let txn = Txn::new(Vec::new(), puts, Vec::new()).unwrap();
            pollster::block_on(store.commit(&txn, Deadline::after(TIMEOUT))).unwrap();
        }
        folder
    }

    #[test]
    fn a_store_of_this_program_is_intact() {
        let folder = filled();
        let report = inspect_sqlite(folder.path(), TIMEOUT).unwrap().unwrap();
        assert_eq!((report.integrity, report.schema, report.is_readable), (Integrity::Intact, 1, true));
        assert!(report.size > 200_000 && report.unused < report.size, "{} {}", report.size, report.unused);
        assert_eq!(report.journals.len(), 1);
    }

    #[test]
    fn nothing_is_created_where_there_is_no_store() {
        let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
        assert_eq!(inspect_sqlite(folder.path(), TIMEOUT).unwrap(), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn damaged_pages_are_found_and_another_database_is_named() {
        let folder = filled();
        let file = fs::OpenOptions::new().write(true).open(folder.path().join(DATABASE)).unwrap();
        // A page in the middle of the table.
        file.write_all_at(&[0xff; 4096], 4096 * 12).unwrap();
        let report = inspect_sqlite(folder.path(), TIMEOUT).unwrap().unwrap();
        assert!(matches!(&report.integrity, Integrity::Damaged(lines) if !lines.is_empty()), "{report:?}");

        let other = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
        Connection::open(other.path().join(DATABASE)).unwrap().execute_batch("CREATE TABLE a (b)").unwrap();
        let error = inspect_sqlite(other.path(), TIMEOUT).unwrap_err();
        assert!(crate::cause::chain(&error).to_string().contains("without the tables of kube-ipam"), "{error}");
    }

    #[test]
    fn a_check_that_takes_too_long_is_ended() {
        let folder = filled();
        let connection = Connection::open(folder.path().join(DATABASE)).unwrap();
        assert_eq!(check(&connection, TIMEOUT).unwrap(), Integrity::Intact);
        // Grows the table, so that its check takes some milliseconds.
        let grow = "INSERT INTO entries SELECT key || 'x' || (SELECT count(*) FROM entries), value, 1 FROM entries";
        for _ in 0..6 {
            connection.execute_batch(grow).unwrap();
        }
        // On a busy machine, the time may be over before the check has begun.
        let is_ended = |ms: u64| check(&connection, Duration::from_millis(ms)).unwrap() == Integrity::Unfinished;
        assert!((1..50).any(is_ended));
    }
}
