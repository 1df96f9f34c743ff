//! The decisions: state machines without I/O that say, step by step, which transaction comes next.
//!
//! ```text
//!            ┌──────────── Outcome ────────────┐
//!            ▼                                 │
//!   ask ─► Add / Release ─► Step::Commit(Txn) ─┤ whoever drives it runs the transaction on a store
//!                       └─► Step::Done, Step::Refused
//! ```
//!
//! A machine never assumes that a transaction which failed or got no answer did nothing: it looks at what is stored and
//! goes on from there. That is why the same machines, driven by a test instead of a store, can be taken through every
//! interleaving of several actors, with crashes and lost replies in between.

mod add;
mod adopt;
mod aim;
mod amend;
mod any;
mod check;
mod choice;
mod discard;
mod evict;
mod keep;
mod last_look;
mod place;
mod pool;
mod reads;
mod reclaim;
mod release;
mod seek;
#[cfg(test)]
pub(super) mod tests;
mod wire;

use jiff::Timestamp;

pub use self::add::{Add, Granted, Terms};
pub use self::adopt::{Adopt, Adopted};
pub use self::amend::{Amended, Amendment};
pub use self::check::{Check, Holding};
pub use self::choice::TakenOver;
pub use self::discard::{Discard, Discarded};
pub use self::evict::{Evict, Evicted};
pub use self::keep::{GiveUpReason, GivenUp, Keep};
pub use self::release::{Release, Released};
pub(super) use self::release::{is_past, let_go};
pub(super) use self::seek::key_of_rest;
use super::refusal::Refusal;
use crate::store::{Outcome, Txn};

/// A decision in the making.
pub trait Decide {
    /// What is decided in the end.
    type Decision;

    /// The first step.
    fn start(&mut self, now: Timestamp) -> Step<Self::Decision>;

    /// The step after the transaction of the last one.
    fn next(&mut self, outcome: &Outcome, now: Timestamp) -> Step<Self::Decision>;

    /// The step after a transaction that got no answer: it may have taken effect, or may yet, also after what follows.
    fn unanswered(&mut self, now: Timestamp) -> Step<Self::Decision>;
}

/// What is to happen next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step<D> {
    /// Run this transaction and come back with its outcome.
    Commit(Txn),
    /// The decision is made, and all of it is stored.
    Done(D),
    /// There is none to make.
    Refused(Refusal),
}

/// How many transactions a decision may take that were answered. Each costs one round only if another call was faster, so
/// that reaching this says that something is wrong; the deadline of a call ends it long before on a slow store. The outcome
/// of the last one still counts: only a further one is refused. What got no answer was no race that was lost: who drives the
/// decision says how often it tries.
const MAX_ROUNDS: u32 = 100;

/// The step, unless it is a transaction beyond [`MAX_ROUNDS`].
pub(super) fn within_rounds<D>(rounds: u32, step: Step<D>) -> Step<D> {
    match step {
        Step::Commit(_) if rounds >= MAX_ROUNDS => Step::Refused(Refusal::Contended { rounds: MAX_ROUNDS }),
        step => step,
    }
}
