//! A plan: each finding with the lines that it marks, then the networks and the workloads.

mod diagnostic;
mod document;
mod sarif;

use std::net::IpAddr;

use clap::ValueEnum;

use self::document::Document;
use super::{count, none};
use crate::cli::CliError;
use crate::cli::output::{Encoding, Output, printable};
use crate::ops::operator::plan::Planned;
use crate::plan::{InterfaceReport, NetworkReport, Outcome, PodAddresses};

/// The page that explains the numbers of findings.
const ERRORS_PAGE: &str = "https://github.com/cloudnativer/kube-ipam/blob/main/docs/reference-errors.md";

/// The most findings for people, who can't read more. Programs get all.
const SHOWN_FINDINGS: usize = 100;

const NETWORKS: [&str; 7] = ["NETWORK", "RANGES", "RANDOM", "TAKEN", "UPDATE", "LEFT", "FIXED"];
const WORKLOADS: [&str; 5] = ["WORKLOAD", "PODS", "INTERFACE", "NETWORK", "GETS"];

/// How a plan is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For programs, and to read
    Yaml,
    /// For code hosts, which show findings at their lines (SARIF 2.1.0)
    Sarif,
}

/// Prints a plan.
pub(crate) fn plan(output: &mut Output, planned: &Planned, format: Format) -> Result<(), CliError> {
    match format {
        Format::Table => people(output, planned),
        Format::Json => output.json(&Document::of(planned)),
        Format::Yaml => output.document(&Document::of(planned), Encoding::Yaml),
        Format::Sarif => output.json(&sarif::log(planned)),
    }
}

/// The number of findings: `2 errors and 1 warning`.
pub(crate) fn verdict(errors: usize, warnings: usize) -> String {
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    match (errors, warnings) {
        (_, 0) => count(errors, "error"),
        (0, _) => count(warnings, "warning"),
        (_, _) => format!("{} and {}", count(errors, "error"), count(warnings, "warning")),
    }
}

fn people(output: &mut Output, planned: &Planned) -> Result<(), CliError> {
    let renderer = output.diagnostics();
    let (shown, more) = planned.report.findings.split_at(planned.report.findings.len().min(SHOWN_FINDINGS));
    for finding in shown {
        output.rendered(&diagnostic::diagnostic(&renderer, finding, &planned.sources))?;
        output.line("")?;
    }
    if !more.is_empty() {
        output.lines(&format!("{} more findings are not shown; -o json has all of them.\n", more.len()))?;
    }
    if planned.report.interfaces.is_empty() && planned.report.networks.is_empty() {
        return output.line("These files define no network of kube-ipam and no pods.");
    }
    output.table(NETWORKS, planned.report.networks.iter().map(network_row))?;
    // In most clusters, another plugin serves the first interface of every pod.
    let interfaces = planned.report.interfaces.iter().filter(|interface| interface.outcome != Outcome::OtherPlugin);
    let rows: Vec<_> = interfaces.map(workload_row).collect();
    match (planned.report.networks.is_empty(), rows.is_empty()) {
        (true, true) => return output.line("No interface of these pods gets an address from kube-ipam."),
        (false, false) => output.line("")?,
        _ => {}
    }
    output.table(WORKLOADS, rows)
}

fn network_row(network: &NetworkReport) -> [String; 7] {
    [
        printable(&network.network).into_owned(),
        network.ranges.join(", "),
        count(network.random),
        count(network.random_taken),
        count(network.surge),
        count(network.left()),
        count(network.fixed_taken),
    ]
}

fn workload_row(interface: &InterfaceReport) -> [String; 5] {
    [
        printable(&interface.workload).into_owned(),
        pods(interface),
        interface.interface.clone(),
        interface.network.as_deref().map_or_else(none, |network| printable(network).into_owned()),
        printable(&gets(&interface.outcome)).into_owned(),
    ]
}

/// The number of pods, with the number of nodes that it comes from.
fn pods(interface: &InterfaceReport) -> String {
    match &interface.nodes {
        Some(nodes) => format!("{} of {} nodes", nodes.possible, nodes.known),
        None => interface.pods.to_string(),
    }
}

/// The cell that says what an interface gets.
fn gets(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Addresses { certain, random, kept_for, because } => {
            let certain = (!certain.is_empty()).then(|| certain_addresses(certain));
            let random = random.iter().map(|set| format!("any of {set}"));
            let what = certain.into_iter().chain(random).collect::<Vec<_>>().join(" and ");
            let because = because.iter().filter(|because| because.contains('(')).cloned().collect::<Vec<_>>();
            let kept = kept_for.iter().map(|keeper| format!(", kept for {keeper}"));
            let because = (!because.is_empty()).then(|| format!(", by {}", because.join(", ")));
            std::iter::once(what).chain(kept).chain(because).collect()
        }
        Outcome::Refused => "nothing, see above".to_owned(),
        Outcome::OtherPlugin => "what another plugin gives".to_owned(),
        Outcome::Unknown => "unknown, see above".to_owned(),
    }
}

/// The addresses of these pods. If there are many, the first and the last.
fn certain_addresses(pods: &[PodAddresses]) -> String {
    /// The most addresses in a cell.
    const SHOWN: usize = 4;
    let list = |addresses: &[IpAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    let texts: Vec<String> = pods.iter().map(|pod| list(&pod.addresses)).collect();
    match texts.as_slice() {
        [first, .., last] if texts.len() > SHOWN => format!("{first} … {last} ({} addresses)", texts.len()),
        texts => texts.join(", "),
    }
}
