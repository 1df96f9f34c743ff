//! `kube-ipam recovery`: the recovery of a store that has lost writes, and the nodes that have written back their
//! records.

use std::path::PathBuf;

use clap::Args;

use super::CliError;
use super::output::{FormatArgs, Output};
use super::render::recovery as render;
use super::store::{Resolved, StoreArgs};
use crate::ops::operator::recovery::{RecoveryOptions, recovery};
use crate::telemetry;

/// Show, begin or end the recovery of a store that went back in time.
///
/// During a recovery no node gives out addresses. It begins when a node sees that the store has lost writes, and ends when
/// every node has written back the addresses of its pods.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam recovery
  kube-ipam recovery --begin
  kube-ipam recovery --end")]
pub(super) struct RecoveryArgs {
    /// Begin a recovery, before the nodes can reach a restored backup
    ///
    /// If the backup was made during a recovery, all nodes have to do their part again.
    #[arg(long, conflicts_with = "end")]
    begin: bool,
    /// End the recovery without the missing nodes; until they are back, addresses of their pods may be given to others
    #[arg(long)]
    end: bool,
    /// The kubeconfig for custom resources; overrides the node defaults
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
    #[command(flatten)]
    store: StoreArgs,
}

impl RecoveryArgs {
    /// Runs the verb.
    pub(super) fn run(self, output: &mut Output) -> Result<(), CliError> {
        let Resolved { settings, store } = self.store.resolve(self.kubeconfig.as_deref())?;
        let options = self.options();
        if options != RecoveryOptions::Show {
            telemetry::init(&settings.log);
        }
        render::report(output, &recovery(&settings, &store, options)?, self.format.output)
    }

    fn options(&self) -> RecoveryOptions {
        match (self.begin, self.end) {
            (true, _) => RecoveryOptions::Begin,
            (false, true) => RecoveryOptions::End,
            (false, false) => RecoveryOptions::Show,
        }
    }
}
