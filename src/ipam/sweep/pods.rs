//! The unfinished pods of a cluster, from a complete list.

use super::digest::Digest;
use crate::ipam::lease::PodRef;
use crate::ipam::pod::Pod;

/// What a sweep needs of a listed pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEntry {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The UIDs of its sandboxes. For a mirror pod, its own UID and the hash of its manifest.
    pub uids: Vec<String>,
}

impl From<Pod> for PodEntry {
    fn from(pod: Pod) -> Self {
        let uids = pod.uids_of_sandboxes();
        Self { namespace: pod.namespace, name: pod.name, uids }
    }
}

/// All unfinished pods of a cluster or a node at one time, in 32 bytes each.
///
/// A pod that is missing here is gone, replaced or finished, or the list was wrong. So it only nominates candidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSnapshot {
    pods: Vec<Digest>,
    names: Vec<Digest>,
}

impl PodSnapshot {
    /// The snapshot of a complete list. An empty list is not trusted: every cluster that runs kube-ipam has pods.
    pub fn new(list: impl IntoIterator<Item = PodEntry>) -> Option<Self> {
        let mut pods = PodList::default();
        list.into_iter().for_each(|pod| pods.add(&pod));
        pods.complete()
    }

    /// Whether it has this pod.
    pub fn has(&self, pod: &PodRef) -> bool {
        Digest::of_pod_ref(pod).is_some_and(|pod| self.has_digest(pod))
    }

    pub(super) fn has_digest(&self, pod: Digest) -> bool {
        self.pods.binary_search(&pod).is_ok()
    }

    /// Whether it has a pod of this name, with any UID.
    pub fn has_name_of(&self, pod: &PodRef) -> bool {
        let name = pod.namespace.as_deref().zip(pod.name.as_deref());
        name.is_some_and(|(namespace, name)| self.names.binary_search(&Digest::of_name(namespace, name)).is_ok())
    }
}

/// A list whose pages are still being read.
#[derive(Debug, Default)]
pub struct PodList {
    pods: Vec<Digest>,
    names: Vec<Digest>,
}

impl PodList {
    /// Adds a pod of the next page.
    pub fn add(&mut self, PodEntry { namespace, name, uids }: &PodEntry) {
        self.names.push(Digest::of_name(namespace, name));
        self.pods.extend(uids.iter().map(|uid| Digest::of_pod(namespace, name, uid)));
    }

    /// The snapshot, once all pages were read; `None` if the list is empty.
    pub fn complete(self) -> Option<PodSnapshot> {
        let Self { mut pods, mut names } = self;
        pods.sort_unstable();
        names.sort_unstable();
        (!names.is_empty()).then_some(PodSnapshot { pods, names })
    }
}
