//! The highest revisions at which a store has given this node addresses: what a store that went back in time falls behind.
//!
//! One file per store in the node's folder, `seen-<digest of where the store is>`, of fixed size: the last revisions, each
//! in the slot of its remainder. So a call notes its own by one write in place, calls at once don't overwrite each other's
//! higher ones, and nothing is renamed or synced. After a power cut it may be behind; then less is noticed by it, and the
//! records themselves are compared by `sweep --node` and the installer all the same.

use std::fs::{File, OpenOptions};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

use super::file::with_folder;
use super::{Action, Found, RecordError, Records};
use crate::ipam::seed::fnv1a_128;
use crate::store::{Revision, StoreConfig};

/// The slots of the file: more than ADDs of one node commit at one time.
const SLOTS: u64 = 32;

/// The bytes of a slot.
const SLOT: u64 = 8;

/// What this node has seen of a store.
#[derive(Debug)]
pub struct Seen {
    path: PathBuf,
    file: File,
    newest: Option<Revision>,
}

impl Records {
    /// What this node has seen of a store. Where that was never noted, its records say it.
    pub fn seen(&self, store: &StoreConfig) -> Result<Seen, RecordError> {
        let digest = fnv1a_128(store.place().as_bytes());
        let path = self.folder().join(format!("seen-{digest:032x}"));
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = with_folder(&path, open).map_err(RecordError::io(Action::Read, &path))?;
        let mut slots = [0; (SLOTS * SLOT) as usize];
        let read = file.read_at(&mut slots, 0).map_err(RecordError::io(Action::Read, &path))?;
        let numbers = slots[..read].chunks_exact(SLOT as usize).filter_map(|slot| slot.try_into().ok());
        let newest = numbers.map(u64::from_le_bytes).filter_map(NonZeroU64::new).max().map(Revision);
        let mut seen = Seen { path, file, newest };
        if read == 0 {
            seen.begin(self.newest_recorded(store)?)?;
        }
        Ok(seen)
    }

    /// The highest revision in the records of this store.
    fn newest_recorded(&self, store: &StoreConfig) -> Result<Option<Revision>, RecordError> {
        let revision = |id| match self.look(&id) {
            Ok(Found::Record(record)) if record.runs_on(store) => record.held.map(|held| held.revision),
            _ => None,
        };
        Ok(self.all()?.into_iter().filter_map(revision).max())
    }
}

impl Seen {
    /// The highest revision.
    pub fn newest(&self) -> Option<Revision> {
        self.newest
    }

    /// Notes a revision.
    pub fn note(&self, revision: Revision) -> Result<(), RecordError> {
        let number = revision.0.get();
        let written = self.file.write_all_at(&number.to_le_bytes(), number % SLOTS * SLOT);
        written.map_err(RecordError::io(Action::Write, &self.path))
    }

    /// Forgets all of it but this: the store has lost it, and has what runs on this node again.
    pub fn begin(&mut self, newest: Option<Revision>) -> Result<(), RecordError> {
        let mut slots = vec![0; (SLOTS * SLOT) as usize];
        if let Some(number) = newest.map(|revision| revision.0.get()) {
            let at = (number % SLOTS * SLOT) as usize;
            slots[at..at + SLOT as usize].copy_from_slice(&number.to_le_bytes());
        }
        self.newest = newest;
        self.file.write_all_at(&slots, 0).map_err(RecordError::io(Action::Write, &self.path))
    }
}
