//! Why an attachment does not hold an address, according to the store.

use crate::ipam::lease::{Holder, ManualReservation, UnreadableValue};
use crate::ipam::reservation::Owner;

/// The state of an address that an attachment does not hold.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NotHeldReason {
    /// It has no lease.
    #[error("nobody holds it")]
    NoLease,
    /// It is in cooldown.
    #[error("it is in cooldown")]
    InCooldown,
    /// Nobody uses it, and it is reserved for its owner.
    #[error("it is reserved for {0}")]
    Reserved(Box<Owner>),
    /// Nobody uses it, and it is reserved by hand.
    #[error("it is {0}")]
    ReservedByHand(Box<ManualReservation>),
    /// It has another holder.
    #[error("{0} holds it")]
    HeldBy(Box<Holder>),
    /// Its lease has no holder.
    #[error("its lease names no holder")]
    NoHolder,
    /// It was taken from the attachment by a take-over or a person.
    #[error("a take-over or an operator took it")]
    Taken,
    /// Its lease can't be read.
    #[error("its lease can't be read")]
    Unreadable(#[source] UnreadableValue),
}
