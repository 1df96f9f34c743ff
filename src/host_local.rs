//! Reads the addresses that host-local, which served this network before, still holds on this node.
//!
//! Its folder has one file per address, whose name is the address and whose two lines are the container and the
//! interface (containernetworking plugins, ipam/host-local/backend/disk). To migrate, it is enough to change a
//! network's `type`. The addresses of running pods are not assigned to others. A DEL of such a pod removes its file,
//! because host-local is no longer called.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::cni::Target;
use crate::ipam::address;

/// A folder or file of host-local can't be read or removed.
#[derive(Debug, thiserror::Error)]
#[error("{}", .path.display())]
pub(crate) struct HostLocalError {
    pub(crate) path: PathBuf,
    #[source]
    pub(crate) error: io::Error,
}

impl HostLocalError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self { path: path.to_owned(), error }
    }
}

/// The addresses that these folders hold, each with its file. A folder that does not exist holds nothing.
pub(crate) fn held(folders: &[PathBuf]) -> Result<BTreeMap<IpAddr, PathBuf>, HostLocalError> {
    let mut held = BTreeMap::new();
    for folder in folders {
        held.extend(files(folder).map_err(HostLocalError::at(folder))?);
    }
    Ok(held)
}

/// Removes the files of an attachment. Returns the addresses that they held.
pub(crate) fn forget(folders: &[PathBuf], target: &Target) -> Result<Vec<IpAddr>, HostLocalError> {
    let mut forgotten = Vec::new();
    for (ip, file) in held(folders)? {
        if is_of(&fs::read_to_string(&file).map_err(HostLocalError::at(&file))?, target) {
            fs::remove_file(&file).map_err(HostLocalError::at(&file))?;
            forgotten.push(ip);
        }
    }
    Ok(forgotten)
}

/// Whether a file belongs to the attachment: it names the container, and the interface unless host-local was older than
/// 0.8.
fn is_of(content: &str, target: &Target) -> bool {
    let mut lines = content.lines().map(str::trim);
    let container = lines.next() == Some(target.container.as_str());
    container && lines.next().is_none_or(|ifname| ifname.is_empty() || ifname == target.ifname.as_str())
}

fn files(folder: &Path) -> io::Result<Vec<(IpAddr, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        // `dataDir` may be a file by mistake. The store reports that.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        // The folder also has host-local's lock and its last assigned address. File names of IPv6 addresses have '_'
        // instead of ':' only on Windows.
        if let Some(ip) = entry.file_name().to_str().and_then(|name| address::parse(name).ok()) {
            files.push((ip, entry.path()));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipam::lease::PodRef;
    use crate::ipam::name::{IfName, Name, NameError};

    fn target(container: &str, ifname: &str) -> Result<Target, NameError> {
        let (container, ifname) = (Name::new(container)?, IfName::new(ifname)?);
        Ok(Target { container, ifname, netns: None, pod: PodRef::default() })
    }

    #[test]
    fn a_folder_of_host_local_is_read_and_only_the_attachments_own_files_are_removed()
    -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir()?;
        let write = |name: &str, content: &str| fs::write(folder.path().join(name), content);
        write("10.1.0.2", "c1\r\neth0")?;
        write("10.1.0.3", "c1\r\nnet1")?;
        write("fd00::2", "c1\r\neth0")?;
        write("10.1.0.4", "c2")?;
        write("last_reserved_ip.0", "10.1.0.4")?;
        write("lock", "")?;
        let folders = [folder.path().to_owned(), folder.path().join("absent")];
        assert_eq!(held(&folders)?.len(), 4);
        assert_eq!(forget(&folders, &target("c1", "eth0")?)?, ["10.1.0.2".parse::<IpAddr>()?, "fd00::2".parse()?]);
        assert_eq!(forget(&folders, &target("c2", "eth0")?)?, ["10.1.0.4".parse::<IpAddr>()?]);
        assert_eq!(held(&folders)?.into_keys().collect::<Vec<_>>(), ["10.1.0.3".parse::<IpAddr>()?]);
        Ok(())
    }
}
