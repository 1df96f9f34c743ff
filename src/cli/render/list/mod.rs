//! Addresses, one by one: a row of a table for each holder, a document, or the address alone.

mod document;
mod free;

use std::net::IpAddr;

use jiff::Timestamp;

use self::document::Document;
pub(crate) use self::free::free;
use super::{age, columns, none};
use crate::cause::chain;
use crate::cli::CliError;
use crate::cli::output::{Encoding, Output};
use crate::ipam::lease::{Foreign, Holder, Lease, LeaseState, Stored};
use crate::ops::operator::list::AddressRow;

const HEAD: [&str; 9] = ["ADDRESS", "STATE", "KIND", "NETWORK", "POD", "INTERFACE", "NODE", "CONTAINER", "SINCE"];

/// The columns of `-o wide` after those of the table.
const WIDE: [&str; 4] = ["VRF", "OWNER", "WORKLOAD", "UNTIL"];

/// Receives each address as it is read.
type Show<'a> = &'a mut dyn FnMut(AddressRow) -> Result<(), CliError>;

/// Prints the addresses as a list of documents.
pub(crate) fn documents(
    output: &mut Output,
    encoding: Encoding,
    list: impl FnOnce(Show<'_>) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut elements = output.stream_list(encoding);
    list(&mut |row: AddressRow| elements.push(&Document::from(&row)))?;
    elements.end()
}

/// Prints the addresses, each on a line of its own. An address of several routing domains comes once for each.
pub(crate) fn names(output: &mut Output, list: impl FnOnce(Show<'_>) -> Result<(), CliError>) -> Result<(), CliError> {
    list(&mut |row: AddressRow| output.name(&row.address))
}

/// Prints the addresses as a table.
pub(crate) fn table(output: &mut Output, list: impl FnOnce(Show<'_>) -> Result<(), CliError>) -> Result<(), CliError> {
    let now = Timestamp::now();
    let mut table = output.stream_table(HEAD);
    list(&mut |row: AddressRow| rows(&row, now).into_iter().try_for_each(|row| table.push(row)))?;
    match table.end()? {
        0 => nothing(output),
        _ => Ok(()),
    }
}

/// Prints the addresses as a table with more columns, and with the whole names of containers.
pub(crate) fn wide(output: &mut Output, list: impl FnOnce(Show<'_>) -> Result<(), CliError>) -> Result<(), CliError> {
    let now = Timestamp::now();
    let [address, state, kind, network, pod, interface, node, container, since] = HEAD;
    let [vrf, owner, workload, until] = WIDE;
    let head = [address, state, kind, network, pod, interface, node, container, since, vrf, owner, workload, until];
    let mut table = output.stream_table(head);
    list(&mut |row: AddressRow| wide_rows(&row, now).into_iter().try_for_each(|row| table.push(row)))?;
    match table.end()? {
        0 => nothing(output),
        _ => Ok(()),
    }
}

fn nothing(output: &mut Output) -> Result<(), CliError> {
    output.line("No addresses are held, reserved, in cooldown or foreign.")
}

/// The rows of an address: one, or one for each pod that shares it while a virtual machine migrates.
fn rows(row: &AddressRow, now: Timestamp) -> Vec<[String; 9]> {
    let (address, state) = (row.address, row.state().word().to_owned());
    let lease = match &row.lease {
        Stored::Known(lease) => lease,
        Stored::Unreadable(why) => {
            let why = chain(why).to_string();
            return vec![[address.to_string(), state, none(), none(), why, none(), none(), none(), none()]];
        }
    };
    let since = age(lease.state_since(), now);
    if let Some(Foreign { mac, network, node, .. }) = lease.foreign() {
        let (address, network, node) = (address.to_string(), network.to_string(), node.to_string());
        return vec![[address, state, none(), network, format!("host {mac}"), none(), node, none(), since]];
    }
    if lease.holders.is_empty() {
        let (kind, whose) = match by_hand(lease) {
            Some(whose) => (none(), whose),
            None => (lease.kind.word().to_owned(), none()),
        };
        return vec![[address.to_string(), state, kind, none(), whose, none(), none(), none(), since]];
    }
    lease.holders.iter().map(|holder| holder_row(address, lease, holder, &since)).collect()
}

fn holder_row(address: IpAddr, lease: &Lease, holder: &Holder, since: &str) -> [String; 9] {
    let owner = lease.owner.as_ref().filter(|_| lease.state() == LeaseState::Reserved);
    let whose = by_hand(lease).or_else(|| owner.map(ToString::to_string)).or_else(|| holder.pod.label());
    let whose = whose.unwrap_or_else(none);
    let (network, [ifname, node, container]) = (holder.id.network.to_string(), columns(&holder.id));
    let (state, kind) = (lease.state().word().to_owned(), lease.kind.word().to_owned());
    [address.to_string(), state, kind, network, whose, ifname, node, container, since.to_owned()]
}

/// For whom and why an address is reserved by hand, in the column of pods.
fn by_hand(lease: &Lease) -> Option<String> {
    let manual = lease.manual.as_ref().filter(|_| lease.state() == LeaseState::Reserved)?;
    Some(match &manual.beneficiary {
        Some(object) => format!("by hand for {object}: {}", manual.reason),
        None => format!("by hand: {}", manual.reason),
    })
}

fn wide_rows(row: &AddressRow, now: Timestamp) -> Vec<[String; 13]> {
    let lease = row.lease.as_known();
    let owner = lease.and_then(|lease| lease.owner.as_ref().or(lease.held_for.as_ref()));
    let owner = owner.map_or_else(none, ToString::to_string);
    let until = lease.and_then(|lease| until(lease, now)).map_or_else(none, |time| format!("{time:.0}"));
    let holders = lease.map(|lease| lease.holders.as_slice()).unwrap_or_default();
    let rows = rows(row, now).into_iter().enumerate().map(|(i, narrow)| {
        let [address, state, kind, network, pod, ifname, node, container, since] = narrow;
        let holder = holders.get(i);
        let container = holder.map_or(container, |holder| holder.id.container.to_string());
        let workload = holder.and_then(|holder| holder.workload.clone()).unwrap_or_else(none);
        let (vrf, owner, until) = (row.vrf.to_string(), owner.clone(), until.clone());
        [address, state, kind, network, pod, ifname, node, container, since, vrf, owner, workload, until]
    });
    rows.collect()
}

/// When the address leaves its state, if that depends on time alone.
fn until(lease: &Lease, now: Timestamp) -> Option<Timestamp> {
    lease.rests_until(now).or_else(|| lease.reserved_until(now)).or_else(|| lease.left_alone_until(now))
}
