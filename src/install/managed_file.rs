//! What is installed on a node: a file, a folder, or the program. Each is replaced atomically. After a kill or a power
//! failure, a reader finds all of the old content or all of the new.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

use super::error::InstallError;

/// The mode of tokens, keys, and the files that refer to them: everything except the program.
const SECRET_MODE: u32 = 0o600;

/// The mode of the program.
const EXECUTABLE_MODE: u32 = 0o755;

/// A file or folder whose content is in memory.
#[derive(Debug)]
pub(super) enum ManagedFile {
    /// A file.
    File { path: PathBuf, content: Vec<u8> },
    /// A folder of files that belong together, such as a certificate and its key. Without files, there is no folder.
    Folder { path: PathBuf, files: Vec<(&'static str, Vec<u8>)> },
}

impl ManagedFile {
    pub(super) fn file(path: PathBuf, content: Vec<u8>) -> Self {
        Self::File { path, content }
    }

    pub(super) fn folder(path: PathBuf, files: Vec<(&'static str, Vec<u8>)>) -> Self {
        Self::Folder { path, files }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File { path, .. } | Self::Folder { path, .. } => path,
        }
    }

    /// Whether the node has this content.
    pub(super) fn is_in_place(&self) -> Result<bool, InstallError> {
        let is_in_place = match self {
            Self::File { path, content } => is_file(path, content),
            Self::Folder { path, files } => is_folder(path, files),
        };
        is_in_place.map_err(InstallError::read(self.path()))
    }

    /// Removes the previous content after this one is installed. A key that is no longer used must not stay.
    pub(super) fn remove_previous(&self) -> Result<(), InstallError> {
        let tidied = match self {
            Self::File { .. } => Ok(()),
            Self::Folder { path, .. } => {
                inactive_folders(path).and_then(|folders| folders.iter().try_for_each(remove_folder))
            }
        };
        tidied.map_err(InstallError::write(self.path()))
    }

    pub(super) fn install(&self) -> Result<(), InstallError> {
        let put = match self {
            Self::File { path, content } => write_in_place(path, SECRET_MODE, |file| file.write_all(content)),
            Self::Folder { path, files } => install_folder(path, files),
        };
        put.map_err(InstallError::write(self.path()))
    }
}

/// The program. It has several MiB, so it is compared only after a change.
#[derive(Debug)]
pub(super) struct Program {
    source: PathBuf,
    path: PathBuf,
    /// The target when its content last matched the source.
    same: Option<Stamp>,
}

/// The inode, and when its content or mode last changed.
type Stamp = (u64, i64, i64);

impl Program {
    pub(super) fn new(source: &Path, path: PathBuf) -> Self {
        Self { source: source.to_owned(), path, same: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the node has it, and it is executable.
    pub(super) fn is_in_place(&mut self) -> Result<bool, InstallError> {
        let target = match fs::metadata(&self.path) {
            Ok(target) => target,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(InstallError::read(&self.path)(error)),
        };
        let stamp = (target.ino(), target.ctime(), target.ctime_nsec());
        if self.same == Some(stamp) {
            return Ok(true);
        }
        let mode = target.mode() & 0o777;
        let source = File::open(&self.source).map_err(InstallError::read(&self.source))?;
        let installed = File::open(&self.path).map_err(InstallError::read(&self.path))?;
        let same =
            mode == EXECUTABLE_MODE && have_same_content(source, installed).map_err(InstallError::read(&self.path))?;
        self.same = same.then_some(stamp);
        Ok(same)
    }

    /// Drops the installed program from the page cache, so that the comparison reads it in large pieces. After a boot,
    /// the first calls have read it from the disk page by page. Cached in larger pieces, it makes a call a quarter
    /// faster (docs/performance.md). Does nothing if the content was already compared. Processes that check often and
    /// start anew each time, such as probes, should not call this.
    pub(super) fn forget_pages(&self) {
        if self.same.is_none()
            && let Ok(installed) = File::open(&self.path)
        {
            // Best effort.
            let _ = fadvise(&installed, 0, None, Advice::DontNeed);
        }
    }

    /// The node may be executing the old program at the same time.
    pub(super) fn install(&self) -> Result<(), InstallError> {
        let mut source = File::open(&self.source).map_err(InstallError::read(&self.source))?;
        let copied = parent(&self.path).and_then(|folder| {
            fs::create_dir_all(folder)?;
            write_in_place(&self.path, EXECUTABLE_MODE, |file| io::copy(&mut source, file).map(drop))
        });
        copied.map_err(InstallError::write(&self.path))
    }
}

/// Whether two files have the same content.
pub fn have_same_content(mut a: File, mut b: File) -> io::Result<bool> {
    const BLOCK: u64 = 64 << 10;
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    loop {
        of_a.clear();
        of_b.clear();
        (&mut a).take(BLOCK).read_to_end(&mut of_a)?;
        (&mut b).take(BLOCK).read_to_end(&mut of_b)?;
        if of_a != of_b || of_a.is_empty() {
            return Ok(of_a == of_b);
        }
    }
}

fn is_file(path: &Path, content: &[u8]) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() && found.mode() & 0o777 == SECRET_MODE => Ok(fs::read(path)? == content),
        Ok(_) => Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_folder(path: &Path, files: &[(&'static str, Vec<u8>)]) -> io::Result<bool> {
    let is_ours = inactive_folders(path)?.len() == 1;
    if files.is_empty() || !is_ours {
        // A folder that kube-ipam did not create is ignored until there are files for it.
        return Ok(files.is_empty() && !is_ours);
    }
    let mut there = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    there.retain(|name| !files.iter().any(|(file, _)| name == *file));
    let mut same = there.is_empty();
    for (name, content) in files {
        same = same && is_file(&path.join(name), content)?;
    }
    Ok(same)
}

/// Writes a file next to its path and renames it once it is complete and synced. Replaces a killed process's leftover.
fn write_in_place(path: &Path, mode: u32, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let new = sibling(path, "new")?;
    let written = remove(&new).and_then(|()| write(&new, mode, fill)).and_then(|()| fs::rename(&new, path));
    if let Err(error) = written {
        // A partial file must not keep a full disk full.
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    sync(parent(path)?)
}

fn write(path: &Path, mode: u32, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(SECRET_MODE).open(path)?;
    fill(&mut file)?;
    // The umask must not change the mode.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

/// Writes the inactive one of two folders, and switches the link at `path` to it. The other one stays for processes
/// that are about to follow the link.
fn install_folder(path: &Path, files: &[(&'static str, Vec<u8>)]) -> io::Result<()> {
    if files.is_empty() {
        remove(path)?;
        return inactive_folders(path)?.iter().try_for_each(remove_folder);
    }
    let others = inactive_folders(path)?;
    let Some(next) = others.first() else { return Err(ErrorKind::InvalidFilename.into()) };
    remove_folder(next)?;
    DirBuilder::new().mode(0o700).create(next)?;
    for (name, content) in files {
        write(&next.join(name), SECRET_MODE, |file| file.write_all(content))?;
    }
    sync(next)?;
    let link = sibling(path, "new")?;
    remove(&link)?;
    symlink(next.file_name().unwrap_or_default(), &link)?;
    fs::rename(&link, path)?;
    sync(parent(path)?)
}

/// Those of the two folders behind a link that it does not point to.
fn inactive_folders(path: &Path) -> io::Result<Vec<PathBuf>> {
    let current = fs::read_link(path).ok();
    let mut folders = vec![sibling(path, "a")?, sibling(path, "b")?];
    folders.retain(|folder| current.as_deref() != folder.file_name().map(Path::new));
    Ok(folders)
}

/// The unfinished file for a path, if a process has left one.
pub(super) fn unfinished_of(path: &Path) -> Option<PathBuf> {
    sibling(path, "new").ok().filter(|unfinished| fs::symlink_metadata(unfinished).is_ok())
}

/// A path in the same folder that no runtime mistakes for a config or a plugin.
fn sibling(path: &Path, what: &str) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(ErrorKind::InvalidFilename)?;
    Ok(path.with_file_name(format!(".{}.{what}", name.to_string_lossy())))
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| ErrorKind::InvalidFilename.into())
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_file(path))
}

fn remove_folder(path: &PathBuf) -> io::Result<()> {
    absent_is_fine(fs::remove_dir_all(path))
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
