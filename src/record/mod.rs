//! The node's own record: one small file per attachment, and what a DEL left to do (contract, section 5).
//!
//! ```text
//! <stateDir>/<node>/                                   the node in the path, since two may share one file system
//!     <containerID>:<ifname>:<network>.json            asked or held
//!     marked/<containerID>:<ifname>:<network>.json     releasing: a DEL could not reach the store
//!     locks/<containerID>:<ifname>:<network>           while a call is at work on the attachment
//!     replay.lock                                      while a call replays what is marked
//! ```
//!
//! The store is the truth. A record says which store that is, what was asked of it and what it gave, so that a DEL works
//! without its config, and in one request. It is therefore written by rename but not synced: after a power cut it may be
//! missing or torn, and [`Found`] says so. Only a mark, which nothing else knows of, outlives a power cut.
//!
//! Every step is one system call that is done or not, and a process killed between two of them leaves one of these:
//!
//! - A record beside its mark. The mark wins; releasing twice is harmless (invariant 3).
//! - A file in `locks/` that nobody has locked, and perhaps an unfinished file (`….json.new`), which nobody reads. The
//!   next call about the attachment inherits the first and removes the second; [`Records::tidy`] does it where none comes.

mod error;
mod file;
mod lock;
mod netns;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

pub use self::error::{Action, RecordError};
use self::file::{Durability, Named};
use self::lock::FileLock;
pub use self::netns::Netns;
use crate::ipam::lease::{self, Attachment, Began, Lease, Stored, Unknown};
use crate::ipam::name::{AttachmentId, IfName, Name};
use crate::store::{Deadline, Revision, StoreConfig};

/// How far an attachment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// An ADD has asked the store, or was about to; what came of it is not known.
    Asked,
    /// An ADD has got its addresses.
    Held,
    /// A DEL is to release it and could not.
    Releasing,
}

/// What a node knows of one of its attachments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The version of the format, [`lease::VERSION`].
    pub v: u32,
    /// How far it has come.
    pub state: State,
    /// The attachment.
    #[serde(flatten)]
    pub id: AttachmentId,
    /// The routing domain of its addresses.
    pub vrf: Name,
    /// Where its addresses are kept.
    pub store: StoreConfig,
    /// The network namespace that the runtime named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<Netns>,
    /// When the ADD began, which tells one attempt from another.
    pub began: Began,
    /// What the store holds for it, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// What a newer version of the same format has added.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Record {
    /// The record of an ADD that is about to ask its store.
    pub fn asked(id: AttachmentId, vrf: Name, store: StoreConfig, netns: Option<Netns>, began: Began) -> Self {
        let unknown = Unknown::new();
        Self { v: lease::VERSION, state: State::Asked, id, vrf, store, netns, began, held: None, unknown }
    }

    /// The same record after the store has given the addresses.
    #[must_use]
    pub fn holding(self, held: Held) -> Self {
        Self { state: State::Held, held: Some(held), ..self }
    }
}

/// Exactly what a commit wrote, and at which revision: with it a DEL releases everything in one request, as long as
/// nobody has written to these keys since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// The revision of every key below.
    pub revision: Revision,
    /// The attachment's value.
    pub attachment: Attachment,
    /// The addresses with their leases.
    pub leases: Vec<(IpAddr, Lease)>,
}

/// What there is about an attachment.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// No record.
    Nothing,
    /// A record.
    Record(Box<Record>),
    /// A record that this version can't read; the attachment's key in the store says what is held.
    Unreadable {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        why: Unreadable,
    },
}

/// What is wrong with a record's file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Empty, cut off, or not a record at all: what a power cut leaves of a file that was not synced.
    #[error("it is torn: {0}")]
    Torn(String),
    /// Written by a newer version of kube-ipam.
    #[error("it has format {0}, of which this kube-ipam understands {known}", known = lease::VERSION)]
    Newer(u32),
    /// It is about another attachment than its file's name says.
    #[error("it is about {0}")]
    Foreign(Box<AttachmentId>),
}

/// The right to work on one attachment, which one call of the node has at a time. It ends when it is dropped, and with
/// its process.
#[derive(Debug)]
pub struct Lock {
    id: AttachmentId,
    stem: String,
    _file: FileLock,
}

impl Lock {
    /// The attachment.
    pub fn id(&self) -> &AttachmentId {
        &self.id
    }
}

/// The right to replay what is marked, which one call of the node has at a time. It ends when it is dropped, and with
/// its process.
#[derive(Debug)]
pub struct ReplayLock {
    _file: FileLock,
}

/// The records of one node.
#[derive(Clone, Debug)]
pub struct Records {
    node: Name,
    folder: PathBuf,
    marked: PathBuf,
    locks: PathBuf,
}

impl Records {
    /// The records of this node below a state folder. Reads and writes nothing yet.
    pub fn new(state_dir: &Path, node: &Name) -> Self {
        let folder = state_dir.join(node.as_str());
        Self { node: node.clone(), marked: folder.join("marked"), locks: folder.join("locks"), folder }
    }

    /// The folder of this node, for what else it is to remember.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits for the attachment's lock. ADD and DEL of one attachment exclude each other by it.
    pub fn lock(&self, id: &AttachmentId, until: Deadline) -> Result<Lock, RecordError> {
        let began = Instant::now();
        let stem = file::stem(id);
        let path = self.locks.join(&stem);
        match FileLock::take(&path, until).map_err(RecordError::io(Action::Lock, &path))? {
            Some(file) => {
                self.clear_up(&stem)?;
                Ok(Lock { id: id.clone(), stem, _file: file })
            }
            None => Err(RecordError::Busy {
                id: Box::new(id.clone()),
                process: lock::holder(&path),
                waited: began.elapsed(),
            }),
        }
    }

    /// What there is about the locked attachment.
    pub fn read(&self, lock: &Lock) -> Result<Found, RecordError> {
        self.look(&lock.id)
    }

    /// What there was about an attachment a moment ago: for who only wants to know, and for a DEL on a full or read-only
    /// disk, which can't lock.
    pub fn look(&self, id: &AttachmentId) -> Result<Found, RecordError> {
        let stem = file::stem(id);
        // In this order, since a mark is written before its record is removed.
        let record = read(&file::record(&self.folder, &stem), Some(id))?;
        let mark = read(&file::record(&self.marked, &stem), Some(id))?;
        let releasing = |record: Box<Record>| Found::Record(Box::new(Record { state: State::Releasing, ..*record }));
        Ok(match (mark, record) {
            (Found::Nothing, record) => record,
            (Found::Record(mark), _) => releasing(mark),
            // That it is to be released is known even so.
            (Found::Unreadable { .. }, Found::Record(record)) => releasing(record),
            (mark, _) => mark,
        })
    }

    /// Writes the record of the locked attachment, as asked or held. A mark counts as settled by who writes this, and is
    /// removed first.
    pub fn write(&self, lock: &Lock, record: &Record) -> Result<(), RecordError> {
        self.remove_mark(lock)?;
        put(&self.folder, lock, record, Durability::Process)
    }

    /// Marks the locked attachment as to be released. When this returns, not even a power cut loses the mark.
    pub fn mark(&self, lock: &Lock, record: &Record) -> Result<(), RecordError> {
        let mark = Record { state: State::Releasing, ..record.clone() };
        put(&self.marked, lock, &mark, Durability::PowerCut)?;
        self.remove_record(lock)
    }

    /// Removes all there is about the locked attachment, after its release.
    pub fn remove(&self, lock: &Lock) -> Result<(), RecordError> {
        self.remove_record(lock)?;
        self.remove_mark(lock)
    }

    /// The attachments of one interface of a container, on whichever network: for a DEL that does not say which.
    pub fn find(&self, container: &Name, ifname: &IfName) -> Result<Vec<AttachmentId>, RecordError> {
        let mut found = self.all()?;
        found.retain(|id| id.container == *container && id.ifname == *ifname);
        Ok(found)
    }

    /// All attachments with a record, marked or not.
    pub fn all(&self) -> Result<Vec<AttachmentId>, RecordError> {
        let mut found = BTreeSet::new();
        for folder in [&self.folder, &self.marked] {
            for name in names(folder)? {
                found.extend(self.named_by(folder, &name)?);
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Some of the marked attachments. Which ones differs from call to call, so that those whose store stays away don't
    /// keep the others waiting. Where nothing is marked, this costs one look into a folder.
    pub fn marks(&self, at_most: usize) -> Result<Vec<AttachmentId>, RecordError> {
        let mut names = names(&self.marked)?;
        if names.len() > at_most {
            let start = RandomState::new().hash_one(()) as usize % names.len();
            names.rotate_left(start);
        }
        let marks = names.iter().map(|name| self.named_by(&self.marked, name)).filter_map(Result::transpose);
        marks.take(at_most).collect()
    }

    /// The right to replay marks; `None` while another call has it.
    pub fn replay_lock(&self) -> Result<Option<ReplayLock>, RecordError> {
        let path = self.folder.join("replay.lock");
        let file = FileLock::try_take(&path).map_err(RecordError::io(Action::Lock, &path))?;
        Ok(file.map(|file| ReplayLock { _file: file }))
    }

    /// Removes what killed processes left in at most so many of the lock files, and says of how many.
    pub fn tidy(&self, at_most: usize) -> Result<usize, RecordError> {
        let mut tidied = 0;
        for stem in names(&self.locks)?.into_iter().take(at_most) {
            let path = self.locks.join(&stem);
            // Dropped at the end of the round, and the file with it.
            let lock = FileLock::try_take(&path).map_err(RecordError::io(Action::Lock, &path))?;
            if lock.is_some() {
                self.clear_up(&stem)?;
                tidied += 1;
            }
        }
        Ok(tidied)
    }

    /// Removes what an earlier holder of the attachment's lock did not finish, as long as the lock's file is there to
    /// lead [`Records::tidy`] to it.
    fn clear_up(&self, stem: &str) -> Result<(), RecordError> {
        remove(&file::unfinished(&self.folder, stem))?;
        remove(&file::unfinished(&self.marked, stem))
    }

    fn remove_record(&self, lock: &Lock) -> Result<(), RecordError> {
        remove(&file::record(&self.folder, &lock.stem))
    }

    fn remove_mark(&self, lock: &Lock) -> Result<(), RecordError> {
        remove(&file::record(&self.marked, &lock.stem))
    }

    /// The attachment that a file in one of the folders is about, if it is a record and says so.
    fn named_by(&self, folder: &Path, name: &str) -> Result<Option<AttachmentId>, RecordError> {
        match file::named(&self.node, name) {
            Named::Fully(id) => Ok(Some(id)),
            Named::Inside => match read(&folder.join(name), None)? {
                Found::Record(record) if record.id.node == self.node => Ok(Some(record.id)),
                _ => Ok(None),
            },
            Named::No => Ok(None),
        }
    }
}

fn read(path: &Path, expected: Option<&AttachmentId>) -> Result<Found, RecordError> {
    let Some(bytes) = file::read(path).map_err(RecordError::io(Action::Read, path))? else { return Ok(Found::Nothing) };
    let why = match Stored::<Record>::read(&bytes) {
        Stored::Known(record) if expected.is_none_or(|id| *id == record.id) => {
            return Ok(Found::Record(Box::new(record)));
        }
        Stored::Known(record) => Unreadable::Foreign(Box::new(record.id)),
        Stored::Newer(version) => Unreadable::Newer(version),
        Stored::Corrupt(problem) => Unreadable::Torn(problem),
    };
    Ok(Found::Unreadable { path: path.to_owned(), why })
}

fn put(folder: &Path, lock: &Lock, record: &Record, durability: Durability) -> Result<(), RecordError> {
    let written = file::replace(folder, &lock.stem, &lease::write(record), durability);
    written.map_err(RecordError::io(Action::Write, &file::record(folder, &lock.stem)))
}

fn remove(path: &Path) -> Result<(), RecordError> {
    file::remove(path).map_err(RecordError::io(Action::Remove, path))
}

fn names(folder: &Path) -> Result<Vec<String>, RecordError> {
    file::names(folder).map_err(RecordError::io(Action::List, folder))
}
