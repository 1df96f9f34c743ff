//! What shells, manual pages and kubectl make of the program: completions, roff, and the plugin's name.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use kube_ipam_e2e::checkout::root;
use kube_ipam_e2e::{binary, skip};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with the program, under its name and under that of kubectl's plugin.
fn programs() -> TempDir {
    let folder = tempfile::Builder::new().prefix("kube-ipam-shells-").tempdir().unwrap();
    for name in ["kube-ipam", "kubectl-kube_ipam"] {
        symlink(binary::kube_ipam(), folder.path().join(name)).unwrap();
    }
    folder
}

fn run(program: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(args).env_clear().env("KUBE_IPAM_CONFIG", "/nonexistent/kube-ipam.json").stdin(Stdio::null());
    command.output().unwrap()
}

fn printed(args: &[&str]) -> String {
    let output = run(binary::kube_ipam(), args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What bash offers for the last of these words.
fn completed(folder: &Path, words: &str) -> Vec<String> {
    let script = r#"
        source <(kube-ipam completions bash) || exit 1
        COMP_WORDS=($1)
        [ "${1% }" = "$1" ] || COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        $(complete -p kube-ipam | sed -n 's/.*-F \([^ ]*\) .*/\1/p') kube-ipam "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script, "bash", words]).env_clear().env("PATH", path).stdin(Stdio::null());
    let output = bash.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    let folder = programs();
    for (words, expected) in [
        ("kube-ipam expl", vec!["explain"]),
        ("kube-ipam co", vec!["controller", "config", "completions"]),
        ("kube-ipam sweep --dr", vec!["--dry-run"]),
        ("kube-ipam config mac", vec!["macvlan"]),
        ("kube-ipam plan -o sa", vec!["sarif"]),
    ] {
        assert_eq!(completed(folder.path(), words), expected, "{words}");
    }
    let verbs = completed(folder.path(), "kube-ipam ");
    for verb in kube_ipam::cli::command().get_subcommands() {
        assert!(verbs.iter().any(|offered| offered == verb.get_name()), "{verbs:?}");
    }
}

#[test]
fn every_shell_has_a_script_with_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&["completions", shell]);
        for verb in kube_ipam::cli::command().get_subcommands() {
            assert!(script.contains(verb.get_name()), "{shell}: {}", verb.get_name());
        }
        let is_installed = Command::new(shell).arg("--version").stdout(Stdio::null()).status().is_ok();
        let mut check = Command::new(shell);
        match shell {
            "bash" => check.args(["-n"]),
            "zsh" | "fish" if is_installed => check.args(["--no-execute"]),
            _ => continue,
        };
        let folder = tempfile::Builder::new().prefix("kube-ipam-shells-").tempdir().unwrap();
        let file = folder.path().join("script");
        fs::write(&file, script).unwrap();
        assert!(check.arg(&file).status().unwrap().success(), "{shell}");
    }
}

#[test]
fn every_manual_page_is_rendered_without_a_complaint() {
    if Command::new("groff").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip(
            "every_manual_page_is_rendered_without_a_complaint",
            "groff is not installed (apt-get install groff)",
        );
    }
    let folder = tempfile::Builder::new().prefix("kube-ipam-man-").tempdir().unwrap();
    let written = printed(&["man", "--dir", folder.path().to_str().unwrap()]);
    let pages: Vec<&str> = written.lines().map(|line| line.strip_prefix("wrote ").unwrap()).collect();
    assert_eq!(pages.len(), kube_ipam::cli::command().get_subcommands().count() + 1);
    for page in pages {
        let output =
            Command::new("groff").args(["-man", "-Tutf8", "-ww", page]).env("GROFF_NO_SGR", "1").output().unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{page}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        // Bold is printed over itself.
        let text = String::from_utf8(output.stdout).unwrap();
        let mut plain = String::new();
        text.chars().for_each(|c| {
            if c == '\u{8}' {
                plain.truncate(plain.len() - plain.chars().last().map_or(0, char::len_utf8))
            } else {
                plain.push(c)
            }
        });
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS"] {
            assert!(plain.lines().any(|line| line == heading), "{heading}: {plain}");
        }
        let name = Path::new(page).file_stem().unwrap().to_str().unwrap();
        let verb = name.strip_prefix("kube-ipam-");
        let alone = printed(&["man"].into_iter().chain(verb).collect::<Vec<_>>());
        assert_eq!(alone.trim_end(), fs::read_to_string(page).unwrap().trim_end(), "{name}");
    }
}

#[test]
fn under_kubectl_s_name_it_is_a_plugin() {
    let folder = programs();
    let plugin = folder.path().join("kubectl-kube_ipam");
    let help = String::from_utf8(run(&plugin, &["list", "--help"]).stdout).unwrap();
    assert!(help.contains("Usage: kubectl kube-ipam list"), "{help}");
    assert!(help.contains("\n  kubectl kube-ipam list --network"), "{help}");
    let failed = run(&plugin, &["list", "--data-dir", "/nonexistent"]);
    let said = String::from_utf8(failed.stderr).unwrap();
    assert!(failed.status.code() == Some(1) && said.starts_with("kubectl kube-ipam: there is no store"), "{said}");
    let wrong = run(&plugin, &["lsit"]);
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(wrong.status.code() == Some(2) && said.contains("Usage: kubectl kube-ipam <COMMAND>"), "{said}");
    // A runtime calls no file by this name. If one did, it would be answered as by any other name.
    let call = Command::new(&plugin).env_clear().env("CNI_COMMAND", "VERSION").stdin(Stdio::null()).output().unwrap();
    let reply: Value = serde_json::from_slice(&call.stdout).unwrap();
    assert!(reply.get("supportedVersions").is_some() || reply.get("code").is_some(), "{reply}");
}

/// What krew checks before it installs a plugin (its package internal/index/validation).
fn is_valid_manifest(manifest: &Value, name: &str) -> Result<(), String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let check = |holds: bool, what: &str| if holds { Ok(()) } else { Err(format!("{what}: {manifest}")) };
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let spec = &manifest["spec"];
    check(manifest["apiVersion"] == "krew.googlecontainertools.github.com/v1alpha2", "apiVersion")?;
    check(manifest["kind"] == "Plugin", "kind")?;
    check(manifest["metadata"]["name"] == name, "metadata.name")?;
    check(name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)), "the characters of the name")?;
    let short = text(&spec["shortDescription"]);
    check(!short.is_empty() && !short.contains(['\n', '\r']), "shortDescription")?;
    let version = text(&spec["version"]);
    let numbers: Vec<&str> = version.strip_prefix('v').unwrap_or_default().split('.').collect();
    check(numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u32>().is_ok()), "version")?;
    let platforms = spec["platforms"].as_array().cloned().unwrap_or_default();
    check(!platforms.is_empty(), "platforms")?;
    for platform in &platforms {
        check(text(&platform["uri"]).starts_with("https://"), "uri")?;
        let sum = text(&platform["sha256"]);
        check(sum.len() == 64 && sum.chars().all(is_hex), "sha256")?;
        check(!text(&platform["bin"]).is_empty(), "bin")?;
        let files = platform["files"].as_array();
        let is_operation = |file: &Value| !text(&file["from"]).is_empty() && !text(&file["to"]).is_empty();
        check(files.is_none_or(|files| !files.is_empty() && files.iter().all(is_operation)), "files")?;
        let labels = platform["selector"]["matchLabels"].as_object().cloned().unwrap_or_default();
        check(!labels.is_empty() && labels.keys().all(|key| key == "os" || key == "arch"), "selector")?;
    }
    Ok(())
}

#[test]
fn the_krew_manifest_of_a_release_is_one_that_krew_accepts_and_its_archive_has_the_plugin() {
    let folder = tempfile::Builder::new().prefix("kube-ipam-krew-").tempdir().unwrap();
    let version = format!("v{}", env!("CARGO_PKG_VERSION"));
    let program = binary::kube_ipam().display();
    let mut package = Command::new(root().join("examples/krew/package"));
    package.arg(&version).args([format!("amd64={program}"), format!("arm64={program}")]).current_dir(folder.path());
    let output = package.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let manifest = fs::read_to_string(folder.path().join("kube-ipam.yaml")).unwrap();
    let manifest: Value = serde_saphyr::from_str(&manifest).unwrap();
    assert_eq!(is_valid_manifest(&manifest, "kube-ipam"), Ok(()));
    assert_eq!(manifest["spec"]["version"], version);
    for platform in manifest["spec"]["platforms"].as_array().unwrap() {
        let uri = platform["uri"].as_str().unwrap();
        assert!(uri.contains(&version), "{uri}");
        let archive = folder.path().join(uri.rsplit('/').next().unwrap());
        let sum = Command::new("sha256sum").arg(&archive).output().unwrap();
        assert!(String::from_utf8(sum.stdout).unwrap().starts_with(platform["sha256"].as_str().unwrap()));
        // krew unpacks the archive, and links its plugin by the name that kubectl looks for.
        let unpacked = tempfile::tempdir_in(folder.path()).unwrap();
        let tar = Command::new("tar").args(["-xzf"]).arg(&archive).arg("-C").arg(unpacked.path()).status().unwrap();
        assert!(tar.success() && unpacked.path().join("LICENSE").exists());
        let plugin = unpacked.path().join("kubectl-kube_ipam");
        symlink(unpacked.path().join(platform["bin"].as_str().unwrap()), &plugin).unwrap();
        let help = run(&plugin, &["--help"]);
        assert!(String::from_utf8(help.stdout).unwrap().contains("Usage: kubectl kube-ipam"));
    }
    // As it lies there, it names no archive.
    let template = fs::read_to_string(root().join("examples/krew/kube-ipam.yaml")).unwrap();
    assert!(is_valid_manifest(&serde_saphyr::from_str(&template).unwrap(), "kube-ipam").is_err());
}
