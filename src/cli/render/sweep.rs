//! The report of a sweep: a table with a summary, a document, or the addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;

use super::{age, columns, none};
use crate::cli::CliError;
use crate::cli::output::{Encoding, ListFormat, Output};
use crate::ipam::lease::Holder;
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::refusal::list;
use crate::ipam::sweep::{Stopped, Tally, Target};
use crate::ops::operator::sweep::{Scope, SweepEntry, SweepOptions, SweepOutcome, SweepReport};
use crate::ops::recovery::RecoveryShare;

const HEAD: [&str; 9] = ["WHAT", "FATE", "NETWORK", "POD", "INTERFACE", "NODE", "CONTAINER", "SINCE", "WHY"];

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
    found: Vec<CandidateRow<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CandidateRow<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vrf: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attachment: Option<String>,
    #[serde(rename = "fate")]
    outcome: &'static str,
    why: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<&'a Holder>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
}

pub(crate) fn report(
    output: &mut Output,
    report: &SweepReport,
    options: SweepOptions,
    format: ListFormat,
) -> Result<(), CliError> {
    match format {
        ListFormat::Table => table(output, report, options)?,
        ListFormat::Wide => wide(output, report, options)?,
        ListFormat::Json => output.document(&document(report, options), Encoding::Json)?,
        ListFormat::Yaml => output.document(&document(report, options), Encoding::Yaml)?,
        ListFormat::Name => names(output, report)?,
    }
    about_recovery(output, report);
    Ok(())
}

/// Prints what one of the repeated sweeps freed, if anything.
pub(crate) fn freed(output: &mut Output, report: &SweepReport) -> Result<(), CliError> {
    let now = Timestamp::now();
    let mut freed = report.entries.iter().filter(|entry| entry.outcome == SweepOutcome::Freed).peekable();
    if freed.peek().is_some() {
        output.table(HEAD, freed.map(|entry| row(entry, now)))?;
    }
    about_recovery(output, report);
    Ok(())
}

fn about_recovery(output: &mut Output, report: &SweepReport) {
    if let Some(part) = &report.recovery {
        output.warn(&about(part));
    }
}

fn table(output: &mut Output, report: &SweepReport, options: SweepOptions) -> Result<(), CliError> {
    if !report.entries.is_empty() {
        let now = Timestamp::now();
        output.table(HEAD, report.entries.iter().map(|entry| row(entry, now)))?;
    }
    output.line(&summary(report, options))
}

/// The table with the whole names of containers, and two columns more.
fn wide(output: &mut Output, report: &SweepReport, options: SweepOptions) -> Result<(), CliError> {
    let now = Timestamp::now();
    let head = [HEAD[0], HEAD[1], HEAD[2], HEAD[3], HEAD[4], HEAD[5], HEAD[6], HEAD[7], "VRF", "WORKLOAD", HEAD[8]];
    let wide_row = |entry: &SweepEntry| {
        let [what, outcome, network, pod, ifname, node, _, since, why] = row(entry, now);
        let container = attachment(entry).map_or_else(none, |id| id.container.to_string());
        let vrf = address(entry).map_or_else(none, |(vrf, _)| vrf.to_string());
        let workload = entry.holder.as_ref().and_then(|holder| holder.workload.clone()).unwrap_or_else(none);
        [what, outcome, network, pod, ifname, node, container, since, vrf, workload, why]
    };
    if !report.entries.is_empty() {
        output.table(head, report.entries.iter().map(wide_row))?;
    }
    output.line(&summary(report, options))
}

/// The addresses of all leak candidates, each on a line of its own.
fn names(output: &mut Output, report: &SweepReport) -> Result<(), CliError> {
    let addresses: BTreeSet<IpAddr> = report.entries.iter().filter_map(address).map(|(_, ip)| *ip).collect();
    addresses.iter().try_for_each(|ip| output.name(ip))
}

fn summary(report: &SweepReport, options: SweepOptions) -> String {
    let Tally { held, of_another_cluster, of_unnamed_cluster, without_a_pod, not_asked } = report.tally;
    let unchecked = [
        (of_another_cluster, "of another cluster"),
        (of_unnamed_cluster, "that name no cluster"),
        (without_a_pod, "without a pod"),
        (not_asked, "without an API server"),
    ];
    let unchecked: Vec<String> =
        unchecked.into_iter().filter(|(count, _)| *count > 0).map(|(count, of)| format!("{count} {of}")).collect();
    let done = match (options.dry_run || report.stopped.is_some(), report.count(SweepOutcome::Freed)) {
        (true, _) => format!("{} would be freed, nothing was", report.count(SweepOutcome::WouldBeFreed)),
        (false, 0) => "nothing was freed".to_owned(),
        (false, freed) => format!("{freed} freed"),
    };
    let unchecked = match unchecked.is_empty() {
        true => String::new(),
        false => format!(" Not checked: {}.", unchecked.join(", ")),
    };
    let named = match (report.named, options.dry_run) {
        (0, _) => String::new(),
        (named, false) => format!(" {named} that named no cluster name this one now."),
        (named, true) => format!(" {named} that name no cluster would name this one."),
    };
    let of = match options.scope {
        Scope::Cluster => format!("Of {held} held addresses"),
        Scope::Node => format!("Of this node's deferred releases and {held} held addresses"),
        Scope::DeferredReleases => "Of this node's deferred releases".to_owned(),
    };
    format!("{of}: {done}.{unchecked}{named}")
}

fn document(report: &SweepReport, options: SweepOptions) -> Document<'_> {
    let Tally { held, of_another_cluster, of_unnamed_cluster, without_a_pod, not_asked } = report.tally;
    Document {
        dry_run: options.dry_run,
        stopped: report.stopped.as_ref().map(Stopped::to_string),
        held,
        of_another_cluster,
        of_unnamed_cluster,
        without_a_pod,
        not_asked,
        named: report.named,
        found: report.entries.iter().map(CandidateRow::from).collect(),
    }
}

/// Describes a node's part in a recovery of its store.
fn about(part: &RecoveryShare) -> String {
    let RecoveryShare { written_back, failed, missing, unknown, ended } = part;
    let failed: Vec<String> = failed.iter().map(|(id, why)| format!("{id} ({why})")).collect();
    let rest = match (failed.as_slice(), unknown, missing.as_slice(), ended) {
        (_, _, _, true) => "the recovery is over".to_owned(),
        ([], None, [], false) => "this node checks again".to_owned(),
        ([], None, missing, false) => format!("these nodes are missing: {}", list(missing)),
        ([], Some(why), _, false) => format!("can't tell which nodes are missing: {why}"),
        (failed, ..) => format!("not for now: {}", failed.join("; ")),
    };
    format!("the store went back in time; {} attachments of this node were written back; {rest}", written_back.len())
}

fn word(outcome: SweepOutcome) -> &'static str {
    match outcome {
        SweepOutcome::Freed => "freed",
        SweepOutcome::WouldBeFreed => "would go",
        SweepOutcome::Skipped => "stays",
        SweepOutcome::Failed => "failed",
    }
}

impl<'a> From<&'a SweepEntry> for CandidateRow<'a> {
    fn from(SweepEntry { target, holder, since, outcome, why, .. }: &'a SweepEntry) -> Self {
        let (address, vrf, attachment) = match target {
            Target::Address { vrf, ip } | Target::Share { vrf, ip, .. } => {
                (Some(ip.to_string()), Some(vrf.to_string()), None)
            }
            Target::Attachment(id) => (None, None, Some(id.to_string())),
        };
        Self { address, vrf, attachment, outcome: word(*outcome), why, holder: holder.as_ref(), since: *since }
    }
}

fn row(entry: &SweepEntry, now: Timestamp) -> [String; 9] {
    let what = address(entry).map_or_else(|| "attachment".to_owned(), |(_, ip)| ip.to_string());
    let id = attachment(entry);
    let pod = entry.holder.as_ref().and_then(|holder| holder.pod.label());
    let since = entry.since.map_or_else(none, |since| age(since, now));
    let network = id.map_or_else(none, |id| id.network.to_string());
    let [ifname, node, container] = id.map_or_else(|| [none(), none(), none()], columns);
    let outcome = word(entry.outcome).to_owned();
    [what, outcome, network, pod.unwrap_or_else(none), ifname, node, container, since, entry.why.clone()]
}

/// The address of a candidate, with its vrf; `None` for an entry without one.
fn address(entry: &SweepEntry) -> Option<(&Name, &IpAddr)> {
    match &entry.target {
        Target::Address { vrf, ip } | Target::Share { vrf, ip, .. } => Some((vrf, ip)),
        Target::Attachment(_) => None,
    }
}

/// The attachment of a candidate.
fn attachment(entry: &SweepEntry) -> Option<&AttachmentId> {
    match &entry.target {
        Target::Attachment(id) | Target::Share { of: id, .. } => Some(id),
        Target::Address { .. } => entry.holder.as_ref().map(|holder| &holder.id),
    }
}
