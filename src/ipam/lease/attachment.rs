//! What an attachment has, and what its node's record says of that.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::aging::{Sighting, first_sight, with_sight};
use super::{Holder, Lease, OnRelease, Unknown, VERSION};
use crate::ipam::name::Name;
use crate::store::Revision;

/// One address as it was given: with its prefix length and gateway, so that a repeated ADD gets the same answer after
/// the config has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// The address and its prefix length.
    pub address: IpNet,
    /// The gateway of its subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

/// What an attachment has, stored under `at/…`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// [`VERSION`].
    pub v: u32,
    /// The routing domain of its addresses.
    pub vrf: Name,
    /// Its addresses, in the order of the network's range sets; empty while it is only closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Assigned>,
    /// Addresses that it had and that were taken from it. It stays incomplete until its DEL: a repeated ADD is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<IpAddr>,
    /// When it lost the last of them. The entry is the trace by which its node knows that the store has lost nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_since: Option<Timestamp>,
    /// Who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// The fence: a DEL has closed this attachment at this time, because the ADD before it may still be under way. A
    /// later ADD of the same id replaces it and carries it on, so that its own DEL leaves the fence standing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Timestamp>,
    /// When sweeps have first seen that it was closed then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sighted: Vec<Sighting>,
    /// What a newer version of the same format has added.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Attachment {
    /// When a sweep has first seen the fence that stands in it, by a clock that is not ahead of this one.
    pub fn fence_seen(&self, now: Timestamp) -> Option<Timestamp> {
        first_sight(self.closed?, &self.sighted, now)
    }

    /// The same with the sight of the fence that was closed then.
    #[must_use]
    pub fn with_sight_of(self, closed: Timestamp, now: Timestamp) -> Self {
        let sighted = match with_sight(closed, &self.sighted, now) {
            none if none.is_empty() => vec![Sighting { of: closed, at: now }],
            sighted => sighted,
        };
        Self { sighted, ..self }
    }

    /// Whether it is a fence and nothing else.
    pub fn is_only_closed(&self) -> bool {
        self.addresses.is_empty() && self.lost.is_empty() && self.closed.is_some()
    }

    /// The same without these addresses, if it has any of them.
    pub fn without(mut self, ips: &[IpAddr], now: Timestamp) -> Option<Self> {
        let (lost, kept) = self.addresses.into_iter().partition(|assigned| ips.contains(&assigned.address.addr()));
        let lost: Vec<Assigned> = lost;
        if lost.is_empty() {
            return None;
        }
        self.lost.extend(lost.into_iter().map(|assigned| assigned.address.addr()));
        Some(Self { addresses: kept, lost_since: Some(now), ..self })
    }

    /// A fence in the place of an attachment.
    pub fn closed(vrf: Name, at: Timestamp) -> Self {
        let (addresses, lost, sighted, unknown) = (Vec::new(), Vec::new(), Vec::new(), Unknown::new());
        Self { v: VERSION, vrf, addresses, lost, lost_since: None, holder: None, closed: Some(at), sighted, unknown }
    }
}

/// Exactly what a commit wrote, and at which revision: with it a DEL releases everything in one request, as long as
/// nobody has written to these keys since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Written {
    /// The revision of every key below.
    pub revision: Revision,
    /// The attachment's value.
    pub attachment: Attachment,
    /// The addresses with their leases.
    pub leases: Vec<(IpAddr, Lease)>,
}

impl Written {
    /// Whether a lease stays behind when the attachment lets go of it, and names the attachment as the last that held
    /// it.
    pub fn leaves_a_trace(&self) -> bool {
        let stays = |lease: &Lease| match lease.on_release {
            OnRelease::Rest(seconds) => seconds > 0,
            OnRelease::Last | OnRelease::Keep(_) => true,
            OnRelease::Forget => false,
        };
        self.leases.iter().any(|(_, lease)| lease.holders.len() == 1 && stays(lease))
    }
}
