//! `kube-ipam sweep`: finds and frees what has leaked.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::CliError;
use super::ending::Ending;
use super::list::age;
use super::output::{Format, Output, columns};
use super::store::{StoreArgs, existing};
use crate::config::{self, Site};
use crate::error::paths;
use crate::ipam::lease::Holder;
use crate::ipam::refusal::list;
use crate::ipam::sweep::{Stopped, Tally, Target};
use crate::ops::recovery::Part;
use crate::ops::sweep::{Fate, Line, Scope, Sweep as Asked, Swept, sweep};
use crate::store::StoreConfig;
use crate::telemetry;

/// The head of the table.
const HEAD: [&str; 9] = ["WHAT", "FATE", "NETWORK", "POD", "INTERFACE", "NODE", "CONTAINER", "SINCE", "WHY"];

/// The shortest pause between two sweeps.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

/// Find and free what has leaked: addresses of pods that are gone, finished or replaced, of their earlier sandboxes, or
/// reserved for an owner that is gone.
///
/// It looks twice at the store and at the cluster's pods, and asks about each pod once more before it frees an address
/// of its. What is not known counts as in use: if the list of pods can't be read whole, nothing is freed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam sweep --dry-run
  kube-ipam sweep
  kube-ipam sweep --max-share 0.5 --kubeconfig ~/.kube/config
  kube-ipam sweep --node
  kube-ipam sweep --marked --every 1m")]
pub struct Sweep {
    /// Show what would be freed, and free nothing
    #[arg(long)]
    dry_run: bool,
    /// Only what this node knows by itself: releases it could not do, and what it had before it booted
    #[arg(long)]
    node: bool,
    /// Only the releases that DELs of this node could not do
    #[arg(long, conflicts_with = "node")]
    marked: bool,
    /// Go on, and do it again after each such time, until SIGTERM
    #[arg(long, value_name = "DURATION", value_parser = config::duration, requires = "marked", conflicts_with = "dry_run")]
    every: Option<Duration>,
    /// The share of the held addresses, from 0 to 1, beyond which nothing is freed; else that of the node defaults
    #[arg(long, value_name = "SHARE", value_parser = share)]
    max_share: Option<f64>,
    /// How long to wait between the two looks
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = config::duration)]
    interval: Duration,
    /// The kubeconfig by which pods are listed and asked about; else that of the node defaults
    #[arg(long, value_name = "FILE", conflicts_with_all = ["node", "marked"])]
    kubeconfig: Option<PathBuf>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    store: StoreArgs,
}

/// A sweep as programs read it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
    held: usize,
    of_another_cluster: usize,
    of_unnamed_cluster: usize,
    without_a_pod: usize,
    not_asked: usize,
    named: usize,
    found: Vec<Found<'a>>,
}

/// One suspect as programs read it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Found<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vrf: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attachment: Option<String>,
    fate: &'static str,
    why: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<&'a Holder>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
}

impl Sweep {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Result<(), CliError> {
        if let Some(pause) = self.every {
            return self.go_on(pause.max(LEAST_PAUSE), output);
        }
        let site = self.site()?;
        if !self.dry_run {
            telemetry::init(&site.0.log);
        }
        let swept = self.sweep(&site)?;
        match self.output {
            Format::Json => output.json(&self.document(&swept))?,
            Format::Table => self.table(&swept, output)?,
        }
        if let Some(part) = &swept.recovery {
            output.aside(&about(part));
        }
        if self.scope() == Scope::Cluster && !swept.asked {
            let looked_for = paths(&site.0.kubeconfigs);
            output.aside(&format!("there is no kubeconfig at {looked_for}, so nobody was asked about pods"));
        }
        swept.failure().map_or(Ok(()), |failure| Err(failure.into()))
    }

    /// Sweeps again and again, and says what was freed, and once what is wrong. The node defaults may come later than this.
    fn go_on(&self, pause: Duration, output: &mut Output) -> Result<(), CliError> {
        let mut ending = Ending::listen()?;
        let mut said = None;
        loop {
            let wrong = match self.site().and_then(|site| self.sweep(&site)) {
                Ok(swept) => {
                    let now = Timestamp::now();
                    let freed = swept.lines.iter().filter(|line| line.fate == Fate::Freed);
                    let rows: Vec<_> = freed.map(|line| line.row(now)).collect();
                    if !rows.is_empty() {
                        output.table(HEAD, rows)?;
                    }
                    if let Some(part) = &swept.recovery {
                        output.aside(&about(part));
                    }
                    swept.failure().map(CliError::from)
                }
                Err(error) => Some(error),
            };
            let wrong = wrong.map(|wrong| wrong.to_string());
            if let Some(wrong) = wrong.as_ref().filter(|_| wrong != said) {
                output.aside(wrong);
            }
            said = wrong;
            if ending.comes_within(pause) {
                return Ok(());
            }
        }
    }

    fn site(&self) -> Result<(Site, StoreConfig), CliError> {
        let (mut site, store) = self.store.site()?;
        if let Some(kubeconfig) = &self.kubeconfig {
            site.kubeconfigs = vec![existing(kubeconfig)?];
        }
        Ok((site, store))
    }

    fn sweep(&self, (site, store): &(Site, StoreConfig)) -> Result<Swept, CliError> {
        let Self { dry_run, max_share, interval, .. } = *self;
        Ok(sweep(site, store, Asked { dry_run, scope: self.scope(), max_share, interval })?)
    }

    fn scope(&self) -> Scope {
        match (self.marked, self.node) {
            (true, _) => Scope::Marks,
            (false, true) => Scope::Node,
            (false, false) => Scope::Cluster,
        }
    }

    fn table(&self, swept: &Swept, output: &mut Output) -> Result<(), CliError> {
        if !swept.lines.is_empty() {
            let now = Timestamp::now();
            output.table(HEAD, swept.lines.iter().map(|line| line.row(now)).collect())?;
        }
        output.line(&self.summary(swept))
    }

    fn summary(&self, swept: &Swept) -> String {
        let Tally { held, of_another_cluster, of_unnamed_cluster, without_a_pod, not_asked } = swept.tally;
        let untold = [
            (of_another_cluster, "of another cluster"),
            (of_unnamed_cluster, "that name no cluster"),
            (without_a_pod, "without a pod"),
            (not_asked, "that nobody was asked about"),
        ];
        let untold: Vec<String> =
            untold.into_iter().filter(|(count, _)| *count > 0).map(|(count, of)| format!("{count} {of}")).collect();
        let done = match (self.dry_run || swept.stopped.is_some(), swept.count(Fate::Freed)) {
            (true, _) => format!("{} would be freed, nothing is", swept.count(Fate::WouldGo)),
            (false, 0) => "nothing is freed".to_owned(),
            (false, freed) => format!("{freed} freed"),
        };
        let untold = match untold.is_empty() {
            true => String::new(),
            false => format!(" Not judged: {}.", untold.join(", ")),
        };
        let named = match (swept.named, self.dry_run) {
            (0, _) => String::new(),
            (named, false) => format!(" {named} that named no cluster name this one now."),
            (named, true) => format!(" {named} that name no cluster would name this one."),
        };
        let of = match self.scope() {
            Scope::Cluster => format!("Of {held} held addresses"),
            Scope::Node => format!("Of this node's marks and {held} held addresses"),
            Scope::Marks => "Of this node's marks".to_owned(),
        };
        format!("{of}: {done}.{untold}{named}")
    }

    fn document<'a>(&self, swept: &'a Swept) -> Document<'a> {
        let Tally { held, of_another_cluster, of_unnamed_cluster, without_a_pod, not_asked } = swept.tally;
        Document {
            dry_run: self.dry_run,
            stopped: swept.stopped.as_ref().map(Stopped::to_string),
            held,
            of_another_cluster,
            of_unnamed_cluster,
            without_a_pod,
            not_asked,
            named: swept.named,
            found: swept.lines.iter().map(Found::of).collect(),
        }
    }
}

/// What a node did about a recovery of its store.
fn about(part: &Part) -> String {
    let Part { written_back, failed, missing, unknown, ended } = part;
    let failed: Vec<String> = failed.iter().map(|(id, why)| format!("{id} ({why})")).collect();
    let rest = match (failed.as_slice(), unknown, missing.as_slice(), ended) {
        (_, _, _, true) => "the recovery is over".to_owned(),
        ([], None, [], false) => "this node looks again".to_owned(),
        ([], None, missing, false) => format!("these nodes are missing: {}", list(missing)),
        ([], Some(why), _, false) => format!("which nodes are missing is not known: {why}"),
        (failed, ..) => format!("not for now: {}", failed.join("; ")),
    };
    format!("the store went back in time; {} attachments of this node were written back; {rest}", written_back.len())
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a share from 0 to 1 is expected, such as 0.1".to_owned())
}

fn word(fate: Fate) -> &'static str {
    match fate {
        Fate::Freed => "freed",
        Fate::WouldGo => "would go",
        Fate::Stays => "stays",
        Fate::Failed => "failed",
    }
}

impl<'a> Found<'a> {
    fn of(line: &'a Line) -> Self {
        let (address, vrf, attachment) = match &line.target {
            Target::Address { vrf, ip } | Target::Share { vrf, ip, .. } => {
                (Some(ip.to_string()), Some(vrf.to_string()), None)
            }
            Target::Attachment(id) => (None, None, Some(id.to_string())),
        };
        let Line { holder, since, fate, why, .. } = line;
        Self { address, vrf, attachment, fate: word(*fate), why, holder: holder.as_ref(), since: *since }
    }
}

impl Line {
    fn row(&self, now: Timestamp) -> [String; 9] {
        let none = || "-".to_owned();
        let what = match &self.target {
            Target::Address { ip, .. } | Target::Share { ip, .. } => ip.to_string(),
            Target::Attachment(_) => "attachment".to_owned(),
        };
        let id = match (&self.target, &self.holder) {
            (Target::Attachment(id) | Target::Share { of: id, .. }, _) => Some(id),
            (Target::Address { .. }, holder) => holder.as_ref().map(|holder| &holder.id),
        };
        let pod = self.holder.as_ref().and_then(|holder| holder.pod.label());
        let since = self.since.map_or_else(none, |since| age(since, now));
        let network = id.map_or_else(none, |id| id.network.to_string());
        let [ifname, node, container] = id.map_or_else(|| [none(), none(), none()], columns);
        let fate = word(self.fate).to_owned();
        [what, fate, network, pod.unwrap_or_else(none), ifname, node, container, since, self.why.clone()]
    }
}
