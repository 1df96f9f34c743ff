//! Ranges and counts of a transaction.
//!
//! A range is one list, and so one state of its span by itself. A lock in it is read through, as of the moment of the
//! list: it counts as committed if its primary said so before the list was sent, and as open if its primary still has
//! the transaction's lock afterwards. In any other case, the list is sent again, now with what is known about the lock.
//!
//! A hint is one list, and takes locks as they are: it shows the value as it was, or a key without a value.
//!
//! A count is one list of metadata, which shows no locks. It also counts keys that are being created or deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::api::{Answer, Request, Seen, SpanRead, SpanResult, Stored};
use super::object::{Lock, TxnId, Uid, Versioned};
use super::resolve::{Verdict, verdict};
use super::rules::{Rule, Rules};
use super::step::{Finished, Reads, Step};
use super::view::foreign_lock;
use crate::store::{Entry, Freshness, Key, KeySpan, StoreError, Value};

/// Reads spans.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spans {
    rules: Rules,
    /// What the transaction wants.
    wanted: Vec<SpanRead>,
    /// What is asked for: more, if a list has objects that are no entries.
    reads: Vec<SpanRead>,
    results: Vec<SpanResult>,
    /// Whether the transactions of these locks had committed, before the list was sent.
    known: BTreeMap<LockId, bool>,
    /// The primaries of the other locks in the list, as they were read after it.
    primaries: BTreeMap<Key, Seen>,
    phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    List,
    ReadPrimaries(Reads, Option<StoreError>),
}

/// One lock on one object.
type LockId = (Key, Uid, TxnId);

impl Spans {
    /// Begins.
    pub(super) fn start(reads: Vec<SpanRead>, rules: Rules) -> (Self, Step<Finished<()>>) {
        let (known, primaries) = (BTreeMap::new(), BTreeMap::new());
        let wanted = reads.clone();
        let mut spans = Self { rules, wanted, reads, results: Vec::new(), known, primaries, phase: Phase::List };
        let step = spans.list();
        (spans, step)
    }

    pub(super) fn answer(&mut self, key: &Key, answer: Answer) -> Step<Finished<()>> {
        match &mut self.phase {
            Phase::List => match answer.into_spans() {
                Ok(results) => {
                    self.results = results;
                    self.read_primaries()
                }
                Err(error) => Step::Done(Err(error)),
            },
            Phase::ReadPrimaries(reads, failed) => {
                let is_last = reads.answered(key);
                match answer.into_seen(key) {
                    Ok(seen) => {
                        self.primaries.insert(key.clone(), seen);
                    }
                    Err(error) => *failed = Some(error),
                }
                match (is_last, failed.take()) {
                    (true, Some(error)) => Step::Done(Err(error)),
                    (true, None) => self.judge(),
                    (false, error) => {
                        *failed = error;
                        Step::Wait
                    }
                }
            }
        }
    }

    /// The entries of a span, if it was read.
    pub(super) fn entries(&self, span: &KeySpan) -> Option<Vec<Entry>> {
        self.reads.iter().zip(&self.results).find_map(|(read, result)| match (read, result) {
            (SpanRead::Range { span: of, freshness, .. }, SpanResult::Entries(listed)) if of == span => {
                Some(listed.iter().filter_map(|stored| self.entry(stored, *freshness)).collect())
            }
            _ => None,
        })
    }

    /// The number of keys of a span, if it was counted.
    pub(super) fn count(&self, span: &KeySpan) -> Option<u64> {
        self.reads.iter().zip(&self.results).find_map(|(read, result)| match (read, result) {
            (SpanRead::Count(of), SpanResult::Count(count)) if of == span => Some(*count),
            _ => None,
        })
    }

    /// Whether this is what a transaction wants.
    pub(super) fn has(&self, wanted: &[SpanRead]) -> bool {
        self.wanted == wanted
    }

    fn entry(&self, stored: &Arc<Stored>, freshness: Freshness) -> Option<Entry> {
        let is_committed = |lock| self.known.get(&id(stored, lock)).is_some_and(|committed| *committed);
        let value = || stored.object.value.clone();
        let value = match (freshness, foreign_lock(stored)) {
            (Freshness::Exact, Some(lock)) if is_committed(lock) => stored.object.unlocked(true)?.value,
            (Freshness::Hint, _) if self.rules.keep(Rule::LockedInHint) => {
                let locked = |lock: &Lock| Versioned { value: Value::new(), revision: lock.txn.revision() };
                value().or_else(|| stored.lock().map(locked))
            }
            _ => value(),
        };
        value.map(|value| Entry { key: stored.object.key.clone(), value: value.value, revision: value.revision })
    }

    fn list(&mut self) -> Step<Finished<()>> {
        self.phase = Phase::List;
        let reads = self.reads.clone();
        match reads.first() {
            Some(first) => Step::Send(vec![Request::Spans { key: first.span().from.clone(), reads }]),
            None => Step::Done(Ok(())),
        }
    }

    /// Asks for more, if a list has reached its limit with too few entries.
    fn end(&mut self) -> Step<Finished<()>> {
        let mut is_short = false;
        let limits: Vec<Option<u32>> = self
            .wanted
            .iter()
            .zip(&self.reads)
            .zip(&self.results)
            .map(|((wanted, read), result)| {
                let (
                    SpanRead::Range { limit: wanted, .. },
                    SpanRead::Range { limit, freshness, .. },
                    SpanResult::Entries(listed),
                ) = (wanted, read, result)
                else {
                    return None;
                };
                let entries = listed.iter().filter(|stored| self.entry(stored, *freshness).is_some()).count();
                (listed.len() >= *limit as usize && entries < *wanted as usize).then(|| limit.saturating_mul(2))
            })
            .collect();
        for (read, more) in self.reads.iter_mut().zip(limits) {
            if let (SpanRead::Range { limit, .. }, Some(more)) = (read, more) {
                (*limit, is_short) = (more, true);
            }
        }
        if is_short { self.list() } else { Step::Done(Ok(())) }
    }

    /// The locks in the exact lists, with their objects.
    fn locks(&self) -> impl Iterator<Item = (&Arc<Stored>, &Lock)> {
        let listed = self.reads.iter().zip(&self.results).flat_map(|(read, result)| match (read, result) {
            (SpanRead::Range { freshness: Freshness::Exact, .. }, SpanResult::Entries(listed)) => listed.as_slice(),
            _ => &[],
        });
        listed.filter_map(|stored| Some((stored, foreign_lock(stored)?)))
    }

    fn read_primaries(&mut self) -> Step<Finished<()>> {
        let unknown = self.locks().filter(|(stored, lock)| !self.known.contains_key(&id(stored, lock)));
        let primaries: BTreeSet<Key> = unknown.map(|(_, lock)| lock.primary.clone()).collect();
        if primaries.is_empty() {
            return self.end();
        }
        self.primaries.clear();
        let (reads, step) = Reads::send(primaries);
        self.phase = Phase::ReadPrimaries(reads, None);
        step
    }

    fn judge(&mut self) -> Step<Finished<()>> {
        let judged = self.locks().filter_map(|(stored, lock)| {
            let id = id(stored, lock);
            let is_known = self.known.contains_key(&id);
            let primary = self.primaries.get(&lock.primary).filter(|_| !is_known)?;
            match verdict(stored, lock, primary, self.rules) {
                Verdict::Open(_) => None,
                verdict => Some((id, verdict == Verdict::Committed)),
            }
        });
        let judged: Vec<(LockId, bool)> = judged.collect();
        let is_done = judged.is_empty() || !self.rules.keep(Rule::ListAgain);
        self.known.extend(judged);
        if is_done { self.end() } else { self.list() }
    }
}

fn id(stored: &Stored, lock: &Lock) -> LockId {
    (stored.object.key.clone(), stored.version.uid.clone(), lock.txn)
}
