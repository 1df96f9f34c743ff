//! Decides which of several installers on a node writes: the latest one.
//!
//! In a rolling update with surge, the next pod's installer runs at the same time as the old one. If both kept the node
//! in sync with their own mounts, each would revert the other, and the next pod might never become ready. So each
//! claims a number, as a file in the node's folder that it keeps locked while it runs. While an installer with a higher
//! number runs, it writes nothing. When that one ends, however it ends, the kernel releases its lock, and the previous
//! one continues. So after a rollback, the node matches the old pod again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::flock::{leads_to, try_lock};
use crate::ipam::name::{MAX_NAME, Name};

/// The prefix of the file names, before the number. Older versions on the node use the same one.
const PREFIX: &str = "install.turn.";

/// How many numbers of ended installers are kept. An installer that restarts in its pod, or after a reboot, gets its
/// own number again, below those of later pods.
const MAX_REMEMBERED: usize = 4;

/// The number of this process among the installers of a node. The caller holds the folder's lock.
#[derive(Debug)]
pub(super) struct InstallerGeneration {
    folder: PathBuf,
    pod: Option<Name>,
    claimed: Option<ClaimedNumber>,
}

#[derive(Debug)]
struct ClaimedNumber {
    number: u64,
    path: PathBuf,
    /// Locked while this process runs.
    file: File,
}

impl InstallerGeneration {
    /// Claims no number yet. `pod` is the pod's UID, which stays the same when its container restarts.
    pub(super) fn new(folder: &Path, pod: Option<Name>) -> Self {
        Self { folder: folder.to_owned(), pod, claimed: None }
    }

    /// Claims a number unless this process has one. Returns whether no installer with a higher number runs.
    pub(super) fn is_latest(&mut self) -> io::Result<bool> {
        let claimed = match self.claimed.take() {
            // If the folder was cleared, the other installers don't see the old file.
            Some(claimed) if leads_to(&claimed.path, &claimed.file)? => claimed,
            _ => self.next()?,
        };
        let number = self.claimed.insert(claimed).number;
        for (later, path) in numbers(&self.folder)? {
            if later > number && locked(&path)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The number that this pod had before, or else the next one.
    fn next(&self) -> io::Result<ClaimedNumber> {
        let numbers = numbers(&self.folder)?;
        let mut ended = Vec::new();
        for (number, path) in &numbers {
            let Some(file) = locked(path)? else { continue };
            if self.pod.is_some() && pod_of(&file)? == self.pod {
                return Ok(ClaimedNumber { number: *number, path: path.clone(), file });
            }
            ended.push(path);
        }
        let beyond = ended.len().saturating_sub(MAX_REMEMBERED);
        ended.into_iter().take(beyond).try_for_each(fs::remove_file)?;
        let number = numbers.last().map_or(0, |(number, _)| *number).saturating_add(1);
        let path = self.folder.join(format!("{PREFIX}{number}"));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.lock()?;
        file.write_all(self.pod.as_ref().map_or("", Name::as_str).as_bytes())?;
        Ok(ClaimedNumber { number, path, file })
    }
}

/// The claimed numbers, in ascending order.
fn numbers(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|number| number.parse().ok());
        numbers.extend(number.map(|number| (number, entry.path())));
    }
    numbers.sort();
    Ok(numbers)
}

/// The pod that claimed a number; `None` if the file does not name it.
fn pod_of(file: &File) -> io::Result<Option<Name>> {
    let mut pod = Vec::new();
    file.take(MAX_NAME as u64).read_to_end(&mut pod)?;
    Ok(String::from_utf8(pod).ok().and_then(|pod| Name::new(pod).ok()))
}

/// Opens and locks the file, unless a running process holds the lock.
fn locked(path: &Path) -> io::Result<Option<File>> {
    let file = File::open(path)?;
    Ok(try_lock(&file)?.then_some(file))
}
