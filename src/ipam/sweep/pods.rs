//! The pods of a cluster that have not run to their end, as a complete list has them.

use std::collections::BTreeMap;

use crate::ipam::lease::PodRef;
use crate::ipam::pod::Pod;

/// A pod of a list, as far as a sweep needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEntry {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The UIDs by which sandboxes may be its own: of a mirror pod its own one and the hash of its manifest.
    pub uids: Vec<String>,
}

impl From<Pod> for PodEntry {
    fn from(pod: Pod) -> Self {
        let uids = pod.uids_of_sandboxes();
        Self { namespace: pod.namespace, name: pod.name, uids }
    }
}

/// All pods of a cluster that have not run to their end, at one moment.
///
/// A pod that is not in it is gone, replaced or finished, or the list was wrong. So it makes candidates, and shows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSnapshot {
    /// By name, then by namespace, so that no key is made for a question.
    pods: BTreeMap<String, Vec<(String, Vec<String>)>>,
}

impl PodSnapshot {
    /// The pods of a list that is complete. An empty one says nothing: no cluster that runs kube-ipam is without pods.
    pub fn new(list: impl IntoIterator<Item = PodEntry>) -> Option<Self> {
        let mut pods: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for PodEntry { namespace, name, uids } in list {
            pods.entry(name).or_default().push((namespace, uids));
        }
        (!pods.is_empty()).then_some(Self { pods })
    }

    /// Whether this very pod is in it.
    pub fn has(&self, pod: &PodRef) -> bool {
        pod.uid.as_ref().is_some_and(|uid| self.of_name(pod).any(|uids| uids.contains(uid)))
    }

    /// Whether a pod of this name is in it, this one or another.
    pub fn has_name_of(&self, pod: &PodRef) -> bool {
        self.of_name(pod).next().is_some()
    }

    fn of_name(&self, pod: &PodRef) -> impl Iterator<Item = &Vec<String>> {
        let same_name = pod.name.as_ref().and_then(|name| self.pods.get(name)).into_iter().flatten();
        same_name.filter(|(namespace, _)| pod.namespace.as_ref() == Some(namespace)).map(|(_, uids)| uids)
    }
}
