//! The API server's answer about a holder's pod, and whether it confirms that the pod is gone.

use std::fmt;

use jiff::Timestamp;

use super::reason::{GoneReason, InUseReason};
use crate::ipam::lease::PodRef;
use crate::ipam::pod::Pod;

/// The phase of a pod (`status.phase`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// All its containers have succeeded.
    Succeeded,
    /// All its containers have ended, and one has failed.
    Failed,
    /// Anything else: Pending, Running, Unknown, or what a later Kubernetes may add.
    Other(String),
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Other(phase) => phase,
        })
    }
}

/// A pod's state, as `kubectl get pods` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseSince {
    /// Running, Pending, Terminating, …
    pub word: String,
    /// When this state began, if the API server reports it.
    pub since: Option<Timestamp>,
}

impl fmt::Display for PhaseSince {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.since {
            Some(since) => write!(f, "{} since {since:.0}", self.word),
            None => f.write_str(&self.word),
        }
    }
}

/// A pod with its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodState {
    /// The metadata of the pod.
    pub pod: Pod,
    /// `status.phase`.
    pub phase: Phase,
    /// When its kubelet accepted it, or else its creation.
    pub since: Option<Timestamp>,
    /// When its deletion was requested. It may run long after that; on a lost node, forever.
    pub deleted: Option<Timestamp>,
}

/// The API server's answer about a holder's pod, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodLookup {
    /// No such pod exists.
    NotFound,
    /// A pod of this name exists.
    Found(Box<PodState>),
}

/// Decides from the API server's answer whether a holder's pod no longer needs its addresses.
pub fn check_holder(holder: &PodRef, found: &PodLookup) -> Result<GoneReason, InUseReason> {
    let uid = holder.uid.as_deref().unwrap_or_default();
    match found {
        // A static pod may run without its mirror pod.
        PodLookup::NotFound if is_static(uid) => Err(InUseReason::StaticPod),
        PodLookup::NotFound => Ok(GoneReason::NotFound),
        PodLookup::Found(state) if !state.pod.has_sandbox_of(uid) => match is_static(uid) && !state.pod.is_mirror() {
            true => Err(InUseReason::StaticPod),
            false => Ok(GoneReason::Replaced),
        },
        // Every run of a static pod has the hash of its manifest as its UID, and the next run may have started.
        PodLookup::Found(state) if state.phase.is_final() && !is_static(uid) => {
            Ok(GoneReason::Finished(state.phase.clone()))
        }
        PodLookup::Found(state) => Err(InUseReason::Running(state.phase_since())),
    }
}

/// Whether a UID is a kubelet's hash of a manifest. An API server's UIDs (RFC 9562) have dashes.
pub(in crate::ipam) fn is_static(uid: &str) -> bool {
    !uid.contains('-')
}

impl Phase {
    fn is_final(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

impl PodState {
    fn phase_since(&self) -> PhaseSince {
        match self.deleted {
            Some(since) => PhaseSince { word: "Terminating".to_owned(), since: Some(since) },
            None => PhaseSince { word: self.phase.to_string(), since: self.since },
        }
    }
}
