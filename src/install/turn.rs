//! Which of several installers on one node writes: the one that came last.
//!
//! In a rolling update with surge the next pod's installer runs beside the old one. If both kept the node as their own
//! mounts say, each would undo the other, and the next pod might never be found ready. So each that goes on takes a number,
//! in a file of the node's folder that it holds locked as long as it lives; while a later one lives, it writes nothing.
//! When the later one ends, however it ends, the kernel lets go of its lock, and the one before goes on: an update that was
//! taken back leaves the node as the old pod wants it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::flock::{leads_to, try_lock};
use crate::ipam::name::{MAX_NAME, Name};

/// How the files are named, before their number.
const PREFIX: &str = "install.turn.";

/// How many earlier ones are remembered that don't live now: one that is started again in its pod, or after the node
/// booted, comes back to its own number and so before those that came after it.
const REMEMBERED: usize = 4;

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
        let taken = match self.taken.take() {
            // Somebody may have cleared the folder, and then the others don't see it.
            Some(taken) if leads_to(&taken.path, &taken.file)? => taken,
            _ => self.next()?,
        };
        let number = self.taken.insert(taken).number;
        for (later, path) in numbers(&self.folder)? {
            if later > number && locked(&path)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The number that this pod had, or the one after all others.
    fn next(&self) -> io::Result<Taken> {
        let numbers = numbers(&self.folder)?;
        let mut ended = Vec::new();
        for (number, path) in &numbers {
            let Some(file) = locked(path)? else { continue };
            if self.pod.is_some() && pod_of(&file)? == self.pod {
                return Ok(Taken { number: *number, path: path.clone(), file });
            }
            ended.push(path);
        }
        let beyond = ended.len().saturating_sub(REMEMBERED);
        ended.into_iter().take(beyond).try_for_each(fs::remove_file)?;
        let number = numbers.last().map_or(0, |(number, _)| *number).saturating_add(1);
        let path = self.folder.join(format!("{PREFIX}{number}"));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.lock()?;
        file.write_all(self.pod.as_ref().map_or("", Name::as_str).as_bytes())?;
        Ok(Taken { number, path, file })
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
fn pod_of(file: &File) -> io::Result<Option<Name>> {
    let mut pod = Vec::new();
    file.take(MAX_NAME as u64).read_to_end(&mut pod)?;
    Ok(String::from_utf8(pod).ok().and_then(|pod| Name::new(pod).ok()))
}

/// The file, locked from now on, unless somebody alive holds it.
fn locked(path: &Path) -> io::Result<Option<File>> {
    let file = File::open(path)?;
    Ok(try_lock(&file)?.then_some(file))
}
