//! Whether an address is taken over from its holder (invariant 5).
//!
//! ```text
//! both holders ─► HolderChecks ─┬─► TakeOver        to a later sandbox of the same pod, or since its pod is gone
//!                               ├─► Refuse          and why
//!                               ├─► CheckPod ───────► the API server's answer ─► check_holder ─► recorded in HolderChecks
//!                               ├─► CheckContainer ─► this node's own record of it ────────────► recorded in HolderChecks
//!                               └─► CheckJoin ──────► KubeVirt's answer about both pods ───────► recorded ─► Share
//! ```
//!
//! Where the network wants it, the link is probed as well before the address is used: whoever answers there
//! ([`ProbeResult`]) keeps it. Silence permits nothing that the decision has not.
//!
//! That a pod is gone stays true: a UID that is gone never comes back, and a pod that has run to its end never runs again.
//! So a check is about a pod, and holds for all its addresses; that the pod still is the holder is for the guard of the
//! commit to say.
//!
//! A holder without a pod's full names can be shown gone by its own node alone. That does not stay true: podman starts a
//! container again under its old id. So whoever checks it keeps the lock of its record until the decision is made.

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

/// What to do about an address that somebody else holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakeoverDecision {
    /// Take it over.
    TakeOver(GoneReason),
    /// Leave it to its holder.
    Refuse(InUseReason),
    /// Check the holder's pod in the API first.
    CheckPod,
    /// Check the holder's container on its own node first.
    CheckContainer,
    /// Check first whether both pods are of one virtual machine, by KubeVirt's word.
    CheckJoin,
    /// Hold it beside its holder: both are pods of one virtual machine, which migrates.
    Share,
}

/// A check that has to be made before an ADD can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PendingCheck {
    /// Whether the pod of a holder is gone.
    Pod(PodRef),
    /// Whether the container of a holder without a pod's full names is gone, which its own node may know.
    Container(AttachmentId),
    /// Whether the pod that asks and the one of a holder are of one virtual machine.
    Join(Box<JoinQuestion>),
    /// Whether the pod that asks is of the owner that it names.
    Owner(Box<Owner>),
}

/// What the checks of a call have shown so far.
#[derive(Clone, Debug)]
pub struct HolderChecks {
    cluster: ClusterIdentity,
    pods: Vec<(PodRef, Result<GoneReason, InUseReason>)>,
    containers: Vec<(AttachmentId, Result<GoneReason, InUseReason>)>,
    /// By the pod of the holder.
    joins: Vec<(PodRef, Result<(), JoinError>)>,
    owner: Option<Result<(), OwnerError>>,
}

impl HolderChecks {
    /// None yet. The API server that can be asked is that of this cluster.
    pub fn new(cluster: ClusterIdentity) -> Self {
        Self { cluster, pods: Vec::new(), containers: Vec::new(), joins: Vec::new(), owner: None }
    }

    /// Records what the check of a pod has shown.
    pub fn record_pod(&mut self, pod: PodRef, result: Result<GoneReason, InUseReason>) {
        self.pods.push((pod, result));
    }

    /// Records what the check of a container has shown.
    pub fn record_container(&mut self, id: AttachmentId, result: Result<GoneReason, InUseReason>) {
        self.containers.push((id, result));
    }

    /// Records whether the address of this pod may be held beside it.
    pub fn record_join(&mut self, holder: PodRef, result: Result<(), JoinError>) {
        self.joins.push((holder, result));
    }

    /// Records whether the pod that asks is of its owner.
    pub fn record_owner(&mut self, result: Result<(), OwnerError>) {
        self.owner = Some(result);
    }

    /// Whether the pod that asks is of its owner; `None` before that was checked.
    pub fn owner(&self) -> Option<&Result<(), OwnerError>> {
        self.owner.as_ref()
    }

    /// How many checks were made.
    pub fn len(&self) -> usize {
        self.pods.len() + self.containers.len() + self.joins.len() + usize::from(self.owner.is_some())
    }

    /// Whether none was made yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Decides whether `own` takes over what these hold.
    pub fn decide_takeover(&self, own: &Holder, holders: &[Holder]) -> TakeoverDecision {
        let [holder] = holders else { return TakeoverDecision::Refuse(InUseReason::SeveralHolders) };
        // Of one pod both are of one node, whatever that is called: a pod never moves.
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
    /// Decides about an address with these holders, and says which of them it is about. Those that say to be of one virtual
    /// machine with `own` are decided on one by one: who is gone makes room, and with who lives there `own` shares the address
    /// only if KubeVirt says so.
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
        // What the pod itself has, by another sandbox, it may go on sharing; about a pod of another cluster nobody can be asked.
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

/// Whether two sandboxes of a node are of one pod, if only one of them says of which cluster it is. A UID of the API server's
/// is that of one pod in the world. A kubelet's hash of a manifest may be in two clusters whose nodes have one name, unless
/// both began in one boot, and so on one machine.
fn is_unmistakable(own: &Holder, other: &Holder) -> bool {
    let is_unique = !is_static(own.pod.uid.as_deref().unwrap_or_default());
    is_unique || !own.began.boot.is_empty() && own.began.boot == other.began.boot
}

/// Whether an ADD of this boot of the node began after another one of that node. A boot of which nothing is known is not
/// another boot.
fn is_later(own: &Began, other: &Began) -> bool {
    let known = !own.boot.is_empty() && !other.boot.is_empty();
    known && (own.boot != other.boot || own.boottime > other.boottime)
}

/// Whether an ADD began after another one of the same boot of its node. Of two boots neither says which came first: that
/// is known only to who runs in the later one.
pub(super) fn is_later_in_its_boot(own: &Began, other: &Began) -> bool {
    own.boot == other.boot && is_later(own, other)
}

#[cfg(test)]
mod tests;
