//! What SQLite and the file system say, in the terms of a store.

use std::io;
use std::path::Path;

use rusqlite::ErrorCode;

use crate::store::StoreError;

/// Why a transaction did not run to its end.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Another process holds a lock; worth another try.
    Busy,
    /// The file can't be opened; it may have to be made first.
    NotOpened(rusqlite::Error),
    /// The file is a database, and none of this program.
    NoTables,
    /// The caller has stopped waiting.
    Abandoned,
    /// The tables come from a newer version of this program.
    Newer(i64),
    /// A value or revision that this program never writes.
    Unreadable(String),
    /// Anything else of SQLite, before the commit.
    Sqlite(rusqlite::Error),
    /// Anything of SQLite during the commit: the file may have it, or may get it back from the journal.
    Commit(rusqlite::Error),
}

impl From<rusqlite::Error> for Trouble {
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

/// What the caller is told, who knows which store it asked.
pub(super) fn report(trouble: Trouble) -> StoreError {
    match trouble {
        Trouble::Busy => {
            StoreError::Unavailable("it stayed locked by another process; is one of them hung?".to_owned())
        }
        Trouble::Abandoned => StoreError::Unavailable("it did not answer in time".to_owned()),
        Trouble::NoTables => {
            StoreError::Corrupt("it is a database without the tables of kube-ipam; restore it from a backup".to_owned())
        }
        Trouble::Newer(version) => StoreError::Denied(format!(
            "it was written by a newer kube-ipam (schema {version}); install that version on this node"
        )),
        Trouble::Unreadable(what) => StoreError::Corrupt(what),
        Trouble::Commit(e) => StoreError::Ambiguous(format!("it failed in a commit: {e}")),
        Trouble::Sqlite(e) | Trouble::NotOpened(e) => match e.sqlite_error_code() {
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

/// What the caller is told when a file or folder can't be made or opened.
pub(super) fn report_file(path: &Path, e: &io::Error) -> StoreError {
    let text = format!("{}: {e}", path.display());
    match e.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotADirectory => {
            StoreError::Denied(format!("{text}; dataDir must be a folder that this user may write"))
        }
        _ => StoreError::Unavailable(text),
    }
}
