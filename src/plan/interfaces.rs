//! The interfaces of pods: the networks that their templates select, resolved as Multus does.

use std::collections::{BTreeSet, HashMap};

use super::claims::ClaimRef;
use super::cluster::{NamedKind, NamedObject};
use super::code;
use super::elsewhere::Elsewhere;
use super::finding::Finding;
use super::networks::{PlannedNetwork, label};
use super::objects::{Annotation, Definition, Workload};
use super::source::{Place, Source};
use crate::cause::chain;
use crate::ipam::name::IfName;
use crate::ipam::request::{Element, FIRST_INTERFACE, NETWORKS, parse_key, selected};

/// The annotation that replaces the cluster's network of a pod's first interface (Multus).
pub(super) const DEFAULT_NETWORK: &str = "v1.multus-cni.io/default-network";

/// The plugin type of Multus. Its file is the first in the folder, and the cluster's network is the next one.
const MULTUS: &str = "multus";

/// Whether an annotation of a pod decides on its networks or addresses.
pub fn reads_annotation(key: &str) -> bool {
    matches!(key, DEFAULT_NETWORK | NETWORKS) || parse_key(key).is_some()
}

/// What to do about an interface that a virtual machine does not have.
const MACHINE_INTERFACES: &str = "name one of them: KubeVirt names an interface by a hash of the network's name in \
                                  spec.networks; releases before 1.0.0 counted net1, net2, …";

/// An interface of the pods of a workload.
#[derive(Debug)]
pub(super) struct PlannedInterface<'a> {
    pub(super) workload: &'a Workload,
    pub(super) ifname: IfName,
    pub(super) network: NetworkRef,
    /// The position of its selection; for the first interface, that of the workload's name.
    pub(super) place: Place,
    /// The addresses that its network selection element requests.
    pub(super) ips: Vec<String>,
    /// The claim that its addresses belong to.
    pub(super) claim: ClaimRef<'a>,
}

/// The network of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NetworkRef {
    /// The index of a network of the plan.
    Planned(usize),
    /// A network whose configuration is on the nodes.
    OnNodes,
    /// A network that is missing or invalid. A finding was reported for it.
    Unknown,
}

fn named(namespace: &str, name: &str) -> NamedObject {
    NamedObject { kind: NamedKind::NetworkDefinition, namespace: namespace.to_owned(), name: name.to_owned() }
}

/// The definitions that the pods of a workload select.
pub(super) fn selections(workload: &Workload) -> impl Iterator<Item = NamedObject> {
    let elements = |key| {
        let annotation = workload.template.annotation(key).filter(|_| !workload.template.host_network);
        annotation.and_then(|annotation| selected(annotation.value.trim())).into_iter().flatten()
    };
    let of_element = |element: Element| {
        named(element.namespace().unwrap_or(&workload.namespace), element.name().unwrap_or_default())
    };
    elements(DEFAULT_NETWORK).take(1).chain(elements(NETWORKS)).map(of_element)
}

/// The interfaces of all workloads.
pub(super) fn of_workloads<'a>(
    workloads: &'a [Workload],
    networks: &[PlannedNetwork<'_>],
    definitions: &[Definition],
    elsewhere: &Elsewhere,
    sources: &[Source],
    findings: &mut Vec<Finding>,
) -> Vec<PlannedInterface<'a>> {
    let index = Index::new(networks, definitions, elsewhere, sources);
    let mut interfaces = Vec::new();
    for workload in workloads.iter().filter(|workload| !workload.template.host_network) {
        let before = interfaces.len();
        interfaces.extend(index.first(workload, findings));
        if let Some(annotation) = workload.template.annotation(NETWORKS) {
            let first = interfaces.get(before).map(|first| first.ifname.clone());
            interfaces.extend(index.selected(workload, annotation, first, findings));
        }
        lost_annotations(workload, &interfaces[before..], findings);
    }
    interfaces
}

/// The networks by their names. There may be as many as pods.
struct Index<'a> {
    /// The network of each definition with a valid configuration, by namespace and name.
    networks: HashMap<(&'a str, &'a str), usize>,
    /// The definitions by namespace and name.
    definitions: HashMap<(&'a str, &'a str), &'a Definition>,
    /// A definition of each name, in any namespace.
    by_name: HashMap<&'a str, &'a Definition>,
    /// The network of a node's folder that configures the first interfaces.
    of_folder: Option<usize>,
    elsewhere: &'a Elsewhere,
    sources: &'a [Source],
}

impl<'a> Index<'a> {
    fn new(
        networks: &'a [PlannedNetwork<'a>],
        definitions: &'a [Definition],
        elsewhere: &'a Elsewhere,
        sources: &'a [Source],
    ) -> Self {
        let key = |definition: &'a Definition| Some((definition.namespace.as_deref()?, definition.name.as_str()));
        let networks_by_key = networks.iter().enumerate();
        let mut index = Self {
            networks: networks_by_key.filter_map(|(i, network)| Some((key(network.definition)?, i))).collect(),
            definitions: HashMap::new(),
            by_name: HashMap::new(),
            of_folder: of_folder(networks, sources),
            elsewhere,
            sources,
        };
        for definition in definitions {
            let Some((namespace, name)) = key(definition) else { continue };
            index.definitions.entry((namespace, name)).or_insert(definition);
            index.by_name.entry(name).or_insert(definition);
        }
        index
    }

    /// The interface that every pod has.
    fn first<'w>(&self, workload: &'w Workload, findings: &mut Vec<Finding>) -> Option<PlannedInterface<'w>> {
        let ifname = IfName::new(FIRST_INTERFACE).ok()?;
        let of = |network, place| PlannedInterface {
            workload,
            ifname: ifname.clone(),
            network,
            place,
            ips: Vec::new(),
            claim: ClaimRef::default(),
        };
        if let Some(annotation) = workload.template.annotation(DEFAULT_NETWORK) {
            let element = selected(annotation.value.trim())?.into_iter().next()?;
            let network = self.find(workload, element.namespace(), element.name()?, &annotation.place, findings);
            return Some(of(network, annotation.place.clone()));
        }
        let network = self.of_folder.map_or(NetworkRef::OnNodes, NetworkRef::Planned);
        Some(of(network, workload.place.clone()))
    }

    /// The interfaces that a pod selects, besides its first.
    fn selected<'w>(
        &self,
        workload: &'w Workload,
        annotation: &Annotation,
        first: Option<IfName>,
        findings: &mut Vec<Finding>,
    ) -> Vec<PlannedInterface<'w>> {
        let mut interfaces = Vec::new();
        if annotation.value.trim().is_empty() {
            return interfaces;
        }
        let mut names: BTreeSet<String> = first.iter().map(ToString::to_string).collect();
        let Some(elements) = selected(annotation.value.trim()) else {
            let message =
                format!("{NETWORKS} is neither a list of names nor a JSON list of network selection elements");
            let finding = Finding::error(code::SELECTION, annotation.place.clone(), message);
            findings.push(finding.help("write names with commas between them, such as `db-net, web-net@net7`"));
            return interfaces;
        };
        for element in elements {
            let name = element.name().unwrap_or_default();
            // KubeVirt writes the elements for the networks of a machine, each of which has its own position.
            let of_machine = workload.template.machine_networks.iter();
            let of_machine = of_machine.filter(|network| Some(network.ifname.as_str()) == element.interface());
            let place = of_machine.map(|network| network.place.clone()).next();
            let place = place.unwrap_or_else(|| annotation.place.of_text(self.sources, name));
            let ifname = match IfName::new(element.interface().unwrap_or_default()) {
                Ok(ifname) => ifname,
                Err(error) => {
                    findings.push(Finding::error(code::SELECTION, place, chain(&error).to_string()));
                    continue;
                }
            };
            if !names.insert(ifname.to_string()) {
                let message = format!("{} has two interfaces {ifname}", workload.label());
                let finding = Finding::error(code::SAME_INTERFACE, place, message);
                findings.push(finding.help("give one of them another name, or none: Multus then counts net1, net2, …"));
                continue;
            }
            let network = self.find(workload, element.namespace(), name, &place, findings);
            let ips = element.ips().map(str::to_owned).collect();
            interfaces.push(PlannedInterface { workload, ifname, network, place, ips, claim: ClaimRef::default() });
        }
        interfaces
    }

    /// Finds the network by the name of its definition. Reports a missing one.
    fn find(
        &self,
        workload: &Workload,
        namespace: Option<&str>,
        name: &str,
        place: &Place,
        findings: &mut Vec<Finding>,
    ) -> NetworkRef {
        let namespace = namespace.unwrap_or(&workload.namespace);
        if let Some(i) = self.networks.get(&(namespace, name)) {
            return NetworkRef::Planned(*i);
        }
        if let Some(definition) = self.definitions.get(&(namespace, name)) {
            // Its configuration is invalid, which was already reported; or it has none, and Multus reads that of the
            // node.
            return if definition.plugin.is_some() { NetworkRef::Unknown } else { NetworkRef::OnNodes };
        }
        let object = named(namespace, name);
        let Some(error) = self.elsewhere.error(&object) else { return NetworkRef::Unknown };
        let message = format!("there is no {object} among these files{}", error.looked_for());
        findings.push(match self.by_name.get(name) {
            Some(other) => {
                let other_namespace = other.namespace.as_deref().unwrap_or_default();
                Finding::error(code::OTHER_NAMESPACE, place.clone(), message)
                    .labelled(format!("looked for in namespace {namespace}"))
                    .related(other.place.clone(), format!("{} is this one", label(other)))
                    .help(format!("write {other_namespace}/{name}, or define the network in {namespace}"))
            }
            None => Finding::error(code::NO_SUCH_NETWORK, place.clone(), message).help(
                error.help().unwrap_or("correct the name, or give the file of the definition to the plan as well"),
            ),
        });
        NetworkRef::Unknown
    }
}

/// The network in a node's folder that configures the first interfaces: a runtime uses the first file of its folder, and
/// Multus the first one after its own.
fn of_folder(networks: &[PlannedNetwork<'_>], sources: &[Source]) -> Option<usize> {
    let is_multus = |network: &PlannedNetwork<'_>| {
        network.plugin.config.get("type").and_then(crate::manifest::Node::text) == Some(MULTUS)
    };
    let file = |network: &PlannedNetwork<'_>| sources.get(network.plugin.source).map(|source| &source.name);
    let of_folder = networks.iter().enumerate().filter(|(_, network)| network.definition.namespace.is_none());
    of_folder.filter(|(_, network)| !is_multus(network)).min_by_key(|(_, network)| file(network)).map(|(i, _)| i)
}

/// Reports annotations for interfaces that the pods don't have. They would have no effect.
fn lost_annotations(workload: &Workload, interfaces: &[PlannedInterface<'_>], findings: &mut Vec<Finding>) {
    let names: BTreeSet<&str> = interfaces.iter().map(|interface| interface.ifname.as_str()).collect();
    for Annotation { key, key_place, .. } in &workload.template.annotations {
        let Some((Some(ifname), _)) = parse_key(key) else { continue };
        if names.contains(ifname) {
            continue;
        }
        let has = names.iter().copied().collect::<Vec<_>>().join(", ");
        let message = format!("annotation {key} is for an interface that this pod does not have");
        findings.push(
            Finding::error(code::NO_SUCH_INTERFACE, key_place.clone(), message)
                .labelled(format!("the pod's interfaces are {has}"))
                .help(if workload.template.machine_networks.is_empty() {
                    format!("name one of them, or select a network for {ifname} in {NETWORKS}")
                } else {
                    MACHINE_INTERFACES.to_owned()
                }),
        );
    }
}
