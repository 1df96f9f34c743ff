//! A store in the memory of one process, for `plan` and tests. It is also the shortest definition of what a store does.

mod watch;

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) use self::watch::MemoryWatch;
use self::watch::{Queue, Recorder};
use super::entries::{self, Entries};
use super::watch::{Position, Source, Watch};
use super::{Entry, Key, KeySpan, Outcome, Revision, Store, StoreError, Txn, Value};
use crate::deadline::Deadline;

/// A store in memory. Its clones share the content.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

/// The content, and the watches of it.
#[derive(Debug, Default)]
struct State {
    map: MemoryMap,
    queues: Vec<Queue>,
}

/// The content at one revision. It is a separate type, so that tests can copy it and explore both branches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MemoryMap {
    revision: NonZeroU64,
    entries: BTreeMap<Key, (Value, Revision)>,
}

impl Default for MemoryMap {
    fn default() -> Self {
        Self { revision: NonZeroU64::MIN, entries: BTreeMap::new() }
    }
}

impl MemoryMap {
    /// Runs a transaction.
    pub fn commit(&mut self, txn: &Txn) -> Outcome {
        let before = Revision(self.revision);
        let outcome = entries::run(txn, self, before, before.next());
        self.revision = outcome.at.0;
        outcome
    }

    /// Runs a transaction that writes at a given revision, as on a store whose revisions are no counters.
    #[cfg(test)]
    pub(crate) fn commit_at(&mut self, txn: &Txn, at: Revision) -> Outcome {
        entries::run(txn, self, at, at)
    }

    /// The entries of a span, in order.
    pub fn range(&self, span: &KeySpan) -> impl Iterator<Item = Entry> {
        span.entries_of(&self.entries).map(|(key, (value, revision))| Entry {
            key: key.clone(),
            value: value.clone(),
            revision: *revision,
        })
    }
}

impl Entries for MemoryMap {
    fn get(&self, key: &Key) -> Option<Entry> {
        let (value, revision) = self.entries.get(key)?;
        Some(Entry { key: key.clone(), value: value.clone(), revision: *revision })
    }

    fn revision(&self, key: &Key) -> Option<Revision> {
        self.entries.get(key).map(|(_, revision)| *revision)
    }

    fn range(&self, span: &KeySpan) -> impl Iterator<Item = Entry> {
        Self::range(self, span)
    }

    fn count(&self, span: &KeySpan) -> u64 {
        span.entries_of(&self.entries).count() as u64
    }

    fn put(&mut self, key: &Key, value: &Value, revision: Revision) {
        self.entries.insert(key.clone(), (value.clone(), revision));
    }

    fn delete(&mut self, key: &Key) -> bool {
        self.entries.remove(key).is_some()
    }
}

impl State {
    /// Runs a transaction, and passes its changes on to the watches. One that is too slow, or was dropped, ends.
    fn commit(&mut self, txn: &Txn) -> Outcome {
        if self.queues.is_empty() {
            return self.map.commit(txn);
        }
        let before = Revision(self.map.revision);
        let next = before.next();
        let mut recorder = Recorder { map: &mut self.map, changes: Vec::new(), next };
        let outcome = entries::run(txn, &mut recorder, before, next);
        let changes = recorder.changes;
        self.map.revision = outcome.at.0;
        if !changes.is_empty() {
            self.queues.retain(|queue| queue.push(&changes, outcome.at));
        }
        outcome
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

#[cfg(test)]
impl MemoryStore {
    /// What it contains now.
    pub(crate) fn back_up(&self) -> MemoryMap {
        lock(&self.state).map.clone()
    }

    /// Puts back what it contained. No revision is used twice, as on a store without an order of them.
    pub(crate) fn restore(&self, backup: &MemoryMap) {
        let map = &mut lock(&self.state).map;
        *map = MemoryMap { revision: map.revision, entries: backup.entries.clone() };
    }
}

/// Ignores poisoning: only a commit changes the map, and no commit ends halfway.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store for MemoryStore {
    async fn commit(&self, txn: &Txn, _until: Deadline) -> Result<Outcome, StoreError> {
        Ok(lock(&self.state).commit(txn))
    }

    fn changes(&self, span: &KeySpan, after: Option<Position>) -> Watch {
        Watch::new(Source::Memory(MemoryWatch::new(Arc::clone(&self.state), span.clone(), after)))
    }
}
