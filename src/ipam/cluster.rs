//! The identity of a call's cluster, which decides whose pods and owners its API server knows (invariant 4).
//!
//! Several clusters may share a store. A 404 of one API server proves nothing about another cluster's pods. So every
//! holder names its cluster, and the identity is compared before a holder is checked.

use std::borrow::Cow;

use super::reservation::Owner;
use super::takeover::InUseReason;

/// The identity of a cluster, as a call knows it: `cluster` of the node defaults, or the UID of the namespace
/// kube-system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterIdentity {
    /// The identity, or why it is not known.
    id: Result<String, String>,
    /// Former identities of the cluster (`formerClusters`). The empty text stands for holders that name none.
    former: Vec<String>,
}

impl ClusterIdentity {
    /// A cluster with this identity.
    pub fn known(id: &str) -> Self {
        Self { id: Ok(id.to_owned()), former: Vec::new() }
    }

    /// A cluster whose identity could not be read, and why.
    pub fn unknown(why: String) -> Self {
        Self { id: Err(why), former: Vec::new() }
    }

    /// The same with these former identities.
    #[must_use]
    pub fn formerly(self, former: &[String]) -> Self {
        Self { former: former.to_vec(), ..self }
    }

    /// The identity for holders and owners.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref().ok()
    }

    /// Checks that this cluster's API server knows the pods and owners of another cluster's identity, or none;
    /// otherwise says why not.
    pub fn covers(&self, cluster: Option<&str>) -> Result<(), InUseReason> {
        match &self.id {
            Err(why) => Err(InUseReason::ClusterUnknown(why.clone())),
            Ok(id) if cluster == Some(id) || self.was(cluster) => Ok(()),
            Ok(_) if cluster.is_none() => Err(InUseReason::ClusterUnnamed),
            Ok(_) => Err(InUseReason::OtherCluster),
        }
    }

    /// Whether holders with these identities may be in one cluster: they are equal, or one is missing.
    pub fn may_be_one(&self, one: Option<&str>, other: Option<&str>) -> bool {
        let both_here = || self.covers(one).is_ok() && self.covers(other).is_ok();
        one.is_none() || other.is_none() || one == other || both_here()
    }

    /// An owner under the present identity, if it has a former one.
    pub fn renamed<'a>(&self, owner: &'a Owner) -> Cow<'a, Owner> {
        match &self.id {
            Ok(id) if self.was(owner.cluster.as_deref()) => {
                Cow::Owned(Owner { cluster: Some(id.clone()), ..owner.clone() })
            }
            _ => Cow::Borrowed(owner),
        }
    }

    /// The other identities under which entries of this cluster may be stored: former ones, and none, as kube-ipam
    /// 0.3.0 wrote it.
    pub fn others(&self) -> impl Iterator<Item = Option<&str>> {
        let named =
            self.former.iter().map(String::as_str).filter(|former| !former.is_empty() && Some(*former) != self.id());
        self.id().into_iter().map(|_| None).chain(named.map(Some))
    }

    fn was(&self, cluster: Option<&str>) -> bool {
        self.id.is_ok() && self.former.iter().any(|former| former == cluster.unwrap_or_default())
    }
}
