//! The file of the node defaults: finding and reading it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::diagnostics::Diagnostics;
use super::document::NodeDefaults;
use super::problem::{ConfigError, Problem};
use super::read::shortened;
use crate::cause::Cause;

/// The environment variable with the path of the node defaults.
pub const DEFAULTS_VARIABLE: &str = "KUBE_IPAM_CONFIG";

/// The default path of the node defaults. KUBE_IPAM_CONFIG overrides it.
const DEFAULTS_FILE: &str = "/etc/cni/net.d/kube-ipam.d/kube-ipam.json";

/// The largest file that is read, in bytes.
const MAX_FILE_SIZE: u64 = 1 << 20;

/// The node defaults, and the file that they come from.
pub(super) struct DefaultsFile {
    /// The file, whether or not it exists.
    pub(super) file: PathBuf,
    /// Its content; empty if there is no file.
    pub(super) object: Map<String, Value>,
    /// The content, parsed.
    pub(super) defaults: NodeDefaults,
    pub(super) presence: Presence,
}

/// Whether there are node defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// The file was read.
    Read,
    /// There is no file.
    Absent,
    /// The file exists and can't be read.
    Unreadable,
}

impl DefaultsFile {
    /// The defaults in an object that was read from this file.
    pub(super) fn from_object(file: PathBuf, object: Map<String, Value>, diagnostics: &mut Diagnostics) -> Self {
        let at = format!("{}:", file.display());
        Self { defaults: NodeDefaults::read(&object, &at, diagnostics), object, file, presence: Presence::Read }
    }

    /// No defaults, at the default path.
    pub(super) fn absent(diagnostics: &mut Diagnostics) -> Self {
        let file = PathBuf::from(DEFAULTS_FILE);
        Self { presence: Presence::Absent, ..Self::from_object(file, Map::new(), diagnostics) }
    }

    /// Whether the defaults are known: the file was read, or there is none.
    pub(super) fn is_known(&self) -> bool {
        self.presence != Presence::Unreadable
    }
}

/// The path of the node defaults.
pub fn defaults_file(env: &impl Fn(&str) -> Option<String>) -> PathBuf {
    let named = env(DEFAULTS_VARIABLE).filter(|path| !path.trim().is_empty());
    named.map_or_else(|| PathBuf::from(DEFAULTS_FILE), PathBuf::from)
}

/// Reads the node defaults. A missing file is empty.
pub(super) fn read(env: &impl Fn(&str) -> Option<String>, diagnostics: &mut Diagnostics) -> DefaultsFile {
    let file = defaults_file(env);
    let (object, presence) = match object_of(&file) {
        Ok(Some(object)) => (object, Presence::Read),
        Ok(None) => (Map::new(), Presence::Absent),
        Err(problem) => {
            diagnostics.mistake(file.display().to_string(), problem);
            (Map::new(), Presence::Unreadable)
        }
    };
    DefaultsFile { presence, ..DefaultsFile::from_object(file, object, diagnostics) }
}

/// Reads a file of node defaults; `None` if there is none.
pub fn read_defaults(file: &Path) -> Result<Option<Map<String, Value>>, ConfigError> {
    object_of(file).map_err(|problem| ConfigError { key: file.display().to_string(), problem })
}

fn object_of(file: &Path) -> Result<Option<Map<String, Value>>, Problem> {
    if !file.is_absolute() {
        return Err(Problem::RelativePath(shortened(&file.to_string_lossy()).into_owned()));
    }
    let bytes = match read_bounded(file) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Problem::Unreadable { path: file.to_path_buf(), cause: Cause::new(e) }),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|e| Problem::NotJson(Cause::new(e)))
}

/// Reads a file with a JSON object, such as a network's configuration.
pub fn read_document(file: &Path) -> io::Result<Map<String, Value>> {
    Ok(serde_json::from_slice(&read_bounded(file)?)?)
}

/// Reads a file of a config. Refuses a pipe or a device, which might never end.
pub fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::with_capacity(4 << 10);
    File::open(path)?.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_SIZE {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(bytes)
}
