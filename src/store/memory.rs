//! A store in the memory of one process, for `plan` and tests. It is also the shortest definition of what a store does.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::num::NonZeroU64;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use super::txn_path::TxnPath;
use super::{Branch, Entry, Guard, Key, KeySpan, Op, OpResponse, Outcome, Revision, Store, StoreError, Txn, Value};
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
        let next = Revision(self.revision.saturating_add(1));
        let Ok(path) = TxnPath::resolve(txn, &mut |guard| Ok::<_, Infallible>(self.holds(guard)));
        let mut wrote = false;
        let branch = self.run(&path, next, &mut wrote);
        if wrote {
            self.revision = next.0;
        }
        Outcome { at: Revision(self.revision), branch }
    }

    /// The entries of a span, in order.
    pub fn range(&self, span: &KeySpan) -> impl Iterator<Item = Entry> {
        let bounds = (Bound::Included(&span.from), Bound::Excluded(&span.to));
        let entries = (span.from < span.to).then(|| self.entries.range::<Key, _>(bounds));
        entries.into_iter().flatten().map(|(key, (value, revision))| Entry {
            key: key.clone(),
            value: value.clone(),
            revision: *revision,
        })
    }

    fn get(&self, key: &Key) -> Option<Entry> {
        let (value, revision) = self.entries.get(key)?;
        Some(Entry { key: key.clone(), value: value.clone(), revision: *revision })
    }

    fn holds(&self, guard: &Guard) -> bool {
        match guard {
            Guard::Absent(key) => !self.entries.contains_key(key),
            Guard::Unchanged(key, revision) => self.entries.get(key).is_some_and(|(_, at)| at == revision),
        }
    }

    fn run(&mut self, path: &TxnPath<'_>, next: Revision, wrote: &mut bool) -> Branch {
        let responses = path.steps().map(|(op, inner)| match op {
            Op::Put(key, value) => {
                self.entries.insert(key.clone(), (value.clone(), next));
                *wrote = true;
                OpResponse::Written
            }
            Op::Delete(key) => {
                *wrote |= self.entries.remove(key).is_some();
                OpResponse::Written
            }
            Op::Get(key) => OpResponse::Entry(self.get(key)),
            Op::Range { span, limit, keys_only } => {
                let entries = self.range(span).take(*limit as usize);
                let value = |entry: Entry| if *keys_only { Entry { value: Value::new(), ..entry } } else { entry };
                OpResponse::Entries(entries.map(value).collect())
            }
            Op::Count(span) => OpResponse::Count(self.range(span).count() as u64),
            Op::Txn(_) => match inner {
                Some(path) => OpResponse::Branch(self.run(path, next, wrote)),
                None => OpResponse::Written,
            },
        });
        Branch { responses: responses.collect(), succeeded: path.succeeded() }
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
