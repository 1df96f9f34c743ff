//! What the API server is asked for.

use std::fmt;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;

use super::ClusterError;

/// The longest name of anything in Kubernetes (RFC 1123, a subdomain).
const LONGEST: usize = 253;

/// An object in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What kube-ipam reads of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A pod.
    Pod,
    /// A StatefulSet.
    StatefulSet,
}

impl Kind {
    /// The API group, as a rule of RBAC has it.
    pub(super) fn group(self) -> &'static str {
        match self {
            Self::Pod => "",
            Self::StatefulSet => "apps",
        }
    }

    /// The resource, as a rule of RBAC has it.
    pub(super) fn resource(self) -> &'static str {
        match self {
            Self::Pod => "pods",
            Self::StatefulSet => "statefulsets",
        }
    }
}

impl Object {
    /// Checks the names, which become parts of a path.
    pub(super) fn new(kind: Kind, namespace: &str, name: &str) -> Result<Self, ClusterError> {
        for (what, text) in [("namespace", namespace), ("name", name)] {
            if !is_name(text) {
                return Err(ClusterError::Name { what, text: text.to_owned() });
            }
        }
        Ok(Self { kind, namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// The path of its resource in its namespace.
    pub(super) fn path(&self) -> String {
        match self.kind {
            Kind::Pod => Pod::url_path(&(), Some(&self.namespace)),
            Kind::StatefulSet => StatefulSet::url_path(&(), Some(&self.namespace)),
        }
    }
}

fn is_name(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| inside(byte) && !matches!(byte, b'-' | b'.'));
    text.len() <= LONGEST && text.bytes().all(inside) && edge(text.bytes().next()) && edge(text.bytes().last())
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Pod => "pod",
            Kind::StatefulSet => "StatefulSet",
        };
        write!(f, "{kind} {}/{}", self.namespace, self.name)
    }
}
