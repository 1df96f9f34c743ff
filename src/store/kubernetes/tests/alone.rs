//! Runs a transaction alone, to its end.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::store::kubernetes::api::{Answer, Request};
use crate::store::kubernetes::object::TxnId;
use crate::store::kubernetes::rules::Rules;
use crate::store::kubernetes::step::Step;
use crate::store::kubernetes::transaction::Transaction;
use crate::store::{Outcome, StoreError, Txn};

/// Runs a transaction. Its requests are answered one by one, in the order in which it sent them.
pub(super) fn run(
    txn: &Txn,
    mut fresh: impl FnMut() -> TxnId,
    mut answer: impl FnMut(&Request, &Transaction) -> Answer,
) -> Result<Outcome, StoreError> {
    let (mut machine, mut step) = Transaction::start(Arc::new(txn.clone()), Rules::default(), fresh());
    let mut open = VecDeque::new();
    loop {
        match step {
            Step::Send(requests) => open.extend(requests),
            Step::Wait => {}
            Step::Pause(_) => {
                step = machine.resume(fresh());
                continue;
            }
            Step::Done(()) => return machine.given_up(),
        }
        let request: Request = open.pop_front().unwrap();
        let answered = answer(&request, &machine);
        step = machine.answer(request.key(), answered, fresh());
    }
}
