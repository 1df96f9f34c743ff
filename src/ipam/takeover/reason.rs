//! Why a holder no longer needs its address, and why it keeps it, for refusals and logs.

use std::fmt;

use super::pod::{Phase, PhaseSince};
use crate::cause::{Cause, chain};
use crate::ipam::lease::ManualReservation;
use crate::ipam::machine::JoinError;
use crate::ipam::reservation::Owner;

/// Why a holder no longer needs its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GoneReason {
    /// It is an earlier sandbox of the requesting pod.
    EarlierSandbox,
    /// The API server knows no pod of that name.
    NotFound,
    /// The API server has another pod of that name.
    Replaced,
    /// It has finished, and no kubelet starts it again.
    Finished(Phase),
    /// This node has rebooted since its last ADD.
    EarlierBoot,
    /// Its network namespace is gone from this node.
    NamespaceGone,
}

impl fmt::Display for GoneReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EarlierSandbox => f.write_str("its earlier sandbox"),
            Self::NotFound => f.write_str("gone"),
            Self::Replaced => f.write_str("replaced"),
            Self::Finished(phase) => write!(f, "finished ({phase})"),
            Self::EarlierBoot => f.write_str("ended: this node has rebooted since it started"),
            Self::NamespaceGone => f.write_str("ended: its network namespace is gone"),
        }
    }
}

/// Why a holder keeps its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InUseReason {
    /// Its pod is alive, according to the API server.
    Running(PhaseSince),
    /// Its pod was not checked.
    NotChecked,
    /// The network does not read pods.
    ChecksDisabled,
    /// The API server did not answer.
    LookupFailed(Cause),
    /// It is another interface of the same sandbox.
    SameSandbox,
    /// It is a later sandbox of the same pod, or may be.
    NotEarlierSandbox,
    /// Its pod is in another cluster.
    OtherCluster,
    /// It names no cluster: kube-ipam 0.3.0 wrote it on a node whose defaults name none.
    ClusterUnnamed,
    /// This node does not know its cluster's identity, for this reason.
    ClusterUnknown(String),
    /// Its runtime did not fully name its pod.
    NoPodNamed,
    /// It is a container of this node whose network namespace may still exist.
    NamespaceExists,
    /// It is a container of this node without a readable record.
    NoRecord,
    /// It is a container of this node, and another call is working on it.
    BusyOnNode,
    /// It is a static pod, which its kubelet runs whatever the API server has.
    StaticPod,
    /// There are several holders.
    SeveralHolders,
    /// It is alive, and KubeVirt does not confirm that both pods belong to one virtual machine.
    NotOneMachine(JoinError),
    /// It is gone, but its address is reserved for its owner.
    ReservedForOwner(GoneReason, Box<Owner>),
    /// It is gone, but its address is reserved by hand.
    ReservedByHand(GoneReason, Box<ManualReservation>),
}

impl fmt::Display for InUseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running(state) => return write!(f, "the API server reports that pod as {state}"),
            Self::NotOneMachine(error) => return chain(error).fmt(f),
            Self::LookupFailed(cause) => {
                return write!(f, "kube-ipam can't tell whether that pod is gone: {}", chain(cause));
            }
            Self::ClusterUnknown(why) => return write!(f, "this node doesn't know its cluster's identity: {why}"),
            Self::NotChecked => "kube-ipam did not check whether that pod is gone",
            Self::ChecksDisabled => {
                "kube-ipam did not check whether that pod is gone, because this network does not read pods (annotations)"
            }
            Self::SameSandbox => "the holder is another interface of the same pod",
            Self::NotEarlierSandbox => "the holder is another sandbox of the same pod, and may be the newer one",
            Self::OtherCluster => "the holder is in another cluster, whose pods this cluster's API server doesn't know",
            Self::ClusterUnnamed => "the holder names no cluster, so this API server can't speak for its pod",
            Self::NoPodNamed => "only its own node can tell whether it is gone, because its runtime did not fully identify its pod",
            Self::NamespaceExists => "its container's network namespace may still exist on this node",
            Self::NoRecord => "this node has no record that shows whether its container is gone",
            Self::BusyOnNode => "another call on this node is working on its container",
            Self::StaticPod => "the holder is a static pod, which its node runs whether or not the API server shows it",
            Self::SeveralHolders => "it has several holders",
            Self::ReservedForOwner(reason, owner) => {
                return write!(f, "that pod is {reason}, but its address is reserved for {owner}");
            }
            Self::ReservedByHand(reason, manual) => {
                return write!(f, "that pod is {reason}, but its address is {manual}");
            }
        })
    }
}
