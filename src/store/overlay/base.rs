//! The store below an overlay, as far as an overlay can use it: by reading.

use std::collections::{BTreeMap, VecDeque};

use super::touched::{Range, Touched};
use crate::cause::Cause;
use crate::deadline::Deadline;
use crate::store::{
    Entry, Freshness, Key, KeySpan, MAX_OPERATIONS, Op, OpResponse, Revision, Store, StoreError, Txn, Value,
};

/// A store that is only read. Nothing outside this file reaches the store, and [`Read`] has no variant that writes.
#[derive(Debug)]
pub(super) struct Base<S> {
    store: S,
}

/// A request for one of the things that a transaction touches.
enum Read {
    Get(Key),
    /// The entries from this key on. Its first `found` ones are known.
    Range {
        range: Range,
        from: Key,
        found: u32,
    },
    Count(KeySpan),
}

/// What the base has of the things that a transaction touches.
#[derive(Debug)]
pub(super) struct Known {
    /// The base's revision at the first request.
    pub(super) at: Revision,
    pub(super) entries: BTreeMap<Key, (Value, Revision)>,
    counts: Vec<(KeySpan, u64)>,
}

/// The responses to reads. Entries without values are kept apart, because another read may have theirs.
#[derive(Default)]
struct Responses {
    at: Option<Revision>,
    entries: BTreeMap<Key, (Value, Revision)>,
    /// Keys and parts of spans that were read with their values.
    complete: Vec<KeySpan>,
    bare: Vec<Entry>,
    counts: Vec<(KeySpan, u64)>,
}

impl<S: Store> Base<S> {
    pub(super) fn new(store: S) -> Self {
        Self { store }
    }

    /// The other store.
    pub(super) fn store(&self) -> &S {
        &self.store
    }

    /// Reads everything that a transaction touches, except keys that the overlay has changed (`is_changed`).
    pub(super) async fn read(
        &self,
        touched: &Touched,
        is_changed: &(impl Fn(&Key) -> bool + Sync),
        deadline: Deadline,
    ) -> Result<Known, StoreError> {
        let may_be_gone = |key: &Key| touched.deletes.contains(key) || is_changed(key);
        let gets = touched.keys.iter().filter(|key| !is_changed(key)).cloned().map(Read::Get);
        let ranges = touched.ranges.iter().cloned().map(|range| {
            let from = range.span.from.clone();
            Read::Range { range, from, found: 0 }
        });
        let mut reads: VecDeque<Read> =
            gets.chain(ranges).chain(touched.counts.iter().cloned().map(Read::Count)).collect();
        let mut responses = Responses::default();
        // Also without any reads, the revision is needed.
        while responses.at.is_none() || !reads.is_empty() {
            let batch: Vec<Read> = reads.drain(..reads.len().min(MAX_OPERATIONS)).collect();
            let answers = self.answers(&batch, &mut responses, deadline).await?;
            for (read, answer) in batch.into_iter().zip(answers) {
                reads.extend(responses.note(read, answer, &may_be_gone)?);
            }
        }
        responses.known()
    }

    async fn answers(
        &self,
        reads: &[Read],
        responses: &mut Responses,
        deadline: Deadline,
    ) -> Result<Vec<OpResponse>, StoreError> {
        let txn = Txn::read(reads.iter().map(Read::op).collect()).map_err(|e| StoreError::Denied(Cause::new(e)))?;
        let outcome = self.store.commit(&txn, deadline).await.map_err(|error| match error {
            // A read has no effect, whatever became of it.
            StoreError::Ambiguous(cause) => StoreError::Unavailable(cause),
            error => error,
        })?;
        responses.at.get_or_insert(outcome.at);
        Ok(outcome.branch.responses)
    }
}

impl Read {
    fn op(&self) -> Op {
        match self {
            Self::Get(key) => Op::Get(key.clone()),
            Self::Range { range: Range { span, limit, keys_only }, from, .. } => {
                let span = KeySpan::from_to(from.clone(), span.to.clone());
                // All reads share one entry for a key, so none of them may show an earlier one.
                Op::Range { span, limit: *limit, keys_only: *keys_only, freshness: Freshness::Exact }
            }
            Self::Count(span) => Op::Count(span.clone()),
        }
    }
}

impl Responses {
    /// Records a response, and returns what must be read next.
    fn note(
        &mut self,
        read: Read,
        response: OpResponse,
        may_be_gone: &impl Fn(&Key) -> bool,
    ) -> Result<Option<Read>, StoreError> {
        match (read, response) {
            (Read::Get(key), OpResponse::Entry(entry)) => {
                self.complete.push(KeySpan::from_to(key.clone(), key.successor()));
                self.entries.extend(entry.map(keyed));
                Ok(None)
            }
            (Read::Count(span), OpResponse::Count(count)) => {
                self.counts.push((span, count));
                Ok(None)
            }
            (Read::Range { range, from, found }, OpResponse::Entries(entries)) => {
                Ok(self.note_range(range, from, found, entries, may_be_gone))
            }
            _ => Err(StoreError::Corrupt(Cause::new("the store answered a read with something else"))),
        }
    }

    /// Records entries of a range. Reads on until enough of them are certain to be in the result: an entry that the
    /// overlay has changed, or that the transaction may delete first, may not be.
    fn note_range(
        &mut self,
        range: Range,
        from: Key,
        found: u32,
        entries: Vec<Entry>,
        may_be_gone: &impl Fn(&Key) -> bool,
    ) -> Option<Read> {
        let lasting = entries.iter().filter(|entry| !may_be_gone(&entry.key)).count();
        let found = found.saturating_add(u32::try_from(lasting).unwrap_or(u32::MAX));
        let is_full = entries.len() >= range.limit as usize;
        let next = entries.last().filter(|_| is_full).map(|last| last.key.clone().successor());
        if range.keys_only {
            self.bare.extend(entries);
        } else {
            let end = next.clone().unwrap_or_else(|| range.span.to.clone());
            self.complete.push(KeySpan::from_to(from, end));
            self.entries.extend(entries.into_iter().map(keyed));
        }
        let from = next.filter(|_| found < range.limit)?;
        Some(Read::Range { range, from, found })
    }

    fn known(self) -> Result<Known, StoreError> {
        let Self { at, mut entries, complete, bare, counts } = self;
        let at = at.ok_or_else(|| StoreError::Corrupt(Cause::new("the store answered without a revision")))?;
        // A value that is not known must never look like an empty one.
        let is_complete = |entry: &Entry| complete.iter().any(|span| span.contains(&entry.key));
        entries.extend(bare.into_iter().filter(|entry| !is_complete(entry)).map(keyed));
        Ok(Known { at, entries, counts })
    }
}

fn keyed(entry: Entry) -> (Key, (Value, Revision)) {
    (entry.key, (entry.value, entry.revision))
}

impl Known {
    /// The number of keys that the base has in a span that the transaction counts.
    pub(super) fn count(&self, span: &KeySpan) -> u64 {
        self.counts.iter().find(|(counted, _)| counted == span).map_or(0, |(_, count)| *count)
    }
}
