//! Remembers which member replied last. A process serves one call and should not start with a dead member each time.
//! Best effort: a wrong or missing file only costs time.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Mutex;

/// The file's name in the node's folder.
const FILE: &str = "etcd-endpoint";

/// The file with the URL.
pub(super) struct Hint {
    path: Option<PathBuf>,
    known: Mutex<Option<String>>,
}

impl Hint {
    /// The file in this folder. Without a folder, nothing is remembered.
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self { path: folder.map(|folder| folder.join(FILE)), known: Mutex::new(None) }
    }

    /// The remembered URL, which may match no member.
    pub(super) fn read(&self) -> Option<String> {
        let noted = fs::read_to_string(self.path.as_ref()?).ok()?.trim().to_owned();
        self.known.lock().ok()?.replace(noted.clone());
        Some(noted)
    }

    /// Remembers a URL, if it has changed.
    pub(super) fn write(&self, url: &str) {
        let (Some(path), Ok(mut known)) = (&self.path, self.known.lock()) else { return };
        if known.replace(url.to_owned()).as_deref() == Some(url) {
            return;
        }
        if let Err(e) = replace(path, url) {
            tracing::debug!(path = %path.display(), error = %e, "the last good member of etcd could not be noted");
        }
    }
}

/// Replaces the file by a rename, so that no reader sees an incomplete one.
fn replace(path: &Path, url: &str) -> io::Result<()> {
    let new = path.with_extension(process::id().to_string());
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(url.as_bytes())?;
    fs::rename(&new, path)
}
