//! The CNI protocol: reads a [`Request`] from the environment and standard input, and writes one document to standard
//! output.
//!
//! [`request::read`] parses the input into an [`Incoming`] or a [`request::Rejection`]. The result becomes one of the
//! documents in [`reply`], which the [`gate`] writes.
//!
//! Source: CNI specification 1.1.0, sections 2 (execution protocol) and 5 (result types). If it is ambiguous, the
//! reference library (containernetworking/cni, pkg/skel and pkg/types) decides.

mod args;
mod code;
mod document;
mod error;
pub mod gate;
mod previous;
pub mod reply;
pub mod request;
mod version;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::code::Code;
pub use self::document::key;
pub use self::version::{CniVersion, Verb};
use crate::ipam::lease::PodRef;
use crate::ipam::name::{IfName, Name};
use crate::ipam::request::RequestedAddresses;

/// A call of the runtime.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// VERSION: asks for the supported versions. It needs no network and has no attachment.
    Version {
        /// Its `cniVersion`, which the reply repeats.
        asked: Option<String>,
    },
    /// A call about a network.
    Call(Box<Request>),
}

/// One call about a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The version in the config. The reply has the same one.
    pub version: CniVersion,
    /// The network's name.
    pub network: Name,
    /// What to do.
    pub operation: Operation,
    /// The whole config from standard input.
    pub config: Map<String, Value>,
}

/// What to do, with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Assigns addresses to an attachment.
    Add {
        /// The attachment.
        target: Target,
        /// The addresses that the runtime requests, if any.
        requested: Option<RequestedAddresses>,
        /// The pod's annotations, if the runtime passes them (the capability `io.kubernetes.cri.pod-annotations` of
        /// containerd and CRI-O).
        annotations: Option<BTreeMap<String, String>>,
    },
    /// Releases them.
    Del {
        /// The attachment.
        target: Target,
    },
    /// Checks whether the attachment still has its addresses.
    Check {
        /// The attachment.
        target: Target,
        /// The addresses of `prevResult`.
        previous: Vec<IpNet>,
    },
    /// Releases what attachments outside a list hold on this node.
    Gc {
        /// The attachments that are still valid. `None` means that there is no list and nothing is known. With an empty
        /// list, no attachment is valid.
        valid: Option<Vec<ValidAttachment>>,
    },
    /// Checks whether an ADD could succeed.
    Status,
}

impl Operation {
    /// The verb of the operation.
    pub fn verb(&self) -> Verb {
        match self {
            Self::Add { .. } => Verb::Add,
            Self::Del { .. } => Verb::Del,
            Self::Check { .. } => Verb::Check,
            Self::Gc { .. } => Verb::Gc,
            Self::Status => Verb::Status,
        }
    }

    /// The attachment of the operation, if it has one.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::Add { target, .. } | Self::Del { target, .. } | Self::Check { target, .. } => Some(target),
            Self::Gc { .. } | Self::Status => None,
        }
    }
}

/// The attachment of an ADD, DEL or CHECK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// CNI_CONTAINERID.
    pub container: Name,
    /// CNI_IFNAME.
    pub ifname: IfName,
    /// CNI_NETNS. For a DEL, it may be unset, or the namespace may be gone.
    pub netns: Option<PathBuf>,
    /// The pod from CNI_ARGS.
    pub pod: PodRef,
}

/// An attachment that the runtime still has (GC).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValidAttachment {
    /// Its `containerID`.
    pub container: Name,
    /// Its `ifname`.
    pub ifname: IfName,
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
    /// The scope, as a number of the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u32>,
}

/// The DNS configuration of a result (CNI spec 1.1, section 5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Name servers, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The search domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// The resolver's options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Dns {
    /// Whether all fields are empty.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
