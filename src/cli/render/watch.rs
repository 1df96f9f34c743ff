//! Changes of addresses: a line for each, for people or for programs.

mod document;

use std::borrow::Cow;

use jiff::Timestamp;

use self::document::Document;
use crate::cause::chain;
use crate::cli::CliError;
use crate::cli::output::Output;
use crate::ipam::lease::{AllocationKind, Foreign, Holder, LeaseState};
use crate::ipam::transition::{Ended, LeaseEvent, Next};
use crate::ops::operator::watch::{AddressChange, Watched};
use crate::store::StoreConfig;

/// Prints a change for people: time, address, what happened. On a terminal, details that don't fit are left out.
pub(crate) fn line(output: &mut Output, change: &AddressChange, now: Timestamp) -> Result<(), CliError> {
    let (text, details) = sentence(&change.event, now);
    let time = clock(change.time.unwrap_or(now), now);
    let mut parts = vec![format!("{time} {:<15} {text}", change.address.to_string())];
    if change.vrf.as_str() != "default" {
        parts.push(format!("vrf {}", change.vrf));
    }
    output.fitted_line(&[parts, details].concat())
}

/// Prints a change for programs.
pub(crate) fn json(output: &mut Output, change: &AddressChange, now: Timestamp) -> Result<(), CliError> {
    output.json_line(&Document::new(change, now))
}

/// What is to be known besides changes.
pub(crate) fn notice(store: &StoreConfig, watched: &Watched) -> String {
    match watched {
        Watched::Started(Some(leases)) => format!("watching {store}, with {leases} leases now; Ctrl-C ends"),
        Watched::Started(None) => format!("watching {store}; Ctrl-C ends"),
        Watched::Lost(error) => format!("{}; the watch waits, and continues where it was", chain(error)),
        Watched::Back => "the store responds again, and the watch continues".to_owned(),
        Watched::Gap { is_compared: true } => {
            "the store has discarded changes that were not seen; what is different now follows".to_owned()
        }
        Watched::Gap { is_compared: false } | Watched::Change(_) => {
            "the store has discarded changes that were not seen; `kube-ipam list` shows what there is now".to_owned()
        }
    }
}

/// The time of day in UTC, or date and time on another day.
fn clock(time: Timestamp, now: Timestamp) -> String {
    let (time, today) = (format!("{time:.0}"), format!("{now:.0}"));
    match (time.split_once('T'), today.split_once('T')) {
        (Some((day, clock)), Some((today, _))) if day == today => clock.to_owned(),
        _ => time,
    }
}

/// What happened in words, and details that may be left out.
fn sentence(event: &LeaseEvent, now: Timestamp) -> (String, Vec<String>) {
    match event {
        LeaseEvent::Assigned { holders, kind, from } => {
            (format!("assigned to {}{}", all(holders), taken_from(holders, from)), details(holders, Some(*kind)))
        }
        LeaseEvent::Joined(holders) => {
            (format!("shared with {} while its virtual machine migrates", all(holders)), details(holders, None))
        }
        LeaseEvent::Left(holders) => {
            (format!("released by {}; shared no longer", all(holders)), details(holders, None))
        }
        LeaseEvent::Released { holders, next } => {
            (format!("released by {}; {}", all(holders), becomes(next, now)), details(holders, None))
        }
        LeaseEvent::Reserved(next) => (becomes(next, now), Vec::new()),
        LeaseEvent::Freed { ended, next } => (format!("{}; {}", over(ended), becomes(next, now)), Vec::new()),
        LeaseEvent::Foreign { host: Foreign { mac, network, node, .. }, is_new } => {
            let verb = if *is_new { "found in use by" } else { "still in use by" };
            let details = vec![format!("seen by {node}"), format!("network {network}")];
            (format!("{verb} a host without a lease, MAC {mac}"), details)
        }
        LeaseEvent::SeenGone(holders) => {
            (format!("held by {}, whose pod is gone; the next check may free it", all(holders)), details(holders, None))
        }
        LeaseEvent::Rewritten(state) => (format!("written again; still {}", state_text(*state)), Vec::new()),
        LeaseEvent::Unreadable(why) => (format!("has a lease that can't be read: {}", chain(why)), Vec::new()),
    }
}

fn state_text(state: LeaseState) -> &'static str {
    match state {
        LeaseState::Held => "held",
        LeaseState::Reserved => "reserved",
        LeaseState::Resting => "in cooldown",
        LeaseState::Foreign => "used by a host without a lease",
    }
}

/// What becomes of an address.
fn becomes(next: &Next, now: Timestamp) -> String {
    match next {
        Next::Free => "free".to_owned(),
        Next::Rests(Some(until)) => format!("rests until {}", clock(*until, now)),
        Next::Rests(None) => "rests".to_owned(),
        Next::LastResort => "assigned at random only when nothing else is free".to_owned(),
        Next::Reserved { purpose, until: Some(until) } => format!("{purpose}, until {}", clock(*until, now)),
        Next::Reserved { purpose, until: None } => purpose.to_string(),
        Next::Held => "its holder keeps it".to_owned(),
    }
}

fn over(ended: &Ended) -> Cow<'static, str> {
    match ended {
        Ended::Cooldown => "its cooldown is over".into(),
        Ended::Reservation(purpose) => format!("no longer {purpose}").into(),
        Ended::Foreign(Foreign { mac, .. }) => format!("the host with MAC {mac} is forgotten").into(),
        Ended::Unknown => "its lease has changed".into(),
    }
}

/// From whom an address was taken over, as the end of a sentence.
fn taken_from(holders: &[Holder], from: &[Holder]) -> String {
    let is_same_pod =
        |former: &Holder| former.pod.label().is_some() && holders.iter().any(|holder| holder.pod == former.pod);
    match from {
        [] => String::new(),
        [former] if is_same_pod(former) => format!(", in a new sandbox; before on {}", former.id.node),
        _ => format!(", taken over from {}", all(from)),
    }
}

/// All holders, as in a sentence.
fn all(holders: &[Holder]) -> String {
    let names: Vec<String> = holders.iter().map(one).collect();
    match names.is_empty() {
        true => "a holder that is not known".to_owned(),
        false => names.join(" and "),
    }
}

fn one(holder: &Holder) -> String {
    let (ifname, node) = (&holder.id.ifname, &holder.id.node);
    match holder.pod.label() {
        Some(pod) => format!("pod {pod} on {node} as {ifname}"),
        None => {
            let container: String = holder.id.container.as_str().chars().take(12).collect();
            format!("container {container} on {node} as {ifname}")
        }
    }
}

fn details(holders: &[Holder], kind: Option<AllocationKind>) -> Vec<String> {
    let kind = kind.map(|kind| match kind {
        AllocationKind::Dynamic => "random",
        AllocationKind::Fixed => "fixed",
        AllocationKind::Sticky => "sticky",
    });
    let network = holders.first().map(|holder| format!("network {}", holder.id.network));
    kind.map(str::to_owned).into_iter().chain(network).collect()
}

#[cfg(test)]
mod tests;
