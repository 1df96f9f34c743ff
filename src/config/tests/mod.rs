//! Tests of reading configs, by subject.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attachments;
mod defaults;
mod documents;
mod empty;
mod foreign;
mod locks;
mod migration;
mod node_labels;
mod pools;
mod properties;
mod ranges;
mod result;
mod store;
mod values;

use serde_json::{Map, Value, json};

use super::{ConfigErrors, LoadedConfig, Network, Purpose, load};
use crate::ipam::name::Name;

/// Node defaults that don't exist, so that this machine's are not read.
const NO_DEFAULTS: &str = "/nonexistent/kube-ipam.json";

/// Loads a whole config with a node defaults file, for an ADD.
fn load_with(config: &Value, defaults: &str, is_pod: bool) -> LoadedConfig {
    load_for(Purpose { add: true, pod: is_pod }, config, defaults)
}

/// Loads a whole config with a node defaults file.
fn load_for(purpose: Purpose, config: &Value, defaults: &str) -> LoadedConfig {
    let env = |name: &str| (name == "KUBE_IPAM_CONFIG").then(|| defaults.to_owned());
    load(config.as_object().unwrap(), &Name::new("db-net").unwrap(), &env, purpose)
}

/// Loads an ipam block, for a call that is not for a pod, without node defaults.
fn loaded(ipam: Value) -> LoadedConfig {
    load_with(&config(ipam), NO_DEFAULTS, false)
}

/// A main plugin's config with this ipam block.
fn config(ipam: Value) -> Value {
    json!({ "cniVersion": "1.0.0", "name": "db-net", "type": "macvlan", "master": "eth1", "ipam": ipam })
}

/// The network of a valid block.
fn network(ipam: Value) -> Network {
    loaded(ipam).network.unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// The mistakes of a block.
fn mistakes(ipam: Value) -> ConfigErrors {
    loaded(ipam).network.expect_err("the block has a mistake")
}

/// The mistakes of each block, one line each.
fn table<const N: usize>(blocks: [Value; N]) -> String {
    blocks.map(|block| mistakes(block).to_string()).join("\n")
}

/// A range over 10.1.0.0/24 and these keys.
fn with_subnet(more: Value) -> Value {
    let mut block = Map::from_iter([("subnet".to_owned(), json!("10.1.0.0/24"))]);
    block.extend(more.as_object().unwrap().clone());
    Value::Object(block)
}

/// Why this node can't serve an ADD of this network.
fn elsewhere(network: &Network) -> String {
    let ranges = network.ranges();
    ranges.check_node(ranges.unplaced).unwrap_err().to_string()
}

/// Each set of a network as text: its ranges, and their random addresses.
fn shown(network: &Network) -> String {
    let range = |range: &crate::ipam::range::Range| {
        let gateway = range.gateway.map_or("no gateway".to_owned(), |gateway| format!("gateway {gateway}"));
        let fixed = range.fixed.map(|window| format!(", fixed {window}")).unwrap_or_default();
        format!("{}: {}{fixed}, {gateway}", range.subnet, range.dynamic())
    };
    let set = |set: &crate::ipam::range::RangeSet| set.ranges().iter().map(range).collect::<Vec<_>>().join(" | ");
    network.sets.iter().map(set).collect::<Vec<_>>().join("\n")
}
