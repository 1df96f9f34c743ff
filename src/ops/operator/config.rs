//! Writes the configuration of a network, and checks it as a node and `plan` would.

mod block;
mod main_plugin;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use serde_json::Value;

pub use self::block::{EtcdFiles, PoolOptions, RangeOptions, RangesOptions, StoreOptions};
pub use self::main_plugin::MainPlugin;
use self::main_plugin::{multus_file, multus_primary};
use crate::ipam::name::Name;
use crate::plan::{Options as PlanOptions, Severity, Source, plan};

/// What a configuration is to say.
#[derive(Clone, Debug)]
pub struct ConfigOptions {
    /// The plugin that makes the interface, with its settings.
    pub plugin: MainPlugin,
    /// The network's name.
    pub name: Name,
    /// Whether the runtime may request addresses (`capabilities.ips`), as Multus does for `ips` of a selection.
    pub accepts_ips: bool,
    /// Which addresses it has.
    pub ranges: RangesOptions,
    /// Named pools.
    pub pools: Vec<PoolOptions>,
    /// Where its addresses are stored, and how its pods are read.
    pub store: StoreOptions,
    /// Whether the configuration file of Multus is written around it.
    pub in_multus_file: bool,
}

/// A configuration that a node serves.
#[derive(Clone, Debug)]
pub struct ConfigReport {
    /// The network's name.
    pub name: Name,
    /// The configuration, or that of Multus around it.
    pub document: Value,
    /// An address that a pod can request, as an example; `None` if that is for the reader to choose.
    pub sample: Option<IpAddr>,
    /// What works, but perhaps not as intended.
    pub warnings: Vec<String>,
}

/// Why no configuration was written.
#[derive(Debug, thiserror::Error)]
pub enum ConfigOptionsError {
    /// An ADD would refuse it.
    #[error("an ADD would refuse this configuration: {}", .0.join("; "))]
    Refused(Vec<String>),
}

/// Writes and checks a configuration.
pub fn config(options: &ConfigOptions) -> Result<ConfigReport, ConfigOptionsError> {
    let network = network(options);
    let mut warnings = check(&network)?;
    let document = if options.in_multus_file {
        let primary = multus_primary(block::ipam(&RangesOptions::example(), &[], &options.store));
        warnings.append(&mut check(&primary)?);
        multus_file(primary, network)
    } else {
        network
    };
    Ok(ConfigReport { name: options.name.clone(), document, sample: options.ranges.sample(), warnings })
}

/// The configuration of the network.
fn network(options: &ConfigOptions) -> Value {
    let ipam = block::ipam(&options.ranges, &options.pools, &options.store);
    options.plugin.config(&options.name, options.accepts_ips, ipam)
}

/// Reads a configuration as a node does. Returns the warnings.
fn check(network: &Value) -> Result<Vec<String>, ConfigOptionsError> {
    let mut sources = vec![Source { name: "the configuration".to_owned(), text: format!("{network:#}") }];
    let report = plan(&mut sources, &PlanOptions { namespace: "default".to_owned(), defaults: None });
    let messages = |severity| {
        let findings = report.findings.iter().filter(move |finding| finding.severity == severity);
        findings.map(|finding| finding.message.clone()).collect::<Vec<_>>()
    };
    match messages(Severity::Error) {
        errors if errors.is_empty() => Ok(messages(Severity::Warning)),
        errors => Err(ConfigOptionsError::Refused(errors)),
    }
}
