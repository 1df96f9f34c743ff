//! Links from a pod's interface on a network to its sandbox. With them, a later sandbox finds the addresses of an
//! earlier one.
//!
//! ```text
//! <stateDir>/<node>/sandboxes/<hash of pod, interface and network> -> ../<containerID>:<ifname>:<network>.json
//! ```
//!
//! One system call creates a symbolic link atomically, or fails if there is one. The first sandbox of a pod needs
//! nothing else. The link to an earlier sandbox stays until the later one's ADD has its addresses. If that ADD is
//! killed before, the next one finds the same earlier sandbox. If it is killed after, the earlier sandbox's entry in
//! the store still lists what it has lost, and the lease names the new holder.
//!
//! A link is only a hint. The caller reads from the store what the earlier sandbox holds, and takes it under the usual
//! guards. If the link is missing or wrong, the pod gets another address, and a sweep frees the old one.

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

/// The extension of a link that will replace another one.
const UNFINISHED_SUFFIX: &str = "new";

impl Records {
    /// Links the locked attachment as the sandbox of this pod's interface. If an earlier one is linked, returns that
    /// instead. Does nothing for a pod that the runtime did not name in full.
    pub fn link_sandbox(&self, lock: &Lock, pod: &PodRef) -> Result<Option<AttachmentId>, RecordError> {
        let Some(hash) = hash(lock.id(), pod) else { return Ok(None) };
        let folder = self.folder_of(lock.id());
        let path = folder.sandboxes().join(&hash);
        match with_folder(&path, || symlink(target(lock), &path)) {
            Ok(()) => self.find_under_other_name(&hash, &lock.id().node),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Ok(folder.linked(&hash)?.filter(|id| id != lock.id()))
            }
            Err(error) => Err(RecordError::io(Action::Write, &path)(error)),
        }
    }

    /// The earlier sandbox that is linked to the interface of this attachment's pod. Links nothing.
    pub fn linked_sandbox(&self, id: &AttachmentId, pod: &PodRef) -> Result<Option<AttachmentId>, RecordError> {
        let Some(hash) = hash(id, pod) else { return Ok(None) };
        match self.folder_of(id).linked(&hash)? {
            Some(linked) => Ok(Some(linked).filter(|linked| linked != id)),
            None => self.find_under_other_name(&hash, &id.node),
        }
    }

    /// Replaces the link to an earlier sandbox by one to the locked attachment, once it has its addresses.
    pub fn relink_sandbox(&self, lock: &Lock, pod: &PodRef) -> Result<(), RecordError> {
        let Some(hash) = hash(lock.id(), pod) else { return Ok(()) };
        let path = self.folder_of(lock.id()).sandboxes().join(&hash);
        let unfinished = unfinished(&path);
        let link = || symlink(target(lock), &unfinished);
        let linked = match link() {
            // A killed process left it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                fs::remove_file(&unfinished).and_then(|()| link())
            }
            linked => linked,
        };
        linked.and_then(|()| fs::rename(&unfinished, &path)).map_err(RecordError::io(Action::Write, &path))
    }

    /// Removes the link to the locked attachment, but not a link to a later sandbox.
    pub(super) fn unlink_sandbox(&self, lock: &Lock, pod: &PodRef) -> Result<(), RecordError> {
        let Some(hash) = hash(lock.id(), pod) else { return Ok(()) };
        let path = self.folder_of(lock.id()).sandboxes().join(&hash);
        match read_link(&path)? {
            Some(linked) if linked == target(lock) => remove(&path),
            // The attachment may have been about to replace the link.
            _ => remove(&unfinished(&path)),
        }
    }

    /// Finds a sandbox of the pod that was linked under another name of the node.
    fn find_under_other_name(&self, hash: &str, own: &Name) -> Result<Option<AttachmentId>, RecordError> {
        if self.is_only_folder() {
            return Ok(None);
        }
        for node in names(&self.state_dir)?.into_iter().filter_map(|name| Name::new(name).ok()) {
            if node != *own
                && let Some(id) = Folder::new(&self.state_dir, &node).linked(hash)?
            {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}

impl Folder {
    /// The attachment that a link leads to.
    fn linked(&self, hash: &str) -> Result<Option<AttachmentId>, RecordError> {
        let target = read_link(&self.sandboxes().join(hash))?;
        let name = target.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
        name.map_or(Ok(None), |name| self.attachment(self.path(), name))
    }

    /// Removes unfinished links and those that lead to neither a record nor a deferred release. Checks at most this
    /// many.
    pub(super) fn remove_dangling_links(&self, at_most: usize) -> Result<(), RecordError> {
        for link in self.links()?.into_iter().take(at_most) {
            if self.leads_nowhere(&link)? {
                remove(&link)?;
            }
        }
        Ok(())
    }

    /// The links that [`Self::remove_dangling_links`] would remove.
    pub(super) fn dangling_links(&self) -> Result<Vec<PathBuf>, RecordError> {
        let mut dangling = Vec::new();
        for link in self.links()? {
            if self.leads_nowhere(&link)? {
                dangling.push(link);
            }
        }
        Ok(dangling)
    }

    fn links(&self) -> Result<Vec<PathBuf>, RecordError> {
        let sandboxes = self.sandboxes();
        Ok(names(&sandboxes)?.into_iter().map(|name| sandboxes.join(name)).collect())
    }

    fn leads_nowhere(&self, link: &Path) -> Result<bool, RecordError> {
        let target = read_link(link)?;
        let Some(name) = target.as_deref().and_then(Path::file_name) else { return Ok(false) };
        Ok(![self.path(), self.deferred_folder().as_path()].into_iter().any(|folder| folder.join(name).exists()))
    }
}

/// The target of an attachment's link.
fn target(lock: &Lock) -> PathBuf {
    file::record(Path::new(".."), &lock.stem)
}

fn unfinished(link: &Path) -> PathBuf {
    link.with_extension(UNFINISHED_SUFFIX)
}

fn read_link(path: &Path) -> Result<Option<PathBuf>, RecordError> {
    match fs::read_link(path) {
        Ok(target) => Ok(Some(target)),
        // kube-ipam creates only links here.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => Ok(None),
        Err(error) => Err(RecordError::io(Action::Read, path)(error)),
    }
}

/// The name of the link for a pod's interface; `None` if the pod is not named in full.
fn hash(id: &AttachmentId, pod: &PodRef) -> Option<String> {
    let (namespace, name, uid) = pod.full_name()?;
    // None of them contains a zero byte: they come from environment variables.
    let AttachmentId { ifname, network, .. } = id;
    Some(format!("{:032x}", fnv1a_128(format!("{namespace}\0{name}\0{uid}\0{ifname}\0{network}").as_bytes())))
}
