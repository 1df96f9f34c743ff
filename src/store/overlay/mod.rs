//! A store over another one: reads go to the other store, and writes stay in memory. For `plan --live` and rehearsals.
//!
//! ```text
//!             ┌─ touched   the keys and spans that any path of it reads or writes
//!  commit(txn)┤
//!             ├─ base      their entries, read from the other store ──┐
//!             └─ view      the transaction runs on these entries, ◄───┴─ changes   what earlier transactions wrote
//!                          below the changes, and adds its own     ────►
//! ```
//!
//! A commit has the outcome that it would have on a copy of the base. While others write to the base, the copy is as
//! new as each read: a key that the overlay has written keeps the overlay's value, and all others are read again.
//!
//! Limits: a transaction that needs several requests may see the base in several states, as two pages do. A count is
//! wrong by the keys that both sides have created or deleted.

mod base;
#[cfg(test)]
mod tests;
mod touched;
mod view;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::base::{Base, Known};
use self::touched::Touched;
use self::view::View;
use super::{Key, KeyHistory, KeySpan, Outcome, Position, Revision, Store, StoreError, Txn, Value, Watch, entries};
use crate::deadline::Deadline;

/// A store whose writes stay in memory.
#[derive(Debug)]
pub struct Overlay<S> {
    base: Base<S>,
    changes: Mutex<Changes>,
}

/// What the transactions of an overlay have written.
#[derive(Debug, Default)]
struct Changes {
    entries: BTreeMap<Key, Change>,
    /// The greatest revision that the base had in any read, or that was given to a write.
    newest: Option<Revision>,
    /// The number of transactions that have written something.
    commits: u64,
}

/// A key that was written.
#[derive(Debug)]
struct Change {
    /// The value and its revision; `None` if the key was deleted.
    entry: Option<(Value, Revision)>,
    /// Whether the base had the key when it was first written.
    in_base: bool,
}

impl<S: Store> Overlay<S> {
    /// An overlay without changes.
    pub fn new(base: S) -> Self {
        Self { base: Base::new(base), changes: Mutex::default() }
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        // Ignore poisoning: no transaction ends halfway.
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changes {
    /// Runs a transaction.
    fn run(&mut self, txn: &Txn, known: &Known) -> Outcome {
        let before = self.newest.map_or(known.at, |newest| Revision(newest.0.max(known.at.0)));
        let outcome = entries::run(txn, &mut View::new(known, &mut self.entries), before, before.next());
        self.newest = Some(outcome.at);
        self.commits += u64::from(outcome.at != before);
        outcome
    }
}

impl<S: Store> Store for Overlay<S> {
    async fn commit(&self, txn: &Txn, deadline: Deadline) -> Result<Outcome, StoreError> {
        let touched = Touched::by(txn);
        loop {
            let started = self.changes().commits;
            let is_changed = |key: &Key| self.changes().entries.contains_key(key);
            let known = self.base.read(&touched, &is_changed, deadline).await?;
            let mut changes = self.changes();
            // What was read suffices only for the changes of that time.
            if changes.commits == started {
                return Ok(changes.run(txn, &known));
            }
        }
    }

    /// The history in the base. What the overlay has written is not part of it.
    async fn history(&self, key: &Key, limit: usize, deadline: Deadline) -> Result<KeyHistory, StoreError> {
        self.base.store().history(key, limit, deadline).await
    }

    /// The changes of the base. What the overlay writes is not among them.
    fn changes(&self, span: &KeySpan, after: Option<Position>) -> Watch {
        self.base.store().changes(span, after)
    }
}
