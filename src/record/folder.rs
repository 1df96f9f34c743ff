//! The folder that holds the records of one name of a node.

use std::fs;
use std::path::{Path, PathBuf};

use super::file::{self, Named};
use super::lock::LockedFile;
use super::{Action, Found, RecordError, names, read, remove};
use crate::ipam::name::{AttachmentId, Name};

/// The folder of one name of a node.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    node: Name,
    path: PathBuf,
}

impl Folder {
    pub(super) fn of(state_dir: &Path, node: &Name) -> Self {
        Self { node: node.clone(), path: state_dir.join(node.as_str()) }
    }

    pub(super) fn node(&self) -> &Name {
        &self.node
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The record of a stem.
    pub(super) fn record(&self, stem: &str) -> PathBuf {
        file::record(&self.path, stem)
    }

    /// The folder of what is marked.
    pub(super) fn marked(&self) -> PathBuf {
        self.path.join("marked")
    }

    /// The mark of a stem.
    pub(super) fn mark(&self, stem: &str) -> PathBuf {
        file::record(&self.marked(), stem)
    }

    /// The folder of the links to the sandboxes of pods.
    pub(super) fn sandboxes(&self) -> PathBuf {
        self.path.join("sandboxes")
    }

    /// The attachment that a file of this name in `inside`, one of the folders, is about, if it is a record and says so.
    pub(super) fn attachment(&self, inside: &Path, name: &str) -> Result<Option<AttachmentId>, RecordError> {
        match file::named(&self.node, name) {
            Named::Fully(id) => Ok(Some(id)),
            Named::Inside => match read(&inside.join(name), None)? {
                Found::Record(record) if record.id.node == self.node => Ok(Some(record.id)),
                _ => Ok(None),
            },
            Named::No => Ok(None),
        }
    }

    /// Removes what killed processes left of at most so many attachments.
    pub(super) fn tidy(&self, at_most: usize) -> Result<(), RecordError> {
        let is_empty = |name: &str| fs::metadata(self.path.join(name)).is_ok_and(|file| file.len() == 0);
        let is_record = |name: &str| file::named(&self.node, name) != Named::No;
        let marked = self.marked();
        let (records, marks) = (names(&self.path)?, names(&marked)?);
        let empty =
            records.iter().filter(|name| is_record(name) && is_empty(name)).filter_map(|name| file::stem_of(name));
        let unfinished = marks.iter().filter_map(|name| file::stem_of_unfinished(name));
        for stem in empty.chain(unfinished).take(at_most) {
            let path = self.record(stem);
            // An empty record goes when it is let go of.
            let locked = LockedFile::try_take(&path).map_err(RecordError::io(Action::Lock, &path))?;
            if locked.is_some() {
                remove(&file::unfinished(&marked, stem))?;
            }
        }
        self.tidy_sandboxes(at_most)
    }
}
