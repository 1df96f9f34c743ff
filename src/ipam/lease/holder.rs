//! Who holds an address: an attachment, its pod, and when its ADD began.

use serde::{Deserialize, Serialize};

use super::{Unknown, is_default};
use crate::ipam::name::AttachmentId;
use crate::ipam::pod::{Controller, machine_name};

/// When something began on a node: its boot, and the time since that boot, which no clock change moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Began {
    /// The kernel's boot id; empty where it can't be read.
    pub boot: String,
    /// CLOCK_BOOTTIME, in milliseconds.
    pub boottime: u64,
}

/// A pod as the runtime names it; all but the name may be missing (podman gives only that).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// Whether it says which pod of the cluster it is. podman gives the name of a container alone.
    pub fn is_in_a_cluster(&self) -> bool {
        self.namespace.is_some() && self.name.is_some()
    }

    /// Whether nothing is known of it.
    pub fn is_unnamed(&self) -> bool {
        *self == Self::default()
    }

    /// Namespace, name and UID, which tell one pod from all others; `None` if one of them is missing. A UID alone does
    /// not: static pods of one manifest share it on all nodes.
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

/// Who holds an address: a pod attachment, and when its ADD began (contract, section 3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// The attachment.
    #[serde(flatten)]
    pub id: AttachmentId,
    /// The pod, where the runtime named one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pod: PodRef,
    /// What the pod belongs to, such as `Deployment web`, where its metadata was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// The pod's controller, where its metadata was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<Controller>,
    /// The identity of the cluster, where the node defaults give one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// When the ADD began.
    pub began: Began,
    /// What a newer version of the same format has added.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Holder {
    /// The virtual machine whose pod it says to be.
    pub fn machine(&self) -> Option<&Controller> {
        self.controller.as_ref().filter(|controller| controller.is_machine())
    }

    /// Whether it says to be a pod of the same virtual machine as another holder, of which two run while it migrates.
    /// That is a reason to ask KubeVirt, and no proof.
    pub fn may_join(&self, other: &Self) -> bool {
        self.machine().is_some() && self.is_of_one_machine_with(other)
    }

    /// Whether two holders were given an address as pods of one virtual machine. One that 0.3.0 wrote has only the text
    /// of its workload.
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

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pod.label() {
            Some(pod) => write!(f, "pod {pod}, interface {}, node {}", self.id.ifname, self.id.node)?,
            None => write!(f, "container {}, interface {}, node {}", self.id.container, self.id.ifname, self.id.node)?,
        }
        write!(f, ", network {}", self.id.network)
    }
}
