//! The network namespace of an attachment, as its ADD found it, and whether it is gone.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A network namespace: its path and the file at that path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Netns {
    /// CNI_NETNS.
    pub path: PathBuf,
    /// The device of the file. For a live namespace, that of nsfs.
    pub dev: u64,
    /// The inode of the file. For a live namespace, its number.
    pub inode: u64,
}

impl Netns {
    /// The namespace at this path now; `None` if it can't be read.
    pub fn from_path(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        Some(Self { path: path.to_owned(), dev: file.dev(), inode: file.ino() })
    }

    /// Whether the namespace is certainly gone: the node has rebooted, or there is another file or none at its path.
    ///
    /// In all other cases it may still exist (invariant 4): the boot id is unknown (empty), there was an error, or the
    /// path's folder is missing too, as in a container without the host's /run/netns.
    pub fn is_gone(&self, recorded_boot: &str, current_boot: &str) -> bool {
        let boots_are_known = !recorded_boot.is_empty() && !current_boot.is_empty();
        if boots_are_known && recorded_boot != current_boot {
            return true;
        }
        match fs::metadata(&self.path) {
            Ok(file) => (file.dev(), file.ino()) != (self.dev, self.inode),
            Err(e) => e.kind() == ErrorKind::NotFound && self.path.parent().is_some_and(Path::is_dir),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: &str = "0bca6a5e";

    fn folder() -> std::io::Result<tempfile::TempDir> {
        tempfile::Builder::new().prefix("kube-ipam-").tempdir()
    }

    fn netns_at(path: &Path) -> std::io::Result<Netns> {
        fs::write(path, "")?;
        Netns::from_path(path).ok_or_else(|| ErrorKind::NotFound.into())
    }

    #[test]
    fn a_namespace_whose_file_is_the_same_is_not_gone() -> std::io::Result<()> {
        let folder = folder()?;
        let netns = netns_at(&folder.path().join("pod"))?;
        assert!(!netns.is_gone(BOOT, BOOT));
        Ok(())
    }

    #[test]
    fn a_namespace_of_an_earlier_boot_is_gone() -> std::io::Result<()> {
        let folder = folder()?;
        let netns = netns_at(&folder.path().join("pod"))?;
        assert!(netns.is_gone(BOOT, "another"));
        Ok(())
    }

    #[test]
    fn an_unknown_boot_proves_nothing() -> std::io::Result<()> {
        let folder = folder()?;
        let netns = netns_at(&folder.path().join("pod"))?;
        assert!(!netns.is_gone("", BOOT));
        assert!(!netns.is_gone(BOOT, ""));
        Ok(())
    }

    #[test]
    fn a_namespace_whose_file_is_removed_or_another_is_gone() -> std::io::Result<()> {
        let folder = folder()?;
        let path = folder.path().join("pod");
        let netns = netns_at(&path)?;
        // Both files exist for a moment, so that the second can't reuse the first one's inode.
        let second = netns_at(&folder.path().join("second"))?;
        fs::rename(&second.path, &path)?;
        assert!(netns.is_gone(BOOT, BOOT));
        fs::remove_file(&path)?;
        assert!(netns.is_gone(BOOT, BOOT));
        Ok(())
    }

    #[test]
    fn a_namespace_behind_a_link_is_told_by_what_the_link_leads_to() -> std::io::Result<()> {
        let folder = folder()?;
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "")?;
        std::os::unix::fs::symlink(&target, &link)?;
        let netns = Netns::from_path(&link).ok_or(ErrorKind::NotFound)?;
        assert_eq!(netns.inode, fs::metadata(&target)?.ino());
        assert!(!netns.is_gone(BOOT, BOOT));
        fs::remove_file(&target)?;
        assert!(netns.is_gone(BOOT, BOOT));
        Ok(())
    }

    #[test]
    fn a_namespace_that_cannot_be_looked_at_is_not_gone() -> std::io::Result<()> {
        let folder = folder()?;
        let missing_folder = folder.path().join("not-mounted-here/pod");
        let beyond_a_file = folder.path().join("file/pod");
        fs::write(folder.path().join("file"), "")?;
        for path in [missing_folder, beyond_a_file] {
            let netns = Netns { path, dev: 4, inode: 4_026_531_840 };
            assert!(!netns.is_gone(BOOT, BOOT), "{netns:?}");
        }
        Ok(())
    }
}
