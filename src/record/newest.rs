//! The records of this node in the order in which they were written. No file has this order: the times of the files do.

use std::fs;
use std::io::ErrorKind;
use std::time::SystemTime;

use super::{Action, Lock, Record, RecordError, Records, names};
use crate::ipam::name::AttachmentId;

impl Records {
    /// The attachments with a record, the last written first. Reads no record, so some may hold nothing.
    pub fn newest_first(&self) -> Result<Vec<AttachmentId>, RecordError> {
        let mut found = Vec::new();
        for folder in self.folders() {
            for name in names(folder.path())? {
                let Some(id) = folder.attachment(folder.path(), &name)? else { continue };
                let path = folder.path().join(name);
                match fs::metadata(&path).and_then(|file| file.modified()) {
                    Ok(written) => found.push((written, id)),
                    // Its DEL has removed it meanwhile.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(RecordError::io(Action::Read, &path)(error)),
                }
            }
        }
        found.sort_unstable_by(|one, other| other.cmp(one));
        Ok(found.into_iter().map(|(_, id)| id).collect())
    }

    /// When the record of the locked attachment was written.
    pub fn written_at(&self, lock: &Lock) -> Result<SystemTime, RecordError> {
        let modified = lock.record.file().metadata().and_then(|file| file.modified());
        modified.map_err(RecordError::io(Action::Read, &self.path(lock.id())))
    }

    /// Makes the record of the locked attachment as old as it was at this time.
    pub fn set_written_at(&self, lock: &Lock, written: SystemTime) -> Result<(), RecordError> {
        lock.record.file().set_modified(written).map_err(RecordError::io(Action::Write, &self.path(lock.id())))
    }

    /// Writes a record whose addresses are not new. It stays as old as it was: a backup that has its entry may lack what
    /// was assigned since.
    pub fn update(&self, lock: &Lock, record: &Record) -> Result<(), RecordError> {
        let written = self.written_at(lock)?;
        self.write(lock, record)?;
        self.set_written_at(lock, written)
    }
}
