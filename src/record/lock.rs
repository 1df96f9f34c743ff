//! A file lock that ends with its process, however that ends.
//!
//! The lock is a flock(2) on the file itself. Dropping the lock of an empty file unlinks the file. If the holder is
//! killed, the file stays, unlocked. A process may lock a file that was unlinked after it was opened, which protects
//! nothing. So each lock checks that the path still leads to the locked file.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::file::with_folder;
use crate::deadline::Deadline;
use crate::flock::{leads_to, try_lock};

/// How many times to retry immediately because the file was unlinked between open and flock.
const MAX_RACES: u32 = 16;

/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_millis(16);

/// A file that is open for reading and appending, and locked until it is dropped.
#[derive(Debug)]
pub(super) struct LockedFile {
    path: PathBuf,
    file: File,
}

impl LockedFile {
    /// Opens or creates the file and locks it; `None` if it is locked.
    pub(super) fn try_acquire(path: &Path) -> io::Result<Option<Self>> {
        for _ in 0..MAX_RACES {
            let open = || OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
            let file = with_folder(path, open)?;
            if !try_lock(&file)? {
                return Ok(None);
            }
            if leads_to(path, &file)? {
                return Ok(Some(Self { path: path.to_owned(), file }));
            }
        }
        Ok(None)
    }

    /// Opens or creates the file and locks it; `None` if it is still locked at the deadline. Tries at least once.
    pub(super) fn acquire(path: &Path, deadline: Deadline) -> io::Result<Option<Self>> {
        for attempt in 0u32.. {
            if let Some(lock) = Self::try_acquire(path)? {
                return Ok(Some(lock));
            }
            let remaining = deadline.remaining();
            if remaining.is_zero() {
                break;
            }
            // Half of a pause to all of it. The pause starts at 1 ms and doubles.
            let pause = MAX_PAUSE.min(Duration::from_millis(1 << attempt.min(4)));
            let share = RandomState::new().hash_one(attempt) as u32 % 512 + 512;
            thread::sleep(remaining.min(pause * share / 1024));
        }
        Ok(None)
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        if self.file.metadata().is_ok_and(|file| file.len() == 0) {
            // If this fails, the file stays, as after a kill.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The process that holds the lock of this file, from proc_locks(5); `None` if it is not listed.
pub(super) fn holder(path: &Path) -> Option<u32> {
    let inode = fs::metadata(path).ok()?.ino().to_string();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        // 1: FLOCK  ADVISORY  WRITE 2715 fe:00:131074 0 EOF
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, process, file, ..] = fields[..] else { return None };
        let same = file.rsplit(':').next() == Some(&inode);
        same.then(|| process.parse().ok()).flatten()
    })
}
