//! Why a record of the node could not be read or written.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ipam::name::AttachmentId;

/// The operation on a file that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Taking a lock.
    Lock,
    /// Reading a record.
    Read,
    /// Reading a folder.
    List,
    /// Writing a record or a deferred release.
    Write,
    /// Removing a record or a deferred release.
    Remove,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lock => "lock",
            Self::Read => "read",
            Self::List => "list",
            Self::Write => "write",
            Self::Remove => "remove",
        })
    }
}

/// Why the node's record could not be read or written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "its text says what a variant is and what its fields hold")]
pub enum RecordError {
    #[error("can't {action} the node's record {}", path.display())]
    Io {
        action: Action,
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    /// Another call of this node worked on the attachment until the deadline.
    #[error("another call{} is at work on {id} and has not ended within {:.1} s", by(*process), waited.as_secs_f64())]
    Busy {
        id: Box<AttachmentId>,
        /// The process of the other call, if the kernel shows it.
        process: Option<u32>,
        /// How long the call has waited.
        waited: Duration,
    },
}

impl RecordError {
    pub(super) fn io(action: Action, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { action, path: path.to_owned(), error }
    }

    /// What to do about it.
    pub fn details(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "try again",
            Self::Io { error, .. } => match error.kind() {
                ErrorKind::PermissionDenied => {
                    "kube-ipam runs as root, so look for a read-only mount or a security policy"
                }
                ErrorKind::ReadOnlyFilesystem => {
                    "mount that file system writable, or set another `stateDir` in the node defaults"
                }
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    "free some space there, or set another `stateDir` in the node defaults"
                }
                _ => "look at that path, or set another `stateDir` in the node defaults",
            },
        }
    }
}

fn by(process: Option<u32>) -> String {
    process.map_or_else(String::new, |process| format!(" (process {process})"))
}
