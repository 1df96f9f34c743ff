//! The files of the records: their names, and how to write them so that no reader mistakes a partial record for a
//! complete one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::ipam::name::{AttachmentId, IfName, Name};
use crate::ipam::seed::fnv1a_128;

const SUFFIX: &str = ".json";

/// The longest stem of a file name. With its suffixes, the name stays below Linux's NAME_MAX of 255 bytes.
const MAX_STEM: usize = 240;

/// The prefix of a hashed stem, if the name would be too long. Only such a stem has no `:`.
const LONG_PREFIX: &str = "long-";

/// The size limit in bytes. A record with several addresses has about 2 KiB.
const MAX_RECORD: u64 = 1 << 20;

/// The size of most records in bytes, with both lines of an ADD.
const USUAL_RECORD: usize = 4 << 10;

/// In bytes. A longer file is reduced to its last line. An ADD appends two lines, so this takes hours of repeated ADDs.
const MAX_HISTORY: u64 = 1 << 16;

/// The stem of the names of an attachment's files. The folder's name has the node.
pub(super) fn stem(id: &AttachmentId) -> String {
    let AttachmentId { node: _, container, ifname, network } = id;
    let stem = format!("{container}:{ifname}:{network}");
    if stem.len() <= MAX_STEM { stem } else { format!("{LONG_PREFIX}{:032x}", fnv1a_128(stem.as_bytes())) }
}

/// What a file name shows about the attachment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileName {
    /// It names the attachment.
    Attachment(AttachmentId),
    /// It is a hash; the content names the attachment.
    LongName,
    /// It is not the name of a record.
    Other,
}

/// Reads the name of a file in a folder of records of this node.
pub(super) fn parse_file_name(node: &Name, file_name: &str) -> FileName {
    let Some(stem) = stem_of(file_name) else { return FileName::Other };
    let mut parts = stem.split(':');
    let (container, ifname, network) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(container), Some(ifname), Some(network), None) => (container, ifname, network),
        (Some(stem), None, ..) if stem.starts_with(LONG_PREFIX) => return FileName::LongName,
        _ => return FileName::Other,
    };
    match (Name::new(container), IfName::new(ifname), Name::new(network)) {
        (Ok(container), Ok(ifname), Ok(network)) => {
            FileName::Attachment(AttachmentId { node: node.clone(), container, ifname, network })
        }
        _ => FileName::Other,
    }
}

/// The record of this stem in a folder.
pub(super) fn record(folder: &Path, stem: &str) -> PathBuf {
    folder.join(format!("{stem}{SUFFIX}"))
}

/// The suffix of a deferred release before its rename.
const UNFINISHED_SUFFIX: &str = ".new";

/// Where a deferred release is written before its rename. One name per attachment is enough, because only the holder of
/// its lock writes.
pub(super) fn unfinished(deferred: &Path, stem: &str) -> PathBuf {
    deferred.join(format!("{stem}{SUFFIX}{UNFINISHED_SUFFIX}"))
}

pub(super) fn stem_of(file_name: &str) -> Option<&str> {
    file_name.strip_suffix(SUFFIX)
}

/// The stem of an unfinished deferred release.
pub(super) fn stem_of_unfinished(file_name: &str) -> Option<&str> {
    file_name.strip_suffix(UNFINISHED_SUFFIX).and_then(stem_of)
}

/// Appends a line to a locked record. An interrupted write leaves a line without its newline, which readers skip.
pub(super) fn append(mut file: &File, path: &Path, mut line: Vec<u8>) -> io::Result<()> {
    let end = file.metadata()?.len();
    let mut last = [b'\n'];
    if end > 0 {
        file.read_exact_at(&mut last, end - 1)?;
    }
    if last != [b'\n'] {
        line.insert(0, b'\n');
    }
    line.push(b'\n');
    file.write_all(&line).inspect_err(|_| {
        // The disk is probably full. A partial line is harmless, but takes space.
        let _ = file.set_len(end);
    })?;
    if end > MAX_HISTORY {
        shorten(file, path, &line)?;
    }
    Ok(())
}

/// Reduces a file to its last line. Copies it to the beginning first, so that it is the last complete line at all
/// times. If the file was emptied first, a kill would leave no record.
fn shorten(file: &File, path: &Path, line: &[u8]) -> io::Result<()> {
    // The lock's descriptor is in append mode, which ignores offsets.
    OpenOptions::new().write(true).open(path)?.write_all_at(line, 0)?;
    file.set_len(line.len() as u64)
}

/// The last complete line; empty if there is none.
pub(super) fn last_line(content: &[u8]) -> &[u8] {
    let whole = content.iter().rposition(|byte| *byte == b'\n').map_or(&content[..0], |end| &content[..end]);
    whole.rsplit(|byte| *byte == b'\n').next().unwrap_or_default()
}

/// Writes a deferred release atomically, and syncs it together with its folders.
pub(super) fn replace(deferred: &Path, stem: &str, mut line: Vec<u8>) -> io::Result<()> {
    line.push(b'\n');
    let unfinished = unfinished(deferred, stem);
    let create = || OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished);
    let mut file = with_folder(&unfinished, create)?;
    let written = file.write_all(&line).and_then(|()| file.sync_all());
    if let Err(e) = written.and_then(|()| fs::rename(&unfinished, record(deferred, stem))) {
        let _ = fs::remove_file(&unfinished);
        return Err(e);
    }
    // The folder of deferred releases, the node's folder and the state folder. Each may be new.
    deferred.ancestors().take(3).try_for_each(|folder| File::open(folder)?.sync_all())
}

/// The content of a file; `None` if it does not exist.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    // Without the capacity, read_to_end would start with 32 bytes.
    let mut bytes = Vec::with_capacity(USUAL_RECORD);
    file.take(MAX_RECORD).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Removes a file, if it exists.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// The names of a folder's files; none if the folder does not exist.
pub(super) fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    // kube-ipam writes only UTF-8 names.
    entries.filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose()).collect()
}

/// Retries `attempt` after creating the path's folder, if it failed because that was missing.
pub(super) fn with_folder<T>(path: &Path, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    match (attempt(), path.parent()) {
        (Err(e), Some(folder)) if e.kind() == ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            attempt()
        }
        (result, _) => result,
    }
}
