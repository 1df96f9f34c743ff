//! Reads, merges and checks the ipam block and the node defaults, and resolves them into settings.
//!
//! A config resolves to two values. [`CallSettings`] is what every verb needs (which store, which node, how long to wait,
//! where to log). It is read leniently, so that a DEL works with a reduced or broken block. [`Network`] is what an ADD
//! allocates from. It is checked in full, and all its mistakes are reported together.

mod defaults;
mod diagnostics;
mod document;
mod foreign;
mod keys;
mod load;
mod locks;
mod pools;
mod problem;
mod quantity;
mod ranges;
mod read;
mod result;
mod store;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use self::defaults::defaults_file;
pub use self::diagnostics::{ConfigErrors, ConfigWarning};
pub use self::foreign::ForeignKey;
pub use self::load::{LoadedConfig, Purpose, check_defaults, default_node_name, load, load_elsewhere};
pub use self::problem::{ConfigError, Problem};
pub use self::quantity::{QuantityError, duration};
use crate::cni::{Dns, Route};
use crate::ipam::name::Name;
use crate::ipam::node_selector::LocalNode;
use crate::ipam::pool::Pool;
use crate::ipam::range::{Range, RangeSet};
use crate::ipam::request::{NetworkRanges, UnplacedSet};
use crate::ipam::takeover::Probe;
use crate::store::StoreConfig;

/// What every verb needs of a config.
#[derive(Clone, Debug, PartialEq)]
pub struct CallSettings {
    /// This node (`nodeName`, default the host name).
    pub node: Name,
    /// What this node was called before (`formerNodeNames`).
    pub former_nodes: Vec<Name>,
    /// The identity of the cluster (`cluster`), written into every holder; `None`: the UID of the namespace kube-system.
    pub cluster: Option<String>,
    /// What the cluster was called before (`formerClusters`); empty for holders that name none.
    pub former_clusters: Vec<String>,
    /// The folder of the node's own records (`stateDir`).
    pub state_dir: PathBuf,
    /// The routing domain in which an address is unique (`vrf`).
    pub vrf: Name,
    /// Where addresses are kept; `Err` holds the mistakes in `store`, `dataDir` or `etcdConfig`.
    pub store: Result<StoreConfig, ConfigErrors>,
    /// The deadline of one CNI call (`timeout`).
    pub timeout: Duration,
    /// Where and what to log (`log`).
    pub log: LogConfig,
    /// Whether STATUS asks the store (`status: strict`).
    pub status_strict: bool,
    /// Where the kubeconfig is looked for with which pods are read, the first place first (`kubeConfig`).
    pub kubeconfigs: Vec<PathBuf>,
    /// What a sweep goes by (`sweep`); `Err` holds the mistakes in it.
    pub sweep: Result<SweepConfig, ConfigErrors>,
    /// The folders in which host-local may hold addresses of this network, `<dataDir>/<network name>`.
    pub host_local: Vec<PathBuf>,
}

/// What an ADD gives addresses from.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// The name of the network, from the config's `name`.
    pub name: Name,
    /// The node that draws from it (`nodeName`, `nodeLabels`).
    pub node: LocalNode,
    /// One address comes from each set: `runtimeConfig.ipRanges` first, then the flat range, then `ranges`. Only the
    /// ranges that this node draws from.
    pub sets: Vec<RangeSet>,
    /// The ranges that are for other nodes (`nodes`, `nodeSelector`), of those sets and of the unplaced ones.
    pub other_nodes: Vec<Range>,
    /// The sets of which no range is for this node: no ADD can be served.
    pub unplaced: Vec<UnplacedSet>,
    /// Its named pools (`pools`).
    pub pools: Vec<Arc<Pool>>,
    /// Returned as they were written, after their check (`routes`).
    pub routes: Vec<Route>,
    /// From `dns`, else from the file that `resolvConf` names.
    pub dns: Dns,
    /// How long a released address rests (`cooldown`).
    pub cooldown: Cooldown,
    /// Whether stable identities keep their random addresses, unless a pod says otherwise (`sticky`).
    pub sticky: Sticky,
    /// Globs of the namespaces that may draw from it (`namespaces`); empty: all.
    pub namespaces: Vec<String>,
    /// Whether its pods' annotations are read (`annotations`).
    pub annotations: bool,
    /// Whether the wire is asked before an address passes from somebody else (`takeover`).
    pub probe: Probe,
    /// Whether the wire is asked before any new address is used (`probe`).
    pub probe_new: bool,
}

impl Network {
    /// What an ADD may draw from.
    pub fn ranges(&self) -> NetworkRanges<'_> {
        NetworkRanges {
            name: &self.name,
            node: &self.node,
            sets: &self.sets,
            other_nodes: &self.other_nodes,
            unplaced: &self.unplaced,
            pools: &self.pools,
            namespaces: &self.namespaces,
        }
    }

    /// The network of an attachment that holds these addresses: the sets of which it has one, and the ranges that have
    /// come to be for other nodes since.
    #[must_use]
    pub fn as_held(&self, held: &[IpAddr]) -> Self {
        let has_one = |set: &&RangeSet| held.iter().any(|ip| set.range_of(*ip).is_some());
        let mut sets: Vec<RangeSet> = self.sets.iter().filter(has_one).cloned().collect();
        for ip in held {
            if sets.iter().all(|set| set.range_of(*ip).is_none()) {
                let range = self.other_nodes.iter().find(|range| range.subnet.contains(ip));
                sets.extend(range.and_then(|range| RangeSet::new(vec![range.clone()])));
            }
        }
        Self { sets, other_nodes: Vec::new(), unplaced: Vec::new(), ..self.clone() }
    }

    /// Whether an address is of this network, be it of a range for other nodes.
    pub fn has(&self, ip: IpAddr) -> bool {
        self.sets.iter().any(|set| set.range_of(ip).is_some())
            || self.other_nodes.iter().any(|range| range.subnet.contains(&ip))
    }
}

/// What a sweep goes by (`sweep`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SweepConfig {
    /// How long an address must have been held before it is freed.
    pub min_age: Duration,
    /// The share of the held addresses beyond which nothing is freed.
    pub max_share: f64,
}

/// How long a released address rests before it is given at random again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cooldown {
    /// In seconds; 0: not at all.
    pub seconds: u64,
    /// Rather fail than hand out an address that rests.
    pub strict: bool,
}

/// How stable identities keep their random addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sticky {
    /// Whether they do.
    pub on: bool,
    /// How long an address stays that is unused, in seconds; `None`: as long as its owner exists.
    pub ttl: Option<u64>,
}

/// Where and what to log (`log`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The file (default /var/log/kube-ipam.log).
    pub file: PathBuf,
    /// The least level that is written.
    pub level: Level,
    /// How an event is written.
    pub format: LogFormat,
    /// The size in bytes beyond which the file is renamed to `<file>.1` and begun anew; three old ones are kept.
    pub rotate_bytes: u64,
}

/// The levels of a log, the rarest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What failed.
    Error,
    /// What works, but not as its author meant.
    Warn,
    /// A line an operation.
    Info,
    /// Each request to a store.
    Debug,
}

/// How an event of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
