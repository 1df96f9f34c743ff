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
    #[error(transparent)]
    NotOpened(Box<SqliteFailure>),
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
    /// The file is no database, or not any more.
    #[error(
        "it is damaged or no database; restore it from a backup, or move the folder away to begin anew when no pod of this \
         node is left"
    )]
    Damaged(#[source] rusqlite::Error),
    /// The file or its folder is not ours to write.
    #[error("it can't be opened for writing; check the owner and mode of its folder")]
    NotWritable(#[source] rusqlite::Error),
    /// There is no room for the change.
    #[error("the disk is full; free some space")]
    DiskFull(#[source] rusqlite::Error),
    /// Another error of SQLite, before the commit.
    #[error("SQLite failed")]
    Sqlite(#[source] rusqlite::Error),
    /// An error of SQLite during the commit: the file may have the change, or the journal may undo it.
    #[error("it failed in a commit")]
    Commit(#[source] rusqlite::Error),
}

impl SqliteFailure {
    /// The database could not be opened.
    pub(super) fn not_opened(e: rusqlite::Error) -> Self {
        Self::NotOpened(Box::new(e.into()))
    }
}

impl From<rusqlite::Error> for SqliteFailure {
    fn from(e: rusqlite::Error) -> Self {
        match (&e, e.sqlite_error_code()) {
            _ if is_busy(&e) => Self::Busy,
            // SQLite has no code of its own for it.
            (rusqlite::Error::SqliteFailure(_, Some(text)), _) if text.starts_with("no such table") => Self::NoTables,
            (_, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) => Self::Damaged(e),
            (_, Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen)) => {
                Self::NotWritable(e)
            }
            (_, Some(ErrorCode::DiskFull)) => Self::DiskFull(e),
            _ => Self::Sqlite(e),
        }
    }
}

/// Whether another process is in the way.
pub(super) fn is_busy(e: &rusqlite::Error) -> bool {
    matches!(e.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// The error for the caller, who knows which store it is.
pub(super) fn report(failure: SqliteFailure) -> StoreError {
    let failure = match failure {
        SqliteFailure::NotOpened(why) => *why,
        other => other,
    };
    let outcome = match &failure {
        SqliteFailure::NoTables | SqliteFailure::Unreadable(_) | SqliteFailure::Damaged(_) => StoreError::Corrupt,
        SqliteFailure::Newer(_) | SqliteFailure::NotWritable(_) => StoreError::Denied,
        SqliteFailure::Commit(_) => StoreError::Ambiguous,
        SqliteFailure::Busy
        | SqliteFailure::NotOpened(_)
        | SqliteFailure::Abandoned
        | SqliteFailure::DiskFull(_)
        | SqliteFailure::Sqlite(_) => StoreError::Unavailable,
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
