//! `kube-ipam usage`: how full each range of each network is.

use clap::{Args, ValueEnum};

use super::CliError;
use super::output::Output;
use super::render::usage as render;
use super::store::{Resolved, StoreArgs};
use crate::ipam::name::Name;
use crate::ops::operator::usage::usage;

/// Show how full each range of each network is.
///
/// A network appears after its first ADD.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam usage
  kube-ipam usage --network db-net -o json
  kube-ipam usage -o prometheus > /var/lib/node_exporter/kube-ipam.prom")]
pub(super) struct UsageArgs {
    /// Only this network; metrics always cover all networks
    #[arg(long, value_name = "NAME")]
    network: Option<Name>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For Prometheus, by the node exporter's textfile collector
    Prometheus,
}

impl UsageArgs {
    /// Runs the verb.
    pub(super) fn run(self, output: &mut Output) -> Result<(), CliError> {
        let Resolved { store, .. } = self.store.resolve()?;
        let usage = usage(&store)?;
        render::unreadable(output, &usage);
        match self.output {
            Format::Table => render::table(output, &usage, self.network.as_ref()),
            Format::Json => render::json(output, &usage, self.network.as_ref()),
            Format::Prometheus => render::prometheus(output, usage),
        }
    }
}
