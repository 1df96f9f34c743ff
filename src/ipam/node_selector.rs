//! Selects the nodes that may use a range: by name (`nodes`), by label (`nodeSelector`), or by both.
//!
//! ```text
//! node defaults: nodeName, nodeLabels ─► LocalNode ─────┐
//!                                                       ├─► admits?  no ─► NodeMismatch, for the refusal
//! range: nodes, nodeSelector ──────────► NodeSelector ──┘
//! ```
//!
//! The labels come from the node's defaults, never from the API server, so that the result is the same while the API
//! server is unreachable.

use std::fmt;

use super::label::Labels;
use super::name::Name;
use super::range::globs_admit;

/// The node on which a call runs, with the properties that a selector compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNode {
    /// Its name (`nodeName`).
    pub name: Name,
    /// Its labels (`nodeLabels`); `None` if its defaults don't have the key.
    pub labels: Option<Labels>,
}

/// The nodes that may use a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSelector {
    /// Globs of their names (`nodes`). Empty means any name.
    pub names: Vec<String>,
    /// Labels that each of them has (`nodeSelector`). Empty means any labels.
    pub labels: Labels,
}

impl NodeSelector {
    /// Whether a node may use the range: its name and its labels must both match. Unknown labels match no label.
    pub fn admits(&self, node: &LocalNode) -> bool {
        let labels_fit = || match &node.labels {
            Some(labels) => labels.contain(&self.labels),
            None => self.labels.is_empty(),
        };
        globs_admit(&self.names, Some(node.name.as_str())) && labels_fit()
    }
}

impl fmt::Display for NodeSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names.join(", ");
        match (self.names.is_empty(), self.labels.is_empty()) {
            (true, true) => f.write_str("*"),
            (false, true) => f.write_str(&names),
            (true, false) => write!(f, "labelled {}", self.labels),
            (false, false) => write!(f, "{names} labelled {}", self.labels),
        }
    }
}

/// Why a node may not use some ranges.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeMismatch {
    /// The node of the call.
    pub node: LocalNode,
    /// The selectors of those ranges.
    pub selectors: Vec<NodeSelector>,
}

impl NodeMismatch {
    /// Whether a selector names labels, and those of the node are unknown.
    pub fn lacks_labels(&self) -> bool {
        self.node.labels.is_none() && self.names_labels()
    }

    /// Whether a selector names labels.
    pub fn names_labels(&self) -> bool {
        self.selectors.iter().any(|selector| !selector.labels.is_empty())
    }

    /// The selected nodes, as text for a refusal.
    pub fn wanted(&self) -> String {
        let mut wanted: Vec<String> = self.selectors.iter().map(ToString::to_string).collect();
        wanted.dedup();
        wanted.join(if self.names_labels() { " or " } else { ", " })
    }

    /// The node as text for a refusal, with its labels if a selector names any.
    pub fn found(&self) -> String {
        let name = &self.node.name;
        match &self.node.labels {
            _ if !self.names_labels() => name.to_string(),
            None => format!("{name} (nodeLabels: missing in the node defaults)"),
            Some(labels) if labels.is_empty() => format!("{name} (nodeLabels: none)"),
            Some(labels) => format!("{name} (nodeLabels: {labels})"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        let mut labels = Labels::default();
        pairs.iter().for_each(|(key, value)| labels.insert(key, value).unwrap());
        labels
    }

    fn node(name: &str, labels: Option<Labels>) -> LocalNode {
        LocalNode { name: Name::new(name).unwrap(), labels }
    }

    fn selector(names: &[&str], pairs: &[(&str, &str)]) -> NodeSelector {
        NodeSelector { names: names.iter().map(|name| (*name).to_owned()).collect(), labels: labels(pairs) }
    }

    struct Case {
        selector: NodeSelector,
        node: LocalNode,
        admitted: bool,
    }

    #[test]
    fn a_node_is_admitted_if_its_name_and_its_labels_fit() {
        let zone = ("topology.kubernetes.io/zone", "a");
        let worker = ("node-role.kubernetes.io/worker", "");
        let of_a = || node("rack1-7", Some(labels(&[zone, worker])));
        let of_b = || node("rack1-7", Some(labels(&[("topology.kubernetes.io/zone", "b")])));
        let unknown = || node("rack1-7", None);
        for (i, Case { selector, node, admitted }) in [
            Case { selector: selector(&[], &[]), node: unknown(), admitted: true },
            Case { selector: selector(&[], &[zone]), node: of_a(), admitted: true },
            Case { selector: selector(&[], &[zone, worker]), node: of_a(), admitted: true },
            Case { selector: selector(&[], &[zone]), node: of_b(), admitted: false },
            Case { selector: selector(&[], &[zone]), node: unknown(), admitted: false },
            Case { selector: selector(&[], &[zone]), node: node("rack1-7", Some(labels(&[]))), admitted: false },
            // A label with an empty value is not a missing label.
            Case { selector: selector(&[], &[worker]), node: of_b(), admitted: false },
            Case { selector: selector(&["rack1-*"], &[zone]), node: of_a(), admitted: true },
            Case { selector: selector(&["rack2-*"], &[zone]), node: of_a(), admitted: false },
            Case { selector: selector(&["rack1-*"], &[zone]), node: of_b(), admitted: false },
            Case { selector: selector(&["rack2-*", "rack1-?"], &[]), node: unknown(), admitted: true },
            // Keys and values are case-sensitive.
            Case { selector: selector(&[], &[(zone.0, "A")]), node: of_a(), admitted: false },
            Case { selector: selector(&[], &[("topology.kubernetes.io/Zone", "a")]), node: of_a(), admitted: false },
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(selector.admits(&node), admitted, "case {i}: {selector}");
        }
    }

    #[test]
    fn a_mismatch_says_who_is_wanted_and_what_the_node_has() {
        let (a, b) = (selector(&[], &[("zone", "a")]), selector(&["rack1-*", "rack2-*"], &[("zone", "b")]));
        let mismatch = |selectors: &[&NodeSelector], labels| NodeMismatch {
            node: node("n3", labels),
            selectors: selectors.iter().map(|selector| (*selector).clone()).collect(),
        };
        let names = mismatch(&[&selector(&["rack1-*"], &[]), &selector(&["rack2-*", "rack3-*"], &[])], None);
        assert_eq!((names.wanted(), names.found()), ("rack1-*, rack2-*, rack3-*".to_owned(), "n3".to_owned()));
        assert!(!names.lacks_labels());
        let both = mismatch(&[&a, &a, &b], None);
        assert_eq!(both.wanted(), "labelled zone=a or rack1-*, rack2-* labelled zone=b");
        assert_eq!(both.found(), "n3 (nodeLabels: missing in the node defaults)");
        assert!(both.lacks_labels());
        assert_eq!(mismatch(&[&a], Some(labels(&[]))).found(), "n3 (nodeLabels: none)");
        let known = mismatch(&[&a], Some(labels(&[("region", "r1"), ("zone", "c")])));
        assert_eq!(known.found(), "n3 (nodeLabels: region=r1,zone=c)");
    }

    fn some_labels() -> impl Strategy<Value = BTreeMap<String, String>> {
        proptest::collection::btree_map("[ab]", "[xy]?", 0..3)
    }

    proptest! {
        #[test]
        fn a_selector_admits_exactly_the_nodes_that_have_each_of_its_labels(wanted in some_labels(), has in some_labels()) {
            let of = |pairs: &BTreeMap<String, String>| {
                labels(&pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect::<Vec<_>>())
            };
            let expected = wanted.iter().all(|(key, value)| has.get(key) == Some(value));
            let selector = NodeSelector { names: Vec::new(), labels: of(&wanted) };
            prop_assert_eq!(selector.admits(&node("n1", Some(of(&has)))), expected);
            prop_assert_eq!(selector.admits(&node("n1", None)), wanted.is_empty());
            // A selector ignores labels that it does not name.
            let mut more = has.clone();
            more.insert("c".to_owned(), "x".to_owned());
            prop_assert_eq!(selector.admits(&node("n1", Some(of(&more)))), expected);
        }
    }
}
