//! An address in use by a host that the store does not know: written down by an ADD on a network with `probe: always`.
//!
//! It is a lease without a holder. Nobody releases it, so that it does not stand for ever: an hour after the host last
//! answered, whoever draws the address probes for it again, or has it where no link is probed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::aging::has_lasted;
use super::{AllocationKind, Lease, OnRelease, Unknown, VERSION};
use crate::ipam::name::Name;
use crate::ipam::takeover::Mac;

/// How long an address is left alone after a host has answered for it, in seconds.
const LEFT_ALONE: u64 = 3600;

/// How long an answer after a release may still be that of the last holder, in seconds: its interface goes after its
/// addresses are released.
pub const LAST_HOLDER_ANSWERS: u64 = 60;

/// The host that answered for an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreign {
    /// Its MAC address.
    pub mac: Mac,
    /// The network on whose link it answered.
    pub network: Name,
    /// The node that probed for the address.
    pub node: Name,
    /// When it answered last.
    pub answered: Timestamp,
}

impl Lease {
    /// The lease of an address for which this host has been answering since then.
    pub fn of_foreign(foreign: Foreign, since: Timestamp) -> Self {
        Self {
            v: VERSION,
            kind: AllocationKind::Dynamic,
            holders: Vec::new(),
            since,
            on_release: OnRelease::Forget,
            rest: None,
            owner: None,
            held_for: None,
            unused: None,
            seen_gone: None,
            sighted: Vec::new(),
            former_pods: Vec::new(),
            foreign: Some(foreign),
            unknown: Unknown::new(),
        }
    }

    /// The host that uses the address, if the store knows no other use of it.
    pub fn foreign(&self) -> Option<&Foreign> {
        let is_unheld = self.holders.is_empty() && self.rest.is_none() && self.unused.is_none();
        self.foreign.as_ref().filter(|_| is_unheld)
    }

    /// Whether a host uses the address that answered for it within the last hour.
    pub fn is_foreign_now(&self, now: Timestamp) -> bool {
        self.foreign().is_some_and(|foreign| !has_lasted(self.counts_from(foreign.answered, now), LEFT_ALONE, now))
    }

    /// Whether its last holder let go of it so short a while ago that it may still answer.
    pub fn may_still_answer(&self, now: Timestamp) -> bool {
        let released = self.rest.as_ref().map(|rest| rest.released).or(self.unused);
        released.is_some_and(|time| !has_lasted(self.counts_from(time, now), LAST_HOLDER_ANSWERS, now))
    }
}
