//! One client after the other: random transactions have the outcomes that they have in memory, and the conformance suite
//! finds a store.

use std::sync::Mutex;

use pollster::block_on;
use proptest::prelude::*;

use super::alone;
use super::api::Api;
use super::meaning::meaning;
use crate::deadline::Deadline;
use crate::store::kubernetes::object::TxnId;
use crate::store::{Guard, Key, KeySpan, MemoryMap, Op, Outcome, Store, StoreError, Txn, conformance, model};

/// A store on the API in memory.
#[derive(Default)]
struct ApiStore(Mutex<(Api, u64)>);

impl ApiStore {
    fn run(&self, txn: &Txn) -> Result<Outcome, StoreError> {
        let (api, ids) = &mut *self.0.lock().unwrap();
        let fresh = || {
            *ids += 1;
            TxnId::from_random(*ids << 1)
        };
        alone::run(txn, fresh, |request, _| api.request(request))
    }
}

impl Store for ApiStore {
    async fn commit(&self, txn: &Txn, _deadline: Deadline) -> Result<Outcome, StoreError> {
        self.run(txn)
    }
}

#[test]
fn the_protocol_is_a_store() {
    block_on(conformance::check_any_revisions(&ApiStore::default())).unwrap();
}

/// The first level fails because of `j`. Whether `k` exists was only presumed then.
#[test]
fn what_is_presumed_for_one_branch_is_read_for_the_other() {
    let store = ApiStore::default();
    let key = |text: &str| Key::new(text);
    let put = |text: &str| Op::Put(key(text), text.as_bytes().to_vec());
    let txn = |when, then, otherwise| Txn::new(when, then, otherwise).unwrap();
    let at = store.run(&txn(vec![], vec![put("j"), put("k")], vec![])).unwrap().at;
    let inner = txn(vec![Guard::Unchanged(key("k"), at)], vec![put("right")], vec![put("wrong")]);
    let other = TxnId::from_random(u64::MAX).revision();
    let guards = vec![Guard::Absent(key("k")), Guard::Unchanged(key("j"), other)];
    store.run(&txn(guards, vec![], vec![Op::Txn(Box::new(inner))])).unwrap();
    let entries = meaning(&store.0.lock().unwrap().0);
    let keys: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["j", "k", "right"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_transactions_have_the_outcomes_that_they_have_in_memory(
        txns in prop::collection::vec(model::txn(2), 1..24)
    ) {
        let (store, mut memory) = (ApiStore::default(), MemoryMap::default());
        let all = KeySpan::from_to(Key::new(""), Key::new("\u{10ffff}"));
        for txn in txns {
            let outcome = store.run(&txn).unwrap();
            let expected = memory.commit_at(&txn, outcome.at);
            prop_assert_eq!(outcome, expected);
            let entries: Vec<_> = memory.range(&all).collect();
            prop_assert_eq!(meaning(&store.0.lock().unwrap().0), entries);
        }
    }
}
