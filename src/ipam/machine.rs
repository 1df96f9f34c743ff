//! Virtual machines of KubeVirt (kubevirt.io/v1): when two pods belong to one machine and may share an address.
//!
//! A pod's author writes its ownerReferences, labels and annotations. So they are only a reason to ask, and KubeVirt's
//! own objects decide:
//!
//! ```text
//!  requesting pod ── annotation migrationJobName ──► VirtualMachineInstanceMigration   of this machine, and unfinished
//!        │        ── ownerReference ───────────────► VirtualMachineInstance            status.activePods: this pod's UID,
//!        │                                                                             that of the address's holder,
//!        └───────────────────────────────────────────────────────────────────────────► and no other
//! ```
//!
//! KubeVirt lists in `status.activePods` every pod whose controlling ownerReference names the instance by UID. Releases
//! up to the middle of 2026 keep listing finished pods, such as the source of an earlier migration. So a pod that held
//! the address and released it does not count as a third one (`former`, from the lease).

use std::collections::{BTreeMap, BTreeSet};

use super::lease::PodRef;
use super::pod::{Controller, Pod};
use super::refusal::list;
use crate::cause::Cause;

/// The annotation that names the migration on its target pod.
const MIGRATION_NAME: &str = "kubevirt.io/migrationJobName";

/// The label with the UID of that migration.
const MIGRATION_UID: &str = "kubevirt.io/migrationJobUID";

/// The prefix of KubeVirt's own annotations, some of which every pod of a machine has.
const GROUP_PREFIX: &str = "kubevirt.io/";

/// Whether a pod with these annotations may belong to a virtual machine, so that its owner is worth reading.
pub fn may_be_of_machine(annotations: &BTreeMap<String, String>) -> bool {
    annotations.keys().any(|key| key.starts_with(GROUP_PREFIX))
}

/// The migration that a target pod names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationRef {
    /// Its name, in the namespace of the pod.
    pub name: String,
    /// Its UID, if the pod has it.
    pub uid: Option<String>,
}

impl MigrationRef {
    /// The migration that a pod names.
    pub fn from_pod(pod: &Pod) -> Option<Self> {
        let name = pod.annotations.get(MIGRATION_NAME).filter(|name| !name.is_empty())?;
        Some(Self { name: name.clone(), uid: pod.labels.get(MIGRATION_UID).cloned() })
    }
}

/// What is read of a running machine (VirtualMachineInstance).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its UID.
    pub uid: String,
    /// The UIDs of its pods (the keys of `status.activePods`).
    pub active_pods: BTreeSet<String>,
}

/// What is read of a migration (VirtualMachineInstanceMigration).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its UID.
    pub uid: String,
    /// The machine that migrates (`spec.vmiName`).
    pub instance: String,
    /// Its `status.phase`; empty before KubeVirt has seen it.
    pub phase: String,
}

impl Migration {
    fn is_finished(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }
}

/// The question whether a pod may share the address of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinQuestion {
    /// The instance that both pods name as their controller.
    pub instance: Controller,
    /// The requesting pod.
    pub pod: PodRef,
    /// The holder's pod.
    pub holder: PodRef,
    /// The UIDs of pods that held the address and released it.
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
        /// The machine to which it belongs.
        instance: String,
    },
    /// The migration of that name is another one.
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
    /// The hint for whoever reads the error.
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

/// Checks that a migration is the one that the pod names, of its machine, and unfinished.
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

/// Checks that a machine has these two pods and no others.
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
