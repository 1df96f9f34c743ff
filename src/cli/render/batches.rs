//! How work on many addresses ended.

use std::net::IpAddr;

use crate::cli::CliError;
use crate::cli::output::Output;
use crate::ops::operator::reserve::{BatchEnd, BatchReport};

/// The most addresses that a text names.
pub(super) const MAX_NAMED: usize = 20;

/// Says what was done to how many addresses. Fails if it was not done to all.
pub(crate) fn end(output: &mut Output, report: &BatchReport, done: &str) -> Result<(), CliError> {
    let BatchReport { done: count, total, end } = report;
    let so_far = format!("{count} of {} {} {done}", self::count(*total), are(*total));
    let why = match end {
        BatchEnd::Complete => return output.line(&format!("{} {} {done}.", self::count(*total), are(*total))),
        BatchEnd::Stale { ips, in_doubt } => format!(
            "{} changed since {}{}",
            names(ips),
            if ips.len() == 1 { "it was shown" } else { "they were shown" },
            if *in_doubt { ", and an attempt without an answer may still take effect" } else { "" }
        ),
        BatchEnd::Stopped => "the command was interrupted".to_owned(),
        BatchEnd::Failed(error) => error.full().to_string(),
    };
    Err(CliError::Refused(format!("{so_far}; {why}; run the same command again to go on from there")))
}

/// A number of addresses.
pub(crate) fn count(addresses: usize) -> String {
    if addresses == 1 { "1 address".to_owned() } else { format!("{addresses} addresses") }
}

fn are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

/// Some addresses by name.
fn names(ips: &[IpAddr]) -> String {
    let named: Vec<String> = ips.iter().take(MAX_NAMED).map(IpAddr::to_string).collect();
    let more = ips.len().saturating_sub(MAX_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}
