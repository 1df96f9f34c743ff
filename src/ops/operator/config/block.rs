//! The ipam block of a configuration.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::main_plugin::extend;
use crate::ipam::address::Family;

/// Which addresses a network has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangesOptions {
    /// Its ranges. Those of one family are tried in this order; an interface gets one address of each family.
    pub ranges: Vec<RangeOptions>,
    /// Addresses, networks and spans that are never assigned.
    pub exclude: Vec<String>,
    /// The destinations of routes through the gateway.
    pub routes: Vec<IpNet>,
}

/// One range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeOptions {
    /// The subnet.
    pub subnet: IpNet,
    /// The first and last address of the window for fixed addresses.
    pub fixed: [Option<IpAddr>; 2],
    /// The first and last random address.
    pub random: [Option<IpAddr>; 2],
    /// The gateway.
    pub gateway: Option<IpAddr>,
}

impl RangeOptions {
    /// The whole subnet.
    pub fn new(subnet: IpNet) -> Self {
        Self { subnet, fixed: [None; 2], random: [None; 2], gateway: None }
    }

    fn keys(&self) -> Map<String, Value> {
        let [fixed_start, fixed_end] = self.fixed;
        let [range_start, range_end] = self.random;
        let limits = [
            ("fixedStart", fixed_start),
            ("fixedEnd", fixed_end),
            ("rangeStart", range_start),
            ("rangeEnd", range_end),
            ("gateway", self.gateway),
        ];
        let limits = limits.into_iter().filter_map(|(key, ip)| Some((key.to_owned(), json!(ip?))));
        [("subnet".to_owned(), json!(self.subnet))].into_iter().chain(limits).collect()
    }
}

impl RangesOptions {
    /// An example: a window for fixed addresses below the random ones, and a route.
    pub fn example() -> Self {
        Self::example_in([10, 188, 0])
    }

    /// The same in a network with this prefix of 24 bits.
    pub fn example_in([a, b, c]: [u8; 3]) -> Self {
        let at = |host: u8| IpAddr::from([a, b, c, host]);
        let range = RangeOptions {
            subnet: IpNet::new_assert(at(0), 24),
            fixed: [Some(at(10)), Some(at(99))],
            random: [Some(at(100)), Some(at(250))],
            gateway: Some(at(1)),
        };
        let routes = vec![IpNet::new_assert(IpAddr::from([10, 199, 0, 0]), 16)];
        Self { ranges: vec![range], exclude: Vec::new(), routes }
    }

    /// The first of its addresses that is certainly one that a pod may request.
    pub(super) fn sample(&self) -> Option<IpAddr> {
        let first = self.ranges.first()?;
        first.fixed[0].or_else(|| first.random[0].filter(|_| first.fixed == [None; 2]))
    }

    /// The keys of the block: those of a single range, or lists of ranges, by family.
    fn keys(&self) -> Map<String, Value> {
        if let [range] = self.ranges.as_slice() {
            return range.keys();
        }
        let mut sets: Vec<(Family, Vec<Map<String, Value>>)> = Vec::new();
        for range in &self.ranges {
            let family = Family::of(range.subnet.addr());
            match sets.iter_mut().find(|(known, _)| *known == family) {
                Some((_, set)) => set.push(range.keys()),
                None => sets.push((family, vec![range.keys()])),
            }
        }
        let sets: Vec<Vec<Map<String, Value>>> = sets.into_iter().map(|(_, set)| set).collect();
        Map::from_iter([("ranges".to_owned(), json!(sets))])
    }
}

/// A named pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// Its name.
    pub name: String,
    /// Its addresses, networks and spans.
    pub addresses: Vec<String>,
    /// The namespaces whose pods may have these addresses; empty for all.
    pub namespaces: Vec<String>,
}

/// Where a network's addresses are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOptions {
    /// Where the node defaults say.
    NodeDefaults,
    /// On each node, in SQLite.
    Embedded {
        /// The folder, unless it is the usual one.
        data_dir: Option<PathBuf>,
        /// The kubeconfig for reading pods.
        kubeconfig: PathBuf,
    },
    /// In etcd.
    Etcd {
        /// The members' URLs, separated by commas.
        endpoints: String,
        /// What TLS needs; `None` for members without it.
        files: Option<EtcdFiles>,
        /// The kubeconfig for reading pods.
        kubeconfig: PathBuf,
    },
}

/// The files for TLS with etcd, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdFiles {
    /// The client's certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The CA that signed the members' certificates.
    pub ca: PathBuf,
}

impl StoreOptions {
    fn keys(&self) -> Value {
        match self {
            Self::NodeDefaults => json!({}),
            Self::Embedded { data_dir, kubeconfig } => {
                let mut keys = json!({ "store": "embedded" });
                if let Some(data_dir) = data_dir {
                    extend(&mut keys, json!({ "dataDir": data_dir }));
                }
                extend(&mut keys, json!({ "kubeConfig": kubeconfig }));
                keys
            }
            Self::Etcd { endpoints, files, kubeconfig } => {
                let mut etcd = json!({ "etcdURL": endpoints });
                if let Some(EtcdFiles { cert, key, ca }) = files {
                    let files = json!({ "etcdCertFile": cert, "etcdKeyFile": key, "etcdTrustedCAFile": ca });
                    extend(&mut etcd, files);
                }
                json!({ "etcdConfig": etcd, "kubeConfig": kubeconfig })
            }
        }
    }
}

/// The block.
pub(super) fn ipam(ranges: &RangesOptions, pools: &[PoolOptions], store: &StoreOptions) -> Value {
    let mut block = json!({ "type": "kube-ipam" });
    extend(&mut block, Value::Object(ranges.keys()));
    if !ranges.exclude.is_empty() {
        extend(&mut block, json!({ "exclude": ranges.exclude }));
    }
    if !pools.is_empty() {
        let pools: Map<String, Value> = pools.iter().map(|pool| (pool.name.clone(), pool_value(pool))).collect();
        extend(&mut block, json!({ "pools": pools }));
    }
    if !ranges.routes.is_empty() {
        let routes: Vec<Value> = ranges.routes.iter().map(|dst| json!({ "dst": dst })).collect();
        extend(&mut block, json!({ "routes": routes }));
    }
    extend(&mut block, store.keys());
    block
}

fn pool_value(pool: &PoolOptions) -> Value {
    let mut value = json!({ "addresses": pool.addresses });
    if !pool.namespaces.is_empty() {
        extend(&mut value, json!({ "namespaces": pool.namespaces }));
    }
    value
}
