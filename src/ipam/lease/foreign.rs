//! Foreign addresses: in use by a host without a lease. An ADD on a network with `probe: always` records them.
//!
//! The record is a lease without a holder. No DEL releases it, so it expires: one hour after the host's last answer,
//! the address is a candidate again, which is probed on a network that probes new addresses and assigned on any other.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::aging::{after, has_lasted};
use super::{AllocationKind, Lease, OnRelease};
use crate::ipam::name::Name;
use crate::ipam::takeover::Mac;

/// How long an address is not assigned after a foreign host answered for it, in seconds.
const LEFT_ALONE: u64 = 3600;

/// How long after a release the last holder may still answer, in seconds. Its interface is removed after its addresses
/// are released.
pub const LAST_HOLDER_ANSWERS: u64 = 60;

/// The host that answered for an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Foreign {
    /// Its MAC address.
    pub mac: Mac,
    /// The network whose link was probed.
    pub network: Name,
    /// The node that probed.
    pub node: Name,
    /// The time of its last answer.
    #[schemars(with = "String")]
    pub answered: Timestamp,
}

impl Lease {
    /// The lease of an address for which this host has answered since this time.
    pub fn of_foreign(foreign: Foreign, since: Timestamp) -> Self {
        let lease = Self::new(AllocationKind::Dynamic, Vec::new(), since, OnRelease::Forget);
        Self { foreign: Some(foreign), ..lease }
    }

    /// The host that uses the address. `None` if the lease has a holder, a cooldown or a reservation: an older version
    /// may have added one and kept the field.
    pub fn foreign(&self) -> Option<&Foreign> {
        let is_unheld = self.holders.is_empty() && self.rest.is_none() && self.unused.is_none();
        self.foreign.as_ref().filter(|_| is_unheld)
    }

    /// Whether a foreign host answered for the address within the last hour.
    pub fn is_foreign_now(&self, now: Timestamp) -> bool {
        self.foreign().is_some_and(|foreign| !has_lasted(self.counts_from(foreign.answered, now), LEFT_ALONE, now))
    }

    /// When a foreign address becomes a candidate again.
    pub fn left_alone_until(&self, now: Timestamp) -> Option<Timestamp> {
        after(self.counts_from(self.foreign()?.answered, now), LEFT_ALONE)
    }

    /// Whether it was released so recently that its last holder may still answer.
    pub fn may_still_answer(&self, now: Timestamp) -> bool {
        let released = self.rest.as_ref().map(|rest| rest.released).or(self.unused);
        released.is_some_and(|time| !has_lasted(self.counts_from(time, now), LAST_HOLDER_ANSWERS, now))
    }
}
