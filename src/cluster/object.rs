//! References to the objects that kube-ipam reads or writes: their paths, and the RBAC rule that each needs.

use std::fmt;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::authorization::v1::{SelfSubjectAccessReview, SelfSubjectRulesReview};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Node, Pod};
use kube::Resource;

use super::ClusterError;
use crate::ipam::lease::PodRef;
use crate::ipam::name::is_object_name;
use crate::ipam::reservation::{Owner, OwnerKind};

/// An object, or all objects of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: ResourceKind,
    /// Its namespace; empty for all objects of a kind.
    pub namespace: String,
    /// Its name; empty for all objects of a kind.
    pub name: String,
}

/// The kinds that kube-ipam reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    /// A pod.
    Pod,
    /// The list of pods of all namespaces.
    Pods,
    /// A node.
    Node,
    /// The list of nodes.
    Nodes,
    /// A StatefulSet.
    StatefulSet,
    /// A namespace.
    Namespace,
    /// KubeVirt's virtual machine.
    VirtualMachine,
    /// KubeVirt's running virtual machine.
    VirtualMachineInstance,
    /// KubeVirt's migration of a running virtual machine.
    VirtualMachineInstanceMigration,
    /// An IPAMClaim.
    IpamClaim,
    /// The status subresource of an IPAMClaim.
    IpamClaimStatus,
    /// The Lease of a leader election.
    Lease,
    /// An Event on a pod.
    Event,
    /// A NetworkAttachmentDefinition.
    NetworkDefinition,
    /// The list of NetworkAttachmentDefinitions.
    NetworkDefinitions,
    /// A ConfigMap.
    ConfigMap,
    /// The list of DaemonSets.
    DaemonSets,
    /// The list of Deployments.
    Deployments,
    /// The list of ReplicaSets.
    ReplicaSets,
    /// The list of StatefulSets.
    StatefulSets,
    /// The list of Jobs.
    Jobs,
    /// The list of CronJobs.
    CronJobs,
    /// What RBAC allows this user.
    RulesReview,
    /// Whether this user may do one thing.
    AccessReview,
    /// The server's version. It is no resource, and RBAC allows it to every user.
    Version,
    /// The list of Events on a pod.
    PodEvents,
}

impl ResourceKind {
    /// The API group, as in an RBAC rule.
    pub(super) fn group(self) -> &'static str {
        match self {
            Self::Pod
            | Self::Pods
            | Self::Node
            | Self::Nodes
            | Self::Namespace
            | Self::Event
            | Self::PodEvents
            | Self::ConfigMap
            | Self::Version => "",
            Self::StatefulSet | Self::StatefulSets | Self::DaemonSets | Self::Deployments | Self::ReplicaSets => "apps",
            Self::Jobs | Self::CronJobs => "batch",
            Self::VirtualMachine | Self::VirtualMachineInstance | Self::VirtualMachineInstanceMigration => {
                "kubevirt.io"
            }
            Self::IpamClaim | Self::IpamClaimStatus | Self::NetworkDefinition | Self::NetworkDefinitions => {
                "k8s.cni.cncf.io"
            }
            Self::Lease => "coordination.k8s.io",
            Self::RulesReview | Self::AccessReview => "authorization.k8s.io",
        }
    }

    pub(super) fn resource(self) -> &'static str {
        match self {
            Self::Pod | Self::Pods => "pods",
            Self::Node | Self::Nodes => "nodes",
            Self::StatefulSet | Self::StatefulSets => "statefulsets",
            Self::Namespace => "namespaces",
            Self::VirtualMachine => "virtualmachines",
            Self::VirtualMachineInstance => "virtualmachineinstances",
            Self::VirtualMachineInstanceMigration => "virtualmachineinstancemigrations",
            Self::IpamClaim => "ipamclaims",
            Self::IpamClaimStatus => "ipamclaims/status",
            Self::Lease => "leases",
            Self::Event | Self::PodEvents => "events",
            Self::NetworkDefinition | Self::NetworkDefinitions => "network-attachment-definitions",
            Self::ConfigMap => "configmaps",
            Self::DaemonSets => "daemonsets",
            Self::Deployments => "deployments",
            Self::ReplicaSets => "replicasets",
            Self::Jobs => "jobs",
            Self::CronJobs => "cronjobs",
            Self::RulesReview => "selfsubjectrulesreviews",
            Self::AccessReview => "selfsubjectaccessreviews",
            Self::Version => "version",
        }
    }

    /// The verb that an error text uses.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::IpamClaimStatus => "patch",
            Self::RulesReview | Self::AccessReview => "create",
            _ => "get",
        }
    }
}

impl From<OwnerKind> for ResourceKind {
    fn from(kind: OwnerKind) -> Self {
        match kind {
            OwnerKind::StatefulSet => Self::StatefulSet,
            OwnerKind::VirtualMachine => Self::VirtualMachine,
            OwnerKind::VirtualMachineInstance => Self::VirtualMachineInstance,
            OwnerKind::IpamClaim => Self::IpamClaim,
        }
    }
}

impl ObjectRef {
    pub(super) fn from_pod(pod: &PodRef) -> Result<Self, ClusterError> {
        let name = |part: &Option<String>| part.clone().unwrap_or_default();
        Self::new(ResourceKind::Pod, &name(&pod.namespace), &name(&pod.name))
    }

    pub(super) fn from_owner(owner: &Owner) -> Result<Self, ClusterError> {
        Self::new(owner.kind.into(), owner.namespace.as_str(), owner.name.as_str())
    }

    /// The error if this name is not allowed in a request.
    pub(super) fn invalid_name(&self) -> ClusterError {
        ClusterError::Name { what: "name", text: self.name.clone() }
    }

    /// Checks the names, because they become parts of a path.
    pub(super) fn new(kind: ResourceKind, namespace: &str, name: &str) -> Result<Self, ClusterError> {
        let part = |what, text: &str| match is_object_name(text) {
            true => Ok(text.to_owned()),
            false => Err(ClusterError::Name { what, text: text.to_owned() }),
        };
        let is_namespaced = !matches!(kind, ResourceKind::Namespace | ResourceKind::Node);
        let namespace = if is_namespaced { part("namespace", namespace)? } else { String::new() };
        Ok(Self { kind, namespace, name: part("name", name)? })
    }

    /// All objects of a kind, for a list or watch.
    pub(super) fn all(kind: ResourceKind) -> Self {
        Self { kind, namespace: String::new(), name: String::new() }
    }

    /// The RBAC verbs that kube-ipam needs.
    pub(super) fn verbs(&self) -> &'static [&'static str] {
        match self.kind {
            ResourceKind::Pods
            | ResourceKind::Nodes
            | ResourceKind::PodEvents
            | ResourceKind::NetworkDefinitions
            | ResourceKind::DaemonSets
            | ResourceKind::Deployments
            | ResourceKind::ReplicaSets
            | ResourceKind::StatefulSets
            | ResourceKind::Jobs
            | ResourceKind::CronJobs => &["list"],
            ResourceKind::RulesReview | ResourceKind::AccessReview => &["create"],
            ResourceKind::Lease => &["get", "create", "update"],
            ResourceKind::IpamClaimStatus => &["patch"],
            _ if self.name.is_empty() => &["list", "watch"],
            _ => &["get"],
        }
    }

    /// The URL path of the resource in its namespace.
    pub(super) fn path(&self) -> String {
        let namespace = Some(self.namespace.as_str()).filter(|namespace| !namespace.is_empty());
        match self.kind {
            ResourceKind::Pod | ResourceKind::Pods => Pod::url_path(&(), namespace),
            ResourceKind::Node | ResourceKind::Nodes => Node::url_path(&(), None),
            ResourceKind::StatefulSet => StatefulSet::url_path(&(), namespace),
            ResourceKind::Namespace => Namespace::url_path(&(), None),
            ResourceKind::Lease => Lease::url_path(&(), namespace),
            ResourceKind::Event | ResourceKind::PodEvents => Event::url_path(&(), namespace),
            ResourceKind::ConfigMap => ConfigMap::url_path(&(), namespace),
            ResourceKind::DaemonSets => DaemonSet::url_path(&(), None),
            ResourceKind::Deployments => Deployment::url_path(&(), None),
            ResourceKind::ReplicaSets => ReplicaSet::url_path(&(), None),
            ResourceKind::StatefulSets => StatefulSet::url_path(&(), None),
            ResourceKind::Jobs => Job::url_path(&(), None),
            ResourceKind::CronJobs => CronJob::url_path(&(), None),
            ResourceKind::RulesReview => SelfSubjectRulesReview::url_path(&(), None),
            ResourceKind::AccessReview => SelfSubjectAccessReview::url_path(&(), None),
            ResourceKind::Version => "/version".to_owned(),
            kind @ (ResourceKind::NetworkDefinition
            | ResourceKind::NetworkDefinitions
            | ResourceKind::VirtualMachine
            | ResourceKind::VirtualMachineInstance
            | ResourceKind::VirtualMachineInstanceMigration) => self.custom_resource_path("v1", kind),
            // The status is a subresource, so its path starts with the claim's.
            ResourceKind::IpamClaim | ResourceKind::IpamClaimStatus => {
                self.custom_resource_path("v1alpha1", ResourceKind::IpamClaim)
            }
        }
    }

    /// The path of a custom resource, for which k8s-openapi has no type.
    fn custom_resource_path(&self, version: &str, kind: ResourceKind) -> String {
        let namespace = match self.namespace.as_str() {
            "" => String::new(),
            namespace => format!("namespaces/{namespace}/"),
        };
        format!("/apis/{}/{version}/{namespace}{}", kind.group(), kind.resource())
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ResourceKind::Pod if self.name.is_empty() => return f.write_str("all pods"),
            ResourceKind::Pod => "pod",
            ResourceKind::Pods => return f.write_str("the list of pods"),
            ResourceKind::Node => return write!(f, "node {}", self.name),
            ResourceKind::Nodes => return f.write_str("the list of nodes"),
            ResourceKind::StatefulSet => "StatefulSet",
            ResourceKind::Namespace => return write!(f, "namespace {}", self.name),
            ResourceKind::VirtualMachine => "VirtualMachine",
            ResourceKind::VirtualMachineInstance => "VirtualMachineInstance",
            ResourceKind::VirtualMachineInstanceMigration => "VirtualMachineInstanceMigration",
            ResourceKind::IpamClaim => "IPAMClaim",
            ResourceKind::IpamClaimStatus => "the status of IPAMClaim",
            ResourceKind::Lease => "Lease",
            ResourceKind::Event => "Event",
            ResourceKind::NetworkDefinition => "NetworkAttachmentDefinition",
            ResourceKind::NetworkDefinitions => return f.write_str("the list of NetworkAttachmentDefinitions"),
            ResourceKind::ConfigMap => "ConfigMap",
            ResourceKind::DaemonSets => return f.write_str("the list of DaemonSets"),
            ResourceKind::Deployments => return f.write_str("the list of Deployments"),
            ResourceKind::ReplicaSets => return f.write_str("the list of ReplicaSets"),
            ResourceKind::StatefulSets => return f.write_str("the list of StatefulSets"),
            ResourceKind::Jobs => return f.write_str("the list of Jobs"),
            ResourceKind::CronJobs => return f.write_str("the list of CronJobs"),
            ResourceKind::RulesReview => return f.write_str("the review of its own rights"),
            ResourceKind::AccessReview => return f.write_str("the review of one of its own rights"),
            ResourceKind::Version => return f.write_str("its version"),
            ResourceKind::PodEvents if self.name.is_empty() => return f.write_str("the list of events"),
            ResourceKind::PodEvents => "the events of pod",
        };
        if self.name.is_empty() {
            return write!(f, "all objects of kind {kind}");
        }
        write!(f, "{kind} {}/{}", self.namespace, self.name)
    }
}
