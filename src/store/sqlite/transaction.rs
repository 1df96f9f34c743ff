//! One transaction on a connection: the way through it is chosen before anything is written, then its operations run.

use std::num::NonZeroU64;
use std::thread;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::error::{self, Trouble};
use super::worker::Progress;
use crate::store::pause::Pauses;
use crate::store::way::Way;
use crate::store::{Answer, Branch, Deadline, Entry, Guard, Key, Op, Outcome, Revision, Txn, Value};

/// The version of the tables that this program makes and understands.
const SCHEMA: i64 = 1;

// Few, and each for several uses: SQLite compiles each anew in every process.
const META: &str = "SELECT version, revision FROM meta";
const RAISE: &str = "UPDATE meta SET revision = ?1";
const GET: &str = "SELECT key, value, revision FROM entries WHERE key = ?1";
const PUT: &str = "INSERT OR REPLACE INTO entries (key, value, revision) VALUES (?1, ?2, ?3)";
const DELETE: &str = "DELETE FROM entries WHERE key = ?1";
const RANGE: &str = "SELECT key, value, revision FROM entries WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3";
const COUNT: &str = "SELECT count(*) FROM entries WHERE key >= ?1 AND key < ?2";

/// Runs a transaction to its end, or not at all.
pub(super) fn run(
    connection: &Connection,
    txn: &Txn,
    until: Deadline,
    progress: &Progress,
) -> Result<Outcome, Trouble> {
    // A write lock is taken at once: it could not be had later, when what was read is no longer current.
    connection.execute_batch(if txn.writes() { "BEGIN IMMEDIATE" } else { "BEGIN" })?;
    let done = apply(connection, txn).and_then(|outcome| commit(connection, until, progress).map(|()| outcome));
    if done.is_err() && !connection.is_autocommit() {
        // If even this fails, the journal stays, and whoever opens the file next rolls back by it.
        let _ = connection.execute_batch("ROLLBACK");
    }
    done
}

/// Lets the journal of this connection stay in place, emptied, after each commit.
fn use_persistent_journal(connection: &Connection) -> Result<(), Trouble> {
    // Answers the mode that it is now, which is another where somebody has turned the file to WAL: as safe, only slower.
    connection.query_row("PRAGMA journal_mode = PERSIST", [], |_| Ok(()))?;
    Ok(())
}

fn apply(connection: &Connection, txn: &Txn) -> Result<Outcome, Trouble> {
    if txn.writes() {
        // Inside the transaction, where the schema is read only once; nothing has been written yet.
        use_persistent_journal(connection)?;
    }
    let (version, revision) =
        connection.prepare_cached(META)?.query_row([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
    if version > SCHEMA {
        return Err(Trouble::Newer(version));
    }
    let before = revision_of(revision)?;
    let way = Way::choose(txn, &mut |guard| holds(connection, guard))?;
    let mut run = Run { connection, next: Revision(before.0.saturating_add(1)), wrote: false };
    let branch = run.branch(&way)?;
    let at = if run.wrote { run.next } else { before };
    if run.wrote {
        connection.prepare_cached(RAISE)?.execute([number(at)])?;
    }
    Ok(Outcome { at, branch })
}

/// Commits, and waits while readers are in the way. From the first try on the caller can't call it off, save between two.
fn commit(connection: &Connection, until: Deadline, progress: &Progress) -> Result<(), Trouble> {
    let mut pauses = Pauses::new(Duration::from_micros(200), Duration::from_millis(10));
    loop {
        if !progress.begin_commit() {
            return Err(Trouble::Abandoned);
        }
        match connection.execute_batch("COMMIT") {
            Ok(()) => return Ok(()),
            Err(e) if error::is_busy(&e) => {
                // The transaction stands as it did, and so does the file.
                progress.end_commit();
                if until.has_passed() {
                    return Err(Trouble::Busy);
                }
                thread::sleep(pauses.next());
            }
            Err(e) => return Err(Trouble::Commit(e)),
        }
    }
}

fn holds(connection: &Connection, guard: &Guard) -> Result<bool, Trouble> {
    let at = |key: &Key| -> Result<Option<i64>, Trouble> {
        Ok(connection.prepare_cached(GET)?.query_row([key.as_str()], |row| row.get(2)).optional()?)
    };
    Ok(match guard {
        Guard::Absent(key) => at(key)?.is_none(),
        Guard::Unchanged(key, revision) => at(key)? == Some(number(*revision)),
    })
}

/// A transaction whose way is chosen.
struct Run<'a> {
    connection: &'a Connection,
    next: Revision,
    wrote: bool,
}

impl Run<'_> {
    fn branch(&mut self, way: &Way<'_>) -> Result<Branch, Trouble> {
        let answers = way.steps().map(|(op, inner)| self.answer(op, inner)).collect::<Result<_, _>>()?;
        Ok(Branch { taken: way.taken(), answers })
    }

    fn answer(&mut self, op: &Op, inner: Option<&Way<'_>>) -> Result<Answer, Trouble> {
        Ok(match op {
            Op::Put(key, value) => {
                self.connection.prepare_cached(PUT)?.execute(params![key.as_str(), value, number(self.next)])?;
                self.wrote = true;
                Answer::Written
            }
            Op::Delete(key) => {
                self.wrote |= self.connection.prepare_cached(DELETE)?.execute([key.as_str()])? > 0;
                Answer::Written
            }
            Op::Get(key) => {
                let mut statement = self.connection.prepare_cached(GET)?;
                let mut rows = statement.query([key.as_str()])?;
                Answer::Entry(rows.next()?.map(|row| entry(row, false)).transpose()?)
            }
            Op::Range { span, limit, keys_only } => {
                let mut statement = self.connection.prepare_cached(RANGE)?;
                let mut rows = statement.query(params![span.from.as_str(), span.to.as_str(), limit])?;
                let mut entries = Vec::new();
                while let Some(row) = rows.next()? {
                    entries.push(entry(row, *keys_only)?);
                }
                Answer::Entries(entries)
            }
            Op::Count(span) => {
                let mut statement = self.connection.prepare_cached(COUNT)?;
                let count: i64 = statement.query_row([span.from.as_str(), span.to.as_str()], |row| row.get(0))?;
                Answer::Count(count.unsigned_abs())
            }
            // The way has one for each transaction inside.
            Op::Try(_) => match inner {
                Some(way) => Answer::Branch(self.branch(way)?),
                None => Answer::Written,
            },
        })
    }
}

fn entry(row: &Row<'_>, key_only: bool) -> Result<Entry, Trouble> {
    let key: String = row.get(0)?;
    let value = match row.get_ref(1)? {
        _ if key_only => Value::new(),
        // Text is what somebody left who repaired a value by hand.
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => bytes.to_vec(),
        other => return Err(Trouble::Unreadable(format!("the value of {key} is of type {}", other.data_type()))),
    };
    Ok(Entry { value, revision: revision_of(row.get(2)?)?, key: Key::new(key) })
}

fn revision_of(number: i64) -> Result<Revision, Trouble> {
    let known = u64::try_from(number).ok().and_then(NonZeroU64::new);
    known.map(Revision).ok_or_else(|| Trouble::Unreadable(format!("{number} is no revision")))
}

/// A revision as SQLite stores it; its counter can't get beyond what that holds.
fn number(revision: Revision) -> i64 {
    i64::try_from(revision.0.get()).unwrap_or(i64::MAX)
}
