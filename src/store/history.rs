//! The earlier values of a key, as far as its store still has them.
//!
//! This is for diagnosis only: no decision depends on it. A revision has no time, so whoever needs times must find them
//! in the values.

use super::{Revision, StoreError, Value};

/// A write of a key, or its deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The revision of the map after it.
    pub at: Revision,
    /// The value that was written; `None` for a deletion.
    pub value: Option<Value>,
}

/// The changes of a key, the latest first. The first one is its current state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHistory {
    /// Between two neighbours, the key did not change.
    pub changes: Vec<Change>,
    /// Why there are no earlier ones.
    pub end: HistoryEnd,
}

/// Why a history has no earlier changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryEnd {
    /// There were none.
    Complete,
    /// The store has discarded them. The state at this revision is the oldest that it still has.
    Compacted(Revision),
    /// As many values were found as the caller wanted.
    Limit,
    /// They were not looked for: the time was over, or the store stopped responding.
    Unfinished {
        /// The history is complete from this revision on.
        from: Revision,
        /// The store's error; `None` if the deadline has passed.
        error: Option<StoreError>,
    },
    /// The store keeps only the current value.
    NotKept,
}
