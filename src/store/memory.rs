//! The map in the memory of one process: for `plan`, for tests, and the shortest way to say what a store does.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use super::{
    Answer, Branch, Cursor, Deadline, Entry, Guard, Key, KeySpan, Op, Outcome, Page, Revision, Store, StoreError, Txn,
    Value,
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
        let way = Way::choose(txn, self);
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
        let mut inner = way.inner.iter();
        let mut answers = Vec::with_capacity(way.operations.len());
        for op in way.operations {
            answers.push(match op {
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
                Op::Try(_) => match inner.next() {
                    Some(way) => Answer::Branch(self.run(way, next, wrote)),
                    None => continue,
                },
            });
        }
        Branch { taken: way.taken, answers }
    }
}

/// The way through a transaction and through those inside it, chosen before anything is written.
struct Way<'a> {
    taken: bool,
    operations: &'a [Op],
    inner: Vec<Way<'a>>,
}

impl<'a> Way<'a> {
    fn choose(txn: &'a Txn, state: &State) -> Self {
        let taken = txn.when().iter().all(|guard| state.holds(guard));
        let operations = if taken { txn.then() } else { txn.otherwise() };
        let inner = operations.iter().filter_map(|op| match op {
            Op::Try(txn) => Some(Self::choose(txn, state)),
            _ => None,
        });
        Self { taken, operations, inner: inner.collect() }
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

    async fn page(&self, span: &KeySpan, from: &Cursor, limit: u32, _until: Deadline) -> Result<Page, StoreError> {
        let from = from.0.clone().map_or_else(|| span.from.clone(), Key::successor);
        let rest = KeySpan::from_to(from, span.to.clone());
        let mut entries: Vec<Entry> = self.state().range(&rest).take(limit as usize + 1).collect();
        let more = entries.len() > limit as usize;
        entries.truncate(limit as usize);
        let next = more.then(|| Cursor(entries.last().map(|entry| entry.key.clone())));
        Ok(Page { entries, next })
    }
}
