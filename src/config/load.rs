//! Reads a config: the runtime's document and the node defaults, into [`CallSettings`] and [`Network`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use super::diagnostics::{ConfigErrors, ConfigWarning, Diagnostics};
use super::document::{Document, IpamBlock, LogBlock, NodeOnly, ProbeNew, Status};
use super::problem::Problem;
use super::read::{Field, List, ShortOrLong, unexpected};
use super::{CallSettings, Cooldown, Level, LogConfig, LogFormat, Network, Sticky, SweepConfig};
use super::{defaults, keys, locks, ranges, result, store};
use crate::cni::Dns;
use crate::ipam::name::Name;
use crate::ipam::node_selector::LocalNode;
use crate::ipam::takeover::Probe;

/// The path of the ipam block in a config.
const BLOCK: &str = "ipam";

/// The folder of the node's own records.
const STATE_DIR: &str = "/var/lib/kube-ipam/node";

/// host-local's default folder for its addresses.
const HOST_LOCAL_DIR: &str = "/var/lib/cni/networks";

/// The kubeconfig's file in the folder of the node defaults, and its path in the Go kube-ipam 0.2.0.
const KUBECONFIG: &str = "kubeconfig";
const GO_KUBECONFIG: &str = "/etc/kubernetes/pki/kubectl.kubeconfig";

/// The default log file.
const LOG_FILE: &str = "/var/log/kube-ipam.log";

/// The size at which the log rotates by default, and the smallest allowed, in bytes.
const ROTATE_BYTES: u64 = 10 << 20;
const MIN_ROTATE_BYTES: u64 = 64 << 10;

/// The default time limit of a call, and its bounds.
const TIMEOUT: Duration = Duration::from_secs(10);
const MIN_TIMEOUT: Duration = Duration::from_millis(100);
const MAX_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The default cooldown, and the longest allowed. A longer one could exceed the calendar.
const COOLDOWN: Duration = Duration::from_secs(30);
const MAX_COOLDOWN: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long an address must have been held before a sweep frees it. Longer than the ADD of any pod takes.
const MIN_AGE: Duration = Duration::from_secs(5 * 60);

/// The largest share of the held addresses that a sweep may free.
const MAX_SHARE: f64 = 0.2;

/// A config as read.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedConfig {
    /// What every verb needs. A key that can't be read has its default.
    pub settings: CallSettings,
    /// What an ADD allocates from, or all mistakes of the block and the node defaults, including those of the store.
    pub network: Result<Network, ConfigErrors>,
    /// What works, but perhaps not as intended.
    pub warnings: Vec<ConfigWarning>,
}

/// What a config is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// Whether it is an ADD. Only an ADD is refused because of keys without effect: locked ones and near misses.
    pub add: bool,
    /// Whether the call names a pod and its namespace. Such a call never falls back to a store of this node only.
    pub pod: bool,
}

/// Reads the runtime's config on top of the node defaults. The ipam block is the object `ipam` of the main plugin's
/// config.
///
/// It reads only KUBE_IPAM_CONFIG from the environment.
pub fn load(
    config: &Map<String, Value>,
    network: &Name,
    env: &impl Fn(&str) -> Option<String>,
    purpose: Purpose,
) -> LoadedConfig {
    let mut diagnostics = Diagnostics::default();
    let found = defaults::read(env, &mut diagnostics);
    resolve(config, network, found, purpose, Machine::This, diagnostics)
}

/// Reads a config as an ADD of a pod on another machine would, with that machine's node defaults (file and content).
/// Files that the config names are on that machine, and are not read. Without defaults, a missing store is no mistake.
/// `node` replaces the name and labels in the defaults.
pub fn load_elsewhere(
    config: &Map<String, Value>,
    network: &Name,
    defaults: Option<(&Path, &Map<String, Value>)>,
    node: &LocalNode,
) -> LoadedConfig {
    let mut diagnostics = Diagnostics::default();
    let found = match defaults {
        Some((file, object)) => defaults::DefaultsFile::from_object(file.to_owned(), object.clone(), &mut diagnostics),
        None => defaults::DefaultsFile::absent(&mut diagnostics),
    };
    let purpose = Purpose { add: true, pod: defaults.is_some() };
    resolve(config, network, found, purpose, Machine::Other(node), diagnostics)
}

/// The machine for which a config is read.
#[derive(Clone, Copy, Debug)]
enum Machine<'a> {
    /// This one.
    This,
    /// Another one, with this name and these labels.
    Other(&'a LocalNode),
}

/// Checks an object before it becomes the node defaults, for mistakes that would fail every ADD. `file` is the path in
/// mistakes.
pub fn check_defaults(file: &Path, object: &Map<String, Value>) -> Result<Vec<ConfigWarning>, ConfigErrors> {
    let (loaded, at) = load_alone(file, object);
    // Mistakes of the empty block don't count.
    let mistakes = loaded.network.err().map(|mistakes| mistakes.below(&at)).unwrap_or_default();
    if mistakes.is_empty() { Ok(loaded.warnings) } else { Err(ConfigErrors(mistakes)) }
}

/// What calls on this node get from these node defaults, if their network sets nothing itself. `file` is the path in
/// mistakes.
pub fn settings_of_defaults(file: &Path, object: &Map<String, Value>) -> CallSettings {
    load_alone(file, object).0.settings
}

/// Node defaults below a block that sets nothing, and where they are in mistakes.
fn load_alone(file: &Path, object: &Map<String, Value>) -> (LoadedConfig, String) {
    let mut diagnostics = Diagnostics::default();
    let found = defaults::DefaultsFile::from_object(file.to_owned(), object.clone(), &mut diagnostics);
    let at = found.defaults.block.at.clone();
    let empty_block = Map::from_iter([(BLOCK.to_owned(), Value::Object(Map::new()))]);
    let purpose = Purpose { add: true, pod: false };
    let loaded = resolve(&empty_block, &Name::closest("node-defaults"), found, purpose, Machine::This, diagnostics);
    (loaded, at)
}

fn resolve(
    config: &Map<String, Value>,
    network: &Name,
    found: defaults::DefaultsFile,
    purpose: Purpose,
    machine: Machine<'_>,
    mut diagnostics: Diagnostics,
) -> LoadedConfig {
    let block = block(config, &found, &mut diagnostics);
    let file = (found.file.as_path(), found.is_known());
    let of_defaults = kubeconfigs(None, &found);
    let store = store::choose(&block, &found.defaults.block, file, &of_defaults, purpose.pod, &mut diagnostics);
    let kubeconfigs = kubeconfigs(Some(&block), &found);
    let sweep = sweep(&found, &diagnostics);
    let merged = block.or(found.defaults.block);

    let NodeOnly { node_name, node_labels, former_node_names, cluster, former_clusters, state_dir, .. } =
        found.defaults.node;
    let node = node_name.get().cloned().unwrap_or_else(|| host_name(&mut diagnostics));
    let former = former_node_names.get().into_iter().flat_map(List::valid);
    let settings = CallSettings {
        former_nodes: former.filter(|name| **name != node).cloned().collect(),
        cluster: cluster.get().map(ToString::to_string),
        former_clusters: former_clusters.get().map(|former| former.0.clone()).unwrap_or_default(),
        state_dir: state_dir.get().cloned().unwrap_or_else(|| STATE_DIR.into()),
        vrf: merged.vrf.get().cloned().unwrap_or_else(|| Name::closest("default")),
        store,
        timeout: within(&merged.timeout, TIMEOUT, MIN_TIMEOUT, MAX_TIMEOUT, &mut diagnostics),
        log: log(&merged.log, &mut diagnostics),
        status_strict: matches!(merged.status.get(), Some(Status::Strict)),
        kubeconfigs,
        sweep,
        host_local: host_local(merged.data_dir.get().map(PathBuf::as_path), network),
        node,
    };
    let local = match machine {
        Machine::This => LocalNode { name: settings.node.clone(), labels: node_labels.get().cloned() },
        Machine::Other(node) => node.clone(),
    };
    let ranges::NodeRanges { sets, other_nodes, unplaced, pools } =
        ranges::sets(config, &merged, &local, &mut diagnostics);
    let network = Network {
        name: network.clone(),
        node: local,
        sets,
        other_nodes,
        unplaced,
        pools,
        routes: result::routes(&merged, &mut diagnostics),
        dns: match machine {
            Machine::This => result::dns(&merged, &mut diagnostics),
            Machine::Other(_) => Dns::default(),
        },
        cooldown: cooldown(&merged, &mut diagnostics),
        sticky: sticky(&merged),
        namespaces: ranges::globs(&merged.namespaces, &mut diagnostics),
        annotations: merged.annotations.get().copied().unwrap_or(true),
        probe: merged.takeover.get().copied().unwrap_or(Probe::Never),
        probe_new: matches!(merged.probe.get(), Some(ProbeNew::Always)),
    };
    let Diagnostics { mut mistakes, warnings } = diagnostics;
    if !purpose.add {
        mistakes.retain(|mistake| !mistake.problem.is_overlooked_key());
    }
    let network = if mistakes.is_empty() { Ok(network) } else { Err(ConfigErrors(mistakes)) };
    LoadedConfig { settings, network, warnings }
}

/// The ipam block, without the keys that it must not set.
fn block(config: &Map<String, Value>, found: &defaults::DefaultsFile, diagnostics: &mut Diagnostics) -> IpamBlock {
    let locks = locks::Locks::new(found, diagnostics);
    if let Some(sets) = ranges::of_runtime(config) {
        locks.check_runtime_ranges(sets, ranges::OF_RUNTIME, diagnostics);
    }
    let object = match keys::find(config, BLOCK) {
        Some(Value::Object(object)) => locks.permitted(object, BLOCK, diagnostics),
        None | Some(Value::Null) => {
            diagnostics.mistake(BLOCK, Problem::NoIpam);
            Map::new()
        }
        Some(other) => {
            diagnostics.mistake(BLOCK, unexpected("an object in braces", other));
            Map::new()
        }
    };
    keys::check(&object, BLOCK, IpamBlock::KEYS, diagnostics);
    IpamBlock::fields(&object, BLOCK, diagnostics)
}

/// The host name in lower case, as the kubelet registers it.
fn host_name(diagnostics: &mut Diagnostics) -> Name {
    let host = host();
    diagnostics
        .ok_or_note("nodeName, by default the host name", Name::new(host.as_str()))
        .unwrap_or_else(|| Name::closest(&host))
}

/// A node's default name: its host name.
pub fn default_node_name() -> Name {
    Name::closest(&host())
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase()
}

/// A duration that must lie within bounds.
fn within(
    field: &Field<Duration>,
    default: Duration,
    min: Duration,
    max: Duration,
    diagnostics: &mut Diagnostics,
) -> Duration {
    match field.located() {
        Some((_, &found)) if (min..=max).contains(&found) => found,
        Some((at, &found)) => {
            diagnostics.mistake(at, Problem::DurationBounds { found, min, max });
            default
        }
        None => default,
    }
}

/// The limits of a sweep. With a mistake in them, or in a file that can't be read, no default applies, so that no sweep
/// frees more than the administrator meant.
fn sweep(found: &defaults::DefaultsFile, diagnostics: &Diagnostics) -> Result<SweepConfig, ConfigErrors> {
    let at = &found.defaults.block.at;
    let mistakes = if found.is_known() { diagnostics.below(&keys::below(at, "sweep")) } else { diagnostics.below(at) };
    if !mistakes.is_empty() {
        return Err(ConfigErrors(mistakes));
    }
    let block = found.defaults.node.sweep.get();
    let min_age = block.and_then(|block| block.min_age.get()).copied().unwrap_or(MIN_AGE);
    let max_share = block.and_then(|block| block.max_share.get()).map_or(MAX_SHARE, |share| share.0);
    Ok(SweepConfig { min_age, max_share })
}

fn cooldown(block: &IpamBlock, diagnostics: &mut Diagnostics) -> Cooldown {
    let (time, strict) = match block.cooldown.located() {
        Some((at, ShortOrLong::Short(time))) => (Field::Present { at: at.to_owned(), value: *time }, false),
        Some((_, ShortOrLong::Long(long))) => (long.time.clone(), long.strict.get().copied().unwrap_or(false)),
        None => (Field::Absent, false),
    };
    let time = within(&time, COOLDOWN, Duration::ZERO, MAX_COOLDOWN, diagnostics);
    Cooldown { seconds: whole_seconds(time), strict }
}

/// Rounds up, so that a cooldown or reservation lasts at least as long as configured.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

fn sticky(block: &IpamBlock) -> Sticky {
    match block.sticky.get() {
        None => Sticky::default(),
        Some(ShortOrLong::Short(on)) => Sticky { on: *on, ttl: None },
        Some(ShortOrLong::Long(long)) => Sticky { on: true, ttl: long.ttl.get().copied().map(whole_seconds) },
    }
}

fn log(field: &Field<ShortOrLong<PathBuf, LogBlock>>, diagnostics: &mut Diagnostics) -> LogConfig {
    let mut log =
        LogConfig { file: LOG_FILE.into(), level: Level::Info, format: LogFormat::Text, rotate_bytes: ROTATE_BYTES };
    match field.get() {
        Some(ShortOrLong::Short(file)) => log.file.clone_from(file),
        Some(ShortOrLong::Long(long)) => {
            log.file = long.file.get().cloned().unwrap_or(log.file);
            log.level = long.level.get().copied().unwrap_or(log.level);
            log.format = long.format.get().copied().unwrap_or(log.format);
            match long.rotate.located() {
                Some((at, size)) if size.0 < MIN_ROTATE_BYTES => {
                    diagnostics.mistake(at, Problem::TooSmall { found: size.0, min: MIN_ROTATE_BYTES });
                }
                Some((_, size)) => log.rotate_bytes = size.0,
                None => {}
            }
        }
        None => {}
    }
    log
}

/// The paths of the kubeconfig: the block's, else the defaults', else one in the defaults' folder or the path of the Go
/// kube-ipam. Ignores the environment, because Calico exports its own kubeconfig there.
fn kubeconfigs(block: Option<&IpamBlock>, found: &defaults::DefaultsFile) -> Vec<PathBuf> {
    let named = |layer: &IpamBlock| {
        let of_etcd = || layer.etcd.get().and_then(|etcd| etcd.kube_config.get()).cloned();
        layer.kube_config.get().cloned().or_else(of_etcd)
    };
    match block.and_then(named).or_else(|| named(&found.defaults.block)) {
        Some(path) => vec![path],
        None => vec![found.file.with_file_name(KUBECONFIG), GO_KUBECONFIG.into()],
    }
}

/// The folders where host-local may hold addresses of a network that is known by its name alone.
pub fn host_local_folders(network: &Name) -> Vec<PathBuf> {
    host_local(None, network)
}

/// The folders where host-local may hold addresses of the network.
fn host_local(data_dir: Option<&Path>, network: &Name) -> Vec<PathBuf> {
    let default = Path::new(HOST_LOCAL_DIR);
    let given = data_dir.filter(|dir| *dir != default);
    given.into_iter().chain([default]).map(|dir| dir.join(network.as_str())).collect()
}
