//! The log's file, to which many processes write at once.
//!
//! It is opened for appending, and each event is one write of one line, so that lines of several processes never mix.
//! A process that finds it too long locks it by flock(2), checks that its path still leads to it, and renames it to
//! `<file>.1`, after that one to `<file>.2`, and so on, all under the lock of the file that the path leads to. No process
//! waits for that lock; without it, it writes without rotating. A late line lands in `<file>.1`. A process that is killed in
//! between leaves either name, and the next one continues from there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;

/// How many old files are kept: with one, a burst of long lines would remove everything before it.
const OLD_FILES: u32 = 3;

/// The log file. Falls back to standard error if it can't be written, never to standard output.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    rotate_bytes: u64,
    state: Mutex<LogFileState>,
}

#[derive(Debug)]
enum LogFileState {
    /// No event yet.
    Unopened,
    Open(OpenFile),
    /// There is no file, or it could not be written, which was reported once.
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
    /// Opens nothing yet. A file longer than so many bytes is rotated.
    pub(super) fn new(path: PathBuf, rotate_bytes: u64) -> Self {
        Self { path, rotate_bytes, state: Mutex::new(LogFileState::Unopened) }
    }

    /// Standard error, and no file.
    pub(super) fn stderr() -> Self {
        Self { path: PathBuf::new(), rotate_bytes: 0, state: Mutex::new(LogFileState::Unusable) }
    }

    /// Appends an event as one line. It never fails, since no call is to fail for its log.
    pub(super) fn write_event(&self, event: &str) {
        self.write_line(one_line(event).as_bytes());
    }

    fn write_line(&self, line: &[u8]) {
        // A panic in another thread leaves a state that is as good as any.
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

    /// Appends the line, after a rotation if the file is too long; returns the file for the next line.
    fn append(&self, opened: OpenFile, line: &[u8]) -> io::Result<OpenFile> {
        let file = opened.file.metadata()?;
        let opened = if file.is_file() && file.len() > self.rotate_bytes { self.rotate(opened)? } else { opened };
        (&opened.file).write_all(line)?;
        Ok(opened)
    }

    fn open(&self) -> io::Result<OpenFile> {
        // Without O_NONBLOCK, a pipe that nobody reads would hold the whole call up.
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

    /// The file that the path leads to now: another process, or logrotate, may have moved the one that was opened.
    fn reopen_if_moved(&self, opened: OpenFile) -> io::Result<OpenFile> {
        if leads_to(&self.path, opened.id) { Ok(opened) } else { self.open() }
    }

    fn rotate(&self, opened: OpenFile) -> io::Result<OpenFile> {
        if opened.file.try_lock().is_err() {
            return Ok(opened);
        }
        if leads_to(&self.path, opened.id) {
            for number in (1..OLD_FILES).rev() {
                // What is not there need not make room.
                let _ = fs::rename(self.old(number), self.old(number + 1));
            }
            // A folder in which nothing can be renamed is no reason to lose the line.
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
    // Where standard error is closed too, there is nobody left to tell.
    let _ = io::stderr().write_all(line);
}

/// The event as one line, whatever is in it: a value may have line breaks, or what a terminal takes for a command.
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
