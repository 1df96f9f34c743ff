//! The node's folder of CNI configurations, as a runtime reads it (CNI spec 1.1, section 1).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// The extensions of the files that a runtime reads (libcni, `ConfFiles`).
const EXTENSIONS: [&str; 3] = ["conf", "conflist", "json"];

/// The most files that are looked at.
const MAX_FILES: usize = 1000;

/// The `type` of an ipam block that is ours.
pub(super) const TYPE: &str = "kube-ipam";

/// The configurations in a folder, in the order in which a runtime reads them.
pub(super) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)?.take(MAX_FILES) {
        let path = entry?.path();
        if path.extension().is_some_and(|found| EXTENSIONS.iter().any(|extension| found == *extension)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Whether kube-ipam assigns the addresses of a plugin.
pub(super) fn is_ours(plugin: &Map<String, Value>) -> bool {
    plugin.get("ipam").and_then(|ipam| ipam.get("type")).and_then(Value::as_str) == Some(TYPE)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_reads_configurations_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["20-b.conf", "10-a.conflist", "15.json", "README", "10-a.conflist.orig", "conf"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let files = files(folder.path()).unwrap();
        let names: Vec<_> = files.iter().filter_map(|file| file.file_name()?.to_str()).collect();
        assert_eq!(names, ["10-a.conflist", "15.json", "20-b.conf"]);
    }
}
