//! The leases that a watch knows of: keys and revisions. After a gap, they show what has changed.

use std::collections::BTreeMap;

use crate::store::{Before, Change, Entry, Key, KeyChange, Revision, Value};

/// A change that a list shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) key: Key,
    pub(super) before: Before,
    pub(super) value: Option<Value>,
}

/// The keys of a span and the revisions of their last writes, about 100 bytes each.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// `None` until a list is complete.
    current: Option<BTreeMap<Key, Revision>>,
    /// The part of a new list that was read.
    listed: BTreeMap<Key, Revision>,
}

impl Known {
    /// Whether a new list can be compared with something.
    pub(super) fn is_complete(&self) -> bool {
        self.current.is_some()
    }

    /// How many keys exist.
    pub(super) fn len(&self) -> usize {
        self.current.as_ref().map_or(0, BTreeMap::len)
    }

    /// Starts a new list.
    pub(super) fn begin(&mut self) {
        self.listed.clear();
    }

    /// Adds an entry to the list. Returns what has changed since the list before.
    pub(super) fn list(&mut self, Entry { key, value, revision }: Entry) -> Option<Difference> {
        self.listed.insert(key.clone(), revision);
        let before = match self.current.as_ref()?.get(&key) {
            None => Before::Absent,
            Some(known) if *known == revision => return None,
            Some(_) => Before::Unknown,
        };
        Some(Difference { key, before, value: Some(value) })
    }

    /// Ends the list. Returns what was deleted since the list before.
    pub(super) fn complete(&mut self) -> Vec<Difference> {
        let listed = std::mem::take(&mut self.listed);
        let before = self.current.take().unwrap_or_default();
        let gone = before.into_keys().filter(|key| !listed.contains_key(key));
        let gone = gone.map(|key| Difference { key, before: Before::Unknown, value: None }).collect();
        self.current = Some(listed);
        gone
    }

    /// Notes a change that was passed on.
    pub(super) fn note(&mut self, KeyChange { key, change: Change { at, value }, .. }: &KeyChange) {
        let Some(current) = &mut self.current else { return };
        match value {
            Some(_) => current.insert(key.clone(), *at),
            None => current.remove(key),
        };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::num::NonZeroU64;

    use super::*;

    fn at(revision: u64) -> Revision {
        Revision(NonZeroU64::new(revision).unwrap())
    }

    fn entry(key: &str, revision: u64) -> Entry {
        Entry { key: Key::new(key), value: key.as_bytes().to_vec(), revision: at(revision) }
    }

    fn difference(key: &str, before: Before, exists: bool) -> Difference {
        Difference { key: Key::new(key), before, value: exists.then(|| key.as_bytes().to_vec()) }
    }

    fn listed(known: &mut Known, entries: &[(&str, u64)]) -> Vec<Difference> {
        known.begin();
        let mut found: Vec<_> = entries.iter().filter_map(|(key, at)| known.list(entry(key, *at))).collect();
        found.extend(known.complete());
        found
    }

    #[test]
    fn a_first_list_differs_from_nothing() {
        let mut known = Known::default();
        assert_eq!(listed(&mut known, &[("a", 2), ("b", 3)]), []);
        assert_eq!((known.is_complete(), known.len()), (true, 2));
    }

    #[test]
    fn a_list_after_a_gap_shows_what_is_new_what_was_written_and_what_is_gone() {
        let mut known = Known::default();
        listed(&mut known, &[("a", 2), ("b", 3), ("c", 4)]);
        let change = |key: &str, revision, value| KeyChange {
            key: Key::new(key),
            before: Before::Absent,
            change: Change { at: at(revision), value },
        };
        known.note(&change("d", 5, Some(Value::new())));
        known.note(&change("a", 6, None));
        // A list that another gap interrupts counts for nothing.
        known.begin();
        known.list(entry("z", 9));
        let expected = [
            difference("c", Before::Unknown, true),
            difference("e", Before::Absent, true),
            difference("b", Before::Unknown, false),
        ];
        assert_eq!(listed(&mut known, &[("c", 7), ("d", 5), ("e", 8)]), expected);
        assert_eq!(known.len(), 3);
    }
}
