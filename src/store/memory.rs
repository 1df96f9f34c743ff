//! The map in the memory of one process: for `plan`, for tests, and the shortest way to say what a store does.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::num::NonZeroU64;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use super::way::Way;
use super::{
    Answer, Branch, Deadline, Entry, Guard, Key, KeySpan, Op, Outcome, Revision, Store, StoreError, Txn, Value,
};

/// A map in memory.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
}

/// What the map holds at one revision. A value of its own, so that an exploration can copy it and go on two ways.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    revision: NonZeroU64,
    entries: BTreeMap<Key, (Value, Revision)>,
}

impl Default for State {
    fn default() -> Self {
        Self { revision: NonZeroU64::MIN, entries: BTreeMap::new() }
    }
}

impl State {
    /// Runs a transaction.
    pub fn commit(&mut self, txn: &Txn) -> Outcome {
        let next = Revision(self.revision.saturating_add(1));
        let Ok(way) = Way::choose(txn, &mut |guard| Ok::<_, Infallible>(self.holds(guard)));
        let mut wrote = false;
        let branch = self.run(&way, next, &mut wrote);
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

    fn run(&mut self, way: &Way<'_>, next: Revision, wrote: &mut bool) -> Branch {
        let answers = way.steps().map(|(op, inner)| match op {
            Op::Put(key, value) => {
                self.entries.insert(key.clone(), (value.clone(), next));
                *wrote = true;
                Answer::Written
            }
            Op::Delete(key) => {
                *wrote |= self.entries.remove(key).is_some();
                Answer::Written
            }
            Op::Get(key) => Answer::Entry(self.get(key)),
            Op::Range { span, limit, keys_only } => {
                let entries = self.range(span).take(*limit as usize);
                let value = |entry: Entry| if *keys_only { Entry { value: Value::new(), ..entry } } else { entry };
                Answer::Entries(entries.map(value).collect())
            }
            Op::Count(span) => Answer::Count(self.range(span).count() as u64),
            Op::Try(_) => match inner {
                Some(way) => Answer::Branch(self.run(way, next, wrote)),
                None => Answer::Written,
            },
        });
        Branch { answers: answers.collect(), taken: way.taken() }
    }
}

impl MemoryStore {
    /// An empty map.
    pub fn new() -> Self {
        Self { state: Mutex::new(State::default()) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic elsewhere can't leave the map half-written: every commit ends in one step of its own.
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
