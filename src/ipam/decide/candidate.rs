//! An address that an ADD tries, and the state in the store that allows it.

use std::net::IpAddr;

use super::specific_address::Takeover;
use crate::ipam::keys::{self, CooldownClass};
use crate::ipam::lease::Lease;
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
    /// It has no lease, or none was read yet.
    Unknown,
    Resting {
        revision: Revision,
        /// The key of its entry in the cooldown index.
        rest: Key,
        /// Whether the cooldown has ended.
        over: bool,
    },
    /// The holder may lose it: its pod is gone, or it is an earlier sandbox of the same pod.
    Takeover(Box<Takeover>),
    /// Nobody holds it, and it is reserved for the requester's owner, or the reservation has expired.
    Reserved(Revision),
    /// A virtual machine migrates, and the requester becomes the second holder.
    Joining { revision: Revision, lease: Box<Lease> },
}

impl Candidate {
    pub(super) fn fresh(ip: IpAddr) -> Self {
        Self { ip, availability: Availability::Unknown }
    }

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

/// The key of a lease in the cooldown index; `None` if it is not in cooldown.
pub(in crate::ipam) fn cooldown_key(vrf: &Name, ip: IpAddr, lease: &Lease) -> Option<Key> {
    let rest = lease.rest.as_ref()?;
    let class = if rest.last { CooldownClass::LastResort } else { CooldownClass::Normal };
    Some(keys::rest(vrf, class, rest.released, ip))
}
