//! Several processes that work on the same attachments, and some of which are killed.
//!
//! They are further instances of this test program. An environment variable makes them workers.

use std::io::{Read, Write};
use std::process::{Child, ChildStderr, Command, Stdio};

use super::*;
use crate::cause::chain;

/// The variable that makes this program a worker: its task, the folder, and its number.
const WORKER: &str = "KUBE_IPAM_TEST_RECORD_WORKER";

struct Worker {
    process: Child,
    said: ChildStderr,
}

impl Worker {
    fn start(task: &str, folder: &Path, number: u64) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "record::tests::processes::worker", "--ignored", "--nocapture"])
            .env(WORKER, format!("{task} {number} {}", folder.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = process.stderr.take().unwrap();
        Self { process, said }
    }

    /// Waits until it has written this many bytes, and returns them.
    fn hear(&mut self, bytes: usize) -> String {
        let mut heard = vec![0; bytes];
        self.said.read_exact(&mut heard).unwrap();
        String::from_utf8(heard).unwrap()
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A step of a linear congruential generator (Knuth's MMIX), for reproducible randomness.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[test]
#[ignore = "the other tests of this file start it as a process of its own"]
fn worker() {
    let Ok(task) = std::env::var(WORKER) else { return };
    let mut parts = task.splitn(3, ' ');
    let (task, number, folder) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let records = Records::new(Path::new(folder), &name("node-a"));
    match task {
        "count" => (0..ROUNDS).for_each(|_| count_on(&records)),
        "disorder" => {
            let mut seed: u64 = number.parse().unwrap();
            loop {
                let said = match disorder(&records, &mut seed) {
                    Ok(()) => ".".to_owned(),
                    Err(problem) => format!("! {problem}\n"),
                };
                std::io::stderr().write_all(said.as_bytes()).unwrap();
            }
        }
        other => panic!("no such task: {other}"),
    }
}

const PROCESSES: u64 = 16;
const ROUNDS: u64 = 20;

/// Reads a number and writes the next one. It loses one if two processes hold the lock at once.
fn count_on(records: &Records) {
    let id = id("c1", "net1", "db-net");
    let lock = records.lock(&id, Deadline::after(Duration::from_secs(120))).unwrap();
    match records.read(&lock).unwrap() {
        // Alternates two ways to store the number, so that the next process may or may not find a file.
        ReadResult::Missing => records.write(&lock, &record(&id, 1)).unwrap(),
        ReadResult::Record(last) if last.began.boottime % 3 == 0 => {
            records.defer_release(&lock, &record(&id, last.began.boottime + 1)).unwrap();
        }
        ReadResult::Record(last) => records.write(&lock, &record(&id, last.began.boottime + 1)).unwrap(),
        unreadable => panic!("{unreadable:?}"),
    }
}

#[test]
fn sixteen_processes_take_turns_on_one_attachment() {
    let folder = folder();
    let workers: Vec<Worker> = (0..PROCESSES).map(|number| Worker::start("count", folder.path(), number)).collect();
    for mut worker in workers {
        let mut said = String::new();
        worker.said.read_to_string(&mut said).unwrap();
        assert!(worker.process.wait().unwrap().success(), "{said}");
    }
    let records = Records::new(folder.path(), &name("node-a"));
    let ReadResult::Record(last) = records.peek(&id("c1", "net1", "db-net")).unwrap() else { panic!("no record") };
    assert_eq!(last.began.boottime, PROCESSES * ROUNDS);
    assert_eq!(files(folder.path()).len(), 1);
}

/// Two attachments. The second has a hashed file name.
fn contested() -> [AttachmentId; 2] {
    [id("c1", "net1", "db-net"), id(&"c".repeat(200), "net2", &"n".repeat(200))]
}

/// Performs a random operation on one of the contested attachments. Returns an error if it read something invalid.
fn disorder(records: &Records, seed: &mut u64) -> Result<(), String> {
    let id = &contested()[(next(seed) % 2) as usize];
    let lock = records.lock(id, soon()).map_err(|e| e.to_string())?;
    whole(id, records.read(&lock).map_err(|e| e.to_string())?)?;
    let number = next(seed) % 100_000;
    let done = match next(seed) % 8 {
        0..=2 => records.write(&lock, &record(id, number)),
        3..=4 => records.defer_release(&lock, &record(id, number)),
        5 => records.remove(&lock, &PodRef::default()),
        6 => records.remove_leftovers(2),
        _ => records.all().map(drop),
    };
    done.map_err(|e| e.to_string())
}

/// Requires that the record is missing or as [`record`] made it.
fn whole(id: &AttachmentId, found: ReadResult) -> Result<(), String> {
    match found {
        ReadResult::Missing => Ok(()),
        ReadResult::Record(read) => {
            let same = *read == Record { state: read.state, ..record(id, read.began.boottime) };
            same.then_some(()).ok_or_else(|| format!("a mixture: {read:?}"))
        }
        ReadResult::Unreadable { path, why } => Err(format!("{}: {}", path.display(), chain(&why))),
    }
}

#[test]
fn processes_killed_at_any_moment_block_nobody_and_leave_no_half_of_a_record() {
    let folder = folder();
    let mut seed = u64::from(std::process::id());
    let start = |seed: &mut u64| Worker::start("disorder", folder.path(), next(seed));
    let mut workers: Vec<Worker> = (0..4).map(|_| start(&mut seed)).collect();
    for _ in 0..60 {
        let mut victim = workers.swap_remove((next(&mut seed) % 4) as usize);
        let heard = victim.hear(1 + (next(&mut seed) % 40) as usize);
        assert!(!heard.contains('!'), "{heard}{}", victim.hear(100));
        victim.kill();
        workers.push(start(&mut seed));
    }
    workers.into_iter().for_each(Worker::kill);

    let records = Records::new(folder.path(), &name("node-a"));
    for id in contested() {
        let lock = records.lock(&id, Deadline::after(Duration::ZERO)).unwrap();
        whole(&id, records.read(&lock).unwrap()).unwrap();
        records.remove(&lock, &PodRef::default()).unwrap();
    }
    records.remove_leftovers(100).unwrap();
    let left = files(folder.path());
    assert!(left.is_empty(), "{left:?}");
}
