//! Reads the log back: the latest lines that contain a text, from the file and its predecessors.
//!
//! ```text
//!  kube-ipam.log ─► .1 ─► .2 ─► .3, and what logrotate made of them: newest first
//!      │ each line that contains the text, the last ones of a file
//!      ▼
//!  line::parse ─► LogLine { time, level, message, fields }
//! ```
//!
//! Memory is bounded: one line and the result. The log may be torn, and anybody's text may be in it. A line that is too
//! long or can't be parsed is counted and left out.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use rustix::fs::OFlags;

use super::line::{self, LogLine};
use crate::deadline::Deadline;

/// The size limit of a line in bytes. The longest that this program writes is far shorter (`lines::MAX_VALUE`).
const MAX_LINE: usize = 64 << 10;

/// The most files that are read.
const MAX_FILES: usize = 32;

/// Suffixes of compressed files.
const COMPRESSED: [&str; 5] = ["gz", "xz", "bz2", "zst", "lz4"];

/// The lines of the log that contain a text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Excerpt {
    /// The latest ones, the oldest first within each file, the newest file first.
    pub lines: Vec<LogLine>,
    /// The time of the oldest line of all that were read, whatever it contains.
    pub oldest: Option<Timestamp>,
    /// Whether there are more lines than the limit.
    pub more: bool,
    /// How many lines contain the text and can't be parsed.
    pub unparsed: u64,
    /// Files that were not read, and why.
    pub unread: Vec<(PathBuf, UnreadLog)>,
}

/// Why a log file was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnreadLog {
    /// It can't be opened or read.
    Io(String),
    /// It is a pipe, a device or a folder.
    NotRegular,
    /// Only its compressed form is left.
    Compressed,
    /// The deadline passed before its end.
    TimedOut,
    /// There are too many files.
    TooMany,
}

impl fmt::Display for UnreadLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(why) => f.write_str(why),
            Self::NotRegular => f.write_str("it is not a regular file"),
            Self::Compressed => f.write_str("it is compressed; use zgrep"),
            Self::TimedOut => f.write_str("reading the log took too long"),
            Self::TooMany => write!(f, "only the newest {MAX_FILES} files are read"),
        }
    }
}

/// Reads the lines that contain `text` in a log file and its predecessors, at most `limit`.
pub fn read_back(log: &Path, text: &str, limit: usize, deadline: Deadline) -> Excerpt {
    let mut excerpt = Excerpt::default();
    // The current file first: if it is renamed meanwhile, it is met again under its new name, and known by its inode.
    let mut read = Vec::new();
    for (count, path) in [log.to_owned()].into_iter().chain(predecessors(log, &mut excerpt)).enumerate() {
        let skipped = match () {
            () if count >= MAX_FILES => Some(UnreadLog::TooMany),
            () if deadline.has_passed() => Some(UnreadLog::TimedOut),
            () => None,
        };
        let outcome = match skipped {
            Some(why) => Err(why),
            None => open(&path).and_then(|opened| match opened {
                Some((_, id)) if read.contains(&id) => Ok(()),
                Some((file, id)) => {
                    read.push(id);
                    read_file(&path, file, text, limit, deadline, &mut excerpt)
                }
                None => Ok(()),
            }),
        };
        if let Err(why) = outcome {
            excerpt.unread.push((path, why));
        }
    }
    excerpt
}

/// The older files, the newest first. Compressed ones are only noted.
fn predecessors(log: &Path, excerpt: &mut Excerpt) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (log.parent(), log.file_name()) else { return Vec::new() };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(e) => {
            excerpt.unread.push((folder.to_owned(), UnreadLog::Io(e.to_string())));
            return Vec::new();
        }
    };
    let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in entries.filter_map(Result::ok).filter(|entry| is_older(&entry.file_name(), name)) {
        let path = entry.path();
        let is_compressed = path.extension().is_some_and(|suffix| COMPRESSED.iter().any(|known| suffix == *known));
        match is_compressed {
            true => excerpt.unread.push((path, UnreadLog::Compressed)),
            false => {
                let modified = entry.metadata().and_then(|metadata| metadata.modified());
                found.push((modified.unwrap_or(SystemTime::UNIX_EPOCH), path));
            }
        }
    }
    excerpt.unread.sort_by(|(a, _), (b, _)| a.cmp(b));
    found.sort_by(|(a, a_path), (b, b_path)| b.cmp(a).then_with(|| a_path.cmp(b_path)));
    found.into_iter().map(|(_, path)| path).collect()
}

/// Whether a file is a log that was renamed by a rotation: `<log>.1`, `<log>-20261128`.
fn is_older(file: &OsStr, log: &OsStr) -> bool {
    let suffix = file.as_encoded_bytes().strip_prefix(log.as_encoded_bytes()).unwrap_or_default();
    matches!(suffix, [b'.' | b'-', rest @ ..] if !rest.is_empty())
}

/// Device and inode.
type FileId = (u64, u64);

/// Opens a file; `None` if it does not exist, or no longer.
fn open(path: &Path) -> Result<Option<(File, FileId)>, UnreadLog> {
    let io = |e: io::Error| UnreadLog::Io(e.to_string());
    // Without O_NONBLOCK, a pipe without a writer would block.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io)?,
    };
    let metadata = file.metadata().map_err(io)?;
    match metadata.is_file() {
        true => Ok(Some((file, (metadata.dev(), metadata.ino())))),
        false => Err(UnreadLog::NotRegular),
    }
}

/// Adds the last lines of a file that contain the text, as many as the limit leaves room for.
fn read_file(
    path: &Path,
    file: File,
    text: &str,
    limit: usize,
    deadline: Deadline,
    excerpt: &mut Excerpt,
) -> Result<(), UnreadLog> {
    let room = limit.saturating_sub(excerpt.lines.len());
    let mut last = VecDeque::new();
    let mut reader = BufReader::with_capacity(MAX_LINE, file);
    let mut bytes = Vec::new();
    let mut outcome = Ok(());
    let mut first = None;
    loop {
        match read_line(&mut reader, &mut bytes) {
            Ok(false) => break,
            Ok(true) if deadline.has_passed() => {
                outcome = Err(UnreadLog::TimedOut);
                break;
            }
            Ok(true) => {}
            Err(e) => {
                outcome = Err(UnreadLog::Io(e.to_string()));
                break;
            }
        }
        let line = String::from_utf8_lossy(&bytes);
        first = first.or_else(|| line::parse(path, &line).map(|line| line.time));
        if !line.contains(text) {
            continue;
        }
        match line::parse(path, &line) {
            Some(line) => last.push_back(line),
            None => excerpt.unparsed += 1,
        }
        if last.len() > room {
            last.pop_front();
            excerpt.more = true;
        }
    }
    excerpt.oldest = excerpt.oldest.into_iter().chain(first).min();
    excerpt.lines.extend(last);
    outcome
}

/// Reads a line without its end. Keeps only the first [`MAX_LINE`] bytes of a longer one. `false` at the end of the file.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut is_empty = true;
    loop {
        let available = match reader.fill_buf() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            available => available?,
        };
        if available.is_empty() {
            return Ok(!is_empty);
        }
        is_empty = false;
        let end = available.iter().position(|byte| *byte == b'\n');
        let part = &available[..end.unwrap_or(available.len())];
        line.extend_from_slice(&part[..part.len().min(MAX_LINE - line.len())]);
        let used = end.map_or(available.len(), |end| end + 1);
        reader.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests;
