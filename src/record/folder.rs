//! The folder with the records of a node, under one of its names.

use std::fs;
use std::path::{Path, PathBuf};

use super::file::{self, FileName};
use super::lock::LockedFile;
use super::{Action, ReadResult, RecordError, names, read, remove};
use crate::ipam::name::{AttachmentId, Name};

/// The record folder of one name of a node.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    node: Name,
    path: PathBuf,
}

impl Folder {
    pub(super) fn new(state_dir: &Path, node: &Name) -> Self {
        Self { node: node.clone(), path: state_dir.join(node.as_str()) }
    }

    pub(super) fn node(&self) -> &Name {
        &self.node
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn record(&self, stem: &str) -> PathBuf {
        file::record(&self.path, stem)
    }

    pub(super) fn deferred_folder(&self) -> PathBuf {
        self.path.join("marked")
    }

    pub(super) fn deferred_release(&self, stem: &str) -> PathBuf {
        file::record(&self.deferred_folder(), stem)
    }

    /// The folder of the links to the pods' sandboxes.
    pub(super) fn sandboxes(&self) -> PathBuf {
        self.path.join("sandboxes")
    }

    /// The attachment of a file in `inside`, one of the folders; `None` if the file is not a readable record.
    pub(super) fn attachment(&self, inside: &Path, name: &str) -> Result<Option<AttachmentId>, RecordError> {
        match file::parse_file_name(&self.node, name) {
            FileName::Attachment(id) => Ok(Some(id)),
            FileName::LongName => match read(&inside.join(name), None)? {
                ReadResult::Record(record) if record.id.node == self.node => Ok(Some(record.id)),
                _ => Ok(None),
            },
            FileName::Other => Ok(None),
        }
    }

    /// Removes leftovers of killed processes, of at most this many attachments.
    pub(super) fn remove_leftovers(&self, at_most: usize) -> Result<(), RecordError> {
        let deferred = self.deferred_folder();
        for stem in self.stems_of_leftovers()?.into_iter().take(at_most) {
            let path = self.record(&stem);
            // Dropping the lock removes an empty record.
            let locked = LockedFile::try_acquire(&path).map_err(RecordError::io(Action::Lock, &path))?;
            if locked.is_some() {
                remove(&file::unfinished(&deferred, &stem))?;
            }
        }
        self.remove_dangling_links(at_most)
    }

    /// What [`Self::remove_leftovers`] would look at: empty records, unfinished deferred releases, and links that lead
    /// nowhere. A call may be about to write some of them.
    pub(super) fn leftovers(&self) -> Result<Vec<PathBuf>, RecordError> {
        let deferred = self.deferred_folder();
        let files = self.stems_of_leftovers()?;
        let files = files.iter().flat_map(|stem| [self.record(stem), file::unfinished(&deferred, stem)]);
        let is_leftover =
            |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.len() == 0 || path.starts_with(&deferred));
        Ok(files.filter(is_leftover).chain(self.dangling_links()?).collect())
    }

    /// The stems of empty records and of unfinished deferred releases.
    fn stems_of_leftovers(&self) -> Result<Vec<String>, RecordError> {
        let is_empty = |name: &str| fs::metadata(self.path.join(name)).is_ok_and(|file| file.len() == 0);
        let is_record = |name: &str| file::parse_file_name(&self.node, name) != FileName::Other;
        let (records, deferred) = (names(&self.path)?, names(&self.deferred_folder())?);
        let empty =
            records.iter().filter(|name| is_record(name) && is_empty(name)).filter_map(|name| file::stem_of(name));
        let unfinished = deferred.iter().filter_map(|name| file::stem_of_unfinished(name));
        Ok(empty.chain(unfinished).map(str::to_owned).collect())
    }
}
