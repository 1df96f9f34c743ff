//! The log file, which several processes write at the same time.
//!
//! It is opened for appending, and each event is one write of one line, so lines of different processes never mix. A
//! process that finds the file too long locks it with flock(2), checks that the path still leads to it, and renames it
//! to `<file>.1`, after renaming that one to `<file>.2`, and so on. No process waits for the lock. Without it, a
//! process writes and does not rotate. A late line is written to `<file>.1`. If a process is killed during a rotation,
//! the next one continues it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;

/// How many old files are kept. With only one, a burst of long lines would remove everything before it.
const OLD_FILES: u32 = 3;

/// The log file. If it can't be written, lines go to standard error, never to standard output.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    rotate_bytes: u64,
    state: Mutex<LogFileState>,
}

#[derive(Debug)]
enum LogFileState {
    /// There was no event yet.
    Unopened,
    Open(OpenFile),
    /// The file can't be opened or written. This was reported once.
    Unusable,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    id: FileId,
}

/// Device and inode.
type FileId = (u64, u64);

impl LogFile {
    /// Does not open the file. A file with more bytes than this is rotated.
    pub(super) fn new(path: PathBuf, rotate_bytes: u64) -> Self {
        Self { path, rotate_bytes, state: Mutex::new(LogFileState::Unopened) }
    }

    /// Writes to standard error only.
    pub(super) fn stderr() -> Self {
        Self { path: PathBuf::new(), rotate_bytes: 0, state: Mutex::new(LogFileState::Unusable) }
    }

    /// Appends an event as one line. It never fails, because no call may fail because of its log.
    pub(super) fn write_event(&self, event: &str) {
        self.write_line(one_line(event).as_bytes());
    }

    fn write_line(&self, line: &[u8]) {
        // Every state is valid after a panic in another thread.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = match std::mem::replace(&mut *state, LogFileState::Unusable) {
            LogFileState::Unopened => self.open().map(Some),
            LogFileState::Open(opened) => self.reopen_if_moved(opened).map(Some),
            LogFileState::Unusable => Ok(None),
        };
        let written = opened.and_then(|opened| match opened {
            Some(opened) => self.append(opened, line).map(Some),
            None => Ok(None),
        });
        match written {
            Ok(Some(opened)) => *state = LogFileState::Open(opened),
            Ok(None) => to_stderr(line),
            Err(e) => {
                to_stderr(
                    format!("kube-ipam: can't write the log {}: {e}; it goes on here\n", self.path.display())
                        .as_bytes(),
                );
                to_stderr(line);
            }
        }
    }

    /// Appends the line, after a rotation if the file is too long. Returns the file for the next line.
    fn append(&self, opened: OpenFile, line: &[u8]) -> io::Result<OpenFile> {
        let file = opened.file.metadata()?;
        let opened = if file.is_file() && file.len() > self.rotate_bytes { self.rotate(opened)? } else { opened };
        (&opened.file).write_all(line)?;
        Ok(opened)
    }

    fn open(&self) -> io::Result<OpenFile> {
        // Without O_NONBLOCK, a pipe without a reader would block the whole call.
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(&self.path)?;
        let id = id(&file.metadata()?);
        let stdout = rustix::fs::fstat(io::stdout());
        if stdout.is_ok_and(|stdout| (stdout.st_dev, stdout.st_ino) == id) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is standard output, where only the result goes",
            ));
        }
        Ok(OpenFile { file, id })
    }

    /// The file that the path leads to now. Another process or logrotate may have renamed the opened one.
    fn reopen_if_moved(&self, opened: OpenFile) -> io::Result<OpenFile> {
        if leads_to(&self.path, opened.id) { Ok(opened) } else { self.open() }
    }

    fn rotate(&self, opened: OpenFile) -> io::Result<OpenFile> {
        if opened.file.try_lock().is_err() {
            return Ok(opened);
        }
        if leads_to(&self.path, opened.id) {
            for number in (1..OLD_FILES).rev() {
                // It may not exist.
                let _ = fs::rename(self.old(number), self.old(number + 1));
            }
            // A line must not be lost because the folder does not allow renames.
            if fs::rename(&self.path, self.old(1)).is_err() {
                return opened.file.unlock().map(|()| opened);
            }
        }
        self.open()
    }

    /// The path of an old file; number 1 is the newest.
    fn old(&self, number: u32) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{number}"));
        path.into()
    }
}

fn id(file: &fs::Metadata) -> FileId {
    (file.dev(), file.ino())
}

fn leads_to(path: &Path, expected: FileId) -> bool {
    fs::metadata(path).is_ok_and(|found| id(&found) == expected)
}

fn to_stderr(line: &[u8]) {
    // If standard error is closed too, nobody can be notified.
    let _ = io::stderr().write_all(line);
}

/// The event as one line. Replaces control characters, because values may contain line breaks or terminal commands.
fn one_line(event: &str) -> String {
    let mut line = event.replace(char::is_control, " ");
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let cases = [("plain", "plain\n"), ("a\nb\r\nc", "a b  c\n"), ("", "\n"), ("\x1b[31mred\u{9b}", " [31mred \n")];
        for (event, line) in cases {
            assert_eq!(one_line(event), line);
        }
    }
}
