//! Which of several installers on one node writes: the one that came last.
//!
//! In a rolling update with surge the next pod's installer runs beside the old one. If both kept the node as their own
//! mounts say, each would undo the other, and the next pod might never be found ready. So each that goes on takes a number,
//! in a file of the node's folder that it holds locked as long as it lives; while a later one lives, it writes nothing.
//! When the later one ends, however it ends, the kernel lets go of its lock, and the one before goes on: an update that was
//! taken back leaves the node as the old pod wants it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::ipam::name::Name;

/// How the files are named, before their number.
const PREFIX: &str = "install.turn.";

/// How many earlier ones are remembered that don't live now: one that is started again in its pod, or after the node
/// booted, comes back to its own number and so before those that came after it.
const REMEMBERED: usize = 4;

/// The most that is read of who took a turn.
const MAX_POD: u64 = 512;

/// The turn of this process. All of it is done by who holds the folder's lock.
#[derive(Debug)]
pub(super) struct Turn {
    folder: PathBuf,
    pod: Option<Name>,
    taken: Option<Taken>,
}

#[derive(Debug)]
struct Taken {
    number: u64,
    path: PathBuf,
    /// Locked.
    file: File,
}

impl Turn {
    /// Takes nothing yet. `pod` is by what a pod is known when its container is started again: its UID.
    pub(super) fn new(folder: &Path, pod: Option<Name>) -> Self {
        Self { folder: folder.to_owned(), pod, taken: None }
    }

    /// Takes a number, unless this process has one, and says whether nobody with a later one lives.
    pub(super) fn has_come(&mut self) -> io::Result<bool> {
        let taken = match self.taken.take().filter(Taken::is_there) {
            Some(taken) => taken,
            None => self.next()?,
        };
        let number = self.taken.insert(taken).number;
        for (later, path) in numbers(&self.folder)? {
            if later > number && is_held(&path)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The number that this pod had, or the one after all others.
    fn next(&self) -> io::Result<Taken> {
        let numbers = numbers(&self.folder)?;
        if let Some(pod) = &self.pod {
            for (number, path) in &numbers {
                if pod_of(path)? == pod.as_str()
                    && let Some(file) = locked(path)?
                {
                    return Ok(Taken { number: *number, path: path.clone(), file });
                }
            }
        }
        let mut forgotten = Vec::new();
        for (_, path) in &numbers {
            if !is_held(path)? {
                forgotten.push(path);
            }
        }
        let beyond = forgotten.len().saturating_sub(REMEMBERED);
        forgotten.into_iter().take(beyond).try_for_each(fs::remove_file)?;
        let number = numbers.last().map_or(0, |(number, _)| *number).saturating_add(1);
        let path = self.folder.join(format!("{PREFIX}{number}"));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.lock()?;
        file.write_all(self.pod.as_ref().map_or("", Name::as_str).as_bytes())?;
        Ok(Taken { number, path, file })
    }
}

impl Taken {
    /// Whether others can see it still: somebody may have cleared the folder.
    fn is_there(&self) -> bool {
        let inode = |found: io::Result<fs::Metadata>| found.map(|found| (found.dev(), found.ino())).ok();
        inode(fs::metadata(&self.path)).is_some_and(|there| inode(self.file.metadata()) == Some(there))
    }
}

/// The numbers that were taken, the smallest first.
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

/// Whose a number is; nobody's that could come back, if that was not written.
fn pod_of(path: &Path) -> io::Result<String> {
    let mut pod = Vec::new();
    File::open(path)?.take(MAX_POD).read_to_end(&mut pod)?;
    Ok(String::from_utf8(pod).unwrap_or_default())
}

fn is_held(path: &Path) -> io::Result<bool> {
    locked(path).map(|file| file.is_none())
}

/// The file, locked from now on, unless somebody alive holds it.
fn locked(path: &Path) -> io::Result<Option<File>> {
    let file = File::open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
