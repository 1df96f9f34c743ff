//! What `--fix` does, each time after it was shown and confirmed: it sets the modes of files, removes what killed
//! processes have left unfinished, and performs deferred releases. It frees nothing that a sweep would not free.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::DoctorOptions;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ops::Node;
use crate::ops::operator::STORE_TIMEOUT;
use crate::ops::operator::sweep::{Scope, SweepOptions, sweep};
use crate::record::RecordError;

/// A change that ends a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fix {
    /// Takes rights on a file or folder away from others.
    SetMode {
        /// The file or folder.
        path: PathBuf,
        /// Its mode afterwards.
        mode: u32,
    },
    /// Removes a file that a killed process did not finish and no other reads.
    RemoveUnfinished(PathBuf),
    /// Removes empty records, unfinished deferred releases, and links that lead nowhere ([`crate::record::Records`]).
    RemoveLeftovers,
    /// Performs this node's deferred releases, as `sweep --marked` does.
    ReplayDeferred,
}

impl fmt::Display for Fix {
    /// As an imperative sentence: `set the mode of /etc/cni/net.d/kube-ipam.d/kube-ipam.json to 0600`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetMode { path, mode } => write!(f, "set the mode of {} to {mode:04o}", path.display()),
            Self::RemoveUnfinished(path) => write!(f, "remove the unfinished {}", path.display()),
            Self::RemoveLeftovers => f.write_str("remove what killed calls left in the node's records"),
            Self::ReplayDeferred => f.write_str("perform this node's deferred releases"),
        }
    }
}

/// Why a fix failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "its text says what a variant is and what its fields hold")]
pub enum FixError {
    #[error("can't set the mode of {}", .path.display())]
    Mode {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("can't remove {}", .path.display())]
    Remove {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error(transparent)]
    Records(#[from] RecordError),
    #[error("{}", .0.full())]
    Releases(Error),
}

/// Does what the fix says. Returns what it has done, as a sentence.
pub fn apply(options: &DoctorOptions, fix: &Fix) -> Result<String, FixError> {
    match fix {
        Fix::SetMode { path, mode } => {
            set_mode(path, *mode).map_err(|error| FixError::Mode { path: path.clone(), error })?;
            Ok(format!("{} has mode {mode:04o} now", path.display()))
        }
        Fix::RemoveUnfinished(path) => {
            remove(path).map_err(|error| FixError::Remove { path: path.clone(), error })?;
            Ok(format!("{} is gone", path.display()))
        }
        Fix::RemoveLeftovers => {
            Node::new(&options.settings, Deadline::after(STORE_TIMEOUT)).records.remove_leftovers(usize::MAX)?;
            Ok("the leftovers of killed calls are gone".to_owned())
        }
        Fix::ReplayDeferred => replay(options).map_err(FixError::Releases),
    }
}

/// Follows no link: somebody may have replaced the file since it was checked.
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_symlink() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is a symbolic link"));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn replay(options: &DoctorOptions) -> Result<String, Error> {
    let store = options.settings.store.clone().map_err(Error::Config)?;
    let sweep_options =
        SweepOptions { dry_run: false, scope: Scope::DeferredReleases, max_share: None, interval: Duration::ZERO };
    let report = sweep(&options.settings, &store, sweep_options)?;
    match report.failure() {
        Some(error) => Err(error),
        None => Ok("this node's deferred releases are done".to_owned()),
    }
}
