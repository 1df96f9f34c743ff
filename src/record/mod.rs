//! The node's own record: one small file per attachment, and what a DEL left to do (contract, section 5).
//!
//! ```text
//! <stateDir>/<node>/                                   the node in the path, since two may share one file system
//!     <containerID>:<ifname>:<network>.json            asked or held; locked while a call is at work on the attachment
//!     marked/<containerID>:<ifname>:<network>.json     releasing: a DEL could not reach the store
//!     sandboxes/<hash>                                 a link to the record of the sandbox that has an interface of a pod
//!     replay.lock                                      while a call replays what is marked
//!     events                                           what was said on pods lately
//!     cluster                                          which cluster the API server is of
//!     seen-<digest>                                    the highest revisions of a store ([`seen`])
//! ```
//!
//! The store is the truth. A record says which store that is, what was asked of it and what it gave, so that a DEL works
//! without its config, and in one request. It is not synced: after a power cut it may be missing or torn, and [`Found`]
//! says so. Only a mark, which nothing else knows of, outlives a power cut.
//!
//! A record is a line of JSON at the end of its file, and the last whole line counts: a write that was cut off leaves the
//! state before it, *asked* where it was to become *held*, which is the careful one. An empty file is no record. So one
//! file is both the record and its lock, and a call makes and removes one file instead of three; on ext4, writing by
//! rename over the old record alone takes longer than all of that, since the file system then flushes the new one.
//!
//! A node that got another name finds its attachments in the folder of the old one: an attachment keeps the name that the
//! node had at its ADD. What no call has named, GC's suspects, marks, boots, is looked for in the node's own folder and in those
//! of its former names (`formerNodeNames`) alone, since the rest may be other nodes'.
//!
//! Every step is one system call that is done or not, and a process killed between two of them leaves one of these:
//!
//! - A record beside its mark. The mark wins; releasing twice is harmless (invariant 3).
//! - An empty record, or an unfinished mark (`….json.new`), which nobody reads. Both are gone with the next call that
//!   releases the attachment; [`Records::tidy`] removes them where none comes.

mod cluster;
mod error;
mod file;
mod folder;
mod lock;
mod netns;
mod said;
mod sandbox;
mod seen;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;

use serde::{Deserialize, Serialize};

pub use self::cluster::ToldIdentity;
pub use self::error::{Action, RecordError};
use self::folder::Folder;
use self::lock::LockedFile;
pub use self::netns::Netns;
pub use self::seen::Seen;
use crate::ipam::lease::{self, Began, PodRef, Stored, Unknown, Written};
use crate::ipam::name::{AttachmentId, IfName, Name};
use crate::store::{Deadline, StoreConfig};

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
    /// The pod, where the runtime named one.
    #[serde(default, skip_serializing_if = "PodRef::is_unnamed")]
    pub pod: PodRef,
    /// The network namespace that the runtime named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<Netns>,
    /// When the ADD began, which tells one attempt from another.
    pub began: Began,
    /// What the store holds for it, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Written>,
    /// Whether a DEL has begun that leaves no trace in the store: should it die, the absence of the attachment shows nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleting: bool,
    /// What a newer version of the same format has added.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Record {
    /// The record of an ADD that is about to ask its store.
    pub fn asked(id: AttachmentId, vrf: Name, store: StoreConfig, began: Began) -> Self {
        Self {
            v: lease::VERSION,
            state: State::Asked,
            id,
            vrf,
            store,
            pod: PodRef::default(),
            netns: None,
            began,
            held: None,
            deleting: false,
            unknown: Unknown::new(),
        }
    }

    /// Whether it is of an attachment that this store has given addresses, and that is not about to go.
    pub fn runs_on(&self, store: &StoreConfig) -> bool {
        self.state == State::Held && !self.deleting && self.store.place() == store.place()
    }

    /// The same record after the store has given the addresses.
    #[must_use]
    pub fn holding(self, held: Written) -> Self {
        Self { state: State::Held, held: Some(held), ..self }
    }
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
    /// Cut off, or not a record at all: what a power cut leaves of a file that was not synced.
    #[error("it is torn: {0}")]
    Torn(String),
    /// A mark without content; an empty record is none.
    #[error("it is empty")]
    Empty,
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
    record: LockedFile,
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
    _file: LockedFile,
}

/// The records of one node.
#[derive(Clone, Debug)]
pub struct Records {
    state_dir: PathBuf,
    own: Folder,
    /// The folders of the names that the node had before.
    former: Vec<Folder>,
    /// Whether there is no other folder, once a call has looked.
    is_alone: OnceLock<bool>,
}

impl Records {
    /// The records of this node below a state folder. Reads and writes nothing yet.
    pub fn new(state_dir: &Path, node: &Name) -> Self {
        let (own, former) = (Folder::of(state_dir, node), Vec::new());
        Self { state_dir: state_dir.to_owned(), own, former, is_alone: OnceLock::new() }
    }

    /// The same, of a node that had these names before.
    #[must_use]
    pub fn with_former_names(self, names: &[Name]) -> Self {
        let former = names.iter().map(|name| Folder::of(&self.state_dir, name)).collect();
        Self { former, ..self }
    }

    /// The folder of this node, for what else it is to remember.
    pub fn folder(&self) -> &Path {
        self.own.path()
    }

    /// Whether an attachment with this name of a node is this node's own.
    pub fn are_of(&self, node: &Name) -> bool {
        self.folders().any(|folder| folder.node() == node)
    }

    /// The node's own folder, then those of its former names.
    fn folders(&self) -> impl Iterator<Item = &Folder> {
        std::iter::once(&self.own).chain(&self.former)
    }

    fn folder_of(&self, id: &AttachmentId) -> Folder {
        Folder::of(&self.state_dir, &id.node)
    }

    /// Waits for the attachment's lock. ADD and DEL of one attachment exclude each other by it.
    pub fn lock(&self, id: &AttachmentId, until: Deadline) -> Result<Lock, RecordError> {
        let began = Instant::now();
        let stem = file::stem(id);
        let path = self.folder_of(id).record(&stem);
        match LockedFile::take(&path, until).map_err(RecordError::io(Action::Lock, &path))? {
            Some(record) => Ok(Lock { id: id.clone(), stem, record }),
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
        let (folder, stem) = (self.folder_of(id), file::stem(id));
        // In this order, since a mark is written before its record is removed.
        let record = read(&folder.record(&stem), Some(id))?;
        let mark = read(&folder.mark(&stem), Some(id))?;
        let releasing = |record: Box<Record>| Found::Record(Box::new(Record { state: State::Releasing, ..*record }));
        Ok(match (mark, record) {
            // A call is about to write the first line, or was killed before.
            (Found::Nothing, Found::Unreadable { why: Unreadable::Empty, .. }) => Found::Nothing,
            (Found::Nothing, record) => record,
            (Found::Record(mark), _) => releasing(mark),
            // That it is to be released is known even so.
            (Found::Unreadable { .. }, Found::Record(record)) => releasing(record),
            (mark, _) => mark,
        })
    }

    /// The attachment as an ADD under another name of this node has recorded it, in whichever folder; `None` if there is no
    /// such record. `boot` is the present one. For who has locked the attachment under its present name, and has found nothing there: then one look at
    /// the state folder mostly tells that there is no other folder.
    pub fn elsewhere(&self, lock: &Lock, boot: &str) -> Result<Option<AttachmentId>, RecordError> {
        if self.is_only_folder() { Ok(None) } else { self.in_other_folders(&lock.id, boot) }
    }

    /// Whether there is certainly no other folder than the one that the caller knows.
    fn is_only_folder(&self) -> bool {
        // On most file systems a folder has two links of its own, and one of each folder in it. Where that is not so, all
        // are looked at.
        const OF_ONE_INSIDE: u64 = 3;
        let look = || fs::metadata(&self.state_dir).is_ok_and(|state_dir| state_dir.nlink() == OF_ONE_INSIDE);
        *self.is_alone.get_or_init(look)
    }

    /// The attachment under the name that its node had at its ADD: in the node's own folder, or in whichever has it.
    pub fn locate(&self, id: &AttachmentId, boot: &str) -> Result<(AttachmentId, Found), RecordError> {
        let found = self.look(id)?;
        if found == Found::Nothing
            && let Some(other) = self.in_other_folders(id, boot)?
        {
            let found = self.look(&other)?;
            return Ok((other, found));
        }
        Ok((id.clone(), found))
    }

    /// Where two nodes share a file system, they may have containers of one id, as tools give them that hash a path. A record of
    /// the present boot was written by this node's kernel, and one of a former name by this node.
    fn in_other_folders(&self, id: &AttachmentId, boot: &str) -> Result<Option<AttachmentId>, RecordError> {
        let is_own = |record: &Record| self.are_of(&record.id.node) || (!boot.is_empty() && record.began.boot == boot);
        for node in names(&self.state_dir)?.into_iter().filter_map(|name| Name::new(name).ok()) {
            let other = AttachmentId { node, ..id.clone() };
            if other != *id && matches!(self.look(&other)?, Found::Record(record) if is_own(&record)) {
                return Ok(Some(other));
            }
        }
        Ok(None)
    }

    /// Writes the record of the locked attachment, as asked or held. A mark counts as settled by who writes this, and is
    /// removed first.
    pub fn write(&self, lock: &Lock, record: &Record) -> Result<(), RecordError> {
        self.remove_mark(lock)?;
        let path = self.folder_of(&lock.id).record(&lock.stem);
        let written = file::append(lock.record.file(), &path, lease::write(record));
        written.map_err(RecordError::io(Action::Write, &path))
    }

    /// Marks the locked attachment as to be released. When this returns, not even a power cut loses the mark.
    pub fn mark(&self, lock: &Lock, record: &Record) -> Result<(), RecordError> {
        let folder = self.folder_of(&lock.id);
        let mark = Record { state: State::Releasing, ..record.clone() };
        let written = file::replace(&folder.marked(), &lock.stem, lease::write(&mark));
        written.map_err(RecordError::io(Action::Write, &folder.mark(&lock.stem)))?;
        self.remove_record(lock)
    }

    /// Removes all there is about the locked attachment of this pod, after its release.
    pub fn remove(&self, lock: &Lock, pod: &PodRef) -> Result<(), RecordError> {
        let unlinked = self.unlink_sandbox(lock, pod);
        self.remove_record(lock)?;
        self.remove_mark(lock)?;
        unlinked
    }

    /// The attachments of one interface of a container, on whichever network: for a DEL that does not say which.
    pub fn find(&self, container: &Name, ifname: &IfName) -> Result<Vec<AttachmentId>, RecordError> {
        let mut found = self.all()?;
        found.retain(|id| id.container == *container && id.ifname == *ifname);
        Ok(found)
    }

    /// All attachments with a record, marked or not, and those that a call has locked to write the first one.
    pub fn all(&self) -> Result<Vec<AttachmentId>, RecordError> {
        let mut found = BTreeSet::new();
        for folder in self.folders() {
            for path in [folder.path().to_owned(), folder.marked()] {
                for name in names(&path)? {
                    found.extend(folder.attachment(&path, &name)?);
                }
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Some of the marked attachments. Which ones differs from call to call, so that those whose store stays away don't
    /// keep the others waiting. Where nothing is marked, this costs one look into a folder.
    pub fn marks(&self, at_most: usize) -> Result<Vec<AttachmentId>, RecordError> {
        let mut marks = Vec::new();
        for folder in self.folders() {
            let path = folder.marked();
            marks.extend(names(&path)?.into_iter().map(|name| (folder, name)));
        }
        if marks.len() > at_most {
            let start = RandomState::new().hash_one(()) as usize % marks.len();
            marks.rotate_left(start);
        }
        let marks = marks.into_iter().map(|(folder, name)| folder.attachment(&folder.marked(), &name));
        marks.filter_map(Result::transpose).take(at_most).collect()
    }

    /// The right to replay marks; `None` while another call has it.
    pub fn replay_lock(&self) -> Result<Option<ReplayLock>, RecordError> {
        let path = self.own.path().join("replay.lock");
        let file = LockedFile::try_take(&path).map_err(RecordError::io(Action::Lock, &path))?;
        Ok(file.map(|file| ReplayLock { _file: file }))
    }

    /// Removes what killed processes left of at most so many attachments.
    pub fn tidy(&self, at_most: usize) -> Result<(), RecordError> {
        for folder in self.folders() {
            folder.tidy(at_most)?;
        }
        Ok(())
    }

    fn remove_record(&self, lock: &Lock) -> Result<(), RecordError> {
        let path = self.folder_of(&lock.id).record(&lock.stem);
        // Its file goes with the lock: without it, another call could lock a new one meanwhile.
        lock.record.file().set_len(0).map_err(RecordError::io(Action::Remove, &path))
    }

    fn remove_mark(&self, lock: &Lock) -> Result<(), RecordError> {
        let folder = self.folder_of(&lock.id);
        remove(&file::unfinished(&folder.marked(), &lock.stem))?;
        remove(&folder.mark(&lock.stem))
    }
}

fn read(path: &Path, expected: Option<&AttachmentId>) -> Result<Found, RecordError> {
    let Some(content) = file::read(path).map_err(RecordError::io(Action::Read, path))? else {
        return Ok(Found::Nothing);
    };
    let why = match Stored::<Record>::read(file::last_line(&content)) {
        Stored::Known(record) if expected.is_none_or(|id| *id == record.id) => {
            return Ok(Found::Record(Box::new(record)));
        }
        Stored::Known(record) => Unreadable::Foreign(Box::new(record.id)),
        Stored::Newer(version) => Unreadable::Newer(version),
        Stored::Corrupt(_) if content.is_empty() => Unreadable::Empty,
        Stored::Corrupt(problem) => Unreadable::Torn(problem),
    };
    Ok(Found::Unreadable { path: path.to_owned(), why })
}

fn remove(path: &Path) -> Result<(), RecordError> {
    file::remove(path).map_err(RecordError::io(Action::Remove, path))
}

fn names(folder: &Path) -> Result<Vec<String>, RecordError> {
    file::names(folder).map_err(RecordError::io(Action::List, folder))
}
