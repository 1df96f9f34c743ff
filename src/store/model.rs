//! Compares the outcomes of random transactions on SQLite with those of the store in memory, which is small enough to
//! trust.

#![allow(clippy::unwrap_used)]

use std::num::NonZeroU64;
use std::time::Duration;

use pollster::block_on;
use proptest::prelude::*;

use super::{Freshness, Guard, Key, KeySpan, MemoryStore, Op, Revision, SqliteStore, Store, Txn};
use crate::deadline::Deadline;

fn key() -> impl Strategy<Value = Key> {
    prop::sample::select(vec!["a", "b", "b\0", "c", "é", "🦀"]).prop_map(Key::new)
}

fn span() -> impl Strategy<Value = KeySpan> {
    (key(), key()).prop_map(|(from, to)| KeySpan::from_to(from, to))
}

fn guard() -> impl Strategy<Value = Guard> {
    let revision = (1_u64..12).prop_map(|number| Revision(NonZeroU64::new(number).unwrap()));
    prop_oneof![
        key().prop_map(Guard::Absent),
        key().prop_map(Guard::WasAbsent),
        (key(), revision.clone()).prop_map(|(key, at)| Guard::Unchanged(key, at)),
        (key(), revision).prop_map(|(key, at)| Guard::WasUnchanged(key, at)),
    ]
}

fn op(depth: u32) -> BoxedStrategy<Op> {
    let plain = prop_oneof![
        (key(), prop::collection::vec(any::<u8>(), 0..4)).prop_map(|(key, value)| Op::Put(key, value)),
        key().prop_map(Op::Delete),
        key().prop_map(Op::Get),
        (span(), 1_u32..5, any::<bool>(), prop::sample::select(vec![Freshness::Exact, Freshness::Hint]))
            .prop_map(|(span, limit, keys_only, freshness)| Op::Range { span, limit, keys_only, freshness }),
        span().prop_map(Op::Count),
    ];
    if depth == 0 {
        return plain.boxed();
    }
    prop_oneof![4 => plain, 1 => txn(depth - 1).prop_map(|txn| Op::Txn(Box::new(txn)))].boxed()
}

/// Random transactions over few keys, nested up to this depth.
pub(super) fn txn(depth: u32) -> BoxedStrategy<Txn> {
    let guards = prop::collection::vec(guard(), 0..3);
    let ops = || prop::collection::vec(op(depth), 0..5);
    (guards, ops(), ops())
        .prop_filter_map("writes a key twice", |(when, then, otherwise)| Txn::new(when, then, otherwise).ok())
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_transactions_have_the_outcomes_that_they_have_in_memory(
        txns in prop::collection::vec(txn(2), 1..24)
    ) {
        let folder = tempfile::Builder::new().prefix("kube-ipam-model-").tempdir().unwrap();
        let (memory, sqlite) = (MemoryStore::new(), SqliteStore::new(folder.path()));
        for txn in txns {
            let deadline = Deadline::after(Duration::from_secs(10));
            prop_assert_eq!(block_on(sqlite.commit(&txn, deadline)), block_on(memory.commit(&txn, deadline)));
        }
    }
}
