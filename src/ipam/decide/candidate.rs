//! An address that an ADD tries, and what the store has of it.

use std::net::IpAddr;

use super::specific_address::Takeover;
use crate::ipam::keys::{self, CooldownClass};
use crate::ipam::lease::Lease;
use crate::ipam::name::Name;
use crate::store::{Guard, Key, Revision};

/// An address to be tried, and the guard under which it is free.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) ip: IpAddr,
    pub(super) availability: Availability,
}

/// What the store has of a candidate.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Availability {
    /// Nothing.
    Unknown,
    /// A resting lease.
    Resting {
        /// Its revision.
        revision: Revision,
        /// Its entry among the rests.
        rest: Key,
        /// Whether it has rested long enough.
        over: bool,
    },
    /// A lease whose holder gives it up.
    Takeover(Box<Takeover>),
    /// A lease that nobody holds and that is reserved for who asks, or was for longer than its time to live.
    Reserved(Revision),
    /// A lease that is held together with those who have it.
    Joining {
        /// Its revision.
        revision: Revision,
        /// As it is.
        lease: Box<Lease>,
    },
}

impl Candidate {
    pub(super) fn fresh(ip: IpAddr) -> Self {
        Self { ip, availability: Availability::Unknown }
    }

    /// What passes with it from somebody else.
    pub(super) fn takeover(&self) -> Option<&Takeover> {
        match &self.availability {
            Availability::Takeover(takeover) => Some(takeover),
            Availability::Unknown
            | Availability::Resting { .. }
            | Availability::Reserved(_)
            | Availability::Joining { .. } => None,
        }
    }

    pub(super) fn guard(&self, vrf: &Name) -> Guard {
        let key = keys::lease(vrf, self.ip);
        match &self.availability {
            Availability::Unknown => Guard::Absent(key),
            Availability::Resting { revision, .. }
            | Availability::Reserved(revision)
            | Availability::Joining { revision, .. } => Guard::Unchanged(key, *revision),
            Availability::Takeover(takeover) => Guard::Unchanged(key, takeover.revision),
        }
    }
}

/// The key of a resting lease among the rests; `None` for a lease that is held.
pub(in crate::ipam) fn key_of_rest(vrf: &Name, ip: IpAddr, lease: &Lease) -> Option<Key> {
    let rest = lease.rest.as_ref()?;
    let class = if rest.last { CooldownClass::LastResort } else { CooldownClass::Normal };
    Some(keys::rest(vrf, class, rest.released, ip))
}
