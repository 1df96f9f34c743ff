//! Transactions, and the limits that every backend keeps.

use std::collections::BTreeSet;

use super::{Key, KeySpan, Revision, Value};

/// The most operations and guards along a path. It is etcd's default for `--max-txn-ops`, which includes nested
/// transactions.
pub const MAX_OPERATIONS: usize = 128;

/// The most bytes in all keys and values of a transaction. etcd accepts 1.5 MiB per request.
pub const MAX_BYTES: usize = 1 << 20;

/// The most bytes in a value: 256 KiB. In the Kubernetes API, a lock holds a value beside the one that it replaces, both
/// perhaps as base64, and etcd accepts 1.5 MiB per object.
pub const MAX_VALUE: usize = 256 << 10;

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    /// The key does not exist.
    Absent(Key),
    /// The key did not exist at some moment during this call. A store may read it before its commit and not keep it
    /// absent until then, so that transactions with the same guard don't wait for each other. What is written under it
    /// must also be right if the key is created at that time.
    WasAbsent(Key),
    /// The revision of the key's last write is this one.
    Unchanged(Key, Revision),
    /// The revision of the key's last write was this one at some moment during this call. Like [`Guard::WasAbsent`], it
    /// need not hold at the commit.
    WasUnchanged(Key, Revision),
}

impl Guard {
    /// Its key.
    pub(super) fn key(&self) -> &Key {
        match self {
            Self::Absent(key) | Self::WasAbsent(key) | Self::Unchanged(key, _) | Self::WasUnchanged(key, _) => key,
        }
    }
}

/// Which state of its span a read shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Freshness {
    /// The one at the transaction's moment.
    Exact,
    /// Perhaps an earlier one, which spares a store requests. A key that is being created may be in it, without a value.
    /// Whoever uses it guards what it relies on.
    Hint,
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Writes a key.
    Put(Key, Value),
    /// Deletes a key, if it exists.
    Delete(Key),
    /// Reads a key.
    Get(Key),
    /// Reads the first keys of a span, in order.
    Range {
        /// The span to read.
        span: KeySpan,
        /// The most entries to return; at least 1.
        limit: u32,
        /// Omits the values.
        keys_only: bool,
        /// Which state it shows.
        freshness: Freshness,
    },
    /// Counts the keys of a span, as a [`Freshness::Hint`].
    Count(KeySpan),
    /// A nested transaction.
    Txn(Box<Txn>),
}

/// Why a backend would not accept a transaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TxnError {
    /// Too many operations.
    #[error("the transaction needs {0} operations; a store takes at most {MAX_OPERATIONS}")]
    TooManyOperations(usize),
    /// Too large.
    #[error("the transaction has {0} bytes; a store takes at most {MAX_BYTES}")]
    TooLarge(usize),
    /// A value that is too large.
    #[error("the value of {key} has {bytes} bytes; a store takes at most {MAX_VALUE}")]
    ValueTooLarge {
        /// Its key.
        key: Key,
        /// Its size.
        bytes: usize,
    },
    /// Two writes of the same key. Their order would be undefined.
    #[error("the transaction writes {0} twice")]
    WrittenTwice(Key),
}

/// A transaction: runs `then` if all guards hold, otherwise `otherwise`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Txn {
    when: Vec<Guard>,
    then: Vec<Op>,
    otherwise: Vec<Op>,
}

impl Txn {
    /// Builds a transaction that every backend accepts.
    pub fn new(when: Vec<Guard>, then: Vec<Op>, otherwise: Vec<Op>) -> Result<Self, TxnError> {
        let txn = Self { when, then, otherwise };
        // Nested transactions were checked when they were built.
        let large = txn.then.iter().chain(&txn.otherwise).find_map(|op| match op {
            Op::Put(key, value) if value.len() > MAX_VALUE => Some((key.clone(), value.len())),
            _ => None,
        });
        if let Some((key, bytes)) = large {
            return Err(TxnError::ValueTooLarge { key, bytes });
        }
        match (txn.operations(), txn.bytes()) {
            (operations, _) if operations > MAX_OPERATIONS => Err(TxnError::TooManyOperations(operations)),
            (_, bytes) if bytes > MAX_BYTES => Err(TxnError::TooLarge(bytes)),
            _ => match txn.written() {
                Err(key) => Err(TxnError::WrittenTwice(key.clone())),
                Ok(_) => Ok(txn),
            },
        }
    }

    /// A transaction that only reads.
    pub fn read(operations: Vec<Op>) -> Result<Self, TxnError> {
        Self::new(Vec::new(), operations, Vec::new())
    }

    /// Its guards.
    pub fn when(&self) -> &[Guard] {
        &self.when
    }

    /// What runs if all guards hold.
    pub fn then(&self) -> &[Op] {
        &self.then
    }

    /// What runs if a guard fails.
    pub fn otherwise(&self) -> &[Op] {
        &self.otherwise
    }

    /// Whether any path of it writes.
    pub fn writes(&self) -> bool {
        self.then.iter().chain(&self.otherwise).any(|op| match op {
            Op::Put(..) | Op::Delete(_) => true,
            Op::Txn(inner) => inner.writes(),
            Op::Get(_) | Op::Range { .. } | Op::Count(_) => false,
        })
    }

    /// The most operations along a path, as etcd counts them: the longest of the three lists, plus those of nested
    /// transactions.
    fn operations(&self) -> usize {
        let level = self.when.len().max(self.then.len()).max(self.otherwise.len());
        let inner = self.then.iter().chain(&self.otherwise).map(|op| match op {
            Op::Txn(inner) => inner.operations(),
            _ => 0,
        });
        level + inner.max().unwrap_or(0)
    }

    /// The keys that any path of it writes. `Err` holds a key that one path may write twice. Like etcd, this assumes
    /// that any path through one nested transaction may combine with any path through its siblings.
    fn written(&self) -> Result<BTreeSet<&Key>, &Key> {
        let mut all = written_by(&self.then)?;
        all.append(&mut written_by(&self.otherwise)?);
        Ok(all)
    }

    fn bytes(&self) -> usize {
        let guards = self.when.iter().map(|guard| guard.key().as_str().len());
        let operations = self.then.iter().chain(&self.otherwise).map(|op| match op {
            Op::Put(key, value) => key.as_str().len() + value.len(),
            Op::Delete(key) | Op::Get(key) => key.as_str().len(),
            Op::Range { span, .. } | Op::Count(span) => span.from.as_str().len() + span.to.as_str().len(),
            Op::Txn(inner) => inner.bytes(),
        });
        guards.chain(operations).sum()
    }
}

/// The keys that a list of operations writes.
fn written_by(operations: &[Op]) -> Result<BTreeSet<&Key>, &Key> {
    let mut all = BTreeSet::new();
    for op in operations {
        let written = match op {
            Op::Put(key, _) | Op::Delete(key) => BTreeSet::from([key]),
            Op::Txn(inner) => inner.written()?,
            Op::Get(_) | Op::Range { .. } | Op::Count(_) => continue,
        };
        if let Some(twice) = written.into_iter().find(|key| !all.insert(*key)) {
            return Err(twice);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text)
    }

    fn gets(count: usize) -> Vec<Op> {
        (0..count).map(|i| Op::Get(key(&i.to_string()))).collect()
    }

    fn put(text: &str) -> Op {
        Op::Put(key(text), Vec::new())
    }

    fn within(then: Vec<Op>, otherwise: Vec<Op>) -> Result<Op, TxnError> {
        Ok(Op::Txn(Box::new(Txn::new(Vec::new(), then, otherwise)?)))
    }

    #[test]
    fn operations_are_counted_along_the_longest_path() -> Result<(), TxnError> {
        let mut level = gets(99);
        level.push(within(gets(28), gets(3))?);
        assert_eq!(Txn::new(Vec::new(), level.clone(), gets(100)).map(|txn| txn.operations()), Ok(128));
        level.push(Op::Get(key("one more")));
        assert_eq!(Txn::new(Vec::new(), level, Vec::new()), Err(TxnError::TooManyOperations(129)));
        let guards = (0..129).map(|i| Guard::Absent(key(&i.to_string()))).collect();
        assert_eq!(Txn::new(guards, Vec::new(), Vec::new()), Err(TxnError::TooManyOperations(129)));
        Ok(())
    }

    #[test]
    fn keys_and_values_together_have_a_limit() {
        let four = |size| {
            let put = |text: &str, size| Op::Put(key(text), vec![0; size]);
            let largest = ["a", "b", "c"].map(|text| put(text, MAX_VALUE));
            Txn::new(Vec::new(), largest.into_iter().chain([put("d", size)]).collect(), Vec::new())
        };
        assert!(four(MAX_VALUE - 4).is_ok());
        assert_eq!(four(MAX_VALUE - 3), Err(TxnError::TooLarge(MAX_BYTES + 1)));
        assert_eq!(four(MAX_VALUE + 1), Err(TxnError::ValueTooLarge { key: key("d"), bytes: MAX_VALUE + 1 }));
    }

    #[test]
    fn a_key_is_written_once_on_a_path() -> Result<(), TxnError> {
        let twice = Err(TxnError::WrittenTwice(key("k")));
        let txn = |then| Txn::new(Vec::new(), then, Vec::new());
        assert_eq!(txn(vec![put("k"), put("k")]), twice);
        assert_eq!(txn(vec![put("k"), Op::Delete(key("k"))]), twice);
        assert_eq!(txn(vec![put("k"), within(vec![], vec![put("k")])?]), twice);
        assert_eq!(txn(vec![within(vec![put("k")], vec![])?, within(vec![], vec![put("k")])?]), twice);
        assert!(txn(vec![put("k"), put("l"), Op::Get(key("k"))]).is_ok());
        assert!(txn(vec![within(vec![put("k")], vec![put("k")])?]).is_ok());
        assert!(Txn::new(Vec::new(), vec![put("k")], vec![put("k")]).is_ok());
        Ok(())
    }
}
