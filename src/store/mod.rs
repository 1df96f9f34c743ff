//! The storage interface: an ordered key-value map with compare-and-swap transactions.
//!
//! IPAM decides on top of such a map. `ipam` uses the plain types of this module and knows no backend. This module
//! knows no addresses; a key is any text. Four backends follow these rules, and one conformance suite checks them on
//! each:
//!
//! - All guards of a transaction see the state before it, those of nested transactions too (etcd's rule). Then the
//!   chosen operations run in order, and reads see earlier writes of the same transaction.
//! - A path through a transaction writes each key at most once.
//! - A path has at most [`MAX_OPERATIONS`] operations and guards, a transaction at most [`MAX_BYTES`], and a value at
//!   most [`MAX_VALUE`]. [`Txn::new`] checks this and the rule before for every backend, so a transaction that one
//!   accepts is accepted by all.
//! - A [`Revision`] is never reused, not even after a delete.
//! - A transaction that writes is sent once, or again only if nothing of it was sent. A second copy would be safe right
//!   after the first, but not an hour later, when its guards may hold again. Only the decision can handle that
//!   (`Decide::unanswered` in `ipam::decide`). A transaction that only reads may be sent any number of times.

mod backend;
mod backoff;
pub mod conformance;
mod entries;
mod etcd;
mod history;
mod kubernetes;
mod memory;
#[cfg(test)]
mod model;
mod overlay;
mod revision;
mod sqlite;
mod stand_in;
mod txn;
mod txn_path;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

pub use self::backend::{Backend, EtcdConfig, Lookahead, StoreConfig};
pub(crate) use self::backoff::Backoff;
pub use self::etcd::{EtcdInspector, EtcdStore, KeyPermission, MemberStatus, Rights};
pub use self::history::{Change, HistoryEnd, KeyHistory};
pub use self::kubernetes::{
    FaultyObject, KubernetesConfig, KubernetesInspector, KubernetesMirror, KubernetesStore, Mirrored, NamespaceState,
    ObjectFault, ObjectName, ObjectStatus, OpenObject, ReadTimes, ResourceReport, ServedResources, StoreResource,
};
pub use self::memory::{MemoryMap, MemoryStore};
pub use self::overlay::Overlay;
pub use self::revision::{Revision, RevisionOrder};
pub use self::sqlite::{Integrity, SqliteReport, SqliteStore, inspect_sqlite};
pub(crate) use self::stand_in::StandIn;
pub use self::txn::{Freshness, Guard, MAX_BYTES, MAX_OPERATIONS, MAX_VALUE, Op, Txn, TxnError};
pub use self::watch::{Before, KeyChange, Position, Update, Watch};
use crate::cause::Cause;
use crate::deadline::Deadline;

/// A key, without the backend's prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(String);

impl Key {
    /// Any text is a valid key.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The smallest key after this one.
    #[must_use]
    pub fn successor(mut self) -> Self {
        self.0.push('\0');
        self
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A value.
pub type Value = Vec<u8>;

/// What people see of an entry beside its value: short texts by the names of their fields. A store that can be looked
/// into shows them, and never reads them.
pub type Summary = BTreeMap<&'static str, String>;

/// Makes the summary of a key and its value.
pub type Summarize = fn(&Key, &[u8]) -> Summary;

/// A half-open span of keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeySpan {
    /// The smallest key in the span.
    pub from: Key,
    /// The smallest key after the span.
    pub to: Key,
}

impl KeySpan {
    /// All keys from `from` up to but not including `to`.
    pub fn from_to(from: Key, to: Key) -> Self {
        Self { from, to }
    }

    /// All keys that start with this text, which ends with `/`. The character after `/` is `0`.
    pub fn prefix(text: &str) -> Self {
        let stem = text.strip_suffix('/').unwrap_or(text);
        Self { from: Key::new(format!("{stem}/")), to: Key::new(format!("{stem}0")) }
    }

    /// This key alone.
    pub fn of(key: Key) -> Self {
        Self { to: key.clone().successor(), from: key }
    }

    /// The key, if the span is one of a single key.
    pub fn single(&self) -> Option<&Key> {
        (self.to == self.from.clone().successor()).then_some(&self.from)
    }

    /// Whether the span contains the key.
    pub fn contains(&self, key: &Key) -> bool {
        self.from <= *key && *key < self.to
    }

    /// The part of a map that is in the span.
    fn entries_of<'a, V>(&self, map: &'a BTreeMap<Key, V>) -> impl Iterator<Item = (&'a Key, &'a V)> + use<'a, V> {
        let bounds = (Bound::Included(&self.from), Bound::Excluded(&self.to));
        // A map has no range that runs backwards.
        (self.from < self.to).then(|| map.range::<Key, _>(bounds)).into_iter().flatten()
    }
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value; empty if only keys were requested.
    pub value: Value,
    /// The revision of its last write.
    pub revision: Revision,
}

/// The response to one operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OpResponse {
    /// For a put or delete.
    Written,
    /// For a get.
    Entry(Option<Entry>),
    /// For a range.
    Entries(Vec<Entry>),
    /// For a count.
    Count(u64),
    /// For a nested transaction.
    Branch(Branch),
}

impl OpResponse {
    /// The entry that a get returned; `None` if the key does not exist.
    pub fn into_entry(self) -> Option<Entry> {
        match self {
            Self::Entry(entry) => entry,
            Self::Written | Self::Entries(_) | Self::Count(_) | Self::Branch(_) => None,
        }
    }
}

/// Which branch of a transaction ran, and the responses to its operations, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Branch {
    /// Whether all guards held.
    pub succeeded: bool,
    /// One response per operation of `then` or `otherwise`.
    pub responses: Vec<OpResponse>,
}

/// The result of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// The map's revision after it, and the revision of every key that it wrote.
    pub at: Revision,
    /// The branch that ran.
    pub branch: Branch,
}

/// The start of the next page. The default is the start of the span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The last key before it.
    after: Option<Key>,
    /// What the store continues by, if it can't start at a key.
    token: Option<String>,
}

/// A page of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The entries, in order.
    pub entries: Vec<Entry>,
    /// The start of the next page; `None` at the end.
    pub next: Option<Cursor>,
}

/// Why a transaction failed. The variant says whether it may have taken effect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StoreError {
    /// It had no effect.
    #[error(transparent)]
    Unavailable(Cause),
    /// It may have taken effect, or may still do so.
    #[error("the request may or may not have taken effect")]
    Ambiguous(#[source] Cause),
    /// It had no effect, and a retry won't help until somebody corrects a permission, a credential or a path.
    #[error(transparent)]
    Denied(Cause),
    /// The stored data can't be read.
    #[error(transparent)]
    Corrupt(Cause),
}

/// An ordered key-value map with compare-and-swap transactions.
pub trait Store: Send + Sync {
    /// Runs a transaction. Retries until the deadline as long as it can't have taken effect.
    fn commit(&self, txn: &Txn, deadline: Deadline) -> impl Future<Output = Result<Outcome, StoreError>> + Send;

    /// Reads one page of a span, at most `limit` entries. Each page shows one state of the map, but two pages may show
    /// two.
    fn page(
        &self,
        span: &KeySpan,
        from: &Cursor,
        limit: u32,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Page, StoreError>> + Send {
        async move {
            let first = from.after.clone().map_or_else(|| span.from.clone(), Key::successor);
            let rest = KeySpan::from_to(first, span.to.clone());
            // One extra entry shows whether there is another page.
            let (limit_and_one, freshness) = (limit.saturating_add(1), Freshness::Exact);
            let range = Op::Range { span: rest, limit: limit_and_one, keys_only: false, freshness };
            let txn = Txn::read(vec![range]).map_err(|e| StoreError::Denied(Cause::new(e)))?;
            let Some(OpResponse::Entries(mut entries)) = self.commit(&txn, deadline).await?.branch.responses.pop()
            else {
                let why = "the store answered a range with something else";
                return Err(StoreError::Corrupt(Cause::new(why)));
            };
            let more = entries.len() > limit as usize;
            entries.truncate(limit as usize);
            let next = more.then(|| Cursor { after: entries.last().map(|entry| entry.key.clone()), token: None });
            Ok(Page { entries, next })
        }
    }

    /// Removes what transactions of dead processes have left, if the store's transactions leave anything. Returns how
    /// much it was. No other transaction needs this.
    fn collect_remains(&self, _deadline: Deadline) -> impl Future<Output = Result<usize, StoreError>> + Send {
        std::future::ready(Ok(0))
    }

    /// The changes of a key that the store still has, the latest first. It stops looking once it has `limit` values, or
    /// at the deadline.
    fn history(
        &self,
        _key: &Key,
        _limit: usize,
        _deadline: Deadline,
    ) -> impl Future<Output = Result<KeyHistory, StoreError>> + Send {
        std::future::ready(Ok(KeyHistory { changes: Vec::new(), end: HistoryEnd::NotKept }))
    }

    /// Watches a span: first its entries, then each change. With a position, only the changes after it. Nothing is sent
    /// before the first update is requested.
    fn changes(&self, _span: &KeySpan, _after: Option<Position>) -> Watch {
        Watch::new(watch::Source::NotOffered)
    }
}
