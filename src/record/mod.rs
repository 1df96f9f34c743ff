//! The node's own records: one small file per attachment, and the releases that a DEL could not complete.
//!
//! ```text
//! <stateDir>/<node>/                                   includes the node, because nodes may share a file system
//!     <containerID>:<ifname>:<network>.json            asked or held; a call locks it while it works on the attachment
//!     marked/<containerID>:<ifname>:<network>.json     a deferred release: a DEL could not reach the store
//!     sandboxes/<hash>                                 a link from a pod's interface to the record of its sandbox
//!     replay.lock                                      held by the call that replays deferred releases
//!     events                                           the rate limit of events on pods
//!     cluster                                          the identity of the API server's cluster
//!     seen-<digest>                                    the highest revisions of a store ([`seen`])
//! ```
//!
//! The store is the source of truth. A record names the store, what was requested and what was assigned, so that a DEL
//! needs no config and only one request. Records are not synced: after a power failure, one may be missing or torn, and
//! [`ReadResult`] shows that. Only a deferred release is synced, because nothing else has it.
//!
//! A record is a line of JSON at the end of its file. The last complete line counts, so an interrupted write leaves the
//! previous state, *asked* instead of *held*, which is the safe one. An empty file is not a record. So one file is both
//! the record and its lock, and a call creates and removes one file instead of three. On ext4, replacing the record by
//! a rename alone would take longer than all of this, because the file system then flushes the new file.
//!
//! An attachment keeps the name that its node had at its ADD, so a renamed node finds it in the folder of its old name.
//! Attachments that no call names (GC's candidates, deferred releases, records of earlier boots) are searched only in
//! the folders of the node and its former names (`formerNodeNames`). The other folders may belong to other nodes.
//!
//! Each step is one atomic system call. A process that is killed between two of them may leave:
//!
//! - A record and its deferred release. The latter counts. Releasing twice is harmless (invariant 3).
//! - An empty record, or an unfinished deferred release (`….json.new`). They are ignored. The next call that releases
//!   the attachment removes them, or else [`Records::remove_leftovers`].

mod cluster;
mod document;
mod error;
mod event_rate_limit;
mod file;
mod folder;
mod lock;
mod netns;
mod newest;
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

pub use self::cluster::CachedIdentity;
use self::document::read;
pub use self::document::{ReadResult, Record, RecordState, UnreadableRecord};
pub use self::error::{Action, RecordError};
pub use self::event_rate_limit::EventBudget;
use self::folder::Folder;
use self::lock::LockedFile;
pub use self::netns::Netns;
pub use self::seen::SeenRevisions;
use crate::deadline::Deadline;
use crate::ipam::lease::{self, PodRef};
use crate::ipam::name::{AttachmentId, IfName, Name};

/// Exclusive access to one attachment on this node, until it is dropped or its process ends.
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

/// The exclusive right to replay deferred releases on this node, until it is dropped or its process ends.
#[derive(Debug)]
pub struct ReplayLock {
    _file: LockedFile,
}

/// The records of one node.
#[derive(Clone, Debug)]
pub struct Records {
    state_dir: PathBuf,
    own: Folder,
    /// The folders of the node's former names.
    former: Vec<Folder>,
    /// Caches whether there are no other folders.
    is_alone: OnceLock<bool>,
}

impl Records {
    /// The records of this node below a state folder. Does no I/O.
    pub fn new(state_dir: &Path, node: &Name) -> Self {
        let (own, former) = (Folder::new(state_dir, node), Vec::new());
        Self { state_dir: state_dir.to_owned(), own, former, is_alone: OnceLock::new() }
    }

    /// Adds the node's former names.
    #[must_use]
    pub fn with_former_names(self, names: &[Name]) -> Self {
        let former = names.iter().map(|name| Folder::new(&self.state_dir, name)).collect();
        Self { former, ..self }
    }

    /// The folder of this node, which has some other files too.
    pub fn folder(&self) -> &Path {
        self.own.path()
    }

    /// Whether this is the current or a former name of this node.
    pub fn is_own_name(&self, node: &Name) -> bool {
        self.folders().any(|folder| folder.node() == node)
    }

    /// The node's own folder, then those of its former names.
    fn folders(&self) -> impl Iterator<Item = &Folder> {
        std::iter::once(&self.own).chain(&self.former)
    }

    fn folder_of(&self, id: &AttachmentId) -> Folder {
        Folder::new(&self.state_dir, &id.node)
    }

    /// Waits for the attachment's lock, so that ADD and DEL of one attachment don't run at the same time.
    pub fn lock(&self, id: &AttachmentId, deadline: Deadline) -> Result<Lock, RecordError> {
        let began = Instant::now();
        let stem = file::stem(id);
        let path = self.folder_of(id).record(&stem);
        match LockedFile::acquire(&path, deadline).map_err(RecordError::io(Action::Lock, &path))? {
            Some(record) => Ok(Lock { id: id.clone(), stem, record }),
            None => Err(RecordError::Busy {
                id: Box::new(id.clone()),
                process: lock::holder(&path),
                waited: began.elapsed(),
            }),
        }
    }

    /// Reads the record of the locked attachment.
    pub fn read(&self, lock: &Lock) -> Result<ReadResult, RecordError> {
        self.peek(&lock.id)
    }

    /// Reads a record without the lock, so it may be out of date. For calls that change nothing, and for a DEL on a
    /// full or read-only disk, which can't lock.
    pub fn peek(&self, id: &AttachmentId) -> Result<ReadResult, RecordError> {
        let (folder, stem) = (self.folder_of(id), file::stem(id));
        // The order matters: a deferred release is written before its record is removed.
        let record = read(&folder.record(&stem), Some(id))?;
        let deferred = read(&folder.deferred_release(&stem), Some(id))?;
        let releasing =
            |record: Box<Record>| ReadResult::Record(Box::new(Record { state: RecordState::Releasing, ..*record }));
        Ok(match (deferred, record) {
            // A call is about to write the first line, or was killed before.
            (ReadResult::Missing, ReadResult::Unreadable { why: UnreadableRecord::Empty, .. }) => ReadResult::Missing,
            (ReadResult::Missing, record) => record,
            (ReadResult::Record(deferred), _) => releasing(deferred),
            // The file shows that the attachment is to be released, even if it can't be read.
            (ReadResult::Unreadable { .. }, ReadResult::Record(record)) => releasing(record),
            (deferred, _) => deferred,
        })
    }

    /// Finds the attachment in any folder, if an ADD has recorded it under another name of this node. `boot` is the
    /// current boot. The caller has locked the attachment under its current name and found nothing. Usually one stat of
    /// the state folder shows that there is no other folder.
    pub fn find_elsewhere(&self, lock: &Lock, boot: &str) -> Result<Option<AttachmentId>, RecordError> {
        if self.is_only_folder() { Ok(None) } else { self.find_in_other_folders(&lock.id, boot) }
    }

    /// Whether there is certainly no other folder.
    fn is_only_folder(&self) -> bool {
        // On most file systems a folder has two links, and one more for each subfolder. On others, all folders are
        // read.
        const LINKS_WITH_ONE_FOLDER: u64 = 3;
        let check = || fs::metadata(&self.state_dir).is_ok_and(|state_dir| state_dir.nlink() == LINKS_WITH_ONE_FOLDER);
        *self.is_alone.get_or_init(check)
    }

    /// Finds the attachment in the node's own folder or any other, under the name that the node had at its ADD.
    pub fn locate(&self, id: &AttachmentId, boot: &str) -> Result<(AttachmentId, ReadResult), RecordError> {
        let found = self.peek(id)?;
        if found == ReadResult::Missing
            && let Some(other) = self.find_in_other_folders(id, boot)?
        {
            let found = self.peek(&other)?;
            return Ok((other, found));
        }
        Ok((id.clone(), found))
    }

    /// Nodes that share a file system may have containers with the same id, from tools that hash a path. So a record
    /// counts only if it is from the current boot, hence from this node's kernel, or under a former name of this node.
    fn find_in_other_folders(&self, id: &AttachmentId, boot: &str) -> Result<Option<AttachmentId>, RecordError> {
        let is_own =
            |record: &Record| self.is_own_name(&record.id.node) || (!boot.is_empty() && record.began.boot == boot);
        for node in names(&self.state_dir)?.into_iter().filter_map(|name| Name::new(name).ok()) {
            let other = AttachmentId { node, ..id.clone() };
            if other != *id && matches!(self.peek(&other)?, ReadResult::Record(record) if is_own(&record)) {
                return Ok(Some(other));
            }
        }
        Ok(None)
    }

    /// Writes the record of the locked attachment, as asked or held. Removes its deferred release first, which the
    /// caller has completed.
    pub fn write(&self, lock: &Lock, record: &Record) -> Result<(), RecordError> {
        self.remove_deferred(lock)?;
        let path = self.folder_of(&lock.id).record(&lock.stem);
        let written = file::append(lock.record.file(), &path, lease::write(record));
        written.map_err(RecordError::io(Action::Write, &path))
    }

    /// Leaves the release of the locked attachment to a later call. Syncs it before it returns.
    pub fn defer_release(&self, lock: &Lock, record: &Record) -> Result<(), RecordError> {
        let folder = self.folder_of(&lock.id);
        let deferred = Record { state: RecordState::Releasing, ..record.clone() };
        let written = file::replace(&folder.deferred_folder(), &lock.stem, lease::write(&deferred));
        written.map_err(RecordError::io(Action::Write, &folder.deferred_release(&lock.stem)))?;
        self.remove_record(lock)
    }

    /// Removes all files of the locked attachment, after its release.
    pub fn remove(&self, lock: &Lock, pod: &PodRef) -> Result<(), RecordError> {
        let unlinked = self.unlink_sandbox(lock, pod);
        self.remove_record(lock)?;
        self.remove_deferred(lock)?;
        unlinked
    }

    /// The attachments of a container's interface on any network, for a DEL that does not name the network.
    pub fn find(&self, container: &Name, ifname: &IfName) -> Result<Vec<AttachmentId>, RecordError> {
        let mut found = self.all()?;
        found.retain(|id| id.container == *container && id.ifname == *ifname);
        Ok(found)
    }

    /// All attachments with a record or a deferred release, and those whose first record is about to be written.
    pub fn all(&self) -> Result<Vec<AttachmentId>, RecordError> {
        let mut found = BTreeSet::new();
        for folder in self.folders() {
            for path in [folder.path().to_owned(), folder.deferred_folder()] {
                for name in names(&path)? {
                    found.extend(folder.attachment(&path, &name)?);
                }
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Some of the attachments with a deferred release. The choice is random, so that attachments of an unreachable
    /// store don't block the others. If there are none, this reads one folder.
    pub fn deferred_releases(&self, at_most: usize) -> Result<Vec<AttachmentId>, RecordError> {
        let mut deferred = Vec::new();
        for folder in self.folders() {
            let path = folder.deferred_folder();
            deferred.extend(names(&path)?.into_iter().map(|name| (folder, name)));
        }
        if deferred.len() > at_most {
            let start = RandomState::new().hash_one(()) as usize % deferred.len();
            deferred.rotate_left(start);
        }
        let attachments =
            deferred.into_iter().map(|(folder, name)| folder.attachment(&folder.deferred_folder(), &name));
        attachments.filter_map(Result::transpose).take(at_most).collect()
    }

    /// Acquires the right to replay deferred releases; `None` if another call has it.
    pub fn replay_lock(&self) -> Result<Option<ReplayLock>, RecordError> {
        let path = self.own.path().join("replay.lock");
        let file = LockedFile::try_acquire(&path).map_err(RecordError::io(Action::Lock, &path))?;
        Ok(file.map(|file| ReplayLock { _file: file }))
    }

    /// Removes leftovers of killed processes, of at most this many attachments.
    pub fn remove_leftovers(&self, at_most: usize) -> Result<(), RecordError> {
        for folder in self.folders() {
            folder.remove_leftovers(at_most)?;
        }
        Ok(())
    }

    /// The leftovers that [`Self::remove_leftovers`] would look at. A call may be about to write some of them.
    pub fn leftovers(&self) -> Result<Vec<PathBuf>, RecordError> {
        let mut found = Vec::new();
        for folder in self.folders() {
            found.extend(folder.leftovers()?);
        }
        Ok(found)
    }

    /// The file of an attachment's record.
    pub fn path(&self, id: &AttachmentId) -> PathBuf {
        self.folder_of(id).record(&file::stem(id))
    }

    /// The file of an attachment's deferred release.
    pub fn deferred_path(&self, id: &AttachmentId) -> PathBuf {
        self.folder_of(id).deferred_release(&file::stem(id))
    }

    /// The names of the other folders in the state folder, which may be those of other nodes.
    pub fn other_folders(&self) -> Result<Vec<Name>, RecordError> {
        let found = names(&self.state_dir)?.into_iter().filter_map(|name| Name::new(name).ok());
        Ok(found.filter(|name| !self.is_own_name(name)).collect())
    }

    fn remove_record(&self, lock: &Lock) -> Result<(), RecordError> {
        let path = self.folder_of(&lock.id).record(&lock.stem);
        // Dropping the lock removes the file. If it was removed earlier, another call could lock a new file.
        lock.record.file().set_len(0).map_err(RecordError::io(Action::Remove, &path))
    }

    fn remove_deferred(&self, lock: &Lock) -> Result<(), RecordError> {
        let folder = self.folder_of(&lock.id);
        remove(&file::unfinished(&folder.deferred_folder(), &lock.stem))?;
        remove(&folder.deferred_release(&lock.stem))
    }
}

fn remove(path: &Path) -> Result<(), RecordError> {
    file::remove(path).map_err(RecordError::io(Action::Remove, path))
}

fn names(folder: &Path) -> Result<Vec<String>, RecordError> {
    file::names(folder).map_err(RecordError::io(Action::List, folder))
}
