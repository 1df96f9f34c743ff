//! The reading of a config, from the runtime's document and the node defaults to [`Site`] and [`Network`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use super::document::{Document, IpamBlock, LogBlock, NodeOnly, Status};
use super::problem::{ConfigErrors, ConfigWarning, Notes, Problem};
use super::read::{Field, List, ShortOrLong, unexpected};
use super::{Cooldown, Level, LogConfig, LogFormat, Network, Site, Sticky, SweepConfig};
use super::{answer, defaults, keys, locks, ranges, store};
use crate::ipam::name::Name;
use crate::ipam::takeover::Probe;

/// The path of the ipam block in a config.
const BLOCK: &str = "ipam";

/// The folder of the node's own records.
const STATE_DIR: &str = "/var/lib/kube-ipam/node";

/// The folder in which host-local keeps its addresses.
const HOST_LOCAL_DIR: &str = "/var/lib/cni/networks";

/// The kubeconfig, in the folder of the node defaults, and where the Go kube-ipam 0.2.0 had it.
const KUBECONFIG: &str = "kubeconfig";
const GO_KUBECONFIG: &str = "/etc/kubernetes/pki/kubectl.kubeconfig";

/// The log.
const LOG_FILE: &str = "/var/log/kube-ipam.log";

/// The size at which the log rotates, and the least possible.
const ROTATE_BYTES: u64 = 10 << 20;
const LEAST_ROTATE_BYTES: u64 = 64 << 10;

/// The deadline of a call, and its bounds.
const TIMEOUT: Duration = Duration::from_secs(10);
const LEAST_TIMEOUT: Duration = Duration::from_millis(100);
const MOST_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// How long a released address rests, and at most: far from the end of the calendar.
const COOLDOWN: Duration = Duration::from_secs(30);
const MOST_COOLDOWN: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long an address must have been held before a sweep frees it: longer than the ADD of any pod takes.
const MIN_AGE: Duration = Duration::from_secs(5 * 60);

/// The share of the held addresses beyond which a sweep frees nothing.
const MAX_SHARE: f64 = 0.2;

/// A config as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// What every verb needs; whatever could not be read has its default.
    pub site: Site,
    /// What an ADD gives addresses from, or all mistakes of block and node defaults, those of the store included.
    pub network: Result<Network, ConfigErrors>,
    /// What works, but perhaps not as meant.
    pub warnings: Vec<ConfigWarning>,
}

/// What a config is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// Whether it is an ADD. Only that is refused because of keys that have no effect: locked ones, and near misses.
    pub add: bool,
    /// Whether the call names a pod and its namespace. Such a call never falls back on a store of this node alone.
    pub pod: bool,
}

/// Reads the config that the runtime gave (the main plugin's; ours is its object `ipam`) over the node defaults.
///
/// Of the environment only KUBE_IPAM_CONFIG is read.
pub fn load(
    config: &Map<String, Value>,
    network: &Name,
    env: &impl Fn(&str) -> Option<String>,
    purpose: Purpose,
) -> Loaded {
    let mut notes = Notes::default();
    let found = defaults::read(env, &mut notes);
    resolve(config, network, found, purpose, notes)
}

/// Checks what is to become the node defaults, of which `file` is the name in mistakes: what of them would fail an ADD
/// whatever its block says. Returns what works, but perhaps not as meant.
pub fn check_defaults(file: &Path, object: &Map<String, Value>) -> Result<Vec<ConfigWarning>, ConfigErrors> {
    let mut notes = Notes::default();
    let found = defaults::Found::of(file.to_owned(), object.clone(), &mut notes);
    let at = found.defaults.block.at.clone();
    let empty_block = Map::from_iter([(BLOCK.to_owned(), Value::Object(Map::new()))]);
    let loaded =
        resolve(&empty_block, &Name::closest("node-defaults"), found, Purpose { add: true, pod: false }, notes);
    // What such a block lacks by itself is no mistake of the defaults.
    let mistakes = loaded.network.err().map(|mistakes| mistakes.below(&at)).unwrap_or_default();
    if mistakes.is_empty() { Ok(loaded.warnings) } else { Err(ConfigErrors(mistakes)) }
}

fn resolve(
    config: &Map<String, Value>,
    network: &Name,
    found: defaults::Found,
    purpose: Purpose,
    mut notes: Notes,
) -> Loaded {
    let block = block(config, &found, &mut notes);
    let store = store::choose(&block, &found.defaults.block, (&found.file, found.is_known()), purpose.pod, &mut notes);
    let kubeconfigs = kubeconfigs(&block, &found);
    let sweep = sweep(&found, &notes);
    let merged = block.or(found.defaults.block);

    let NodeOnly { node_name, former_node_names, cluster, former_clusters, state_dir, .. } = found.defaults.node;
    let node = node_name.get().cloned().unwrap_or_else(|| host_name(&mut notes));
    let former = former_node_names.get().into_iter().flat_map(List::given);
    let site = Site {
        former_nodes: former.filter(|name| **name != node).cloned().collect(),
        cluster: cluster.get().map(ToString::to_string),
        former_clusters: former_clusters.get().map(|former| former.0.clone()).unwrap_or_default(),
        state_dir: state_dir.get().cloned().unwrap_or_else(|| STATE_DIR.into()),
        vrf: merged.vrf.get().cloned().unwrap_or_else(|| Name::closest("default")),
        store,
        timeout: within(&merged.timeout, TIMEOUT, LEAST_TIMEOUT, MOST_TIMEOUT, &mut notes),
        log: log(&merged.log, &mut notes),
        status_strict: matches!(merged.status.get(), Some(Status::Strict)),
        kubeconfigs,
        sweep,
        host_local: host_local(merged.data_dir.get().map(PathBuf::as_path), network),
        node,
    };
    let ranges::NodeRanges { sets, other_nodes } = ranges::sets(config, &merged, &site.node, &mut notes);
    let network = Network {
        name: network.clone(),
        sets,
        other_nodes,
        routes: answer::routes(&merged, &mut notes),
        dns: answer::dns(&merged, &mut notes),
        cooldown: cooldown(&merged, &mut notes),
        sticky: sticky(&merged),
        namespaces: ranges::globs(&merged.namespaces, &mut notes),
        annotations: merged.annotations.get().copied().unwrap_or(true),
        probe: merged.takeover.get().copied().unwrap_or(Probe::Never),
    };
    let Notes { mut mistakes, warnings } = notes;
    if !purpose.add {
        mistakes.retain(|mistake| !mistake.problem.is_overlooked_key());
    }
    let network = if mistakes.is_empty() { Ok(network) } else { Err(ConfigErrors(mistakes)) };
    Loaded { site, network, warnings }
}

/// The ipam block, without the keys that it may not set.
fn block(config: &Map<String, Value>, found: &defaults::Found, notes: &mut Notes) -> IpamBlock {
    let locks = locks::Locks::of(found, notes);
    if let Some(sets) = ranges::of_runtime(config) {
        locks.check_runtime_ranges(sets, ranges::OF_RUNTIME, notes);
    }
    let object = match keys::find(config, BLOCK) {
        Some(Value::Object(object)) => locks.permitted(object, BLOCK, notes),
        None | Some(Value::Null) => {
            notes.mistake(BLOCK, Problem::NoIpam);
            Map::new()
        }
        Some(other) => {
            notes.mistake(BLOCK, unexpected("an object in braces", other));
            Map::new()
        }
    };
    keys::check(&object, BLOCK, IpamBlock::KEYS, notes);
    IpamBlock::fields(&object, BLOCK, notes)
}

/// The host name in lower case, as the kubelet registers it.
fn host_name(notes: &mut Notes) -> Name {
    let host = host();
    notes.taken("nodeName, by default the host name", Name::new(host.as_str())).unwrap_or_else(|| Name::closest(&host))
}

/// The name that a node has by default: its host name.
pub fn default_node_name() -> Name {
    Name::closest(&host())
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase()
}

/// A duration that must lie within bounds.
fn within(field: &Field<Duration>, default: Duration, least: Duration, most: Duration, notes: &mut Notes) -> Duration {
    match field.located() {
        Some((_, &found)) if (least..=most).contains(&found) => found,
        Some((at, &found)) => {
            notes.mistake(at, Problem::DurationBounds { found, least, most });
            default
        }
        None => default,
    }
}

/// What a sweep goes by. With a mistake in it, or in a file that can't be read, it does not go by something else.
fn sweep(found: &defaults::Found, notes: &Notes) -> Result<SweepConfig, ConfigErrors> {
    let at = &found.defaults.block.at;
    let mistakes = if found.is_known() { notes.below(&keys::below(at, "sweep")) } else { notes.below(at) };
    if !mistakes.is_empty() {
        return Err(ConfigErrors(mistakes));
    }
    let block = found.defaults.node.sweep.get();
    let min_age = block.and_then(|block| block.min_age.get()).copied().unwrap_or(MIN_AGE);
    let max_share = block.and_then(|block| block.max_share.get()).map_or(MAX_SHARE, |share| share.0);
    Ok(SweepConfig { min_age, max_share })
}

fn cooldown(block: &IpamBlock, notes: &mut Notes) -> Cooldown {
    let (time, strict) = match block.cooldown.located() {
        Some((at, ShortOrLong::Short(time))) => (Field::Given { at: at.to_owned(), value: *time }, false),
        Some((_, ShortOrLong::Long(long))) => (long.time.clone(), long.strict.get().copied().unwrap_or(false)),
        None => (Field::Absent, false),
    };
    let time = within(&time, COOLDOWN, Duration::ZERO, MOST_COOLDOWN, notes);
    Cooldown { seconds: whole_seconds(time), strict }
}

/// A part of a second counts as one: an address rests, or is kept, at least as long as was asked for.
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

fn log(field: &Field<ShortOrLong<PathBuf, LogBlock>>, notes: &mut Notes) -> LogConfig {
    let mut log =
        LogConfig { file: LOG_FILE.into(), level: Level::Info, format: LogFormat::Text, rotate_bytes: ROTATE_BYTES };
    match field.get() {
        Some(ShortOrLong::Short(file)) => log.file.clone_from(file),
        Some(ShortOrLong::Long(long)) => {
            log.file = long.file.get().cloned().unwrap_or(log.file);
            log.level = long.level.get().copied().unwrap_or(log.level);
            log.format = long.format.get().copied().unwrap_or(log.format);
            match long.rotate.located() {
                Some((at, size)) if size.0 < LEAST_ROTATE_BYTES => {
                    notes.mistake(at, Problem::TooSmall { found: size.0, least: LEAST_ROTATE_BYTES });
                }
                Some((_, size)) => log.rotate_bytes = size.0,
                None => {}
            }
        }
        None => {}
    }
    log
}

/// Where the kubeconfig is: the one that the block names, else the one that the defaults name, else in their folder or
/// where the Go kube-ipam looked for it. Never what the environment names: Calico exports its own.
fn kubeconfigs(block: &IpamBlock, found: &defaults::Found) -> Vec<PathBuf> {
    let named = |layer: &IpamBlock| {
        let of_etcd = || layer.etcd.get().and_then(|etcd| etcd.kube_config.get()).cloned();
        layer.kube_config.get().cloned().or_else(of_etcd)
    };
    match named(block).or_else(|| named(&found.defaults.block)) {
        Some(path) => vec![path],
        None => vec![found.file.with_file_name(KUBECONFIG), GO_KUBECONFIG.into()],
    }
}

/// The folders in which host-local may hold addresses of the network.
fn host_local(data_dir: Option<&Path>, network: &Name) -> Vec<PathBuf> {
    let default = Path::new(HOST_LOCAL_DIR);
    let given = data_dir.filter(|dir| *dir != default);
    given.into_iter().chain([default]).map(|dir| dir.join(network.as_str())).collect()
}
