//! Explains a subnet: its addresses by state, and those that need attention.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;

use super::{Explanation, Fact, State, Text, Topic};
use crate::ipam::lease::{AllocationKind, Holder, Lease, LeaseState, PodRef, Stored};
use crate::ipam::name::Name;

/// The most addresses of a subnet that are explained.
const MOST_PARTS: usize = 20;

/// Counts the leases of a subnet in one vrf. Keeps only those that need attention, and not more than a page.
#[derive(Clone, Debug)]
pub struct SubnetSurvey {
    net: IpNet,
    vrf: Name,
    now: Timestamp,
    counts: BTreeMap<&'static str, u64>,
    networks: BTreeMap<Name, u64>,
    odd: BTreeMap<Oddity, u64>,
    picked: Vec<IpAddr>,
}

/// Why an address needs attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Oddity {
    Unreadable,
    NoPod,
    Foreign,
    Expired,
    LastResort,
}

impl Oddity {
    fn text(self, count: u64) -> String {
        match self {
            Self::Unreadable => format!("{count} with a lease that can't be read"),
            Self::NoPod => format!("{count} held by pods that are not on the API server's list"),
            Self::Foreign => format!("{count} used by hosts without a lease"),
            Self::Expired => format!("{count} reserved longer than the reservation lasts"),
            Self::LastResort => format!("{count} drawn at random only when nothing else is free"),
        }
    }
}

impl SubnetSurvey {
    /// Nothing is counted yet.
    pub fn new(net: IpNet, vrf: Name, now: Timestamp) -> Self {
        let (counts, networks, odd) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { net, vrf, now, counts, networks, odd, picked: Vec::new() }
    }

    /// Counts a lease. `exists` says whether the pod of a holder is on the API server's list; `None` if that is not
    /// known.
    pub fn note(&mut self, ip: IpAddr, lease: &Stored<Lease>, exists: impl Fn(&PodRef, Option<&str>) -> Option<bool>) {
        let lease = match lease {
            Stored::Known(lease) => lease,
            Stored::Unreadable(_) => return self.pick(ip, "unreadable", Some(Oddity::Unreadable)),
        };
        if let Some(holder) = lease.holders.first().filter(|_| lease.is_held()) {
            *self.networks.entry(holder.id.network.clone()).or_default() += 1;
        }
        let is_gone = |holder: &Holder| exists(&holder.pod, holder.cluster.as_deref()) == Some(false);
        match lease.state() {
            LeaseState::Held => {
                let word = match lease.kind {
                    AllocationKind::Dynamic => "held at random",
                    AllocationKind::Fixed => "held by request",
                    AllocationKind::Sticky => "held by an owner",
                };
                self.pick(ip, word, lease.holders.iter().any(is_gone).then_some(Oddity::NoPod));
            }
            LeaseState::Reserved => self.pick(ip, "reserved", lease.is_over(self.now).then_some(Oddity::Expired)),
            LeaseState::Resting => {
                let is_last = lease.rest.as_ref().is_some_and(|rest| rest.last);
                self.pick(ip, "resting", is_last.then_some(Oddity::LastResort));
            }
            LeaseState::Foreign => self.pick(ip, "foreign", Some(Oddity::Foreign)),
        }
    }

    fn pick(&mut self, ip: IpAddr, word: &'static str, oddity: Option<Oddity>) {
        *self.counts.entry(word).or_default() += 1;
        let Some(oddity) = oddity else { return };
        *self.odd.entry(oddity).or_default() += 1;
        // What is drawn last is normal, and may be much.
        if oddity != Oddity::LastResort && self.picked.len() < MOST_PARTS {
            self.picked.push(ip);
        }
    }

    /// The addresses that are explained as well.
    pub fn picked(&self) -> &[IpAddr] {
        &self.picked
    }

    /// The summary, with the explanations of the picked addresses. `unknown` says why orphans could not be searched.
    pub fn explain(self, parts: Vec<Explanation>, unknown: Option<&str>) -> Explanation {
        let Self { net, vrf, counts, networks, odd, picked, .. } = self;
        let total: u64 = counts.values().sum();
        let headline = match total {
            0 => format!("No address of {net} has a lease."),
            1 => format!("1 address of {net} has a lease."),
            total => format!("{total} addresses of {net} have a lease."),
        };
        let count = |(word, count): (&&str, &u64)| format!("{count} {word}");
        let mut facts = Vec::new();
        if total > 0 {
            facts.push(Fact::stored(Topic::Store, counts.iter().map(count).collect::<Vec<_>>().join(", ")));
        }
        facts.extend(
            networks
                .iter()
                .map(|(network, held)| Fact::stored(Topic::Network, format!("{held} held on network {network}"))),
        );
        facts.extend(odd.iter().map(|(oddity, count)| match oddity {
            Oddity::NoPod => Fact::from_api(Topic::Pod, oddity.text(*count)),
            _ => Fact::stored(Topic::Store, oddity.text(*count)),
        }));
        facts.extend(
            unknown.map(|why| Fact::from_api(Topic::Pod, format!("which holders' pods are gone is not known: {why}"))),
        );
        let others: u64 = odd.iter().filter(|(oddity, _)| **oddity != Oddity::LastResort).map(|(_, count)| count).sum();
        let others = others.saturating_sub(picked.len() as u64);
        if others > 0 {
            facts.push(Fact::stored(Topic::Store, format!("{others} more need attention, and are not shown")));
        }
        Explanation {
            subject: net.to_string(),
            address: None,
            vrf: Some(vrf),
            state: State::Several,
            headline: Text::new(headline),
            facts,
            agreement: None,
            next: None,
            remedies: Vec::new(),
            lease: None,
            before: None,
            parts,
        }
    }
}
