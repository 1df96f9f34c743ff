//! Maps the errors of SQLite and the file system to those of a store.

use std::io;
use std::path::Path;

use rusqlite::ErrorCode;

use crate::store::StoreError;

/// Why a transaction did not run to its end.
#[derive(Debug)]
pub(super) enum SqliteFailure {
    /// Another process holds a lock. Worth a retry.
    Busy,
    /// The file can't be opened. It may have to be created first.
    NotOpened(rusqlite::Error),
    /// The file is a database of another program.
    NoTables,
    /// The caller has stopped waiting.
    Abandoned,
    /// The tables come from a newer version of this program.
    Newer(i64),
    /// A value or revision that this program never writes.
    Unreadable(String),
    /// Another error of SQLite, before the commit.
    Sqlite(rusqlite::Error),
    /// An error of SQLite during the commit: the file may have the change, or the journal may undo it.
    Commit(rusqlite::Error),
}

impl From<rusqlite::Error> for SqliteFailure {
    fn from(e: rusqlite::Error) -> Self {
        match e {
            _ if is_busy(&e) => Self::Busy,
            // SQLite has no code of its own for it.
            rusqlite::Error::SqliteFailure(_, Some(text)) if text.starts_with("no such table") => Self::NoTables,
            e => Self::Sqlite(e),
        }
    }
}

/// Whether another process is in the way.
pub(super) fn is_busy(e: &rusqlite::Error) -> bool {
    matches!(e.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// The error for the caller, who knows which store it is.
pub(super) fn report(failure: SqliteFailure) -> StoreError {
    match failure {
        SqliteFailure::Busy => {
            StoreError::Unavailable("it stayed locked by another process; is one of them hung?".to_owned())
        }
        SqliteFailure::Abandoned => StoreError::Unavailable("it did not answer in time".to_owned()),
        SqliteFailure::NoTables => {
            StoreError::Corrupt("it is a database without the tables of kube-ipam; restore it from a backup".to_owned())
        }
        SqliteFailure::Newer(version) => StoreError::Denied(format!(
            "it was written by a newer kube-ipam (schema {version}); install that version on this node"
        )),
        SqliteFailure::Unreadable(what) => StoreError::Corrupt(what),
        SqliteFailure::Commit(e) => StoreError::Ambiguous(format!("it failed in a commit: {e}")),
        SqliteFailure::Sqlite(e) | SqliteFailure::NotOpened(e) => match e.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt(format!(
                "it is damaged or no database ({e}); restore it from a backup, or move the folder away to begin anew \
                 when no pod of this node is left"
            )),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => StoreError::Denied(
                format!("it can't be opened for writing ({e}); check the owner and mode of its folder"),
            ),
            Some(ErrorCode::DiskFull) => StoreError::Unavailable("the disk is full; free some space".to_owned()),
            _ => StoreError::Unavailable(e.to_string()),
        },
    }
}

/// The error for a file or folder that can't be created or opened.
pub(super) fn report_file(path: &Path, e: &io::Error) -> StoreError {
    let text = format!("{}: {e}", path.display());
    match e.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotADirectory => {
            StoreError::Denied(format!("{text}; dataDir must be a folder that this user may write"))
        }
        _ => StoreError::Unavailable(text),
    }
}
