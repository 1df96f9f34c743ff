//! What a transaction needs to read, and what the path through it locks and writes.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use super::api::SpanRead;
use super::attempt::Member;
use super::object::{Then, TxnId, Versioned};
use super::rules::{Rule, Rules};
use super::view::View;
use crate::store::entries::{self, Entries};
use crate::store::txn_path::TxnPath;
use crate::store::{Entry, Guard, Key, KeySpan, Op, Outcome, Revision, Txn, Value};

/// The keys that must be read to go on along the path: guards, and what operations name. Guards are expected to hold, so
/// the keys of both are read at once. So are alternatives that are tried one after the other, if the first one fails.
pub(super) fn unread(txn: &Txn, view: &View) -> BTreeSet<Key> {
    let mut unread = BTreeSet::new();
    collect_unread(txn, view, &mut unread);
    unread
}

fn collect_unread(txn: &Txn, view: &View, unread: &mut BTreeSet<Key>) {
    let guards = txn.when().iter().filter(|guard| view.get(guard.key()).is_none());
    unread.extend(guards.map(|guard| guard.key().clone()));
    let succeeded = txn.when().iter().all(|guard| holds(view, guard));
    if !succeeded {
        alternatives(txn).for_each(|alternative| collect_guards(alternative, view, unread));
    }
    let operations = if succeeded { txn.then() } else { txn.otherwise() };
    for op in operations {
        match op {
            Op::Put(key, _) | Op::Delete(key) | Op::Get(key) if view.get(key).is_none() => {
                unread.insert(key.clone());
            }
            Op::Txn(inner) => collect_unread(inner, view, unread),
            Op::Put(..) | Op::Delete(_) | Op::Get(_) | Op::Range { .. } | Op::Count(_) => {}
        }
    }
}

/// The transactions that are tried if this one fails: its only operation then, and so on.
fn alternatives(txn: &Txn) -> impl Iterator<Item = &Txn> {
    std::iter::successors(Some(txn), |txn| match txn.otherwise() {
        [Op::Txn(next)] => Some(next.as_ref()),
        _ => None,
    })
    .skip(1)
}

/// The guards of a level that were not read, unless it is known to fail.
fn collect_guards(txn: &Txn, view: &View, unread: &mut BTreeSet<Key>) {
    if !is_refused(txn, view) {
        let guards = txn.when().iter().filter(|guard| view.get(guard.key()).is_none());
        unread.extend(guards.map(|guard| guard.key().clone()));
    }
}

/// Whether it is known that the guards of the first level don't hold.
pub(super) fn is_refused(txn: &Txn, view: &View) -> bool {
    txn.when().iter().any(|guard| view.get(guard.key()).is_some() && !holds(view, guard))
}

/// The keys that a transaction presumes to be absent. Creating their objects shows whether they were. If others must be
/// read first, only the primary is presumed: reading the rest at the same time takes no longer, and spares a lock on the
/// primary if one of them exists.
pub(super) fn presumably_absent(txn: &Txn, rules: Rules) -> BTreeSet<Key> {
    let absent = |guard: &Guard| matches!(guard, Guard::Absent(_)).then(|| guard.key().clone());
    let all: BTreeSet<Key> = txn.when().iter().filter_map(absent).collect();
    let presuming = View::presuming(all.clone(), rules);
    if unread(txn, &presuming).is_empty() {
        return all;
    }
    let primary = primary_and_others(members(txn, &presuming, rules), &presuming).map(|(primary, _)| primary.key);
    all.into_iter().filter(|key| Some(key) == primary.as_ref()).collect()
}

/// Whether a guard must still hold at the commit.
fn must_last(guard: &Guard) -> bool {
    match guard {
        Guard::Absent(_) | Guard::Unchanged(..) => true,
        Guard::WasAbsent(_) | Guard::WasUnchanged(..) => false,
    }
}

/// Whether a guard holds, as it is expected to if its key was not read.
fn holds(view: &View, guard: &Guard) -> bool {
    let revision = view.value(guard.key()).map(|value| value.revision);
    match guard {
        Guard::Absent(_) | Guard::WasAbsent(_) => revision.is_none(),
        Guard::Unchanged(key, expected) | Guard::WasUnchanged(key, expected) => {
            view.get(key).is_none() || revision == Some(*expected)
        }
    }
}

/// The keys that the path needs unchanged up to its commit, with what it does to them. Empty if it writes nothing.
pub(super) fn members(txn: &Txn, view: &View, rules: Rules) -> BTreeMap<Key, Then> {
    let Ok(path) = TxnPath::resolve(txn, &mut |guard| Ok::<_, Infallible>(holds(view, guard)));
    let mut members = BTreeMap::new();
    collect(txn, &path, rules, &mut members);
    for (key, then) in &mut members {
        // Nothing is deleted, but the transaction depends on that.
        if *then == Then::Delete && view.value(key).is_none() {
            *then = Then::Keep;
        }
    }
    if members.values().all(|then| *then == Then::Keep) { BTreeMap::new() } else { members }
}

fn collect(txn: &Txn, path: &TxnPath<'_>, rules: Rules, members: &mut BTreeMap<Key, Then>) {
    let mut depend = |key: &Key| {
        members.entry(key.clone()).or_insert(Then::Keep);
    };
    // A failed guard is not locked: what the path writes depends on those that hold.
    if path.succeeded() && rules.keep(Rule::GuardsLocked) {
        txn.when().iter().filter(|guard| must_last(guard)).map(Guard::key).for_each(&mut depend);
    }
    for (op, inner) in path.steps() {
        match (op, inner) {
            (Op::Put(key, value), _) => {
                members.insert(key.clone(), Then::Put(value.clone()));
            }
            (Op::Delete(key), _) => {
                members.insert(key.clone(), Then::Delete);
            }
            (Op::Get(key), _) if rules.keep(Rule::ReadsLocked) => {
                members.entry(key.clone()).or_insert(Then::Keep);
            }
            (Op::Txn(txn), Some(path)) => collect(txn, path, rules, members),
            (Op::Get(_) | Op::Range { .. } | Op::Count(_) | Op::Txn(_), _) => {}
        }
    }
}

/// The spans that the path reads, each once.
pub(super) fn spans(txn: &Txn, view: &View) -> Vec<SpanRead> {
    let Ok(path) = TxnPath::resolve(txn, &mut |guard| Ok::<_, Infallible>(holds(view, guard)));
    let mut reads = Vec::new();
    let deletes = collect_spans(&path, &mut reads);
    for read in &mut reads {
        // What the transaction deletes first is in the list, and not in the result.
        if let SpanRead::Range { limit, .. } = read {
            *limit = limit.saturating_add(deletes);
        }
    }
    // Of two ranges over one span, the longer one serves both. It is exact if one of them is.
    reads.sort_by(|one, other| other.cmp(one));
    reads.dedup_by(|next, kept| match (next, kept) {
        (SpanRead::Range { span, freshness: also, .. }, SpanRead::Range { span: longer, freshness, .. })
            if span == longer =>
        {
            *freshness = (*freshness).min(*also);
            true
        }
        (next, kept) => next == kept,
    });
    reads
}

/// Returns the number of deletes along the path.
fn collect_spans(path: &TxnPath<'_>, reads: &mut Vec<SpanRead>) -> u32 {
    let mut deletes = 0;
    for (op, inner) in path.steps() {
        match (op, inner) {
            (Op::Range { span, limit, freshness, .. }, _) => {
                reads.push(SpanRead::Range { span: span.clone(), limit: *limit, freshness: *freshness });
            }
            (Op::Count(span), _) => reads.push(SpanRead::Count(span.clone())),
            (Op::Delete(_), _) => deletes += 1,
            (Op::Txn(_), Some(path)) => deletes += collect_spans(path, reads),
            (Op::Put(..) | Op::Get(_) | Op::Txn(_), _) => {}
        }
    }
    deletes
}

/// The members with what was seen of them, the primary first: the first key that is written. In an ADD and a DEL, this
/// is the attachment.
pub(super) fn primary_and_others(members: BTreeMap<Key, Then>, view: &View) -> Option<(Member, Vec<Member>)> {
    let seen = |key: &Key| view.get(key).cloned().flatten();
    let mut all: Vec<Member> = members.into_iter().map(|(key, then)| Member { seen: seen(&key), key, then }).collect();
    let primary = all.iter().position(|member| member.then != Then::Keep)?;
    Some((all.remove(primary), all))
}

/// The outcome of the transaction on what was read.
pub(super) fn outcome(txn: &Txn, view: &View, id: TxnId) -> Outcome {
    let mut effects = Effects { view, written: BTreeMap::new() };
    entries::run(txn, &mut effects, id.revision(), id.revision())
}

/// What was read, below what the transaction has written so far.
struct Effects<'a> {
    view: &'a View,
    written: BTreeMap<Key, Option<Versioned>>,
}

impl Effects<'_> {
    fn value(&self, key: &Key) -> Option<Versioned> {
        self.written.get(key).cloned().unwrap_or_else(|| self.view.value(key))
    }
}

impl Entries for Effects<'_> {
    fn get(&self, key: &Key) -> Option<Entry> {
        let Versioned { value, revision } = self.value(key)?;
        Some(Entry { key: key.clone(), value, revision })
    }

    fn revision(&self, key: &Key) -> Option<Revision> {
        self.value(key).map(|value| value.revision)
    }

    fn range(&self, span: &KeySpan) -> impl Iterator<Item = Entry> {
        let listed = self.view.spans().and_then(|spans| spans.entries(span)).unwrap_or_default();
        let mut entries: BTreeMap<Key, Entry> = listed.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
        for (key, value) in self.written.iter().filter(|(key, _)| span.contains(key)) {
            match value.clone() {
                Some(Versioned { value, revision }) => {
                    entries.insert(key.clone(), Entry { key: key.clone(), value, revision });
                }
                None => {
                    entries.remove(key);
                }
            }
        }
        entries.into_values()
    }

    fn count(&self, span: &KeySpan) -> u64 {
        let counted = self.view.spans().and_then(|spans| spans.count(span)).unwrap_or_default();
        let written = || self.written.iter().filter(|(key, _)| span.contains(key));
        let existed = |key: &Key| self.view.value(key).is_some();
        let created = written().filter(|(key, value)| value.is_some() && !existed(key)).count() as u64;
        let deleted = written().filter(|(key, value)| value.is_none() && existed(key)).count() as u64;
        (counted + created).saturating_sub(deleted)
    }

    fn put(&mut self, key: &Key, value: &Value, revision: Revision) {
        self.written.insert(key.clone(), Some(Versioned { value: value.clone(), revision }));
    }

    fn delete(&mut self, key: &Key) -> bool {
        let existed = self.value(key).is_some();
        self.written.insert(key.clone(), None);
        existed
    }
}
