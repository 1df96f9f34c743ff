//! What a transaction may see of another moment than that of its commit: guards that are only read, and hints.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::rc::Rc;

use super::actor::{Actor, ClientState};
use super::world::World;
use crate::store::entries::Entries;
use crate::store::kubernetes::object::TxnId;
use crate::store::{Branch, Entry, Freshness, Guard, Key, KeySpan, MemoryMap, Op, OpResponse, Txn, Value};

/// Whether the transaction may see a key at another moment.
pub(super) fn may_see(txn: &Txn, key: &Key) -> bool {
    let by_guard = |guard: &Guard| matches!(guard, Guard::WasAbsent(of) if of == key);
    let by_operation = |op: &Op| match op {
        Op::Txn(inner) => may_see(inner, key),
        op => hint(op).is_some_and(|(span, _)| span.contains(key)),
    };
    txn.when().iter().any(by_guard) || txn.then().iter().chain(txn.otherwise()).any(by_operation)
}

/// The transaction without guards that held at some moment, and need not hold at the commit. What it does if they fail
/// only reads, in these scenarios.
pub(super) fn without_guards(txn: &Txn, lasting: &BTreeSet<Key>, held: &[Guard]) -> Txn {
    let has_held = |guard: &Guard| match guard {
        Guard::WasAbsent(key) => !lasting.contains(key),
        guard => held.contains(guard),
    };
    let must_hold = |guard: &&Guard| !has_held(guard);
    let operation = |op: &Op| match op {
        Op::Txn(inner) => Op::Txn(Box::new(without_guards(inner, lasting, held))),
        op => op.clone(),
    };
    let operations = |operations: &[Op]| operations.iter().map(operation).collect();
    let when = txn.when().iter().filter(must_hold).cloned().collect();
    Txn::new(when, operations(txn.then()), operations(txn.otherwise())).unwrap()
}

/// The guards of no earlier change that hold now.
pub(super) fn was_unchanged(txn: &Txn, now: &MemoryMap) -> Vec<Guard> {
    let holds = |guard: &&Guard| match guard {
        Guard::WasUnchanged(key, revision) => Entries::revision(now, key) == Some(*revision),
        _ => false,
    };
    let own = txn.when().iter().filter(holds).cloned();
    let inner = txn.then().iter().chain(txn.otherwise()).flat_map(|op| match op {
        Op::Txn(inner) => was_unchanged(inner, now),
        _ => Vec::new(),
    });
    own.chain(inner).collect()
}

/// Removes the responses to hints.
pub(super) fn blank(txn: &Txn, branch: &mut Branch) {
    let operations = if branch.succeeded { txn.then() } else { txn.otherwise() };
    for (op, response) in operations.iter().zip(&mut branch.responses) {
        match (op, response) {
            (Op::Txn(inner), OpResponse::Branch(branch)) => blank(inner, branch),
            (op, response) if hint(op).is_some() => *response = OpResponse::Entries(Vec::new()),
            _ => {}
        }
    }
}

/// The span and the limit of a range, if it is a hint.
fn hint(op: &Op) -> Option<(&KeySpan, u32)> {
    match op {
        Op::Range { span, limit, freshness: Freshness::Hint, .. } => Some((span, *limit)),
        _ => None,
    }
}

impl World {
    /// Records the entries of the store in memory, if anybody may see them later.
    pub(super) fn note_past(&mut self) {
        let Self { scenario, memory, past, .. } = self;
        let may_see = |key: &Key| scenario.clients.iter().any(|client| may_see(&client.txn, key));
        let all = KeySpan::from_to(Key::new(""), Key::new("\u{10ffff}"));
        let seen = memory.range(&all).filter(|entry| may_see(&entry.key));
        let new: Vec<_> = seen.map(keyed).filter(|entry| !past.contains(entry)).collect();
        if !new.is_empty() {
            Rc::make_mut(past).extend(new);
        }
    }

    /// What is wrong with the hints in a branch.
    pub(super) fn wrong_hint(&self, client: &ClientState, branch: &Branch) -> Option<String> {
        self.wrong_hint_in(&client.txn, client, branch)
    }

    fn wrong_hint_in(&self, txn: &Txn, client: &ClientState, branch: &Branch) -> Option<String> {
        let operations = if branch.succeeded { txn.then() } else { txn.otherwise() };
        operations.iter().zip(&branch.responses).find_map(|(op, response)| match (op, response) {
            (Op::Txn(inner), OpResponse::Branch(branch)) => self.wrong_hint_in(inner, client, branch),
            (op, OpResponse::Entries(entries)) => self.wrong_entries(hint(op)?, client, entries),
            _ => None,
        })
    }

    /// Each entry was there at some time, or is being created. A key that is left out was absent at some moment since
    /// the client began.
    fn wrong_entries(&self, (span, limit): (&KeySpan, u32), client: &ClientState, entries: &[Entry]) -> Option<String> {
        let id = |entry: &Entry| TxnId::from_random(entry.revision.0.get() << 1);
        let is_created =
            |entry: &Entry| entry.value.is_empty() && self.actors.iter().any(|one| Actor::has_id(one, id(entry)));
        let was_there = |entry: &&Entry| self.past.contains(&keyed((*entry).clone())) || is_created(entry);
        if let Some(wrong) = entries.iter().find(|entry| !was_there(entry)) {
            return Some(format!("was shown {wrong:?}, which never existed"));
        }
        let is_full = entries.len() >= limit as usize;
        let end = entries.last().filter(|_| is_full).map_or(&span.to, |last| &last.key);
        let is_listed = |key: &Key| entries.iter().any(|entry| entry.key == *key);
        let mut expected = client.lasting.iter().filter(|key| span.contains(key) && *key < end);
        let left_out = expected.find(|key| !is_listed(key))?;
        Some(format!("was not shown {left_out}, which existed all the time"))
    }
}

fn keyed(entry: Entry) -> (Key, NonZeroU64, Value) {
    (entry.key, entry.revision.0, entry.value)
}
