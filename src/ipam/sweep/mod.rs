//! Finds leaks: held addresses and stored entries that nobody needs any longer.
//!
//! ```text
//!  a node's entries, then its pods ─────────────► Observation ─► find_leaks ─┐
//!  the whole store, then all pods ─► LeaseScan ─► Nominations ─► Batch ──────┴─► LeakReport ─┐
//!       some time later, the same ──────────────────────────────────────────────► LeakReport ─┴► confirm ─► Plan
//!
//!  Plan ─┬─► reserved: the owner is looked up (Plan::keep) ──┐
//!        ├─► held: the pod is checked (takeover::check_holder)├─► one conditional release each (decide::Evict, Discard)
//!        └─► Stopped, if too large a share would be freed ────┘
//! ```
//!
//! Everything here is pure. The driver reads, waits, checks and releases. These rules make it safe:
//!
//! - The store is read before the pods. The pod of every holder existed before the list, so a complete list that does
//!   not have it means that it ended.
//! - A candidate is freed only if two reports show the same key at the same revision with the same verdict, and only at
//!   that revision.
//! - Unknown means in use (invariant 4). Without a [`PodSnapshot`], no pod is missing. A holder of another cluster or
//!   without a pod's full name is never checked, and neither is a value that can't be read.
//! - The list only nominates candidates. The API server's answer about a single pod decides whether it is gone.
//! - A reservation stays while its owner exists, or one that was recreated in its place. The API server's answer about
//!   that object decides.
//! - If too large a share would be freed, nothing was: the list is more likely wrong than the store.

mod batch;
mod digest;
mod leaks;
mod observation;
mod owner;
mod plan;
mod pods;
mod scan;
#[cfg(test)]
mod tests;
mod unnamed;

pub use self::batch::ScanReport;
pub use self::leaks::{LeakReport, Tally, find_leaks};
pub use self::observation::{Boots, Observation, Seen};
pub use self::owner::{OwnerLookup, OwnerRef};
pub use self::plan::{ALWAYS_FREED, Plan, Stopped};
pub use self::pods::{PodEntry, PodList, PodSnapshot};
pub use self::scan::{AttachmentScan, LeaseScan, Nominations};
pub use self::unnamed::{Unnamed, unnamed};

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use super::cluster::ClusterIdentity;
use super::lease::{Holder, UnreadableValue};
use super::name::{AttachmentId, Name};
use super::reservation::Owner;
use super::takeover::InUseReason;
use crate::cause::{Cause, chain};
use crate::store::Revision;

/// The settings of a search for leaks.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// The cluster whose pods are listed.
    pub cluster: ClusterIdentity,
    /// How long an address must have been held before it counts as a leak (`sweep.minAge`).
    pub min_age: Duration,
}

/// What a sweep may remove: one key, with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The lease of an address.
    Address {
        /// Its vrf.
        vrf: Name,
        /// Which address.
        ip: IpAddr,
    },
    /// One holder's share of an address that others hold too.
    Share {
        /// The vrf of the address.
        vrf: Name,
        /// Which address.
        ip: IpAddr,
        /// The holder that loses it.
        of: AttachmentId,
    },
    /// An attachment: without any address, or, for [`LeakReason::EarlierBoot`], with all its addresses.
    Attachment(AttachmentId),
}

/// Something that may have leaked, or that can't be checked.
#[derive(Clone, Debug, PartialEq)]
pub struct LeakCandidate {
    /// The lease, share or attachment.
    pub target: Target,
    /// The revision at which it was read.
    pub revision: Revision,
    /// Its holder, if that can be read. For a reserved address, the last one.
    pub holder: Option<Holder>,
    /// The owner for which it is reserved beyond its holders.
    pub owner: Option<Owner>,
    /// When it was assigned, if that is stored. For a reserved address, the end of its use.
    pub since: Option<Timestamp>,
    /// Whether it has leaked.
    pub verdict: Verdict,
}

/// Whether a candidate has leaked.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It has leaked, if the check that its [`LeakReason`] requires confirms it.
    Leaked(LeakReason),
    /// It stays.
    Skipped(SkipReason),
}

/// Why a candidate has leaked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeakReason {
    /// Its holder's pod is not listed. It is freed only if [`super::takeover::check_holder`] confirms from a GET of
    /// that pod that it is gone, replaced or finished.
    NotListed,
    /// It is reserved, and has been unused for the minimum age. It is freed only if the API server confirms that its
    /// owner is gone ([`Plan::keep`]).
    Reserved,
    /// A later sandbox of the same pod has this interface on this network. No check is needed.
    Superseded,
    /// Its node has rebooted since, according to the node's own record, so its network namespace is gone. The record is
    /// read again under its lock before the release.
    EarlierBoot,
    /// It names no pod, and according to its node's own record, its network namespace is gone. The record is read again
    /// under its lock before the release.
    NamespaceGone,
    /// Its owner has not used it for longer than its time to live.
    Expired,
    /// It was reserved by hand, and the time that the operator gave is over.
    ManualExpired,
    /// A fence from this time. No ADD from before it can still take effect.
    Closed(Timestamp),
    /// A host without a lease used it, and has not answered for an hour.
    ForeignNoLonger,
}

impl LeakReason {
    /// The label for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotListed => "pod_gone",
            Self::Superseded => "superseded",
            Self::EarlierBoot => "earlier_boot",
            Self::NamespaceGone => "namespace_gone",
            Self::Reserved => "owner_gone",
            Self::Expired | Self::ManualExpired => "expired",
            Self::Closed(_) => "closed",
            Self::ForeignNoLonger => "foreign",
        }
    }
}

/// Why a candidate is skipped.
#[derive(Clone, Debug, PartialEq)]
pub enum SkipReason {
    /// Its holder's pod is not confirmed gone.
    InUse(InUseReason),
    /// Its owner could not be checked.
    OwnerUnknown {
        /// The owner for which it is reserved.
        owner: Box<Owner>,
        /// Why the check failed.
        cause: Cause,
    },
    /// It has been held for less than the minimum age.
    Young,
    /// The previous scan did not report it, or reported another revision or verdict.
    New,
    /// This version can't read it.
    Unreadable(UnreadableValue),
    /// Its lease and attachment do not name each other. No transaction of kube-ipam leaves such a state.
    Disagrees,
    /// Its container is gone, but one of its addresses was requested, and stays for the container's return.
    KeepsItsName(LeakReason),
    /// It began in an earlier boot, but this node has no record that confirms it.
    NoRecord,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { vrf, ip } | Self::Share { vrf, ip, .. } if vrf.as_str() == "default" => write!(f, "{ip}"),
            Self::Address { vrf, ip } | Self::Share { vrf, ip, .. } => write!(f, "{ip} (vrf {vrf})"),
            Self::Attachment(id) => write!(f, "{}/{}", id.container, id.ifname),
        }
    }
}

impl fmt::Display for LeakReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListed => f.write_str("its pod is not on the list of running pods"),
            Self::Reserved => f.write_str("it is reserved for an owner that is gone"),
            Self::Superseded => f.write_str("a later sandbox of its pod has this interface"),
            Self::EarlierBoot => f.write_str("its node has rebooted since"),
            Self::NamespaceGone => f.write_str("its network namespace is gone"),
            Self::Expired => f.write_str("its reservation has expired (sticky.ttl)"),
            Self::ManualExpired => f.write_str("its reservation by hand has expired (reserve --ttl)"),
            Self::ForeignNoLonger => f.write_str("no host without a lease was seen to use it for an hour (probe)"),
            Self::Closed(since) => write!(f, "closed by a DEL at {since:.0}; no ADD can still be in flight"),
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InUse(in_use) => return in_use.fmt(f),
            Self::OwnerUnknown { owner, cause } => {
                return write!(
                    f,
                    "it is reserved for {owner}, and kube-ipam can't tell whether {} still exists: {}",
                    OwnerRef::from_owner(owner),
                    chain(cause)
                );
            }
            Self::Unreadable(why) => return write!(f, "its entry can't be read: {}", chain(why)),
            Self::Young => "it has been held for less than the minimum age (sweep.minAge)",
            Self::New => "it has changed since the first scan",
            Self::Disagrees => "its lease and its attachment do not name each other",
            Self::KeepsItsName(why) => {
                return write!(
                    f,
                    "{why}, but one of its addresses was requested, so it keeps them until the pod \
                                  returns"
                );
            }
            Self::NoRecord => "its node has rebooted since, but this node has no record of it",
        })
    }
}
