//! Nodes, and which of them a pod may run on.
//!
//! ```text
//! nodeName ─► nodeSelector ─► required node affinity ─► taints and tolerations ─► may run
//! ```
//!
//! These are the rules of the scheduler that depend on nothing but the node and the pod's template. Limits: taints with
//! the prefix `node.kubernetes.io/` are not compared, because they are a node's state of the moment and a DaemonSet
//! tolerates them. Resources, topology spread and affinity between pods are not compared either.

use super::Document;
use crate::ipam::label::Labels;
use crate::ipam::name::Name;
use crate::ipam::node_selector::LocalNode;
use crate::manifest::Node;

/// The prefix of the taints that Kubernetes sets by itself.
const STATE_TAINTS: &str = "node.kubernetes.io/";

/// Labels that every kubelet sets on its node.
const HOSTNAME: &str = "kubernetes.io/hostname";
const OS: &str = "kubernetes.io/os";

/// A node of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct KnownNode {
    /// Its name and labels.
    pub local: LocalNode,
    taints: Vec<Taint>,
}

#[derive(Clone, Debug)]
struct Taint {
    key: String,
    value: String,
    effect: String,
}

impl KnownNode {
    /// Reads a node with its valid labels.
    pub(super) fn read(document: Document<'_>) -> Option<Self> {
        let (name, _) = document.name()?;
        let mut labels = Labels::default();
        let written = document.node.at(&["metadata", "labels"]).map_or(&[][..], Node::members);
        let written = written.iter().filter_map(|member| Some((member.key.as_str(), member.node.text()?)));
        for (key, value) in [(HOSTNAME, name), (OS, "linux")].into_iter().chain(written) {
            // The API server accepts only valid labels, so nothing is lost.
            let _ = labels.insert(key, value);
        }
        let taint =
            |node: &Node| Taint { key: text(node, "key"), value: text(node, "value"), effect: text(node, "effect") };
        let taints = document.node.at(&["spec", "taints"]).map_or(&[][..], Node::elements);
        let local = LocalNode { name: Name::new(name).ok()?, labels: Some(labels) };
        Some(Self { local, taints: taints.iter().map(taint).collect() })
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.local.labels.as_ref()?.iter().find(|(own, _)| *own == key).map(|(_, value)| value)
    }

    fn name(&self) -> &str {
        self.local.name.as_str()
    }
}

/// The nodes on which a workload's pods may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PossibleNodes {
    /// Their names, sorted.
    pub names: Vec<String>,
    /// The number of all known nodes.
    pub known: usize,
}

/// What a pod's template says about its nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Placement {
    /// `spec.nodeName`.
    pub node: Option<String>,
    selector: Vec<(String, String)>,
    /// The terms of the required node affinity, one of which has to match; `None` without it.
    terms: Option<Vec<Term>>,
    tolerations: Vec<Toleration>,
}

/// A term of a node affinity. All of its requirements have to match; without any, nothing matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Term(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Requirement {
    /// `None` for the field `metadata.name`.
    label: Option<String>,
    operator: String,
    values: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Toleration {
    key: String,
    exists: bool,
    value: String,
    effect: String,
}

impl Placement {
    /// Reads the spec of a pod.
    pub(super) fn read(spec: &Node) -> Self {
        let selector = spec.get("nodeSelector").map_or(&[][..], Node::members);
        let required =
            ["affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"];
        let tolerations = spec.get("tolerations").map_or(&[][..], Node::elements);
        Self {
            node: spec.get("nodeName").and_then(Node::text).map(str::to_owned),
            selector: selector
                .iter()
                .map(|member| (member.key.clone(), member.node.text().unwrap_or_default().to_owned()))
                .collect(),
            terms: spec.at(&required).map(|terms| terms.elements().iter().map(Term::read).collect()),
            tolerations: tolerations.iter().map(Toleration::read).collect(),
        }
    }

    /// The nodes that it admits, in the order of their names.
    pub(super) fn possible(&self, nodes: &[KnownNode]) -> PossibleNodes {
        let admitted = nodes.iter().filter(|node| self.admits(node));
        let mut names: Vec<String> = admitted.map(|node| node.name().to_owned()).collect();
        names.sort();
        PossibleNodes { names, known: nodes.len() }
    }

    /// Whether a pod may run on a node.
    fn admits(&self, node: &KnownNode) -> bool {
        let is_named = self.node.as_ref().is_none_or(|name| name == node.name());
        let is_selected = self.selector.iter().all(|(key, value)| node.label(key) == Some(value));
        let has_affinity = self.terms.as_ref().is_none_or(|terms| terms.iter().any(|term| term.matches(node)));
        is_named && is_selected && has_affinity && node.taints.iter().all(|taint| self.tolerates(taint))
    }

    fn tolerates(&self, taint: &Taint) -> bool {
        let keeps_away = matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
        // A pod with `nodeName` passes the scheduler by.
        let is_certain = self.node.is_some() && taint.effect == "NoSchedule";
        let is_state = taint.key.starts_with(STATE_TAINTS);
        !keeps_away || is_certain || is_state || self.tolerations.iter().any(|toleration| toleration.matches(taint))
    }
}

impl Term {
    fn read(node: &Node) -> Self {
        let list = |key| node.get(key).map_or(&[][..], Node::elements);
        let requirement = |node: &Node, label| Requirement {
            label,
            operator: text(node, "operator"),
            values: node
                .get("values")
                .map_or(&[][..], Node::elements)
                .iter()
                .filter_map(|value| value.text().map(str::to_owned))
                .collect(),
        };
        let labels = list("matchExpressions").iter().map(|node| requirement(node, Some(text(node, "key"))));
        Self(labels.chain(list("matchFields").iter().map(|node| requirement(node, None))).collect())
    }

    fn matches(&self, node: &KnownNode) -> bool {
        !self.0.is_empty() && self.0.iter().all(|requirement| requirement.matches(node))
    }
}

impl Requirement {
    fn matches(&self, node: &KnownNode) -> bool {
        let found = self.label.as_ref().map_or(Some(node.name()), |key| node.label(key));
        let is_listed = || found.is_some_and(|found| self.values.iter().any(|value| value == found));
        let number = |text: &str| text.parse::<i64>().ok();
        let numbers = || found.and_then(number).zip(self.values.first().and_then(|value| number(value)));
        match self.operator.as_str() {
            "In" => is_listed(),
            "NotIn" => !is_listed(),
            "Exists" => found.is_some(),
            "DoesNotExist" => found.is_none(),
            "Gt" => numbers().is_some_and(|(found, least)| found > least),
            "Lt" => numbers().is_some_and(|(found, most)| found < most),
            _ => false,
        }
    }
}

impl Toleration {
    fn read(node: &Node) -> Self {
        Self {
            key: text(node, "key"),
            exists: text(node, "operator") == "Exists",
            value: text(node, "value"),
            effect: text(node, "effect"),
        }
    }

    /// An empty key or effect matches all of them.
    fn matches(&self, taint: &Taint) -> bool {
        let has_key = self.key == taint.key || self.key.is_empty() && self.exists;
        let has_effect = self.effect.is_empty() || self.effect == taint.effect;
        has_key && has_effect && (self.exists || self.value == taint.value)
    }
}

/// The text of a key; empty without it.
fn text(node: &Node, key: &str) -> String {
    node.get(key).and_then(Node::text).unwrap_or_default().to_owned()
}
