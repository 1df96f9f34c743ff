//! Runs a transaction on entries in memory. A [`MemoryMap`](super::MemoryMap) and an [`Overlay`](super::Overlay) share
//! this code, so that both have the same rules.

use std::convert::Infallible;

use super::txn_path::TxnPath;
use super::{Branch, Entry, Guard, Key, KeySpan, Op, OpResponse, Outcome, Revision, Txn, Value};

/// The entries of a map, as transactions see and change them.
pub(super) trait Entries {
    /// The entry of a key.
    fn get(&self, key: &Key) -> Option<Entry>;

    /// The revision of a key's last write; `None` if the key does not exist.
    fn revision(&self, key: &Key) -> Option<Revision>;

    /// The entries of a span, in order.
    fn range(&self, span: &KeySpan) -> impl Iterator<Item = Entry>;

    /// The number of entries in a span.
    fn count(&self, span: &KeySpan) -> u64;

    /// Writes a key.
    fn put(&mut self, key: &Key, value: &Value, revision: Revision);

    /// Deletes a key. Returns whether it existed.
    fn delete(&mut self, key: &Key) -> bool;
}

/// Runs a transaction. `before` is the map's revision before it, and `next` that of what it writes.
pub(super) fn run(txn: &Txn, entries: &mut impl Entries, before: Revision, next: Revision) -> Outcome {
    let Ok(path) = TxnPath::resolve(txn, &mut |guard| Ok::<_, Infallible>(holds(entries, guard)));
    let mut run = Run { entries, next, wrote: false };
    let branch = run.branch(&path);
    Outcome { at: if run.wrote { run.next } else { before }, branch }
}

fn holds(entries: &impl Entries, guard: &Guard) -> bool {
    match guard {
        Guard::Absent(key) | Guard::WasAbsent(key) => entries.revision(key).is_none(),
        Guard::Unchanged(key, revision) | Guard::WasUnchanged(key, revision) => {
            entries.revision(key) == Some(*revision)
        }
    }
}

/// A transaction with a resolved path.
struct Run<'a, E> {
    entries: &'a mut E,
    next: Revision,
    wrote: bool,
}

impl<E: Entries> Run<'_, E> {
    fn branch(&mut self, path: &TxnPath<'_>) -> Branch {
        let responses = path.steps().map(|(op, inner)| self.response(op, inner)).collect();
        Branch { responses, succeeded: path.succeeded() }
    }

    fn response(&mut self, op: &Op, inner: Option<&TxnPath<'_>>) -> OpResponse {
        match op {
            Op::Put(key, value) => {
                self.entries.put(key, value, self.next);
                self.wrote = true;
                OpResponse::Written
            }
            Op::Delete(key) => {
                self.wrote |= self.entries.delete(key);
                OpResponse::Written
            }
            Op::Get(key) => OpResponse::Entry(self.entries.get(key)),
            Op::Range { span, limit, keys_only, .. } => {
                let entries = self.entries.range(span).take(*limit as usize);
                let value = |entry: Entry| if *keys_only { Entry { value: Value::new(), ..entry } } else { entry };
                OpResponse::Entries(entries.map(value).collect())
            }
            Op::Count(span) => OpResponse::Count(self.entries.count(span)),
            // The path has a step for each nested transaction.
            Op::Txn(_) => match inner {
                Some(path) => OpResponse::Branch(self.branch(path)),
                None => OpResponse::Written,
            },
        }
    }
}
