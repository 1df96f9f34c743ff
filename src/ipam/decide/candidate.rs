//! An address that an ADD tries, and the state in the store that allows it.

use std::net::IpAddr;

use jiff::Timestamp;

use super::specific_address::Takeover;
use crate::ipam::keys::{self, CooldownClass};
use crate::ipam::lease::{Lease, ManualReservation};
use crate::ipam::name::Name;
use crate::store::{Guard, Key, Revision};

/// An address to try. Its availability determines the guard under which it may be assigned.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) ip: IpAddr,
    pub(super) availability: Availability,
}

/// Why a candidate can be assigned, as the store showed it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Availability {
    /// Its lease was not read. It is tried as if it had none.
    Unread,
    /// It has no lease.
    Free,
    Resting {
        revision: Revision,
        /// The key of its entry in the cooldown index.
        rest: Key,
        /// Whether the cooldown has ended.
        over: bool,
        /// Whether its last holder may still answer for it.
        may_answer: bool,
    },
    /// Its lease says that a host uses it which the store does not know.
    Foreign { revision: Revision, lease: Box<Lease> },
    /// The holder may lose it: its pod is gone, or it is an earlier sandbox of the same pod.
    Takeover(Box<Takeover>),
    /// Nobody holds it, and it is reserved for the requester or its owner, or the reservation has expired.
    Reserved {
        revision: Revision,
        /// What the operator said of it. It applies again when the requester releases the address.
        manual: Option<Box<ManualReservation>>,
    },
    /// A virtual machine migrates, and the requester becomes the second holder.
    Joining { revision: Revision, lease: Box<Lease> },
}

impl Candidate {
    pub(super) fn unread(ip: IpAddr) -> Self {
        Self { ip, availability: Availability::Unread }
    }

    pub(super) fn free(ip: IpAddr) -> Self {
        Self { ip, availability: Availability::Free }
    }

    /// The candidate of an address that a foreign host has or had. `None` if the host has answered within the last hour,
    /// unless the address is probed in any case.
    pub(super) fn formerly_foreign(
        ip: IpAddr,
        revision: Revision,
        lease: &Lease,
        is_probed: bool,
        now: Timestamp,
    ) -> Option<Self> {
        lease.foreign().filter(|_| is_probed || !lease.is_foreign_now(now))?;
        Some(Self { ip, availability: Availability::Foreign { revision, lease: Box::new(lease.clone()) } })
    }

    /// The candidate of an address whose reservation is over.
    pub(super) fn expired(ip: IpAddr, revision: Revision) -> Self {
        Self { ip, availability: Availability::Reserved { revision, manual: None } }
    }

    pub(super) fn is_unread(&self) -> bool {
        self.availability == Availability::Unread
    }

    /// Whether the store counts the address as taken.
    pub(super) fn has_lease(&self) -> bool {
        self.revision().is_some()
    }

    /// The revision of its lease; `None` if it has none, or none was read.
    pub(super) fn revision(&self) -> Option<Revision> {
        match &self.availability {
            Availability::Unread | Availability::Free => None,
            Availability::Resting { revision, .. }
            | Availability::Foreign { revision, .. }
            | Availability::Reserved { revision, .. }
            | Availability::Joining { revision, .. } => Some(*revision),
            Availability::Takeover(takeover) => Some(takeover.revision),
        }
    }

    pub(super) fn takeover(&self) -> Option<&Takeover> {
        match &self.availability {
            Availability::Takeover(takeover) => Some(takeover),
            Availability::Unread
            | Availability::Free
            | Availability::Resting { .. }
            | Availability::Foreign { .. }
            | Availability::Reserved { .. }
            | Availability::Joining { .. } => None,
        }
    }

    /// What the operator said of the address, if it is reserved by hand beyond this assignment.
    pub(super) fn manual(&self, now: Timestamp) -> Option<&ManualReservation> {
        match &self.availability {
            Availability::Reserved { manual, .. } => manual.as_deref(),
            Availability::Takeover(takeover) => takeover.lease.manual(now),
            Availability::Joining { lease, .. } => lease.manual(now),
            Availability::Unread | Availability::Free | Availability::Resting { .. } | Availability::Foreign { .. } => {
                None
            }
        }
    }

    pub(super) fn guard(&self, vrf: &Name) -> Guard {
        let key = keys::lease(vrf, self.ip);
        match self.revision() {
            None => Guard::Absent(key),
            Some(revision) => Guard::Unchanged(key, revision),
        }
    }
}

/// The key of a lease in the cooldown index; `None` if it is not in cooldown.
pub(in crate::ipam) fn cooldown_key(vrf: &Name, ip: IpAddr, lease: &Lease) -> Option<Key> {
    let rest = lease.rest.as_ref()?;
    let class = if rest.last { CooldownClass::LastResort } else { CooldownClass::Normal };
    Some(keys::rest(vrf, class, rest.released, ip))
}
