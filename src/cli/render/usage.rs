//! Usage per range: a table, a JSON list, or metrics.

use serde::Serialize;

use super::none;
use crate::cli::CliError;
use crate::cli::output::Output;
use crate::ipam::name::Name;
use crate::ipam::usage::{RangeUsage, Usage};
use crate::metrics;

const HEAD: [&str; 9] = ["NETWORK", "VRF", "SUBNET", "RANGE", "SIZE", "HELD", "RESTING", "FOREIGN", "FREE"];

/// A range in the JSON list.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    range: &'a RangeUsage,
    free: Option<u128>,
}

/// Warns about leases that no range counts, because they can't be read.
pub(crate) fn unreadable(output: &mut Output, usage: &Usage) {
    let unreadable: u64 = usage.unreadable().values().sum();
    if unreadable > 0 {
        output.warn(&format!("{unreadable} leases can't be read, and are in no line; their addresses count as held"));
    }
}

/// Prints the ranges of one network or of all as a table.
pub(crate) fn table(output: &mut Output, usage: &Usage, network: Option<&Name>) -> Result<(), CliError> {
    let ranges = ranges(usage, network);
    if ranges.is_empty() {
        return output.line("No network is known yet, and no address is held.");
    }
    output.table(HEAD, ranges.iter().map(row))
}

/// Prints the ranges of one network or of all as JSON.
pub(crate) fn json(output: &mut Output, usage: &Usage, network: Option<&Name>) -> Result<(), CliError> {
    let ranges = ranges(usage, network);
    let documents: Vec<Document<'_>> = ranges.iter().map(|range| Document { free: range.free(), range }).collect();
    output.json(&documents)
}

/// Prints the metrics of all networks.
pub(crate) fn prometheus(output: &mut Output, usage: Usage) -> Result<(), CliError> {
    let text = metrics::text([Box::new(usage) as _]).map_err(CliError::Metrics)?;
    output.lines(text.trim_end())
}

fn ranges(usage: &Usage, network: Option<&Name>) -> Vec<RangeUsage> {
    let mut ranges = usage.ranges();
    ranges.retain(|range| network.is_none_or(|network| range.key.network == *network));
    ranges
}

fn row(range: &RangeUsage) -> [String; 9] {
    let number = |number: Option<u128>| number.map_or_else(none, |number| number.to_string());
    let key = &range.key;
    [
        key.network.to_string(),
        key.vrf.to_string(),
        key.subnet.map_or_else(none, |subnet| subnet.to_string()),
        key.part.to_string(),
        number(range.size),
        range.held.to_string(),
        range.resting.to_string(),
        range.foreign.to_string(),
        number(range.free()),
    ]
}
