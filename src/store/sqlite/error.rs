//! Maps the errors of SQLite and the file system to those of a store.

use std::io;
use std::path::Path;

use rusqlite::ErrorCode;

use crate::cause::Cause;
use crate::store::StoreError;

/// Why a transaction did not complete.
#[derive(Debug, thiserror::Error)]
pub(super) enum SqliteFailure {
    /// Another process holds a lock. A retry may help.
    #[error("it stayed locked by another process; is one of them hung?")]
    Busy,
    /// The file can't be opened. It may not exist yet.
    #[error(transparent)]
    NotOpened(Box<SqliteFailure>),
    /// There is no file any more.
    #[error("its file is gone")]
    Gone(#[source] io::Error),
    /// The file is another program's database.
    #[error("it is a database without the tables of kube-ipam; restore it from a backup")]
    NoTables,
    /// The caller has given up.
    #[error("it did not answer in time")]
    Abandoned,
    /// A newer version of kube-ipam created the tables.
    #[error("it was written by a newer kube-ipam (schema {0}); install that version on this node")]
    Newer(i64),
    /// A value or revision that kube-ipam never writes.
    #[error("{0}")]
    Unreadable(String),
    /// The file is not a database, or is damaged.
    #[error(
        "it is damaged or no database; restore it from a backup, or move the folder away to begin anew when no pod of this \
         node is left"
    )]
    Damaged(#[source] rusqlite::Error),
    /// The file or its folder is not writable.
    #[error("it can't be opened for writing; check the owner and mode of its folder")]
    NotWritable(#[source] rusqlite::Error),
    /// The disk is full.
    #[error("the disk is full; free some space")]
    DiskFull(#[source] rusqlite::Error),
    /// Another error of SQLite, before the commit.
    #[error("SQLite failed")]
    Sqlite(#[source] rusqlite::Error),
    /// SQLite failed during the commit. The file may have the change, or the journal may undo it.
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
            // SQLite has no error code for this.
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

/// Whether another process holds a lock.
pub(super) fn is_busy(e: &rusqlite::Error) -> bool {
    matches!(e.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// The error for the caller, who knows which store it is about.
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
        | SqliteFailure::Gone(_)
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
