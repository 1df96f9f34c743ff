//! Usage per range: bars for people on a terminal, tables, documents, names or metrics; and maps of networks.

mod bar;
mod document;
mod glyph;
mod map;

use std::collections::BTreeSet;

use self::document::Document;
pub(crate) use self::map::{DOCUMENT_BLOCKS, drawn_blocks, map, map_documents};
use super::{count, none};
use crate::cli::CliError;
use crate::cli::output::{Encoding, Output};
use crate::ipam::address::Span;
use crate::ipam::usage::{RangeUsage, Trend, Usage};
use crate::metrics;
use crate::ops::operator::usage::{NeverAssigned, UsageReport};

const HEAD: [&str; 11] =
    ["NETWORK", "VRF", "SUBNET", "RANGE", "SIZE", "HELD", "RESERVED", "RESTING", "FOREIGN", "FREE", "RUN"];

/// A range with everything that is known of it.
pub(crate) struct Row<'a> {
    pub(crate) range: RangeUsage,
    /// Its largest run of addresses without a lease.
    run: Option<Span>,
    /// The addresses of its subnet that no pod gets.
    never: &'a [NeverAssigned],
    trend: Trend,
}

impl Row<'_> {
    /// The number of addresses of its subnet that no pod gets.
    fn never_count(&self) -> u128 {
        self.never.iter().fold(0, |sum, never| sum.saturating_add(never.span.len()))
    }
}

/// All ranges, in the order of routing domains, networks and subnets.
pub(crate) fn rows(report: &UsageReport) -> Vec<Row<'_>> {
    let row = |range: RangeUsage| {
        let key = &range.key;
        let run = report.runs.get(key).copied();
        let subnet = key.subnet.map(|subnet| (key.vrf.clone(), key.network.clone(), subnet));
        let never = subnet.and_then(|subnet| report.never.get(&subnet));
        let trend = report.trends.get(key).copied().unwrap_or(Trend::Unknown);
        Row { run, never: never.map(Vec::as_slice).unwrap_or_default(), trend, range }
    };
    report.usage.ranges().into_iter().map(row).collect()
}

/// Warns about leases that no range counts, because they can't be read.
pub(crate) fn unreadable(output: &mut Output, usage: &Usage) {
    let unreadable: u64 = usage.unreadable().values().sum();
    if unreadable > 0 {
        output.warn(&format!("{unreadable} leases can't be read, and are in no line; their addresses count as held"));
    }
}

/// Prints the ranges with bars on a terminal, and as a table elsewhere.
pub(crate) fn people(output: &mut Output, rows: &[Row<'_>]) -> Result<(), CliError> {
    match output.terminal_columns() {
        _ if rows.is_empty() => nothing(output),
        Some(columns) => bar::bars(output, rows, columns),
        None => output.table(HEAD, rows.iter().map(row)),
    }
}

/// Prints the ranges as a table with more columns.
pub(crate) fn wide(output: &mut Output, rows: &[Row<'_>]) -> Result<(), CliError> {
    if rows.is_empty() {
        return nothing(output);
    }
    let [network, vrf, subnet, range, size, held, reserved, resting, foreign, free, run] = HEAD;
    let head = [
        network,
        vrf,
        subnet,
        range,
        size,
        held,
        reserved,
        resting,
        foreign,
        free,
        run,
        "LARGEST RUN",
        "FULL IN",
        "NEVER",
        "WHY",
    ];
    let wide_row = |of_range: &Row<'_>| {
        let [network, vrf, subnet, range, size, held, reserved, resting, foreign, free, run] = row(of_range);
        let largest = of_range.run.map_or_else(none, |run| run.to_string());
        let why: Vec<String> = of_range.never.iter().map(|never| format!("{} ({})", never.span, never.why)).collect();
        let why = if why.is_empty() { none() } else { why.join(", ") };
        let never = count(of_range.never_count());
        let full_in = full_in(of_range.trend);
        [network, vrf, subnet, range, size, held, reserved, resting, foreign, free, run, largest, full_in, never, why]
    };
    output.table(head, rows.iter().map(wide_row))
}

/// Prints the ranges as a list of documents.
pub(crate) fn documents(output: &mut Output, encoding: Encoding, rows: &[Row<'_>]) -> Result<(), CliError> {
    let mut elements = output.stream_list(encoding);
    rows.iter().try_for_each(|row| elements.push(&Document::from(row)))?;
    elements.end()
}

/// Prints the names of the networks.
pub(crate) fn names(output: &mut Output, rows: &[Row<'_>]) -> Result<(), CliError> {
    let names: BTreeSet<_> = rows.iter().map(|row| &row.range.key.network).collect();
    names.into_iter().try_for_each(|name| output.name(name))
}

/// Prints the metrics of all networks.
pub(crate) fn prometheus(output: &mut Output, usage: Usage) -> Result<(), CliError> {
    let text = metrics::text([Box::new(usage) as _]).map_err(CliError::Metrics)?;
    output.lines(text.trim_end())
}

/// When a range is full, as a cell.
fn full_in(trend: Trend) -> String {
    match trend {
        Trend::Unknown => "unknown".to_owned(),
        Trend::NotGrowing { .. } => "never".to_owned(),
        Trend::Growing { days, .. } => format!("{days:.0}d"),
    }
}

fn nothing(output: &mut Output) -> Result<(), CliError> {
    output.line("No network is known yet, and no address is held.")
}

fn row(Row { range, run, .. }: &Row<'_>) -> [String; 11] {
    let number = |number: Option<u128>| number.map_or_else(none, count);
    let key = &range.key;
    // Without a definition, nobody knows what is free.
    let run = range.size.map(|_| run.map_or(0, |run| run.len()));
    [
        key.network.to_string(),
        key.vrf.to_string(),
        key.subnet.map_or_else(none, |subnet| subnet.to_string()),
        key.part.to_string(),
        number(range.size),
        range.held.to_string(),
        range.reserved.to_string(),
        range.resting.to_string(),
        range.foreign.to_string(),
        number(range.free()),
        number(run),
    ]
}
