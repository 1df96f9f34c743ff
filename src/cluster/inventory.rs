//! What a diagnosis reads of a cluster besides pods: the definitions of networks, the installer's DaemonSets with their
//! pods, and who leads.

use std::collections::BTreeMap;
use std::net::IpAddr;

use kube::core::Request;
use kube::core::params::ListParams;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::census::{MAX_PAGES, PAGE, UNFINISHED};
use super::object::{ObjectRef, ResourceKind};
use super::response::{Metadata, cut};
use super::{ApiServer, ClusterError, LeaderLease, ObservedRecord};
use crate::ipam::pod::Pod;

/// A NetworkAttachmentDefinition (k8s.cni.cncf.io/v1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkDefinition {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `spec.config`; `None` if it has none, so that Multus reads a file on the node.
    pub config: Option<String>,
}

/// A DaemonSet, as far as it shows how an installation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonSetStatus {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The images of its containers.
    pub images: Vec<String>,
    /// On how many nodes it should run.
    pub desired: u64,
    /// On how many nodes its pod is ready.
    pub ready: u64,
    /// On how many nodes its pod is of the latest template.
    pub updated: u64,
}

/// A pod of a DaemonSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its node; `None` if it is not scheduled.
    pub node: Option<String>,
    /// Why it is not ready; `None` if it is.
    pub not_ready: Option<String>,
}

/// One page of a list of whole objects.
#[derive(Deserialize)]
struct Page<T> {
    metadata: PageMeta,
    /// Null if the list is empty.
    items: Option<Vec<T>>,
}

#[derive(Deserialize)]
struct PageMeta {
    /// The token for the next page, at the first page's resourceVersion.
    #[serde(default, rename = "continue")]
    continue_token: String,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Definition {
    metadata: Meta,
    #[serde(default)]
    spec: Option<DefinitionSpec>,
}

#[derive(Deserialize)]
pub(super) struct DefinitionSpec {
    pub(super) config: Option<String>,
}

#[derive(Deserialize)]
struct DaemonSet {
    metadata: Meta,
    spec: DaemonSetSpec,
    #[serde(default)]
    status: DaemonSetCounts,
}

#[derive(Deserialize)]
struct DaemonSetSpec {
    template: Template,
}

#[derive(Deserialize)]
struct Template {
    spec: TemplateSpec,
}

#[derive(Deserialize)]
struct TemplateSpec {
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(default)]
    image: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DaemonSetCounts {
    desired_number_scheduled: u64,
    number_ready: u64,
    updated_number_scheduled: u64,
}

/// The fields of a ConfigMap that are read.
#[derive(Deserialize)]
struct ConfigMap {
    #[serde(default)]
    data: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct AddressedPod {
    metadata: Metadata,
    #[serde(default)]
    spec: NetworkSpec,
    #[serde(default)]
    status: AddressStatus,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NetworkSpec {
    host_network: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AddressStatus {
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<PodIp>>,
}

#[derive(Deserialize)]
struct PodIp {
    #[serde(default)]
    ip: String,
}

#[derive(Deserialize)]
struct RunningPod {
    metadata: Meta,
    #[serde(default)]
    spec: RunningPodSpec,
    #[serde(default)]
    status: RunningPodStatus,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RunningPodSpec {
    node_name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RunningPodStatus {
    phase: String,
    conditions: Vec<Condition>,
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    r#type: String,
    status: String,
    message: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerStatus {
    name: String,
    state: BTreeMap<String, ContainerState>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    reason: String,
}

impl ApiServer {
    /// Reads one NetworkAttachmentDefinition.
    pub fn network_definition(&self, namespace: &str, name: &str) -> Result<NetworkDefinition, ClusterError> {
        let object = ObjectRef::new(ResourceKind::NetworkDefinition, namespace, name)?;
        let config = self.get_full(&object)?.network_config(&object)?;
        Ok(NetworkDefinition { namespace: object.namespace, name: object.name, config })
    }

    /// Passes on all NetworkAttachmentDefinitions. Returns `false` if the cluster does not have this kind.
    pub fn network_definitions(&self, mut each: impl FnMut(NetworkDefinition)) -> Result<bool, ClusterError> {
        let object = ObjectRef::all(ResourceKind::NetworkDefinitions);
        self.list_full(&object, ListParams::default(), |Definition { metadata, spec }| {
            let config = spec.and_then(|spec| spec.config);
            each(NetworkDefinition { namespace: metadata.namespace, name: metadata.name, config });
        })
    }

    /// An entry of a ConfigMap; `None` if the ConfigMap does not have it.
    pub fn config_map_entry(&self, namespace: &str, name: &str, key: &str) -> Result<Option<String>, ClusterError> {
        let object = ObjectRef::new(ResourceKind::ConfigMap, namespace, name)?;
        Ok(self.get_full(&object)?.document::<ConfigMap>(&object)?.data.remove(key))
    }

    /// The DaemonSets of all namespaces with this label.
    pub fn daemon_sets(&self, label: &str) -> Result<Vec<DaemonSetStatus>, ClusterError> {
        let object = ObjectRef::all(ResourceKind::DaemonSets);
        let mut found = Vec::new();
        self.list_full(&object, ListParams::default().labels(label), |set: DaemonSet| {
            let images = set.spec.template.spec.containers.into_iter().map(|container| cut(&container.image));
            found.push(DaemonSetStatus {
                namespace: set.metadata.namespace,
                name: set.metadata.name,
                images: images.collect(),
                desired: set.status.desired_number_scheduled,
                ready: set.status.number_ready,
                updated: set.status.updated_number_scheduled,
            });
        })?;
        Ok(found)
    }

    /// Passes on every unfinished pod, with the addresses of its first interface. A pod in the network of its node has
    /// none of its own.
    pub fn pods_with_addresses(&self, mut each: impl FnMut(Pod, Vec<IpAddr>)) -> Result<(), ClusterError> {
        let object = ObjectRef::all(ResourceKind::Pods);
        let list = ListParams::default().fields(UNFINISHED);
        self.list_full(&object, list, |AddressedPod { metadata, spec, status }| {
            let own = status.pod_ips.into_iter().flatten().filter(|_| !spec.host_network);
            each(metadata.into(), own.filter_map(|PodIp { ip }| ip.parse().ok()).collect());
        })
        .map(drop)
    }

    /// Passes on the pods of all namespaces with this label.
    pub fn daemon_pods(&self, label: &str, mut each: impl FnMut(DaemonPod)) -> Result<(), ClusterError> {
        let object = ObjectRef::all(ResourceKind::Pods);
        self.list_full(&object, ListParams::default().labels(label), |pod: RunningPod| each(pod.into())).map(drop)
    }

    /// Reads the Lease of a leader election; `None` if it does not exist.
    pub fn leader_record(&self, lease: &LeaderLease) -> Result<Option<ObservedRecord>, ClusterError> {
        self.block_on(self.connection.read_record(lease, self.deadline()))
    }

    /// Lists whole objects, page by page. Returns `false` if the cluster does not have the kind.
    pub(super) fn list_full<T: DeserializeOwned>(
        &self,
        object: &ObjectRef,
        list: ListParams,
        mut each: impl FnMut(T),
    ) -> Result<bool, ClusterError> {
        let mut list = list.limit(PAGE);
        for _ in 0..MAX_PAGES {
            let response = self.get(Request::new(object.path()).list(&list), object)?;
            // A list of a kind that the server has is never missing.
            if response.status == 404 {
                return Ok(false);
            }
            let Page { metadata, items } = response.document::<Page<T>>(object)?;
            items.into_iter().flatten().for_each(&mut each);
            match metadata.continue_token {
                none if none.is_empty() => return Ok(true),
                token => list.continue_token = Some(token),
            }
        }
        Err(self.too_many_pages(object.clone()))
    }
}

impl From<RunningPod> for DaemonPod {
    fn from(pod: RunningPod) -> Self {
        let RunningPod { metadata, spec, status } = pod;
        let ready = status.conditions.iter().find(|condition| condition.r#type == "Ready");
        let not_ready = match ready {
            Some(condition) if condition.status == "True" => None,
            _ => Some(status.trouble(ready)),
        };
        Self { namespace: metadata.namespace, name: metadata.name, node: spec.node_name, not_ready }
    }
}

impl RunningPodStatus {
    /// The most telling reason: that of a container, else the condition's message, else the phase.
    fn trouble(&self, ready: Option<&Condition>) -> String {
        let containers = self.container_statuses.iter().flat_map(|container| {
            let states = container.state.values().filter(|state| !state.reason.is_empty());
            states.map(|state| format!("container {}: {}", container.name, state.reason))
        });
        let condition = ready.map(|ready| ready.message.clone()).filter(|message| !message.is_empty());
        let phase = || format!("phase {}", if self.phase.is_empty() { "unknown" } else { &self.phase });
        cut(&containers.into_iter().next().or(condition).unwrap_or_else(phase))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn not_ready(status: Value) -> Option<String> {
        let pod =
            json!({ "metadata": { "namespace": "n", "name": "p" }, "spec": { "nodeName": "a" }, "status": status });
        DaemonPod::from(serde_json::from_value::<RunningPod>(pod).unwrap()).not_ready
    }

    #[test]
    fn a_pod_that_is_not_ready_says_why() {
        let ready = |status: &str| json!([{ "type": "Ready", "status": status, "message": "containers with unready status: [install]" }]);
        assert_eq!(not_ready(json!({ "phase": "Running", "conditions": ready("True") })), None);
        let waiting = json!([{ "name": "install", "state": { "waiting": { "reason": "ImagePullBackOff" } } }]);
        assert_eq!(
            not_ready(json!({ "phase": "Pending", "conditions": ready("False"), "containerStatuses": waiting }))
                .unwrap(),
            "container install: ImagePullBackOff"
        );
        assert_eq!(
            not_ready(json!({ "phase": "Running", "conditions": ready("False"), "containerStatuses": [{ "name": "install", "state": { "running": {} } }] })).unwrap(),
            "containers with unready status: [install]"
        );
        assert_eq!(not_ready(json!({ "phase": "Pending" })).unwrap(), "phase Pending");
        assert_eq!(not_ready(json!({})).unwrap(), "phase unknown");
    }
}
