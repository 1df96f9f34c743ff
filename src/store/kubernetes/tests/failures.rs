//! One request of a transaction fails, and certainly was not applied: each in turn.

use super::alone;
use super::api::Api;
use super::meaning::meaning;
use super::scenario::{add, confirm, del, rewrite};
use crate::cause::Cause;
use crate::store::kubernetes::api::{Answer, Request};
use crate::store::kubernetes::object::TxnId;
use crate::store::{Outcome, StoreError, Txn};

struct Run {
    result: Result<Outcome, StoreError>,
    /// The request that failed, and whether the outcome was known by then.
    failed: Option<(Request, bool)>,
}

/// Runs a transaction whose `nth` request fails.
fn run(api: &mut Api, txn: &Txn, nth: usize, error: &StoreError) -> Run {
    let mut ids = (100..).map(|n: u64| TxnId::from_random(n << 1));
    let (mut sent, mut failed) = (0, None);
    let result = alone::run(
        txn,
        || ids.next().unwrap(),
        |request, machine| {
            let is_failing = sent == nth;
            sent += 1;
            if is_failing {
                failed = Some((request.clone(), machine.outcome().is_some()));
                return Answer::Failed(error.clone());
            }
            api.request(request)
        },
    );
    Run { result, failed }
}

/// An API on which an ADD has committed.
fn held() -> Api {
    let mut api = Api::default();
    let denied = StoreError::Denied(Cause::new("not reached"));
    run(&mut api, &add("T1", "A1").txn, usize::MAX, &denied).result.unwrap();
    api
}

fn transactions() -> Vec<(Api, Txn)> {
    let at = meaning(&held())[0].revision;
    vec![
        (Api::default(), add("T1", "A1").txn),
        (held(), del("D", at, true).txn),
        (held(), del("D", at, false).txn),
        (held(), confirm("C", at).txn),
        (held(), rewrite("R", "A1", at).txn),
    ]
}

/// Fails each request of each transaction, until there is none.
fn each_failure(error: &StoreError, check: impl Fn(&Run, &Api, &Api)) {
    for (before, txn) in transactions() {
        for nth in 0.. {
            let mut api = before.clone();
            let run = run(&mut api, &txn, nth, error);
            if run.failed.is_none() {
                assert!(nth > 1, "{txn:?}");
                break;
            }
            check(&run, &before, &api);
        }
    }
}

#[test]
fn what_is_denied_has_no_effect_and_is_reported() {
    let denied = StoreError::Denied(Cause::new("forbidden"));
    each_failure(&denied, |run, before, after| match (&run.failed, &run.result) {
        // After its commit, the rest is left to others.
        (Some((_, true)), Ok(_)) => {}
        (Some((_, false)), Err(error)) => {
            assert_eq!(*error, denied);
            assert_eq!(meaning(after), meaning(before));
            assert!(after.objects().values().all(|stored| stored.lock().is_none()), "{:?}", after.objects());
        }
        (failed, result) => panic!("{failed:?}: {result:?}"),
    });
}

#[test]
fn what_was_not_sent_is_sent_again() {
    let unavailable = StoreError::Unavailable(Cause::new("connection refused"));
    each_failure(&unavailable, |run, before, after| match (&run.failed, &run.result) {
        // The driver repeats reads.
        (Some((Request::Get(_), false)), Err(error)) => {
            assert_eq!(*error, unavailable);
            assert_eq!(meaning(after), meaning(before));
        }
        (Some((Request::Write(_), _)), Ok(outcome)) => {
            assert!(outcome.branch.succeeded);
            assert_ne!(meaning(after), meaning(before));
        }
        (failed, result) => panic!("{failed:?}: {result:?}"),
    });
}
