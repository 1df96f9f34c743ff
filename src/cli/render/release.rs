//! The report of a release, as sentences.

use std::net::IpAddr;

use crate::cause::chain;
use crate::cli::CliError;
use crate::cli::output::Output;
use crate::ipam::decide::Evicted;
use crate::ipam::lease::{Foreign, Lease, Stored};
use crate::ops::operator::release::ReleaseReport;

/// Prints the report. Fails if the address should have been freed and was not.
pub(crate) fn sentences(output: &mut Output, report: &ReleaseReport) -> Result<(), CliError> {
    let ip = report.ip;
    let Some(lease) = &report.lease else { return output.line(&format!("{ip} is free already.")) };
    output.line(&describe(ip, lease))?;
    match report.evicted {
        None => Err(CliError::Refused(format!("nothing was freed; to free {ip}, run this again with --yes"))),
        Some(Evicted::Freed(_)) => output.line(&format!("{ip} is free now.")),
        Some(Evicted::NotHeld) => output.line(&format!("{ip} is free by now.")),
        Some(Evicted::Changed) => Err(CliError::Refused(format!(
            "{ip} has another holder by now; nothing was freed; run this without --yes to see the holder"
        ))),
    }
}

fn describe(ip: IpAddr, lease: &Stored<Lease>) -> String {
    match lease {
        Stored::Known(Lease { rest: Some(rest), .. }) => format!(
            "{ip} has been in cooldown since \
            {:.0}.",
            rest.released
        ),
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
            format!("{ip} is held by {}, since {:.0}.", holders.join(" and by "), lease.since)
        }
        Stored::Unreadable(why) => format!("{ip} counts as held: its lease can't be read: {}.", chain(why)),
    }
}
