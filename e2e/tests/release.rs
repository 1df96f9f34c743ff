//! A release: the workflow that makes it, and those of its scripts that need no registry.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kube_ipam_e2e::checkout::{files, root};
use kube_ipam_e2e::manifests::Helm;
use kube_ipam_e2e::skip;
use serde_json::Value;
use tempfile::TempDir;

/// The registry of which the tests' charts say that it has the image.
const REGISTRY: &str = "registry.example/team";

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("kube-ipam-release-").tempdir().unwrap()
}

/// Runs a script of a checkout.
fn run_in(checkout: &Path, script: &str, args: &[&str]) -> Output {
    let mut command = Command::new(checkout.join(".ci/release").join(script));
    command.args(args).env("REGISTRY", REGISTRY).stdin(Stdio::null());
    for variable in ["GITHUB_REPOSITORY", "GITHUB_SERVER_URL"] {
        command.env_remove(variable);
    }
    command.output().unwrap()
}

/// What a script of this checkout prints.
#[track_caller]
fn printed(script: &str, args: &[&str]) -> String {
    let output = run_in(root(), script, args);
    assert!(output.status.success(), "{script} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a script says when it fails.
#[track_caller]
fn failure(checkout: &Path, script: &str, args: &[&str]) -> String {
    let output = run_in(checkout, script, args);
    assert_eq!(output.status.code(), Some(1), "{script} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stderr).unwrap()
}

/// A workflow as text and as YAML.
struct Workflow {
    path: PathBuf,
    text: String,
    document: Value,
}

fn workflows() -> Vec<Workflow> {
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let document = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Workflow { path, text, document }
    };
    let workflows: Vec<_> = files(".github/workflows", ".yml").into_iter().map(read).collect();
    assert!(!workflows.is_empty());
    workflows
}

impl Workflow {
    fn jobs(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.document["jobs"].as_object().unwrap().iter().map(|(name, job)| (name.as_str(), job))
    }

    fn steps(&self) -> impl Iterator<Item = &Value> {
        self.jobs().flat_map(|(_, job)| job["steps"].as_array().unwrap())
    }
}

/// The script that a step's command runs, possibly as root with some variables. Nothing else is a script's: a command
/// of several lines, or one into which a value is put as text, could not be run here.
fn script(command: &str) -> Option<&str> {
    let mut words = command.split(' ').skip_while(|word| ["sudo", "env"].contains(word) || word.contains('='));
    let is_plain = !command.contains(['\n', ';', '|', '&']) && !command.contains("${{");
    words.next().filter(|_| is_plain)
}

#[test]
fn every_action_is_pinned_by_the_digest_of_a_commit_and_says_its_version() {
    for workflow in workflows() {
        let lines =
            workflow.text.lines().filter_map(|line| line.trim_start().trim_start_matches("- ").strip_prefix("uses: "));
        let lines: Vec<&str> = lines.collect();
        assert_eq!(lines.len(), workflow.steps().filter(|step| step.get("uses").is_some()).count());
        for line in lines {
            let (action, version) = line.split_once(" # v").unwrap_or_else(|| panic!("{line}: name its version"));
            let (_, digest) = action.split_once('@').unwrap();
            let is_digest = digest.len() == 40 && digest.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
            assert!(is_digest, "{line}: pin the action by the digest of a commit, of 40 hexadecimal digits");
            assert!(version.chars().all(|c| c.is_ascii_digit() || c == '.'), "{line}");
        }
    }
}

#[test]
fn every_step_of_a_workflow_is_an_action_or_a_script_of_this_checkout() {
    let mut run = BTreeSet::new();
    for workflow in workflows() {
        for step in workflow.steps().filter(|step| step.get("uses").is_none()) {
            let command = step["run"].as_str().unwrap();
            let script = script(command).unwrap_or_else(|| panic!("{command}: make it a script of .ci/"));
            let mode =
                fs::metadata(root().join(script)).unwrap_or_else(|error| panic!("{script}: {error}")).permissions();
            assert_ne!(mode.mode() & 0o111, 0, "{script} is not executable");
            run.insert(script.to_owned());
        }
    }
    // The others are what these run.
    let all = files(".ci/release", "");
    let texts: Vec<String> = all.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    for path in &all {
        let name = path.file_name().unwrap().to_str().unwrap();
        let [from_top, from_here] = [format!(".ci/release/{name}"), format!("$here/{name}\"")];
        let is_run = run.contains(&from_top)
            || texts
                .iter()
                .flat_map(|text| text.lines())
                .filter(|line| !line.trim_start().starts_with('#'))
                .any(|line| line.contains(&from_top) || line.contains(&from_here));
        assert!(is_run, "nothing runs .ci/release/{name}; remove it");
    }
}

#[test]
fn every_job_may_only_what_it_needs() {
    let mut writes = BTreeSet::new();
    for workflow in workflows() {
        let path = workflow.path.display();
        assert_eq!(workflow.document["permissions"], serde_json::json!({}), "{path}: a job has to name its rights");
        assert!(!workflow.text.contains("secrets."), "{path}: a job has its own token, and needs no secret");
        for (name, job) in workflow.jobs() {
            let permissions =
                job["permissions"].as_object().unwrap_or_else(|| panic!("{path}: {name} names no rights"));
            writes.extend(
                permissions.iter().filter(|(_, level)| *level == "write").map(|(right, _)| format!("{name}: {right}")),
            );
            assert!(job["timeout-minutes"].is_u64(), "{path}: {name} has no timeout");
            let needs = match &job["needs"] {
                Value::Array(needs) => needs.clone(),
                Value::Null => Vec::new(),
                one => vec![one.clone()],
            };
            for needed in needs {
                assert!(
                    workflow.jobs().any(|(name, _)| needed == name),
                    "{path}: {name} needs {needed}, which is no job"
                );
            }
        }
        for checkout in
            workflow.steps().filter(|step| step["uses"].as_str().is_some_and(|it| it.contains("/checkout@")))
        {
            assert_eq!(checkout["with"]["persist-credentials"], false, "{path}: scripts would find the job's token");
        }
    }
    let expected = ["registry: id-token", "registry: packages", "release: contents"];
    assert_eq!(writes, expected.map(str::to_owned).into());
}

#[test]
fn every_script_of_a_release_says_what_it_does_and_ends_at_its_first_error() {
    for path in files(".ci", "") {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.display();
        let begins_well =
            text.starts_with("#!/usr/bin/env bash\n# ") || text.starts_with("#!/usr/bin/env bash\nset -eu\n");
        assert!(begins_well, "{path}: it has no comment on top");
        assert!(text.contains("\nset -eu"), "{path} goes on after an error");
    }
}

/// A copy of what names the version.
fn copy() -> TempDir {
    let copy = folder();
    for path in [".ci", "examples", "charts", "Cargo.toml", "CHANGELOG.md"] {
        let copied = Command::new("cp").arg("-R").arg(root().join(path)).arg(copy.path()).status().unwrap();
        assert!(copied.success(), "{path}");
    }
    copy
}

/// Replaces a text in a file of a copy.
#[track_caller]
fn replace(copy: &TempDir, file: &str, from: &str, to: &str) {
    let path = copy.path().join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_checkout_that_names_two_versions_makes_no_release() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(printed("check", &[]), format!("check: version {version}\n"));
    assert_eq!(printed("check", &[""]), format!("check: version {version}\n"));
    for (file, from) in [
        ("charts/kube-ipam/Chart.yaml", "\nversion: "),
        ("charts/kube-ipam/Chart.yaml", "\nappVersion: "),
        ("examples/install/Containerfile", "\nARG VERSION="),
        ("examples/install/kustomization.yaml", "newTag: "),
        ("examples/install/daemonset.yaml", "image: kube-ipam:"),
        ("examples/install/controller/deployment.yaml", "image: kube-ipam:"),
    ] {
        let copy = copy();
        replace(&copy, file, &format!("{from}{version}"), &format!("{from}9.9.9"));
        let said = failure(copy.path(), "check", &[]);
        assert!(said.contains(file) && said.contains("9.9.9") && said.contains(version), "{said}");
    }
}

#[test]
fn a_tag_needs_its_version_and_its_notes() {
    let version = env!("CARGO_PKG_VERSION");
    let copy = copy();
    let changelog = "# Changelog\n\n## [0.0.1] - 2020-01-01\n\n- Old.\n";
    fs::write(copy.path().join("CHANGELOG.md"), changelog).unwrap();
    let said = failure(copy.path(), "check", &["v0.0.1"]);
    assert!(said.contains("the tag is v0.0.1") && said.contains(version), "{said}");
    let said = failure(copy.path(), "check", &[&format!("v{version}")]);
    assert!(said.contains("rename its section [Unreleased]"), "{said}");
    fs::write(copy.path().join("CHANGELOG.md"), format!("## [{version}] - 2027-01-01\n\n- New.\n\n{changelog}"))
        .unwrap();
    let output = run_in(copy.path(), "check", &[&format!("v{version}")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_notes_of_a_release_are_its_section_of_the_changelog() {
    let folder = folder();
    let file = folder.path().join("CHANGELOG.md");
    let changelog = r"# Changelog

## [Unreleased]

- Later.

## [1.2.0] - 2026-12-01

It reads
well.

### Added

- One, see [its
  page](docs/one.md#part) and [elsewhere](https://example.org/a).
  More of it.
- Two.

## [1.1.0] - 2026-11-01

- Before.
";
    fs::write(&file, changelog).unwrap();
    let file = file.display().to_string();
    let notes = r"It reads well.

### Added

- One, see [its page](https://github.com/cloudnativer/kube-ipam/blob/v1.2.0/docs/one.md#part) and [elsewhere](https://example.org/a). More of it.
- Two.
";
    assert_eq!(printed("notes", &["1.2.0", &file]), notes);
    assert_eq!(printed("notes", &["1.1.0", &file]), "- Before.\n");
    let said = failure(root(), "notes", &["1.2", &file]);
    assert!(said.contains("says nothing of 1.2;"), "{said}");
}

#[test]
fn checksums_are_of_all_files_and_show_a_changed_one() {
    let folder = folder();
    let path = folder.path().display().to_string();
    let said = failure(root(), "checksums", &[&path]);
    assert!(said.contains("has no files"), "{said}");
    fs::write(folder.path().join("a.tar.gz"), "a").unwrap();
    fs::write(folder.path().join("b c.json"), "b").unwrap();
    // A second run has the same result: the list is not in itself.
    for _ in 0..2 {
        printed("checksums", &[&path]);
        let sums = fs::read_to_string(folder.path().join("SHA256SUMS")).unwrap();
        let names: Vec<&str> = sums.lines().map(|line| line.split_once("  ").unwrap().1).collect();
        assert_eq!(names, ["a.tar.gz", "b c.json"]);
    }
    let check = || {
        let mut check = Command::new("sha256sum");
        check.args(["--check", "--status", "SHA256SUMS"]).current_dir(folder.path()).status().unwrap()
    };
    assert!(check().success());
    fs::write(folder.path().join("b c.json"), "c").unwrap();
    assert!(!check().success());
}

#[test]
fn the_list_of_parts_has_what_is_linked_and_nothing_else() {
    let folder = folder();
    let path = folder.path().display().to_string();
    let read = || fs::read_to_string(folder.path().join("kube-ipam.cdx.json")).unwrap();
    printed("sbom", &[&path]);
    let first = read();
    printed("sbom", &[&path]);
    assert_eq!(first, read());
    let document: Value = serde_json::from_str(&first).unwrap();
    assert_eq!((&document["bomFormat"], &document["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    let parts = document["components"].as_array().unwrap();
    let names: BTreeSet<&str> = parts.iter().map(|part| part["name"].as_str().unwrap()).collect();
    for linked in ["rustls", "ring", "rusqlite", "libsqlite3-sys", "sqlite", "rust-std", "etcd-client", "kube-client"] {
        assert!(names.contains(linked), "{linked} is missing");
    }
    // A test's, a build script's, a macro, another system's, and the program itself.
    for other in ["proptest", "insta", "protoc-bin-vendored", "cc", "serde_derive", "windows-sys", "kube-ipam"] {
        assert!(!names.contains(other), "{other} is no part of the program");
    }
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let references: BTreeSet<&str> = parts.iter().map(|part| part["bom-ref"].as_str().unwrap()).collect();
    assert_eq!(references.len(), parts.len(), "a part is named twice");
    for part in parts.iter().filter(|part| part["purl"].as_str().unwrap().starts_with("pkg:cargo/")) {
        let [name, version] = [&part["name"], &part["version"]].map(|text| text.as_str().unwrap());
        let sum = part["hashes"][0]["content"].as_str().unwrap_or_else(|| panic!("{name} has no checksum"));
        assert!(lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"\n")), "{name} {version}");
        assert!(lock.contains(&format!("checksum = \"{sum}\"")), "{name} {version}");
        let licence = part["licenses"][0]["expression"].as_str().unwrap_or_else(|| panic!("{name} has no licence"));
        assert!(!licence.contains('/'), "{name}: {licence} is no SPDX expression");
    }
}

#[test]
fn the_packaged_chart_has_the_image_of_the_release() {
    if Helm::installed_or_skip("the_packaged_chart_has_the_image_of_the_release").is_none() {
        return;
    }
    let folder = folder();
    printed("chart", &[&folder.path().display().to_string()]);
    let version = env!("CARGO_PKG_VERSION");
    let chart = folder.path().join(format!("kube-ipam-{version}.tgz"));
    let mut tar = Command::new("tar");
    let values = tar.args(["-xzOf"]).arg(&chart).arg("kube-ipam/values.yaml").output().unwrap();
    let values: Value = serde_saphyr::from_str(&String::from_utf8(values.stdout).unwrap()).unwrap();
    assert_eq!(values["image"]["repository"], format!("{REGISTRY}/kube-ipam"));
    let rendered = printed("helm", &["template", "kube-ipam", &chart.display().to_string()]);
    assert!(rendered.contains(&format!("image: {REGISTRY}/kube-ipam:{version}")), "{rendered}");
}

#[test]
fn the_image_has_the_program_of_each_architecture() {
    let test = "the_image_has_the_program_of_each_architecture";
    if Command::new("buildah").arg("--version").output().is_err() {
        return skip(test, "buildah is not installed");
    }
    let folder = folder();
    for arch in ["amd64", "arm64"] {
        fs::write(folder.path().join(format!("kube-ipam-{arch}")), arch).unwrap();
    }
    let [programs, archive] =
        [folder.path().to_owned(), folder.path().join("image.tar")].map(|it| it.display().to_string());
    let index = || {
        printed("image", &[&programs, &archive]);
        let index = Command::new("tar").args(["-xOf", &archive, "index.json"]).output().unwrap();
        String::from_utf8(index.stdout).unwrap()
    };
    let first = index();
    assert_eq!(first, index(), "the same programs give the same image");
    let blob = |descriptor: &Value| -> Value {
        let path = format!("blobs/{}", descriptor["digest"].as_str().unwrap().replace(':', "/"));
        let blob = Command::new("tar").args(["-xOf", &archive, &path]).output().unwrap();
        serde_json::from_slice(&blob.stdout).unwrap()
    };
    let index: Value = serde_json::from_str(&first).unwrap();
    let manifests = blob(&index["manifests"][0]);
    let images = manifests["manifests"].as_array().unwrap().iter().map(|descriptor| blob(&blob(descriptor)["config"]));
    let images: Vec<Value> = images.collect();
    assert_eq!(images.iter().map(|image| &image["architecture"]).collect::<Vec<_>>(), ["amd64", "arm64"]);
    for image in images {
        assert_eq!(image["config"]["Entrypoint"], serde_json::json!(["/kube-ipam"]));
        assert_eq!(image["config"]["Labels"]["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    }
}
