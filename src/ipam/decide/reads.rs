//! The reads of one transaction. Each knows how to decode its own answer.
//!
//! ```text
//!  Reads::entry, entries, count ─► Read<T>, kept with the pending transaction
//!           │                          │
//!       operations ─► store ─► Answers ┴─► Answers::to(read): the answer, decoded as T
//! ```
//!
//! A [`Read`] knows the index of its answer, so its code does not depend on what others read before or after. It
//! belongs to one transaction: with the answers of another one, it would decode somebody else's answer.

use std::marker::PhantomData;

use crate::store::{Entry, Freshness, Key, KeySpan, Op, OpResponse};

#[derive(Debug, Default)]
pub(super) struct Reads {
    operations: Vec<Op>,
}

#[derive(Debug)]
pub(super) struct Read<T> {
    place: usize,
    decoder: PhantomData<T>,
}

impl<T> Clone for Read<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Read<T> {}

/// Decodes the answer to an operation. A missing or unexpected answer counts as if the store had nothing there.
pub(super) trait Decode {
    type Decoded<'a>;

    fn decode(answer: Option<&OpResponse>) -> Self::Decoded<'_>;
}

#[derive(Debug)]
pub(super) enum OneEntry {}

#[derive(Debug)]
pub(super) enum Entries {}

#[derive(Debug)]
pub(super) enum Count {}

impl Decode for OneEntry {
    type Decoded<'a> = Option<&'a Entry>;

    fn decode(answer: Option<&OpResponse>) -> Option<&Entry> {
        match answer {
            Some(OpResponse::Entry(entry)) => entry.as_ref(),
            _ => None,
        }
    }
}

impl Decode for Entries {
    type Decoded<'a> = &'a [Entry];

    fn decode(answer: Option<&OpResponse>) -> &[Entry] {
        match answer {
            Some(OpResponse::Entries(entries)) => entries,
            _ => &[],
        }
    }
}

impl Decode for Count {
    type Decoded<'a> = Option<u64>;

    fn decode(answer: Option<&OpResponse>) -> Option<u64> {
        match answer {
            Some(OpResponse::Count(count)) => Some(*count),
            _ => None,
        }
    }
}

impl Reads {
    pub(super) fn entry(&mut self, key: Key) -> Read<OneEntry> {
        self.push(Op::Get(key))
    }

    pub(super) fn entries(&mut self, span: KeySpan, limit: u32, freshness: Freshness) -> Read<Entries> {
        self.push(Op::Range { span, limit, keys_only: false, freshness })
    }

    /// A key, as a hint: one entry at most.
    pub(super) fn hint(&mut self, key: Key) -> Read<Entries> {
        self.entries(KeySpan::of(key), 1, Freshness::Hint)
    }

    /// The keys of a span, without their values, as a hint.
    pub(super) fn keys(&mut self, span: KeySpan, limit: u32) -> Read<Entries> {
        self.push(Op::Range { span, limit, keys_only: true, freshness: Freshness::Hint })
    }

    /// The number of keys of a span, as a hint.
    pub(super) fn count(&mut self, span: KeySpan) -> Read<Count> {
        self.push(Op::Count(span))
    }

    /// A write among the reads. Its answer has no content.
    pub(super) fn write(&mut self, write: Op) {
        self.operations.push(write);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    pub(super) fn into_operations(self) -> Vec<Op> {
        self.operations
    }

    fn push<T>(&mut self, operation: Op) -> Read<T> {
        self.operations.push(operation);
        Read { place: self.operations.len() - 1, decoder: PhantomData }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Answers<'a>(pub(super) &'a [OpResponse]);

impl<'a> Answers<'a> {
    pub(super) fn to<T: Decode>(self, read: Read<T>) -> T::Decoded<'a> {
        T::decode(self.0.get(read.place))
    }

    /// The entry, of a transaction that reads one key and nothing else on the branch that ran.
    pub(super) fn only_entry(self) -> Option<&'a Entry> {
        OneEntry::decode(self.0.first())
    }
}
