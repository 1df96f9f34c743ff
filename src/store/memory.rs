//! A store in the memory of one process, for `plan` and tests. It is also the shortest definition of what a store does.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};

use super::entries::{self, Entries};
use super::{Entry, Key, KeySpan, Outcome, Revision, Store, StoreError, Txn, Value};
use crate::deadline::Deadline;

/// A store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<MemoryMap>,
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
        let outcome = entries::run(txn, self, before);
        self.revision = outcome.at.0;
        outcome
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

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self { state: Mutex::new(MemoryMap::default()) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, MemoryMap> {
        // Ignore poisoning: only a commit changes the map, and no commit ends halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemoryStore {
    async fn commit(&self, txn: &Txn, _until: Deadline) -> Result<Outcome, StoreError> {
        Ok(self.state().commit(txn))
    }
}
