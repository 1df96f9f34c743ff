//! Watches: the entries of a span, and then each change as it happens.
//!
//! ```text
//!  Entries … Entries  Listed  Changes  Changes  …                     ┌─► Entries … Entries  Listed  Changes …
//!  └── one state ──┘  └ its position    └ each with its position      Gap: the store discarded what comes next
//! ```
//!
//! The rules for every backend:
//!
//! - The entries are one state of the map, in the order of keys. After [`Update::Listed`], the changes since that state
//!   follow, in the order of their transactions. None is missing and none comes twice, also across lost connections.
//! - If a backend has discarded changes that a watch still needs, the watch says so ([`Update::Gap`]) and starts again
//!   with the entries. Their difference from what is known shows what changed.
//! - A store without a history (SQLite) compares states. It passes on the last of several changes of a key between two
//!   looks, and no change of a key that came and went between them.
//! - A store that changes one object at a time (Kubernetes) shows each key by itself: its changes in their order, and a
//!   change once the object shows it. Of a transaction that has committed, it may show some keys before others.
//! - The caller pulls. A slow one makes the backend wait, or causes a gap, but never fills the memory.
//! - Dropping a watch ends it, with its connection or thread.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::etcd::EtcdWatch;
use super::history::Change;
use super::kubernetes::KubernetesWatch;
use super::memory::MemoryWatch;
use super::sqlite::SqliteWatch;
use super::{Entry, Key, Revision, StoreError, Value};
use crate::cause::Cause;

/// A place in the sequence of a store's changes, where a watch can continue. Only that store can read its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(String);

impl Position {
    /// The position with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The revision, in stores whose positions are revisions.
    pub(super) fn revision(&self) -> Option<Revision> {
        self.0.parse().ok().map(Revision)
    }
}

impl From<Revision> for Position {
    fn from(Revision(at): Revision) -> Self {
        Self(at.to_string())
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a key had before a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Before {
    /// The key did not exist.
    Absent,
    /// This value.
    Value(Value),
    /// The store can't tell.
    Unknown,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// The key.
    pub key: Key,
    /// What it had before.
    pub before: Before,
    /// The new value or the deletion, and the revision. A store without a history gives a deletion the revision at
    /// which it found it, and one that keeps nothing of a deletion gives it a revision that nothing else has.
    pub change: Change,
}

/// What a watch passes on next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Some of the entries that exist where the watch starts.
    Entries(Vec<Entry>),
    /// Those were all. From this position on, changes follow.
    Listed(Position),
    /// Changes, in the order of their transactions.
    Changes {
        /// At least one.
        changes: Vec<KeyChange>,
        /// Where a watch continues after them.
        position: Position,
    },
    /// The store responds again after an error. Nothing was missed.
    Resumed,
    /// The store has discarded changes that were not passed on. The watch starts again with the entries.
    Gap,
}

/// A watch of a span ([`Store::changes`](super::Store::changes)).
#[derive(Debug)]
pub struct Watch(Source);

/// The backend's part of a watch.
#[derive(Debug)]
pub(super) enum Source {
    Memory(MemoryWatch),
    Sqlite(SqliteWatch),
    Etcd(Box<EtcdWatch>),
    Kubernetes(Box<KubernetesWatch>),
    /// This store has no watches.
    NotOffered,
}

impl Watch {
    pub(super) fn new(source: Source) -> Self {
        Self(source)
    }

    /// Waits for the next update. Dropping the future loses no update, but a request that is under way starts again.
    ///
    /// After an error, the watch is where it was: the next call tries again, after a pause that grows with each
    /// failure. A watch that lost its connection and can continue elsewhere returns no error. The first update after an
    /// error shows that the store is back; without a change, it is [`Update::Resumed`].
    pub async fn next(&mut self) -> Result<Update, StoreError> {
        match &mut self.0 {
            Source::Memory(watch) => Ok(watch.next().await),
            Source::Sqlite(watch) => watch.next().await,
            Source::Etcd(watch) => watch.next().await,
            Source::Kubernetes(watch) => watch.next().await,
            Source::NotOffered => Err(StoreError::Denied(Cause::new("this store can't be watched"))),
        }
    }
}
