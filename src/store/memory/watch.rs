//! Watches of a store in memory: each has a queue, which the commits fill.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc::{self, Receiver, Sender};

use super::{MemoryMap, State, lock};
use crate::store::entries::Entries;
use crate::store::{Before, Change, Entry, Key, KeyChange, KeySpan, Position, Revision, Update, Value};

/// How many transactions a watch may be behind. After that, it has a gap.
const QUEUE: usize = 256;

/// The queue of a watch.
#[derive(Debug)]
pub(super) struct Queue {
    span: KeySpan,
    updates: Sender<Update>,
}

impl Queue {
    /// Adds what a transaction changed. Returns whether the watch continues.
    pub(super) fn push(&self, changes: &[KeyChange], at: Revision) -> bool {
        let changes: Vec<_> = changes.iter().filter(|change| self.span.contains(&change.key)).cloned().collect();
        if changes.is_empty() {
            return !self.updates.is_closed();
        }
        self.updates.try_send(Update::Changes { changes, position: at.into() }).is_ok()
    }
}

/// A watch of a span in memory.
#[derive(Debug)]
pub(in crate::store) struct MemoryWatch {
    state: Arc<Mutex<State>>,
    span: KeySpan,
    /// Where it continues; `None` if it starts with the entries.
    after: Option<Position>,
    ready: VecDeque<Update>,
    queue: Option<Receiver<Update>>,
}

impl MemoryWatch {
    pub(super) fn new(state: Arc<Mutex<State>>, span: KeySpan, after: Option<Position>) -> Self {
        Self { state, span, after, ready: VecDeque::new(), queue: None }
    }

    pub(in crate::store) async fn next(&mut self) -> Update {
        loop {
            if let Some(update) = self.ready.pop_front() {
                return update;
            }
            match &mut self.queue {
                None => self.start(),
                Some(queue) => match queue.recv().await {
                    Some(update) => return update,
                    // The queue was full.
                    None => {
                        self.queue = None;
                        self.ready.push_back(Update::Gap);
                    }
                },
            }
        }
    }

    /// Joins the watches of the store. No commit comes between the entries and the queue.
    fn start(&mut self) {
        let mut state = lock(&self.state);
        let (updates, queue) = mpsc::channel(QUEUE);
        let position = Position::from(Revision(state.map.revision));
        // Earlier changes are not kept.
        let is_gap = self.after.take().map(|after| after != position);
        if is_gap == Some(true) {
            self.ready.push_back(Update::Gap);
        }
        if is_gap != Some(false) {
            let entries: Vec<Entry> = state.map.range(&self.span).collect();
            let entries = Some(entries).filter(|entries| !entries.is_empty()).map(Update::Entries);
            self.ready.extend(entries.into_iter().chain([Update::Listed(position)]));
        }
        state.queues.push(Queue { span: self.span.clone(), updates });
        self.queue = Some(queue);
    }
}

/// A map that keeps a list of its changes.
pub(super) struct Recorder<'a> {
    pub(super) map: &'a mut MemoryMap,
    pub(super) changes: Vec<KeyChange>,
    /// The revision of its deletions.
    pub(super) next: Revision,
}

impl Recorder<'_> {
    fn record(&mut self, key: &Key, value: Option<Value>) {
        let before = self.map.get(key).map_or(Before::Absent, |entry| Before::Value(entry.value));
        self.changes.push(KeyChange { key: key.clone(), before, change: Change { at: self.next, value } });
    }
}

impl Entries for Recorder<'_> {
    fn get(&self, key: &Key) -> Option<Entry> {
        self.map.get(key)
    }

    fn revision(&self, key: &Key) -> Option<Revision> {
        self.map.revision(key)
    }

    fn range(&self, span: &KeySpan) -> impl Iterator<Item = Entry> {
        self.map.range(span)
    }

    fn count(&self, span: &KeySpan) -> u64 {
        self.map.count(span)
    }

    fn put(&mut self, key: &Key, value: &Value, revision: Revision) {
        self.record(key, Some(value.clone()));
        self.map.put(key, value, revision);
    }

    fn delete(&mut self, key: &Key) -> bool {
        let exists = self.revision(key).is_some();
        if exists {
            self.record(key, None);
            self.map.delete(key);
        }
        exists
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::deadline::Deadline;
    use crate::store::conformance::watch::{self, Replay};
    use crate::store::{MemoryStore, Op, Overlay, Store, Txn};

    const MINUTE: Duration = Duration::from_secs(60);

    async fn put(store: &impl Store, key: &str) {
        let txn = Txn::new(vec![], vec![Op::Put(Key::new(key), b"{}".to_vec())], vec![]).unwrap();
        store.commit(&txn, Deadline::after(MINUTE)).await.unwrap();
    }

    #[tokio::test]
    async fn its_watches_keep_the_rules() {
        timeout(MINUTE, watch::check(&MemoryStore::new())).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_watch_that_is_too_far_behind_has_one_gap_and_starts_again() {
        let store = MemoryStore::new();
        let span = KeySpan::prefix("k/");
        let mut replay = Replay::new(store.changes(&span, None));
        replay.advance().await.unwrap();
        for i in 0..=QUEUE {
            put(&store, &format!("k/{i}")).await;
        }
        put(&store, "k/end").await;
        timeout(MINUTE, replay.until_shown(&Key::new("k/end"))).await.unwrap().unwrap();
        assert_eq!((replay.gaps, replay.changes), (1, QUEUE));
        replay.is_current(&store, &span).await.unwrap();
    }

    #[tokio::test]
    async fn a_watch_that_was_dropped_leaves_nothing_behind() {
        let store = MemoryStore::new();
        let mut watch = store.changes(&KeySpan::prefix("k/"), None);
        watch.next().await.unwrap();
        assert_eq!(lock(&store.state).queues.len(), 1);
        drop(watch);
        // It is outside of the span.
        put(&store, "l").await;
        assert!(lock(&store.state).queues.is_empty());
    }

    #[tokio::test]
    async fn an_overlay_shows_the_changes_of_its_base_alone() {
        let overlay = Overlay::new(MemoryStore::new());
        let mut watch = overlay.changes(&KeySpan::prefix("k/"), None);
        assert!(matches!(watch.next().await, Ok(Update::Listed(_))));
        put(&overlay, "k/own").await;
        assert!(timeout(Duration::ZERO, watch.next()).await.is_err());
    }
}
