//! Whether a node's kubelet still answers, according to the API server.

use jiff::Timestamp;
use serde::Deserialize;

use super::object::{ObjectRef, ResourceKind};
use super::response::cut;
use super::{ApiServer, ClusterError};
use crate::ipam::name::Name;
use crate::ipam::node_status::{NodeStatus, OUT_OF_SERVICE};

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeSpec {
    taints: Vec<Taint>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Taint {
    key: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeState {
    conditions: Vec<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Condition {
    r#type: String,
    status: String,
    message: String,
    last_transition_time: Option<Timestamp>,
}

impl ApiServer {
    /// The status of a node; `None` if there is no such node.
    pub fn node_status(&self, node: &Name) -> Result<Option<NodeStatus>, ClusterError> {
        let object = ObjectRef::new(ResourceKind::Node, "", node.as_str())?;
        match self.get_full(&object)?.node(&object) {
            Ok((spec, state)) => Ok(Some(status(&spec, state))),
            Err(ClusterError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A node without the condition has not reported yet.
fn status(spec: &NodeSpec, state: NodeState) -> NodeStatus {
    let ready = state.conditions.into_iter().find(|condition| condition.r#type == "Ready").unwrap_or_default();
    NodeStatus {
        ready: if ready.status.is_empty() { "Unknown".to_owned() } else { cut(&ready.status) },
        message: cut(&ready.message),
        since: ready.last_transition_time,
        is_out_of_service: spec.taints.iter().any(|taint| taint.key == OUT_OF_SERVICE),
    }
}
