//! The pods of a cluster that have not run to their end, as a complete list has them.

use super::digest::Digest;
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

/// All pods of a cluster, or of a node, that have not run to their end, at one moment: 32 bytes each.
///
/// A pod that is not in it is gone, replaced or finished, or the list was wrong. So it nominates candidates, and shows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSnapshot {
    pods: Vec<Digest>,
    names: Vec<Digest>,
}

impl PodSnapshot {
    /// The snapshot of a list that is complete. An empty one says nothing: no cluster that runs kube-ipam is without pods.
    pub fn new(list: impl IntoIterator<Item = PodEntry>) -> Option<Self> {
        let mut pods = PodList::default();
        list.into_iter().for_each(|pod| pods.add(&pod));
        pods.complete()
    }

    /// Whether this very pod is in it.
    pub fn has(&self, pod: &PodRef) -> bool {
        Digest::of_pod_ref(pod).is_some_and(|pod| self.has_digest(pod))
    }

    pub(super) fn has_digest(&self, pod: Digest) -> bool {
        self.pods.binary_search(&pod).is_ok()
    }

    /// Whether a pod of this name is in it, this one or another.
    pub fn has_name_of(&self, pod: &PodRef) -> bool {
        let name = pod.namespace.as_deref().zip(pod.name.as_deref());
        name.is_some_and(|(namespace, name)| self.names.binary_search(&Digest::of_name(namespace, name)).is_ok())
    }
}

/// A list of which not all pages were read, and which shows nothing yet.
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

    /// The list was read to its end. An empty one is none.
    pub fn complete(self) -> Option<PodSnapshot> {
        let Self { mut pods, mut names } = self;
        pods.sort_unstable();
        names.sort_unstable();
        (!names.is_empty()).then_some(PodSnapshot { pods, names })
    }
}
