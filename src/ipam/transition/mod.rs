//! What happened to an address, from its lease before and after a change.
//!
//! ```text
//!            before │ absent       held                 in cooldown  reserved     foreign
//!  after ───────────┼──────────────────────────────────────────────────────────────────────
//!  held             │ Assigned     by others: Assigned  Assigned     Assigned     Assigned
//!                   │              one more:  Joined
//!                   │              one less:  Left
//!  in cooldown      │ Released     Released             Rewritten    Freed        Released
//!  reserved         │ Reserved     Released             Reserved     Rewritten    Reserved
//!  foreign          │ Foreign      Foreign              Foreign      Foreign      Foreign
//!  absent           │ Freed        Released             Freed        Freed        Freed
//! ```
//!
//! Nothing here decides anything. It puts a change into an operator's words, as far as the two leases say.

use std::fmt;

use jiff::Timestamp;

use super::lease::{AllocationKind, Foreign, Holder, Lease, LeaseState, ManualReservation, Stored, UnreadableValue};
use super::reservation::Owner;
use crate::store::{Before, Value};

/// A lease on one side of a change.
#[derive(Clone, Debug, PartialEq)]
pub enum Side {
    /// The address had none.
    Absent,
    /// This one.
    Lease(Box<Lease>),
    /// One that this version can't read.
    Unreadable(UnreadableValue),
    /// The store can't tell.
    Unknown,
}

/// What happened to an address.
#[derive(Clone, Debug, PartialEq)]
pub enum LeaseEvent {
    /// It has new holders.
    Assigned {
        /// The new holders; more than one only if the changes between them were not seen.
        holders: Vec<Holder>,
        /// How it was selected.
        kind: AllocationKind,
        /// The holders from which it was taken over.
        from: Vec<Holder>,
    },
    /// Another holder shares it, while a virtual machine migrates.
    Joined(Vec<Holder>),
    /// One of several holders released it.
    Left(Vec<Holder>),
    /// Its last holders released it, or a sweep did so for them.
    Released {
        /// The last holders.
        holders: Vec<Holder>,
        /// What happens to the address.
        next: Next,
    },
    /// It is reserved, and not because its holder released it.
    Reserved(Next),
    /// What kept it from others has ended.
    Freed {
        /// What ended.
        ended: Ended,
        /// What happens to the address.
        next: Next,
    },
    /// A host without a lease uses it.
    Foreign {
        /// The host.
        host: Foreign,
        /// Whether this was not known.
        is_new: bool,
    },
    /// A check found that the pod of its holder is gone. The next one may free it.
    SeenGone(Vec<Holder>),
    /// Its lease was written again, and says the same about holders and state.
    Rewritten(LeaseState),
    /// It has a lease that this version can't read.
    Unreadable(UnreadableValue),
}

/// What happens to an address without a holder.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// It can be assigned.
    Free,
    /// It is in cooldown until this time.
    Rests(Option<Timestamp>),
    /// It is selected at random only when nothing else is free.
    LastResort,
    /// It is reserved.
    Reserved {
        /// For whom.
        purpose: Purpose,
        /// Until when; as long as the owner exists, or until it is released by hand, if there is no time.
        until: Option<Timestamp>,
    },
    /// Its holder keeps it.
    Held,
}

/// For whom or what an address is reserved.
#[derive(Clone, Debug, PartialEq)]
pub enum Purpose {
    /// A stable identity.
    Owner(Box<Owner>),
    /// An operator's, and maybe for an object.
    Hand(Box<ManualReservation>),
    /// The lease names none.
    Unnamed,
}

/// What ended when an address became free.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// Its cooldown.
    Cooldown,
    /// Its reservation.
    Reservation(Purpose),
    /// The note about a host without a lease.
    Foreign(Foreign),
    /// The lease before is not known.
    Unknown,
}

impl Purpose {
    fn from_lease(lease: &Lease) -> Self {
        match (&lease.manual, &lease.owner) {
            (Some(manual), _) => Self::Hand(Box::new(manual.clone())),
            (None, Some(owner)) => Self::Owner(Box::new(owner.clone())),
            (None, None) => Self::Unnamed,
        }
    }
}

impl fmt::Display for Purpose {
    /// As in `reserved for StatefulSet pod db/pg-0` or `reserved by hand for pod db/pg-0: "migration"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(owner) => write!(f, "reserved for {owner}"),
            Self::Hand(manual) => match &manual.beneficiary {
                Some(object) => write!(f, "reserved by hand for {object}: {}", manual.reason),
                None => write!(f, "reserved by hand: {}", manual.reason),
            },
            Self::Unnamed => f.write_str("reserved"),
        }
    }
}

impl Side {
    /// The side that a store describes as the value before a change.
    pub fn before(before: &Before) -> Self {
        match before {
            Before::Absent => Self::Absent,
            Before::Value(value) => Self::stored(value),
            Before::Unknown => Self::Unknown,
        }
    }

    /// The side after a change.
    pub fn after(value: Option<&Value>) -> Self {
        value.map_or(Self::Absent, |value| Self::stored(value))
    }

    fn stored(value: &[u8]) -> Self {
        match Stored::read(value) {
            Stored::Known(lease) => Self::Lease(Box::new(lease)),
            Stored::Unreadable(why) => Self::Unreadable(why),
        }
    }

    /// The lease.
    pub fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Lease(lease) => Some(lease),
            Self::Absent | Self::Unreadable(_) | Self::Unknown => None,
        }
    }
}

impl LeaseEvent {
    /// What happened between two states of a lease. The time is for the ends of cooldowns and reservations.
    pub fn between(before: &Side, after: &Side, now: Timestamp) -> Self {
        let lease = match after {
            Side::Lease(lease) => lease,
            Side::Unreadable(why) => return Self::Unreadable(why.clone()),
            Side::Absent | Side::Unknown => return to_none(before),
        };
        match lease.state() {
            LeaseState::Held => to_held(before, lease),
            LeaseState::Resting | LeaseState::Reserved => to_unheld(before, lease, now),
            LeaseState::Foreign => match lease.foreign() {
                Some(host) => {
                    let is_known = before.lease().and_then(Lease::foreign).is_some_and(|known| known.mac == host.mac);
                    Self::Foreign { host: host.clone(), is_new: !is_known }
                }
                None => Self::Rewritten(LeaseState::Foreign),
            },
        }
    }

    /// When it happened, by the clock of the node that wrote it; `None` if the lease does not say.
    pub fn time(before: &Side, after: &Side) -> Option<Timestamp> {
        let lease = after.lease()?;
        match lease.state() {
            LeaseState::Held => {
                let had = before.lease().filter(|before| before.is_held());
                Some(lease.since).filter(|since| had.is_none_or(|had| had.since != *since))
            }
            LeaseState::Resting => lease.rest.as_ref().map(|rest| rest.released),
            LeaseState::Reserved => lease.unused,
            LeaseState::Foreign => lease.foreign().map(|foreign| foreign.answered),
        }
    }

    /// The event as a word, for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Assigned { from, .. } if !from.is_empty() => "takenOver",
            Self::Assigned { .. } => "assigned",
            Self::Joined(_) => "joined",
            Self::Left(_) => "left",
            Self::Released { .. } => "released",
            Self::Reserved(_) => "reserved",
            Self::Freed { next: Next::Held, .. } => "unreserved",
            Self::Freed { .. } => "freed",
            Self::Foreign { .. } => "foreign",
            Self::SeenGone(_) => "seenGone",
            Self::Rewritten(_) => "rewritten",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

/// The holders of a lease, if it is held.
fn holders(side: &Side) -> &[Holder] {
    side.lease().filter(|lease| lease.is_held()).map_or(&[], |lease| &lease.holders)
}

/// Those of the first that are not among the others.
fn without(holders: &[Holder], others: &[Holder]) -> Vec<Holder> {
    holders.iter().filter(|holder| !others.iter().any(|other| other.id == holder.id)).cloned().collect()
}

fn to_held(before: &Side, lease: &Lease) -> LeaseEvent {
    let had = holders(before);
    let (new, gone) = (without(&lease.holders, had), without(had, &lease.holders));
    match (new.is_empty(), gone.is_empty()) {
        (false, is_shared) if !is_shared || had.is_empty() => {
            LeaseEvent::Assigned { holders: new, kind: lease.kind, from: gone }
        }
        (false, _) => LeaseEvent::Joined(new),
        (true, false) => LeaseEvent::Left(gone),
        (true, true) => before.lease().map_or(LeaseEvent::Rewritten(LeaseState::Held), |before| noted(before, lease)),
    }
}

/// What is noted about an address whose holders stay.
fn noted(before: &Lease, lease: &Lease) -> LeaseEvent {
    match (&before.manual, &lease.manual) {
        (had, Some(manual)) if had.as_ref() != Some(manual) => {
            return LeaseEvent::Reserved(Next::Reserved { purpose: Purpose::from_lease(lease), until: None });
        }
        (Some(_), None) => {
            return LeaseEvent::Freed { ended: Ended::Reservation(Purpose::from_lease(before)), next: Next::Held };
        }
        _ => {}
    }
    match &lease.seen_gone {
        Some(seen) if before.seen_gone.as_ref() != Some(seen) => {
            let is_it = |holder: &&Holder| holder.pod.uid.as_ref() == Some(&seen.uid);
            LeaseEvent::SeenGone(lease.holders.iter().filter(is_it).cloned().collect())
        }
        _ => LeaseEvent::Rewritten(LeaseState::Held),
    }
}

fn to_unheld(before: &Side, lease: &Lease, now: Timestamp) -> LeaseEvent {
    let next = next(lease, now);
    let Some(had) = before.lease() else {
        return match (&next, lease.holders.is_empty()) {
            (Next::Reserved { .. }, true) => LeaseEvent::Reserved(next),
            (_, true) => LeaseEvent::Freed { ended: Ended::Unknown, next },
            (_, false) => LeaseEvent::Released { holders: lease.holders.clone(), next },
        };
    };
    let purpose = Purpose::from_lease;
    match had.state() {
        LeaseState::Held => LeaseEvent::Released { holders: had.holders.clone(), next },
        state if had.rest == lease.rest && had.unused == lease.unused && purpose(had) == purpose(lease) => {
            LeaseEvent::Rewritten(state)
        }
        LeaseState::Reserved if lease.rest.is_some() => {
            LeaseEvent::Freed { ended: Ended::Reservation(purpose(had)), next }
        }
        _ if lease.rest.is_some() => LeaseEvent::Released { holders: lease.holders.clone(), next },
        _ => LeaseEvent::Reserved(next),
    }
}

fn next(lease: &Lease, now: Timestamp) -> Next {
    match &lease.rest {
        Some(rest) if rest.last => Next::LastResort,
        Some(_) => Next::Rests(lease.rests_until(now)),
        None => Next::Reserved { purpose: Purpose::from_lease(lease), until: lease.reserved_until(now) },
    }
}

fn to_none(before: &Side) -> LeaseEvent {
    let Some(lease) = before.lease() else { return LeaseEvent::Freed { ended: Ended::Unknown, next: Next::Free } };
    let ended = match lease.state() {
        LeaseState::Held => return LeaseEvent::Released { holders: lease.holders.clone(), next: Next::Free },
        LeaseState::Resting => Ended::Cooldown,
        LeaseState::Reserved => Ended::Reservation(Purpose::from_lease(lease)),
        LeaseState::Foreign => lease.foreign().map_or(Ended::Unknown, |host| Ended::Foreign(host.clone())),
    };
    LeaseEvent::Freed { ended, next: Next::Free }
}

#[cfg(test)]
mod tests;
