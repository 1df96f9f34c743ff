//! Decisions: state machines without I/O that return, step by step, the next transaction.
//!
//! ```text
//!                 ┌──────────── Outcome ────────────┐
//!                 ▼                                 │
//!    request ─► Add / Release ─► Step::Commit(Txn) ─┤ the driver runs the transaction on a store
//!                            └─► Step::Done, Step::Refused
//! ```
//!
//! No decision assumes that a transaction which failed or got no answer had no effect. It reads what is stored and
//! continues from there. So a test can drive the same state machines through every interleaving of several calls, with
//! crashes and lost replies in between.

mod add;
mod admission;
mod adopt;
mod amend;
mod attempt;
mod auto_search;
mod candidate;
mod check;
mod discard;
mod edit;
mod evict;
mod foreign;
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
pub use self::edit::{EditLeases, Edited, LeaseEdit};
pub use self::evict::{Evict, Evicted};
pub use self::release::{Release, Released, clear_rest};
pub(super) use self::release::{is_fence_over, release_holder};
pub use self::reservation_state::{GiveUpReason, GivenUp, StickyPolicy};
use super::keys;
use super::refusal::Refusal;
use crate::store::{Guard, Outcome, Txn};

/// A state machine that ends in a decision.
pub trait Decide {
    /// The result if it is not refused.
    type Decision;

    /// The first step.
    fn start(&mut self, now: Timestamp) -> Step<Self::Decision>;

    /// The step after the last step's transaction.
    fn next(&mut self, outcome: &Outcome, now: Timestamp) -> Step<Self::Decision>;

    /// The step after a transaction without an answer. It may have taken effect, or may still do so, even after later
    /// ones.
    fn unanswered(&mut self, now: Timestamp) -> Step<Self::Decision>;
}

/// What the driver does next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step<D> {
    /// Run this transaction, then call [`Decide::next`] with its outcome.
    Commit(Txn),
    /// The decision is complete and stored.
    Done(D),
    /// The decision is that nothing can be done.
    Refused(Refusal),
}

/// The most answered transactions of a decision. Each extra one means that another call was faster, so reaching this
/// limit means that something is wrong. On a slow store, the deadline of the call comes first. The outcome of the last
/// transaction still counts; only another one is refused. A transaction without an answer is no lost race: the driver
/// limits those.
const MAX_ROUNDS: u32 = 100;

/// The guard that no recovery is in progress, of everything that assigns or reserves addresses. It need not hold at the
/// commit: what commits after a recovery began is then like what committed just before. Its guard on the lease keeps it
/// from an address that was written back. The node writes its attachment back only after the call, which holds the lock
/// of its record until it ends. What writes below `recovery/` has exact guards.
fn no_recovery() -> Guard {
    Guard::WasAbsent(keys::recovery())
}

/// Refuses a transaction beyond [`MAX_ROUNDS`].
pub(super) fn within_rounds<D>(rounds: u32, step: Step<D>) -> Step<D> {
    match step {
        Step::Commit(_) if rounds >= MAX_ROUNDS => Step::Refused(Refusal::Contended { rounds: MAX_ROUNDS }),
        step => step,
    }
}
