//! What the API server is asked for.

use std::fmt;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Namespace, Node, Pod};
use kube::Resource;

use super::ClusterError;
use crate::ipam::name::is_object_name;
use crate::ipam::reservation::OwnerKind;

/// An object in a namespace, or all of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// Its namespace; empty for all of a kind.
    pub namespace: String,
    /// Its name; empty for all of a kind.
    pub name: String,
}

/// What kube-ipam reads of a cluster, or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A pod.
    Pod,
    /// All pods, of every namespace; the one kind without namespace and name.
    Pods,
    /// All nodes.
    Nodes,
    /// A StatefulSet.
    StatefulSet,
    /// A namespace.
    Namespace,
    /// A virtual machine of KubeVirt.
    VirtualMachine,
    /// A running virtual machine of KubeVirt.
    VirtualMachineInstance,
    /// The migration of a running virtual machine of KubeVirt.
    VirtualMachineInstanceMigration,
    /// A claim of addresses.
    IpamClaim,
    /// The status of a claim.
    IpamClaimStatus,
    /// What says who of several leads.
    Lease,
    /// What somebody has said of a pod.
    Event,
}

impl Kind {
    /// The API group, as a rule of RBAC has it.
    pub(super) fn group(self) -> &'static str {
        match self {
            Self::Pod | Self::Pods | Self::Nodes | Self::Namespace | Self::Event => "",
            Self::StatefulSet => "apps",
            Self::VirtualMachine | Self::VirtualMachineInstance | Self::VirtualMachineInstanceMigration => {
                "kubevirt.io"
            }
            Self::IpamClaim | Self::IpamClaimStatus => "k8s.cni.cncf.io",
            Self::Lease => "coordination.k8s.io",
        }
    }

    /// The resource, as a rule of RBAC has it.
    pub(super) fn resource(self) -> &'static str {
        match self {
            Self::Pod | Self::Pods => "pods",
            Self::Nodes => "nodes",
            Self::StatefulSet => "statefulsets",
            Self::Namespace => "namespaces",
            Self::VirtualMachine => "virtualmachines",
            Self::VirtualMachineInstance => "virtualmachineinstances",
            Self::VirtualMachineInstanceMigration => "virtualmachineinstancemigrations",
            Self::IpamClaim => "ipamclaims",
            Self::IpamClaimStatus => "ipamclaims/status",
            Self::Lease => "leases",
            Self::Event => "events",
        }
    }

    /// What is done with it, in a sentence.
    pub(super) fn deed(self) -> &'static str {
        if self == Self::IpamClaimStatus { "patch" } else { "get" }
    }
}

impl From<OwnerKind> for Kind {
    fn from(kind: OwnerKind) -> Self {
        match kind {
            OwnerKind::StatefulSet => Self::StatefulSet,
            OwnerKind::VirtualMachine => Self::VirtualMachine,
            OwnerKind::VirtualMachineInstance => Self::VirtualMachineInstance,
            OwnerKind::IpamClaim => Self::IpamClaim,
        }
    }
}

impl Object {
    /// Checks the names, which become parts of a path.
    pub(super) fn new(kind: Kind, namespace: &str, name: &str) -> Result<Self, ClusterError> {
        let part = |what, text: &str| match is_object_name(text) {
            true => Ok(text.to_owned()),
            false => Err(ClusterError::Name { what, text: text.to_owned() }),
        };
        // A namespace is in none.
        let namespace = if kind == Kind::Namespace { String::new() } else { part("namespace", namespace)? };
        Ok(Self { kind, namespace, name: part("name", name)? })
    }

    /// All of a kind, to be listed or watched.
    pub(super) fn all(kind: Kind) -> Self {
        Self { kind, namespace: String::new(), name: String::new() }
    }

    /// The verbs that are needed of it, as a rule of RBAC has them.
    pub(super) fn verbs(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Pods | Kind::Nodes => &["list"],
            Kind::Lease => &["get", "create", "update"],
            Kind::IpamClaimStatus => &["patch"],
            _ if self.name.is_empty() => &["list", "watch"],
            _ => &["get"],
        }
    }

    /// The path of its resource in its namespace.
    pub(super) fn path(&self) -> String {
        let namespace = Some(self.namespace.as_str()).filter(|namespace| !namespace.is_empty());
        match self.kind {
            Kind::Pod | Kind::Pods => Pod::url_path(&(), namespace),
            Kind::Nodes => Node::url_path(&(), None),
            Kind::StatefulSet => StatefulSet::url_path(&(), namespace),
            Kind::Namespace => Namespace::url_path(&(), None),
            Kind::Lease => Lease::url_path(&(), namespace),
            Kind::Event => Event::url_path(&(), namespace),
            kind @ (Kind::VirtualMachine | Kind::VirtualMachineInstance | Kind::VirtualMachineInstanceMigration) => {
                self.path_of("v1", kind)
            }
            // The status is a part of the claim's own path.
            Kind::IpamClaim | Kind::IpamClaimStatus => self.path_of("v1alpha1", Kind::IpamClaim),
        }
    }

    /// The path of a resource whose types no crate of ours has.
    fn path_of(&self, version: &str, kind: Kind) -> String {
        let inside = match self.namespace.as_str() {
            "" => String::new(),
            namespace => format!("namespaces/{namespace}/"),
        };
        format!("/apis/{}/{version}/{inside}{}", kind.group(), kind.resource())
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Pod if self.name.is_empty() => return f.write_str("all pods"),
            Kind::Pod => "pod",
            Kind::Pods => return f.write_str("the list of pods"),
            Kind::Nodes => return f.write_str("the list of nodes"),
            Kind::StatefulSet => "StatefulSet",
            Kind::Namespace => return write!(f, "namespace {}", self.name),
            Kind::VirtualMachine => "VirtualMachine",
            Kind::VirtualMachineInstance => "VirtualMachineInstance",
            Kind::VirtualMachineInstanceMigration => "VirtualMachineInstanceMigration",
            Kind::IpamClaim => "IPAMClaim",
            Kind::IpamClaimStatus => "the status of IPAMClaim",
            Kind::Lease => "Lease",
            Kind::Event => "Event",
        };
        if self.name.is_empty() {
            return write!(f, "all objects of kind {kind}");
        }
        write!(f, "{kind} {}/{}", self.namespace, self.name)
    }
}
