//! The way through a transaction and through those inside it, chosen before anything is written: all guards see the
//! state before.

use super::{Guard, Op, Txn};

/// One level of a way.
pub(super) struct Way<'a> {
    taken: bool,
    operations: &'a [Op],
    inner: Vec<Way<'a>>,
}

impl<'a> Way<'a> {
    /// Asks for each guard along the way whether it holds.
    pub(super) fn choose<E>(txn: &'a Txn, holds: &mut impl FnMut(&Guard) -> Result<bool, E>) -> Result<Self, E> {
        let mut taken = true;
        for guard in txn.when() {
            if !holds(guard)? {
                taken = false;
                break;
            }
        }
        let operations = if taken { txn.then() } else { txn.otherwise() };
        let mut inner = Vec::new();
        for op in operations {
            if let Op::Try(txn) = op {
                inner.push(Self::choose(txn, holds)?);
            }
        }
        Ok(Self { taken, operations, inner })
    }

    /// Whether all guards of this level held.
    pub(super) fn taken(&self) -> bool {
        self.taken
    }

    /// The operations of this level in order; each `Try`, and nothing else, comes with the way through it.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&'a Op, Option<&Self>)> {
        let mut inner = self.inner.iter();
        self.operations.iter().map(move |op| match op {
            Op::Try(_) => (op, inner.next()),
            _ => (op, None),
        })
    }
}
