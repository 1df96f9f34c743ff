//! Records hosts that answer for an address without holding a lease.
//!
//! ```text
//!  a host answers for a new address ─► FoundHosts ─┬─ its third answer in this call ─► a proxy: none is recorded
//!                                                  └─ otherwise ─┬─ recorded in the commit of the ADD
//!                                                                └─ or before its refusal
//! ```
//!
//! A host is recorded only if the lease has not changed since before the probe, and never over a lease that is held or
//! reserved.

use std::net::IpAddr;

use jiff::Timestamp;

use super::candidate::{Availability, Candidate};
use crate::ipam::keys;
use crate::ipam::lease::{self, Foreign, Lease};
use crate::ipam::name::{IfName, Name};
use crate::ipam::refusal::Refusal;
use crate::ipam::takeover::Mac;
use crate::store::{Guard, Key, Op, OpResponse, Txn, TxnError};

/// A host with this many answers in one call is a proxy that answers for every address, because the addresses were
/// selected at random.
const PROXY_ANSWERS: usize = 3;

/// How many hosts one commit records. The next ADD finds the others.
const MAX_RECORDED: usize = 32;

/// How many addresses a refusal names.
const MAX_EXAMPLES: usize = 3;

/// A host to be recorded.
#[derive(Clone, Debug, PartialEq)]
struct NewHost {
    ip: IpAddr,
    foreign: Foreign,
    /// Its first answer.
    since: Timestamp,
    guard: Guard,
    /// The entry in the cooldown index that the record replaces.
    rest: Option<Key>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FoundHosts {
    answers: Vec<(IpAddr, Mac)>,
    new: Vec<NewHost>,
    recorded: Vec<(IpAddr, Foreign)>,
    proxy: Option<Refusal>,
}

impl FoundHosts {
    /// Adds a host that answered for a candidate on this interface. Returns the refusal of that address.
    pub(super) fn record(
        &mut self,
        vrf: &Name,
        candidate: &Candidate,
        foreign: Foreign,
        ifname: &IfName,
        now: Timestamp,
    ) -> Refusal {
        let (ip, mac) = (candidate.ip, foreign.mac);
        let known = match &candidate.availability {
            Availability::Foreign { lease, .. } if lease.foreign().is_some_and(|known| known.mac == mac) => Some(lease),
            _ => None,
        };
        let since = known.map_or(now, |lease| lease.since);
        let is_new = known.is_none_or(|lease| !lease.is_foreign_now(now));
        let refusal = Refusal::foreign(ip, &foreign, since);
        self.answers.push((ip, mac));
        let ips: Vec<IpAddr> = self.answers.iter().filter(|(_, other)| *other == mac).map(|(ip, _)| *ip).collect();
        if ips.len() >= PROXY_ANSWERS {
            self.new.retain(|host| host.foreign.mac != mac);
            self.proxy = Some(Refusal::AnswersForAll { mac, ifname: ifname.clone(), ips });
        } else if is_new && self.new.len() < MAX_RECORDED {
            let rest = match &candidate.availability {
                Availability::Resting { rest, .. } => Some(rest.clone()),
                _ => None,
            };
            self.new.push(NewHost { ip, foreign, since, guard: candidate.guard(vrf), rest });
        }
        refusal
    }

    /// The refusal of the whole ADD, if a host answers for every address.
    pub(super) fn proxy(&self) -> Option<&Refusal> {
        self.proxy.as_ref()
    }

    /// The refusal of the ADD after too many answers.
    pub(super) fn none_silent(&self) -> Refusal {
        let examples = self.answers.iter().take(MAX_EXAMPLES).map(|(ip, mac)| example(*ip, *mac)).collect();
        Refusal::NoSilentAddress { examples }
    }

    pub(super) fn has_new(&self) -> bool {
        !self.new.is_empty()
    }

    /// Records the new hosts: each in a transaction of its own, if its lease has not changed since the probe.
    pub(super) fn operations(&self, vrf: &Name) -> Result<Vec<Op>, TxnError> {
        let operation = |host: &NewHost| {
            let lease = Lease::of_foreign(host.foreign.clone(), host.since);
            let put = Op::Put(keys::lease(vrf, host.ip), lease::write(&lease));
            let then = host.rest.iter().cloned().map(Op::Delete).chain([put]).collect();
            Ok(Op::Txn(Box::new(Txn::new(vec![host.guard.clone()], then, Vec::new())?)))
        };
        self.new.iter().map(operation).collect()
    }

    /// Evaluates the responses to these operations, which are the last ones of their transaction.
    pub(super) fn on_recorded(&mut self, responses: &[OpResponse]) {
        let new = std::mem::take(&mut self.new);
        let first = responses.len().saturating_sub(new.len());
        for (host, response) in new.into_iter().zip(&responses[first..]) {
            if matches!(response, OpResponse::Branch(branch) if branch.succeeded) {
                self.recorded.push((host.ip, host.foreign));
            }
        }
    }

    pub(super) fn recorded(&self) -> &[(IpAddr, Foreign)] {
        &self.recorded
    }
}

/// An address and its host, as an example in a refusal.
pub(super) fn example(ip: IpAddr, mac: Mac) -> String {
    format!("{ip} in use by {mac}, which holds no lease")
}
