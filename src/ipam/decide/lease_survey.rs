//! The leases of a set that has no free address: what of it may be had all the same.
//!
//! ```text
//!  at rest  ─► a candidate, the longest rested first; those that were fixed once come after all others
//!  reserved ─► a candidate behind them, if its time to live is over
//!  held     ─► by somebody who may be gone (`super::reclaim`), and an example for the refusal
//! ```
//!
//! The rests of a vrf are in one order, whatever network they are of. Where others rest by the thousand, those of this
//! set are not to be found among them in a bounded number of requests; among its own leases they are.

use std::net::IpAddr;

use jiff::Timestamp;

use super::amend::Amendment;
use super::candidate::{Availability, Candidate, key_of_rest};
use super::free_search::CooldownRule;
use crate::ipam::keys;
use crate::ipam::lease::{Lease, LeaseState, Stored};
use crate::ipam::name::Name;
use crate::ipam::reservation::Owner;
use crate::store::{Entry, Revision};

/// A lease that was read, with what it is the lease of.
#[derive(Clone, Debug)]
pub(super) struct FoundLease {
    pub(super) ip: IpAddr,
    pub(super) revision: Revision,
    pub(super) lease: Lease,
}

/// What the leases of a set show.
#[derive(Debug, Default)]
pub(super) struct LeaseSurvey {
    /// What may be tried, in the order of [`Rank`].
    candidates: Vec<(Rank, Candidate)>,
    /// Who holds the others, for a refusal.
    pub(super) examples: Vec<String>,
    /// Addresses whose rest is not over, where that binds.
    pub(super) resting: Vec<IpAddr>,
    /// Addresses that are reserved.
    pub(super) reserved: Vec<IpAddr>,
    /// What is held, and of a list also what is reserved.
    pub(super) held: Vec<FoundLease>,
    /// What has a time that lies ahead, and so does not age.
    pub(super) ahead: Vec<Amendment>,
}

/// The order in which what is used by nobody is tried, the last one with the time of its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Rested(Timestamp),
    Early(Timestamp),
    FixedOnce(Timestamp),
    ReservationOver,
}

impl LeaseSurvey {
    /// Takes in leases that were read, for an owner who asks, if one does.
    pub(super) fn of(
        entries: &[&Entry],
        vrf: &Name,
        cooldown_rule: CooldownRule,
        owner: Option<&Owner>,
        now: Timestamp,
    ) -> Self {
        let mut look = Self::default();
        for entry in entries {
            let Some((_, ip)) = keys::read_lease(&entry.key) else { continue };
            let Stored::Known(lease) = Stored::<Lease>::read(&entry.value) else { continue };
            look.note(FoundLease { ip, revision: entry.revision, lease }, vrf, cooldown_rule, owner, now);
        }
        look
    }

    fn note(
        &mut self,
        met: FoundLease,
        vrf: &Name,
        cooldown_rule: CooldownRule,
        owner: Option<&Owner>,
        now: Timestamp,
    ) {
        let FoundLease { ip, revision, lease } = &met;
        if lease.state() != LeaseState::Held
            && let Some(sighted) = lease.sighted(now)
        {
            self.ahead.push(Amendment::of_lease(vrf.clone(), *ip, *revision, sighted));
        }
        match (&lease.rest, key_of_rest(vrf, *ip, lease)) {
            (Some(rest), Some(key)) => {
                let over = cooldown_rule == CooldownRule::Ignore || lease.has_rested(now);
                if !over && cooldown_rule == CooldownRule::Wait {
                    self.resting.push(*ip);
                    return;
                }
                let rank = match (cooldown_rule, rest.last, over) {
                    (CooldownRule::Ignore, ..) | (_, false, true) => Rank::Rested(rest.released),
                    (_, false, false) => Rank::Early(rest.released),
                    (_, true, _) => Rank::FixedOnce(rest.released),
                };
                let availability = Availability::Resting { revision: *revision, rest: key, over };
                self.candidates.push((rank, Candidate { ip: *ip, availability }));
            }
            _ if lease.unused.is_some() => {
                self.reserved.push(*ip);
                self.examples.extend(lease.owner.as_ref().map(|owner| format!("{ip} reserved for {owner}")));
                if cooldown_rule == CooldownRule::Ignore {
                    // Whoever asks by a list may be its owner.
                    self.held.push(met);
                } else if lease.is_over_for(owner, now) {
                    let candidate = Candidate { ip: *ip, availability: Availability::Reserved(*revision) };
                    self.candidates.push((Rank::ReservationOver, candidate));
                }
            }
            _ => {
                self.examples.extend(lease.holders.first().map(|holder| format!("{ip} by {holder}")));
                self.held.push(met);
            }
        }
    }

    /// What may be tried, the best first; of several looks that overlap each address once.
    pub(super) fn candidates(&mut self) -> Vec<Candidate> {
        self.candidates.sort_by_key(|(rank, candidate)| (*rank, candidate.ip));
        self.candidates.dedup_by_key(|(_, candidate)| candidate.ip);
        self.candidates.drain(..).map(|(_, candidate)| candidate).collect()
    }
}
