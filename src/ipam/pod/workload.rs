//! A pod's workload, under the name that its author knows.
//!
//! It is derived from the pod's own metadata, because reading the owners would need more RBAC permissions.

use std::fmt;

use super::Pod;

/// The label that distinguishes the ReplicaSets of a Deployment. The name of each ReplicaSet ends with its value.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// The workload of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A Deployment (apps), through one of its ReplicaSets.
    Deployment {
        /// Its name.
        name: String,
    },
    /// A StatefulSet (apps).
    StatefulSet {
        /// Its name.
        name: String,
        /// The pod's number in it, which counts from its `spec.ordinals.start`.
        ordinal: u32,
    },
    /// A DaemonSet (apps).
    DaemonSet {
        /// Its name.
        name: String,
    },
    /// A Job (batch).
    Job {
        /// Its name.
        name: String,
    },
    /// A running virtual machine (kubevirt.io).
    VirtualMachineInstance {
        /// Its name.
        name: String,
    },
    /// Anything else: a ReplicaSet without a Deployment, or an unknown kind.
    Other {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
}

/// The kind of a running virtual machine.
const MACHINE: &str = "VirtualMachineInstance";

/// The virtual machine's name in the text of a workload.
pub fn machine_name(workload: &str) -> Option<&str> {
    workload.split_once(' ').filter(|(kind, _)| *kind == MACHINE).map(|(_, name)| name)
}

impl Workload {
    /// The workload of this pod, if it has one.
    pub fn of(pod: &Pod) -> Option<Self> {
        let controller = pod.controller.as_ref()?;
        let name = controller.name.clone();
        let other = || Self::Other { kind: controller.kind.clone(), name: name.clone() };
        Some(match (controller.group.as_str(), controller.kind.as_str()) {
            ("apps", "ReplicaSet") => match deployment(pod, &name) {
                Some(deployment) => Self::Deployment { name: deployment.to_owned() },
                None => other(),
            },
            ("apps", "StatefulSet") => match ordinal(&pod.name, &name) {
                Some(ordinal) => Self::StatefulSet { name, ordinal },
                None => other(),
            },
            ("apps", "DaemonSet") => Self::DaemonSet { name },
            ("batch", "Job") => Self::Job { name },
            ("kubevirt.io", MACHINE) => Self::VirtualMachineInstance { name },
            _ => other(),
        })
    }
}

/// The Deployment of a ReplicaSet: `web` of `web-6d4cf56db6`.
fn deployment<'a>(pod: &Pod, replica_set: &'a str) -> Option<&'a str> {
    let hash = pod.labels.get(TEMPLATE_HASH)?;
    replica_set.strip_suffix(hash.as_str())?.strip_suffix('-').filter(|name| !name.is_empty())
}

/// The number of a StatefulSet's pod. Its name has it in every version of Kubernetes and can't be edited, unlike the
/// label `apps.kubernetes.io/pod-index`.
fn ordinal(pod: &str, set: &str) -> Option<u32> {
    let text = pod.strip_prefix(set)?.strip_prefix('-')?;
    // Without a sign or leading zero: db-01 is not a pod of StatefulSet db.
    text.parse().ok().filter(|ordinal: &u32| ordinal.to_string() == text)
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match self {
            Self::Deployment { name } => ("Deployment", name),
            Self::StatefulSet { name, .. } => ("StatefulSet", name),
            Self::DaemonSet { name } => ("DaemonSet", name),
            Self::Job { name } => ("Job", name),
            Self::VirtualMachineInstance { name } => (MACHINE, name),
            Self::Other { kind, name } => (kind.as_str(), name),
        };
        write!(f, "{kind} {name}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::Controller;
    use super::*;

    /// A pod with this controller and these labels.
    fn pod(name: &str, (api_version, kind, owner): (&str, &str, &str), labels: &[(&str, &str)]) -> Pod {
        let [kind, owner, uid] = [kind, owner, "u-2"].map(str::to_owned);
        Pod {
            name: name.to_owned(),
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            controller: Some(Controller::from_reference(api_version, kind, owner, uid)),
            ..Pod::default()
        }
    }

    #[test]
    fn a_pod_belongs_to_what_its_author_wrote() {
        let hash = [(TEMPLATE_HASH, "6d4cf56db6")];
        let replica_set = ("apps/v1", "ReplicaSet", "web-6d4cf56db6");
        let cases = [
            (pod("web-6d4cf56db6-x7k2p", replica_set, &hash), "Deployment web"),
            (pod("web-6d4cf56db6-x7k2p", replica_set, &[]), "ReplicaSet web-6d4cf56db6"),
            (pod("web-x7k2p", ("apps/v1", "ReplicaSet", "web"), &hash), "ReplicaSet web"),
            (pod("x", ("apps/v1", "ReplicaSet", "-6d4cf56db6"), &hash), "ReplicaSet -6d4cf56db6"),
            (pod("x", ("apps/v1", "ReplicaSet", "web6d4cf56db6"), &hash), "ReplicaSet web6d4cf56db6"),
            (pod("x", ("example.org/v1", "ReplicaSet", "web-6d4cf56db6"), &hash), "ReplicaSet web-6d4cf56db6"),
            (pod("db-0", ("apps/v1", "StatefulSet", "db"), &[]), "StatefulSet db"),
            (pod("proxy-4k8zw", ("apps/v1", "DaemonSet", "proxy"), &[]), "DaemonSet proxy"),
            (pod("import-9x2lm", ("batch/v1", "Job", "import"), &[]), "Job import"),
            (
                pod("virt-launcher-vm1-b8c7c", ("kubevirt.io/v1", "VirtualMachineInstance", "vm1"), &[]),
                "VirtualMachineInstance vm1",
            ),
            (pod("x", ("v1", "ReplicationController", "old"), &[]), "ReplicationController old"),
            (pod("x", ("v1", "StatefulSet", "db"), &[]), "StatefulSet db"),
        ];
        for (pod, expected) in cases {
            assert_eq!(Workload::of(&pod).map(|workload| workload.to_string()).as_deref(), Some(expected), "{pod:?}");
        }
        assert_eq!(Workload::of(&Pod::default()), None);
    }

    #[test]
    fn the_number_of_a_stateful_sets_pod_is_the_end_of_its_name() {
        for (name, set, expected) in [
            ("db-0", "db", Some(0)),
            ("db-12", "db", Some(12)),
            ("db-2-7", "db-2", Some(7)),
            ("db-2-7", "db", None),
            ("db-4294967295", "db", Some(u32::MAX)),
            ("db-4294967296", "db", None),
            ("db-01", "db", None),
            ("db-+1", "db", None),
            ("db--1", "db", None),
            ("db-", "db", None),
            ("db", "db", None),
            ("db0", "db", None),
            ("cache-0", "db", None),
        ] {
            // The label says something else and is ignored.
            let labels = [("apps.kubernetes.io/pod-index", "5")];
            let workload = Workload::of(&pod(name, ("apps/v1", "StatefulSet", set), &labels));
            let ordinal = match workload {
                Some(Workload::StatefulSet { ordinal, .. }) => Some(ordinal),
                _ => None,
            };
            assert_eq!(ordinal, expected, "{name} of {set}");
        }
    }
}
