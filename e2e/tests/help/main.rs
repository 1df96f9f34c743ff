//! The help: each of its examples works as it stands, and each command ends as docs/reference-cli.md says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

mod host;

use std::fs;
use std::io::Read as _;
use std::process::{Command, Output, Stdio};

use kube_ipam_e2e::{binary, wait_until};
use rustix::process::{Pid, Signal, kill_process};

use self::host::Host;

/// Examples that need something to be so before them: how they begin, and the command that makes it so.
const SETUPS: [(&str, &str); 4] = [
    ("kube-ipam reserve 10.188.0.218", "kube-ipam release 10.188.0.218 --yes"),
    (
        "kube-ipam install --defaults /etc/kube-ipam/kube-ipam.json --etcd-secret /etc/kube-ipam/etcd --check",
        "kube-ipam install --defaults /etc/kube-ipam/kube-ipam.json --etcd-secret /etc/kube-ipam/etcd",
    ),
    ("kube-ipam move 10.188.0.50", "kube-ipam reserve 10.188.0.50 --reason printer --yes"),
    (
        "kube-ipam move 10.188.0.218",
        "kube-ipam release 10.188.0.218 --yes && kube-ipam reserve 10.188.0.218 --reason db --yes",
    ),
];

/// Examples that run until SIGTERM: the words by which they are known.
const UNTIL_SIGTERM: [&str; 4] = ["kube-ipam controller", "--watch", "--every", "kube-ipam watch"];

/// The bit of SIGTERM in the mask of caught signals (proc(5), SigCgt).
const CATCHES_SIGTERM: u64 = 1 << (15 - 1);

/// The examples of all commands.
fn examples() -> Vec<String> {
    let command = kube_ipam::cli::command();
    let helps = command.get_subcommands().filter_map(|verb| Some(verb.get_after_help()?.to_string()));
    let lines = helps.flat_map(|help| help.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>());
    lines.filter(|line| !line.is_empty() && line != "Examples:").collect()
}

/// The exit status of an example, and what it said.
fn run(host: &Host, example: &str, stdout: Stdio) -> Output {
    host.reset();
    let setups: Vec<String> = SETUPS
        .iter()
        .filter(|(begin, _)| example.starts_with(begin))
        .map(|(_, setup)| format!("({setup}) >/dev/null && "))
        .collect();
    // Only a cluster's store is swept by controllers that elect a leader.
    let needs_etcd = example.starts_with("kube-ipam controller") && !example.contains("--embedded");
    let defaults = if needs_etcd { "export KUBE_IPAM_CONFIG=/etc/cni/net.d/kube-ipam.d/on-etcd.json && " } else { "" };
    let mut command = host.shell(&format!("{defaults}{}{example}", setups.concat()));
    command.stdout(stdout).stderr(Stdio::piped());
    if !UNTIL_SIGTERM.iter().any(|words| example.contains(words)) {
        return command.output().unwrap();
    }
    let child = command.spawn().unwrap();
    let proc = format!("/proc/{}", child.id());
    wait_until(&format!("{example} waits for SIGTERM, or ends"), || {
        let status = fs::read_to_string(format!("{proc}/status")).unwrap_or_default();
        let value =
            |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim().to_owned();
        let caught = u64::from_str_radix(&value("SigCgt:"), 16).unwrap_or_default();
        value("State:").starts_with('Z') || value("Name:") == "kube-ipam" && caught & CATCHES_SIGTERM != 0
    });
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    child.wait_with_output().unwrap()
}

/// Whether it ended as it should: with success, with findings, or because nobody confirmed it.
fn is_as_documented(example: &str, output: &Output) -> bool {
    let said = String::from_utf8_lossy(&output.stderr);
    let has_findings = example.starts_with("kube-ipam doctor") && said.contains("error");
    let is_unconfirmed = !example.contains("--yes") && said.contains("--yes");
    match output.status.code() {
        Some(0) => true,
        Some(1) => has_findings || is_unconfirmed,
        _ => false,
    }
}

#[test]
fn every_example_of_the_help_works_and_so_it_does_if_nobody_reads_its_output() {
    let Some(host) = Host::for_test("every_example_of_the_help_works_and_so_it_does_if_nobody_reads_its_output") else {
        return;
    };
    let examples = examples();
    assert!(examples.len() > 40, "only {} examples were found", examples.len());
    let mut failed = Vec::new();
    for example in &examples {
        if example.starts_with("kube-ipam controller") && !example.contains("--embedded") && !host.has_etcd() {
            continue;
        }
        let output = run(&host, example, Stdio::piped());
        if !is_as_documented(example, &output) {
            failed.push(format!("{example}: {}\n{}", output.status, text(&output)));
        }
        // The program gets the closed pipe, if it does not write to another program or a file.
        if !example.contains(['|', '>', '<']) {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let output = run(&host, example, writer.into());
            if !is_as_documented(example, &output) || text(&output).contains("roken pipe") {
                failed.push(format!("{example}, unread: {}\n{}", output.status, text(&output)));
            }
        }
    }
    assert!(failed.is_empty(), "these examples do not work:\n{}", failed.join("\n"));
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn kube_ipam(args: &[&str]) -> Command {
    let mut command = Command::new(binary::kube_ipam());
    command.args(args).env_clear().env("KUBE_IPAM_CONFIG", "/nonexistent/kube-ipam.json").stdin(Stdio::null());
    command
}

fn verbs() -> Vec<String> {
    kube_ipam::cli::command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect()
}

#[test]
fn every_command_has_a_short_and_a_long_help() {
    for verb in verbs() {
        let printed = |args: &[&str]| {
            let output = kube_ipam(args).output().unwrap();
            assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()), "{args:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let (short, long) = (printed(&[&verb, "--help"]), printed(&["help", &verb]));
        assert_eq!(short, printed(&[&verb, "-h"]));
        assert!(short.lines().count() <= long.lines().count(), "{short}{long}");
        for option in ["--help"].into_iter().chain(short.split_whitespace().filter(|word| word.starts_with("--"))) {
            assert!(long.contains(option), "{option}: {long}");
        }
        if verb != "version" {
            assert!(short.contains("Examples:") && long.contains("Examples:"), "{short}");
        }
    }
}

#[test]
fn a_wrong_option_is_status_2_of_every_command() {
    for verb in verbs() {
        let output = kube_ipam(&[&verb, "--no-such-option"]).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), b"".as_slice()), "{verb}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("Usage: kube-ipam"), "{verb}");
    }
}

#[test]
fn a_failure_is_status_1_and_one_line_with_its_reason() {
    let failures = [
        &["plan", "-f", "/nonexistent"] as &[&str],
        &["list", "--data-dir", "/nonexistent"],
        &["usage", "--data-dir", "/nonexistent"],
        &["explain", "10.1.0.1", "--data-dir", "/nonexistent"],
        &["release", "10.1.0.1", "--data-dir", "/nonexistent"],
        &["watch", "--data-dir", "/nonexistent"],
        &["recovery", "--data-dir", "/nonexistent"],
        &["sweep", "--data-dir", "/nonexistent"],
        &["controller", "--embedded", "--data-dir", "/nonexistent"],
        &["doctor", "--node", "--config", "/nonexistent"],
        &["reserve", "10.1.0.1", "--reason", "printer", "--data-dir", "/nonexistent"],
        &["move", "10.1.0.1", "--to", "10.1.0.2", "--data-dir", "/nonexistent"],
        &["install", "--service-account", "/nonexistent", "--server", "https://192.0.2.10:6443", "--check"],
        &["config", "macvlan", "--subnet", "10.1.0.0/24", "--gateway", "10.1.0.255"],
        &["man", "no-such-command"],
        &["man", "--dir", "/nonexistent"],
    ];
    let can_fail = |verb: &String| !["completions", "version"].contains(&verb.as_str());
    for verb in verbs().iter().filter(|verb| can_fail(verb)) {
        assert!(failures.iter().any(|args| args[0] == verb), "add a failure of {verb}");
    }
    for args in failures {
        let output = kube_ipam(args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.starts_with("kube-ipam: ") && said.lines().count() == 1, "{args:?}: {said}");
    }
}

#[test]
fn help_that_nobody_reads_is_no_failure() {
    for args in [&["help"] as &[&str], &["--help"], &["help", "plan"], &["config", "macvlan"], &["completions", "zsh"]]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut child = kube_ipam(args).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""), "{args:?}");
    }
}
