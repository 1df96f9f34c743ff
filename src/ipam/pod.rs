//! The metadata of a pod, as far as its addresses depend on it.

mod event;
mod workload;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::event::PodEvent;
pub use self::workload::{Workload, machine_name};

/// The annotation of a mirror pod, which represents a static pod in the API. The kubelet stores the manifest's hash
/// there.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The annotation with the hash of a static pod's manifest. The kubelet uses it as the pod's UID, and so does the
/// runtime.
const HASH: &str = "kubernetes.io/config.hash";

/// The metadata of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// `metadata.namespace`.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID, which distinguishes it from earlier and later pods of the same name.
    pub uid: String,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// Its labels. Anyone who may edit the pod may edit them.
    pub labels: BTreeMap<String, String>,
    /// Its controller, which would recreate it.
    pub controller: Option<Controller>,
}

/// The controlling ownerReference of a pod. The pod's author writes it, so it proves nothing by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Controller {
    /// Its API group, such as `apps`; empty for the core group.
    pub group: String,
    /// Its kind, such as `ReplicaSet`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl Controller {
    /// The controller of an ownerReference with an `apiVersion` such as `apps/v1`.
    pub fn from_reference(api_version: &str, kind: String, name: String, uid: String) -> Self {
        let group = api_version.split_once('/').map_or("", |(group, _)| group).to_owned();
        Self { group, kind, name, uid }
    }

    /// Whether it is a running virtual machine of KubeVirt, which has two pods while it migrates.
    pub fn is_machine(&self) -> bool {
        (self.group.as_str(), self.kind.as_str()) == ("kubevirt.io", "VirtualMachineInstance")
    }
}

impl Pod {
    /// Whether it is a mirror pod: it represents a static pod, which a kubelet runs from a file.
    pub fn is_mirror(&self) -> bool {
        self.annotations.contains_key(MIRROR)
    }

    /// Whether a sandbox with this K8S_POD_UID belongs to it. A mirror pod has its own UID in the API, and the
    /// kubelet's in its annotations (edge case 31).
    pub fn has_sandbox_of(&self, uid: &str) -> bool {
        self.uids().any(|own| own == uid)
    }

    /// The UIDs that its sandboxes may have: its own, and that of its mirrored manifest.
    pub fn uids_of_sandboxes(&self) -> Vec<String> {
        self.uids().cloned().collect()
    }

    fn uids(&self) -> impl Iterator<Item = &String> {
        let hashes =
            [HASH, MIRROR].into_iter().filter(|_| self.is_mirror()).filter_map(|key| self.annotations.get(key));
        std::iter::once(&self.uid).chain(hashes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_belongs_to_the_pod_of_its_uid_and_to_a_mirror_pod_by_its_hash() {
        let (mirror, hash) = ((MIRROR, "c0ffee"), (HASH, "c0ffee"));
        for (annotations, uid, expected) in [
            (vec![], "u-1", true),
            (vec![], "u-2", false),
            (vec![], "", false),
            (vec![mirror, hash], "c0ffee", true),
            (vec![mirror], "c0ffee", true),
            (vec![mirror, hash], "u-1", true),
            (vec![mirror, hash], "decaf", false),
            // Written by hand. No kubelet creates such a pod.
            (vec![hash], "c0ffee", false),
        ] {
            let annotations: BTreeMap<_, _> =
                annotations.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            let pod = Pod { uid: "u-1".to_owned(), annotations, ..Pod::default() };
            assert_eq!(pod.has_sandbox_of(uid), expected, "{uid}: {pod:?}");
        }
    }
}
