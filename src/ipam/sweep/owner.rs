//! The objects for which addresses are reserved, and what the API server says about them.

use std::fmt;

use crate::cause::Cause;
use crate::ipam::reservation::{Owner, OwnerKind};

/// The API object whose deletion ends a reservation. All pods of a StatefulSet have the same one.
///
/// It has no UID, except for a claim. If an object was recreated, an ADD assigns its predecessor's addresses
/// ([`Owner::is`]), for example after `kubectl delete --cascade=orphan` or a restored backup, where the pods continue.
/// So a sweep must leave these addresses reserved. A recreated claim would get none of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnerRef {
    kind: OwnerKind,
    namespace: String,
    name: String,
    uid: Option<String>,
}

impl OwnerRef {
    /// The object of an owner.
    pub fn from_owner(owner: &Owner) -> Self {
        let Owner { kind, namespace, name, uid, .. } = owner;
        let uid = (!kind.goes_by_name()).then(|| uid.clone());
        Self { kind: *kind, namespace: namespace.to_string(), name: name.to_string(), uid }
    }
}

impl fmt::Display for OwnerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

/// What the API server says about such an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnerLookup {
    /// An object with its name exists.
    Exists,
    /// No such object exists.
    NotFound,
    /// It could not be checked, for this reason.
    Unknown(Cause),
}
