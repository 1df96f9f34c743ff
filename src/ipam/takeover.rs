//! Decides whether an address is taken over from its holder (invariant 5).
//!
//! ```text
//! both holders ─► HolderChecks ─┬─► TakeOver        by a later sandbox of the same pod, or because its pod is gone
//!                               ├─► Refuse          with the reason
//!                               ├─► CheckPod ───────► the API server's answer ─► check_holder ─► recorded in HolderChecks
//!                               ├─► CheckContainer ─► this node's own record of it ────────────► recorded in HolderChecks
//!                               └─► CheckJoin ──────► KubeVirt's answer about both pods ───────► recorded ─► Share
//! ```
//!
//! If the network requires it, the link is also probed before the address is used. A reply ([`ProbeResult`]) prevents
//! the take-over. A missing reply never permits more than this decision.
//!
//! A pod that is gone stays gone: its UID never comes back, and a finished pod never runs again. So the result of a
//! check applies to all addresses of the pod. The guard of the commit ensures that the pod is still the holder.
//!
//! If a holder has no full pod name, only its own node can confirm that it is gone. It may come back: podman starts a
//! container again under its old ID. So the record of such a container stays locked from its check until the decision
//! is made.

mod pod;
mod probe;
mod reason;

pub(super) use self::pod::is_static;
pub use self::pod::{Phase, PhaseSince, PodLookup, PodState, check_holder};
pub use self::probe::{Mac, Probe, ProbeResult};
pub use self::reason::{GoneReason, InUseReason};
use super::cluster::ClusterIdentity;
use super::lease::{Began, Holder, PodRef};
use super::machine::{JoinError, JoinQuestion};
use super::name::AttachmentId;
use super::reservation::{Owner, OwnerError};

/// What to do about an address with another holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakeoverDecision {
    /// Take the address over, for this reason.
    TakeOver(GoneReason),
    /// Leave it to its holder, for this reason.
    Refuse(InUseReason),
    /// Check the holder's pod in the API first.
    CheckPod,
    /// Check the holder's container on its own node first.
    CheckContainer,
    /// Ask KubeVirt first whether both pods belong to one virtual machine.
    CheckJoin,
    /// Share it: both are pods of one virtual machine that migrates.
    Share,
}

/// A check that an ADD needs before it can continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PendingCheck {
    /// Whether the pod of a holder is gone.
    Pod(PodRef),
    /// Whether the container of a holder without a pod's full name is gone, according to its own node.
    Container(AttachmentId),
    /// Whether the requesting pod and a holder's pod belong to one virtual machine.
    Join(Box<JoinQuestion>),
    /// Whether the requesting pod belongs to the owner that it names.
    Owner(Box<Owner>),
}

/// The results of a call's checks so far.
#[derive(Clone, Debug)]
pub struct HolderChecks {
    cluster: ClusterIdentity,
    pods: Vec<(PodRef, Result<GoneReason, InUseReason>)>,
    containers: Vec<(AttachmentId, Result<GoneReason, InUseReason>)>,
    /// Keyed by the pod of the holder.
    joins: Vec<(PodRef, Result<(), JoinError>)>,
    owner: Option<Result<(), OwnerError>>,
}

impl HolderChecks {
    /// No results yet. The API server knows the pods of this cluster.
    pub fn new(cluster: ClusterIdentity) -> Self {
        Self { cluster, pods: Vec::new(), containers: Vec::new(), joins: Vec::new(), owner: None }
    }

    /// Records the result of a check of a pod.
    pub fn record_pod(&mut self, pod: PodRef, result: Result<GoneReason, InUseReason>) {
        self.pods.push((pod, result));
    }

    /// Records the result of a check of a container.
    pub fn record_container(&mut self, id: AttachmentId, result: Result<GoneReason, InUseReason>) {
        self.containers.push((id, result));
    }

    /// Records whether the requester may share the address of this holder.
    pub fn record_join(&mut self, holder: PodRef, result: Result<(), JoinError>) {
        self.joins.push((holder, result));
    }

    /// Records whether the requesting pod belongs to its owner.
    pub fn record_owner(&mut self, result: Result<(), OwnerError>) {
        self.owner = Some(result);
    }

    /// Whether the requesting pod belongs to its owner; `None` before that was checked.
    pub fn owner(&self) -> Option<&Result<(), OwnerError>> {
        self.owner.as_ref()
    }

    /// The number of results.
    pub fn len(&self) -> usize {
        self.pods.len() + self.containers.len() + self.joins.len() + usize::from(self.owner.is_some())
    }

    /// Whether there is no result yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Decides whether `own` takes over an address of these holders.
    pub fn decide_takeover(&self, own: &Holder, holders: &[Holder]) -> TakeoverDecision {
        let [holder] = holders else { return TakeoverDecision::Refuse(InUseReason::SeveralHolders) };
        // Both sandboxes of a pod are on one node, whatever its name: a pod never moves.
        let same_pod = is_complete(&holder.pod) && own.pod == holder.pod;
        let same_node = own.id.node == holder.id.node || same_pod;
        if same_node && own.id.container == holder.id.container {
            return TakeoverDecision::Refuse(InUseReason::SameSandbox);
        }
        if !is_complete(&holder.pod) {
            return decision_by(&self.containers, &holder.id).unwrap_or(TakeoverDecision::CheckContainer);
        }
        let covered = self.cluster.covers(holder.cluster.as_deref());
        let may_be_one = self.cluster.may_be_one(own.cluster.as_deref(), holder.cluster.as_deref());
        if same_pod && may_be_one && (own.cluster == holder.cluster || covered.is_ok() || is_unmistakable(own, holder))
        {
            return match is_later(&own.began, &holder.began) {
                true => TakeoverDecision::TakeOver(GoneReason::EarlierSandbox),
                false => TakeoverDecision::Refuse(InUseReason::NotEarlierSandbox),
            };
        }
        if let Err(in_use) = covered {
            return TakeoverDecision::Refuse(in_use);
        }
        decision_by(&self.pods, &holder.pod).unwrap_or(TakeoverDecision::CheckPod)
    }
}

/// The decision about a holder that was checked.
fn decision_by<T: PartialEq>(checks: &[(T, Result<GoneReason, InUseReason>)], holder: &T) -> Option<TakeoverDecision> {
    let (_, result) = checks.iter().find(|(checked, _)| checked == holder)?;
    Some(match result {
        Ok(gone) => TakeoverDecision::TakeOver(gone.clone()),
        Err(in_use) => TakeoverDecision::Refuse(in_use.clone()),
    })
}

impl HolderChecks {
    /// Decides about an address with these holders, and returns the one that decided it. Holders of the same virtual
    /// machine as `own` are decided one by one: `own` takes the place of one that is gone, and shares the address with
    /// one that is alive only if KubeVirt confirms it.
    pub fn decide_among<'holders>(
        &self,
        own: &Holder,
        holders: &'holders [Holder],
    ) -> Option<(&'holders Holder, TakeoverDecision)> {
        let first = holders.first()?;
        if !holders.iter().all(|holder| own.may_join(holder)) {
            return Some((first, self.decide_takeover(own, holders)));
        }
        let decisions: Vec<(&Holder, TakeoverDecision)> =
            holders.iter().map(|holder| (holder, self.decide_takeover(own, std::slice::from_ref(holder)))).collect();
        let find = |test: fn(&TakeoverDecision) -> bool| decisions.iter().find(|(_, decision)| test(decision)).cloned();
        // The pod's own share, by another sandbox, may be shared further. A pod of another cluster can't be checked.
        let is_decided = |decision: &TakeoverDecision| {
            matches!(
                decision,
                TakeoverDecision::TakeOver(GoneReason::EarlierSandbox)
                    | TakeoverDecision::Refuse(
                        InUseReason::SameSandbox
                            | InUseReason::NotEarlierSandbox
                            | InUseReason::NoPodNamed
                            | InUseReason::OtherCluster
                            | InUseReason::ClusterUnnamed
                            | InUseReason::ClusterUnknown(_)
                    )
            )
        };
        if let Some(decided) = find(is_decided).or_else(|| {
            find(|decision| matches!(decision, TakeoverDecision::CheckPod | TakeoverDecision::CheckContainer))
        }) {
            return Some(decided);
        }
        let is_gone = |decision: &TakeoverDecision| matches!(decision, TakeoverDecision::TakeOver(_));
        let mut living = decisions.iter().filter(|(_, decision)| !is_gone(decision)).map(|(holder, _)| *holder);
        let Some(partner) = living.next() else { return find(is_gone) };
        if living.next().is_some() {
            return Some((partner, TakeoverDecision::Refuse(InUseReason::SeveralHolders)));
        }
        Some(match self.joins.iter().find(|(pod, _)| *pod == partner.pod) {
            None => (partner, TakeoverDecision::CheckJoin),
            Some((_, Err(error))) => (partner, TakeoverDecision::Refuse(InUseReason::NotOneMachine(error.clone()))),
            Some((_, Ok(()))) => find(is_gone).unwrap_or((partner, TakeoverDecision::Share)),
        })
    }
}

pub(crate) fn is_complete(pod: &PodRef) -> bool {
    pod.full_name().is_some()
}

/// Whether two sandboxes with the same pod reference belong to one pod, if only one of them names a cluster. An API
/// server's UID belongs to one pod in the world. A kubelet's hash of a manifest may occur in two clusters with a node
/// of the same name, unless both sandboxes began in one boot, and so on one machine.
fn is_unmistakable(own: &Holder, other: &Holder) -> bool {
    let is_unique = !is_static(own.pod.uid.as_deref().unwrap_or_default());
    is_unique || !own.began.boot.is_empty() && own.began.boot == other.began.boot
}

/// Whether an ADD in the current boot of the node began after another one on that node. An unknown boot counts neither
/// as the same nor as another one.
fn is_later(own: &Began, other: &Began) -> bool {
    let known = !own.boot.is_empty() && !other.boot.is_empty();
    known && (own.boot != other.boot || own.boottime > other.boottime)
}

/// Whether an ADD began after another one of the same boot. Only a process in the later of two boots knows their order.
pub(super) fn is_later_in_its_boot(own: &Began, other: &Began) -> bool {
    own.boot == other.boot && is_later(own, other)
}

#[cfg(test)]
mod tests;
