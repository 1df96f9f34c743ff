//! Holders: an attachment, its pod, and when its ADD began.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Unknown, is_default};
use crate::ipam::name::AttachmentId;
use crate::ipam::pod::{Controller, machine_name};

/// When something began on a node: the boot, and the time since that boot, which no clock change affects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Began {
    /// The kernel's boot ID; empty if it can't be read.
    pub boot: String,
    /// CLOCK_BOOTTIME, in milliseconds.
    pub boottime: u64,
}

/// A pod, as the runtime names it. Anything but the name may be missing (podman passes only that).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct PodRef {
    /// K8S_POD_NAMESPACE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// K8S_POD_NAME.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// K8S_POD_UID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

impl PodRef {
    /// Whether it names a pod of a cluster. podman passes only a container's name.
    pub fn is_in_a_cluster(&self) -> bool {
        self.namespace.is_some() && self.name.is_some()
    }

    /// Whether the runtime passed nothing.
    pub fn is_unnamed(&self) -> bool {
        *self == Self::default()
    }

    /// Namespace, name and UID, which together identify one pod; `None` if one is missing. A UID alone does not: static
    /// pods of one manifest share it on all nodes.
    pub fn full_name(&self) -> Option<(&str, &str, &str)> {
        let parts =
            [&self.namespace, &self.name, &self.uid].map(|part| part.as_deref().filter(|text| !text.is_empty()));
        let [namespace, name, uid] = parts;
        Some((namespace?, name?, uid?))
    }

    /// `namespace/name`, the name alone, or nothing.
    pub fn label(&self) -> Option<String> {
        match (&self.namespace, &self.name) {
            (Some(namespace), Some(name)) => Some(format!("{namespace}/{name}")),
            (None, Some(name)) => Some(name.clone()),
            (_, None) => None,
        }
    }
}

/// The holder of an address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Holder {
    /// The attachment.
    #[serde(flatten)]
    pub id: AttachmentId,
    /// The pod, if the runtime named one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pod: PodRef,
    /// The pod's workload, such as `Deployment web`, if its metadata was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// The pod's controller, if its metadata was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<Controller>,
    /// The identity of its cluster, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// When the ADD began.
    pub began: Began,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Holder {
    /// The virtual machine that its pod names as its controller.
    pub fn machine(&self) -> Option<&Controller> {
        self.controller.as_ref().filter(|controller| controller.is_machine())
    }

    /// Whether both name the same virtual machine, which has two pods while it migrates. This is a reason to ask
    /// KubeVirt, not a proof.
    pub fn may_join(&self, other: &Self) -> bool {
        self.machine().is_some() && self.is_of_one_machine_with(other)
    }

    /// Whether two holders belong to one virtual machine. Version 0.3.0 stored only the text of the workload.
    pub fn is_of_one_machine_with(&self, other: &Self) -> bool {
        let name = |holder: &Self| match &holder.controller {
            Some(_) => holder.machine().map(|machine| machine.name.clone()),
            None => holder.workload.as_deref().and_then(machine_name).map(str::to_owned),
        };
        let is_other_instance = self.machine().zip(other.machine()).is_some_and(|(one, other)| one.uid != other.uid);
        let is_named = name(self).is_some() && name(self) == name(other) && !is_other_instance;
        is_named && self.cluster == other.cluster && self.pod.namespace == other.pod.namespace
    }
}

impl Holder {
    /// The holder with all that is known of it: `pod db/pg-0 (UID …), interface net1, container …, node …, network …`.
    pub fn in_full(&self) -> String {
        let AttachmentId { node, container, ifname, network } = &self.id;
        let mut parts = Vec::new();
        if let Some(pod) = self.pod.label() {
            let uid = self.pod.uid.as_ref().map(|uid| format!(" (UID {uid})")).unwrap_or_default();
            parts.push(format!("pod {pod}{uid}"));
        }
        parts.extend(self.workload.as_ref().map(|workload| format!("of {workload}")));
        parts.push(format!("interface {ifname}, container {container}, node {node}, network {network}"));
        parts.extend(self.cluster.as_ref().map(|cluster| format!("cluster {cluster}")));
        parts.join(", ")
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&describe(&self.id, &self.pod))
    }
}

/// A holder in texts and in the log: `pod db/postgres-0, interface net1, node n1, network db-net`.
pub fn describe(id: &AttachmentId, pod: &PodRef) -> String {
    let AttachmentId { node, container, ifname, network } = id;
    match pod.label() {
        Some(pod) => format!("pod {pod}, interface {ifname}, node {node}, network {network}"),
        None => format!("container {container}, interface {ifname}, node {node}, network {network}"),
    }
}
