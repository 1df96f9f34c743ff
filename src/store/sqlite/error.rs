//! Maps the errors of SQLite and the file system to those of a store.

use std::io;
use std::path::Path;

use rusqlite::ErrorCode;

use crate::cause::Cause;
use crate::store::StoreError;

/// Why a transaction did not run to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum SqliteFailure {
    /// Another process holds a lock. Worth a retry.
    #[error("it stayed locked by another process; is one of them hung?")]
    Busy,
    /// The file can't be opened. It may have to be created first.
    #[error("{}", explained(.0))]
    NotOpened(#[source] rusqlite::Error),
    /// The file is a database of another program.
    #[error("it is a database without the tables of kube-ipam; restore it from a backup")]
    NoTables,
    /// The caller has stopped waiting.
    #[error("it did not answer in time")]
    Abandoned,
    /// The tables come from a newer version of this program.
    #[error("it was written by a newer kube-ipam (schema {0}); install that version on this node")]
    Newer(i64),
    /// A value or revision that this program never writes.
    #[error("{0}")]
    Unreadable(String),
    /// Another error of SQLite, before the commit.
    #[error("{}", explained(.0))]
    Sqlite(#[source] rusqlite::Error),
    /// An error of SQLite during the commit: the file may have the change, or the journal may undo it.
    #[error("it failed in a commit")]
    Commit(#[source] rusqlite::Error),
}

/// What an error of SQLite means for whoever has to mend it.
fn explained(e: &rusqlite::Error) -> &'static str {
    match e.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "it is damaged or no database; restore it from a backup, or move the folder away to begin anew when no pod of this \
             node is left"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            "it can't be opened for writing; check the owner and mode of its folder"
        }
        Some(ErrorCode::DiskFull) => "the disk is full; free some space",
        _ => "SQLite failed",
    }
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
    let outcome = match &failure {
        SqliteFailure::Busy | SqliteFailure::Abandoned => StoreError::Unavailable,
        SqliteFailure::NoTables | SqliteFailure::Unreadable(_) => StoreError::Corrupt,
        SqliteFailure::Newer(_) => StoreError::Denied,
        SqliteFailure::Commit(_) => StoreError::Ambiguous,
        SqliteFailure::Sqlite(e) | SqliteFailure::NotOpened(e) => match e.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => StoreError::Denied,
            _ => StoreError::Unavailable,
        },
    };
    outcome(Cause::new(failure))
}

/// The error for a file or folder that can't be created or opened.
pub(super) fn report_file(path: &Path, e: io::Error) -> StoreError {
    let path = path.display();
    match e.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotADirectory => {
            let attempt = format!("{path} can't be used; dataDir must be a folder that this user may write");
            StoreError::Denied(Cause::new(e).context(attempt))
        }
        _ => StoreError::Unavailable(Cause::new(e).context(path.to_string())),
    }
}
