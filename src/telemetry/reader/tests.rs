//! Reading the log back: what `lines` writes, rotated, compressed, torn and hostile files.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const IP: &str = "10.188.0.218";

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("kube-ipam-log-").tempdir().unwrap()
}

fn read(log: &Path, limit: usize) -> Excerpt {
    read_back(log, IP, limit, Deadline::after(Duration::from_secs(60)))
}

/// A line of an ADD, as `lines` writes it, at a second of one day.
fn add(second: usize, pod: &str) -> String {
    let (minute, second) = (second / 60, second % 60);
    format!(
        r#"2026-11-23T04:{minute:02}:{second:02}.316Z  INFO operation="ADD" pod={pod:?} addresses="{IP}/16" total_ms=1.5"#
    )
}

/// The pods of the lines, in their order.
fn pods(excerpt: &Excerpt) -> Vec<&str> {
    excerpt.lines.iter().map(|line| line.field("pod").unwrap()).collect()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn both_formats_say_the_same() {
    let file = Path::new("log");
    let text = line::parse(
        file,
        r#"2026-11-23T04:58:57.316Z  INFO a release: done network="db-net" pod="a \"b\"\\\n\u{7f}" ip=10.1.1.1 why=two words code=7"#,
    )
    .unwrap();
    let json = line::parse(
        file,
        r#"{"timestamp":"2026-11-23T04:58:57.316Z","level":"INFO","message":"a release: done","network":"db-net","pod":"a \"b\"\\\n\u007f","ip":"10.1.1.1","why":"two words","code":7}"#,
    )
    .unwrap();
    assert_eq!(text, json);
    assert_eq!((text.level.as_str(), text.message.as_str()), ("INFO", "a release: done"));
    assert_eq!(text.time, time("2026-11-23T04:58:57.316Z"));
    let fields = ["network", "ip", "why", "code", "absent"].map(|name| text.field(name));
    assert_eq!(fields, [Some("db-net"), Some("10.1.1.1"), Some("two words"), Some("7"), None]);
}

#[test]
fn what_a_message_quotes_is_no_field_of_a_call() {
    let forged =
        r#"2026-11-23T04:58:57.316Z  WARN unknown key "x operation="ADD" addresses="10.188.0.218/16"" pod="a/b""#;
    let line = line::parse(Path::new("log"), forged).unwrap();
    assert!(!line.message.is_empty() && line.level == "WARN", "{line:?}");
    // A quote inside a value is escaped, so that no value adds a field.
    let line = line::parse(Path::new("log"), &add(0, r#"a" addresses="10.0.0.1"#)).unwrap();
    assert_eq!(line.field("addresses"), Some("10.188.0.218/16"));
}

#[test]
fn torn_lines_are_counted_and_the_others_are_read() {
    let folder = folder();
    let log = folder.path().join("log");
    let long = "x".repeat(MAX_LINE);
    let json = format!(r#"{{"timestamp":"2026-11-23T04:00:09Z","level":"INFO","pod":"json","addresses":"{IP}/16"}}"#);
    let lines = [
        format!("half a line with {IP}"),
        add(1, "one"),
        format!(r#"{{"timestamp":"2026-11-23T04:00:02.316Z","addresses":"{IP}/1"#),
        format!("{} {long} {IP}", add(3, "long")),
        format!("{long} {IP}"),
        String::new(),
        "another address: 10.188.0.219".to_owned(),
        json,
    ];
    fs::write(&log, lines.join("\n")).unwrap();
    File::options().append(true).open(&log).unwrap().write_all(b"\n\xff\xfe 10.188.0.218 \x00\x1b[31m\n").unwrap();
    let excerpt = read(&log, 99);
    assert_eq!(pods(&excerpt), ["one", "long", "json"]);
    assert_eq!(excerpt.unparsed, 3);
    assert_eq!((excerpt.more, excerpt.unread.len()), (false, 0));
    assert_eq!(excerpt.oldest, Some(time("2026-11-23T04:00:01.316Z")));
}

#[test]
fn older_files_are_read_after_the_current_one() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    for (age, name) in ["log.3", "log.2", "log-20261101", "log.1", "log"].into_iter().enumerate() {
        fs::write(path(name), add(age, name) + "\n").unwrap();
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + age as u64);
        File::options().write(true).open(path(name)).unwrap().set_modified(modified).unwrap();
    }
    fs::write(path("log.4.gz"), "").unwrap();
    fs::write(path("log2"), add(0, "another program's")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, path("log.pipe"), rustix::fs::Mode::RUSR).unwrap();
    // The file of a rotation that happens while the log is read.
    fs::hard_link(path("log"), path("log.0")).unwrap();
    let excerpt = read(&path("log"), 99);
    assert_eq!(pods(&excerpt), ["log", "log.1", "log-20261101", "log.2", "log.3"]);
    assert_eq!(excerpt.lines[4].file, path("log.3"));
    assert_eq!(excerpt.oldest, Some(time("2026-11-23T04:00:00.316Z")));
    assert_eq!(excerpt.unread, [(path("log.4.gz"), UnreadLog::Compressed), (path("log.pipe"), UnreadLog::NotRegular)]);
}

#[test]
fn the_latest_lines_count() {
    let folder = folder();
    let log = folder.path().join("log");
    let lines = |from: usize, to: usize| {
        (from..to).fold(String::new(), |mut text, i| {
            writeln!(text, "{}", add(i, &i.to_string())).unwrap();
            text
        })
    };
    fs::write(folder.path().join("log.1"), lines(0, 10)).unwrap();
    fs::write(&log, lines(10, 14)).unwrap();
    let excerpt = read(&log, 6);
    assert_eq!((pods(&excerpt), excerpt.more), (vec!["10", "11", "12", "13", "8", "9"], true));
    assert_eq!(pods(&read(&log, 2)), ["12", "13"]);
    assert!(!read(&log, 14).more);
}

#[test]
fn a_log_that_cannot_be_read_is_named() {
    let folder = folder();
    let missing = read(&folder.path().join("none"), 9);
    assert_eq!(missing, Excerpt::default());
    let excerpt = read(folder.path(), 9);
    assert_eq!(excerpt.unread, [(folder.path().to_owned(), UnreadLog::NotRegular)]);
    let log = folder.path().join("log");
    fs::write(&log, add(0, "one")).unwrap();
    let late = read_back(&log, IP, 9, Deadline::after(Duration::ZERO));
    assert_eq!(late.unread, [(log, UnreadLog::TimedOut)]);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000), quote in any::<String>()) {
        let folder = folder();
        let log = folder.path().join("log");
        let mut content = bytes;
        content.extend_from_slice(format!("\n{}\n{}\n", quote, add(1, &quote)).as_bytes());
        fs::write(&log, content).unwrap();
        let excerpt = read(&log, 99);
        // Rust's Debug, which writes texts, is parsed back exactly.
        let quoted = quote.contains('\n') || excerpt.lines.iter().any(|line| line.field("pod") == Some(quote.as_str()));
        prop_assert!(quoted, "{excerpt:?}");
    }
}
