//! The kinds of workloads of Kubernetes itself.

use super::object::ResourceKind;
use crate::ipam::pod::Controller;

/// A kind of workload of Kubernetes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkloadKind {
    /// apps/v1.
    Deployment,
    /// apps/v1.
    ReplicaSet,
    /// apps/v1.
    StatefulSet,
    /// apps/v1.
    DaemonSet,
    /// batch/v1.
    Job,
    /// batch/v1.
    CronJob,
}

impl WorkloadKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Deployment, Self::ReplicaSet, Self::StatefulSet, Self::DaemonSet, Self::Job, Self::CronJob];

    /// The kind as the API spells it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::ReplicaSet => "ReplicaSet",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
        }
    }

    pub(super) fn api_version(self) -> &'static str {
        match self {
            Self::Job | Self::CronJob => "batch/v1",
            _ => "apps/v1",
        }
    }

    pub(super) fn list(self) -> ResourceKind {
        match self {
            Self::Deployment => ResourceKind::Deployments,
            Self::ReplicaSet => ResourceKind::ReplicaSets,
            Self::StatefulSet => ResourceKind::StatefulSets,
            Self::DaemonSet => ResourceKind::DaemonSets,
            Self::Job => ResourceKind::Jobs,
            Self::CronJob => ResourceKind::CronJobs,
        }
    }

    /// Whether a pod's controller is a workload of one of these kinds.
    pub fn controls(controller: &Controller) -> bool {
        Self::ALL.iter().any(|kind| {
            let group = kind.api_version().split('/').next();
            kind.word() == controller.kind && group == Some(controller.group.as_str())
        })
    }

    /// Whether another workload of the cluster has made this one, and stands for its pods.
    pub(super) fn is_part_of(self, api_version: &str, kind: &str) -> bool {
        match self {
            Self::ReplicaSet => (api_version, kind) == ("apps/v1", "Deployment"),
            Self::Job => (api_version, kind) == ("batch/v1", "CronJob"),
            _ => false,
        }
    }
}
