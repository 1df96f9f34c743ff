//! `kube-ipam reserve`: keeps addresses from everyone, or for one object.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::CliError;
use super::confirm::ConfirmArgs;
use super::output::Output;
use super::render::reserve as render;
use super::shutdown::BlockingShutdownSignal;
use super::store::{Resolved, StoreArgs, variable};
use crate::config;
use crate::ipam::address::Span;
use crate::ipam::lease::{Beneficiary, ManualReservation, Remark, Unknown};
use crate::ipam::name::Name;
use crate::ops::operator::reserve::{MAX_ADDRESSES, ReserveOptions, survey};
use crate::telemetry;

/// Reserve addresses by hand: no pod gets them, or only the one they are for.
///
/// The reservation stays until it is released or its time is over, whether or not a pod uses the address meanwhile. A
/// pod for which an address is reserved gets it by asking for it: with an annotation, from a pool, or by its claim.
///
/// Shows the addresses first, and asks before it reserves them. If one of them is in use, nothing is reserved unless you
/// say --free-only. If the work is interrupted, run the same command again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam reserve 10.188.0.50 --reason 'printer in room 12'
  kube-ipam reserve 10.188.0.218 --reason 'migration of db' --for statefulset/db/postgres --ttl 72h
  kube-ipam reserve 10.188.4.0/26 --reason 'load balancers' --free-only --yes")]
pub(super) struct ReserveArgs {
    /// The addresses: one, a span FROM-TO, or a CIDR
    #[arg(value_name = "ADDRESS|FROM-TO|CIDR")]
    addresses: Span,
    /// Why, in up to 200 characters; refusals, list and explain show it
    #[arg(long, value_name = "TEXT")]
    reason: Remark,
    /// How long, counted from now; without it, until the addresses are released
    #[arg(long, value_name = "DURATION", value_parser = time_to_live)]
    ttl: Option<Duration>,
    /// Who may have them: NAMESPACE/POD, statefulset/[NAMESPACE/]NAME or claim/[NAMESPACE/]NAME
    #[arg(long = "for", value_name = "OBJECT")]
    beneficiary: Option<Beneficiary>,
    /// Reserve those that are free, and leave the others
    #[arg(long)]
    free_only: bool,
    /// The routing domain of the addresses
    #[arg(long, value_name = "NAME", default_value = "default")]
    vrf: Name,
    /// The kubeconfig for looking up the object of --for; overrides the node defaults
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<std::path::PathBuf>,
    #[command(flatten)]
    confirm: ConfirmArgs,
    #[command(flatten)]
    store: StoreArgs,
}

impl ReserveArgs {
    /// Runs the verb.
    pub(super) fn run(self, output: &mut Output) -> Result<(), CliError> {
        check_count(&self.addresses)?;
        let Resolved { settings, store } = self.store.resolve(self.kubeconfig.as_deref())?;
        let Self { addresses, reason, ttl, beneficiary, free_only, vrf, confirm, .. } = self;
        let manual = ManualReservation {
            reason,
            at: Timestamp::now(),
            by: operator(&settings.node),
            ttl: ttl.map(|ttl| ttl.as_secs()),
            beneficiary,
            unknown: Unknown::new(),
        };
        let survey = survey(&settings, &store, ReserveOptions { vrf, span: addresses, manual })?;
        render::survey(output, &addresses, &survey)?;
        let available = survey.count_available();
        if let Some(refused) = render::obstacles(&survey).filter(|_| !free_only || available == 0) {
            return Err(CliError::Refused(refused));
        }
        if available == 0 {
            return output.line("Nothing is left to reserve.");
        }
        if !confirm.confirm(output, &render::question(&survey), render::UNCONFIRMED)? {
            return Ok(());
        }
        telemetry::init(&settings.log);
        let mut shutdown = BlockingShutdownSignal::listen()?;
        let report = survey.reserve(|| !shutdown.recv_timeout(Duration::ZERO));
        super::render::batches::end(output, &report, "reserved by hand")
    }
}

/// Who runs this command, as far as the environment tells.
pub(super) fn operator(node: &Name) -> Option<Remark> {
    let user = ["SUDO_USER", "USER", "LOGNAME"].into_iter().filter_map(variable).find(|user| !user.is_empty())?;
    Remark::new(format!("{user}@{node}")).ok()
}

/// Refuses more addresses than one command handles.
pub(super) fn check_count(addresses: &Span) -> Result<(), CliError> {
    match addresses.len() {
        count if count > MAX_ADDRESSES => Err(CliError::Refused(format!(
            "{addresses} has {count} addresses, and one command takes at most {MAX_ADDRESSES}; to keep more from all pods, \
             leave them out in the network's configuration (`exclude`)"
        ))),
        _ => Ok(()),
    }
}

fn time_to_live(text: &str) -> Result<Duration, String> {
    match config::duration(text).map_err(|error| error.to_string())? {
        ttl if ttl.as_secs() == 0 => Err("a reservation lasts for at least one second".to_owned()),
        ttl => Ok(ttl),
    }
}
