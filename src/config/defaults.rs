//! The node defaults: where they are, and which keys they lock.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::document::{Document, IpamBlock, NodeDefaults, NodeOnly};
use super::keys;
use super::problem::{Notes, Problem};
use super::read::{is_absent, shortened};

/// Where the node defaults are, unless KUBE_IPAM_CONFIG names another file.
const DEFAULTS_FILE: &str = "/etc/cni/net.d/kube-ipam.d/kube-ipam.json";

/// The most that is read of a file that a config names.
const MAX_FILE: u64 = 1 << 20;

/// The node defaults as they were found.
pub(super) struct Found {
    /// The file that was looked for.
    pub(super) file: PathBuf,
    /// What it says; empty if there is none.
    pub(super) defaults: NodeDefaults,
    /// Whether the file could be read, or does not exist.
    pub(super) known: bool,
}

impl Found {
    /// The defaults in an object that was read from this file.
    pub(super) fn of(file: PathBuf, object: &Map<String, Value>, notes: &mut Notes) -> Self {
        let at = format!("{}:", file.display());
        Self { defaults: NodeDefaults::read(object, &at, notes), file, known: true }
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
    let (object, known) = match object {
        Ok(object) => (object, true),
        Err(problem) => {
            notes.mistake(file.display().to_string(), problem);
            (Map::new(), false)
        }
    };
    Found { known, ..Found::of(file, &object, notes) }
}

fn object_of(file: &Path) -> Result<Map<String, Value>, Problem> {
    let bytes = match read_bounded(file) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
        Err(e) => return Err(Problem::Unreadable { path: file.to_path_buf(), reason: e.to_string() }),
    };
    serde_json::from_slice(&bytes).map_err(|e| Problem::NotJson(e.to_string()))
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

/// The block without the keys that it may not set, each of which is noted as a mistake: those that are locked, and those
/// that belong to the node defaults alone.
pub(super) fn permitted(block: &Map<String, Value>, at: &str, found: &Found, notes: &mut Notes) -> Map<String, Value> {
    let locked = locked(found, notes);
    let mut permitted = block.clone();
    permitted.retain(|name, value| {
        let is = |key: &&'static str| key.eq_ignore_ascii_case(name);
        let problem = if NodeOnly::KEYS.iter().any(is) {
            Problem::OnlyInDefaults(found.file.clone())
        } else if locked.iter().any(is) && !is_absent(value) {
            Problem::Locked(found.file.clone())
        } else {
            return true;
        };
        notes.mistake(keys::below(at, name), problem);
        false
    });
    permitted
}

/// The keys that are locked.
fn locked(found: &Found, notes: &mut Notes) -> Vec<&'static str> {
    let Some((at, list)) = found.defaults.node.locked.located() else { return Vec::new() };
    let key_of = |written: &String| {
        let key = IpamBlock::KEYS.iter().copied().find(|key| key.eq_ignore_ascii_case(written));
        if key.is_none() {
            notes.mistake(at, Problem::LocksNothing(shortened(written).into_owned()));
        }
        key
    };
    list.given().filter_map(key_of).collect()
}
