//! The networks of a plan: reads each definition as a node would.

use std::collections::BTreeMap;

use serde_json::Value;

use super::code;
use super::finding::{Finding, Severity};
use super::key_path;
use super::objects::{Defaults, Definition, Plugin};
use super::source::Place;
use crate::cause::chain;
use crate::config::{self, ConfigError, ConfigWarning, LoadedConfig, Network, Problem};
use crate::ipam::label::Labels;
use crate::ipam::name::Name;
use crate::ipam::node_selector::{LocalNode, NodeSelector};
use crate::ipam::range::RangeSet;

/// A network, as the nodes read it.
#[derive(Debug)]
pub(super) struct PlannedNetwork<'a> {
    pub(super) definition: &'a Definition,
    pub(super) plugin: &'a Plugin,
    pub(super) name: Name,
    /// The routing domain of its addresses.
    pub(super) vrf: Name,
    /// One view for all nodes, or one for each kind of node if some ranges are only for some nodes. Empty if another
    /// plugin assigns its addresses, or if its configuration is invalid.
    pub(super) views: Vec<View>,
    /// The views of nodes for which some range set has no range, so that each pod is refused there.
    refusing: Vec<View>,
}

/// A network as a node sees it.
#[derive(Debug)]
pub(super) struct View {
    pub(super) node: LocalNode,
    pub(super) network: Network,
}

impl PlannedNetwork<'_> {
    /// The distinct range sets of all views.
    pub(super) fn sets(&self) -> Vec<&RangeSet> {
        let mut sets: Vec<&RangeSet> = Vec::new();
        for set in self.views.iter().flat_map(|view| &view.network.sets) {
            if !sets.contains(&set) {
                sets.push(set);
            }
        }
        sets
    }

    /// The views of these nodes, sorted by name, on which a pod may run: all views if no name is known.
    pub(super) fn views_for<'v>(&'v self, names: &[String]) -> Vec<&'v View> {
        let is_named = |view: &&View| names.binary_search_by(|name| name.as_str().cmp(view.node.name.as_str())).is_ok();
        let named: Vec<&View> = self.views.iter().filter(is_named).collect();
        if !named.is_empty() {
            return named;
        }
        let refusing: Vec<&View> = self.refusing.iter().filter(is_named).collect();
        if refusing.is_empty() { self.views.iter().collect() } else { refusing }
    }
}

/// Reads the networks of all definitions and reports the mistakes in them. `nodes` are the known nodes of the cluster.
pub(super) fn read<'a>(
    definitions: &'a [Definition],
    defaults: Option<&Defaults>,
    nodes: &[LocalNode],
    findings: &mut Vec<Finding>,
) -> Vec<PlannedNetwork<'a>> {
    let mut networks = Vec::new();
    let mut known: BTreeMap<(Option<&str>, &str), &Definition> = BTreeMap::new();
    for definition in definitions {
        if let Some(other) = known.insert((definition.namespace.as_deref(), &definition.name), definition) {
            let message = format!("{} is defined twice", label(definition));
            findings.push(
                Finding::error(code::DEFINED_TWICE, definition.place.clone(), message)
                    .labelled("the last one applied counts")
                    .related(other.place.clone(), "defined here first")
                    .help("keep one of them, or give one another name or namespace"),
            );
        }
        let Some(plugin) = &definition.plugin else { continue };
        networks.extend(Reader { definition, plugin, defaults, findings }.read(nodes));
    }
    networks
}

/// A definition as text for findings.
pub(super) fn label(definition: &Definition) -> String {
    format!("network {}", definition.full_name())
}

struct Reader<'a, 'f> {
    definition: &'a Definition,
    plugin: &'a Plugin,
    defaults: Option<&'f Defaults>,
    findings: &'f mut Vec<Finding>,
}

impl<'a> Reader<'a, '_> {
    fn read(mut self, nodes: &[LocalNode]) -> Option<PlannedNetwork<'a>> {
        let (definition, plugin) = (self.definition, self.plugin);
        let name = self.name()?;
        let mut network =
            PlannedNetwork { definition, plugin, vrf: name.clone(), name, views: Vec::new(), refusing: Vec::new() };
        if !plugin.is_ours {
            return Some(network);
        }
        let Value::Object(object) = plugin.config.to_json() else { return None };
        let any = LocalNode { name: Name::closest("any"), labels: Some(Labels::default()) };
        let defaults = self.defaults.map(Defaults::as_pair);
        let LoadedConfig { settings, network: found, warnings } =
            config::load_elsewhere(&object, &network.name, defaults, &any);
        warnings.iter().for_each(|warning| self.warn(warning));
        network.vrf = settings.vrf;
        let found = match found {
            Ok(found) => found,
            Err(mistakes) => {
                mistakes.0.iter().for_each(|mistake| self.report(mistake));
                return Some(network);
            }
        };
        let kinds = kinds_of_nodes(&found);
        if kinds.is_empty() {
            network.views.push(View { node: any, network: found });
            return Some(network);
        }
        let mut views: Vec<View> = Vec::new();
        for node in if nodes.is_empty() { &kinds } else { nodes } {
            match config::load_elsewhere(&object, &network.name, defaults, node).network {
                Ok(found) => views.push(View { node: node.clone(), network: found }),
                // A block's `exclude` applies only to the ranges of the node itself, so a range may be empty on one
                // node alone.
                Err(mistakes) => mistakes.0.iter().for_each(|mistake| self.report(mistake)),
            }
        }
        // A node without a range in some set refuses every pod. That is a mistake only if all nodes do.
        if views.iter().any(|view| view.network.unplaced.is_empty()) {
            (views, network.refusing) = views.into_iter().partition(|view| view.network.unplaced.is_empty());
        }
        network.views = views;
        Some(network)
    }

    fn name(&mut self) -> Option<Name> {
        let Plugin { network, config, source, is_ours } = self.plugin;
        match Name::new(network.as_str()) {
            Ok(name) => Some(name),
            Err(error) if *is_ours => {
                let found = key_path::find(config, "name");
                let written = Place::new(*source, &found.mark());
                let place = if found.complete { written } else { self.definition.place.clone() };
                let message = format!("the name of this network: {}", chain(&error));
                self.findings.push(Finding::error(code::NETWORK_NAME, place, message));
                None
            }
            Err(_) => Some(Name::closest(network)),
        }
    }

    fn warn(&mut self, warning: &ConfigWarning) {
        // Warnings about the defaults are reported once rather than for each network.
        if self.defaults.is_some_and(|defaults| defaults.own_key(warning.key()).is_some()) {
            return;
        }
        let severity = if warning.is_mistake() { Severity::Error } else { Severity::Warning };
        let place = Place::new(self.plugin.source, &key_path::find(&self.plugin.config, warning.key()).key);
        self.findings.push(Finding::new(code::of_warning(warning), severity, place, chain(warning).to_string()));
    }

    fn report(&mut self, mistake: &ConfigError) {
        // Mistakes in the defaults are reported once rather than for each network.
        if self.defaults.is_some_and(|defaults| defaults.own_key(&mistake.key).is_some()) {
            return;
        }
        let found = key_path::find(&self.plugin.config, &mistake.key);
        // For an unknown key, the mistake is in the key and not in its value.
        let is_about_key =
            matches!(mistake.problem, Problem::NearMiss(_) | Problem::Foreign(_) | Problem::OnlyInDefaults(_));
        let span = if is_about_key { found.key.clone() } else { found.mark() };
        let place = Place::new(self.plugin.source, &span);
        self.findings.push(Finding::error(code::of_problem(&mistake.problem), place, chain(mistake).to_string()));
    }
}

/// A node of each kind that the selectors of a network's ranges distinguish. Empty if no range has a selector.
fn kinds_of_nodes(network: &Network) -> Vec<LocalNode> {
    let ranges = network.sets.iter().flat_map(RangeSet::ranges).chain(&network.other_nodes);
    let mut selectors: Vec<&NodeSelector> = Vec::new();
    for selector in ranges.map(|range| &range.nodes).filter(|selector| **selector != NodeSelector::default()) {
        if !selectors.contains(&selector) {
            selectors.push(selector);
        }
    }
    let node = |NodeSelector { names, labels }: &NodeSelector| LocalNode {
        // An arbitrary name that matches the glob.
        name: Name::closest(&names.first().map_or("any".to_owned(), |glob| glob.replace(['*', '?'], "0"))),
        labels: Some(labels.clone()),
    };
    selectors.into_iter().map(node).collect()
}
