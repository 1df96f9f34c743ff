//! `kube-ipam release`: frees addresses whose holders are known to be gone, and ends reservations by hand.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::CliError;
use super::confirm::ConfirmArgs;
use super::output::Output;
use super::render::{batches, release as render};
use super::reserve::check_count;
use super::shutdown::BlockingShutdownSignal;
use super::store::{Resolved, StoreArgs};
use crate::config::CallSettings;
use crate::ipam::address::Span;
use crate::ipam::name::Name;
use crate::ops::operator::release::{ReleaseOptions, SpanOptions, look_up, survey_span};
use crate::store::StoreConfig;
use crate::telemetry;

/// Free an address whose holder is known to be gone, or end reservations by hand.
///
/// A pod that still runs keeps using its address, and the next pod may get the same one. So check the holder first: the
/// verb shows it, and asks before it frees the address. Of several addresses, only reservations by hand end that nobody
/// uses; with --all, everything is freed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam release 10.188.0.218
  kube-ipam release 10.188.0.218 --yes
  kube-ipam release 10.188.4.0/26 --dry-run")]
pub(super) struct ReleaseArgs {
    /// The addresses: one, a span FROM-TO, or a CIDR
    #[arg(value_name = "ADDRESS|FROM-TO|CIDR")]
    addresses: Span,
    /// Of several addresses, also free what is held, in cooldown, foreign or reserved for an owner
    #[arg(long)]
    all: bool,
    /// The routing domain of the addresses
    #[arg(long, value_name = "NAME", default_value = "default")]
    vrf: Name,
    /// The kubeconfig for custom resources; overrides the node defaults
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    confirm: ConfirmArgs,
    #[command(flatten)]
    store: StoreArgs,
}

impl ReleaseArgs {
    /// Runs the verb.
    pub(super) fn run(self, output: &mut Output) -> Result<(), CliError> {
        check_count(&self.addresses)?;
        let Resolved { settings, store } = self.store.resolve(self.kubeconfig.as_deref())?;
        match self.addresses.len() {
            1 => self.release_one(output, &settings, &store, self.addresses.first()),
            _ => self.release_several(output, &settings, &store),
        }
    }

    fn release_one(
        &self,
        output: &mut Output,
        settings: &CallSettings,
        store: &StoreConfig,
        ip: IpAddr,
    ) -> Result<(), CliError> {
        if self.confirm.is_given() {
            telemetry::init(&settings.log);
        }
        let Some(found) = look_up(store, ReleaseOptions { vrf: self.vrf.clone(), ip })? else {
            return output.line(&format!("{ip} is free already."));
        };
        output.line(&render::describe(ip, found.lease()))?;
        let unconfirmed = format!("nothing was freed; to free {ip}, run this again with --yes");
        if !self.confirm.confirm(output, &format!("free {ip}?"), &unconfirmed)? {
            return Ok(());
        }
        telemetry::init(&settings.log);
        render::outcome(output, ip, &found.release()?)
    }

    fn release_several(
        &self,
        output: &mut Output,
        settings: &CallSettings,
        store: &StoreConfig,
    ) -> Result<(), CliError> {
        let (vrf, span) = (self.vrf.clone(), self.addresses);
        let survey = survey_span(store, SpanOptions { vrf, span, all: self.all })?;
        render::survey(output, &span, &survey)?;
        if survey.freed.is_empty() {
            return Ok(());
        }
        let question = format!("free {}?", batches::count(survey.freed.len()));
        if !self.confirm.confirm(output, &question, "nothing was freed; to free them, run this again with --yes")? {
            return Ok(());
        }
        telemetry::init(&settings.log);
        let mut shutdown = BlockingShutdownSignal::listen()?;
        let report = survey.release(|| !shutdown.recv_timeout(Duration::ZERO));
        batches::end(output, &report, "free now")
    }
}
