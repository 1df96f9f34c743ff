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
mod amend;
mod attempt;
mod auto_search;
mod candidate;
mod check;
mod discard;
mod evict;
mod free_search;
mod lease_survey;
mod pool_search;
mod probe_gate;
mod reads;
mod reclaim;
mod release;
mod reservation_state;
mod slot;
mod specific_address;
#[cfg(test)]
pub(super) mod tests;

use jiff::Timestamp;

pub use self::add::{Add, Allocation, AllocationPolicy};
pub use self::adopt::{Adopt, Adopted};
pub use self::amend::{Amended, Amendment};
pub use self::attempt::TakenOver;
pub(super) use self::candidate::cooldown_key;
pub use self::check::{Check, Holding};
pub use self::discard::{Discard, Discarded};
pub use self::evict::{Evict, Evicted};
pub use self::release::{Release, Released};
pub(super) use self::release::{is_past, let_go};
pub use self::reservation_state::{GiveUpReason, GivenUp, StickyPolicy};
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

/// How many transactions a decision may take that were answered. Each costs one round only if another call was faster,
/// so that reaching this says that something is wrong; the deadline of a call ends it long before on a slow store. The
/// outcome of the last one still counts: only a further one is refused. What got no answer was no race that was lost:
/// who drives the decision says how often it tries.
const MAX_ROUNDS: u32 = 100;

/// The step, unless it is a transaction beyond [`MAX_ROUNDS`].
pub(super) fn within_rounds<D>(rounds: u32, step: Step<D>) -> Step<D> {
    match step {
        Step::Commit(_) if rounds >= MAX_ROUNDS => Step::Refused(Refusal::Contended { rounds: MAX_ROUNDS }),
        step => step,
    }
}
