//! A store that went back in time: an old copy of it was put back, so that addresses of running pods are missing in it.
//!
//! ```text
//!  a node sees a sign ──► recovery/current is written ──► no node gives an address (guard: it is absent)
//!                                   │
//!            every node writes back what its records say, then writes recovery/nodes/<node>
//!                                   │
//!                       all nodes are there, or the operator says so ──► recovery/current is deleted
//! ```
//!
//! The store can't know what it has lost; the nodes' records can. A sign is what only a lost write explains
//! ([`sign`]): everything that takes an address from an attachment leaves a trace in the store, so that an entry which is
//! missing without one was lost. What no node has seen a sign of yet is not noticed.

mod reservations;
pub mod sign;
mod steps;
#[cfg(test)]
mod tests;
mod write_back;

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::sign::{EntryState, Sign};
pub(super) use self::steps::read;
pub use self::steps::{Begin, Begun, Survey, UpdateRecovery};
pub use self::write_back::{Conflict, Examine, WriteBack, WrittenBack};
use crate::ipam::lease::{Unknown, VERSION};
use crate::ipam::name::Name;
use crate::store::Revision;

/// What a node's records say before its store is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The highest revision at which the store has given this node addresses.
    pub newest: Option<Revision>,
    /// The addresses that the attachment which asks has by its record.
    pub addresses: Vec<IpAddr>,
}

/// A recovery that is not over, stored under `recovery/current`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// [`VERSION`].
    pub v: u32,
    /// When it began.
    pub since: Timestamp,
    /// What showed that writes are missing.
    pub sign: String,
    /// The node that saw it; `None` if the operator began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Name>,
    /// What a newer version of the same format has added.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Recovery {
    /// One that begins now.
    pub fn new(sign: String, node: Option<Name>, since: Timestamp) -> Self {
        Self { v: VERSION, since, sign, node, unknown: Unknown::new() }
    }
}

/// A node that has written back what runs on it, stored under `recovery/nodes/<node>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDone {
    /// [`VERSION`].
    pub v: u32,
    /// The revision of the `recovery/current` that it was done for: those of an earlier recovery count for nothing.
    pub recovery: Revision,
    /// When it was done.
    pub at: Timestamp,
}

/// The last recovery that is over, stored under `recovery/last`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRecovery {
    /// [`VERSION`].
    pub v: u32,
    /// When it began.
    pub since: Timestamp,
    /// What showed that writes were missing.
    pub sign: String,
    /// When it ended.
    pub ended: Timestamp,
    /// Whether the operator ended it, before all nodes were done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_operator: bool,
}

/// How a recovery stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The one that is not over, and the revision of its entry.
    pub current: Option<(Revision, Recovery)>,
    /// The nodes that are done with it.
    pub done: BTreeMap<Name, Timestamp>,
    /// The last one that is over.
    pub last: Option<LastRecovery>,
}

impl Progress {
    /// The nodes of this list that are not done.
    pub fn missing<'a>(&self, nodes: impl IntoIterator<Item = &'a Name>) -> Vec<&'a Name> {
        nodes.into_iter().filter(|node| !self.done.contains_key(*node)).collect()
    }
}
