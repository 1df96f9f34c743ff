//! Runs one transaction on a connection. Resolves its path before it writes anything, then runs its operations.

use std::num::NonZeroU64;
use std::thread;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::error::{self, SqliteFailure};
use super::worker::CommitState;
use crate::deadline::Deadline;
use crate::store::backoff::Backoff;
use crate::store::txn_path::TxnPath;
use crate::store::{Branch, Entry, Guard, Key, Op, OpResponse, Outcome, Revision, Txn, Value};

/// The schema version of this program.
const SCHEMA: i64 = 1;

// Few statements, shared by many operations: every process has to compile each of them.
const META: &str = "SELECT version, revision FROM meta";
const RAISE: &str = "UPDATE meta SET revision = ?1";
const GET: &str = "SELECT key, value, revision FROM entries WHERE key = ?1";
const PUT: &str = "INSERT OR REPLACE INTO entries (key, value, revision) VALUES (?1, ?2, ?3)";
const DELETE: &str = "DELETE FROM entries WHERE key = ?1";
const RANGE: &str = "SELECT key, value, revision FROM entries WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3";
const COUNT: &str = "SELECT count(*) FROM entries WHERE key >= ?1 AND key < ?2";

/// Runs a transaction, all of it or nothing.
pub(super) fn run(
    connection: &Connection,
    txn: &Txn,
    deadline: Deadline,
    state: &CommitState,
) -> Result<Outcome, SqliteFailure> {
    // Take the write lock now. Taking it later fails if the data has changed since it was read.
    connection.execute_batch(if txn.writes() { "BEGIN IMMEDIATE" } else { "BEGIN" })?;
    let done = apply(connection, txn).and_then(|outcome| commit(connection, deadline, state).map(|()| outcome));
    if done.is_err() && !connection.is_autocommit() {
        // If this fails, the journal stays. The next process that opens the file rolls back.
        let _ = connection.execute_batch("ROLLBACK");
    }
    done
}

/// Keeps the journal file after a commit and only clears it.
fn use_persistent_journal(connection: &Connection) -> Result<(), SqliteFailure> {
    // The reply is the actual mode. It differs if somebody has switched the file to WAL, which is as safe but slower.
    connection.query_row("PRAGMA journal_mode = PERSIST", [], |_| Ok(()))?;
    Ok(())
}

fn apply(connection: &Connection, txn: &Txn) -> Result<Outcome, SqliteFailure> {
    if txn.writes() {
        // Inside the transaction, the schema is read only once. Nothing has been written yet.
        use_persistent_journal(connection)?;
    }
    let before = current_revision(connection)?;
    let path = TxnPath::resolve(txn, &mut |guard| holds(connection, guard))?;
    let mut run = Run { connection, next: Revision(before.0.saturating_add(1)), wrote: false };
    let branch = run.branch(&path)?;
    let at = if run.wrote { run.next } else { before };
    if run.wrote {
        connection.prepare_cached(RAISE)?.execute([number(at)])?;
    }
    Ok(Outcome { at, branch })
}

/// The map's revision, if the tables are of a version that this program knows.
pub(super) fn current_revision(connection: &Connection) -> Result<Revision, SqliteFailure> {
    let (version, revision) =
        connection.prepare_cached(META)?.query_row([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
    if version > SCHEMA {
        return Err(SqliteFailure::Newer(version));
    }
    revision_of(revision)
}

/// Commits. Waits while readers hold locks. The caller can abandon it only before and between attempts.
fn commit(connection: &Connection, deadline: Deadline, state: &CommitState) -> Result<(), SqliteFailure> {
    let mut backoff = Backoff::new(Duration::from_micros(200), Duration::from_millis(10));
    loop {
        if !state.begin_commit() {
            return Err(SqliteFailure::Abandoned);
        }
        match connection.execute_batch("COMMIT") {
            Ok(()) => return Ok(()),
            Err(e) if error::is_busy(&e) => {
                // The transaction and the file are unchanged.
                state.end_commit();
                if deadline.has_passed() {
                    return Err(SqliteFailure::Busy);
                }
                thread::sleep(backoff.next());
            }
            Err(e) => return Err(SqliteFailure::Commit(e)),
        }
    }
}

fn holds(connection: &Connection, guard: &Guard) -> Result<bool, SqliteFailure> {
    let at = |key: &Key| -> Result<Option<i64>, SqliteFailure> {
        Ok(connection.prepare_cached(GET)?.query_row([key.as_str()], |row| row.get(2)).optional()?)
    };
    Ok(match guard {
        Guard::Absent(key) | Guard::WasAbsent(key) => at(key)?.is_none(),
        Guard::Unchanged(key, revision) | Guard::WasUnchanged(key, revision) => at(key)? == Some(number(*revision)),
    })
}

/// A transaction with a resolved path.
struct Run<'a> {
    connection: &'a Connection,
    next: Revision,
    wrote: bool,
}

impl Run<'_> {
    fn branch(&mut self, path: &TxnPath<'_>) -> Result<Branch, SqliteFailure> {
        let responses = path.steps().map(|(op, inner)| self.response(op, inner)).collect::<Result<_, _>>()?;
        Ok(Branch { succeeded: path.succeeded(), responses })
    }

    fn response(&mut self, op: &Op, inner: Option<&TxnPath<'_>>) -> Result<OpResponse, SqliteFailure> {
        Ok(match op {
            Op::Put(key, value) => {
                self.connection.prepare_cached(PUT)?.execute(params![key.as_str(), value, number(self.next)])?;
                self.wrote = true;
                OpResponse::Written
            }
            Op::Delete(key) => {
                self.wrote |= self.connection.prepare_cached(DELETE)?.execute([key.as_str()])? > 0;
                OpResponse::Written
            }
            Op::Get(key) => {
                let mut statement = self.connection.prepare_cached(GET)?;
                let mut rows = statement.query([key.as_str()])?;
                OpResponse::Entry(rows.next()?.map(|row| entry(row, false)).transpose()?)
            }
            Op::Range { span, limit, keys_only, .. } => {
                let mut statement = self.connection.prepare_cached(RANGE)?;
                let mut rows = statement.query(params![span.from.as_str(), span.to.as_str(), limit])?;
                let mut entries = Vec::new();
                while let Some(row) = rows.next()? {
                    entries.push(entry(row, *keys_only)?);
                }
                OpResponse::Entries(entries)
            }
            Op::Count(span) => {
                let mut statement = self.connection.prepare_cached(COUNT)?;
                let count: i64 = statement.query_row([span.from.as_str(), span.to.as_str()], |row| row.get(0))?;
                OpResponse::Count(count.unsigned_abs())
            }
            // The path has a step for each nested transaction.
            Op::Txn(_) => match inner {
                Some(path) => OpResponse::Branch(self.branch(path)?),
                None => OpResponse::Written,
            },
        })
    }
}

/// The entry of a row with key, value and revision.
pub(super) fn entry(row: &Row<'_>, key_only: bool) -> Result<Entry, SqliteFailure> {
    let key: String = row.get(0)?;
    let value = match row.get_ref(1)? {
        _ if key_only => Value::new(),
        // A value that somebody repaired by hand is text.
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => bytes.to_vec(),
        other => return Err(SqliteFailure::Unreadable(format!("the value of {key} is of type {}", other.data_type()))),
    };
    Ok(Entry { value, revision: revision_of(row.get(2)?)?, key: Key::new(key) })
}

fn revision_of(number: i64) -> Result<Revision, SqliteFailure> {
    let known = u64::try_from(number).ok().and_then(NonZeroU64::new);
    known.map(Revision).ok_or_else(|| SqliteFailure::Unreadable(format!("{number} is no revision")))
}

/// A revision as SQLite stores it. The counter can't exceed an `i64`.
pub(super) fn number(revision: Revision) -> i64 {
    i64::try_from(revision.0.get()).unwrap_or(i64::MAX)
}
