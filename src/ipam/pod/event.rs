//! An event on a pod, as the API server has it.

use jiff::Timestamp;

use crate::ipam::lease::PodRef;

/// An event on a pod. The API server keeps it for an hour, and counts repetitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEvent {
    /// The pod that it is about.
    pub pod: PodRef,
    /// The component that published it, such as `kubelet`.
    pub component: String,
    /// The node on which that component runs, if it is named.
    pub host: Option<String>,
    /// Its reason, such as `FailedCreatePodSandBox`.
    pub reason: String,
    /// Its text.
    pub message: String,
    /// How often it occurred; at least once.
    pub count: u64,
    /// When it occurred first.
    pub first: Option<Timestamp>,
    /// When it occurred last.
    pub last: Option<Timestamp>,
}
