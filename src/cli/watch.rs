//! `kube-ipam watch`: what happens to addresses, as it happens.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::CliError;
use super::output::{Output, is_closed, is_writable};
use super::render::watch as render;
use super::selection::SelectionArgs;
use super::shutdown::BlockingShutdownSignal;
use super::store::{Resolved, StoreArgs};
use crate::ops::operator::watch::{WatchError, WatchOptions, Watched, Watcher};
use crate::store::Position;

/// How often an idle watch looks whether its reader is gone, and one with a slow reader whether it shall end.
const LOOK: Duration = Duration::from_secs(1);
const WAIT: Duration = Duration::from_millis(100);

/// How a watch prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum WatchFormat {
    /// For people: a line for each change
    #[default]
    Text,
    /// For programs: a JSON document on each line
    Json,
}

/// Show what happens to addresses, as it happens.
///
/// Prints a line for each change until Ctrl-C or SIGTERM. A change is shown if the address matches before or after it.
/// Several values of one option, separated by commas or given one by one, show what matches any of them; several options
/// show what matches all of them.
///
/// Pools are those that are defined when the watch starts. If the store stops responding, the watch says so, waits, and
/// continues where it was.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam watch
  kube-ipam watch --ip 10.188.0.218
  kube-ipam watch --namespace database --network db-net
  kube-ipam watch --node worker-3 -o json
  kube-ipam watch --pod database/postgres-0 --count 2")]
pub(super) struct WatchArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// Start with the changes after this position, a `position` that -o json has printed; only with etcd or the
    /// Kubernetes API, until they discard them
    #[arg(long, value_name = "POSITION", value_parser = position)]
    since: Option<Position>,
    /// End after this many changes
    #[arg(short = 'n', long, value_name = "NUMBER")]
    count: Option<NonZeroU64>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: WatchFormat,
    /// The kubeconfig for custom resources; overrides the node defaults
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
}

fn position(text: &str) -> Result<Position, std::convert::Infallible> {
    Ok(Position::new(text))
}

impl WatchArgs {
    /// Runs the verb, until SIGTERM or SIGINT.
    pub(super) fn run(self, output: &mut Output) -> Result<(), CliError> {
        let Resolved { store, .. } = self.store.resolve(self.kubeconfig.as_deref())?;
        let mut shutdown = BlockingShutdownSignal::listen()?;
        let (format, mut left) = (self.output, self.count.map(NonZeroU64::get));
        let options = WatchOptions { selection: self.selection.selection(), since: self.since };
        let mut watcher = Watcher::new(&store, options)?;
        while left != Some(0) {
            let Some(watched) = shutdown.unless_received(next(&mut watcher)).flatten() else { return Ok(()) };
            let change = match watched? {
                Watched::Change(change) => change,
                other => {
                    output.warn(&render::notice(&store, &other));
                    continue;
                }
            };
            while !is_writable(WAIT)? {
                if shutdown.recv_timeout(Duration::ZERO) {
                    return Ok(());
                }
            }
            match format {
                WatchFormat::Text => render::line(output, &change, Timestamp::now())?,
                WatchFormat::Json => render::json(output, &change, Timestamp::now())?,
            }
            left = left.map(|left| left - 1);
        }
        Ok(())
    }
}

/// What happens next; `None` if nobody reads it any more.
async fn next(watcher: &mut Watcher) -> Option<Result<Watched, WatchError>> {
    // It stays the same future, because a request to the store may take longer than the time between two looks.
    let mut waiting = pin!(watcher.next(Timestamp::now));
    loop {
        if let Ok(watched) = tokio::time::timeout(LOOK, &mut waiting).await {
            return Some(watched);
        }
        if is_closed() {
            return None;
        }
    }
}
