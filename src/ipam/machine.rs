//! Virtual machines of KubeVirt (kubevirt.io/v1): when two pods are of one machine, and so may hold one address.
//!
//! What a pod says of itself (ownerReferences, labels, annotations) is for its author to choose. So it is only a reason to
//! ask, and KubeVirt's own objects answer:
//!
//! ```text
//!  pod that asks ── annotation migrationJobName ──► VirtualMachineInstanceMigration   is of this machine, and unfinished
//!        │       ── ownerReference ───────────────► VirtualMachineInstance            status.activePods: this pod's UID,
//!        │                                                                            that of the pod which holds the
//!        └──────────────────────────────────────────────────────────────────────────► address, and no other
//! ```
//!
//! KubeVirt lists in `status.activePods` every pod whose controlling ownerReference names the instance by UID. Its releases
//! up to the middle of 2026 go on listing pods that have finished, such as the source of an earlier migration. A pod that
//! has held the address and given it back is therefore no third one (`former`, of the lease).

use std::collections::{BTreeMap, BTreeSet};

use super::lease::PodRef;
use super::pod::{Controller, Pod};
use super::refusal::list;
use crate::cause::Cause;

/// The annotation by which the target pod of a migration names it.
const MIGRATION_NAME: &str = "kubevirt.io/migrationJobName";

/// The label that has the UID of that migration.
const MIGRATION_UID: &str = "kubevirt.io/migrationJobUID";

/// What the keys of KubeVirt's own annotations begin with. It writes some onto each pod of a machine.
const GROUP_PREFIX: &str = "kubevirt.io/";

/// Whether a pod with these annotations may be one of a virtual machine, so that it is worth a look at what it belongs to.
pub fn may_be_of_machine(annotations: &BTreeMap<String, String>) -> bool {
    annotations.keys().any(|key| key.starts_with(GROUP_PREFIX))
}

/// The migration of which a pod says that it is the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationRef {
    /// Its name, in the namespace of the pod.
    pub name: String,
    /// Its UID, where the pod has it.
    pub uid: Option<String>,
}

impl MigrationRef {
    /// The migration that a pod names.
    pub fn from_pod(pod: &Pod) -> Option<Self> {
        let name = pod.annotations.get(MIGRATION_NAME).filter(|name| !name.is_empty())?;
        Some(Self { name: name.clone(), uid: pod.labels.get(MIGRATION_UID).cloned() })
    }
}

/// A running machine (VirtualMachineInstance), as far as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its UID.
    pub uid: String,
    /// The UIDs of its pods (the keys of `status.activePods`).
    pub active_pods: BTreeSet<String>,
}

/// A migration (VirtualMachineInstanceMigration), as far as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its UID.
    pub uid: String,
    /// The machine that migrates (`spec.vmiName`).
    pub instance: String,
    /// How far it is (`status.phase`); empty before KubeVirt has seen it.
    pub phase: String,
}

impl Migration {
    fn is_finished(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }
}

/// The question whether a pod may hold an address together with another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinQuestion {
    /// The instance that both pods name as their controller.
    pub instance: Controller,
    /// The pod that asks.
    pub pod: PodRef,
    /// The pod that holds the address.
    pub holder: PodRef,
    /// The UIDs of pods that have held the address before, and have given it back.
    pub former: Vec<String>,
}

/// Why two pods don't share an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The pod names no migration.
    #[error(
        "a second pod shares a virtual machine's address only while the machine migrates, and this pod names no \
         migration \
         (annotation kubevirt.io/migrationJobName)"
    )]
    NoMigration,
    /// The migration is of another machine.
    #[error("VirtualMachineInstanceMigration {migration}, which this pod names, is of {instance}")]
    OtherInstance {
        /// The migration.
        migration: String,
        /// The machine that it is of.
        instance: String,
    },
    /// There is another migration of that name.
    #[error("VirtualMachineInstanceMigration {migration} was replaced: this pod is the target of an earlier one")]
    MigrationReplaced {
        /// The migration.
        migration: String,
    },
    /// The migration is over.
    #[error("VirtualMachineInstanceMigration {migration}, which this pod names, has finished ({phase})")]
    Finished {
        /// The migration.
        migration: String,
        /// How it ended.
        phase: String,
    },
    /// There is another instance of that name.
    #[error("VirtualMachineInstance {instance} was replaced: this pod is of an earlier one")]
    InstanceReplaced {
        /// Its name.
        instance: String,
    },
    /// KubeVirt does not list one of the two pods.
    #[error("VirtualMachineInstance {instance} does not list {pod} in status.activePods yet")]
    NotListed {
        /// The machine.
        instance: String,
        /// The pod.
        pod: String,
    },
    /// KubeVirt lists more pods.
    #[error(
        "VirtualMachineInstance {instance} lists more pods than these two in status.activePods (UID {}); delete those \
         of \
         them that have finished",
        list(others)
    )]
    Others {
        /// The machine.
        instance: String,
        /// The UIDs of the other pods.
        others: Vec<String>,
    },
    /// The API server did not answer.
    #[error("kube-ipam can't tell whether both pods belong to one virtual machine")]
    LookupFailed(#[source] Cause),
}

impl JoinError {
    /// What to do.
    pub fn details(&self) -> &'static str {
        match self {
            Self::NoMigration | Self::Finished { .. } => {
                "let the other pod end first, or let KubeVirt migrate the machine"
            }
            Self::OtherInstance { .. } | Self::MigrationReplaced { .. } | Self::InstanceReplaced { .. } => {
                "only the target pod of a migration of this machine shares its address"
            }
            Self::NotListed { .. } => "KubeVirt lists a new pod within a second or so; the next attempt asks again",
            Self::Others { .. } | Self::LookupFailed(_) => "",
        }
    }
}

/// Whether a migration is the one that a pod is the target of, of its machine and unfinished.
pub fn check_migration(asked: &JoinQuestion, named: &MigrationRef, found: &Migration) -> Result<(), JoinError> {
    let migration = named.name.clone();
    if named.uid.as_ref().is_some_and(|uid| *uid != found.uid) {
        return Err(JoinError::MigrationReplaced { migration });
    }
    if found.instance != asked.instance.name {
        return Err(JoinError::OtherInstance { migration, instance: found.instance.clone() });
    }
    if found.is_finished() {
        return Err(JoinError::Finished { migration, phase: found.phase.clone() });
    }
    Ok(())
}

/// Whether the two pods are those that a machine has, and all that it has.
pub fn check_instance(asked: &JoinQuestion, found: &Instance) -> Result<(), JoinError> {
    let instance = asked.instance.name.clone();
    if found.uid != asked.instance.uid {
        return Err(JoinError::InstanceReplaced { instance });
    }
    let pair = [&asked.holder, &asked.pod];
    let is_listed = |pod: &&&PodRef| pod.uid.as_ref().is_some_and(|uid| found.active_pods.contains(uid));
    if let Some(pod) = pair.iter().find(|pod| !is_listed(pod)) {
        let pod = pod.label().map_or_else(|| "this pod".to_owned(), |label| format!("pod {label}"));
        return Err(JoinError::NotListed { instance, pod });
    }
    let is_one = |uid: &&String| pair.iter().any(|pod| pod.uid.as_ref() == Some(uid));
    let others: Vec<String> =
        found.active_pods.iter().filter(|uid| !is_one(uid) && !asked.former.contains(uid)).cloned().collect();
    if others.is_empty() { Ok(()) } else { Err(JoinError::Others { instance, others }) }
}

#[cfg(test)]
mod tests;
