//! `log` and `disk-space`: whether the log can be written and rotated, and whether the disks have room.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};

use crate::config::LogConfig;
use crate::explain::Tool;
use crate::ops::operator::doctor::text::counted;
use crate::ops::operator::doctor::units::size;
use crate::ops::operator::doctor::{Context, Outcome, Remedy};
use crate::store::StoreConfig;

/// A file that has grown to this many times the size at which it should have been rotated is not rotated.
const OVERDUE: u64 = 3;

/// With less free space, in bytes, a burst of pods may fail; with none, all do.
const LOW_SPACE: u64 = 256 << 20;
const NO_SPACE: u64 = 8 << 20;

/// The same for inodes: a pod's interface takes two, and a deferred release one.
const LOW_INODES: u64 = 10_000;
const NO_INODES: u64 = 100;

/// Whether the log can be written, and is rotated.
pub(in crate::ops::operator::doctor) fn check_log(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let LogConfig { file, rotate_bytes, .. } = &context.node.settings.log;
    let object = file.display().to_string();
    let folder = file.parent().unwrap_or(Path::new("/"));
    let change = || {
        Remedy::new(
            "make it writable for root, or set `log` in the node defaults; until then, lines go to standard error",
        )
        .command(Tool::Ls.run(&["-ld", &folder.display().to_string(), &object]))
    };
    let found = match fs::metadata(file) {
        Ok(found) => Some(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            return report(Outcome::warning(&object, format!("the log {object} can't be written: {error}"), change()));
        }
    };
    let written = if found.is_some() { file } else { folder };
    if let Err(error) = access(written, Access::WRITE_OK) {
        let message = format!("the log {object} can't be written: {error}");
        return report(Outcome::warning(&object, message, change()));
    }
    report(match found {
        None => Outcome::ok(&object, format!("the log {object} is made by the first line")),
        Some(found) if !found.is_file() => {
            Outcome::ok(&object, format!("the log {object} is not a file, and is never rotated"))
        }
        Some(found) if found.len() > rotate_bytes.saturating_mul(OVERDUE) => {
            let message = format!(
                "the log {object} has {} and should have been rotated at {}",
                size(found.len()),
                size(*rotate_bytes)
            );
            let remedy = Remedy::new("allow renames in its folder, or rotate it by logrotate")
                .command(Tool::Ls.run(&["-ld", &folder.display().to_string()]));
            Outcome::warning(&object, message, remedy)
        }
        Some(found) => Outcome::ok(&object, format!("the log {object} has {} and can be written", size(found.len()))),
    });
}

/// Whether there is room for records, the embedded store and the log. Reports each disk once.
pub(in crate::ops::operator::doctor) fn check_space(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let settings = context.node.settings;
    let mut folders = vec![context.node.records.folder().to_owned()];
    if let Ok(StoreConfig::Embedded { data_dir }) = &settings.store {
        folders.push(data_dir.clone());
    }
    folders.extend(settings.log.file.parent().map(Path::to_owned));
    let mut disks: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    for folder in folders.into_iter().map(existing) {
        match fs::metadata(&folder) {
            Ok(found) => disks.entry(found.dev()).or_default().push(folder),
            Err(error) => report(unknown(&folder, &error)),
        }
    }
    for folders in disks.values() {
        let Some(first) = folders.first() else { continue };
        match statvfs(first) {
            Ok(disk) => {
                let space = disk.f_bavail.saturating_mul(disk.f_frsize);
                // A file system without a fixed number of inodes says 0 of 0.
                let inodes = if disk.f_files == 0 { u64::MAX } else { disk.f_favail };
                let texts: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
                report(of_space(&first.display().to_string(), &texts.join(", "), space, inodes));
            }
            Err(error) => report(unknown(first, &error.into())),
        }
    }
}

fn unknown(folder: &Path, error: &io::Error) -> Outcome {
    let object = folder.display().to_string();
    Outcome::skipped(&object, format!("the disk of {object} can't be looked at: {error}"))
}

/// The folder, or the first one above it that exists.
fn existing(mut folder: PathBuf) -> PathBuf {
    while !folder.exists() && folder.pop() {}
    folder
}

/// `folders` are those on this disk.
fn of_space(object: &str, folders: &str, space: u64, inodes: u64) -> Outcome {
    let (message, unit) = match (space, inodes) {
        (..LOW_SPACE, _) => (format!("the disk of {folders} has only {} left", size(space)), "-h"),
        (_, ..LOW_INODES) => {
            let left = counted(usize::try_from(inodes).unwrap_or(usize::MAX), "inode", "inodes");
            (format!("the disk of {folders} has only {left} left"), "-i")
        }
        _ => return Outcome::ok(object, format!("the disk of {folders} has {} left", size(space))),
    };
    let remedy = Remedy::new("make room there; an ADD whose record can't be written fails with code 5")
        .command(Tool::Df.run(&[unit, object]));
    match space < NO_SPACE || inodes < NO_INODES {
        true => Outcome::error(object, message, remedy),
        false => Outcome::warning(object, message, remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::operator::doctor::Status;

    #[test]
    fn a_disk_is_judged_by_its_free_space_and_inodes() {
        for (space, inodes, status) in [
            (LOW_SPACE, LOW_INODES, Status::Ok),
            (LOW_SPACE - 1, LOW_INODES, Status::Warning),
            (LOW_SPACE, LOW_INODES - 1, Status::Warning),
            (NO_SPACE - 1, u64::MAX, Status::Error),
            (u64::MAX, NO_INODES - 1, Status::Error),
        ] {
            assert_eq!(of_space("/var", "/var", space, inodes).status, status, "{space} {inodes}");
        }
    }
}
