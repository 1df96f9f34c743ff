//! The node defaults: where they are, and what is in them.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::document::NodeDefaults;
use super::problem::{Notes, Problem};
use super::read::shortened;

/// Where the node defaults are, unless KUBE_IPAM_CONFIG names another file.
const DEFAULTS_FILE: &str = "/etc/cni/net.d/kube-ipam.d/kube-ipam.json";

/// The most that is read of a file that a config names.
const MAX_FILE: u64 = 1 << 20;

/// The node defaults as they were found.
pub(super) struct Found {
    /// The file that was looked for.
    pub(super) file: PathBuf,
    /// What is written there; empty if there is none.
    pub(super) object: Map<String, Value>,
    /// The same, read.
    pub(super) defaults: NodeDefaults,
    pub(super) presence: Presence,
}

/// Whether there are node defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// There are, and they were read.
    Read,
    /// There are none.
    Absent,
    /// Nobody knows what they say.
    Unreadable,
}

impl Found {
    /// The defaults in an object that was read from this file.
    pub(super) fn of(file: PathBuf, object: Map<String, Value>, notes: &mut Notes) -> Self {
        let at = format!("{}:", file.display());
        Self { defaults: NodeDefaults::read(&object, &at, notes), object, file, presence: Presence::Read }
    }

    /// Whether it is known what the defaults say: they were read, or there are none.
    pub(super) fn is_known(&self) -> bool {
        self.presence != Presence::Unreadable
    }
}

/// Where the node defaults are looked for.
pub fn defaults_file(env: &impl Fn(&str) -> Option<String>) -> PathBuf {
    let named = env("KUBE_IPAM_CONFIG").filter(|path| !path.trim().is_empty());
    named.map_or_else(|| PathBuf::from(DEFAULTS_FILE), PathBuf::from)
}

/// Reads the node defaults; a file that doesn't exist has none.
pub(super) fn read(env: &impl Fn(&str) -> Option<String>, notes: &mut Notes) -> Found {
    let file = defaults_file(env);
    let object = if file.is_absolute() {
        object_of(&file)
    } else {
        Err(Problem::RelativePath(shortened(&file.to_string_lossy()).into_owned()))
    };
    let (object, presence) = match object {
        Ok(Some(object)) => (object, Presence::Read),
        Ok(None) => (Map::new(), Presence::Absent),
        Err(problem) => {
            notes.mistake(file.display().to_string(), problem);
            (Map::new(), Presence::Unreadable)
        }
    };
    Found { presence, ..Found::of(file, object, notes) }
}

fn object_of(file: &Path) -> Result<Option<Map<String, Value>>, Problem> {
    let bytes = match read_bounded(file) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Problem::Unreadable { path: file.to_path_buf(), reason: e.to_string() }),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|e| Problem::NotJson(e.to_string()))
}

/// Reads a file that a config names. A pipe or a device would never end, and is refused.
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::with_capacity(4 << 10);
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(bytes)
}
