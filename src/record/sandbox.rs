//! Which sandbox of a pod has an interface on a network: one link each, by which a later sandbox finds the addresses of an
//! earlier one.
//!
//! ```text
//! <stateDir>/<node>/sandboxes/<hash of pod, interface and network> -> ../<containerID>:<ifname>:<network>.json
//! ```
//!
//! A symbolic link is created atomically, by one system call, which fails if there is one: this is all that the first sandbox
//! of a pod pays. The link of an earlier sandbox stays until the later one's ADD has its addresses. If that ADD is killed
//! before, the next one finds the same earlier sandbox. If it is killed after, the earlier sandbox's entry in the store still
//! says what it has lost, and the lease says to whom.
//!
//! A link is a hint: the caller asks the store what the earlier sandbox holds, and takes it under the usual guards. If the
//! link is missing or wrong, the pod gets another address, and a sweep finds the one that is left over.

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

/// The extension of a link that is about to replace another one.
const UNFINISHED_SUFFIX: &str = "new";

impl Records {
    /// Links the locked attachment as the sandbox of this pod's interface, unless an earlier one is linked, which is returned.
    /// Does nothing for a pod that the runtime has not fully named.
    pub fn link_sandbox(&self, lock: &Lock, pod: &PodRef) -> Result<Option<AttachmentId>, RecordError> {
        let Some(hash) = hash(lock.id(), pod) else { return Ok(None) };
        let folder = self.folder_of(lock.id());
        let path = folder.sandboxes().join(&hash);
        match with_folder(&path, || symlink(target(lock), &path)) {
            Ok(()) => self.find_under_other_name(&hash, lock),
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
            // A leftover of a killed process.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                fs::remove_file(&unfinished).and_then(|()| link())
            }
            linked => linked,
        };
        linked.and_then(|()| fs::rename(&unfinished, &path)).map_err(RecordError::io(Action::Write, &path))
    }

    /// Removes the link to the locked attachment, but not that to a later sandbox.
    pub(super) fn unlink_sandbox(&self, lock: &Lock, pod: &PodRef) -> Result<(), RecordError> {
        let Some(hash) = hash(lock.id(), pod) else { return Ok(()) };
        let path = self.folder_of(lock.id()).sandboxes().join(&hash);
        match read_link(&path)? {
            Some(linked) if linked == target(lock) => remove(&path),
            // The attachment may have been about to replace the link.
            _ => remove(&unfinished(&path)),
        }
    }

    /// Finds a sandbox of the pod that was linked while the node had another name.
    fn find_under_other_name(&self, hash: &str, lock: &Lock) -> Result<Option<AttachmentId>, RecordError> {
        if self.is_only_folder() {
            return Ok(None);
        }
        for node in names(&self.state_dir)?.into_iter().filter_map(|name| Name::new(name).ok()) {
            if node != lock.id().node
                && let Some(id) = Folder::new(&self.state_dir, &node).linked(hash)?
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

    /// Removes links that lead to neither a record nor a deferred release, and unfinished ones; checks at most so many.
    pub(super) fn remove_dangling_links(&self, at_most: usize) -> Result<(), RecordError> {
        let (sandboxes, deferred) = (self.sandboxes(), self.deferred_folder());
        let leads_nowhere = |link: &Path| -> Result<bool, RecordError> {
            let target = read_link(link)?;
            let Some(name) = target.as_deref().and_then(Path::file_name) else { return Ok(false) };
            Ok(![self.path(), deferred.as_path()].into_iter().any(|folder| folder.join(name).exists()))
        };
        for link in names(&sandboxes)?.into_iter().take(at_most).map(|name| sandboxes.join(name)) {
            if leads_nowhere(&link)? {
                remove(&link)?;
            }
        }
        Ok(())
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
        // Anything but a link was not made here.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => Ok(None),
        Err(error) => Err(RecordError::io(Action::Read, path)(error)),
    }
}

/// The name of the link for a pod's interface; `None` for a pod that is not fully named.
fn hash(id: &AttachmentId, pod: &PodRef) -> Option<String> {
    let (namespace, name, uid) = pod.full_name()?;
    // None of them holds a zero byte: they come from the environment.
    let AttachmentId { ifname, network, .. } = id;
    Some(format!("{:032x}", fnv1a_128(format!("{namespace}\0{name}\0{uid}\0{ifname}\0{network}").as_bytes())))
}
