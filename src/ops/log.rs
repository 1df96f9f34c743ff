//! The log lines about addresses that were released without a call of their container, and what a line says about an
//! address.
//!
//! Both are here because they must agree: [`crate::ops::earlier`] reads back what the verbs have written. The line of a
//! call is written by [`CallTimer`](crate::telemetry::CallTimer).

use std::net::IpAddr;

use ipnet::IpNet;

use crate::ipam::earlier::{Logged, LoggedCall};
use crate::ipam::lease::PodRef;
use crate::ipam::name::{AttachmentId, IfName, Name};
use crate::telemetry::{DEFAULT_VRF, LogLine};

/// Why an address was released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReleaseReason {
    /// An earlier DEL could not reach its store.
    Deferred,
    /// Its container is gone, and an ADD found no free address.
    Room,
    /// The runtime's list of valid attachments does not have it (GC).
    NotValid,
    /// Its container is gone, and a sweep of its node found it.
    Gone,
    /// A sweep found a leak.
    Sweep,
    /// The operator confirmed that its holder is gone.
    Operator,
}

impl ReleaseReason {
    const ALL: [Self; 6] = [Self::Deferred, Self::Room, Self::NotValid, Self::Gone, Self::Sweep, Self::Operator];

    /// The message of its line.
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Deferred => "a deferred release is done",
            Self::Room => "released: its container is gone and a range is full",
            Self::NotValid => "released: the runtime no longer knows its container",
            Self::Gone => "released: its container is gone",
            Self::Sweep => "freed by a sweep",
            Self::Operator => "freed by the operator",
        }
    }

    fn logged(self) -> Logged {
        match self {
            Self::Deferred | Self::Room | Self::NotValid | Self::Gone => Logged::Released,
            Self::Sweep | Self::Operator => Logged::Freed,
        }
    }
}

/// The fields that say who released which addresses.
pub(super) struct ReleasedFields<'a> {
    vrf: &'a Name,
    id: &'a AttachmentId,
    pod: Option<String>,
    addresses: String,
}

impl<'a> ReleasedFields<'a> {
    pub(super) fn new(vrf: &'a Name, id: &'a AttachmentId, pod: &PodRef, addresses: &[IpAddr]) -> Self {
        let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        Self { vrf, id, pod: pod.label(), addresses: addresses.join(",") }
    }

    /// Writes the line, unless nothing was released.
    pub(super) fn log(&self, reason: ReleaseReason) {
        if self.addresses.is_empty() {
            return;
        }
        let Self { vrf, id, pod, addresses } = self;
        tracing::info!(
            network = id.network.as_str(),
            vrf = Some(vrf.as_str()).filter(|vrf| *vrf != DEFAULT_VRF),
            node = id.node.as_str(),
            pod = pod.as_deref(),
            container = id.container.as_str(),
            interface = id.ifname.as_str(),
            addresses,
            "{}",
            reason.message()
        );
    }
}

/// What a line of this node's log says about the address; `None` if it is about something else.
pub(super) fn read(line: &LogLine, node: &Name, vrf: &Name, ip: IpAddr) -> Option<LoggedCall> {
    if line.level != "INFO" || line.field("vrf").unwrap_or(DEFAULT_VRF) != vrf.as_str() {
        return None;
    }
    if !line.field("addresses")?.split(',').any(|address| is_address(address, ip)) {
        return None;
    }
    let what = match (line.message.as_str(), line.field("operation")) {
        ("", Some("ADD")) => added(line, ip),
        ("", Some("DEL")) => Logged::Released,
        (message, None) => ReleaseReason::ALL.into_iter().find(|reason| reason.message() == message)?.logged(),
        _ => return None,
    };
    let id = AttachmentId {
        node: line.field("node").map_or_else(|| Ok(node.clone()), Name::new).ok()?,
        container: Name::new(line.field("container")?).ok()?,
        ifname: IfName::new(line.field("interface")?).ok()?,
        network: Name::new(line.field("network")?).ok()?,
    };
    let pod = line.field("pod").map(pod_from_label).unwrap_or_default();
    Some(LoggedCall { file: line.file.clone(), time: line.time, id, pod, what })
}

fn added(line: &LogLine, ip: IpAddr) -> Logged {
    let source = line.field("source").map(str::to_owned);
    let repeated = source.as_deref() == Some("repeated");
    let taken_from = source.as_deref().and_then(|source| source.split_once(&format!("{ip} taken over from ")));
    let taken_from = taken_from.map(|(_, holder)| holder.to_owned());
    Logged::Added { source, repeated, taken_from }
}

/// Whether a text is this address, with or without a prefix length.
fn is_address(text: &str, ip: IpAddr) -> bool {
    text.parse::<IpNet>().map(|net| net.addr()).or_else(|_| text.parse()).is_ok_and(|address| address == ip)
}

/// The inverse of [`PodRef::label`].
fn pod_from_label(label: &str) -> PodRef {
    let (namespace, name) = match label.split_once('/') {
        Some((namespace, name)) => (Some(namespace.to_owned()), name),
        None => (None, label),
    };
    PodRef { namespace, name: Some(name.to_owned()), uid: None }
}
