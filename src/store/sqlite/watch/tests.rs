#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tempfile::TempDir;
use tokio::time::timeout;

use super::super::SqliteStore;
use super::super::database::DATABASE;
use super::*;
use crate::store::conformance::actors;
use crate::store::conformance::watch::{self, Replay};
use crate::store::{Guard, Key, Store, Watch};

const MINUTE: Duration = Duration::from_secs(60);

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("kube-ipam-watch-").tempdir().unwrap()
}

fn span() -> KeySpan {
    KeySpan::prefix("k/")
}

async fn run(store: &SqliteStore, then: Vec<Op>) {
    store.commit(&Txn::new(vec![], then, vec![]).unwrap(), Deadline::after(MINUTE)).await.unwrap();
}

fn put(key: &str) -> Op {
    Op::Put(Key::new(key), b"{}".to_vec())
}

async fn shows(replay: &mut Replay, key: &str) {
    timeout(MINUTE, replay.until_shown(&Key::new(key)))
        .await
        .unwrap_or_else(|_| panic!("no {key}: {replay:?}"))
        .unwrap();
}

async fn next(watch: &mut Watch) -> Result<Update, StoreError> {
    timeout(MINUTE, watch.next()).await.unwrap()
}

#[tokio::test]
async fn its_watches_keep_the_rules() {
    let folder = folder();
    timeout(MINUTE, watch::check(&SqliteStore::new(folder.path()))).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_many_clients_write_adds_up_in_every_watch() {
    let folder = folder();
    let all = KeySpan::prefix("conformance/");
    let store = SqliteStore::new(folder.path());
    let mut replays: Vec<_> = (0..3).map(|_| Replay::new(store.changes(&all, None))).collect();
    for replay in &mut replays {
        replay.advance().await.unwrap();
    }
    std::thread::scope(|scope| {
        for i in 0..4 {
            let path = folder.path();
            scope.spawn(move || {
                let store = SqliteStore::new(path);
                pollster::block_on(actors::count_up(&store, 5)).unwrap();
                pollster::block_on(actors::claim(&store, &i.to_string(), 10)).unwrap();
            });
        }
    });
    run(&store, vec![put("conformance/end")]).await;
    for replay in &mut replays {
        shows(replay, "conformance/end").await;
        replay.is_current(&store, &all).await.unwrap();
        assert_eq!(replay.gaps, 0);
    }
}

#[tokio::test]
async fn more_changes_than_a_look_passes_on_come_in_several() {
    let folder = folder();
    let store = SqliteStore::new(folder.path());
    let mut replay = Replay::new(store.changes(&span(), None));
    replay.advance().await.unwrap();
    let keys: Vec<String> = (0..1200).map(|i| format!("k/{i:04}")).collect();
    for keys in keys.chunks(100) {
        run(&store, keys.iter().map(|key| put(key)).collect()).await;
    }
    run(&store, vec![put("k/written")]).await;
    shows(&mut replay, "k/written").await;
    for keys in keys.chunks(100) {
        run(&store, keys.iter().map(|key| Op::Delete(Key::new(key.as_str()))).collect()).await;
    }
    // The end of the last look with deletions.
    while replay.is_current(&store, &span()).await.is_err() {
        timeout(MINUTE, replay.advance()).await.unwrap().unwrap();
    }
    assert_eq!((replay.changes, replay.gaps), (2401, 0));
    // A new watch lists more entries than a page has.
    run(&store, keys[..100].iter().map(|key| put(key)).collect()).await;
    for keys in keys[100..].chunks(100) {
        run(&store, keys.iter().map(|key| put(key)).collect()).await;
    }
    let mut replay = Replay::new(store.changes(&span(), None));
    shows(&mut replay, "k/1199").await;
    replay.is_current(&store, &span()).await.unwrap();
    assert_eq!(replay.changes, 0);
}

#[tokio::test]
async fn another_database_in_its_place_is_a_gap() {
    let (folder, other) = (folder(), folder());
    run(&SqliteStore::new(folder.path()), vec![put("k/1"), put("k/lost")]).await;
    run(&SqliteStore::new(other.path()), vec![put("k/1"), put("k/new")]).await;
    let mut replay = Replay::new(SqliteStore::new(folder.path()).changes(&span(), None));
    shows(&mut replay, "k/lost").await;
    fs::rename(other.path().join(DATABASE), folder.path().join(DATABASE)).unwrap();
    shows(&mut replay, "k/new").await;
    replay.is_current(&SqliteStore::new(folder.path()), &span()).await.unwrap();
    assert_eq!(replay.gaps, 1);
}

#[tokio::test]
async fn a_backup_in_the_same_file_is_a_gap() {
    let folder = folder();
    let store = SqliteStore::new(folder.path());
    run(&store, vec![put("k/1")]).await;
    run(&store, vec![put("k/2")]).await;
    let mut replay = Replay::new(store.changes(&span(), None));
    shows(&mut replay, "k/2").await;
    let backup = "BEGIN; DELETE FROM entries WHERE key = 'k/2'; UPDATE meta SET revision = 2; COMMIT;";
    Connection::open(folder.path().join(DATABASE)).unwrap().execute_batch(backup).unwrap();
    while replay.gaps == 0 {
        timeout(MINUTE, replay.advance()).await.unwrap().unwrap();
    }
    run(&store, vec![put("k/3")]).await;
    shows(&mut replay, "k/3").await;
    replay.is_current(&store, &span()).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_gone_is_an_error_until_it_is_back() {
    let folder = folder();
    let store = SqliteStore::new(folder.path());
    run(&store, vec![put("k/1")]).await;
    let mut watch = store.changes(&span(), None);
    assert!(matches!(next(&mut watch).await, Ok(Update::Entries(entries)) if entries.len() == 1));
    assert!(matches!(next(&mut watch).await, Ok(Update::Listed(_))));
    let (file, away) = (folder.path().join(DATABASE), folder.path().join("away"));
    fs::rename(&file, &away).unwrap();
    let error = next(&mut watch).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(cause) if cause.to_string() == "its file is gone"), "{error:?}");
    fs::rename(&away, &file).unwrap();
    while let Err(error) = next(&mut watch).await.map(|update| assert_eq!(update, Update::Resumed)) {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    }
    run(&store, vec![put("k/2")]).await;
    let update = next(&mut watch).await.unwrap();
    assert!(matches!(&update, Update::Changes { changes, .. } if changes.len() == 1), "{update:?}");
}

#[tokio::test]
async fn a_watch_never_fails_a_writer() {
    let folder = folder();
    let store = SqliteStore::new(folder.path());
    for keys in (0..3000).collect::<Vec<_>>().chunks(100) {
        run(&store, keys.iter().map(|i| put(&format!("k/{i}"))).collect()).await;
    }
    let mut watch = store.changes(&span(), None);
    assert!(matches!(next(&mut watch).await, Ok(Update::Entries(_))));
    for i in 0..100 {
        let (guard, key) = (Guard::Absent(Key::new(format!("k/new-{i}"))), put(&format!("k/new-{i}")));
        let txn = Txn::new(vec![guard], vec![key], vec![]).unwrap();
        let outcome = store.commit(&txn, Deadline::after(Duration::from_secs(10))).await.unwrap();
        assert!(outcome.branch.succeeded);
    }
}

#[tokio::test]
async fn a_watch_that_was_dropped_closes_its_file() {
    let folder = folder();
    let store = SqliteStore::new(folder.path());
    run(&store, vec![put("k/1")]).await;
    drop(store);
    let is_open = || {
        let links = fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        links.into_iter().any(|file| file.starts_with(folder.path()))
    };
    let mut watch = SqliteStore::new(folder.path()).changes(&span(), None);
    next(&mut watch).await.unwrap();
    assert!(is_open());
    drop(watch);
    let began = Instant::now();
    while is_open() {
        assert!(began.elapsed() < MINUTE, "it is still open");
        std::thread::yield_now();
    }
}
