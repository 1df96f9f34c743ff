//! Reads what runs pods from the cluster, as the sources of a plan.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cluster::{ApiServer, ClusterError, WorkloadKind};
use crate::ipam::pod::Pod;
use crate::plan::{Source, reads_annotation};

/// The most bytes of manifests that are kept: enough for about 100,000 workloads.
const MAX_BYTES: usize = 64 << 20;

/// The workloads that may need addresses of kube-ipam, and the nodes.
#[derive(Debug, Default)]
pub(super) struct WorkloadSources {
    /// A manifest for each.
    pub(super) sources: Vec<Source>,
    /// The lists that may not be read.
    pub(super) forbidden: Vec<ClusterError>,
    /// Whether there are more than fit in memory.
    pub(super) is_cut: bool,
    bytes: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PodManifest<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: PodMeta<'a>,
}

#[derive(Serialize)]
struct PodMeta<'a> {
    namespace: &'a str,
    name: &'a str,
    annotations: &'a BTreeMap<String, String>,
}

impl WorkloadSources {
    /// Reads all workloads, page by page, and keeps those that may need addresses. `serves_first` says whether kube-ipam
    /// assigns the addresses of the pods' first interfaces.
    pub(super) fn read(api: &ApiServer, serves_first: bool, progress: &dyn Fn(u64)) -> Result<Self, ClusterError> {
        let mut read = Self::default();
        let mut seen = 0;
        // Pods that no workload stands for are there already, so they are planned first.
        let listed = api.list_unfinished_pods(|pod| {
            seen += 1;
            progress(seen);
            read.add_pod(pod, serves_first);
        });
        read.note(listed)?;
        for kind in WorkloadKind::ALL {
            let listed = api.workloads(kind, |mut workload| {
                seen += 1;
                progress(seen);
                if workload.uses_host_network() {
                    return;
                }
                let needs_addresses =
                    workload.annotations().is_some_and(|annotations| needs_addresses(annotations, serves_first));
                if needs_addresses {
                    let name = format!("{} {}/{}", workload.kind(), workload.namespace(), workload.name());
                    read.add(name, &workload);
                }
            });
            read.note(listed)?;
        }
        if !read.sources.is_empty() {
            let listed = api.node_manifests(|node| read.add("node".to_owned(), &node));
            read.note(listed)?;
        }
        Ok(read)
    }

    fn add_pod(&mut self, mut pod: Pod, serves_first: bool) {
        let has_workload = pod.controller.as_ref().is_some_and(WorkloadKind::controls);
        // The pods that a kubelet runs from files use the network of their node.
        if has_workload || pod.is_mirror() || !needs_addresses(&mut pod.annotations, serves_first) {
            return;
        }
        let Pod { namespace, name, annotations, .. } = &pod;
        let metadata = PodMeta { namespace, name, annotations };
        self.add(format!("Pod {namespace}/{name}"), &PodManifest { api_version: "v1", kind: "Pod", metadata });
    }

    fn add(&mut self, name: String, manifest: &impl Serialize) {
        let text = serde_json::to_string(manifest).unwrap_or_default();
        match self.bytes + text.len() <= MAX_BYTES {
            true => {
                self.bytes += text.len();
                self.sources.push(Source { name, text });
            }
            false => self.is_cut = true,
        }
    }

    /// Notes a list that may not be read. The others are used all the same.
    fn note(&mut self, listed: Result<(), ClusterError>) -> Result<(), ClusterError> {
        match listed {
            Err(error @ ClusterError::Forbidden { .. }) => self.forbidden.push(error),
            listed => return listed,
        }
        Ok(())
    }
}

/// Whether pods with these annotations may get addresses of kube-ipam. Keeps only those that decide on that.
fn needs_addresses(annotations: &mut BTreeMap<String, String>, serves_first: bool) -> bool {
    annotations.retain(|key, _| reads_annotation(key));
    serves_first || !annotations.is_empty()
}
