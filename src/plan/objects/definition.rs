//! Definitions of networks: NetworkAttachmentDefinitions, and CNI configurations from a node's folder.

use super::Document;
use crate::manifest::{Node, Value, embedded};
use crate::plan::code;
use crate::plan::finding::Finding;
use crate::plan::source::Place;

/// The definition of a network.
#[derive(Debug)]
pub(crate) struct Definition {
    /// The namespace of a NetworkAttachmentDefinition; `None` for a file from a node's folder.
    pub namespace: Option<String>,
    /// The name of the object, or of the network in the file.
    pub name: String,
    /// The position of the name.
    pub place: Place,
    /// `None` if it has no configuration, so that Multus reads a file on the node.
    pub plugin: Option<Plugin>,
}

/// The configuration of the main plugin.
#[derive(Debug)]
pub(crate) struct Plugin {
    /// The network's name: the one in the configuration, else that of the object (Multus, section "name").
    pub network: String,
    /// The configuration. In a list of plugins, that of the first with an ipam block, else of the first plugin.
    pub config: Node,
    /// The index of the source.
    pub source: usize,
    /// Whether its ipam plugin is kube-ipam.
    pub is_ours: bool,
}

/// The type of kube-ipam in an ipam block.
const TYPE: &str = "kube-ipam";

impl Definition {
    /// Its name with its namespace, if it has one.
    pub(crate) fn full_name(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        }
    }

    /// Reads a NetworkAttachmentDefinition (NPWG multi-network specification 1.3, section 3).
    pub(super) fn of_object(
        document: Document<'_>,
        file: &str,
        namespace: &str,
        findings: &mut Vec<Finding>,
    ) -> Option<Self> {
        let (name, place) = document.name()?;
        let namespace = Some(document.namespace(namespace));
        let definition = |plugin| Self { namespace, name: name.to_owned(), place, plugin };
        let Some(config) = document.node.at(&["spec", "config"]) else { return Some(definition(None)) };
        let Value::Scalar(scalar) = &config.value else {
            let message = format!("the configuration of {name} is an object, and has to be a text with JSON in it");
            let finding = Finding::error(code::CONFIG_NOT_TEXT, document.place(config), message);
            findings.push(finding.help("write `config: |` and the JSON below it, indented"));
            return None;
        };
        if scalar.text.trim().is_empty() {
            return Some(definition(None));
        }
        match embedded(file, &config.span, scalar) {
            Ok(config) => Some(definition(Plugin::of(&config, name, document.source))),
            Err(error) => {
                let message = format!("the configuration of {name} is not JSON");
                let place = Place::new(document.source, &error.span);
                findings.push(Finding::error(code::CONFIG_NOT_JSON, place, message).labelled(error.message));
                None
            }
        }
    }

    /// Reads a CNI configuration or list, as a runtime reads it from its folder (CNI spec 1.1, section 1).
    pub(super) fn of_conf(document: Document<'_>) -> Option<Self> {
        let node = document.node;
        // Files of other programs have a `type` and `plugins` as well.
        let has_type = |node: &Node| node.get("type").and_then(Node::text).is_some();
        let is_list = node.get("plugins").is_some_and(|plugins| plugins.elements().first().is_some_and(has_type));
        let is_conf = has_type(node) && (node.get("cniVersion").is_some() || node.get("ipam").is_some());
        if !is_list && !is_conf {
            return None;
        }
        let name = node.get("name");
        let network = name.and_then(Node::text).unwrap_or_default();
        Some(Self {
            namespace: None,
            name: network.to_owned(),
            place: document.place(name.unwrap_or(node)),
            plugin: Plugin::of(node, network, document.source),
        })
    }
}

impl Plugin {
    fn of(config: &Node, object: &str, source: usize) -> Option<Self> {
        let name = config.get("name").and_then(Node::text).filter(|name| !name.is_empty());
        let plugins = config.get("plugins").map_or(std::slice::from_ref(config), Node::elements);
        let plugin = plugins.iter().find(|plugin| plugin.get("ipam").is_some()).or(plugins.first())?;
        let ipam = plugin.at(&["ipam", "type"]).and_then(Node::text);
        Some(Self {
            network: name.unwrap_or(object).to_owned(),
            is_ours: ipam == Some(TYPE),
            config: plugin.clone(),
            source,
        })
    }
}
