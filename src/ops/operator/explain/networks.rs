//! Finds the networks: the one whose configuration is named, those of the cluster's NetworkAttachmentDefinitions, those in
//! the node's CNI folder, and those that ADDs have stored.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::api::Api;
use crate::cause::chain;
use crate::cluster::NetworkDefinition;
use crate::config::{self, CallSettings, ConfigErrors, LoadedConfig, Network, Purpose};
use crate::error::Error;
use crate::explain::{Fact, NetworkView, RangeView, Source, Topic};
use crate::ipam::keys;
use crate::ipam::lease::{Definition, Stored};
use crate::ipam::name::Name;
use crate::ipam::range::RangeSet;
use crate::ops::Session;
use crate::ops::operator::STORE_TIMEOUT;
use crate::ops::operator::cni_folder::{self, is_ours};

/// Namespace and name of a NetworkAttachmentDefinition.
pub(super) type DefinitionName = (String, String);

/// The networks that are found, and why others are not.
#[derive(Default)]
pub(in crate::ops::operator) struct Networks {
    /// All of them, with the rules of their addresses.
    pub(in crate::ops::operator) views: Vec<NetworkView>,
    /// Those whose configuration was found.
    configured: Vec<ConfiguredNetwork>,
    /// The definitions without a configuration. Multus looks for a file with their name on the node.
    in_files: Vec<DefinitionName>,
    /// The definitions whose configuration can't be used, and why.
    unusable: Vec<(DefinitionName, String)>,
    /// Why the cluster's definitions are not known, if there is a kubeconfig to read them with.
    unlisted: Option<String>,
}

/// A network whose configuration was found, with the settings of its calls.
#[derive(Clone)]
pub(in crate::ops::operator) struct ConfiguredNetwork {
    /// The NetworkAttachmentDefinitions that select it.
    objects: Vec<DefinitionName>,
    /// Whether its configuration is the one in `--config`.
    is_given: bool,
    pub(super) settings: CallSettings,
    pub(super) network: Network,
}

/// A configuration, and where it was found.
struct Document {
    source: Source,
    object: Option<DefinitionName>,
    content: Map<String, Value>,
}

impl Document {
    fn from_file(file: &Path, content: Map<String, Value>) -> Self {
        Self { source: Source::Config(file.display().to_string()), object: None, content }
    }

    fn from_definition(object: DefinitionName, content: Map<String, Value>) -> Self {
        let source = Source::Config(format!("NetworkAttachmentDefinition {}/{}", object.0, object.1));
        Self { source, object: Some(object), content }
    }

    /// Its name. Without one of its own, it has that of its definition, as in Multus.
    fn name(&self) -> Option<Name> {
        let own = self.content.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
        own.or(self.object.as_ref().map(|(_, name)| name.as_str())).and_then(|name| Name::new(name).ok())
    }
}

/// Finds all networks.
///
/// Definitions of several namespaces may have one name. The file in `--config` wins over all of its name, and a
/// definition over the node's CNI folder. One in the store counts only for a network whose configuration was not found,
/// because it says less and may be an earlier one.
pub(in crate::ops::operator) fn find(
    session: &Session,
    api: &mut Api<'_>,
    env: &dyn Fn(&str) -> Option<String>,
    config: Option<&(PathBuf, Map<String, Value>)>,
    cni_folder: &Path,
) -> Result<Networks, Error> {
    let mut networks = Networks::default();
    let given = config.map(|(file, content)| Document::from_file(file, content.clone()));
    if let Some((view, network)) =
        given.map(|given| from_config(given, env)).transpose().map_err(Error::Config)?.flatten()
    {
        networks.add(view, ConfiguredNetwork { is_given: true, ..network });
    }
    match api.definitions() {
        Ok(definitions) => definitions.into_iter().for_each(|definition| networks.add_definition(definition, env)),
        Err(why) => networks.unlisted = api.is_configured().then_some(why),
    }
    for document in in_folder(cni_folder) {
        if let Ok(Some((view, network))) = from_config(document, env)
            && !networks.has_name(&view.name)
        {
            let is_named = |(_, name): &&DefinitionName| name == view.name.as_str();
            let objects = networks.in_files.iter().filter(is_named).cloned().collect();
            networks.add(view, ConfiguredNetwork { objects, ..network });
        }
    }
    networks.add_stored(session)?;
    Ok(networks)
}

impl Networks {
    fn has_name(&self, name: &Name) -> bool {
        self.views.iter().any(|known| known.name == *name)
    }

    /// Adds a network. Copies of one network in several namespaces have the same rules, which are shown once.
    fn add(&mut self, view: NetworkView, network: ConfiguredNetwork) {
        let is_copy = |known: &NetworkView| NetworkView { source: view.source.clone(), ..known.clone() } == view;
        if !self.views.iter().any(is_copy) {
            self.views.push(view);
        }
        self.configured.push(network);
    }

    fn add_definition(&mut self, definition: NetworkDefinition, env: &dyn Fn(&str) -> Option<String>) {
        let NetworkDefinition { namespace, name, config } = definition;
        let object = (namespace, name);
        let Some(config) = config.filter(|config| !config.trim().is_empty()) else {
            return self.in_files.push(object);
        };
        let document = match serde_json::from_str(&config) {
            Ok(content) => Document::from_definition(object.clone(), content),
            Err(error) => return self.unusable.push((object, error.to_string())),
        };
        let name = document.name();
        if let Some(given) = self.configured.iter_mut().find(|known| known.is_given)
            && name.as_ref() == Some(&given.network.name)
        {
            return given.objects.push(object);
        }
        match from_config(document, env) {
            Ok(Some((view, network))) => self.add(view, network),
            Ok(None) => {}
            Err(errors) => self.unusable.push((object, chain(&errors).to_string())),
        }
    }

    fn add_stored(&mut self, session: &Session) -> Result<(), Error> {
        let found: BTreeSet<(Name, Name)> =
            self.views.iter().map(|network| (network.vrf.clone(), network.name.clone())).collect();
        session.each(&keys::all_definitions(), STORE_TIMEOUT, |entry| {
            let named = keys::read_definition(&entry.key);
            let definition = Stored::<Definition>::read(&entry.value).known();
            if let Some((key @ (vrf, name), definition)) = named.as_ref().zip(definition)
                && !found.contains(key)
            {
                let network = NetworkView::from_store(vrf.clone(), name.clone(), &definition);
                self.views.push(NetworkView { host_local: config::host_local_folders(name), ..network });
            }
            Ok::<_, Error>(())
        })
    }

    /// The network of this name, of whose definitions the pod selects one. `namespace` is the pod's: a definition there
    /// is likelier than one elsewhere, if the pod is not known any more.
    pub(super) fn named(
        &self,
        name: &Name,
        selected: Option<&DefinitionName>,
        namespace: Option<&str>,
    ) -> Result<&ConfiguredNetwork, String> {
        let of_name = || self.configured.iter().filter(|found| found.network.name == *name);
        let selects = |found: &&ConfiguredNetwork| selected.is_some_and(|selected| found.objects.contains(selected));
        let is_near = |found: &&ConfiguredNetwork| found.objects.iter().any(|(of, _)| Some(of.as_str()) == namespace);
        let found = of_name().find(selects).or_else(|| of_name().find(is_near)).or_else(|| of_name().next());
        found.ok_or_else(|| self.not_found(&format!("network {name}"), selected))
    }

    /// The network of an interface of a pod: that of the selected definition, else the one in `--config`, else the only
    /// one that is known.
    pub(super) fn of_interface(
        &self,
        ifname: &str,
        selected: Option<&DefinitionName>,
    ) -> Result<&ConfiguredNetwork, String> {
        let all = self.configured.as_slice();
        let given = || all.first().filter(|found| found.is_given);
        let found = match selected {
            Some(object) if self.unusable.iter().any(|(unusable, _)| unusable == object) => None,
            Some(object) => all.iter().find(|found| found.objects.contains(object)).or_else(given),
            None => given().or_else(|| all.first().filter(|_| all.len() == 1)),
        };
        found.ok_or_else(|| self.not_found(&format!("the network of interface {ifname}"), selected))
    }

    fn not_found(&self, what: &str, selected: Option<&DefinitionName>) -> String {
        let unusable = self.unusable.iter().find(|(object, _)| Some(object) == selected);
        match (unusable, &self.unlisted) {
            (Some(((namespace, name), why)), _) => {
                format!("NetworkAttachmentDefinition {namespace}/{name} can't be used: {why}")
            }
            (None, Some(why)) => format!(
                "the configuration of {what} was not found, because the cluster's definitions are not known: {why}; \
                 name its file with --config"
            ),
            (None, None) => {
                format!("the configuration of {what} was not found; name its file with --config")
            }
        }
    }

    /// Why rules of an address may be missing: no configuration that has it was found, and those of the cluster are not
    /// known.
    pub(super) fn missing_rules(&self, vrf: &Name, ip: IpAddr) -> Option<Fact> {
        let why = self.unlisted.as_ref()?;
        let is_configured = |view: &NetworkView| view.source != Source::Store && view.vrf == *vrf && view.has(ip);
        let text = format!("the cluster's NetworkAttachmentDefinitions are not known: {why}");
        (!self.views.iter().any(is_configured)).then(|| Fact::new(Topic::Network, text, Source::ApiServer))
    }
}

/// The configurations in a folder, in the order of their names. What can't be read is not a network.
fn in_folder(folder: &Path) -> Vec<Document> {
    let read = |path: PathBuf| Some(Document::from_file(&path, config::read_document(&path).ok()?));
    cni_folder::files(folder).unwrap_or_default().into_iter().filter_map(read).collect()
}

/// The network of a configuration or a list; `None` if kube-ipam does not serve it.
fn from_config(
    document: Document,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<(NetworkView, ConfiguredNetwork)>, ConfigErrors> {
    let Some((name, plugin)) = document.name().zip(our_plugin(&document.content)) else { return Ok(None) };
    let LoadedConfig { settings, network, .. } = config::load(plugin, &name, &env, Purpose { add: true, pod: false });
    let network = network?;
    let ranges = network.sets.iter().flat_map(RangeSet::ranges).chain(&network.other_nodes);
    let view = NetworkView {
        name,
        vrf: settings.vrf.clone(),
        source: document.source,
        namespaces: network.namespaces.clone(),
        ranges: ranges.cloned().map(RangeView::Configured).collect(),
        host_local: settings.host_local.clone(),
    };
    let objects = document.object.into_iter().collect();
    Ok(Some((view, ConfiguredNetwork { objects, is_given: false, settings, network })))
}

/// The plugin whose addresses kube-ipam assigns: the configuration itself, or one of its list.
fn our_plugin(document: &Map<String, Value>) -> Option<&Map<String, Value>> {
    let plugins = document.get("plugins").and_then(Value::as_array);
    match plugins {
        Some(plugins) => plugins.iter().filter_map(Value::as_object).find(|plugin| is_ours(plugin)),
        None => Some(document).filter(|plugin| is_ours(plugin)),
    }
}
