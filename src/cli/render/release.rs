//! The report of a release, as sentences.

use std::net::IpAddr;

use super::batches::{MAX_NAMED, count};
use crate::cause::chain;
use crate::cli::CliError;
use crate::cli::output::Output;
use crate::ipam::address::Span;
use crate::ipam::decide::Evicted;
use crate::ipam::lease::{Foreign, Lease, Stored};
use crate::ops::operator::release::{LeasedAddress, SpanSurvey};

/// Prints what became of the address. Fails if it should have been freed and was not.
pub(crate) fn outcome(output: &mut Output, ip: IpAddr, evicted: &Evicted) -> Result<(), CliError> {
    match evicted {
        Evicted::Freed(_) | Evicted::Deleted(_) => output.line(&format!("{ip} is free now.")),
        Evicted::NotHeld => output.line(&format!("{ip} is free by now.")),
        Evicted::Changed => Err(CliError::Refused(format!(
            "{ip} has another holder by now; nothing was freed; run this without --yes to see the holder"
        ))),
    }
}

/// Prints what is to be freed of a span, and what is left.
pub(crate) fn survey(output: &mut Output, span: &Span, survey: &SpanSurvey) -> Result<(), CliError> {
    let SpanSurvey { freed, left, .. } = survey;
    match freed.len() {
        0 => output.line(&format!("No address of {span} is reserved by hand and unused."))?,
        number => output.line(&format!("{} of {span} can be freed:", count(number)))?,
    }
    some(output, freed)?;
    if !left.is_empty() {
        let left = count(left.len());
        output.line(&format!("{left} left as is, because --all was not given or it can't be read:"))?;
    }
    some(output, left)
}

fn some(output: &mut Output, leased: &[LeasedAddress]) -> Result<(), CliError> {
    for LeasedAddress { ip, lease, .. } in leased.iter().take(MAX_NAMED) {
        output.line(&format!("  {}", describe(*ip, lease)))?;
    }
    match leased.len().saturating_sub(MAX_NAMED) {
        0 => Ok(()),
        more => output.line(&format!("  and {more} more")),
    }
}

/// The state of an address with a lease, as a sentence.
pub(crate) fn describe(ip: IpAddr, lease: &Stored<Lease>) -> String {
    match lease {
        Stored::Known(Lease { rest: Some(rest), .. }) => format!(
            "{ip} has been in cooldown since \
            {:.0}.",
            rest.released
        ),
        Stored::Known(Lease { unused: Some(_), manual: Some(manual), .. }) => format!("{ip} is {manual}."),
        Stored::Known(Lease { unused: Some(since), owner: Some(owner), .. }) => {
            format!("{ip} is reserved for {owner}, unused since {since:.0}.")
        }
        Stored::Known(lease) if let Some(Foreign { mac, network, node, .. }) = lease.foreign() => {
            let since = lease.since;
            format!(
                "{ip} is in use by {mac}, a host without a lease, since {since:.0} (network {network}, node {node})."
            )
        }
        Stored::Known(lease) => {
            let holders: Vec<String> = lease.holders.iter().map(ToString::to_string).collect();
            let manual = lease.manual.as_ref().map(|manual| format!(", and {manual}")).unwrap_or_default();
            format!("{ip} is held by {}, since {:.0}{manual}.", holders.join(" and by "), lease.since)
        }
        Stored::Unreadable(why) => format!("{ip} counts as held: its lease can't be read: {}.", chain(why)),
    }
}
