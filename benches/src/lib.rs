//! Shared by the floors of the embedded store: the least work of a process on its database.

use rusqlite::{Connection, OpenFlags, Result, params};

/// Opens kube-ipam's database.
pub fn open(database: &str) -> Result<Connection> {
    Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

/// Writes or deletes these rows, with the journal mode and syncing of kube-ipam's store.
pub fn commit(connection: &Connection, puts: bool, keys: &[String]) -> Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    connection.query_row("PRAGMA journal_mode = PERSIST", [], |_| Ok(()))?;
    for key in keys {
        match puts {
            true => connection
                .prepare_cached("INSERT OR REPLACE INTO entries (key, value, revision) VALUES (?1, ?2, 1)")?
                .execute(params![key, [b' '; 400]])?,
            false => connection.prepare_cached("DELETE FROM entries WHERE key = ?1")?.execute([key])?,
        };
    }
    connection.execute_batch("COMMIT")
}
