//! What is not known about the earlier holders of an address.

use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::cause::{Cause, chain};
use crate::ipam::lease::UnreadableValue;
use crate::store::{HistoryEnd, Revision};

/// Where earlier holders may be missing.
#[derive(Clone, Debug, PartialEq)]
pub enum Gap {
    /// The store has discarded everything before this revision.
    Compacted(Revision),
    /// The search in the store ended at its limit.
    Limit,
    /// The search in the store did not get further back than this revision.
    Unfinished {
        /// The revision.
        from: Revision,
        /// The store's error; `None` if the time was over.
        why: Option<Cause>,
    },
    /// The store keeps only the current lease.
    NotKept,
    /// The store could not be read.
    Store(Cause),
    /// Some of this node's attachments were not read.
    Attachments(Cause),
    /// The lease at this revision can't be read.
    Unreadable {
        /// The revision.
        at: Revision,
        /// Why.
        why: UnreadableValue,
    },
    /// A file of the log was not read, or not to its end.
    LogFile {
        /// The file.
        file: PathBuf,
        /// Why.
        why: Cause,
    },
    /// There is no log at this path.
    NoLog(PathBuf),
    /// The log has nothing before this time.
    LogBegins(Timestamp),
    /// The log has more lines about the address than were read.
    LogLimit,
    /// This number of lines of the log contain the address and can't be parsed.
    LogLines(u64),
    /// Only this node's log was read.
    OtherNodes,
}

impl Gap {
    /// The gap at the end of a history; `None` if it is complete.
    pub fn from_end(end: HistoryEnd) -> Option<Self> {
        Some(match end {
            HistoryEnd::Complete => return None,
            HistoryEnd::Compacted(at) => Self::Compacted(at),
            HistoryEnd::Limit => Self::Limit,
            HistoryEnd::Unfinished { from, error } => Self::Unfinished { from, why: error.map(Cause::new) },
            HistoryEnd::NotKept => Self::NotKept,
        })
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compacted(Revision(at)) => {
                write!(f, "the store was compacted at revision {at} and has no earlier leases")
            }
            Self::Limit => f.write_str("the store may have more earlier leases; only the latest were read"),
            Self::Unfinished { from: Revision(from), why: None } => {
                write!(f, "no time was left to search the store before revision {from}")
            }
            Self::Unfinished { from: Revision(from), why: Some(why) } => {
                write!(f, "the store was not searched before revision {from}: {}", chain(why))
            }
            Self::NotKept => f.write_str("the store keeps only the current lease; earlier ones are in the log"),
            Self::Store(why) => write!(f, "the store could not be read: {}", chain(why)),
            Self::Attachments(why) => write!(f, "not all attachments of this node were read: {}", chain(why)),
            Self::Unreadable { at: Revision(at), why } => {
                write!(f, "the lease at revision {at} can't be read: {}", chain(why))
            }
            Self::LogFile { file, why } => write!(f, "{} was not read: {}", file.display(), chain(why)),
            Self::NoLog(file) => write!(f, "there is no log at {}", file.display()),
            Self::LogBegins(time) => write!(f, "this node's log begins at {time:.0}"),
            Self::LogLimit => {
                f.write_str("this node's log has more lines about the address; only the latest were read")
            }
            Self::LogLines(1) => f.write_str("one line of this node's log about the address can't be parsed"),
            Self::LogLines(count) => write!(f, "{count} lines of this node's log about the address can't be parsed"),
            Self::OtherNodes => f.write_str("the logs of other nodes were not read"),
        }
    }
}
