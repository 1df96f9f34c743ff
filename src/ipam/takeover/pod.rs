//! What the API server says of a holder's pod, and whether that shows it gone.

use std::fmt;

use jiff::Timestamp;

use super::reason::{GoneReason, InUseReason};
use crate::ipam::lease::PodRef;
use crate::ipam::pod::Pod;

/// The phase of a pod (`status.phase`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// All its containers have ended well.
    Succeeded,
    /// All its containers have ended, and one of them badly.
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

/// What a pod is at, in the words of `kubectl get pods`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseSince {
    /// Running, Pending, Terminating, …
    pub word: String,
    /// Since when, where the API server says it.
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
    /// Its metadata.
    pub pod: Pod,
    /// `status.phase`.
    pub phase: Phase,
    /// When its kubelet took it up, or else when it was made.
    pub since: Option<Timestamp>,
    /// When its end was asked for. It may run for long after that, on a node that is lost even for ever.
    pub deleted: Option<Timestamp>,
}

/// The API server's answer about the pod of a holder, by that pod's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodLookup {
    /// There is none.
    NotFound,
    /// There is one.
    Found(Box<PodState>),
}

/// Checks by the API server's answer whether the pod of a holder needs its addresses no more.
pub fn check_holder(holder: &PodRef, found: &PodLookup) -> Result<GoneReason, InUseReason> {
    let uid = holder.uid.as_deref().unwrap_or_default();
    match found {
        // Its mirror pod may be deleted, or not be there yet, while it runs.
        PodLookup::NotFound if is_static(uid) => Err(InUseReason::StaticPod),
        PodLookup::NotFound => Ok(GoneReason::NotFound),
        PodLookup::Found(state) if !state.pod.has_sandbox_of(uid) => match is_static(uid) && !state.pod.is_mirror() {
            true => Err(InUseReason::StaticPod),
            false => Ok(GoneReason::Replaced),
        },
        // The hash of its manifest is the UID of each run of a static pod, and the next may have begun.
        PodLookup::Found(state) if state.phase.is_final() && !is_static(uid) => {
            Ok(GoneReason::Finished(state.phase.clone()))
        }
        PodLookup::Found(state) => Err(InUseReason::Running(state.phase_since())),
    }
}

/// Whether a UID is a kubelet's hash of a manifest, and not one of the API server's (RFC 9562), which have dashes.
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
