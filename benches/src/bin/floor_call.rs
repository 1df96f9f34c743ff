//! The floor of a whole call on the embedded store: besides committing the two rows, a process does everything that a
//! CNI call must do for its runtime and its node, each in the fastest way, and ends.
//!
//! `floor_call FOLDER DATABASE put|delete KEY KEY`, with a network's config on standard input. It parses that and the
//! node defaults, keeps a record of the attachment under a lock, commits on a thread with a time limit, writes a line
//! to the log, and replies.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use kube_ipam_benches::{commit, open};
use serde_json::{Value, json};

/// How long to wait for the commit.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, database, verb, keys @ ..] = args.as_slice() else {
        return Err("usage: floor_call FOLDER DATABASE put|delete KEY…".into());
    };
    let mut config = String::new();
    io::stdin().read_to_string(&mut config)?;
    let config: Value = serde_json::from_str(&config)?;
    let folder = Path::new(folder);
    let defaults: Value = serde_json::from_slice(&fs::read(folder.join("kube-ipam.json"))?)?;

    let (go, asked) = channel::<()>();
    let (done, committed) = channel();
    thread::spawn({
        let (database, puts, keys) = (database.clone(), verb == "put", keys.to_vec());
        move || {
            let opened = open(&database);
            let outcome = asked.recv().map_err(|_| rusqlite::Error::InvalidQuery).and(opened);
            done.send(outcome.and_then(|connection| commit(&connection, puts, &keys)))
        }
    });

    let path = folder.join(format!("{}.json", keys.join(":").replace('/', ":")));
    let mut record = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
    record.lock()?;
    record.read_to_end(&mut Vec::new())?;
    let line = json!({ "config": config, "defaults": defaults, "keys": keys }).to_string();
    writeln!(record, "{line}")?;
    go.send(())?;
    committed.recv_timeout(PATIENCE)??;
    match verb.as_str() {
        "put" => writeln!(record, "{line}")?,
        _ => fs::remove_file(&path)?,
    }
    log(&folder.join("kube-ipam.log"), &line)?;
    io::stdout().write_all(line.as_bytes())?;
    // Don't return: kube-ipam's process does not close its database either.
    std::process::exit(0)
}

fn log(path: &Path, line: &str) -> io::Result<()> {
    let mut log: File = OpenOptions::new().append(true).create(true).open(path)?;
    log.lock()?;
    writeln!(log, "{line}")
}
