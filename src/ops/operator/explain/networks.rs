//! Finds the networks: the one whose configuration is named, those in the node's CNI folder, and those that ADDs have
//! stored.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::ExplainOptions;
use crate::config::{self, ConfigErrors, LoadedConfig, Purpose};
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

/// All networks that are found. A definition in the store counts only for a network whose configuration was not found,
/// because it says less and may be an earlier one.
pub(super) fn find(
    session: &Session,
    env: &dyn Fn(&str) -> Option<String>,
    options: &ExplainOptions,
) -> Result<Vec<NetworkView>, Error> {
    let named = options.config.as_ref().map(|(file, document)| from_config(file, document, env));
    let mut networks: Vec<NetworkView> = named.transpose().map_err(Error::Config)?.flatten().into_iter().collect();
    for (file, document) in in_folder(&options.cni_folder) {
        if let Ok(Some(network)) = from_config(&file, &document, env)
            && networks.iter().all(|known| known.name != network.name)
        {
            networks.push(network);
        }
    }
    let configured: BTreeSet<(Name, Name)> =
        networks.iter().map(|network| (network.vrf.clone(), network.name.clone())).collect();
    session.each(&keys::all_definitions(), STORE_TIMEOUT, |entry| {
        let named = keys::read_definition(&entry.key);
        let definition = Stored::<Definition>::read(&entry.value).known();
        if let Some((key @ (vrf, name), definition)) = named.as_ref().zip(definition)
            && !configured.contains(key)
        {
            let network = NetworkView::from_store(vrf.clone(), name.clone(), &definition);
            networks.push(NetworkView { host_local: config::host_local_folders(name), ..network });
        }
        Ok::<_, Error>(())
    })?;
    Ok(networks)
}

/// The configurations in a folder, in the order of their names. What can't be read is not a network.
fn in_folder(folder: &Path) -> Vec<(PathBuf, Map<String, Value>)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_config = |path: &PathBuf| {
        path.extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| EXTENSIONS.contains(&extension))
    };
    let mut files: Vec<PathBuf> = entries.filter(is_config).collect();
    files.sort();
    let read = |path: PathBuf| Some((path.clone(), config::read_document(&path).ok()?));
    files.into_iter().filter_map(read).collect()
}

/// The network of a configuration or a list; `None` if kube-ipam does not serve it.
fn from_config(
    file: &Path,
    document: &Map<String, Value>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<NetworkView>, ConfigErrors> {
    let named = document.get("name").and_then(Value::as_str).and_then(|name| Name::new(name).ok());
    let Some((name, plugin)) = named.zip(our_plugin(document)) else { return Ok(None) };
    let LoadedConfig { settings, network, .. } = config::load(plugin, &name, &env, Purpose { add: true, pod: false });
    let network = network?;
    let ranges = network.sets.iter().flat_map(RangeSet::ranges).chain(&network.other_nodes);
    Ok(Some(NetworkView {
        name,
        vrf: settings.vrf,
        source: Source::Config(file.display().to_string()),
        namespaces: network.namespaces.clone(),
        ranges: ranges.cloned().map(RangeView::Configured).collect(),
        host_local: settings.host_local,
    }))
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
