//! Which sandbox of a pod has an interface on a network: one link each, so that a later sandbox finds what an earlier one holds.
//!
//! ```text
//! <stateDir>/<node>/sandboxes/<hash of pod, interface and network> -> ../<containerID>:<ifname>:<network>.json
//! ```
//!
//! A symbolic link is made whole or not at all, by one system call, which fails if there is one: so the first sandbox of a pod
//! pays that one call. The link of an earlier sandbox stays until the later one's ADD has its addresses. Killed before, the next
//! ADD comes to the same earlier sandbox; killed after, the earlier one's entry in the store still says what it has lost, and
//! to whom that went is for its lease to say.
//!
//! A link is a hint: who follows it asks the store what the earlier sandbox holds, and takes it under the usual guards. Where
//! there is none, or it leads astray, the pod gets another address, and a sweep finds the one that is left over.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::file::{self, with_folder};
use super::folder::Folder;
use super::{Action, Lock, RecordError, Records, names, remove};
use crate::ipam::lease::PodRef;
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::seed::fnv1a_128;

/// What the name of a link ends with that is about to replace another one.
const UNFINISHED: &str = "new";

impl Records {
    /// Links the locked attachment as the sandbox that has its interface of this pod, unless an earlier one is linked: then
    /// says which. Of a pod that the runtime has not named in full, nothing is linked.
    pub fn link_sandbox(&self, lock: &Lock, pod: &PodRef) -> Result<Option<AttachmentId>, RecordError> {
        let Some(hash) = hash(lock.id(), pod) else { return Ok(None) };
        let folder = self.folder_of(lock.id());
        let path = folder.sandboxes().join(&hash);
        match with_folder(&path, || symlink(target(lock), &path)) {
            Ok(()) => self.under_another_name(&hash, lock),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Ok(folder.linked(&hash)?.filter(|id| id != lock.id()))
            }
            Err(error) => Err(RecordError::io(Action::Write, &path)(error)),
        }
    }

    /// Links the locked attachment in the place of an earlier sandbox, once it has its addresses.
    pub fn relink_sandbox(&self, lock: &Lock, pod: &PodRef) -> Result<(), RecordError> {
        let Some(hash) = hash(lock.id(), pod) else { return Ok(()) };
        let path = self.folder_of(lock.id()).sandboxes().join(&hash);
        let unfinished = unfinished(&path);
        let link = || symlink(target(lock), &unfinished);
        let linked = match link() {
            // A killed process has left it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                fs::remove_file(&unfinished).and_then(|()| link())
            }
            linked => linked,
        };
        linked.and_then(|()| fs::rename(&unfinished, &path)).map_err(RecordError::io(Action::Write, &path))
    }

    /// Removes the link to the locked attachment. That of a later sandbox stays.
    pub(super) fn unlink_sandbox(&self, lock: &Lock, pod: &PodRef) -> Result<(), RecordError> {
        let Some(hash) = hash(lock.id(), pod) else { return Ok(()) };
        let path = self.folder_of(lock.id()).sandboxes().join(&hash);
        match read_link(&path)? {
            Some(linked) if linked == target(lock) => remove(&path),
            // The attachment may have been about to become the later one.
            _ => remove(&unfinished(&path)),
        }
    }

    /// The sandbox of the pod that was linked while the node had another name.
    fn under_another_name(&self, hash: &str, lock: &Lock) -> Result<Option<AttachmentId>, RecordError> {
        if self.is_only_folder() {
            return Ok(None);
        }
        for node in names(&self.state_dir)?.into_iter().filter_map(|name| Name::new(name).ok()) {
            if node != lock.id().node
                && let Some(id) = Folder::of(&self.state_dir, &node).linked(hash)?
            {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}

impl Folder {
    /// The attachment to which a link leads.
    fn linked(&self, hash: &str) -> Result<Option<AttachmentId>, RecordError> {
        let target = read_link(&self.sandboxes().join(hash))?;
        let name = target.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
        name.map_or(Ok(None), |name| self.attachment(self.path(), name))
    }

    /// Removes at most so many links that lead to neither a record nor a mark, and those that were never finished.
    pub(super) fn tidy_sandboxes(&self, at_most: usize) -> Result<(), RecordError> {
        let (sandboxes, marked) = (self.sandboxes(), self.marked());
        let leads_nowhere = |link: &Path| -> Result<bool, RecordError> {
            let target = read_link(link)?;
            let Some(name) = target.as_deref().and_then(Path::file_name) else { return Ok(false) };
            Ok(![self.path(), marked.as_path()].into_iter().any(|folder| folder.join(name).exists()))
        };
        for link in names(&sandboxes)?.into_iter().take(at_most).map(|name| sandboxes.join(name)) {
            if leads_nowhere(&link)? {
                remove(&link)?;
            }
        }
        Ok(())
    }
}

/// To where the link of an attachment leads.
fn target(lock: &Lock) -> PathBuf {
    file::record(Path::new(".."), &lock.stem)
}

fn unfinished(link: &Path) -> PathBuf {
    link.with_extension(UNFINISHED)
}

fn read_link(path: &Path) -> Result<Option<PathBuf>, RecordError> {
    match fs::read_link(path) {
        Ok(target) => Ok(Some(target)),
        // What is no link was not made here.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => Ok(None),
        Err(error) => Err(RecordError::io(Action::Read, path)(error)),
    }
}

/// The name of the link of an interface of a pod; `None` of a pod that is not named in full.
fn hash(id: &AttachmentId, pod: &PodRef) -> Option<String> {
    let (namespace, name, uid) = pod.full_name()?;
    // None of them holds a zero byte: they come from the environment.
    let AttachmentId { ifname, network, .. } = id;
    Some(format!("{:032x}", fnv1a_128(format!("{namespace}\0{name}\0{uid}\0{ifname}\0{network}").as_bytes())))
}
