//! The files of the records: how they are named, and how they are written so that no reader takes half of one for one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::ipam::name::{AttachmentId, IfName, Name};
use crate::ipam::seed::fnv1a_128;

/// What the name of a record's file ends with.
const SUFFIX: &str = ".json";

/// The longest stem of a file name; with what is put behind it, it stays below Linux's NAME_MAX of 255 bytes.
const MAX_STEM: usize = 240;

/// What the stem of an attachment with longer names starts with. No other stem does: this one holds no `:`.
const LONG: &str = "long-";

/// The largest record that is read; one with several addresses has about 2 KiB.
const MAX_RECORD: u64 = 1 << 20;

/// The size of most, with both lines of their ADD.
const USUAL_RECORD: usize = 4 << 10;

/// Beyond this size, a file begins anew. An ADD appends two lines, so that only one repeated for hours gets there.
const MAX_HISTORY: u64 = 1 << 16;

/// The stem of the names of an attachment's files. The node is in the folder's name.
pub(super) fn stem(id: &AttachmentId) -> String {
    let AttachmentId { node: _, container, ifname, network } = id;
    let stem = format!("{container}:{ifname}:{network}");
    if stem.len() <= MAX_STEM { stem } else { format!("{LONG}{:032x}", fnv1a_128(stem.as_bytes())) }
}

/// What the name of a record's file says about its attachment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// The attachment itself.
    Fully(AttachmentId),
    /// Only the file's content names it.
    Inside,
    /// It is no record's file.
    No,
}

/// Reads the name of a file in a folder of records of this node.
pub(super) fn named(node: &Name, file_name: &str) -> Named {
    let Some(stem) = stem_of(file_name) else { return Named::No };
    let mut parts = stem.split(':');
    let (container, ifname, network) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(container), Some(ifname), Some(network), None) => (container, ifname, network),
        (Some(stem), None, ..) if stem.starts_with(LONG) => return Named::Inside,
        _ => return Named::No,
    };
    match (Name::new(container), IfName::new(ifname), Name::new(network)) {
        (Ok(container), Ok(ifname), Ok(network)) => {
            Named::Fully(AttachmentId { node: node.clone(), container, ifname, network })
        }
        _ => Named::No,
    }
}

/// The record of this stem in a folder.
pub(super) fn record(folder: &Path, stem: &str) -> PathBuf {
    folder.join(format!("{stem}{SUFFIX}"))
}

/// What the name of an unfinished mark ends with.
const UNFINISHED: &str = ".new";

/// Where the mark of this stem is written before it is renamed. One name is enough, since only the holder of the
/// attachment's lock writes.
pub(super) fn unfinished(marked: &Path, stem: &str) -> PathBuf {
    marked.join(format!("{stem}{SUFFIX}{UNFINISHED}"))
}

/// The stem of a record's file.
pub(super) fn stem_of(file_name: &str) -> Option<&str> {
    file_name.strip_suffix(SUFFIX)
}

/// The stem of an unfinished mark's file.
pub(super) fn stem_of_unfinished(file_name: &str) -> Option<&str> {
    file_name.strip_suffix(UNFINISHED).and_then(stem_of)
}

/// Appends a line to a locked record. What an interrupted one leaves has no line break at its end, and is passed over.
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
        // A full disk is what most often leads here. Half a line does no harm, but takes more of it.
        let _ = file.set_len(end);
    })?;
    if end > MAX_HISTORY {
        shorten(file, path, &line)?;
    }
    Ok(())
}

/// Leaves of a file only its last line. That is copied to the beginning while it still stands at the end, so that it is the
/// last whole line at every instant: of a file that was emptied first, a kill would leave no record.
fn shorten(file: &File, path: &Path, line: &[u8]) -> io::Result<()> {
    // The descriptor of the lock appends, wherever it is told to write.
    OpenOptions::new().write(true).open(path)?.write_all_at(line, 0)?;
    file.set_len(line.len() as u64)
}

/// The last whole line of a file; of an empty file, nothing.
pub(super) fn last_line(content: &[u8]) -> &[u8] {
    let whole = content.iter().rposition(|byte| *byte == b'\n').map_or(&content[..0], |end| &content[..end]);
    whole.rsplit(|byte| *byte == b'\n').next().unwrap_or_default()
}

/// Puts a line in the place of a mark in one step that outlives a power cut, together with the folders that lead to it.
pub(super) fn replace(marked: &Path, stem: &str, mut line: Vec<u8>) -> io::Result<()> {
    line.push(b'\n');
    let unfinished = unfinished(marked, stem);
    let create = || OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished);
    let mut file = with_folder(&unfinished, create)?;
    let written = file.write_all(&line).and_then(|()| file.sync_all());
    if let Err(e) = written.and_then(|()| fs::rename(&unfinished, record(marked, stem))) {
        let _ = fs::remove_file(&unfinished);
        return Err(e);
    }
    // The folder of marks, the node's, and the one that holds the nodes': any of them may be as new as the mark.
    marked.ancestors().take(3).try_for_each(|folder| File::open(folder)?.sync_all())
}

/// The content of a file, if it exists.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    // Room for a usual one: read_to_end would feel its way up from 32 bytes.
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

/// The names of a folder's files; of an absent folder, none.
pub(super) fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    // A name that is not UTF-8 is none of ours.
    entries.filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose()).collect()
}

/// Does what needs the folder of this path to exist; makes the folder only when it turns out to be missing.
pub(super) fn with_folder<T>(path: &Path, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    match (attempt(), path.parent()) {
        (Err(e), Some(folder)) if e.kind() == ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            attempt()
        }
        (result, _) => result,
    }
}
