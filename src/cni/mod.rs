//! The CNI protocol: a [`Request`] from environment and standard input, and at the end one document on standard output.
//!
//! [`request::read`] turns what the runtime sent into an [`Incoming`] or a [`request::Rejection`]; what comes of it
//! becomes one of the documents of [`reply`], which leaves the process through the [`gate`].
//!
//! Source: CNI specification 1.1.0, sections 2 (execution protocol) and 5 (result types); where it leaves something
//! open, the reference library (containernetworking/cni, pkg/skel and pkg/types) decides.

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

/// What the runtime sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// VERSION: the question which versions are spoken. It needs no network and has no attachment.
    Version {
        /// The `cniVersion` that came with it, to be echoed.
        asked: Option<String>,
    },
    /// A call about a network.
    Call(Box<Request>),
}

/// One call about a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The version that the config asks for, in which the reply is written.
    pub version: CniVersion,
    /// The network's name.
    pub network: Name,
    /// What is to be done.
    pub operation: Operation,
    /// The whole config from standard input.
    pub config: Map<String, Value>,
}

/// What is to be done, with what belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Give an attachment its addresses.
    Add {
        /// The attachment.
        target: Target,
        /// The addresses that the runtime asks for, if any.
        requested: Option<RequestedAddresses>,
        /// The pod's annotations, where the runtime hands them over (the capability
        /// `io.kubernetes.cri.pod-annotations` of containerd and CRI-O).
        annotations: Option<BTreeMap<String, String>>,
    },
    /// Take them back.
    Del {
        /// The attachment.
        target: Target,
    },
    /// Say whether the attachment still has its addresses.
    Check {
        /// The attachment.
        target: Target,
        /// The addresses of `prevResult`.
        previous: Vec<IpNet>,
    },
    /// Collect what attachments outside a list hold on this node.
    Gc {
        /// The attachments that are still valid. `None`, which is no list at all, says nothing about any of them; an
        /// empty list says that none is.
        valid: Option<Vec<ValidAttachment>>,
    },
    /// Say whether an ADD could be served.
    Status,
}

impl Operation {
    /// The verb that asks for it.
    pub fn verb(&self) -> Verb {
        match self {
            Self::Add { .. } => Verb::Add,
            Self::Del { .. } => Verb::Del,
            Self::Check { .. } => Verb::Check,
            Self::Gc { .. } => Verb::Gc,
            Self::Status => Verb::Status,
        }
    }

    /// The attachment that it is about, where it is about one.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::Add { target, .. } | Self::Del { target, .. } | Self::Check { target, .. } => Some(target),
            Self::Gc { .. } | Self::Status => None,
        }
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
}

/// An attachment that the runtime still knows (GC).
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

impl Dns {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
