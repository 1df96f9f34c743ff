//! Sorts the documents of a plan's files into objects. Ignores objects that don't affect addresses.

mod claim;
mod defaults;
mod definition;
mod machine;
mod misplaced;
mod node;
mod rollout;
mod workload;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub(crate) use self::claim::PlannedClaim;
pub(crate) use self::defaults::Defaults;
pub(crate) use self::definition::{Definition, Plugin};
use self::node::{KnownNode, Placement, PossibleNodes};
pub(crate) use self::workload::{Annotation, Kind, Workload};
use super::code;
use super::finding::Finding;
use super::source::{Place, Source};
use crate::ipam::node_selector::LocalNode;
use crate::manifest::{self, Node, Value};

/// The start of an action in a helm template, which is not valid YAML before it is rendered.
const TEMPLATE: &str = "{{";
const RENDER_FIRST: &str = "it looks like a template; render it first: `helm template … | kube-ipam plan -f -`";

/// The key of the node defaults in a ConfigMap (examples/install).
const DEFAULTS_KEY: &str = "kube-ipam.json";

/// A document, or an item of a List, in a source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Document<'a> {
    /// The index of the source.
    pub source: usize,
    /// The top node.
    pub node: &'a Node,
}

impl Document<'_> {
    /// The position of one of its nodes.
    pub(crate) fn place(&self, node: &Node) -> Place {
        Place::new(self.source, &node.span)
    }

    /// The name in its metadata, with its position.
    fn name(&self) -> Option<(&str, Place)> {
        let name = self.node.at(&["metadata", "name"])?;
        Some((name.text()?, self.place(name)))
    }

    /// The namespace in its metadata, or else the default.
    fn namespace(&self, default: &str) -> String {
        let namespace = self.node.at(&["metadata", "namespace"]).and_then(Node::text);
        namespace.unwrap_or(default).to_owned()
    }
}

/// The objects that affect addresses.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    pub definitions: Vec<Definition>,
    pub workloads: Vec<Workload>,
    /// From a ConfigMap. The last valid one counts.
    pub(crate) defaults: Option<Defaults>,
    pub claims: Vec<PlannedClaim>,
    nodes: Vec<KnownNode>,
}

impl Objects {
    /// Reads the sources. Objects without a namespace belong to `namespace`.
    pub(crate) fn read(sources: &[Source], namespace: &str, findings: &mut Vec<Finding>) -> Self {
        let mut objects = Self::default();
        for source in 0..sources.len() {
            objects.add_source(sources, source, namespace, findings);
        }
        objects.place();
        objects
    }

    /// Reads one more source.
    pub(crate) fn add_source(
        &mut self,
        sources: &[Source],
        source: usize,
        namespace: &str,
        findings: &mut Vec<Finding>,
    ) {
        let text = &sources[source].text;
        let (documents, errors) = manifest::documents(text);
        for error in errors {
            let place = Place::new(source, &error.span);
            let finding = Finding::error(code::SYNTAX, place, "this is neither YAML nor JSON").labelled(error.message);
            findings.push(if text.contains(TEMPLATE) { finding.help(RENDER_FIRST) } else { finding });
        }
        for node in &documents {
            duplicate_keys(source, node, findings);
            self.add(Document { source, node }, sources, namespace, findings);
        }
    }

    /// Finds the nodes of all workloads. Most of them have one of few placements, so that each of these is looked up
    /// once.
    fn place(&mut self) {
        if self.nodes.is_empty() {
            return;
        }
        let mut possible: HashMap<Placement, Arc<PossibleNodes>> = HashMap::new();
        for workload in &mut self.workloads {
            let placement = &workload.template.placement;
            let nodes = match possible.get(placement) {
                Some(nodes) => Arc::clone(nodes),
                None => {
                    let nodes = Arc::new(placement.possible(&self.nodes));
                    possible.insert(placement.clone(), Arc::clone(&nodes));
                    nodes
                }
            };
            workload.run_on(nodes);
        }
    }

    /// The nodes with their labels.
    pub(crate) fn nodes(&self) -> Vec<LocalNode> {
        self.nodes.iter().map(|node| node.local.clone()).collect()
    }

    fn add(&mut self, document: Document<'_>, sources: &[Source], namespace: &str, findings: &mut Vec<Finding>) {
        let text_of = |key| document.node.get(key).and_then(Node::text);
        let Some(kind) = text_of("kind") else {
            self.definitions.extend(Definition::of_conf(document));
            return;
        };
        let group = text_of("apiVersion").and_then(|version| version.split_once('/')).map_or("", |(group, _)| group);
        misplaced::on_other(document, (group, kind), findings);
        match (group, kind) {
            ("", "List") => {
                for node in document.node.get("items").map_or(&[][..], Node::elements) {
                    self.add(Document { source: document.source, node }, sources, namespace, findings);
                }
            }
            ("k8s.cni.cncf.io", "NetworkAttachmentDefinition") => {
                self.definitions.extend(Definition::of_object(
                    document,
                    &sources[document.source].text,
                    namespace,
                    findings,
                ));
            }
            ("k8s.cni.cncf.io", "IPAMClaim") => self.claims.extend(PlannedClaim::read(document, namespace, findings)),
            ("", "Node") => self.nodes.extend(KnownNode::read(document)),
            ("", "ConfigMap") => {
                if let Some(node) = document.node.at(&["data", DEFAULTS_KEY]) {
                    self.defaults = Defaults::of_config_map(document, node, sources, findings).or(self.defaults.take());
                }
            }
            (group, kind) => self.workloads.extend(Workload::read(document, (group, kind), namespace, findings)),
        }
    }
}

/// Reports duplicate keys of an object, because the first one is silently lost.
fn duplicate_keys(source: usize, node: &Node, findings: &mut Vec<Finding>) {
    match &node.value {
        Value::Scalar(_) => {}
        Value::List(elements) => elements.iter().for_each(|element| duplicate_keys(source, element, findings)),
        Value::Object(members) => {
            let mut seen: BTreeMap<&str, &manifest::Member> = BTreeMap::new();
            for member in members {
                if let Some(first) = seen.insert(&member.key, member) {
                    let place = Place::new(source, &member.key_span);
                    let message = format!("the key {} stands twice in one object", member.key);
                    let finding = Finding::warning(code::DUPLICATE_KEY, place, message);
                    let finding = finding.labelled("this one counts").help("remove one of them");
                    findings.push(finding.related(Place::new(source, &first.key_span), "this one is lost"));
                }
                duplicate_keys(source, &member.node, findings);
            }
        }
    }
}
