//! Reads, merges and checks the ipam block and the node defaults, and resolves them into settings.
//!
//! A config resolves to two values. [`CallSettings`] is what every verb needs: the store, the node, the timeout, the
//! log. It is read leniently, so that a DEL works with a reduced or broken block. [`Network`] is what an ADD allocates
//! from. It is checked in full, and all its mistakes are reported together.

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
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use self::defaults::{DEFAULTS_VARIABLE, defaults_file, read_bounded, read_defaults, read_document};
pub use self::diagnostics::{ConfigErrors, ConfigWarning};
pub use self::foreign::ForeignKey;
pub use self::load::{
    LoadedConfig, Purpose, check_defaults, default_node_name, host_local_folders, load, load_elsewhere,
    settings_of_defaults,
};
pub use self::locks::locked_keys;
pub use self::problem::{ConfigError, Problem};
pub use self::quantity::{QuantityError, duration};
pub use self::store::{etcd_at, kubernetes_in};
use crate::apiserver::Access;
use crate::cni::{Dns, Route};
use crate::ipam::name::Name;
use crate::ipam::node_selector::LocalNode;
use crate::ipam::pool::Pool;
use crate::ipam::range::{Range, RangeSet};
use crate::ipam::request::{NetworkRanges, UnplacedSet};
use crate::ipam::takeover::Probe;
use crate::store::StoreConfig;

/// The settings that every verb needs.
#[derive(Clone, Debug, PartialEq)]
pub struct CallSettings {
    /// This node (`nodeName`, default the host name).
    pub node: Name,
    /// This node's earlier names (`formerNodeNames`).
    pub former_nodes: Vec<Name>,
    /// The identity of the cluster (`cluster`), which every holder contains; `None` stands for the UID of kube-system.
    pub cluster: Option<String>,
    /// The cluster's earlier names (`formerClusters`); an empty one stands for holders without a cluster.
    pub former_clusters: Vec<String>,
    /// The folder of the node's own records (`stateDir`).
    pub state_dir: PathBuf,
    /// The routing domain in which an address is unique (`vrf`).
    pub vrf: Name,
    /// The store of all addresses; `Err` holds the mistakes in `store`, `dataDir` or `etcdConfig`.
    pub store: Result<StoreConfig, ConfigErrors>,
    /// The deadline of one CNI call (`timeout`).
    pub timeout: Duration,
    /// Where and what to log (`log`).
    pub log: LogConfig,
    /// Whether STATUS checks that the store responds (`status: strict`).
    pub status_strict: bool,
    /// Where to look for the kubeconfig for reading pods, in this order (`kubeConfig`).
    pub kubeconfigs: Vec<PathBuf>,
    /// The limits of a sweep (`sweep`); `Err` holds the mistakes in them.
    pub sweep: Result<SweepConfig, ConfigErrors>,
    /// The folders where host-local may hold addresses of this network, `<dataDir>/<network name>`.
    pub host_local: Vec<PathBuf>,
}

impl CallSettings {
    /// Reaches the API server by this kubeconfig instead of those of the node defaults, also for a store in it: a node
    /// belongs to one cluster.
    pub fn use_kubeconfig(&mut self, kubeconfig: &Path) {
        self.kubeconfigs = vec![kubeconfig.to_owned()];
        if let Ok(store) = &mut self.store {
            store.reach_by(Access::Kubeconfig(kubeconfig.to_owned()));
        }
    }
}

/// What an ADD allocates addresses from.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// The name of the network, from the config's `name`.
    pub name: Name,
    /// This node, which decides on the ranges (`nodeName`, `nodeLabels`).
    pub node: LocalNode,
    /// An interface gets one address from each set: `runtimeConfig.ipRanges` first, then the flat range, then `ranges`.
    /// Only the ranges that this node uses.
    pub sets: Vec<RangeSet>,
    /// The ranges that only other nodes use (`nodes`, `nodeSelector`), in these sets and in the unplaced ones.
    pub other_nodes: Vec<Range>,
    /// The sets without a range for this node. With one of them, no ADD can be served.
    pub unplaced: Vec<UnplacedSet>,
    /// Its named pools (`pools`).
    pub pools: Vec<Arc<Pool>>,
    /// The routes of the result, checked and as written (`routes`).
    pub routes: Vec<Route>,
    /// The DNS settings of the result, from `dns`, else from the file of `resolvConf`.
    pub dns: Dns,
    /// The cooldown of a released address (`cooldown`).
    pub cooldown: Cooldown,
    /// Whether random addresses are reserved for stable identities, unless a pod's annotation overrides it (`sticky`).
    pub sticky: Sticky,
    /// Globs of the namespaces that may use it (`namespaces`); empty for all.
    pub namespaces: Vec<String>,
    /// Whether its pods' annotations are read (`annotations`).
    pub annotations: bool,
    /// Whether the link is probed before an address is taken over (`takeover`).
    pub probe: Probe,
    /// Whether the link is probed before any new address is used (`probe`).
    pub probe_new: bool,
}

impl Network {
    /// The ranges that an ADD can use.
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

    /// The network of an attachment with these addresses: the sets that have one of them, and the ranges that now
    /// belong to other nodes.
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

    /// Whether an address is in this network, even in a range that only other nodes use.
    pub fn has(&self, ip: IpAddr) -> bool {
        self.sets.iter().any(|set| set.range_of(ip).is_some())
            || self.other_nodes.iter().any(|range| range.subnet.contains(&ip))
    }
}

/// The limits of a sweep (`sweep`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SweepConfig {
    /// How long an address must have been held before it is freed.
    pub min_age: Duration,
    /// The largest share of the held addresses that a sweep may free.
    pub max_share: f64,
}

/// The cooldown of a released address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cooldown {
    /// Its duration in seconds; 0 for none.
    pub seconds: u64,
    /// Whether to fail instead of assigning an address in cooldown.
    pub strict: bool,
}

/// Whether and how long random addresses are reserved for stable identities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sticky {
    /// Whether they are.
    pub on: bool,
    /// The time to live of an unused reservation, in seconds; `None` while its owner exists.
    pub ttl: Option<u64>,
}

/// Where and what to log (`log`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The file (default /var/log/kube-ipam.log).
    pub file: PathBuf,
    /// The minimum level.
    pub level: Level,
    /// The format of a line.
    pub format: LogFormat,
    /// The size in bytes at which the file is renamed to `<file>.1`. Three old files are kept.
    pub rotate_bytes: u64,
}

/// The log levels, the rarest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Failures.
    Error,
    /// What works, but not as intended.
    Warn,
    /// One line per operation.
    Info,
    /// Each request to a store.
    Debug,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}
