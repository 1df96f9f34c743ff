//! Who keeps an address beyond the life of one pod (contract, section 4), and what is stored of it.
//!
//! ```text
//!  id/<owner>/<network>/<ifname> ─► Reservation   which addresses were the owner's last: where to look, and no more
//!  ip/<address> ─► Lease { owner, unused, … }     whose the address is: the truth, and what others are refused by
//! ```
//!
//! A reservation that names an address of somebody else is out of date, and its owner gets another address. So whoever
//! frees an address for others has to change nothing but its lease.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::lease::{Unknown, VERSION};
use super::name::{Name, NameError};
use super::pod::{Controller, Pod};

/// What an owner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OwnerKind {
    /// A StatefulSet (apps), for one of its pods.
    StatefulSet,
    /// A virtual machine (kubevirt.io), running or stopped.
    VirtualMachine,
    /// A running virtual machine (kubevirt.io) that no VirtualMachine has made.
    VirtualMachineInstance,
    /// A claim (k8s.cni.cncf.io).
    #[serde(rename = "IPAMClaim")]
    IpamClaim,
}

impl OwnerKind {
    /// The kind as the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StatefulSet => "StatefulSet",
            Self::VirtualMachine => "VirtualMachine",
            Self::VirtualMachineInstance => "VirtualMachineInstance",
            Self::IpamClaim => "IPAMClaim",
        }
    }

    /// Whether an object that was made anew under the same name is the same identity, and has its addresses. A claim is
    /// nothing but the addresses that it has: another one has none of them.
    pub fn goes_by_name(self) -> bool {
        self != Self::IpamClaim
    }

    /// Whether it is a virtual machine, of which two pods run while it migrates.
    fn is_machine(self) -> bool {
        matches!(self, Self::VirtualMachine | Self::VirtualMachineInstance)
    }
}

/// A stable identity: an object of the API that keeps an address for as long as it exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// What it is.
    pub kind: OwnerKind,
    /// The identity of the cluster, where the node defaults give one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
    /// Its UID. Another object of its name has its place, and its addresses, unless it is a claim.
    pub uid: String,
    /// Of a StatefulSet, which of its pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Name>,
}

impl Owner {
    /// The owner that a pod's controller is, as far as the pod alone tells: one of its own StatefulSet, or the running
    /// virtual machine that it is a part of.
    pub fn of(pod: &Pod, cluster: Option<String>) -> Result<Option<Self>, NameError> {
        let Some(controller) = &pod.controller else { return Ok(None) };
        let (kind, numbered) = match (controller.group(), controller.kind.as_str()) {
            ("apps", "StatefulSet") => (OwnerKind::StatefulSet, Some(Name::new(&*pod.name)?)),
            ("kubevirt.io", "VirtualMachineInstance") => (OwnerKind::VirtualMachineInstance, None),
            _ => return Ok(None),
        };
        let (namespace, name) = (Name::new(&*pod.namespace)?, Name::new(&*controller.name)?);
        Ok(Some(Self { kind, cluster, namespace, name, uid: controller.uid.clone(), pod: numbered }))
    }

    /// The same machine by the VirtualMachine that has made it, if this one did: that one lasts while it is stopped.
    pub fn made_by(self, controller: Option<&Controller>) -> Result<Self, NameError> {
        match controller {
            Some(maker) if maker.group() == "kubevirt.io" && maker.kind == "VirtualMachine" => Ok(Self {
                kind: OwnerKind::VirtualMachine,
                name: Name::new(&*maker.name)?,
                uid: maker.uid.clone(),
                ..self
            }),
            _ => Ok(self),
        }
    }

    /// What tells it from the others of its kind in its namespace.
    pub fn distinct_name(&self) -> &Name {
        self.pod.as_ref().unwrap_or(&self.name)
    }

    /// Whether both are the same identity, also if the object was made anew, unless it is a claim. A VirtualMachine and what
    /// runs of it have one name, and are one machine. Where one names no cluster, only the UID tells: it is that of one object
    /// in the world.
    pub fn is(&self, other: &Self) -> bool {
        let kinds = self.kind == other.kind || self.kind.is_machine() && other.kind.is_machine();
        let place = |owner: &Self| (owner.namespace.clone(), owner.distinct_name().clone());
        let by_name = self.kind.goes_by_name() && self.cluster == other.cluster;
        let comparable = self.cluster == other.cluster || self.cluster.is_none() || other.cluster.is_none();
        kinds && place(self) == place(other) && comparable && (by_name || self.uid == other.uid)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, .. } = self;
        let pod = if self.pod.is_some() { " pod" } else { "" };
        write!(f, "{}{pod} {namespace}/{}", kind.as_str(), self.distinct_name())
    }
}

/// The addresses that an owner had last on an interface, stored under `id/…`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reservation {
    /// [`VERSION`].
    pub v: u32,
    /// Whose they are.
    pub owner: Owner,
    /// The addresses, in the order of the network's range sets.
    pub addresses: Vec<IpAddr>,
    /// What a newer version of the same format has added.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Reservation {
    /// The reservation of these addresses.
    pub fn new(owner: Owner, addresses: Vec<IpAddr>) -> Self {
        Self { v: VERSION, owner, addresses, unknown: Unknown::new() }
    }

    /// The same without an address, if it is one of them.
    pub fn without(mut self, ip: IpAddr) -> Option<Self> {
        let before = self.addresses.len();
        self.addresses.retain(|reserved| *reserved != ip);
        (self.addresses.len() < before).then_some(self)
    }
}

#[cfg(test)]
mod tests;
