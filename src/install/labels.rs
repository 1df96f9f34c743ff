//! The node's labels in its defaults, as the API server has them.
//!
//! ```text
//! API server ─ GET of this node, at every sixth pass ─► its labels ─ by prefix ─► nodeLabels
//!                                    not answered ─► those of the last time, else those in the node's file
//! ```
//!
//! Only labels with certain prefixes are kept, so that a label that decides nothing about addresses rewrites no file. A
//! heartbeat changes no label.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;

use crate::cluster::ClusterError;
use crate::ipam::label::{LabelError, Labels, MAX_LABELS};
use crate::ipam::name::Name;

/// At every so many passes the API server is asked: with the usual pause of ten seconds, once a minute.
pub(super) const PASSES_PER_LOOKUP: u32 = 6;

/// Why the labels in the node's defaults stay as they are.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NodeLabelsError {
    /// The installer may not read its node.
    #[error(
        "nodeLabels of node {node} stay as they are (grant apiGroups [\"\"], resources [\"nodes\"], verbs [\"get\"]; if no \
         range has a nodeSelector, install with --node-labels= instead)"
    )]
    Forbidden {
        /// The node.
        node: Name,
        /// What the API server says.
        #[source]
        error: Arc<ClusterError>,
    },
    /// The API server does not answer, or not with a node.
    #[error("nodeLabels of node {node} stay as they are")]
    Unread {
        /// The node.
        node: Name,
        /// Why.
        #[source]
        error: Arc<ClusterError>,
    },
    /// More labels than the defaults can hold.
    #[error(
        "nodeLabels of node {node} stay as they are: --node-labels selects {found} of its labels, and at most \
         {MAX_LABELS} are possible"
    )]
    TooMany {
        /// The node.
        node: Name,
        /// How many there are.
        found: usize,
    },
    /// A label that Kubernetes would not accept.
    #[error("nodeLabels of node {node} stay as they are")]
    Invalid {
        /// The node.
        node: Name,
        /// What is wrong with it.
        #[source]
        error: LabelError,
    },
}

/// With what the keys of the labels begin that the defaults have; empty: no labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelPrefixes(Vec<String>);

impl LabelPrefixes {
    /// Whether no labels are wanted.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn selects(&self, key: &str) -> bool {
        self.0.iter().any(|prefix| key.starts_with(prefix))
    }
}

/// Prefixes with commas between them.
impl FromStr for LabelPrefixes {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let prefixes = text.split(',').map(str::trim).filter(|prefix| !prefix.is_empty());
        Ok(Self(prefixes.map(str::to_owned).collect()))
    }
}

/// The labels as they were read last.
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

    /// Whether the defaults are to have labels.
    pub(super) fn are_wanted(&self) -> bool {
        !self.prefixes.is_empty()
    }

    /// Looks the labels up, if it is time for that.
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

    /// The labels, once they were read.
    pub(super) fn labels(&self) -> Option<&Labels> {
        self.labels.as_ref()
    }

    /// Why they are not those of today.
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
