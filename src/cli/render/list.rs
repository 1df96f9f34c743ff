//! Addresses, one by one: a row of a table for each holder, or an element of a JSON list.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;

use super::{age, columns, none};
use crate::cause::chain;
use crate::cli::CliError;
use crate::cli::output::Output;
use crate::ipam::lease::{AllocationKind, Foreign, Holder, Lease, LeaseState, Stored};
use crate::ipam::name::Name;
use crate::ops::operator::list::AddressRow;

const HEAD: [&str; 9] = ["ADDRESS", "STATE", "KIND", "NETWORK", "POD", "INTERFACE", "NODE", "CONTAINER", "SINCE"];

/// An address in the JSON list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    address: IpAddr,
    vrf: &'a Name,
    state: &'static str,
    #[serde(flatten)]
    lease: Option<&'a Lease>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

/// Receives each address as it is read.
type Show<'a> = &'a mut dyn FnMut(AddressRow) -> Result<(), CliError>;

/// Prints the addresses as JSON.
pub(crate) fn json(output: &mut Output, list: impl FnOnce(Show<'_>) -> Result<(), CliError>) -> Result<(), CliError> {
    let mut elements = output.stream_list();
    list(&mut |row: AddressRow| elements.push(&Document::from(&row)))?;
    elements.end()
}

/// Prints the addresses as a table.
pub(crate) fn table(output: &mut Output, list: impl FnOnce(Show<'_>) -> Result<(), CliError>) -> Result<(), CliError> {
    let now = Timestamp::now();
    let mut table = output.stream_table(HEAD);
    list(&mut |row: AddressRow| rows(&row, now).into_iter().try_for_each(|row| table.push(row)))?;
    match table.end()? {
        0 => output.line("No addresses are held, reserved, in cooldown or foreign."),
        _ => Ok(()),
    }
}

impl<'a> From<&'a AddressRow> for Document<'a> {
    fn from(AddressRow { vrf, address, lease }: &'a AddressRow) -> Self {
        let (lease_document, unreadable) = match lease {
            Stored::Known(lease) => (Some(lease), None),
            Stored::Unreadable(why) => (None, Some(chain(why).to_string())),
        };
        Self { address: *address, vrf, state: state(lease), lease: lease_document, unreadable }
    }
}

fn state(lease: &Stored<Lease>) -> &'static str {
    lease.as_known().map_or("unreadable", |lease| lease.state().word())
}

/// The rows of an address: one, or one for each pod that shares it while a virtual machine migrates.
fn rows(AddressRow { address, lease, .. }: &AddressRow, now: Timestamp) -> Vec<[String; 9]> {
    let (address, state) = (address.to_string(), state(lease).to_owned());
    let lease = match lease {
        Stored::Known(lease) => lease,
        Stored::Unreadable(why) => {
            return vec![[address, state, none(), none(), chain(why).to_string(), none(), none(), none(), none()]];
        }
    };
    let kind = match lease.kind {
        AllocationKind::Dynamic => "random",
        AllocationKind::Fixed => "fixed",
        AllocationKind::Sticky => "sticky",
    };
    let since = lease.rest.as_ref().map(|rest| rest.released).or(lease.unused).unwrap_or(lease.since);
    if let Some(Foreign { mac, network, node, .. }) = lease.foreign() {
        let (network, node) = (network.to_string(), node.to_string());
        return vec![[address, state, none(), network, format!("host {mac}"), none(), node, none(), age(since, now)]];
    }
    if lease.holders.is_empty() {
        return vec![[address, state, kind.to_owned(), none(), none(), none(), none(), none(), age(since, now)]];
    }
    let of_holder = |holder: &Holder| {
        let owner = lease.owner.as_ref().filter(|_| lease.state() == LeaseState::Reserved);
        let whose = owner.map(ToString::to_string).or_else(|| holder.pod.label()).unwrap_or_else(none);
        let (network, [ifname, node, container]) = (holder.id.network.to_string(), columns(&holder.id));
        let (address, state, kind) = (address.clone(), state.clone(), kind.to_owned());
        [address, state, kind, network, whose, ifname, node, container, age(since, now)]
    };
    lease.holders.iter().map(of_holder).collect()
}
