//! `kube-ipam release`: frees an address whose holder is known to be gone.

use std::net::IpAddr;

use clap::Args;

use super::CliError;
use super::output::Output;
use super::render::release as render;
use super::store::{Resolved, StoreArgs};
use crate::ipam::name::Name;
use crate::ops::operator::release::{ReleaseOptions, release};
use crate::telemetry;

/// Free an address whose holder is known to be gone.
///
/// A pod that still runs keeps using its address, and the next pod may get the same one. So check the holder first:
/// without --yes this verb only shows it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam release 10.188.0.218
  kube-ipam release 10.188.0.218 --yes")]
pub(super) struct ReleaseArgs {
    /// The address
    ip: IpAddr,
    /// The routing domain of the address
    #[arg(long, value_name = "NAME", default_value = "default")]
    vrf: Name,
    /// Free the address; without this, only show its holder
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    store: StoreArgs,
}

impl ReleaseArgs {
    /// Runs the verb.
    pub(super) fn run(self, output: &mut Output) -> Result<(), CliError> {
        let Resolved { settings, store } = self.store.resolve()?;
        let Self { ip, vrf, yes, .. } = self;
        if yes {
            telemetry::init(&settings.log);
        }
        render::sentences(output, &release(&store, &ReleaseOptions { vrf, ip, confirmed: yes })?)
    }
}
