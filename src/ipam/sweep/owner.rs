//! The objects for which addresses are kept, and what is told of them.

use std::fmt;

use crate::cause::Cause;
use crate::ipam::reservation::{Owner, OwnerKind};

/// The object of the API that an owner is, or is a pod of: addresses of all pods of a StatefulSet stay and go with it.
///
/// Its UID is no part of it, but of a claim. An object that was made anew has the place of the one before, and an ADD gives
/// it that one's addresses ([`Owner::is`]); `kubectl delete --cascade=orphan` and a restored backup are such cases, in which
/// the pods go on. So a sweep leaves it what it would be given. A claim that was made anew would be given nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnerRef {
    kind: OwnerKind,
    namespace: String,
    name: String,
    uid: Option<String>,
}

impl OwnerRef {
    /// That of an owner.
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

/// What the API server tells of such an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnerLookup {
    /// There is one of its name.
    Exists,
    /// There is none.
    NotFound,
    /// It does not tell, and why.
    Unknown(Cause),
}
