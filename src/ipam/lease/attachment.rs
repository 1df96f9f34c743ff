//! The stored attachment, and the copy in its node's record.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::aging::{Sighting, first_sight, with_sight};
use super::{Holder, Lease, OnRelease, Unknown, VERSION};
use crate::ipam::name::Name;
use crate::store::Revision;

/// An address as it was assigned, with its prefix length and gateway, so that a repeated ADD gets the same result after
/// the config has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// The address and its prefix length.
    pub address: IpNet,
    /// The gateway of its subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

/// The addresses of an attachment, stored under `at/…`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// [`VERSION`].
    pub v: u32,
    /// The routing domain of its addresses.
    pub vrf: Name,
    /// Its addresses, in the order of the network's range sets. Empty in a fence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Assigned>,
    /// Addresses that were taken from it. It stays incomplete until its DEL: a repeated ADD is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<IpAddr>,
    /// When it lost the last of them. Without this trace, its node would conclude that the store has lost writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_since: Option<Timestamp>,
    /// The holder that its leases name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// The fence: when a DEL closed this attachment, because the ADD before it may still take effect. A later ADD with
    /// the same ID replaces the entry and keeps the fence, so that its own DEL leaves it in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Timestamp>,
    /// When sweeps first saw this fence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sighted: Vec<Sighting>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Attachment {
    /// When a sweep first saw its fence, by a clock that is not ahead of this one.
    pub fn fence_seen(&self, now: Timestamp) -> Option<Timestamp> {
        first_sight(self.closed?, &self.sighted, now)
    }

    /// Records that its fence was seen now.
    #[must_use]
    pub fn with_sight_of(self, closed: Timestamp, now: Timestamp) -> Self {
        let sighted = match with_sight(closed, &self.sighted, now) {
            none if none.is_empty() => vec![Sighting { of: closed, at: now }],
            sighted => sighted,
        };
        Self { sighted, ..self }
    }

    /// Whether it is only a fence.
    pub fn is_only_closed(&self) -> bool {
        self.addresses.is_empty() && self.lost.is_empty() && self.closed.is_some()
    }

    /// Removes these addresses; `None` if it has none of them.
    pub fn without(mut self, ips: &[IpAddr], now: Timestamp) -> Option<Self> {
        let (lost, kept) = self.addresses.into_iter().partition(|assigned| ips.contains(&assigned.address.addr()));
        let lost: Vec<Assigned> = lost;
        if lost.is_empty() {
            return None;
        }
        self.lost.extend(lost.into_iter().map(|assigned| assigned.address.addr()));
        Some(Self { addresses: kept, lost_since: Some(now), ..self })
    }

    /// A fence without addresses.
    pub fn closed(vrf: Name, at: Timestamp) -> Self {
        let (addresses, lost, sighted, unknown) = (Vec::new(), Vec::new(), Vec::new(), Unknown::new());
        Self { v: VERSION, vrf, addresses, lost, lost_since: None, holder: None, closed: Some(at), sighted, unknown }
    }
}

/// The values that a commit wrote, and their revision. With it, a DEL releases everything in one request if these keys
/// have not changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Written {
    /// The revision of all these keys.
    pub revision: Revision,
    /// The attachment's value.
    pub attachment: Attachment,
    /// The addresses with their leases.
    pub leases: Vec<(IpAddr, Lease)>,
}

impl Written {
    /// Whether a lease remains after a release and names the attachment as its last holder.
    pub fn leaves_a_trace(&self) -> bool {
        let stays = |lease: &Lease| match lease.on_release {
            OnRelease::Rest(seconds) => seconds > 0,
            OnRelease::Last | OnRelease::Keep(_) => true,
            OnRelease::Forget => false,
        };
        self.leases.iter().any(|(_, lease)| lease.holders.len() == 1 && stays(lease))
    }
}
