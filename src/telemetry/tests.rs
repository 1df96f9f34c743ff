//! Tests of the log, in one process and in several.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::config::LogFormat;
use crate::ipam::lease::PodRef;
use crate::ipam::name::{AttachmentId, IfName, Name};

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap()
}

fn config(file: PathBuf, format: LogFormat) -> LogConfig {
    LogConfig { file, level: Level::Info, format, rotate_bytes: 1 << 20 }
}

fn lines(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn add(pod: &str) -> CallTimer {
    let name = |text| Name::new(text).unwrap();
    let ifname = IfName::new("net1").unwrap();
    let id = AttachmentId { node: name("node-a"), container: name("c1"), ifname, network: name("db-net") };
    let pod = PodRef { namespace: Some("shop".to_owned()), name: Some(pod.to_owned()), uid: None };
    let mut timer = CallTimer::start("ADD");
    timer.attachment(&id, &pod);
    timer
}

fn redacted() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "<time>");
    settings.add_filter(r#"_ms("?[=:])\d+\.\d+"#, "_ms$1<ms>");
    settings
}

#[test]
fn an_operation_leaves_one_line_of_text() {
    let folder = folder();
    let file = folder.path().join("log");
    tracing::subscriber::with_default(subscriber(&config(file.clone(), LogFormat::Text)), || {
        let mut good = add("web-0");
        good.enter(Phase::Record);
        good.enter(Phase::Store);
        good.addresses(["10.188.0.218/16".parse().unwrap(), "fd00::7/64".parse().unwrap()]);
        good.source("requested by runtimeConfig.ips");
        good.succeeded();
        add("web-1\nINFO forged").failed(11, &"etcd is away;\ntry again");
        CallTimer::start("STATUS").succeeded();
    });
    redacted().bind(|| {
        insta::assert_snapshot!(lines(&file).join("\n"), @r#"
        <time>  INFO operation="ADD" network="db-net" pod="shop/web-0" container="c1" interface="net1" addresses="10.188.0.218/16,fd00::7/64" source="requested by runtimeConfig.ips" config_ms=<ms> record_ms=<ms> store_ms=<ms> total_ms=<ms>
        <time> ERROR operation="ADD" network="db-net" pod="shop/web-1\nINFO forged" container="c1" interface="net1" code=11 error="etcd is away;\ntry again" config_ms=<ms> total_ms=<ms>
        <time>  INFO operation="STATUS" config_ms=<ms> total_ms=<ms>
        "#);
    });
}

#[test]
fn an_operation_leaves_one_object_of_json() {
    let folder = folder();
    let file = folder.path().join("log");
    tracing::subscriber::with_default(subscriber(&config(file.clone(), LogFormat::Json)), || {
        let mut good = add("web-0");
        good.enter(Phase::Store);
        good.addresses(["10.188.0.218/16".parse().unwrap()]);
        good.succeeded();
        add("web-1\n").failed(11, &"etcd is away;\ntry again");
    });
    let lines = lines(&file);
    assert!(lines.iter().all(|line| serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object())));
    redacted().bind(|| {
        insta::assert_snapshot!(lines.join("\n"), @r#"
        {"timestamp":"<time>","level":"INFO","operation":"ADD","network":"db-net","pod":"shop/web-0","container":"c1","interface":"net1","addresses":"10.188.0.218/16","config_ms":<ms>,"store_ms":<ms>,"total_ms":<ms>}
        {"timestamp":"<time>","level":"ERROR","operation":"ADD","network":"db-net","pod":"shop/web-1\n","container":"c1","interface":"net1","code":11,"error":"etcd is away;\ntry again","config_ms":<ms>,"total_ms":<ms>}
        "#);
    });
}

#[test]
fn only_this_programs_events_of_the_wanted_level_are_written() {
    let folder = folder();
    let file = folder.path().join("log");
    let log = LogConfig { level: Level::Warn, ..config(file.clone(), LogFormat::Text) };
    tracing::subscriber::with_default(subscriber(&log), || {
        tracing::info!("too fine");
        assert!(!file.exists(), "the file waits for the first event");
        tracing::error!(target: "h2::codec", "another crate's");
        tracing::error!(target: "kube_ipam_e2e", "a crate's with a name that starts as ours");
        tracing::warn!("kept");
    });
    let lines = lines(&file);
    assert!(lines.len() == 1 && lines[0].ends_with("WARN kept"), "{lines:?}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_file_that_somebody_moved_is_begun_anew() {
    let folder = folder();
    let file = folder.path().join("log");
    tracing::subscriber::with_default(subscriber(&config(file.clone(), LogFormat::Text)), || {
        tracing::info!("one");
        fs::rename(&file, folder.path().join("moved")).unwrap();
        tracing::info!("two");
        fs::remove_file(&file).unwrap();
        tracing::info!("three");
    });
    assert!(lines(&folder.path().join("moved"))[0].ends_with("one"));
    assert!(lines(&file)[0].ends_with("three"));
}

#[test]
fn a_rotation_that_another_process_holds_is_not_waited_for() {
    let folder = folder();
    let file = folder.path().join("log");
    let log = LogConfig { rotate_bytes: 10, ..config(file.clone(), LogFormat::Text) };
    tracing::subscriber::with_default(subscriber(&log), || {
        tracing::info!("one");
        let rotator = fs::File::open(&file).unwrap();
        rotator.lock().unwrap();
        tracing::info!("two");
        assert_eq!(lines(&file).len(), 2);
        drop(rotator);
        tracing::info!("three");
    });
    assert_eq!(lines(&folder.path().join("log.1")).len(), 2);
    assert_eq!(lines(&file).len(), 1);
}

/// The variable that makes this program a worker: the number of lines, the file, its size limit, and the worker's
/// number.
const WORKER: &str = "KUBE_IPAM_TEST_LOG_WORKER";

#[test]
#[ignore = "the other tests of this file start it as a process of its own"]
fn worker() {
    let Ok(task) = std::env::var(WORKER) else { return };
    let task: Vec<&str> = task.splitn(4, ' ').collect();
    let rotate_bytes = task[1].parse().unwrap();
    init(&LogConfig { rotate_bytes, ..config(task[3].into(), LogFormat::Json) });
    for line in 0..task[0].parse().unwrap() {
        let line: u64 = line;
        add(&format!("pod-{}-{line}", task[2])).succeeded();
    }
}

fn start(lines: u64, rotate_bytes: u64, number: u64, file: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "telemetry::tests::worker", "--ignored", "--nocapture", "--quiet"])
        .env(WORKER, format!("{lines} {rotate_bytes} {number} {}", file.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The pods in all lines of these files. Every line must be complete.
fn pods(files: &[PathBuf]) -> Vec<String> {
    let lines = files.iter().flat_map(|file| lines(file));
    let pod = |line: String| match serde_json::from_str::<Value>(&line) {
        Ok(event) => event["pod"].as_str().unwrap().to_owned(),
        Err(e) => panic!("{e}: {line}"),
    };
    lines.map(pod).collect()
}

const PROCESSES: u64 = 8;
const LINES: u64 = 1000;

#[test]
fn eight_processes_rotate_a_log_and_lose_no_line() {
    let folder = folder();
    let file = folder.path().join("log");
    let kept = folder.path().join("log.1");
    // A line has some 190 bytes, all of them 1.5 MB: one rotation.
    let workers: Vec<Child> = (0..PROCESSES).map(|number| start(LINES, 900_000, number, &file)).collect();
    for worker in workers {
        assert_quiet(&worker.wait_with_output().unwrap());
    }
    assert!(fs::metadata(&kept).unwrap().len() >= 900_000);
    let pods = pods(&[kept, file]);
    assert_eq!(pods.len() as u64, PROCESSES * LINES);
    assert_eq!(pods.into_iter().collect::<BTreeSet<_>>().len() as u64, PROCESSES * LINES);
}

#[test]
fn eight_processes_that_rotate_all_the_time_leave_four_short_files_of_whole_lines() {
    let folder = folder();
    let file = folder.path().join("log");
    let files: Vec<PathBuf> = ["log", "log.1", "log.2", "log.3"].map(|name| folder.path().join(name)).into();
    let workers: Vec<Child> = (0..PROCESSES).map(|number| start(LINES, 5_000, number, &file)).collect();
    for worker in workers {
        assert_quiet(&worker.wait_with_output().unwrap());
    }
    assert!(pods(&files).len() > 40);
    for file in files {
        // No process waits for the one that renames the files, so a file gets more lines if the machine is busy.
        // Without rotation, one file would have all 1.5 MB.
        let length = fs::metadata(&file).unwrap().len();
        assert!(length < 750_000, "{file:?} has {length} bytes");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
}

#[test]
fn old_files_are_kept_in_order_and_the_oldest_goes() {
    let folder = folder();
    let file = folder.path().join("log");
    let log = LogConfig { rotate_bytes: 10, ..config(file.clone(), LogFormat::Text) };
    tracing::subscriber::with_default(subscriber(&log), || {
        (1..=6).for_each(|line| tracing::info!("line {line}"));
    });
    for (name, line) in [("log", 6), ("log.1", 5), ("log.2", 4), ("log.3", 3)] {
        let lines = lines(&folder.path().join(name));
        assert!(lines.len() == 1 && lines[0].ends_with(&format!("line {line}")), "{name}: {lines:?}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
}

#[test]
fn a_line_is_short_however_long_what_it_tells_is() {
    let long = "ä".repeat(200_000);
    for format in [LogFormat::Text, LogFormat::Json] {
        let folder = folder();
        let file = folder.path().join("log");
        tracing::subscriber::with_default(subscriber(&config(file.clone(), format)), || {
            add(&long).failed(7, &long);
            tracing::warn!(pod = long.as_str(), "{long}");
        });
        let lines = lines(&file);
        assert_eq!(lines.len(), 2);
        for line in lines {
            assert!(line.len() < 10 << 10, "{} bytes", line.len());
            assert!(line.contains("bytes more)"), "{line}");
            if format == LogFormat::Json {
                serde_json::from_str::<Value>(&line).unwrap();
            }
        }
    }
}

/// Requires that standard output has no log line, and that standard error is empty.
fn assert_quiet(output: &Output) {
    assert!(output.status.success());
    assert!(!String::from_utf8_lossy(&output.stdout).contains("pod-"));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_log_that_cannot_be_written_goes_to_standard_error_and_says_so_once() {
    let folder = folder();
    let pipe = folder.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let cases = [
        (folder.path().join("absent/log"), "No such file or directory (os error 2)"),
        (folder.path().to_owned(), "Is a directory (os error 21)"),
        (pipe, "No such device or address (os error 6)"),
        (PathBuf::from("/dev/full"), "No space left on device (os error 28)"),
        (PathBuf::from("/dev/stdout"), "it is standard output, where only the result goes"),
    ];
    for (file, why) in cases {
        let output = start(3, 5_000, 0, &file).wait_with_output().unwrap();
        assert!(output.status.success());
        assert!(!String::from_utf8_lossy(&output.stdout).contains("pod-"), "{file:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        let (first, rest) = said.split_once('\n').unwrap();
        assert_eq!(first, format!("kube-ipam: can't write the log {}: {why}; it goes on here", file.display()));
        assert_eq!(rest.lines().count(), 3, "{said}");
        assert!(rest.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{said}");
    }
}
