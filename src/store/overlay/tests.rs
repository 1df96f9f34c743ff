//! An overlay has the outcomes of a copy of its base, and never writes to the base.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use pollster::block_on;
use proptest::prelude::*;

use super::Overlay;
use crate::cause::Cause;
use crate::deadline::Deadline;
use crate::store::conformance;
use crate::store::model::txn;
use crate::store::{
    Branch, Entry, Freshness, Guard, Key, KeySpan, MAX_OPERATIONS, MemoryStore, Op, OpResponse, Outcome, SqliteStore,
    Store, StoreError, Txn,
};

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

fn key(text: &str) -> Key {
    Key::new(text)
}

fn run(store: &impl Store, then: Vec<Op>) -> Outcome {
    block_on(store.commit(&Txn::new(vec![], then, vec![]).unwrap(), soon())).unwrap()
}

fn put(text: &str) -> Op {
    Op::Put(key(text), b"{}".to_vec())
}

fn delete(text: &str) -> Op {
    Op::Delete(key(text))
}

fn all() -> KeySpan {
    KeySpan::from_to(key(""), key("\u{10ffff}"))
}

fn first(limit: u32, keys_only: bool) -> Op {
    Op::Range { span: all(), limit, keys_only, freshness: Freshness::Exact }
}

/// Everything in a store, and its revision.
fn content(store: &impl Store) -> Outcome {
    run(store, vec![first(u32::MAX, false)])
}

fn keys(response: Option<OpResponse>) -> Vec<String> {
    let Some(OpResponse::Entries(entries)) = response else { return Vec::new() };
    entries.into_iter().map(|entry| entry.key.to_string()).collect()
}

/// A store that any write breaks.
struct OnlyRead<S>(S);

impl<S: Store> Store for OnlyRead<S> {
    async fn commit(&self, txn: &Txn, deadline: Deadline) -> Result<Outcome, StoreError> {
        assert!(!txn.writes(), "{txn:?} reached the base");
        self.0.commit(txn, deadline).await
    }
}

/// A store that answers no request.
struct Silent;

impl Store for Silent {
    async fn commit(&self, _: &Txn, _: Deadline) -> Result<Outcome, StoreError> {
        Err(StoreError::Ambiguous(Cause::new("no answer")))
    }
}

#[test]
fn an_overlay_keeps_the_rules_of_a_store() {
    block_on(conformance::check(&Overlay::new(OnlyRead(MemoryStore::new())))).unwrap();
    let folder = tempfile::Builder::new().prefix("kube-ipam-overlay-").tempdir().unwrap();
    let sqlite = SqliteStore::new(folder.path());
    run(&sqlite, vec![put("conformance")]);
    block_on(conformance::check(&Overlay::new(OnlyRead(sqlite)))).unwrap();
}

#[test]
fn an_overlay_of_an_overlay_keeps_them_too() {
    let overlay = Overlay::new(OnlyRead(MemoryStore::new()));
    run(&overlay, vec![put("conformance"), put("before")]);
    block_on(conformance::check(&Overlay::new(OnlyRead(overlay)))).unwrap();
}

#[test]
fn clients_of_one_overlay_lose_no_update() {
    let overlay = Overlay::new(OnlyRead(MemoryStore::new()));
    std::thread::scope(|scope| {
        let count_up = || block_on(conformance::actors::count_up(&overlay, 20));
        let started: Vec<_> = (0..4).map(|_| scope.spawn(count_up)).collect();
        started.into_iter().for_each(|actor| actor.join().unwrap().unwrap());
    });
    block_on(conformance::actors::counted(&overlay, 4, 20)).unwrap();
}

#[test]
fn a_range_reads_on_behind_what_the_overlay_has_deleted() {
    let base = MemoryStore::new();
    run(&base, ["a", "b", "c", "d", "e"].map(put).to_vec());
    let overlay = Overlay::new(OnlyRead(base));
    run(&overlay, vec![delete("a"), delete("b"), put("b+")]);
    for keys_only in [false, true] {
        let response = run(&overlay, vec![first(3, keys_only)]).branch.responses.pop();
        assert_eq!(keys(response), ["b+", "c", "d"], "{keys_only}");
        // What the transaction itself deletes first is not in its range either.
        let mut outcome = run(&Overlay::new(&overlay), vec![delete("c"), delete("d"), first(2, keys_only)]);
        assert_eq!(keys(outcome.branch.responses.pop()), ["b+", "e"], "{keys_only}");
    }
}

impl<S: Store> Store for &S {
    async fn commit(&self, txn: &Txn, deadline: Deadline) -> Result<Outcome, StoreError> {
        (**self).commit(txn, deadline).await
    }
}

#[test]
fn keys_without_values_never_hide_a_value_that_another_operation_reads() {
    let base = MemoryStore::new();
    let at = run(&base, ["a", "b", "c"].map(put).to_vec()).at;
    let overlay = Overlay::new(OnlyRead(base));
    let then = vec![first(9, true), first(2, false), Op::Get(key("c"))];
    let entry = |text: &str| Entry { key: key(text), value: b"{}".to_vec(), revision: at };
    let responses = run(&overlay, then).branch.responses;
    assert_eq!(responses[1], OpResponse::Entries(vec![entry("a"), entry("b")]));
    assert_eq!(responses[2], OpResponse::Entry(Some(entry("c"))));
}

#[test]
fn a_transaction_whose_branches_touch_more_than_a_request_can_read_is_read_in_several() {
    let base = MemoryStore::new();
    run(&base, vec![put("200")]);
    let overlay = Overlay::new(OnlyRead(base));
    let gets = |from: usize| (from..from + MAX_OPERATIONS).map(|i| Op::Get(key(&i.to_string()))).collect::<Vec<_>>();
    let txn = Txn::new(vec![Guard::Absent(key("200"))], gets(0), gets(150)).unwrap();
    let Branch { succeeded, responses } = block_on(overlay.commit(&txn, soon())).unwrap().branch;
    assert!(!succeeded);
    assert!(matches!(&responses[50], OpResponse::Entry(Some(entry)) if entry.key == key("200")));
}

#[test]
fn what_others_write_to_the_base_meanwhile_is_seen_except_under_the_overlay_s_own_keys() {
    let base = MemoryStore::new();
    run(&base, ["a", "b"].map(put).to_vec());
    let overlay = Overlay::new(OnlyRead(&base));
    let own = run(&overlay, vec![Op::Put(key("a"), b"own".to_vec()), delete("b")]).at;
    let other = run(&base, ["a", "b", "c"].map(put).to_vec()).at;
    let outcome = run(&overlay, vec![first(9, false), Op::Count(all())]);
    let entries = vec![
        Entry { key: key("a"), value: b"own".to_vec(), revision: own },
        Entry { key: key("c"), value: b"{}".to_vec(), revision: other },
    ];
    assert_eq!(outcome.branch.responses, [OpResponse::Entries(entries), OpResponse::Count(2)]);
    // Revisions of the overlay stay above those of the base.
    assert!(run(&overlay, vec![put("d")]).at.0 > other.0);
}

#[test]
fn a_base_that_does_not_answer_is_unavailable_and_nothing_is_in_doubt() {
    let overlay = Overlay::new(Silent);
    let error = block_on(overlay.commit(&Txn::new(vec![], vec![put("a")], vec![]).unwrap(), soon())).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_transactions_have_the_outcomes_that_they_have_on_a_copy_of_the_base(
        before in prop::collection::vec(txn(1), 0..8),
        txns in prop::collection::vec(txn(2), 1..16),
    ) {
        let (base, copy) = (MemoryStore::new(), MemoryStore::new());
        for txn in &before {
            prop_assert_eq!(block_on(base.commit(txn, soon())), block_on(copy.commit(txn, soon())));
        }
        let unchanged = content(&base);
        let overlay = Overlay::new(OnlyRead(&base));
        for txn in &txns {
            prop_assert_eq!(block_on(overlay.commit(txn, soon())), block_on(copy.commit(txn, soon())));
        }
        prop_assert_eq!(content(&overlay), content(&copy));
        prop_assert_eq!(content(&base), unchanged);
    }
}
