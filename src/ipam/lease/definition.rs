//! The definition of a network, as it is stored.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Unknown;

/// A network's definition, as an ADD has seen it, stored under `net/…`. `usage` counts against it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// [`VERSION`].
    pub v: u32,
    /// One text per range, set by set.
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
    /// The gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// What named pools have of the subnet, as spans, by the pool's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pools: BTreeMap<String, String>,
}
