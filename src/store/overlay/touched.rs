//! What a transaction may read and write, on any path through it.

use std::collections::BTreeSet;

use crate::store::{Guard, Key, KeySpan, Op, Txn};

/// The keys and spans of a transaction.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Keys of guards, gets and writes.
    pub(super) keys: BTreeSet<Key>,
    /// Keys that it may delete.
    pub(super) deletes: BTreeSet<Key>,
    pub(super) ranges: Vec<Range>,
    /// Spans that it counts.
    pub(super) counts: Vec<KeySpan>,
}

/// The first entries of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) span: KeySpan,
    pub(super) limit: u32,
    pub(super) keys_only: bool,
}

impl Touched {
    pub(super) fn by(txn: &Txn) -> Self {
        let mut touched = Self::default();
        touched.add(txn);
        touched
    }

    fn add(&mut self, txn: &Txn) {
        self.keys.extend(txn.when().iter().map(Guard::key).cloned());
        for op in txn.then().iter().chain(txn.otherwise()) {
            match op {
                Op::Put(key, _) | Op::Get(key) => {
                    self.keys.insert(key.clone());
                }
                Op::Delete(key) => {
                    self.keys.insert(key.clone());
                    self.deletes.insert(key.clone());
                }
                Op::Range { span, limit, keys_only, .. } => {
                    let range = Range { span: span.clone(), limit: *limit, keys_only: *keys_only };
                    // Branches of one transaction often read the same.
                    if !self.ranges.contains(&range) {
                        self.ranges.push(range);
                    }
                }
                Op::Count(span) if self.counts.contains(span) => {}
                Op::Count(span) => self.counts.push(span.clone()),
                Op::Txn(inner) => self.add(inner),
            }
        }
    }
}
