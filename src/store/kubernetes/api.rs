//! What the protocol asks of the API, and what it is answered.
//!
//! A request is about one object. A machine never has two open requests about one key, so that an answer is identified
//! by its key. A write that replaces or deletes can only be made from an object that was read or answered ([`Stored`]),
//! under its version; a create only from one that was absent.

use std::sync::Arc;

use super::object::{Commit, Lock, Mark, Object, Version};
use crate::cause::Cause;
use crate::store::{Freshness, Key, KeySpan, StoreError};

/// An object with the version at which it was read or answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stored {
    pub(super) object: Object,
    pub(super) version: Version,
}

/// What a read or a write showed of a key: its object, or that there is none.
pub(super) type Seen = Option<Arc<Stored>>;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Request {
    /// Reads the committed state of an object, not a cache's (no `resourceVersion`).
    Get(Key),
    /// Reads spans of keys. It is the only open request of its machine.
    Spans {
        /// The first key of the first span, as which the request is answered.
        key: Key,
        reads: Vec<SpanRead>,
    },
    /// Changes an object. Sent once: whoever gets no answer does not know whether it is still on its way.
    Write(Write),
}

/// A read of a span.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum SpanRead {
    /// The first objects, in the order of their keys. Those with neither value nor lock are left out.
    Range { span: KeySpan, limit: u32, freshness: Freshness },
    /// The number of objects, from their metadata.
    Count(KeySpan),
}

/// The result of such a read, one state of its span.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum SpanResult {
    Entries(Vec<Arc<Stored>>),
    Count(u64),
}

/// A change of one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Write {
    key: Key,
    change: Change,
}

/// The change itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Change {
    Create(Object),
    /// Only at this version.
    Replace(Object, Version),
    /// Only at this version.
    Delete(Version),
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The object after the request; `None` for the API server's own 404 about this very object, and after a delete. A
    /// 404 about its resource, or from a proxy, is [`Answer::Failed`].
    Seen(Seen),
    /// One result for each span.
    Spans(Vec<SpanResult>),
    /// A write was refused because of the object's state (409, or 404 for a replace or delete). It may have been applied
    /// nevertheless, if a proxy has sent it twice.
    Conflict,
    /// It is not known whether a write was applied, or may still be (a lost connection, a timeout, 5xx).
    Silence(Cause),
    /// A read has failed for good, or a write was certainly not applied (no connection, 403, 422, 429).
    Failed(StoreError),
}

/// The answer to a write.
pub(super) enum Written {
    Done(Seen),
    Conflict,
    Silence(Cause),
    Failed(StoreError),
}

impl Request {
    pub(super) fn key(&self) -> &Key {
        match self {
            Self::Get(key) | Self::Spans { key, .. } => key,
            Self::Write(write) => &write.key,
        }
    }
}

impl SpanRead {
    pub(super) fn span(&self) -> &KeySpan {
        match self {
            Self::Range { span, .. } | Self::Count(span) => span,
        }
    }
}

impl Write {
    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    pub(super) fn change(&self) -> &Change {
        &self.change
    }

    /// Makes an object what it is to be: creates it if there was none, otherwise replaces what was seen.
    pub(super) fn put(seen: &Seen, object: Object) -> Self {
        let key = object.key.clone();
        let change = match seen {
            None => Change::Create(object),
            Some(seen) => Change::Replace(object, seen.version.clone()),
        };
        Self { key, change }
    }

    /// Locks a key as it was seen. A commit on it must be resolved: it goes.
    pub(super) fn lock(key: &Key, seen: &Seen, lock: Lock) -> Self {
        let value = seen.as_ref().and_then(|seen| seen.object.value.clone());
        Self::put(seen, Object { key: key.clone(), value, mark: Some(Mark::Lock(lock)) })
    }
}

impl Stored {
    /// Removes the lock: with its effect, if its transaction has committed.
    pub(super) fn unlock(&self, committed: bool) -> Write {
        self.change_to(self.object.unlocked(committed))
    }

    /// Removes the commit, whose locks are resolved.
    pub(super) fn drop_commit(&self) -> Write {
        self.change_to(self.object.without_commit())
    }

    /// Deletes the object.
    pub(super) fn delete(&self) -> Write {
        self.change_to(None)
    }

    fn change_to(&self, wanted: Option<Object>) -> Write {
        let version = self.version.clone();
        let change = match wanted {
            Some(object) => Change::Replace(object, version),
            None => Change::Delete(version),
        };
        Write { key: self.object.key.clone(), change }
    }

    /// As it will be seen once the commit is gone. The version stays, so that it still can be replaced.
    pub(super) fn with_commit_resolved(&self) -> Self {
        let object = Object { mark: self.object.lock().cloned().map(Mark::Lock), ..self.object.clone() };
        Self { object, version: self.version.clone() }
    }

    pub(super) fn lock(&self) -> Option<&Lock> {
        self.object.lock()
    }

    pub(super) fn commit(&self) -> Option<&Commit> {
        self.object.commit()
    }
}

impl Answer {
    /// As the answer to a read by somebody who needs to know what transactions have left on the object.
    pub(super) fn into_seen(self, key: &Key) -> Result<Seen, StoreError> {
        let seen = self.into_shown(key)?;
        match seen.as_deref().and_then(|seen| seen.object.unreadable_mark()) {
            Some(why) => Err(StoreError::Corrupt(why.clone())),
            None => Ok(seen),
        }
    }

    /// As the answer to a read that only shows what is there.
    pub(super) fn into_shown(self, key: &Key) -> Result<Seen, StoreError> {
        match self {
            Self::Seen(seen) => Ok(seen),
            Self::Failed(error) => Err(error),
            Self::Silence(cause) => Err(StoreError::Unavailable(cause)),
            Self::Spans(_) | Self::Conflict => Err(unfitting(format!("the read of {key}"))),
        }
    }

    /// As the answer to a read of spans.
    pub(super) fn into_spans(self) -> Result<Vec<SpanResult>, StoreError> {
        match self {
            Self::Spans(results) => Ok(results),
            Self::Failed(error) => Err(error),
            Self::Silence(cause) => Err(StoreError::Unavailable(cause)),
            Self::Seen(_) | Self::Conflict => Err(unfitting("a list".to_owned())),
        }
    }

    /// As the answer to a write.
    pub(super) fn into_written(self) -> Written {
        match self {
            Self::Seen(seen) => Written::Done(seen),
            Self::Conflict => Written::Conflict,
            Self::Silence(cause) => Written::Silence(cause),
            Self::Failed(error) => Written::Failed(error),
            Self::Spans(_) => Written::Silence(Cause::new("a write was answered by a list")),
        }
    }
}

fn unfitting(request: String) -> StoreError {
    StoreError::Corrupt(Cause::new(format!("{request} was answered by something else")))
}
