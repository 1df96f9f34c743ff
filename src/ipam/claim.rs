//! An IPAMClaim (k8s.cni.cncf.io/v1alpha1; NPWG multi-network specification 1.3, section 8): addresses of an API object
//! that outlives a pod. The pod's network selection element names the claim.
//!
//! ```text
//!  network selection element ─► ipam-claim-reference ─► Claim ─┬─► spec     the network and interface that it is for
//!                                                              └─► status   its addresses, once it has some
//! ```
//!
//! The store decides who has an address. The status is a copy of that for the API: it is read as a request, and written
//! after the commit.

use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::lease::Assigned;
use super::name::{IfName, Name};
use super::refusal::{Refusal, list};
use super::reservation::{Owner, OwnerKind};

mod condition;

use self::condition::{Conclusion, conclusion};

/// A claim, as read from the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its namespace. Only pods of this namespace may name it.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
    /// Its UID, which distinguishes it from earlier and later claims of the same name.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub version: String,
    /// `metadata.generation`, which counts the changes of its spec.
    pub generation: Option<i64>,
    /// `spec.network`: the `name` in the network's config. May be empty.
    pub network: String,
    /// `spec.interface`: the interface's name in the pod. KubeVirt's extension leaves it empty.
    pub interface: String,
    /// Its status.
    pub status: ClaimStatus,
}

/// The status of a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClaimStatus {
    /// Its addresses, each with its prefix length.
    pub ips: Option<Vec<String>>,
    /// The pod that got them last.
    pub owner_pod: Option<OwnerPod>,
    /// Its conditions, of kube-ipam and of others.
    pub conditions: Option<Vec<Value>>,
}

/// The pod of a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OwnerPod {
    /// Its name.
    pub name: String,
}

/// Why a claim can't be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClaimError {
    /// It is for another network.
    #[error("{claim} is for network {says} (spec.network), and this is {network}")]
    OtherNetwork {
        /// The claim.
        claim: String,
        /// Its network.
        says: String,
        /// The network of the call.
        network: Name,
    },
    /// It is for another interface.
    #[error("{claim} is for interface {says} (spec.interface), and this is {ifname}")]
    OtherInterface {
        /// The claim.
        claim: String,
        /// Its interface.
        says: String,
        /// The interface of the call.
        ifname: IfName,
    },
    /// Its status has something that this network can't assign.
    #[error("{refusal}")]
    Status {
        /// The claim.
        claim: String,
        /// What is wrong with it.
        #[source]
        refusal: Box<Refusal>,
    },
    /// Its status has several addresses of one range set.
    #[error(
        "the status of {claim} has {}, of which an interface gets one: they are of the same range set, {set}",
        list(ips)
    )]
    Several {
        /// The claim.
        claim: String,
        /// The range set.
        set: String,
        /// Two of its addresses.
        ips: [IpAddr; 2],
    },
    /// Its status has an address that can only be selected at random, and the store does not reserve it for the claim.
    #[error(
        "{ip} is in the status of {owner}, but the store does not reserve it for that claim, and it is outside the \
         window for fixed addresses (fixedStart, fixedEnd)"
    )]
    NotItsOwn {
        /// The address.
        ip: IpAddr,
        /// The claim.
        owner: Box<Owner>,
    },
}

impl ClaimError {
    /// The hint for whoever reads the error.
    pub fn details(&self) -> String {
        match self {
            Self::OtherNetwork { .. } | Self::OtherInterface { .. } => {
                "a claim is for one interface on one network: correct ipam-claim-reference in the pod's \
                 k8s.v1.cni.cncf.io/networks, or the claim"
                    .to_owned()
            }
            Self::Status { claim, .. } | Self::Several { claim, .. } => renew(claim),
            Self::NotItsOwn { owner, .. } => renew(&owner.to_string()),
        }
    }
}

fn renew(claim: &str) -> String {
    format!("to have another address instead, clear status.ips of {claim} (`kubectl edit --subresource=status`)")
}

impl Claim {
    /// The owner that this claim is.
    pub fn owner(&self, cluster: Option<String>) -> Owner {
        let Self { namespace, name, uid, .. } = self.clone();
        Owner { kind: OwnerKind::IpamClaim, cluster, namespace, name, uid, pod: None }
    }

    /// Checks that it is for this interface and network. An empty field matches any.
    pub fn fits(&self, network: &Name, ifname: &IfName) -> Result<(), ClaimError> {
        let (claim, network, ifname) = (self.to_string(), network.clone(), ifname.clone());
        if !self.network.is_empty() && self.network != network.as_str() {
            return Err(ClaimError::OtherNetwork { claim, says: self.network.clone(), network });
        }
        if !self.interface.is_empty() && self.interface != ifname.as_str() {
            return Err(ClaimError::OtherInterface { claim, says: self.interface.clone(), ifname });
        }
        Ok(())
    }

    /// The merge patch (RFC 7396) that writes its addresses to the status; `None` if the status has them already.
    ///
    /// A merge patch replaces a list as a whole, so this one includes the conditions of others. It also names the
    /// resourceVersion from which they were read, and the server refuses it for any other (409).
    pub fn patch(&self, given: &[Assigned], pod: &str, now: Timestamp) -> Option<Value> {
        let ips: Vec<String> = given.iter().map(|assigned| assigned.address.to_string()).collect();
        let before = self.status.conditions.clone().unwrap_or_default();
        let message = format!("kube-ipam keeps {} for this claim", list(&ips));
        let conditions = self.conditions(&Conclusion { status: "True", reason: "SuccessfulAllocation", message }, now);
        let owner_pod = OwnerPod { name: pod.to_owned() };
        let says = &self.status;
        if says.ips.as_ref() == Some(&ips) && says.owner_pod.as_ref() == Some(&owner_pod) && before == conditions {
            return None;
        }
        Some(json!({
            "metadata": { "resourceVersion": self.version },
            "status": { "ips": ips, "ownerPod": owner_pod, "conditions": conditions },
        }))
    }

    /// The merge patch that writes a refusal to its condition. `None` if the claim has addresses, if the condition says
    /// the same already, or if the next attempt may end differently.
    pub fn patch_refused(&self, refusal: &Refusal, now: Timestamp) -> Option<Value> {
        if self.status.ips.as_ref().is_some_and(|ips| !ips.is_empty()) {
            return None;
        }
        let conditions = self.conditions(&conclusion(refusal)?, now);
        if self.status.conditions.as_ref() == Some(&conditions) {
            return None;
        }
        // The CustomResourceDefinition requires `ips`.
        Some(json!({
            "metadata": { "resourceVersion": self.version },
            "status": { "ips": [], "conditions": conditions },
        }))
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IPAMClaim {}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests;
