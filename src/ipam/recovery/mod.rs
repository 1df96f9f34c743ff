//! Recovery of a store that went back in time: after an old copy was restored, addresses of running pods are missing in
//! it.
//!
//! ```text
//!  a node sees a sign ──► recovery/current is written ──► no node assigns an address (guard: it is absent)
//!                                   │
//!            every node writes back what its records have, then writes recovery/nodes/<node>
//!                                   │
//!                       all nodes are done, or the operator ends it ──► recovery/current is deleted
//! ```
//!
//! The store can't know what it has lost, but the nodes' records can. A sign is what only a lost write explains
//! ([`sign`]). Everything that takes an address from an attachment leaves a trace in the store, so an entry that is
//! missing without a trace was lost. A loss of which no node has seen a sign goes unnoticed.

mod reservations;
pub mod sign;
mod steps;
#[cfg(test)]
mod tests;
mod witness;
mod write_back;

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(super) use self::sign::is_explained;
pub use self::sign::{EntryState, Sign};
pub(super) use self::steps::read;
pub use self::steps::{Begin, Begun, Survey, UpdateRecovery};
pub use self::witness::Witness;
pub use self::write_back::{Conflict, Examine, WriteBack, WrittenBack};
use crate::ipam::lease::{Unknown, VERSION};
use crate::ipam::name::Name;
use crate::store::Revision;

/// What a node's records have before the first request to the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The highest revision at which the store assigned addresses to this node.
    pub newest: Option<Revision>,
    /// The addresses of the requesting attachment's record.
    pub addresses: Vec<IpAddr>,
    /// If revisions have no order: the record of an earlier ADD of this attachment, else the newest of another one.
    pub witness: Option<Witness>,
}

/// A recovery in progress, stored under `recovery/current`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// [`VERSION`].
    pub v: u32,
    /// When it began.
    pub since: Timestamp,
    /// The sign that writes are missing.
    pub sign: String,
    /// The node that saw it; `None` if the operator began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Name>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Recovery {
    /// A recovery that begins at this time.
    pub fn new(sign: String, node: Option<Name>, since: Timestamp) -> Self {
        Self { v: VERSION, since, sign, node, unknown: Unknown::new() }
    }
}

/// A node that has written back its attachments, stored under `recovery/nodes/<node>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDone {
    /// [`VERSION`].
    pub v: u32,
    /// The revision of the `recovery/current` to which it applies. Entries of an earlier recovery don't count.
    pub recovery: Revision,
    /// When the node was done.
    pub at: Timestamp,
}

/// The last recovery that ended, stored under `recovery/last`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRecovery {
    /// [`VERSION`].
    pub v: u32,
    /// When it began.
    pub since: Timestamp,
    /// The sign that writes were missing.
    pub sign: String,
    /// When it ended.
    pub ended: Timestamp,
    /// Whether the operator ended it, before all nodes were done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_operator: bool,
}

/// The progress of a recovery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The recovery in progress, and the revision of its entry.
    pub current: Option<(Revision, Recovery)>,
    /// The nodes that are done, and since when.
    pub done: BTreeMap<Name, Timestamp>,
    /// The last recovery that ended.
    pub last: Option<LastRecovery>,
}

impl Progress {
    /// The nodes of this list that are not done yet.
    pub fn missing<'a>(&self, nodes: impl IntoIterator<Item = &'a Name>) -> Vec<&'a Name> {
        nodes.into_iter().filter(|node| !self.done.contains_key(*node)).collect()
    }
}
