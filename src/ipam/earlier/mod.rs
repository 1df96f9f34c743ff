//! The earlier holders of an address, put together from what several sources say.
//!
//! ```text
//!  the lease and its earlier revisions ─► leases ─┐
//!  attachments that lost the address  ────────────┼─► merge ─► EarlierHolders { holdings, gaps }
//!  this node's log ──────────────────────► calls ─┘
//! ```
//!
//! Each source knows a part. A store keeps old revisions for a while and has no times but those in its values; a log has
//! times, of the calls of one node. A holding that several sources have appears once and names them all. What no source
//! says stays unknown: it is `None` here, and a [`Gap`] says where something may be missing.

mod calls;
mod gap;
mod leases;
mod merge;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

pub use self::calls::{Logged, LoggedCall};
pub use self::gap::Gap;
pub use self::merge::{Evidence, merge};
use super::lease::{AllocationKind, Attachment, PodRef, describe};
use super::name::{AttachmentId, Name};
use super::takeover::Mac;
use crate::store::Revision;

/// The earlier holders of an address.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EarlierHolders {
    /// The holdings that have ended, the latest first.
    pub holdings: Vec<Holding>,
    /// What is not known.
    pub gaps: Vec<Gap>,
}

/// A time during which somebody had the address, and that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Holding {
    /// Who had it.
    pub holder: FormerHolder,
    /// Since when; `None` if unknown.
    pub from: Option<Timestamp>,
    /// Until when; `None` if unknown. For a host without a lease, its last answer.
    pub until: Option<Timestamp>,
    /// If its end is unknown: a time at which it was over, since somebody else had the address from then on.
    pub over_by: Option<Timestamp>,
    /// How the address was selected, according to its lease.
    pub kind: Option<AllocationKind>,
    /// The same in the words of the log: `any`, `fixed by annotation kube-ipam.net1.ip`.
    pub selected: Option<String>,
    /// How it ended; `None` if unknown.
    pub end: Option<HoldingEnd>,
    /// Where this is known from, without duplicates.
    pub sources: Vec<Source>,
}

/// Somebody who had an address.
#[derive(Clone, Debug, PartialEq)]
pub enum FormerHolder {
    /// An attachment, and its pod as far as it is named.
    Attachment(AttachmentId, PodRef),
    /// A pod of a virtual machine, of which only the UID is left.
    Pod {
        /// Its UID.
        uid: String,
    },
    /// A host without a lease (`probe`).
    Host {
        /// The MAC address that answered.
        mac: Mac,
        /// The network on whose link it was.
        network: Name,
    },
}

impl fmt::Display for FormerHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attachment(id, pod) => f.write_str(&describe(id, pod)),
            Self::Pod { uid } => write!(f, "the pod with UID {uid}"),
            Self::Host { mac, network } => write!(f, "host {mac} on network {network}"),
        }
    }
}

/// How a holding ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldingEnd {
    /// Its holder released the address: a DEL, or what replaces one.
    Released,
    /// A sweep or an operator freed the address.
    Freed,
    /// The next holder took it over.
    TakenOver,
    /// The address was taken from the attachment, which does not know by whom.
    Lost,
    /// It left the address to the other pod of its virtual machine.
    LeftToOther,
    /// The host has not answered since, or somebody else had the address afterwards.
    LastAnswer,
}

impl fmt::Display for HoldingEnd {
    /// As it follows the holder: `released it`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Released => "released it",
            Self::Freed => "lost it to a sweep or to the operator",
            Self::TakenOver => "lost it to the next holder, which took it over",
            Self::Lost => "lost it",
            Self::LeftToOther => "left it to the other pod of its virtual machine",
            Self::LastAnswer => "answered for it for the last time",
        })
    }
}

impl HoldingEnd {
    /// The end as a word, for JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Freed => "freed",
            Self::TakenOver => "taken-over",
            Self::Lost => "lost",
            Self::LeftToOther => "left-to-other",
            Self::LastAnswer => "last-answer",
        }
    }
}

/// Where a holding is known from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The current lease.
    Lease,
    /// The lease at an earlier revision of the store.
    Revision(Revision),
    /// An attachment that lost the address.
    Attachment(AttachmentId),
    /// A file of the log.
    Log(PathBuf),
}

impl Source {
    /// The kinds in the order of their declaration. A store that keeps earlier revisions counts them.
    fn sort_key(&self) -> (u8, u64, Option<&AttachmentId>, Option<&Path>) {
        match self {
            Self::Lease => (0, 0, None, None),
            Self::Revision(Revision(number)) => (1, number.get(), None, None),
            Self::Attachment(id) => (2, 0, Some(id), None),
            Self::Log(file) => (3, 0, None, Some(file)),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lease => f.write_str("lease"),
            Self::Revision(Revision(number)) => write!(f, "lease at revision {number}"),
            Self::Attachment(id) => write!(f, "attachment {}/{}", id.container, id.ifname),
            Self::Log(file) => write!(f, "{}", file.display()),
        }
    }
}

/// The holding that an attachment's lost addresses show. It has only the time of its last loss.
pub fn from_lost(id: &AttachmentId, attachment: &Attachment, ip: std::net::IpAddr) -> Option<Holding> {
    if !attachment.lost.contains(&ip) {
        return None;
    }
    let is_last = attachment.lost.last() == Some(&ip);
    let pod = attachment.holder.as_ref().map(|holder| holder.pod.clone()).unwrap_or_default();
    Some(Holding {
        holder: FormerHolder::Attachment(id.clone(), pod),
        from: None,
        until: attachment.lost_since.filter(|_| is_last),
        over_by: attachment.lost_since.filter(|_| !is_last),
        kind: None,
        selected: None,
        end: Some(HoldingEnd::Lost),
        sources: vec![Source::Attachment(id.clone())],
    })
}
