//! A pod as the API server tells it, as far as addresses depend on it.

mod workload;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::workload::{Workload, machine_name};

/// Set on the pod that stands in the API for a static one of some node; the kubelet puts its hash there.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The hash of a static pod's manifest, by which the kubelet, and so the runtime, names its UID.
const HASH: &str = "kubernetes.io/config.hash";

/// The metadata of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What tells it from an earlier or later pod of the same name.
    pub uid: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its labels. Whoever may edit the pod may edit them.
    pub labels: BTreeMap<String, String>,
    /// Who made it and would make it again.
    pub controller: Option<Controller>,
}

/// The controlling one among a pod's ownerReferences. Whoever makes the pod writes it, so that it proves nothing by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controller {
    /// Its API group, such as `apps`; empty for that of pods.
    pub group: String,
    /// Its kind, such as `ReplicaSet`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl Controller {
    /// That of an ownerReference, whose `apiVersion` is such as `apps/v1`.
    pub fn from_reference(api_version: &str, kind: String, name: String, uid: String) -> Self {
        let group = api_version.split_once('/').map_or("", |(group, _)| group).to_owned();
        Self { group, kind, name, uid }
    }

    /// Whether it is a virtual machine of KubeVirt that runs, of which there are two pods while it migrates.
    pub fn is_machine(&self) -> bool {
        (self.group.as_str(), self.kind.as_str()) == ("kubevirt.io", "VirtualMachineInstance")
    }
}

impl Pod {
    /// Whether it stands in the API for a static pod, which a kubelet runs by a file of its own.
    pub fn is_mirror(&self) -> bool {
        self.annotations.contains_key(MIRROR)
    }

    /// Whether a sandbox with this K8S_POD_UID belongs to it. A mirror pod has a UID of its own in the API, and the
    /// kubelet's in its annotations (edge case 31).
    pub fn has_sandbox_of(&self, uid: &str) -> bool {
        self.uids().any(|own| own == uid)
    }

    /// The UIDs of which a sandbox of its may be: its own, and those of its mirrored manifest.
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
            // Written by hand: no kubelet marks such a pod.
            (vec![hash], "c0ffee", false),
        ] {
            let annotations: BTreeMap<_, _> =
                annotations.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            let pod = Pod { uid: "u-1".to_owned(), annotations, ..Pod::default() };
            assert_eq!(pod.has_sandbox_of(uid), expected, "{uid}: {pod:?}");
        }
    }
}
