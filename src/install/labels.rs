//! The node's labels, copied from the API server to the node's defaults.
//!
//! ```text
//! API server ─ GET of this node, every sixth pass ─► its labels ─ by prefix ─► nodeLabels
//!                                    failed ─► the last ones read, else those in the node's file
//! ```
//!
//! Only labels with certain prefixes are copied, so that a change of any other label rewrites no file. Heartbeats
//! change no labels.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;

use crate::cluster::ClusterError;
use crate::ipam::label::{LabelError, Labels, MAX_LABELS};
use crate::ipam::name::Name;

/// How many passes share one request. With the usual interval of ten seconds, that is one request a minute.
pub(super) const PASSES_PER_LOOKUP: u32 = 6;

/// Why the labels in the node's defaults were not updated.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NodeLabelsError {
    /// The installer is not allowed to read its node.
    #[error(
        "nodeLabels of node {node} stay as they are (grant apiGroups [\"\"], resources [\"nodes\"], verbs [\"get\"]; if no \
         range has a nodeSelector, install with --node-labels= instead)"
    )]
    Forbidden {
        /// The node.
        node: Name,
        /// The API server's response.
        #[source]
        error: Arc<ClusterError>,
    },
    /// The request failed, or the response is not a node.
    #[error("nodeLabels of node {node} stay as they are")]
    Unread {
        /// The node.
        node: Name,
        /// Why it failed.
        #[source]
        error: Arc<ClusterError>,
    },
    /// There are more labels than the defaults may contain.
    #[error(
        "nodeLabels of node {node} stay as they are: --node-labels selects {found} of its labels, and at most \
         {MAX_LABELS} are possible"
    )]
    TooMany {
        /// The node.
        node: Name,
        /// The number of labels.
        found: usize,
    },
    /// A label is not valid in Kubernetes.
    #[error("nodeLabels of node {node} stay as they are")]
    Invalid {
        /// The node.
        node: Name,
        /// What is wrong with it.
        #[source]
        error: LabelError,
    },
}

/// The prefixes of the keys of the labels to copy. Without prefixes, no labels are copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelPrefixes(Vec<String>);

impl LabelPrefixes {
    /// Whether no labels are copied.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn selects(&self, key: &str) -> bool {
        self.0.iter().any(|prefix| key.starts_with(prefix))
    }
}

/// Parses a comma-separated list of prefixes.
impl FromStr for LabelPrefixes {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let prefixes = text.split(',').map(str::trim).filter(|prefix| !prefix.is_empty());
        Ok(Self(prefixes.map(str::to_owned).collect()))
    }
}

/// The labels as last read.
#[derive(Debug, Default)]
pub(super) struct NodeLabels {
    prefixes: LabelPrefixes,
    passes: u32,
    labels: Option<Labels>,
    /// Why the last lookup failed.
    error: Option<NodeLabelsError>,
}

impl NodeLabels {
    pub(super) fn new(prefixes: LabelPrefixes) -> Self {
        Self { prefixes, ..Self::default() }
    }

    /// Whether labels are copied.
    pub(super) fn are_wanted(&self) -> bool {
        !self.prefixes.is_empty()
    }

    /// Looks the labels up if enough passes have gone by.
    pub(super) fn refresh(
        &mut self,
        node: &Name,
        look_up: impl FnOnce() -> Result<BTreeMap<String, String>, ClusterError>,
    ) {
        let is_time = self.passes.is_multiple_of(PASSES_PER_LOOKUP);
        self.passes = self.passes.wrapping_add(1);
        if !is_time {
            return;
        }
        match look_up().map_err(|error| unread(node, error)).and_then(|labels| self.selected(node, &labels)) {
            Ok(labels) => (self.labels, self.error) = (Some(labels), None),
            Err(error) => self.error = Some(error),
        }
    }

    /// The labels; `None` until they were read.
    pub(super) fn labels(&self) -> Option<&Labels> {
        self.labels.as_ref()
    }

    /// Why they are not up to date.
    pub(super) fn error(&self) -> Option<&NodeLabelsError> {
        self.error.as_ref()
    }

    fn selected(&self, node: &Name, of_node: &BTreeMap<String, String>) -> Result<Labels, NodeLabelsError> {
        let selected: Vec<_> = of_node.iter().filter(|(key, _)| self.prefixes.selects(key)).collect();
        if selected.len() > MAX_LABELS {
            return Err(NodeLabelsError::TooMany { node: node.clone(), found: selected.len() });
        }
        let mut labels = Labels::default();
        for (key, value) in selected {
            let added = labels.insert(key, value);
            added.map_err(|error| NodeLabelsError::Invalid { node: node.clone(), error })?;
        }
        Ok(labels)
    }
}

fn unread(node: &Name, error: ClusterError) -> NodeLabelsError {
    let (node, error) = (node.clone(), Arc::new(error));
    match &*error {
        ClusterError::Forbidden { .. } => NodeLabelsError::Forbidden { node, error },
        _ => NodeLabelsError::Unread { node, error },
    }
}
