//! The API in memory: objects with UIDs and resource versions, changed one at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::store::Key;
use crate::store::kubernetes::api::{Answer, Change, Request, Seen, SpanRead, SpanResult, Stored, Write};
use crate::store::kubernetes::object::{Object, Uid, Version};

/// The objects. Resource versions and UIDs are never used again.
#[derive(Clone, Default)]
pub(super) struct Api {
    objects: BTreeMap<Key, Arc<Stored>>,
    /// What each key had before its last change, as a cache may still show it.
    before: BTreeMap<Key, Seen>,
    changes: u64,
    /// Deletes whatever a key has, whichever version the request names.
    pub(super) unguarded_deletes: bool,
}

impl Api {
    pub(super) fn objects(&self) -> &BTreeMap<Key, Arc<Stored>> {
        &self.objects
    }

    pub(super) fn get(&self, key: &Key) -> Seen {
        self.objects.get(key).cloned()
    }

    /// What a cache shows.
    pub(super) fn get_stale(&self, key: &Key) -> Seen {
        self.before.get(key).cloned().unwrap_or_else(|| self.get(key))
    }

    pub(super) fn request(&mut self, request: &Request) -> Answer {
        match request {
            Request::Get(key) => Answer::Seen(self.get(key)),
            Request::Spans { reads, .. } => Answer::Spans(reads.iter().map(|read| self.span(read)).collect()),
            Request::Write(write) => self.write(write),
        }
    }

    fn span(&self, read: &SpanRead) -> SpanResult {
        let within = self.objects.values().filter(|stored| read.span().contains(&stored.object.key));
        match read {
            SpanRead::Range { limit, .. } => {
                let is_visible = |stored: &&Arc<Stored>| stored.object.value.is_some() || stored.lock().is_some();
                SpanResult::Entries(within.filter(is_visible).take(*limit as usize).cloned().collect())
            }
            SpanRead::Count(_) => SpanResult::Count(within.count() as u64),
        }
    }

    /// Whether a write would be applied.
    pub(super) fn accepts(&self, write: &Write) -> bool {
        let version = self.objects.get(write.key()).map(|stored| &stored.version);
        match write.change() {
            Change::Create(_) => version.is_none(),
            Change::Delete(_) if self.unguarded_deletes => version.is_some(),
            Change::Replace(_, expected) | Change::Delete(expected) => version == Some(expected),
        }
    }

    pub(super) fn write(&mut self, write: &Write) -> Answer {
        if !self.accepts(write) {
            return Answer::Conflict;
        }
        let key = write.key();
        match write.change() {
            Change::Create(object) => {
                let uid = Uid::new(&self.unique("uid:", key));
                self.store(object.clone(), uid)
            }
            Change::Replace(object, Version { uid, .. }) => match self.get(key) {
                // The API server does not store an object that has not changed.
                Some(same) if same.object == *object => Answer::Seen(Some(same)),
                _ => self.store(object.clone(), uid.clone()),
            },
            Change::Delete(_) => {
                self.remember(key);
                self.objects.remove(key);
                Answer::Seen(None)
            }
        }
    }

    /// Somebody changes the metadata of an object.
    pub(super) fn touch(&mut self, key: &Key) {
        if let Some(stored) = self.get(key) {
            self.store(stored.object.clone(), stored.version.uid.clone());
        }
    }

    fn store(&mut self, object: Object, uid: Uid) -> Answer {
        let key = object.key.clone();
        self.remember(&key);
        let resource_version = self.unique("rv:", &key);
        let stored = Arc::new(Stored { object, version: Version { uid, resource_version } });
        self.objects.insert(key, Arc::clone(&stored));
        Answer::Seen(Some(stored))
    }

    fn remember(&mut self, key: &Key) {
        self.before.insert(key.clone(), self.get(key));
    }

    fn unique(&mut self, what: &str, key: &Key) -> String {
        self.changes += 1;
        format!("{what}{key}:{}", self.changes)
    }
}
