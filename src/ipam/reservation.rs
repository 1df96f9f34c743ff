//! Owners: stable identities whose addresses outlive a pod, and the reservations that are stored for them.
//!
//! ```text
//!  id/<owner>/<network>/<ifname> ─► Reservation   the owner's last addresses: a hint where to look
//!  ip/<address> ─► Lease { owner, unused, … }     reserved for the owner: this is authoritative
//!               ─► Lease { heldFor, … }           requested by a pod of the owner: the owner's only while it is held
//! ```
//!
//! A reservation may name an address that somebody else has by now. It is outdated then, and the owner gets another
//! address. So whoever frees an address for others only has to change its lease.

use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lease::{Holder, Unknown, VERSION};
use super::name::{Name, NameError};
use super::pod::{Controller, Pod, Workload};
use crate::cause::Cause;

/// The kind of object that an owner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum OwnerKind {
    /// A StatefulSet (apps), for one of its pods.
    StatefulSet,
    /// A virtual machine (kubevirt.io), running or stopped.
    VirtualMachine,
    /// A running virtual machine (kubevirt.io) without a VirtualMachine.
    VirtualMachineInstance,
    /// A claim (k8s.cni.cncf.io).
    #[serde(rename = "IPAMClaim")]
    IpamClaim,
}

impl OwnerKind {
    /// The kind as the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StatefulSet => "StatefulSet",
            Self::VirtualMachine => "VirtualMachine",
            Self::VirtualMachineInstance => "VirtualMachineInstance",
            Self::IpamClaim => "IPAMClaim",
        }
    }

    /// Whether a recreated object of the same name is the same identity and has its addresses. A claim consists only of
    /// its addresses, so a recreated one has none of them.
    pub fn goes_by_name(self) -> bool {
        self != Self::IpamClaim
    }

    /// Whether an owner of this kind must be looked up when its pod gets a reserved address. A claim and the instance
    /// of a virtual machine were already read, by UID.
    pub fn needs_check(self) -> bool {
        self == Self::StatefulSet
    }

    /// Whether it is a virtual machine, which has two pods while it migrates.
    pub fn is_machine(self) -> bool {
        matches!(self, Self::VirtualMachine | Self::VirtualMachineInstance)
    }
}

/// A stable identity: an API object that keeps an address while it exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Owner {
    /// Its kind.
    pub kind: OwnerKind,
    /// The identity of its cluster, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
    /// Its UID. Another object of the same name takes its place and its addresses, unless it is a claim.
    pub uid: String,
    /// The pod of a StatefulSet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Name>,
}

impl Owner {
    /// The owner according to the pod alone: its StatefulSet, or the running virtual machine to which it belongs.
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

    /// The running virtual machine that a holder names.
    pub fn from_holder(holder: &Holder) -> Option<Self> {
        let Controller { name, uid, .. } = holder.machine()?;
        let (namespace, name) = (Name::new(holder.pod.namespace.as_deref()?).ok()?, Name::new(name.as_str()).ok()?);
        let (kind, cluster) = (OwnerKind::VirtualMachineInstance, holder.cluster.clone());
        Some(Self { kind, cluster, namespace, name, uid: uid.clone(), pod: None })
    }

    /// The StatefulSet of which a holder's pod is one, according to the pod. The API server must confirm it.
    pub fn stateful_set_of(holder: &Holder) -> Option<Self> {
        let Controller { group, kind, name, uid } = holder.controller.as_ref()?;
        // The workload is that of a StatefulSet only if the pod's name fits.
        let is_one = (group.as_str(), kind.as_str()) == ("apps", OwnerKind::StatefulSet.as_str())
            && holder.workload.as_deref() == Some(format!("StatefulSet {name}").as_str());
        let names = [holder.pod.namespace.as_deref()?, name.as_str(), holder.pod.name.as_deref()?].map(Name::new);
        let [Ok(namespace), Ok(name), Ok(pod)] = names else { return None };
        let (kind, cluster, uid) = (OwnerKind::StatefulSet, holder.cluster.clone(), uid.clone());
        is_one.then_some(Self { kind, cluster, namespace, name, uid, pod: Some(pod) })
    }

    /// The VirtualMachine of this instance, if it has one: that object remains while the machine is stopped. KubeVirt
    /// gives both the same name.
    pub fn made_by(self, controller: Option<&Controller>) -> Self {
        let is_virtual_machine = |maker: &&Controller| {
            (maker.group.as_str(), maker.kind.as_str(), maker.name.as_str())
                == ("kubevirt.io", "VirtualMachine", self.name.as_str())
        };
        match controller.filter(is_virtual_machine) {
            Some(maker) => Self { kind: OwnerKind::VirtualMachine, uid: maker.uid.clone(), ..self },
            None => self,
        }
    }

    /// The name that distinguishes it within its kind and namespace.
    pub fn distinct_name(&self) -> &Name {
        self.pod.as_ref().unwrap_or(&self.name)
    }

    /// Whether both are the same identity, even if the object was recreated, unless it is a claim. A VirtualMachine and
    /// its instance have one name and are one machine. If one of them names no cluster, the UID must match, because it
    /// belongs to one object in the world.
    pub fn is(&self, other: &Self) -> bool {
        let by_name = self.kind.goes_by_name() && self.cluster == other.cluster;
        let comparable = self.cluster == other.cluster || self.cluster.is_none() || other.cluster.is_none();
        self.has_place_of(other) && comparable && (by_name || self.uid == other.uid)
    }

    /// Whether it is a claim that was recreated under the other's name. An ADD that has read it knows that the other
    /// one is gone, and that its reservation has ended. If one of them names no cluster, they may be of two clusters.
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

/// Why a pod does not count as one of the owner that its ownerReference names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// No such owner exists.
    #[error("the API server knows no such object")]
    NotFound,
    /// The owner is not the one that the pod names.
    #[error("the pod's ownerReference has UID {named}, and the API server has UID {found}")]
    OtherUid {
        /// The UID in the pod's ownerReference.
        named: String,
        /// The UID of the object.
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
    /// Compares the UID in the pod's ownerReference with that of the existing object.
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

/// The last addresses of an owner on an interface, stored under `id/…`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reservation {
    /// [`VERSION`].
    pub v: u32,
    /// The owner of the addresses.
    pub owner: Owner,
    /// The addresses, in the order of the network's range sets.
    pub addresses: Vec<IpAddr>,
    /// Addresses that the owner's last pod requested. They belong to the owner only while a pod of it holds them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<IpAddr>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Reservation {
    /// A reservation of these addresses.
    pub fn new(owner: Owner, addresses: Vec<IpAddr>) -> Self {
        Self { v: VERSION, owner, addresses, asked: Vec::new(), unknown: Unknown::new() }
    }

    /// Whether it names no address.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.asked.is_empty()
    }

    /// Removes an address; `None` if it is not in the reservation.
    pub fn without(mut self, ip: IpAddr) -> Option<Self> {
        let names = self.addresses.contains(&ip) || self.asked.contains(&ip);
        self.addresses.retain(|reserved| *reserved != ip);
        self.asked.retain(|asked| *asked != ip);
        names.then_some(self)
    }
}

#[cfg(test)]
mod tests;
