//! `kube-ipam sweep`: finds and frees leaked addresses.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::CliError;
use super::output::{ListFormatArgs, Output};
use super::render::sweep as render;
use super::shutdown::BlockingShutdownSignal;
use super::store::{Resolved, StoreArgs};
use crate::config;
use crate::error::paths;
use crate::ops::operator::sweep::{Scope, SweepOptions, SweepReport, sweep};
use crate::telemetry;

/// The shortest pause between two sweeps.
const MIN_PAUSE: Duration = Duration::from_millis(100);

/// Find and free leaked addresses.
///
/// An address has leaked if its pod is gone, finished or replaced, if it belongs to an earlier sandbox of its pod, or if it
/// is reserved for an owner that is gone.
///
/// The sweep scans the store and the cluster's pods twice, and checks each pod once more before it frees one of its
/// addresses. Whatever it can't find out counts as in use: without a complete list of pods it frees nothing.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam sweep --dry-run
  kube-ipam sweep
  kube-ipam sweep --max-share 0.5 --kubeconfig ~/.kube/config
  kube-ipam sweep --node
  kube-ipam sweep --marked --every 1m")]
pub(super) struct SweepArgs {
    /// Show what would be freed, and free nothing
    #[arg(long)]
    dry_run: bool,
    /// Only what this node knows itself: deferred releases, and what it held before it booted
    ///
    /// It decides this without asking about pods, and also looks whether the store was restored to an earlier state.
    #[arg(long)]
    node: bool,
    /// Only the releases that this node's DELs deferred
    ///
    /// It also looks whether the store was restored to an earlier state.
    #[arg(long, conflicts_with = "node")]
    marked: bool,
    /// Repeat after each interval, until SIGTERM
    ///
    /// It prints what it freed, and each problem once. The DaemonSet of examples/install runs it on each node.
    #[arg(long, value_name = "DURATION", value_parser = config::duration, requires = "marked", conflicts_with = "dry_run")]
    every: Option<Duration>,
    /// Free nothing if more than this share (0 to 1) of the held addresses would go; overrides the node defaults
    #[arg(long, value_name = "SHARE", value_parser = share)]
    max_share: Option<f64>,
    /// How long to wait between the two scans
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = config::duration)]
    interval: Duration,
    /// The kubeconfig for listing and checking pods; overrides the node defaults
    #[arg(long, value_name = "FILE", conflicts_with_all = ["node", "marked"])]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    format: ListFormatArgs,
    #[command(flatten)]
    store: StoreArgs,
}

impl SweepArgs {
    /// Runs the verb.
    pub(super) fn run(self, output: &mut Output) -> Result<(), CliError> {
        if let Some(pause) = self.every {
            return self.repeat(pause.max(MIN_PAUSE), output);
        }
        let resolved = self.resolve()?;
        if !self.dry_run {
            telemetry::init(&resolved.settings.log);
        }
        let options = self.options();
        let report = sweep(&resolved.settings, &resolved.store, options)?;
        render::report(output, &report, options, self.format.output)?;
        if options.scope == Scope::Cluster && !report.asked {
            let looked_for = paths(&resolved.settings.kubeconfigs);
            output.warn(&format!("there is no kubeconfig at {looked_for}, so no pods were checked"));
        }
        report.failure().map_or(Ok(()), |failure| Err(failure.into()))
    }

    /// Sweeps at each interval until SIGTERM, prints what was freed, and reports each problem once. The node defaults
    /// may be installed later.
    fn repeat(&self, pause: Duration, output: &mut Output) -> Result<(), CliError> {
        let mut shutdown = BlockingShutdownSignal::listen()?;
        let mut reported = None;
        loop {
            let problem = match self.sweep() {
                Ok(report) => {
                    render::freed(output, &report)?;
                    report.failure().map(CliError::from)
                }
                Err(error) => Some(error),
            };
            let problem = problem.map(|problem| problem.to_string());
            if let Some(problem) = problem.as_ref().filter(|_| problem != reported) {
                output.warn(problem);
            }
            reported = problem;
            if shutdown.recv_timeout(pause) {
                return Ok(());
            }
        }
    }

    fn sweep(&self) -> Result<SweepReport, CliError> {
        let Resolved { settings, store } = self.resolve()?;
        Ok(sweep(&settings, &store, self.options())?)
    }

    fn resolve(&self) -> Result<Resolved, CliError> {
        self.store.resolve(self.kubeconfig.as_deref())
    }

    fn options(&self) -> SweepOptions {
        let scope = match (self.marked, self.node) {
            (true, _) => Scope::DeferredReleases,
            (false, true) => Scope::Node,
            (false, false) => Scope::Cluster,
        };
        SweepOptions { dry_run: self.dry_run, scope, max_share: self.max_share, interval: self.interval }
    }
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a share from 0 to 1 is expected, such as 0.1".to_owned())
}
