//! Of which cluster a call is, and so of whose pods and owners its API server can speak (invariant 4).
//!
//! Several clusters may share a store. A 404 of one of their API servers says nothing of the pods of another, so that the
//! identity is written into every holder, and compared before anybody is asked about it.

use std::borrow::Cow;

use super::reservation::Owner;
use super::takeover::InUseReason;

/// The identity of a cluster as a call knows it: `cluster` of the node defaults, or the UID of the namespace kube-system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterIdentity {
    /// The identity, or why it is not known.
    id: Result<String, String>,
    /// What the cluster was called before (`formerClusters`); empty for holders that name none.
    former: Vec<String>,
}

impl ClusterIdentity {
    /// A cluster that is known by this.
    pub fn known(id: &str) -> Self {
        Self { id: Ok(id.to_owned()), former: Vec::new() }
    }

    /// A cluster whose identity could not be had, and why.
    pub fn unknown(why: String) -> Self {
        Self { id: Err(why), former: Vec::new() }
    }

    /// The same, once known by these too.
    #[must_use]
    pub fn formerly(self, former: &[String]) -> Self {
        Self { former: former.to_vec(), ..self }
    }

    /// What is written into holders and owners.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref().ok()
    }

    /// Whether the API server of this cluster can speak for what a holder's or an owner's cluster is; or why it can't.
    pub fn covers(&self, cluster: Option<&str>) -> Result<(), InUseReason> {
        match &self.id {
            Err(why) => Err(InUseReason::ClusterUnknown(why.clone())),
            Ok(id) if cluster == Some(id) || self.was(cluster) => Ok(()),
            Ok(_) if cluster.is_none() => Err(InUseReason::ClusterUnnamed),
            Ok(_) => Err(InUseReason::OtherCluster),
        }
    }

    /// Whether holders with these may be of one cluster: they name the same one, or one of them names none.
    pub fn may_be_one(&self, one: Option<&str>, other: Option<&str>) -> bool {
        let both_here = || self.covers(one).is_ok() && self.covers(other).is_ok();
        one.is_none() || other.is_none() || one == other || both_here()
    }

    /// An owner under today's identity, if its own is a former one.
    pub fn renamed<'a>(&self, owner: &'a Owner) -> Cow<'a, Owner> {
        match &self.id {
            Ok(id) if self.was(owner.cluster.as_deref()) => {
                Cow::Owned(Owner { cluster: Some(id.clone()), ..owner.clone() })
            }
            _ => Cow::Borrowed(owner),
        }
    }

    /// The other identities under which something of this cluster may be stored: the former ones, and none at all, as
    /// kube-ipam 0.3.0 wrote it.
    pub fn others(&self) -> impl Iterator<Item = Option<&str>> {
        let named =
            self.former.iter().map(String::as_str).filter(|former| !former.is_empty() && Some(*former) != self.id());
        self.id().into_iter().map(|_| None).chain(named.map(Some))
    }

    fn was(&self, cluster: Option<&str>) -> bool {
        self.id.is_ok() && self.former.iter().any(|former| former == cluster.unwrap_or_default())
    }
}
