//! The highest revisions at which a store has assigned addresses to this node. A store that was restored from a backup
//! falls behind them. If its revisions have no order, it has none of this.
//!
//! Each store has one file of fixed size in the node's folder, `seen-<digest of the store's place>`. A revision is
//! written to the slot at its remainder. So one write in place is enough, and concurrent calls don't overwrite each
//! other's higher revisions. Nothing is renamed or synced. After a power failure, the file may be out of date and miss
//! a restore. `sweep --node` and the installer still compare the records themselves.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

use super::file::with_folder;
use super::{Action, ReadResult, RecordError, Records};
use crate::ipam::seed::fnv1a_128;
use crate::store::{Revision, RevisionOrder, StoreConfig};

/// More than the ADDs of one node that commit at once.
const SLOTS: u64 = 32;

/// In bytes.
const SLOT_SIZE: u64 = 8;

/// The revisions of one store.
#[derive(Debug)]
pub struct SeenRevisions {
    path: PathBuf,
    file: File,
    newest: Option<Revision>,
}

impl Records {
    /// Reads the revisions of a store. If none were noted, uses those of the records. `None` if they have no order.
    pub fn seen_revisions(&self, store: &StoreConfig) -> Result<Option<SeenRevisions>, RecordError> {
        match store.revision_order() {
            RevisionOrder::Counted => self.read_seen(store).map(Some),
            RevisionOrder::Unordered => Ok(None),
        }
    }

    fn read_seen(&self, store: &StoreConfig) -> Result<SeenRevisions, RecordError> {
        let path = self.seen_path(store);
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = with_folder(&path, open).map_err(RecordError::io(Action::Read, &path))?;
        let slots = read_slots(&file).map_err(RecordError::io(Action::Read, &path))?;
        let mut seen = SeenRevisions { path, file, newest: slots.unwrap_or_default() };
        if slots.is_none() {
            seen.reset(self.newest_recorded(store)?)?;
        }
        Ok(seen)
    }

    /// The highest revision of a store that this node has seen; `None` also if its revisions have no order. Creates no
    /// file.
    pub fn newest_seen(&self, store: &StoreConfig) -> Result<Option<Revision>, RecordError> {
        if store.revision_order() == RevisionOrder::Unordered {
            return Ok(None);
        }
        let path = self.seen_path(store);
        let slots = match File::open(&path).and_then(|file| read_slots(&file)) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            slots => slots.map_err(RecordError::io(Action::Read, &path))?,
        };
        slots.map_or_else(|| self.newest_recorded(store), Ok)
    }

    fn seen_path(&self, store: &StoreConfig) -> PathBuf {
        let digest = fnv1a_128(store.place().as_bytes());
        self.folder().join(format!("seen-{digest:032x}"))
    }

    /// The highest revision in the records of a store.
    fn newest_recorded(&self, store: &StoreConfig) -> Result<Option<Revision>, RecordError> {
        let revision = |id| match self.peek(&id) {
            Ok(ReadResult::Record(record)) if record.runs_on(store) => record.held.map(|held| held.revision),
            _ => None,
        };
        Ok(self.all()?.into_iter().filter_map(revision).max_by_key(|revision: &Revision| revision.0))
    }
}

/// The highest revision in a file; `None` if nothing was ever written to it.
fn read_slots(file: &File) -> io::Result<Option<Option<Revision>>> {
    let mut slots = [0; (SLOTS * SLOT_SIZE) as usize];
    let read = file.read_at(&mut slots, 0)?;
    let numbers = slots[..read].chunks_exact(SLOT_SIZE as usize).filter_map(|slot| slot.try_into().ok());
    let newest = numbers.map(u64::from_le_bytes).filter_map(NonZeroU64::new).max().map(Revision);
    Ok((read > 0).then_some(newest))
}

impl SeenRevisions {
    /// The highest revision.
    pub fn newest(&self) -> Option<Revision> {
        self.newest
    }

    /// Adds a revision.
    pub fn note(&self, revision: Revision) -> Result<(), RecordError> {
        let number = revision.0.get();
        let written = self.file.write_all_at(&number.to_le_bytes(), number % SLOTS * SLOT_SIZE);
        written.map_err(RecordError::io(Action::Write, &self.path))
    }

    /// Replaces all revisions by this one, after a restored store has this node's attachments again.
    pub fn reset(&mut self, newest: Option<Revision>) -> Result<(), RecordError> {
        let mut slots = vec![0; (SLOTS * SLOT_SIZE) as usize];
        if let Some(number) = newest.map(|revision| revision.0.get()) {
            let at = (number % SLOTS * SLOT_SIZE) as usize;
            slots[at..at + SLOT_SIZE as usize].copy_from_slice(&number.to_le_bytes());
        }
        self.newest = newest;
        self.file.write_all_at(&slots, 0).map_err(RecordError::io(Action::Write, &self.path))
    }
}
