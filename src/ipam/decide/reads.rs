//! The reads of one transaction, each with what its answer is decoded as.
//!
//! ```text
//!  who needs something ─► Reads::entry, entries, count ─► Read<T>, kept with the transaction that is under way
//!                              │                              │
//!                          operations ─► store ─► Answers ────┴─► Answers::to(read): what was asked for, as T decodes it
//! ```
//!
//! A [`Read`] knows the place of its answer, so that nobody depends on what others read before or after. It is of one
//! transaction, and belongs into the state that waits for that one: with the answers of another it would decode what
//! others asked for.

use std::marker::PhantomData;

use crate::store::{Entry, Key, KeySpan, Op, OpResponse};

/// Operations of a transaction, in their order.
#[derive(Debug, Default)]
pub(super) struct Reads {
    operations: Vec<Op>,
}

/// A read, and how its answer is decoded.
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

/// Decodes the answer to an operation; a missing or unexpected one as if the store had nothing there.
pub(super) trait Decode {
    /// What the operation asks for.
    type Decoded<'a>;

    fn decode(answer: Option<&OpResponse>) -> Self::Decoded<'_>;
}

/// The entry of a key.
#[derive(Debug)]
pub(super) enum OneEntry {}

/// The entries of a span.
#[derive(Debug)]
pub(super) enum Entries {}

/// The number of keys in a span.
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

    pub(super) fn entries(&mut self, span: KeySpan, limit: u32) -> Read<Entries> {
        self.push(Op::Range { span, limit, keys_only: false })
    }

    /// The same without their values.
    pub(super) fn keys(&mut self, span: KeySpan, limit: u32) -> Read<Entries> {
        self.push(Op::Range { span, limit, keys_only: true })
    }

    pub(super) fn count(&mut self, span: KeySpan) -> Read<Count> {
        self.push(Op::Count(span))
    }

    /// A write among the reads. Its answer says nothing.
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

/// The answers to the operations of a [`Reads`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Answers<'a>(pub(super) &'a [OpResponse]);

impl<'a> Answers<'a> {
    /// What a read asked for.
    pub(super) fn to<T: Decode>(self, read: Read<T>) -> T::Decoded<'a> {
        T::decode(self.0.get(read.place))
    }

    /// The entry, of a transaction that reads one key and nothing else on the branch that ran.
    pub(super) fn only_entry(self) -> Option<&'a Entry> {
        OneEntry::decode(self.0.first())
    }
}
