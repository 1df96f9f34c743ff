//! `kube-ipam release`: frees an address whose holder is known to be gone.

use std::net::IpAddr;

use clap::Args;

use super::CliError;
use super::output::Output;
use super::store::StoreArgs;
use crate::ipam::address::Span;
use crate::ipam::decide::{Evict, Evicted};
use crate::ipam::keys;
use crate::ipam::lease::{Lease, Stored};
use crate::ipam::name::Name;
use crate::store::Cursor;

/// Free an address whose holder is known to be gone.
///
/// A pod that still runs keeps using its address, and the next pod may be given the same one. So look at the holder first:
/// without --yes this verb only shows it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam release 10.188.0.218
  kube-ipam release 10.188.0.218 --yes")]
pub struct Release {
    /// The address
    ip: IpAddr,
    /// The routing domain of the address
    #[arg(long, value_name = "NAME", default_value = "default")]
    vrf: Name,
    /// Free it, and don't only show who holds it
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    store: StoreArgs,
}

impl Release {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Result<(), CliError> {
        let (session, ip, until) = (self.store.open()?, self.ip.to_canonical(), self.store.deadline());
        let span = keys::leases(&self.vrf, &Span::single(ip));
        let page = session.page(&span, &Cursor::default(), 1, until)?;
        let Some(entry) = page.entries.first() else { return output.line(&format!("{ip} is free already.")) };
        let lease = Stored::<Lease>::read(&entry.value);
        output.line(&describe(ip, &lease))?;
        if !self.yes {
            return Err(CliError::Refused(format!("nothing was freed; to free {ip}, run this again with --yes")));
        }
        match session.decide(&mut Evict::new(self.vrf.clone(), ip, entry.revision), until)? {
            Evicted::Freed(_) => output.line(&format!("{ip} is free now.")),
            Evicted::NotHeld => output.line(&format!("{ip} has become free meanwhile.")),
            Evicted::Changed => {
                Err(CliError::Refused(format!("{ip} has passed to another holder meanwhile; look at it again")))
            }
        }
    }
}

fn describe(ip: IpAddr, lease: &Stored<Lease>) -> String {
    match lease {
        Stored::Known(Lease { rest: Some(rest), .. }) => format!("{ip} rests since {:.0}.", rest.released),
        Stored::Known(Lease { unused: Some(since), owner: Some(owner), .. }) => {
            format!("{ip} is reserved for {owner}, unused since {since:.0}.")
        }
        Stored::Known(lease) => {
            let holders: Vec<String> = lease.holders.iter().map(ToString::to_string).collect();
            format!("{ip} is held by {}, since {:.0}.", holders.join(" and by "), lease.since)
        }
        unreadable => format!("{ip} counts as held: its lease {}.", unreadable.why_unreadable()),
    }
}
