//! The floor under an embedded call: a process that opens kube-ipam's database, commits two rows with full sync, and ends.
//!
//! `floor_sqlite DATABASE put|delete KEY KEY`. Journal mode and syncing are those of kube-ipam's store.

use std::error::Error;

use rusqlite::{Connection, OpenFlags, params};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [database, verb, keys @ ..] = args.as_slice() else {
        return Err("usage: floor_sqlite DATABASE put|delete KEY…".into());
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    connection.query_row("PRAGMA journal_mode = PERSIST", [], |_| Ok(()))?;
    for key in keys {
        match verb.as_str() {
            "put" => connection
                .prepare_cached("INSERT OR REPLACE INTO entries (key, value, revision) VALUES (?1, ?2, 1)")?
                .execute(params![key, [b' '; 400]])?,
            _ => connection.prepare_cached("DELETE FROM entries WHERE key = ?1")?.execute([key])?,
        };
    }
    connection.execute_batch("COMMIT")?;
    Ok(())
}
