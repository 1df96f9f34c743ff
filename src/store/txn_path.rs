//! The path through a transaction and its nested ones (etcd's `txnPath`). It is resolved before anything is written,
//! because all guards see the state before the transaction.

use super::{Guard, Op, Txn};

/// One level of a path.
pub(super) struct TxnPath<'a> {
    succeeded: bool,
    operations: &'a [Op],
    inner: Vec<TxnPath<'a>>,
}

impl<'a> TxnPath<'a> {
    /// Evaluates each guard along the path.
    pub(super) fn resolve<E>(txn: &'a Txn, holds: &mut impl FnMut(&Guard) -> Result<bool, E>) -> Result<Self, E> {
        let mut succeeded = true;
        for guard in txn.when() {
            if !holds(guard)? {
                succeeded = false;
                break;
            }
        }
        let operations = if succeeded { txn.then() } else { txn.otherwise() };
        let mut inner = Vec::new();
        for op in operations {
            if let Op::Txn(txn) = op {
                inner.push(Self::resolve(txn, holds)?);
            }
        }
        Ok(Self { succeeded, operations, inner })
    }

    pub(super) fn succeeded(&self) -> bool {
        self.succeeded
    }

    /// The operations of this level in order, each nested transaction with the path through it.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&'a Op, Option<&Self>)> {
        let mut inner = self.inner.iter();
        self.operations.iter().map(move |op| match op {
            Op::Txn(_) => (op, inner.next()),
            _ => (op, None),
        })
    }
}
