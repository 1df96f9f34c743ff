//! The rules of watches. The caller limits the time: a store that loses a change lets a check wait for ever.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::{Violation, entry, key, put, run, same, write};
use crate::store::{
    Before, Change, Entry, Freshness, Key, KeyChange, KeySpan, Op, Position, Revision, Store, Update, Value, Watch,
};

/// What a watch has shown so far.
#[derive(Debug)]
pub struct Replay {
    watch: Watch,
    entries: BTreeMap<Key, (Value, Revision)>,
    /// The entries since the start or a gap, until they are complete.
    listed: Option<Vec<Entry>>,
    position: Option<Position>,
    /// The gaps so far.
    pub gaps: usize,
    /// The changes so far.
    pub changes: usize,
}

impl Replay {
    /// Starts from a watch that begins with the entries.
    pub fn new(watch: Watch) -> Self {
        Self { watch, entries: BTreeMap::new(), listed: Some(Vec::new()), position: None, gaps: 0, changes: 0 }
    }

    /// Waits for an update, and checks that it continues what was shown before.
    pub async fn advance(&mut self) -> Result<(), Violation> {
        match self.watch.next().await? {
            Update::Entries(entries) => match &mut self.listed {
                Some(listed) => listed.extend(entries),
                None => return same("entries come only at the start or after a gap", &Vec::new(), &entries),
            },
            Update::Listed(position) => self.list(position)?,
            Update::Changes { changes, position } => {
                same("changes come after the entries", &true, &self.listed.is_none())?;
                same("there is at least one change", &false, &changes.is_empty())?;
                changes.into_iter().try_for_each(|change| self.change(change))?;
                self.position = Some(position);
            }
            Update::Resumed => {}
            Update::Gap => {
                self.gaps += 1;
                self.listed = Some(Vec::new());
            }
        }
        Ok(())
    }

    fn list(&mut self, position: Position) -> Result<(), Violation> {
        let listed = self.listed.take().unwrap_or_default();
        let keys: Vec<&Key> = listed.iter().map(|entry| &entry.key).collect();
        same("entries are in the order of keys, each once", &true, &keys.is_sorted_by(|one, next| one < next))?;
        self.entries = listed.into_iter().map(|Entry { key, value, revision }| (key, (value, revision))).collect();
        self.position = Some(position);
        Ok(())
    }

    fn change(&mut self, KeyChange { key, before, change: Change { at, value } }: KeyChange) -> Result<(), Violation> {
        self.changes += 1;
        let known = self.entries.get(&key);
        let expected = known.map_or(Before::Absent, |(value, _)| Before::Value(value.clone()));
        if before != Before::Unknown {
            same("a change begins with what was shown before", &(&key, &expected), &(&key, &before))?;
        }
        let is_new = known.is_none_or(|(_, revision)| *revision != at);
        same("no change comes twice", &(&key, true), &(&key, is_new))?;
        match value {
            Some(value) => drop(self.entries.insert(key, (value, at))),
            None => drop(self.entries.remove(&key)),
        }
        Ok(())
    }

    /// Advances until the watch has shown this key.
    pub async fn until_shown(&mut self, wanted: &Key) -> Result<(), Violation> {
        while self.listed.is_some() || !self.entries.contains_key(wanted) {
            self.advance().await?;
        }
        Ok(())
    }

    /// Checks that the watch has shown what the store has now.
    pub async fn is_current(&self, store: &impl Store, span: &KeySpan) -> Result<(), Violation> {
        let all = Op::Range { span: span.clone(), limit: u32::MAX, keys_only: false, freshness: Freshness::Exact };
        let responses = run(store, vec![], vec![all], vec![]).await?.branch.responses;
        let shown = self.entries.iter().map(|(key, (value, revision))| entry(key.as_str(), value.clone(), *revision));
        let shown = vec![crate::store::OpResponse::Entries(shown.collect())];
        same("entries and changes add up to what the store has", &responses, &shown)
    }
}

/// Which revision a watch gives the deletion of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deletions {
    /// That of its transaction.
    HaveRevisions,
    /// Another one, if the transaction has left nothing.
    LeaveNothing,
}

/// Checks every rule that one client can observe. The store must be empty below `conformance/`.
pub async fn check(store: &impl Store) -> Result<(), Violation> {
    check_with(store, Deletions::HaveRevisions).await
}

/// The same for a store that keeps nothing of a deletion, not even its revision.
pub async fn check_without_deletions(store: &impl Store) -> Result<(), Violation> {
    check_with(store, Deletions::LeaveNothing).await
}

async fn check_with(store: &impl Store, deletions: Deletions) -> Result<(), Violation> {
    entries_come_first(store).await?;
    changes_follow(store, deletions).await?;
    a_transaction_is_one_change(store).await?;
    a_watch_continues_at_a_position(store).await?;
    a_slow_reader_misses_nothing(store).await?;
    a_dropped_future_loses_nothing(store).await
}

async fn delete(store: &impl Store, text: &str) -> Result<Revision, Violation> {
    Ok(run(store, vec![], vec![Op::Delete(key(text))], vec![]).await?.at)
}

/// A watch of a span that has no entries yet, after its start.
async fn started(store: &impl Store, span: &KeySpan) -> Result<Watch, Violation> {
    let mut watch = store.changes(span, None);
    match watch.next().await? {
        Update::Listed(_) => Ok(watch),
        other => Err(Violation::Broken {
            rule: "a watch of an empty span starts with the end of its entries",
            expected: "Listed".to_owned(),
            got: format!("{other:?}"),
        }),
    }
}

/// The next changes, and the position after them.
async fn next_changes(watch: &mut Watch) -> Result<(Vec<KeyChange>, Position), Violation> {
    match watch.next().await? {
        Update::Changes { changes, position } => Ok((changes, position)),
        other => Err(Violation::Broken {
            rule: "a change is passed on",
            expected: "Changes".to_owned(),
            got: format!("{other:?}"),
        }),
    }
}

fn change(text: &str, before: Before, at: Revision, value: Option<&str>) -> KeyChange {
    let value = value.map(|value| value.as_bytes().to_vec());
    KeyChange { key: key(text), before, change: Change { at, value } }
}

/// The change without what was before it, if the store does not know that.
fn as_known(expected: KeyChange, got: &KeyChange) -> KeyChange {
    if got.before == Before::Unknown { KeyChange { before: Before::Unknown, ..expected } } else { expected }
}

async fn entries_come_first(store: &impl Store) -> Result<(), Violation> {
    let span = KeySpan::prefix("conformance/watch/first/");
    let names = ["a", "b", "b/c", "é"].map(|name| format!("conformance/watch/first/{name}"));
    // The neighbours are just outside of the span.
    let others = ["conformance/watch/first", "conformance/watch/first0"];
    let puts = names.iter().map(String::as_str).chain(others).map(|name| put(name, name)).collect();
    run(store, vec![], puts, vec![]).await?;
    let mut replay = Replay::new(store.changes(&span, None));
    while replay.position.is_none() {
        replay.advance().await?;
    }
    same("a watch starts with each entry of its span", &names.len(), &replay.entries.len())?;
    replay.is_current(store, &span).await
}

async fn changes_follow(store: &impl Store, deletions: Deletions) -> Result<(), Violation> {
    let span = KeySpan::prefix("conformance/watch/follow/");
    let k = "conformance/watch/follow/k";
    let mut watch = started(store, &span).await?;
    let had = |value: &str| Before::Value(value.as_bytes().to_vec());
    let mut revisions = HashSet::new();
    for (before, value) in [
        (Before::Absent, Some("1")),
        (had("1"), Some("2")),
        // The same value again is a write of its own.
        (had("2"), Some("2")),
        (had("2"), None),
        (Before::Absent, Some("3")),
    ] {
        write(store, "conformance/watch/other", "unseen").await?;
        let at = match value {
            Some(value) => write(store, k, value).await?,
            None => delete(store, k).await?,
        };
        let (changes, _) = next_changes(&mut watch).await?;
        let is_any = value.is_none() && deletions == Deletions::LeaveNothing;
        let at = changes.first().map_or(at, |got| if is_any { got.change.at } else { at });
        let expected: Vec<_> =
            changes.iter().take(1).map(|got| as_known(change(k, before.clone(), at, value), got)).collect();
        same("each change is passed on once, with its revision", &expected, &changes)?;
        same("no two changes have one revision", &true, &revisions.insert(at))?;
    }
    Ok(())
}

async fn a_transaction_is_one_change(store: &impl Store) -> Result<(), Violation> {
    let span = KeySpan::prefix("conformance/watch/txn/");
    let [a, b, c] = ["a", "b", "c"].map(|name| format!("conformance/watch/txn/{name}"));
    let mut watch = started(store, &span).await?;
    let before = write(store, &c, "0").await?;
    next_changes(&mut watch).await?;
    let then = vec![put(&a, "1"), put("conformance/watch/other", "unseen"), Op::Delete(key(&c)), put(&b, "1")];
    let at = run(store, vec![], then, vec![]).await?.at;
    let mut shown = Vec::new();
    while shown.len() < 3 {
        shown.extend(next_changes(&mut watch).await?.0);
    }
    shown.sort_by(|one: &KeyChange, other| one.key.cmp(&other.key));
    let revisions: Vec<_> = shown.iter().map(|change| (change.key.as_str(), change.change.at)).collect();
    let expected = vec![(a.as_str(), at), (b.as_str(), at), (c.as_str(), at)];
    same("what a transaction writes has its revision", &expected, &revisions)?;
    same("it is a later one", &true, &(at != before))
}

async fn a_watch_continues_at_a_position(store: &impl Store) -> Result<(), Violation> {
    let span = KeySpan::prefix("conformance/watch/resume/");
    let [a, b, c] = ["a", "b", "c"].map(|name| format!("conformance/watch/resume/{name}"));
    let mut watch = started(store, &span).await?;
    write(store, &a, "1").await?;
    let (_, early) = next_changes(&mut watch).await?;
    let at_b = write(store, &b, "1").await?;
    let (_, late) = next_changes(&mut watch).await?;
    drop(watch);
    // A store without a history can't tell what came after an earlier position, and has to say so.
    let mut earlier = store.changes(&span, Some(early));
    match earlier.next().await? {
        Update::Gap => {
            let mut replay = Replay::new(earlier);
            replay.until_shown(&key(&b)).await?;
            replay.is_current(store, &span).await?;
        }
        Update::Changes { changes, .. } => {
            same("a watch continues after its position", &vec![change(&b, Before::Absent, at_b, Some("1"))], &changes)?;
        }
        other => same("a watch continues after its position, or says that it can't", &Update::Gap, &other)?,
    }
    // Nothing has happened since: either nothing comes before the next change, or all that there is.
    let mut latest = store.changes(&span, Some(late));
    poll_once(&mut latest)?;
    let at_c = write(store, &c, "1").await?;
    match latest.next().await? {
        Update::Changes { changes, .. } => {
            same("and shows nothing from before it", &vec![change(&c, Before::Absent, at_c, Some("1"))], &changes)
        }
        Update::Gap => Replay::new(latest).until_shown(&key(&c)).await,
        other => same("a watch continues after its position, or says that it can't", &Update::Gap, &other),
    }
}

async fn a_slow_reader_misses_nothing(store: &impl Store) -> Result<(), Violation> {
    let span = KeySpan::prefix("conformance/watch/slow/");
    let name = |i: usize| format!("conformance/watch/slow/{}", i % 7);
    let mut replay = Replay::new(store.changes(&span, None));
    replay.advance().await?;
    for i in 0..400 {
        match i % 5 {
            4 => drop(delete(store, &name(i)).await?),
            _ => drop(write(store, &name(i), &i.to_string()).await?),
        }
    }
    write(store, "conformance/watch/slow/end", "").await?;
    replay.until_shown(&key("conformance/watch/slow/end")).await?;
    replay.is_current(store, &span).await
}

async fn a_dropped_future_loses_nothing(store: &impl Store) -> Result<(), Violation> {
    let span = KeySpan::prefix("conformance/watch/dropped/");
    let k = "conformance/watch/dropped/k";
    let mut watch = started(store, &span).await?;
    for _ in 0..3 {
        poll_once(&mut watch)?;
    }
    let at = write(store, k, "1").await?;
    let (changes, _) = next_changes(&mut watch).await?;
    let expected: Vec<_> =
        changes.iter().take(1).map(|got| as_known(change(k, Before::Absent, at, Some("1")), got)).collect();
    same("a future that was dropped loses no change", &expected, &changes)
}

/// Begins to wait for an update, and drops the future.
fn poll_once(watch: &mut Watch) -> Result<(), Violation> {
    match pin!(watch.next()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(update) => same("without a change, a watch waits", &None, &Some(update?)),
        Poll::Pending => Ok(()),
    }
}
