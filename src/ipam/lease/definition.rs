//! The stored definition of a network.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Unknown;

/// A network's definition as an ADD used it, stored under `net/…`. `usage` compares the leases with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// The version of the format, [`VERSION`](super::VERSION).
    pub v: u32,
    /// The ranges, set by set.
    pub sets: Vec<Vec<DefinedRange>>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// One range of a [`Definition`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DefinedRange {
    /// The subnet.
    pub subnet: IpNet,
    /// The random addresses, as spans.
    pub dynamic: String,
    /// The window of fixed addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    /// The excluded addresses of the subnet, as spans. An earlier version's definition lacks them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<String>,
    /// The gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The parts of named pools in the subnet, as spans, by the pool's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pools: BTreeMap<String, String>,
}
