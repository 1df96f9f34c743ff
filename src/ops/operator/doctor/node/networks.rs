//! The network configurations in the node's CNI folder, as the runtime reads them (CNI spec 1.1, section 1).

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::cause::chain;
use crate::config::{self, ConfigErrors, ConfigWarning, LoadedConfig, Network, Purpose};
use crate::explain::Tool;
use crate::ipam::name::Name;
use crate::ops::cluster::kubeconfig;
use crate::ops::operator::cni_folder::{self, TYPE, is_ours};
use crate::ops::operator::doctor::text::first_of;
use crate::ops::operator::doctor::{Context, Outcome, Remedy};
use crate::plan::Source;

/// How deep lists of plugins and of Multus's delegates are followed.
const MAX_DEPTH: usize = 4;

/// A network whose addresses kube-ipam gives.
pub(in crate::ops::operator::doctor) struct LocalNetwork {
    /// The file.
    pub(super) file: PathBuf,
    /// The network's name as written.
    pub(in crate::ops::operator::doctor) name: String,
    /// The main plugin.
    plugin: String,
    /// What kube-ipam reads from it.
    pub(in crate::ops::operator::doctor) loaded: Result<LoadedConfig, String>,
}

/// `network-configs`: what an ADD says about each configuration in the folder that uses kube-ipam.
pub(in crate::ops::operator::doctor) fn check(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let folder = context.options.config_folder.display().to_string();
    let files = match files(context) {
        Ok(files) => files,
        Err(error) => {
            let message = format!("{folder} can't be read: {error}");
            let remedy = Remedy::new("mount it, or name another one with --cni-dir");
            return report(Outcome::error(&folder, message, remedy));
        }
    };
    let mut networks = Vec::new();
    for file in files {
        match read(context, &file) {
            Ok(found) => networks.extend(found),
            Err(error) => report(unreadable(&file, &error)),
        }
    }
    if networks.is_empty() {
        let message =
            format!("no configuration in {folder} uses kube-ipam; NetworkAttachmentDefinitions are in the cluster");
        report(Outcome::skipped(&folder, message));
    }
    networks.iter().for_each(|network| judge(context, network, report));
}

/// The networks of the folder that can be read.
pub(in crate::ops::operator::doctor) fn local_networks(context: &Context<'_>) -> Vec<LocalNetwork> {
    let files = files(context).unwrap_or_default();
    files.iter().filter_map(|file| read(context, file).ok()).flatten().collect()
}

/// The network that the runtime uses for the first interface of each pod, if kube-ipam gives its addresses: that of the
/// first file.
pub(in crate::ops::operator::doctor) fn first_network(context: &Context<'_>) -> Option<LocalNetwork> {
    let first = files_of_folder(context).into_iter().next()?;
    read(context, &first).ok()?.into_iter().next()
}

/// The files of the folder as sources of a plan. Those that can't be read are left out.
pub(in crate::ops::operator::doctor) fn sources(context: &Context<'_>) -> Vec<Source> {
    let source = |file: PathBuf| {
        let text = String::from_utf8(config::read_bounded(&file).ok()?).ok()?;
        Some(Source { name: file.display().to_string(), text })
    };
    files_of_folder(context).into_iter().filter_map(source).collect()
}

/// The files of the folder alone.
fn files_of_folder(context: &Context<'_>) -> Vec<PathBuf> {
    cni_folder::files(&context.options.config_folder).unwrap_or_default()
}

/// Whether any network of this node reads its pods from the API server. If no network here can be read, those of the
/// cluster do, unless the node defaults say otherwise.
pub(super) fn read_pods(context: &Context<'_>) -> bool {
    let networks = local_networks(context);
    let readable: Vec<&Network> =
        networks.iter().filter_map(|network| network.loaded.as_ref().ok()?.network.as_ref().ok()).collect();
    if !readable.is_empty() {
        return readable.iter().any(|network| network.annotations);
    }
    let sample = Map::from_iter([("ipam".to_owned(), json!({ "type": TYPE, "subnet": "192.0.2.0/24" }))]);
    load(context, &sample, &Name::closest("sample")).network.is_ok_and(|network| network.annotations)
}

/// The files in the order in which the runtime reads them, and the one that the command line names.
fn files(context: &Context<'_>) -> io::Result<Vec<PathBuf>> {
    let mut files = cni_folder::files(&context.options.config_folder)?;
    files.extend(context.options.config.clone());
    Ok(files)
}

/// The networks of a file that use kube-ipam.
fn read(context: &Context<'_>, file: &Path) -> io::Result<Vec<LocalNetwork>> {
    let document = config::read_document(file)?;
    let mut plugins = Vec::new();
    collect(&document, &Map::new(), 0, &mut plugins);
    Ok(plugins.into_iter().map(|plugin| network(context, file, &plugin)).collect())
}

/// Collects the plugins with an ipam block of kube-ipam, in lists of plugins and in Multus's delegates. Each gets the
/// name and the version of its list, as the runtime passes them.
fn collect(
    document: &Map<String, Value>,
    list: &Map<String, Value>,
    depth: usize,
    plugins: &mut Vec<Map<String, Value>>,
) {
    if depth == MAX_DEPTH {
        return;
    }
    let mut plugin = document.clone();
    for key in ["name", "cniVersion"] {
        if let Some(value) = list.get(key) {
            plugin.insert(key.to_owned(), value.clone());
        }
    }
    if is_ours(&plugin) {
        plugins.push(plugin.clone());
    }
    // The delegates of a list have names of their own.
    for (key, list) in [("plugins", &plugin), ("delegates", &Map::new())] {
        let elements = document.get(key).and_then(Value::as_array).into_iter().flatten();
        for element in elements.filter_map(Value::as_object) {
            collect(element, list, depth + 1, plugins);
        }
    }
}

fn network(context: &Context<'_>, file: &Path, plugin: &Map<String, Value>) -> LocalNetwork {
    let text = |key: &str| plugin.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let name = text("name");
    let loaded = Name::new(name.as_str()).map(|name| load(context, plugin, &name)).map_err(|error| error.to_string());
    LocalNetwork { file: file.to_owned(), name, plugin: text("type"), loaded }
}

/// What an ADD would read: that of a pod if this machine is part of a cluster.
fn load(context: &Context<'_>, config: &Map<String, Value>, name: &Name) -> LoadedConfig {
    let settings = context.node.settings;
    let pod = settings.cluster.is_some() || kubeconfig(settings).is_some();
    config::load(config, name, &|variable| std::env::var(variable).ok(), Purpose { add: true, pod })
}

fn unreadable(file: &Path, error: &io::Error) -> Outcome {
    let object = file.display().to_string();
    let message = format!("{object} can't be read, so the runtime may use another network or none: {error}");
    Outcome::error(
        &object,
        message,
        Remedy::new("correct the file, or remove it").command(Tool::Jq.run(&[".", &object])),
    )
}

fn judge(context: &Context<'_>, network: &LocalNetwork, report: &mut dyn FnMut(Outcome)) {
    let LocalNetwork { file, name, plugin, loaded } = network;
    let object = file.display().to_string();
    let what = format!("network {name:?} in {object}");
    if !context.options.program_folder.join(plugin).is_file() {
        let folder = context.options.program_folder.display();
        let message = format!("the runtime finds no plugin {plugin:?} in {folder} for {what}");
        report(Outcome::error(&object, message, Remedy::new("install the CNI plugins there, or correct `type`")));
    }
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            let message = format!("an ADD to {what} fails: its name can't be used: {error}");
            return report(Outcome::error(&object, message, Remedy::new("correct `name` in the file")));
        }
    };
    let of_block = |key: &str| !key.starts_with(&*context.options.defaults.to_string_lossy());
    loaded
        .warnings
        .iter()
        .filter(|warning| of_block(warning.key()) && !context.is_of_transport(warning))
        .for_each(|warning| report(of_warning(&what, file, warning)));
    match &loaded.network {
        Err(mistakes) => {
            // The check of the node defaults has reported theirs.
            let own: Vec<_> = mistakes.0.iter().filter(|mistake| of_block(&mistake.key)).cloned().collect();
            if !own.is_empty() {
                let message = format!("an ADD to {what} fails: {}", ConfigErrors(own));
                report(Outcome::error(&object, message, correct(context, file)));
            } else {
                report(Outcome::skipped(
                    &object,
                    format!("{what} has no mistake of its own, but the node defaults have"),
                ));
            }
        }
        Ok(served) => report(of_served(&what, &object, served)),
    }
}

fn of_warning(what: &str, file: &Path, warning: &ConfigWarning) -> Outcome {
    let object = file.display().to_string();
    let message = format!("{what}: {}", chain(warning));
    match warning.is_mistake() {
        true => Outcome::error(object, message, Remedy::new("correct or remove the key")),
        false => Outcome::warning(object, message, Remedy::new("change the key, unless it is meant like this")),
    }
}

/// `plan` marks each mistake in the file.
fn correct(context: &Context<'_>, file: &Path) -> Remedy {
    let text = |path: &Path| path.display().to_string();
    let defaults = Some(&context.options.defaults).filter(|defaults| defaults.exists()).map(|defaults| text(defaults));
    Remedy::new("correct the key that the text names; plan marks it in the file")
        .command(context.options.commands.plan(&text(file), defaults.as_deref()))
}

fn of_served(what: &str, object: &str, network: &Network) -> Outcome {
    if !network.unplaced.is_empty() {
        let message = format!("an ADD to {what} is refused: a set has no range for node {}", network.node.name);
        let remedy =
            Remedy::new("add a range for this node, or correct its labels (`nodeLabels` in the node defaults)");
        return Outcome::error(object, message, remedy);
    }
    let ranges = network.sets.iter().flat_map(|set| set.ranges()).map(|range| range.subnet.to_string());
    let ranges = first_of(&ranges.collect::<Vec<_>>());
    Outcome::ok(object, format!("an ADD to {what} is served from {ranges}"))
}
