//! What has leaked: which held addresses and entries nobody needs any more (contract, section 6).
//!
//! ```text
//!  a node's entries, then its pods ─────────────► Observation ─► find_leaks ─┐
//!  the whole store, then all pods ─► LeaseScan ─► Nominations ─► Batch ──────┴─► LeakReport ─┐
//!       some time later, the same ──────────────────────────────────────────────► LeakReport ─┴► confirm ─► Plan
//!
//!  Plan ─┬─► reserved: the owner is looked up (Plan::keep) ──┐
//!        ├─► held: the pod is checked (takeover::check_holder)├─► one conditional release each (decide::Evict, Discard)
//!        └─► Stopped, where too large a share would be freed ─┘
//! ```
//!
//! Everything here is pure; the driver reads, waits, asks and releases. These rules make it safe:
//!
//! - The store is read before the pods. The pod of a holder was made before that, so that its absence from a complete and newer
//!   list is no accident of the order.
//! - A candidate is freed only if two reports show the same key at the same revision with the same verdict, and only at that
//!   revision.
//! - What is not known counts as in use (invariant 4). Without a [`PodSnapshot`] no pod is missing. A holder of another cluster,
//!   or without a pod's full name, is never judged, and neither is a value that can't be read.
//! - The list only nominates. Whether a pod is gone, the API server says of that very pod.
//! - A reservation stays as long as its owner exists, or one that was recreated in its place, as the API server says of that
//!   object.
//! - If too large a share would be freed, nothing is: the list is more likely wrong than the store.

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

/// By which rules is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// The cluster whose pods are listed.
    pub cluster: ClusterIdentity,
    /// How long an address must have been held before it goes (`sweep.minAge`).
    pub min_age: Duration,
}

/// What may go: one key, with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// An address, by its lease.
    Address {
        /// Its routing domain.
        vrf: Name,
        /// The address.
        ip: IpAddr,
    },
    /// What one of several holders has of an address: the others go on holding it.
    Share {
        /// Its routing domain.
        vrf: Name,
        /// The address.
        ip: IpAddr,
        /// Which of the holders.
        of: AttachmentId,
    },
    /// An attachment's entry: one that holds no address; or, by [`LeakReason::EarlierBoot`], with all that it holds.
    Attachment(AttachmentId),
}

/// Something that may have leaked, or of which it can't be told.
#[derive(Clone, Debug, PartialEq)]
pub struct LeakCandidate {
    /// What it is.
    pub target: Target,
    /// The revision at which it was seen.
    pub revision: Revision,
    /// Who holds it, as far as that can be read; of a reserved address, who held it last.
    pub holder: Option<Holder>,
    /// For whom it is kept, beyond its holders.
    pub owner: Option<Owner>,
    /// Since when, where that is stored.
    pub since: Option<Timestamp>,
    /// What is to become of it.
    pub verdict: Verdict,
}

/// What is to become of a candidate.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It has leaked, and is freed once what [`LeakReason`] asks for is done.
    Leaked(LeakReason),
    /// It is left alone.
    Skipped(SkipReason),
}

/// Why a candidate is to go. A later kind of leak is one more of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeakReason {
    /// Its holder's pod is not among those that run. Whether it is gone, replaced or finished, [`super::takeover::check_holder`]
    /// says of what the API server tells of that pod; without it, nothing goes.
    NotListed,
    /// It is reserved, and has been unused for the minimum age. Whether its owner is gone, the API server says of that
    /// very object ([`Plan::keep`]); without it, nothing goes.
    Reserved,
    /// A later sandbox of the same pod has this interface on this network. Nobody needs to be asked.
    Superseded,
    /// Its node has booted since, and the node's own record says so: no network namespace is left of it. The record has to
    /// say the same once more while it is locked.
    EarlierBoot,
    /// It is of no pod, and its node's own record says that its network namespace is gone. The record has to say the same once
    /// more while it is locked.
    NamespaceGone,
    /// It is reserved for an owner that has not used it for longer than its time to live.
    Expired,
    /// A fence that has stood since then, longer than any commit can be under way.
    Closed(Timestamp),
    /// A host without a lease used it, and has not answered for an hour.
    ForeignNoLonger,
}

impl LeakReason {
    /// A word for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotListed => "pod_gone",
            Self::Superseded => "superseded",
            Self::EarlierBoot => "earlier_boot",
            Self::NamespaceGone => "namespace_gone",
            Self::Reserved => "owner_gone",
            Self::Expired => "expired",
            Self::Closed(_) => "closed",
            Self::ForeignNoLonger => "foreign",
        }
    }
}

/// Why a candidate stays.
#[derive(Clone, Debug, PartialEq)]
pub enum SkipReason {
    /// Its holder's pod is not shown gone.
    InUse(InUseReason),
    /// Whether its owner is gone is not known.
    OwnerUnknown {
        /// Its owner.
        owner: Box<Owner>,
        /// Why that is not known.
        cause: Cause,
    },
    /// It was given less than the minimum age ago.
    Young,
    /// It was not there, was another, or was in order a moment ago.
    New,
    /// This version can't read it.
    Unreadable(UnreadableValue),
    /// Lease and attachment do not name each other, which no transaction of kube-ipam leaves behind.
    Disagrees,
    /// Its container is gone, but it has an address that was asked for by name, and keeps it for who comes back.
    KeepsItsName(LeakReason),
    /// It is of an earlier boot, but this node has no record that says so.
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
            Self::NotListed => f.write_str("its pod is not among those that run"),
            Self::Reserved => f.write_str("it is reserved for an owner that is gone"),
            Self::Superseded => f.write_str("a later sandbox of its pod has this interface"),
            Self::EarlierBoot => f.write_str("its node has booted since"),
            Self::NamespaceGone => f.write_str("its network namespace is gone"),
            Self::Expired => f.write_str("it is reserved, and unused for longer than its time to live (sticky.ttl)"),
            Self::ForeignNoLonger => f.write_str("no host without a lease was seen to use it for an hour (probe)"),
            Self::Closed(since) => write!(f, "closed since {since:.0}, and no ADD can still be in flight"),
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
            Self::Young => "it was given too short a while ago (sweep.minAge)",
            Self::New => "it has changed since the first look",
            Self::Disagrees => "its lease and its attachment do not name each other",
            Self::KeepsItsName(why) => {
                return write!(
                    f,
                    "{why}, but one of its addresses was requested, so it keeps them until the pod \
                                  returns"
                );
            }
            Self::NoRecord => "its node has booted since, but this node has no record of it",
        })
    }
}
