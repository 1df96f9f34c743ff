//! Tests only for a store in files: its files, and that it survives killed processes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pollster::block_on;
use rusqlite::Connection;

use super::database::{DATABASE, NEW};
use super::*;
use crate::cause::Cause;
use crate::store::conformance::{self, actors};
use crate::store::{Freshness, Guard, Key, KeySpan, MemoryStore, Op, OpResponse};

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("kube-ipam-sqlite-").tempdir().unwrap()
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn put(key: &str) -> Txn {
    Txn::new(vec![], vec![Op::Put(Key::new(key), b"{}".to_vec())], vec![]).unwrap()
}

fn count() -> Txn {
    Txn::read(vec![Op::Count(KeySpan::prefix("k/"))]).unwrap()
}

fn connection(folder: &Path) -> Connection {
    Connection::open(folder.join(DATABASE)).unwrap()
}

#[test]
fn it_keeps_the_rules_of_a_store() {
    let folder = folder();
    block_on(conformance::check(&SqliteStore::new(folder.path()))).unwrap();
}

#[test]
fn the_memory_store_keeps_the_same_rules() {
    block_on(conformance::check(&MemoryStore::new())).unwrap();
}

#[test]
fn sixteen_connections_at_once_lose_no_update_and_claim_no_key_twice() {
    let folder = folder();
    std::thread::scope(|scope| {
        let started: Vec<_> = (0..16)
            .map(|i| {
                let path = folder.path();
                scope.spawn(move || {
                    let store = SqliteStore::new(path);
                    block_on(actors::count_up(&store, 3))
                        .and_then(|()| block_on(actors::claim(&store, &i.to_string(), 5)))
                })
            })
            .collect();
        for actor in started {
            actor.join().unwrap().unwrap();
        }
    });
    let store = SqliteStore::new(folder.path());
    block_on(actors::counted(&store, 16, 3)).unwrap();
    block_on(actors::claimed(&store, 16, 5)).unwrap();
}

#[test]
fn one_store_is_shared_by_threads() {
    let folder = folder();
    let store = SqliteStore::new(folder.path());
    std::thread::scope(|scope| {
        let started: Vec<_> = (0..8).map(|_| scope.spawn(|| block_on(actors::count_up(&store, 5)))).collect();
        started.into_iter().for_each(|actor| actor.join().unwrap().unwrap());
    });
    block_on(actors::counted(&store, 8, 5)).unwrap();
}

#[test]
fn the_folder_and_its_files_are_its_owners_alone() {
    let folder = folder();
    let data_dir = folder.path().join("lib/kube-ipam/store");
    block_on(SqliteStore::new(&data_dir).commit(&put("k/1"), soon())).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data_dir), 0o700);
    for file in fs::read_dir(&data_dir).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_commit_is_synced_in_full() {
    let folder = folder();
    block_on(SqliteStore::new(folder.path()).commit(&put("k/1"), soon())).unwrap();
    // The default of the linked SQLite. kube-ipam does not change it.
    let full: i64 = connection(folder.path()).query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
    assert_eq!(full, 2);
}

#[test]
fn a_revision_never_comes_again_after_a_delete_and_a_restart() {
    let folder = folder();
    let commit = |txn: &Txn| block_on(SqliteStore::new(folder.path()).commit(txn, soon())).unwrap().at;
    let written = commit(&put("k/1"));
    let deleted = commit(&Txn::new(vec![], vec![Op::Delete(Key::new("k/1"))], vec![]).unwrap());
    let anew = commit(&put("k/1"));
    assert!(written.0 < deleted.0 && deleted.0 < anew.0);
}

#[test]
fn a_read_makes_an_empty_store_too() {
    let folder = folder();
    let outcome = block_on(SqliteStore::new(folder.path().join("new")).commit(&count(), soon())).unwrap();
    assert_eq!(outcome.branch.responses, [OpResponse::Count(0)]);
}

#[test]
fn a_creation_that_was_cut_short_is_begun_anew() {
    let folder = folder();
    fs::write(folder.path().join(NEW), "half a database").unwrap();
    fs::write(folder.path().join(format!("{DATABASE}-journal")), "the journal of a database that was removed").unwrap();
    block_on(SqliteStore::new(folder.path()).commit(&put("k/1"), soon())).unwrap();
}

#[test]
fn many_that_open_a_new_folder_at_once_all_find_the_tables() {
    for _ in 0..8 {
        let folder = folder();
        std::thread::scope(|scope| {
            for i in 0..12 {
                let path = folder.path();
                let txn = if i % 2 == 0 { count() } else { put(&format!("k/{i}")) };
                scope.spawn(move || block_on(SqliteStore::new(path).commit(&txn, soon())).unwrap());
            }
        });
    }
}

#[test]
fn a_database_of_somebody_else_is_not_written_to() {
    let folder = folder();
    connection(folder.path()).execute_batch("CREATE TABLE theirs (x)").unwrap();
    let error = block_on(SqliteStore::new(folder.path()).commit(&put("k/1"), soon())).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
}

#[test]
fn tables_of_a_newer_version_are_not_touched() {
    let folder = folder();
    block_on(SqliteStore::new(folder.path()).commit(&put("k/1"), soon())).unwrap();
    connection(folder.path()).execute("UPDATE meta SET version = 2", []).unwrap();
    let error = block_on(SqliteStore::new(folder.path()).commit(&put("k/2"), soon())).unwrap_err();
    assert_eq!(
        error,
        StoreError::Denied(Cause::new(
            "it was written by a newer kube-ipam (schema 2); install that version on this node"
        ))
    );
}

#[test]
fn a_file_that_is_no_database_is_corrupt_and_told_apart() {
    let folder = folder();
    fs::write(folder.path().join(DATABASE), "this is a text file, and long enough to be looked at ".repeat(40))
        .unwrap();
    for txn in [put("k/1"), count()] {
        match block_on(SqliteStore::new(folder.path()).commit(&txn, soon())) {
            Err(StoreError::Corrupt(cause)) => {
                assert!(cause.to_string().contains("damaged or no database"), "{cause}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_folder_that_can_not_be_made_is_denied_with_its_path() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    match block_on(SqliteStore::new(file.join("store")).commit(&put("k/1"), soon())) {
        Err(StoreError::Denied(cause)) => {
            let text = cause.to_string();
            assert!(text.contains("dataDir") && text.contains("file/store"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lock_that_is_never_freed_costs_no_more_than_the_deadline_and_nothing_happens() {
    let folder = folder();
    let store = SqliteStore::new(folder.path());
    block_on(store.commit(&put("k/1"), soon())).unwrap();
    let lock = OpenOptions::new().write(true).open(folder.path().join("kube-ipam.lock")).unwrap();
    lock.lock().unwrap();
    let short = Deadline::after(Duration::from_millis(100));
    let error = block_on(store.commit(&put("k/2"), short)).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    lock.unlock().unwrap();
    assert_eq!(block_on(store.commit(&count(), soon())).unwrap().branch.responses, [OpResponse::Count(1)]);
}

#[test]
fn a_reader_that_never_ends_makes_a_commit_unavailable_and_nothing_happens() {
    let folder = folder();
    let store = SqliteStore::new(folder.path());
    block_on(store.commit(&put("k/1"), soon())).unwrap();
    let reader = connection(folder.path());
    reader.execute_batch("BEGIN; SELECT count(*) FROM entries").unwrap();
    let error = block_on(store.commit(&put("k/2"), Deadline::after(Duration::from_millis(100)))).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(block_on(store.commit(&count(), soon())).unwrap().branch.responses, [OpResponse::Count(1)]);
    block_on(store.commit(&put("k/3"), soon())).unwrap();
}

/// Names the folder for the processes that [`killed`] starts.
const CHILD: &str = "KUBE_IPAM_TEST_SQLITE_CHILD";

/// The process that is killed, not a test. It claims keys, each in two places, and prints those that it has claimed.
#[test]
fn child_that_commits_until_it_is_killed() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let store = SqliteStore::new(PathBuf::from(folder));
    let mut out = std::io::stdout();
    for i in 0_u64.. {
        let name = format!("{}-{i}", std::process::id());
        let [one, two] = ["k", "l"].map(|row| Key::new(format!("{row}/{name}")));
        let puts = vec![Op::Put(one.clone(), vec![7; 200]), Op::Put(two, vec![7; 200])];
        let txn = Txn::new(vec![Guard::Absent(one)], puts, vec![]).unwrap();
        block_on(store.commit(&txn, soon())).unwrap();
        writeln!(out, "\nacknowledged {name}").unwrap();
    }
}

fn child(folder: &Path) -> Child {
    let test = "store::sqlite::tests::child_that_commits_until_it_is_killed";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(CHILD, folder);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn killed_processes_lose_no_acknowledged_commit_and_leave_no_half_of_one() {
    use std::io::{BufRead, BufReader};
    let folder = folder();
    let mut acknowledged = Vec::new();
    for round in 0..6 {
        let mut children: Vec<Child> = (0..3).map(|_| child(folder.path())).collect();
        let mut lines: Vec<_> = children.iter_mut().map(|c| BufReader::new(c.stdout.take().unwrap()).lines()).collect();
        // Each process is killed after a different number of commits, while the others continue.
        for (i, (child, lines)) in children.iter_mut().zip(&mut lines).enumerate() {
            let acknowledgements =
                |line: std::io::Result<String>| Some(line.unwrap().strip_prefix("acknowledged ")?.to_owned());
            acknowledged.extend(lines.by_ref().filter_map(acknowledgements).take(1 + (round * 5 + i * 3) % 11));
            child.kill().unwrap();
            child.wait().unwrap();
            acknowledged.extend(lines.by_ref().filter_map(acknowledgements));
        }
    }
    let store = SqliteStore::new(folder.path());
    block_on(store.commit(&put("after"), soon())).unwrap();
    let check: String = connection(folder.path()).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let keys = |row: &str| {
        let all = Op::Range {
            span: KeySpan::prefix(&format!("{row}/")),
            limit: u32::MAX,
            keys_only: true,
            freshness: Freshness::Exact,
        };
        let responses = block_on(store.commit(&Txn::read(vec![all]).unwrap(), soon())).unwrap().branch.responses;
        let [OpResponse::Entries(entries)] = responses.as_slice() else { panic!("{responses:?}") };
        entries.iter().map(|e| (e.key.as_str()[2..].to_owned(), e.revision)).collect::<Vec<_>>()
    };
    let (ones, twos) = (keys("k"), keys("l"));
    assert_eq!(ones, twos, "a half transaction");
    assert!(acknowledged.len() >= 18);
    for name in &acknowledged {
        assert!(ones.iter().any(|(key, _)| key == name), "{name} was acknowledged and lost");
    }
}
