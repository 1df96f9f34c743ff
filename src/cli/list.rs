//! `kube-ipam list`: which addresses are held, reserved, in cooldown or foreign, and by whom.

use std::net::IpAddr;

use clap::Args;

use super::CliError;
use super::output::{Format, FormatArgs, Output};
use super::render::list as render;
use super::store::{Resolved, StoreArgs};
use crate::ipam::name::Name;
use crate::ops::operator::list::{ListOptions, list};

/// Show which addresses are held, reserved, in cooldown or foreign, and by whom.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam list
  kube-ipam list --network db-net --node worker-3
  kube-ipam list --network db-net --pool primaries
  kube-ipam list --ip 10.188.0.218 -o json
  kube-ipam list --data-dir /var/lib/kube-ipam/store")]
pub(super) struct ListArgs {
    /// Only this routing domain
    #[arg(long, value_name = "NAME")]
    vrf: Option<Name>,
    /// Only this network
    #[arg(long, value_name = "NAME")]
    network: Option<Name>,
    /// Only the addresses of this named pool
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,
    /// Only what is held on this node
    #[arg(long, value_name = "NAME")]
    node: Option<Name>,
    /// Only this pod
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    pod: Option<String>,
    /// Only this address
    #[arg(long, value_name = "IP")]
    ip: Option<IpAddr>,
    #[command(flatten)]
    format: FormatArgs,
    #[command(flatten)]
    store: StoreArgs,
}

impl ListArgs {
    /// Runs the verb. Prints each address as it is read, so that memory does not grow with the store.
    pub(super) fn run(self, output: &mut Output) -> Result<(), CliError> {
        let Resolved { store, .. } = self.store.resolve()?;
        let Self { vrf, network, pool, node, pod, ip, .. } = self;
        let options = ListOptions { vrf, network, pool, node, pod, ip };
        match self.format.output {
            Format::Json => render::json(output, |show| list(&store, &options, show)),
            Format::Table => render::table(output, |show| list(&store, &options, show)),
        }
    }
}
