//! Who keeps an address beyond the life of one pod (contract, section 4), and what is stored of it.
//!
//! ```text
//!  id/<owner>/<network>/<ifname> ─► Reservation   which addresses were the owner's last: where to look, and no more
//!  ip/<address> ─► Lease { owner, unused, … }     whose the address is: the truth, and what others are refused by
//!               ─► Lease { heldFor, … }           its pod asked for it by name: the owner's only while it is held
//! ```
//!
//! A reservation that names an address of somebody else is out of date, and its owner gets another address. So whoever
//! frees an address for others has to change nothing but its lease.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::lease::{Holder, Unknown, VERSION};
use super::name::{Name, NameError};
use super::pod::{Controller, Pod, Workload};
use crate::cause::Cause;

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

    /// Whether an owner of this kind is still to be asked for when its pod takes what is reserved for it. A claim was
    /// read, and so was the instance of a machine, by its UID.
    pub fn needs_check(self) -> bool {
        self == Self::StatefulSet
    }

    /// Whether it is a virtual machine, of which two pods run while it migrates.
    pub fn is_machine(self) -> bool {
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
        let (kind, numbered) = match Workload::of(pod) {
            Some(Workload::StatefulSet { .. }) => (OwnerKind::StatefulSet, Some(Name::new(&*pod.name)?)),
            Some(Workload::VirtualMachineInstance { .. }) => (OwnerKind::VirtualMachineInstance, None),
            _ => return Ok(None),
        };
        let (namespace, name) = (Name::new(&*pod.namespace)?, Name::new(&*controller.name)?);
        Ok(Some(Self { kind, cluster, namespace, name, uid: controller.uid.clone(), pod: numbered }))
    }

    /// The running virtual machine whose pod a holder says to be.
    pub fn from_holder(holder: &Holder) -> Option<Self> {
        let Controller { name, uid, .. } = holder.machine()?;
        let (namespace, name) = (Name::new(holder.pod.namespace.as_deref()?).ok()?, Name::new(name.as_str()).ok()?);
        let (kind, cluster) = (OwnerKind::VirtualMachineInstance, holder.cluster.clone());
        Some(Self { kind, cluster, namespace, name, uid: uid.clone(), pod: None })
    }

    /// The same machine by the VirtualMachine that has made it, if this one did: that one lasts while it is stopped.
    /// KubeVirt gives both the same name.
    pub fn made_by(self, controller: Option<&Controller>) -> Self {
        let is_maker = |maker: &&Controller| {
            (maker.group.as_str(), maker.kind.as_str(), maker.name.as_str())
                == ("kubevirt.io", "VirtualMachine", self.name.as_str())
        };
        match controller.filter(is_maker) {
            Some(maker) => Self { kind: OwnerKind::VirtualMachine, uid: maker.uid.clone(), ..self },
            None => self,
        }
    }

    /// What tells it from the others of its kind in its namespace.
    pub fn distinct_name(&self) -> &Name {
        self.pod.as_ref().unwrap_or(&self.name)
    }

    /// Whether both are the same identity, also if the object was made anew, unless it is a claim. A VirtualMachine and
    /// what runs of it have one name, and are one machine. Where one names no cluster, only the UID tells: it is that
    /// of one object in the world.
    pub fn is(&self, other: &Self) -> bool {
        let by_name = self.kind.goes_by_name() && self.cluster == other.cluster;
        let comparable = self.cluster == other.cluster || self.cluster.is_none() || other.cluster.is_none();
        self.has_place_of(other) && comparable && (by_name || self.uid == other.uid)
    }

    /// Whether it is a claim that was made anew under the name of the other one. Who has read it from the API knows by
    /// that that the other one is gone, and what was reserved for that one is over. Where one names no cluster, they
    /// may be of two.
    pub fn replaces(&self, other: &Self) -> bool {
        let one_cluster = self.cluster.is_some() && self.cluster == other.cluster;
        self.has_place_of(other) && one_cluster && !self.kind.goes_by_name() && self.uid != other.uid
    }

    fn has_place_of(&self, other: &Self) -> bool {
        let kinds = self.kind == other.kind || self.kind.is_machine() && other.kind.is_machine();
        let place = |owner: &Self| (owner.namespace.clone(), owner.distinct_name().clone());
        kinds && place(self) == place(other)
    }
}

/// Why a pod is not taken for one of the owner that its ownerReference names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// There is no such owner.
    #[error("the API server knows no such object")]
    NotFound,
    /// There is one, and it is not the one that the pod names.
    #[error("the pod's ownerReference has UID {named}, and the API server has UID {found}")]
    OtherUid {
        /// The UID in the pod's ownerReference.
        named: String,
        /// That of the object.
        found: String,
    },
    /// The API server did not answer.
    #[error(transparent)]
    LookupFailed(Cause),
    /// The API server was not asked.
    #[error("the API server was not asked")]
    NotChecked,
}

impl Owner {
    /// Whether a pod that names this owner is one of its own, by the UID of the object that the API has under this
    /// name.
    pub fn check(&self, found: Option<String>) -> Result<(), OwnerError> {
        match found {
            None => Err(OwnerError::NotFound),
            Some(found) if found == self.uid => Ok(()),
            Some(found) => Err(OwnerError::OtherUid { named: self.uid.clone(), found }),
        }
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
    /// Addresses that the owner's last pod asked for by name: the owner's only as long as a pod of it holds them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<IpAddr>,
    /// What a newer version of the same format has added.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Reservation {
    /// The reservation of these addresses.
    pub fn new(owner: Owner, addresses: Vec<IpAddr>) -> Self {
        Self { v: VERSION, owner, addresses, asked: Vec::new(), unknown: Unknown::new() }
    }

    /// Whether it names no address.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.asked.is_empty()
    }

    /// The same without an address, if it is one of them.
    pub fn without(mut self, ip: IpAddr) -> Option<Self> {
        let names = self.addresses.contains(&ip) || self.asked.contains(&ip);
        self.addresses.retain(|reserved| *reserved != ip);
        self.asked.retain(|asked| *asked != ip);
        names.then_some(self)
    }
}

#[cfg(test)]
mod tests;
