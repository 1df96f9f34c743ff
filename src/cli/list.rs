//! `kube-ipam list`: which addresses are held or rest, and by whom.

use std::net::IpAddr;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::CliError;
use super::output::{Format, Output, columns};
use super::store::{PATIENCE, StoreArgs};
use crate::ipam::keys;
use crate::ipam::lease::{Holder, Kind, Lease, State, Stored};
use crate::ipam::name::Name;
use crate::store::Entry;

/// Show which addresses are held or rest, and by whom.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam list
  kube-ipam list --network db-net --node worker-3
  kube-ipam list --ip 10.188.0.218 -o json
  kube-ipam list --data-dir /var/lib/kube-ipam/store")]
pub struct List {
    /// Only this routing domain
    #[arg(long, value_name = "NAME")]
    vrf: Option<Name>,
    /// Only this network
    #[arg(long, value_name = "NAME")]
    network: Option<Name>,
    /// Only this node
    #[arg(long, value_name = "NAME")]
    node: Option<Name>,
    /// Only this pod
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    pod: Option<String>,
    /// Only this address
    #[arg(long, value_name = "IP")]
    ip: Option<IpAddr>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    store: StoreArgs,
}

/// One address as it is listed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    address: IpAddr,
    vrf: Name,
    state: &'static str,
    #[serde(flatten)]
    lease: Option<Lease>,
    /// Why the lease can't be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

impl List {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Result<(), CliError> {
        let session = self.store.open()?;
        let mut listed = Vec::new();
        session.each(&keys::all_leases(), PATIENCE, |entry| {
            listed.extend(Listed::read(entry).filter(|listed| self.wants(listed)));
        })?;
        match self.output {
            Format::Json => output.json(&listed),
            Format::Table if listed.is_empty() => output.line("No address is held or rests."),
            Format::Table => {
                let now = Timestamp::now();
                let head = ["ADDRESS", "STATE", "KIND", "NETWORK", "POD", "INTERFACE", "NODE", "CONTAINER", "SINCE"];
                output.table(head, listed.iter().flat_map(|listed| listed.rows(now)).collect())
            }
        }
    }

    fn wants(&self, listed: &Listed) -> bool {
        let holders = listed.lease.iter().flat_map(|lease| &lease.holders);
        let any = |matches: &dyn Fn(&Holder) -> bool| holders.clone().any(matches);
        self.vrf.as_ref().is_none_or(|vrf| listed.vrf == *vrf)
            && self.ip.is_none_or(|ip| listed.address == ip.to_canonical())
            && self.network.as_ref().is_none_or(|network| any(&|holder| holder.id.network == *network))
            && self.node.as_ref().is_none_or(|node| any(&|holder| holder.id.node == *node))
            && self.pod.as_ref().is_none_or(|pod| any(&|holder| is_pod(holder, pod)))
    }
}

/// Whether a holder is the pod of this name, with its namespace or without.
fn is_pod(holder: &Holder, wanted: &str) -> bool {
    holder.pod.name.as_deref() == Some(wanted) || holder.pod.label().as_deref() == Some(wanted)
}

impl Listed {
    fn read(entry: &Entry) -> Option<Self> {
        let (vrf, address) = keys::read_lease(&entry.key)?;
        Some(match Stored::<Lease>::read(&entry.value) {
            Stored::Known(lease) => {
                Self { address, vrf, state: lease.state().word(), lease: Some(lease), unreadable: None }
            }
            other => Self { address, vrf, state: "unreadable", lease: None, unreadable: Some(other.why_unreadable()) },
        })
    }

    /// Its line for people; of an address that two pods have (a virtual machine that migrates), one for each.
    fn rows(&self, now: Timestamp) -> Vec<[String; 9]> {
        let none = || "-".to_owned();
        let (address, state) = (self.address.to_string(), self.state.to_owned());
        let Some(lease) = &self.lease else {
            let why = self.unreadable.clone().unwrap_or_default();
            return vec![[address, state, none(), none(), why, none(), none(), none(), none()]];
        };
        let kind = match lease.kind {
            Kind::Dynamic => "random",
            Kind::Fixed => "fixed",
            Kind::Sticky => "sticky",
        };
        let since = lease.rest.as_ref().map(|rest| rest.released).or(lease.unused).unwrap_or(lease.since);
        if lease.holders.is_empty() {
            return vec![[address, state, kind.to_owned(), none(), none(), none(), none(), none(), age(since, now)]];
        }
        let of_holder = |holder: &Holder| {
            let owner = lease.owner.as_ref().filter(|_| lease.state() == State::Reserved);
            let whose = owner.map(ToString::to_string).or_else(|| holder.pod.label()).unwrap_or_else(none);
            let (network, [ifname, node, container]) = (holder.id.network.to_string(), columns(&holder.id));
            let (address, state, kind) = (address.clone(), state.clone(), kind.to_owned());
            [address, state, kind, network, whose, ifname, node, container, age(since, now)]
        };
        lease.holders.iter().map(of_holder).collect()
    }
}

/// How long ago, as kubectl says it: `42s`, `7m`, `3h`, `12d`.
pub(super) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short_and_never_negative() -> Result<(), jiff::Error> {
        let at = Timestamp::from_second;
        let ages = [-5, 0, 119, 120, 7_199, 7_200, 172_800].map(|after| at(1_000_000 + after).map(|now| (after, now)));
        let ages = ages.into_iter().collect::<Result<Vec<_>, _>>()?;
        let texts: Vec<String> =
            ages.into_iter().map(|(_, now)| at(1_000_000).map(|then| age(then, now))).collect::<Result<_, _>>()?;
        assert_eq!(texts, ["0s", "0s", "119s", "2m", "119m", "2h", "2d"]);
        Ok(())
    }
}
