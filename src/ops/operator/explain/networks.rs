//! Finds the networks: the one whose configuration is named, those of the cluster's NetworkAttachmentDefinitions, those in
//! the node's CNI folder, and those that ADDs have stored.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::ExplainOptions;
use super::api::Api;
use crate::cluster::NetworkDefinition;
use crate::config::{self, CallSettings, ConfigErrors, LoadedConfig, Network, Purpose};
use crate::error::Error;
use crate::explain::{NetworkView, RangeView, Source};
use crate::ipam::keys;
use crate::ipam::lease::{Definition, Stored};
use crate::ipam::name::Name;
use crate::ipam::range::RangeSet;
use crate::ops::Session;
use crate::ops::operator::STORE_TIMEOUT;

/// The `type` of an ipam block that is ours.
const TYPE: &str = "kube-ipam";

/// The extensions of configurations that a runtime reads (libcni, `ConfFiles`).
const EXTENSIONS: [&str; 3] = ["conf", "conflist", "json"];

/// A network whose configuration was found, with the settings of its calls.
pub(super) struct ConfiguredNetwork {
    /// Namespace and name of its NetworkAttachmentDefinition, if it has one.
    pub(super) object: Option<(String, String)>,
    pub(super) settings: CallSettings,
    pub(super) network: Network,
}

/// A configuration, and where it was found.
struct Document {
    source: Source,
    object: Option<(String, String)>,
    content: Map<String, Value>,
}

impl Document {
    fn from_file(file: &Path, content: Map<String, Value>) -> Self {
        Self { source: Source::Config(file.display().to_string()), object: None, content }
    }

    /// The configuration of a definition. What is not JSON is no network.
    fn from_definition(NetworkDefinition { namespace, name, config }: NetworkDefinition) -> Option<Self> {
        let content = serde_json::from_str(&config?).ok()?;
        let source = Source::Config(format!("NetworkAttachmentDefinition {namespace}/{name}"));
        Some(Self { source, object: Some((namespace, name)), content })
    }
}

/// All networks that are found, and those of them whose configuration was found.
///
/// A definition in the store counts only for a network whose configuration was not found, because it says less and may
/// be an earlier one.
pub(super) fn find(
    session: &Session,
    api: &mut Api<'_>,
    env: &dyn Fn(&str) -> Option<String>,
    options: &ExplainOptions,
) -> Result<(Vec<NetworkView>, Vec<ConfiguredNetwork>), Error> {
    let named = options.config.as_ref().map(|(file, content)| Document::from_file(file, content.clone()));
    let named = named.map(|document| from_config(document, env)).transpose().map_err(Error::Config)?.flatten();
    let (mut networks, mut configured): (Vec<NetworkView>, Vec<ConfiguredNetwork>) = named.into_iter().unzip();
    let of_cluster = api.definitions().unwrap_or_default().into_iter().filter_map(Document::from_definition);
    for document in of_cluster.chain(in_folder(&options.cni_folder)) {
        if let Ok(Some((view, network))) = from_config(document, env)
            && networks.iter().all(|known| known.name != view.name)
        {
            networks.push(view);
            configured.push(network);
        }
    }
    let found: BTreeSet<(Name, Name)> =
        networks.iter().map(|network| (network.vrf.clone(), network.name.clone())).collect();
    session.each(&keys::all_definitions(), STORE_TIMEOUT, |entry| {
        let named = keys::read_definition(&entry.key);
        let definition = Stored::<Definition>::read(&entry.value).known();
        if let Some((key @ (vrf, name), definition)) = named.as_ref().zip(definition)
            && !found.contains(key)
        {
            let network = NetworkView::from_store(vrf.clone(), name.clone(), &definition);
            networks.push(NetworkView { host_local: config::host_local_folders(name), ..network });
        }
        Ok::<_, Error>(())
    })?;
    Ok((networks, configured))
}

/// The configurations in a folder, in the order of their names. What can't be read is not a network.
fn in_folder(folder: &Path) -> Vec<Document> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_config = |path: &PathBuf| {
        path.extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| EXTENSIONS.contains(&extension))
    };
    let mut files: Vec<PathBuf> = entries.filter(is_config).collect();
    files.sort();
    let read = |path: PathBuf| Some(Document::from_file(&path, config::read_document(&path).ok()?));
    files.into_iter().filter_map(read).collect()
}

/// The network of a configuration or a list; `None` if kube-ipam does not serve it. Without a name of its own, it has
/// that of its definition, as Multus does it.
fn from_config(
    Document { source, object, content }: Document,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<(NetworkView, ConfiguredNetwork)>, ConfigErrors> {
    let own = content.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
    let named = own.or(object.as_ref().map(|(_, name)| name.as_str())).and_then(|name| Name::new(name).ok());
    let Some((name, plugin)) = named.zip(our_plugin(&content)) else { return Ok(None) };
    let LoadedConfig { settings, network, .. } = config::load(plugin, &name, &env, Purpose { add: true, pod: false });
    let network = network?;
    let ranges = network.sets.iter().flat_map(RangeSet::ranges).chain(&network.other_nodes);
    let view = NetworkView {
        name,
        vrf: settings.vrf.clone(),
        source,
        namespaces: network.namespaces.clone(),
        ranges: ranges.cloned().map(RangeView::Configured).collect(),
        host_local: settings.host_local.clone(),
    };
    Ok(Some((view, ConfiguredNetwork { object, settings, network })))
}

/// The plugin whose addresses kube-ipam assigns: the configuration itself, or one of its list.
fn our_plugin(document: &Map<String, Value>) -> Option<&Map<String, Value>> {
    let plugins = document.get("plugins").and_then(Value::as_array);
    let is_ours = |plugin: &&Map<String, Value>| {
        plugin.get("ipam").and_then(|ipam| ipam.get("type")).and_then(Value::as_str) == Some(TYPE)
    };
    match plugins {
        Some(plugins) => plugins.iter().filter_map(Value::as_object).find(is_ours),
        None => Some(document).filter(is_ours),
    }
}
