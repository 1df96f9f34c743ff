//! What a transaction has read, and what it means: locks are read through.
//!
//! A lock whose transaction has committed shows what that wrote, and any other lock shows the value as it was. So
//! reading ends nobody's transaction, and needs no right to write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::api::{Seen, Stored};
use super::forward::Forward;
use super::object::{Lock, Version, Versioned};
use super::resolve::{Verdict, verdict};
use super::rules::{Rule, Rules};
use super::spans::Spans;
use crate::store::Key;

/// The keys that were read, and the primaries of the locks on them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct View {
    rules: Rules,
    seen: BTreeMap<Key, Seen>,
    primaries: BTreeMap<Key, Seen>,
    /// Keys that are taken for absent and were not read. A create finds out.
    presumed: BTreeSet<Key>,
    spans: Option<Spans>,
}

impl View {
    /// A view in which these keys are presumed absent.
    pub(super) fn presuming(presumed: BTreeSet<Key>, rules: Rules) -> Self {
        let seen = presumed.iter().cloned().map(|key| (key, None)).collect();
        Self { rules, seen, primaries: BTreeMap::new(), presumed, spans: None }
    }

    pub(super) fn has_presumed(&self) -> bool {
        !self.presumed.is_empty()
    }

    /// Presumes nothing any more. What was presumed has to be read.
    pub(super) fn forget_presumed(&mut self) {
        for key in std::mem::take(&mut self.presumed) {
            self.seen.remove(&key);
        }
    }

    pub(super) fn seen(&self) -> &BTreeMap<Key, Seen> {
        &self.seen
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Seen> {
        self.seen.get(key)
    }

    /// Records a read of a key.
    pub(super) fn note(&mut self, key: Key, seen: Seen) {
        // What its lock means, a later read of the primary must say.
        if let Some(lock) = seen.as_deref().and_then(foreign_lock) {
            self.primaries.remove(&lock.primary);
        }
        self.seen.insert(key, seen);
    }

    /// Records a read of a primary.
    pub(super) fn note_primary(&mut self, key: Key, seen: Seen) {
        self.primaries.insert(key, seen);
    }

    /// Forgets a key whose lock was resolved, and what was known of the lock's primary.
    pub(super) fn forget_lock(&mut self, key: &Key, primary: &Key) {
        self.seen.remove(key);
        self.primaries.remove(primary);
    }

    /// Forgets what finishing a transaction has changed. Its primary counts as read without the commit: the next write
    /// of that version takes the commit along.
    pub(super) fn note_forwarded(&mut self, forward: &Forward) {
        self.seen.retain(|key, _| !forward.has_looked_at(key));
        let primary = forward.primary();
        let key = primary.object.key.clone();
        match primary.object.value {
            Some(_) => self.seen.insert(key, Some(Arc::new(primary.with_commit_resolved()))),
            None => self.seen.remove(&key),
        };
    }

    pub(super) fn spans(&self) -> Option<&Spans> {
        self.spans.as_ref()
    }

    /// Records the spans that were read.
    pub(super) fn note_spans(&mut self, spans: Spans) {
        self.spans = Some(spans);
    }

    /// The primary of a lock, as it was read after the lock.
    pub(super) fn primary(&self, lock: &Lock) -> Option<&Seen> {
        let earlier = || self.seen.get(&lock.primary).filter(|_| !self.rules.keep(Rule::PrimaryAfterLock));
        earlier().or_else(|| self.primaries.get(&lock.primary))
    }

    /// The primaries that must be read to know what the locks mean.
    pub(super) fn unread_primaries(&self) -> BTreeSet<Key> {
        let locks = self.seen.values().flatten().filter_map(|seen| foreign_lock(seen));
        locks.filter(|lock| self.primary(lock).is_none()).map(|lock| lock.primary.clone()).collect()
    }

    /// The value of a key that was read, through its lock.
    pub(super) fn value(&self, key: &Key) -> Option<Versioned> {
        let seen = self.seen.get(key)?.as_ref()?;
        let is_committed = |lock: &Lock| {
            let primary = self.primary(lock);
            primary.is_some_and(|primary| verdict(seen, lock, primary, self.rules) == Verdict::Committed)
        };
        match foreign_lock(seen) {
            Some(lock) if is_committed(lock) => seen.object.unlocked(true)?.value,
            _ => seen.object.value.clone(),
        }
    }

    /// All keys that must be unchanged if this is to be one state, those that were absent first.
    pub(super) fn to_confirm(&self) -> (BTreeSet<Key>, BTreeSet<Key>) {
        let primaries = self.primaries.iter().filter(|_| self.rules.keep(Rule::PrimariesReadTwice));
        let (absent, present): (Vec<_>, Vec<_>) =
            self.seen.iter().chain(primaries).partition(|(_, seen)| seen.is_none());
        let keys = |seen: Vec<(&Key, &Seen)>| seen.into_iter().map(|(key, _)| key.clone()).collect::<BTreeSet<_>>();
        let (absent, mut present) = (keys(absent), keys(present));
        // One that was absent in one read and present in another will be found different.
        present.retain(|key| !absent.contains(key));
        (absent, present)
    }

    /// Whether another read shows the same as the earlier ones.
    pub(super) fn confirms(&self, key: &Key, again: &Seen) -> bool {
        let is_same = |seen: &Seen| version(seen) == version(again);
        let is_primary = self.rules.keep(Rule::PrimariesReadTwice);
        self.seen.get(key).is_none_or(is_same) && (!is_primary || self.primaries.get(key).is_none_or(is_same))
    }
}

fn version(seen: &Seen) -> Option<&Version> {
    seen.as_ref().map(|seen| &seen.version)
}

/// The lock of an object, if another object knows what it means.
pub(super) fn foreign_lock(stored: &Stored) -> Option<&Lock> {
    stored.lock().filter(|lock| lock.primary != stored.object.key)
}
