//! The status of a node, as far as it shows whether its kubelet still answers.

use jiff::Timestamp;

/// The taint by which an administrator says that a node is down (KEP-2268). The control plane then ends its pods by force.
pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// A node, as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// `status` of its condition Ready: `True`, `False`, or `Unknown` if its kubelet no longer reports.
    pub ready: String,
    /// Why, in the words of the condition.
    pub message: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Whether it has the taint [`OUT_OF_SERVICE`].
    pub is_out_of_service: bool,
}

impl NodeStatus {
    /// Whether its kubelet answers and can run pods.
    pub fn is_ready(&self) -> bool {
        self.ready == "True"
    }
}
