//! The kube-ipam under test: the one in KUBE_IPAM_BIN, or else the one that this workspace builds.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The path of the binary under test. It is built once per test program, and its path and hash are printed once, so
/// that a log shows what was tested.
///
/// # Panics
/// If it can't be built.
pub fn kube_ipam() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let path = std::env::var_os("KUBE_IPAM_BIN").map_or_else(build, PathBuf::from);
        crate::say(&format!("kube-ipam under test: {} (sha256 {})", path.display(), sha256(&path)));
        path
    })
}

/// The commit of the previous version of kube-ipam.
const PREVIOUS: &str = include_str!("../previous-commit");

/// The program of the previous version; `None`, with the test reported as skipped, if e2e/setup did not build it.
pub fn previous_or_skip(test: &str) -> Option<PathBuf> {
    let commit = PREVIOUS.trim();
    let path = crate::cache().join(format!("previous-{commit}")).join("kube-ipam");
    if !path.is_file() {
        let short = commit.get(..7).unwrap_or(commit);
        crate::skip(test, &format!("kube-ipam of {short} is not in {}; e2e/setup builds it", path.display()));
        return None;
    }
    Some(path)
}

/// Builds it in the profile of this test program. Cargo unifies the features of the packages that it builds, so
/// building this crate too reuses the dependencies of `cargo test`.
fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--locked", "-p", "kube-ipam", "-p", "kube-ipam-e2e", "--bin", "kube-ipam"])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit());
    // Cargo sets these variables for a test. They would rebuild ring and everything that depends on it.
    for (variable, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| variable.to_string_lossy().starts_with(start)) {
            command.env_remove(variable);
        }
    }
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.output().unwrap_or_else(|error| panic!("can't run cargo: {error}"));
    assert!(output.status.success(), "cargo build of kube-ipam: {}", output.status);
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .unwrap_or_else(|| panic!("cargo build named no executable of kube-ipam"))
}

fn sha256(path: &Path) -> String {
    match Command::new("sha256sum").arg(path).output() {
        Ok(output) if output.status.success() => {
            let line = String::from_utf8_lossy(&output.stdout).into_owned();
            line.split_whitespace().next().unwrap_or_default().to_owned()
        }
        _ => format!("unknown: sha256sum can't read {}", path.display()),
    }
}
