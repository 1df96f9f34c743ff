//! What a transaction of an overlay runs on: the entries of the base, below the changes.

use std::collections::BTreeMap;

use super::Change;
use super::base::Known;
use crate::store::entries::Entries;
use crate::store::{Entry, Key, KeySpan, Revision, Value};

/// The entries of the base and the changes, as one map.
pub(super) struct View<'a> {
    base: &'a Known,
    changes: &'a mut BTreeMap<Key, Change>,
}

impl<'a> View<'a> {
    pub(super) fn new(base: &'a Known, changes: &'a mut BTreeMap<Key, Change>) -> Self {
        Self { base, changes }
    }

    fn find(&self, key: &Key) -> Option<&(Value, Revision)> {
        match self.changes.get(key) {
            Some(change) => change.entry.as_ref(),
            None => self.base.entries.get(key),
        }
    }

    fn change(&mut self, key: &Key, entry: Option<(Value, Revision)>) {
        match self.changes.get_mut(key) {
            Some(change) => change.entry = entry,
            None => {
                let in_base = self.base.entries.contains_key(key);
                self.changes.insert(key.clone(), Change { entry, in_base });
            }
        }
    }
}

impl Entries for View<'_> {
    fn get(&self, key: &Key) -> Option<Entry> {
        self.find(key).map(|found| entry(key, found))
    }

    fn revision(&self, key: &Key) -> Option<Revision> {
        self.find(key).map(|(_, revision)| *revision)
    }

    fn range(&self, span: &KeySpan) -> impl Iterator<Item = Entry> {
        let unchanged = span.entries_of(&self.base.entries).filter(|(key, _)| !self.changes.contains_key(*key));
        let changed = span.entries_of(self.changes).filter_map(|(key, change)| Some((key, change.entry.as_ref()?)));
        let (mut unchanged, mut changed) = (unchanged.peekable(), changed.peekable());
        std::iter::from_fn(move || {
            let next = match (unchanged.peek(), changed.peek()) {
                (Some((base, _)), Some((own, _))) if own < base => changed.next(),
                (Some(_), _) => unchanged.next(),
                (None, _) => changed.next(),
            };
            next.map(|(key, found)| entry(key, found))
        })
    }

    fn count(&self, span: &KeySpan) -> u64 {
        let changes = span.entries_of(self.changes).map(|(_, change)| change);
        let (mut created, mut deleted) = (0, 0);
        for change in changes {
            match (change.in_base, change.entry.is_some()) {
                (false, true) => created += 1,
                (true, false) => deleted += 1,
                (true, true) | (false, false) => {}
            }
        }
        (self.base.count(span) + created).saturating_sub(deleted)
    }

    fn put(&mut self, key: &Key, value: &Value, revision: Revision) {
        self.change(key, Some((value.clone(), revision)));
    }

    fn delete(&mut self, key: &Key) -> bool {
        let existed = self.find(key).is_some();
        if existed {
            self.change(key, None);
        }
        existed
    }
}

fn entry(key: &Key, (value, revision): &(Value, Revision)) -> Entry {
    Entry { key: key.clone(), value: value.clone(), revision: *revision }
}
