//! How many requests the usual transactions send, and in how many round trips.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::api::Api;
use super::scenario::{add, add_either, confirm, del, hint, key, list, of, read, rewrite, write};
use crate::store::kubernetes::api::{Request, Write};
use crate::store::kubernetes::object::{Lock, Then, TxnId};
use crate::store::kubernetes::rules::Rules;
use crate::store::kubernetes::step::Step;
use crate::store::kubernetes::transaction::Transaction;
use crate::store::{Revision, Txn};

/// Reads, writes and round trips.
#[derive(Debug, Default, PartialEq, Eq)]
struct Cost {
    reads: usize,
    writes: usize,
    trips: usize,
}

/// Runs a transaction alone. Returns what it costs before its outcome is known, and what it costs after that.
fn run(api: &mut Api, txn: &Txn, id: TxnId) -> (Cost, Cost) {
    let (mut machine, mut step) = Transaction::start(Arc::new(txn.clone()), Rules::default(), id);
    let (mut before, mut after) = (Cost::default(), Cost::default());
    let mut open = BTreeMap::new();
    loop {
        if let Step::Send(requests) = step {
            let cost = if machine.outcome().is_none() { &mut before } else { &mut after };
            cost.trips += 1;
            let writes = requests.iter().filter(|request| matches!(request, Request::Write(_))).count();
            cost.writes += writes;
            cost.reads += requests.len() - writes;
            open.extend(requests.into_iter().map(|request| (request.key().clone(), request)));
        } else if let Step::Pause(_) = step {
            step = machine.resume(id);
            continue;
        } else if step == Step::Done(()) {
            return (before, after);
        }
        let (key, request) = open.pop_first().unwrap();
        let answer = api.request(&request);
        step = machine.answer(&key, answer, id);
    }
}

fn cost(reads: usize, writes: usize, trips: usize) -> Cost {
    Cost { reads, writes, trips }
}

fn revision_in(api: &Api) -> Revision {
    let attachment = api.get(&key("A1")).unwrap();
    attachment.object.value.as_ref().unwrap().revision
}

#[test]
fn requests_are_counted() {
    let mut api = Api::default();
    let id = |n: u64| TxnId::from_random(n << 1);
    // Three writes: lock the attachment, lock the lease, write the attachment. Then the lease.
    assert_eq!(run(&mut api, &add("T", "A1").txn, id(1)), (cost(0, 3, 3), cost(0, 1, 1)));
    // Whether a recovery is in progress, the lease, and the definition of the network are read at once. Neither the
    // first nor the last is locked: the guard on the definition fails.
    let mut known = Api::default();
    run(&mut known, &write("W", &["N"]).txn, id(1));
    assert_eq!(run(&mut known, &add_either("T", "A1").txn, id(2)), (cost(3, 3, 4), cost(0, 1, 1)));
    // If the first lease is taken, no lock is in vain. What else the attempts need is read at once.
    assert_eq!(run(&mut known, &add_either("T2", "A2").txn, id(3)), (cost(5, 3, 5), cost(0, 1, 1)));
    // The other ADD finds the lease taken: it locks its attachment in vain.
    assert_eq!(run(&mut api, &add("T", "A2").txn, id(2)), (cost(4, 3, 6), cost(0, 0, 0)));
    // One key is read once, several are read twice.
    assert_eq!(run(&mut api, &read("R", &["L"]).txn, id(3)), (cost(1, 0, 1), cost(0, 0, 0)));
    assert_eq!(run(&mut api, &read("R", &["A1", "L"]).txn, id(4)), (cost(4, 0, 2), cost(0, 0, 0)));
    // A lock costs an exact list a look at its primary, and a hint nothing.
    let (mut locked, lock) = (Api::default(), Lock { txn: id(8), primary: key("A1"), then: Then::Keep });
    locked.write(&Write::lock(&key("L"), &None, lock));
    assert_eq!(run(&mut locked, &list("R").txn, id(3)).0.reads, 3);
    assert_eq!(run(&mut locked, &hint("R").txn, id(3)), (cost(1, 0, 1), cost(0, 0, 0)));
    // The commit on the attachment costs nothing, because the lease shows its revision.
    let revision = revision_in(&api);
    assert_eq!(run(&mut api, &confirm("C", revision).txn, id(5)), (cost(2, 3, 4), cost(0, 1, 1)));
    // A transaction of one key needs no locks. The commit is resolved first: L was only read, so it is read again.
    let revision = revision_in(&api);
    assert_eq!(run(&mut api, &rewrite("W", "A1", revision).txn, id(6)), (cost(2, 1, 3), cost(0, 0, 0)));
    let revision = revision_in(&api);
    assert_eq!(revision, id(6).revision());
    let mut api = Api::default();
    run(&mut api, &add("T", "A1").txn, id(1));
    // Two reads at once, two locks, the commit. Then the lease and the tombstone.
    assert_eq!(run(&mut api, &del("D", of(0), true).txn, id(2)), (cost(2, 3, 4), cost(0, 2, 2)));
    assert!(api.get(&key("A1")).is_none());
}
