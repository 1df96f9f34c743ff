//! What a watch knows of its span: the values as the objects have shown them. An event of the API has the object after
//! a change, and only a comparison shows whether its value has changed.
//!
//! ```text
//!  list ────► values ◄─── event     lock, unlock, commit: the same revision, no change
//!               └──► KeyChange      another revision, or a value that came or went
//! ```
//!
//! Locks are not read through. A key has the value that its object has, until the object has another one.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::api::Stored;
use super::object::{Lock, Object, Then, TxnId, Version, Versioned};
use crate::store::{Before, Change, Entry, Key, KeyChange, Revision};

/// The values of a span: as much memory as they have, and about 100 bytes more for each.
#[derive(Debug, Default)]
pub(super) struct Known {
    values: BTreeMap<Key, Versioned>,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It was created or replaced. This is how it is now.
    Written,
    /// It was deleted. This is how it was, with the version of its deletion.
    Deleted,
}

impl Known {
    /// Adds the value of a listed object, if it has one.
    pub(super) fn list(&mut self, Object { key, value, .. }: &Object) {
        if let Some(value) = value {
            self.values.insert(key.clone(), value.clone());
        }
    }

    /// The first entries behind a key, or from the start.
    pub(super) fn page(&self, after: Option<&Key>, limit: usize) -> Vec<Entry> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = self.values.range::<Key, _>((from, Bound::Unbounded)).take(limit);
        let entry = |(key, Versioned { value, revision }): (&Key, &Versioned)| Entry {
            key: key.clone(),
            value: value.clone(),
            revision: *revision,
        };
        page.map(entry).collect()
    }

    /// Notes an event. Returns what it changes.
    pub(super) fn note(&mut self, event: Event, stored: &Stored) -> Option<KeyChange> {
        let Object { key, value, .. } = &stored.object;
        let now = value.as_ref().filter(|_| event == Event::Written);
        let before = self.values.get(key);
        if before.map(|before| before.revision) == now.map(|now| now.revision) {
            return None;
        }
        let change = match now {
            Some(now) => Change { at: now.revision, value: Some(now.value.clone()) },
            None => Change { at: deleted_at(event, stored), value: None },
        };
        let before = match now {
            Some(now) => self.values.insert(key.clone(), now.clone()),
            None => self.values.remove(key),
        };
        let before = before.map_or(Before::Absent, |before| Before::Value(before.value));
        Some(KeyChange { key: key.clone(), before, change })
    }
}

/// The revision of a deletion. What a transaction over several keys has deleted shows it. A delete of one key leaves
/// nothing, so its revision is made from the object's version, and every watch makes the same.
fn deleted_at(event: Event, stored: &Stored) -> Revision {
    let txn = match (event, stored.commit(), stored.lock()) {
        (Event::Written, Some(commit), _) => commit.txn,
        (Event::Deleted, _, Some(Lock { txn, then: Then::Delete, .. })) => *txn,
        _ => of_version(&stored.version),
    };
    txn.revision()
}

fn of_version(Version { uid, resource_version }: &Version) -> TxnId {
    TxnId::from_text(&format!("{}/{resource_version}", uid.as_str()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use super::super::object::{Commit, Mark, Uid};
    use super::*;

    const KEY: &str = "ip/default/4/010.000.000.001";

    fn txn(number: u64) -> TxnId {
        TxnId::from_random(number << 1)
    }

    fn versioned(number: u64) -> Versioned {
        Versioned { value: number.to_string().into_bytes(), revision: txn(number).revision() }
    }

    fn lock(number: u64, then: Then) -> Option<Mark> {
        Some(Mark::Lock(Lock { txn: txn(number), primary: Key::new("at/n/c/net1/lan"), then }))
    }

    fn commit(number: u64) -> Option<Mark> {
        Some(Mark::Commit(Commit { txn: txn(number), locks: Vec::new() }))
    }

    fn stored(value: Option<u64>, mark: Option<Mark>) -> Stored {
        let object = Object { key: Key::new(KEY), value: value.map(versioned), mark };
        Stored { object, version: Version { uid: Uid::new("u"), resource_version: "7".to_owned() } }
    }

    /// A change as `before`, `after`, and the number of the transaction that its revision is from.
    fn told(change: Option<KeyChange>) -> Option<(Option<String>, Option<String>, Revision)> {
        let KeyChange { before, change: Change { at, value }, .. } = change?;
        let text = |value: Vec<u8>| String::from_utf8(value).unwrap();
        let before = match before {
            Before::Absent => None,
            Before::Value(value) => Some(text(value)),
            Before::Unknown => Some("?".to_owned()),
        };
        Some((before, value.map(text), at))
    }

    fn change(before: Option<u64>, after: Option<u64>, at: u64) -> Option<(Option<String>, Option<String>, Revision)> {
        Some((before.map(|number| number.to_string()), after.map(|number| number.to_string()), txn(at).revision()))
    }

    #[test]
    fn a_lock_is_no_change_and_its_effect_is_one() {
        let mut known = Known::default();
        let put = || Then::Put(b"2".to_vec());
        let steps = [
            // A lock that came to nothing, on a key that does not exist.
            (Event::Written, stored(None, lock(1, put())), None),
            (Event::Deleted, stored(None, lock(1, put())), None),
            (Event::Written, stored(None, lock(2, put())), None),
            (Event::Written, stored(Some(2), None), change(None, Some(2), 2)),
            // One that was ended, and one that only depends on the key.
            (Event::Written, stored(Some(2), lock(3, put())), None),
            (Event::Written, stored(Some(2), None), None),
            (Event::Written, stored(Some(2), lock(4, Then::Keep)), None),
            (Event::Written, stored(Some(2), None), None),
            // The same value once more, by a single write.
            (Event::Written, stored(Some(5), None), change(Some(2), Some(5), 5)),
            (Event::Written, stored(Some(5), lock(6, Then::Delete)), None),
            (Event::Deleted, stored(Some(5), lock(6, Then::Delete)), change(Some(5), None, 6)),
        ];
        for (number, (event, stored, expected)) in steps.into_iter().enumerate() {
            assert_eq!(told(known.note(event, &stored)), expected, "step {number}");
        }
    }

    #[test]
    fn a_primary_changes_with_its_commit_and_not_with_what_becomes_of_that() {
        let mut known = Known::default();
        let steps = [
            (Event::Written, stored(Some(1), commit(1)), change(None, Some(1), 1)),
            (Event::Written, stored(Some(1), None), None),
            // A tombstone.
            (Event::Written, stored(None, commit(2)), change(Some(1), None, 2)),
            (Event::Deleted, stored(None, commit(2)), None),
        ];
        for (number, (event, stored, expected)) in steps.into_iter().enumerate() {
            assert_eq!(told(known.note(event, &stored)), expected, "step {number}");
        }
    }

    #[test]
    fn a_delete_that_left_nothing_has_a_revision_of_its_own() {
        let deletion = || {
            let mut known = Known::default();
            known.list(&stored(Some(1), commit(1)).object);
            told(known.note(Event::Deleted, &stored(Some(1), commit(1)))).unwrap()
        };
        let (before, after, at) = deletion();
        assert_eq!((before.as_deref(), after), (Some("1"), None));
        assert_ne!(at, txn(1).revision());
        assert_eq!(at, deletion().2, "every watch shows the same");
    }

    #[test]
    fn pages_have_all_entries_in_the_order_of_keys() {
        let mut known = Known::default();
        for key in ["c", "a", "b"] {
            known.list(&Object { key: Key::new(key), value: Some(versioned(1)), mark: None });
        }
        // A key that is only locked does not exist.
        known.list(&Object { key: Key::new("d"), value: None, mark: lock(2, Then::Keep) });
        let keys = |after: Option<&str>| -> Vec<String> {
            let page = known.page(after.map(Key::new).as_ref(), 2);
            page.iter().map(|entry| entry.key.as_str().to_owned()).collect()
        };
        assert_eq!(keys(None), ["a", "b"]);
        assert_eq!(keys(Some("b")), ["c"]);
        assert!(keys(Some("c")).is_empty());
    }
}
