//! The CNI protocol: a [`Request`] from environment and standard input, and at the end one document on standard output.
//!
//! Source: CNI specification 1.1.0, sections 2 (execution protocol) and 5 (result types).

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ipam::lease::PodRef;
use crate::ipam::name::{IfName, Name};

/// What the runtime wants (CNI_COMMAND).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Give an attachment its addresses.
    Add,
    /// Take them back.
    Del,
    /// Say whether the attachment still has them.
    Check,
    /// Collect what attachments outside a list hold on this node.
    Gc,
    /// Say whether an ADD could be served.
    Status,
    /// Say which protocol versions are spoken.
    Version,
}

/// The versions of the protocol that are spoken, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CniVersion {
    /// 0.1.0; also a config without `cniVersion`.
    V0_1_0,
    /// 0.2.0
    V0_2_0,
    /// 0.3.0
    V0_3_0,
    /// 0.3.1
    V0_3_1,
    /// 0.4.0
    V0_4_0,
    /// 1.0.0
    V1_0_0,
    /// 1.1.0
    V1_1_0,
}

impl CniVersion {
    /// Whether a result of this version has room for one address of each family only.
    pub fn one_address_per_family(self) -> bool {
        self < Self::V0_3_0
    }
}

impl std::fmt::Display for CniVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        })
    }
}

/// The attachment that ADD, DEL and CHECK are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// CNI_CONTAINERID.
    pub container: Name,
    /// CNI_IFNAME.
    pub ifname: IfName,
    /// CNI_NETNS; on DEL it may be missing or gone.
    pub netns: Option<PathBuf>,
    /// The pod, as CNI_ARGS name it.
    pub pod: PodRef,
    /// The addresses that the runtime asks for.
    pub requested: Requested,
}

/// Where the runtime put the addresses that it asks for. The places are tried in this order and never merged, since
/// Multus writes one list into two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestSource {
    /// `runtimeConfig.ips`, the capability `ips`.
    RuntimeConfig,
    /// `args.cni.ips`.
    ArgsCni,
    /// `IP=` in CNI_ARGS.
    CniArgs,
}

/// The addresses that the runtime asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requested {
    /// Where they were found; `None` if nowhere.
    pub source: Option<RequestSource>,
    /// Each as it was written: an address, or an address with a prefix length.
    pub ips: Vec<String>,
}

/// One call of the runtime.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What it wants.
    pub verb: Verb,
    /// The version that the config asks for, in which the reply is written.
    pub version: CniVersion,
    /// The network's name; required by all verbs but VERSION.
    pub network: Name,
    /// The attachment; `None` for GC and STATUS.
    pub target: Option<Target>,
    /// The whole config from standard input.
    pub config: Map<String, Value>,
}

/// A route of a result (CNI spec 1.1, section 5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The destination.
    pub dst: IpNet,
    /// The next hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// The MTU along the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The maximum segment size to advertise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// The priority; lower wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// The routing table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// The scope, as the kernel numbers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u32>,
}

/// The name resolution of a result (CNI spec 1.1, section 5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Name servers, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The search list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// The resolver's options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}
