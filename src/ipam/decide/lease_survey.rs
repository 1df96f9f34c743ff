//! Sorts the leases of a set that has no free address: which addresses may be assigned all the same, and in which
//! order.
//!
//! ```text
//!  in cooldown ─► a candidate, the oldest release first; formerly fixed addresses come after all others
//!  foreign     ─► a candidate behind those, if its host has not answered for an hour
//!  reserved    ─► a candidate behind them, if its time to live is over
//!  held        ─► to be checked by `super::reclaim`, since the holder may be gone; an example for the refusal
//! ```
//!
//! The cooldown index has one order for the whole vrf, whatever the network. If other networks have thousands of
//! entries in it, a bounded number of requests can't find those of this set there. The set's own leases have the same
//! information.

use std::net::IpAddr;

use jiff::Timestamp;

use super::amend::Amendment;
use super::candidate::{Availability, Candidate, cooldown_key};
use super::foreign::example;
use super::free_search::CooldownRule;
use crate::ipam::keys;
use crate::ipam::lease::{Lease, LeaseState, Stored};
use crate::ipam::name::Name;
use crate::ipam::reservation::Owner;
use crate::store::{Entry, Revision};

#[derive(Clone, Debug)]
pub(super) struct FoundLease {
    pub(super) ip: IpAddr,
    pub(super) revision: Revision,
    pub(super) lease: Lease,
}

#[derive(Clone, Copy)]
pub(super) struct SurveyTerms<'a> {
    pub(super) vrf: &'a Name,
    pub(super) cooldown_rule: CooldownRule,
    /// Whether an address with a foreign host is tried even if that host has answered a short while ago.
    pub(super) probes_foreign: bool,
    /// The owner of the requester, if it has one.
    pub(super) owner: Option<&'a Owner>,
    pub(super) now: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct LeaseSurvey {
    /// What may be tried. [`LeaseSurvey::candidates`] sorts it.
    candidates: Vec<(Rank, Candidate)>,
    pub(super) examples: Vec<String>,
    /// Addresses in a cooldown that must be waited for.
    pub(super) in_cooldown: Vec<IpAddr>,
    pub(super) reserved: Vec<IpAddr>,
    /// Addresses that hosts without a lease use.
    pub(super) foreign: Vec<IpAddr>,
    /// Held leases. For a pool also reserved ones, because the requester may be their owner.
    pub(super) held: Vec<FoundLease>,
    /// Corrections of leases with a time in the future, which would never age.
    pub(super) amendments: Vec<Amendment>,
}

/// The order in which unused addresses are tried. Within a rank, the earliest release comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    CooldownOver(Timestamp),
    FormerlyForeign,
    InCooldown(Timestamp),
    FormerlyFixed(Timestamp),
    ReservationExpired,
}

impl LeaseSurvey {
    pub(super) fn new(entries: &[&Entry], terms: &SurveyTerms<'_>) -> Self {
        let mut survey = Self::default();
        for entry in entries {
            let Some((_, ip)) = keys::read_lease(&entry.key) else { continue };
            let Stored::Known(lease) = Stored::<Lease>::read(&entry.value) else { continue };
            survey.add(FoundLease { ip, revision: entry.revision, lease }, terms);
        }
        survey
    }

    fn add(&mut self, found: FoundLease, terms: &SurveyTerms<'_>) {
        let FoundLease { ip, revision, lease } = &found;
        let SurveyTerms { vrf, cooldown_rule, probes_foreign, owner, now } = *terms;
        if lease.state() != LeaseState::Held
            && let Some(sighted) = lease.sighted(now)
        {
            self.amendments.push(Amendment::for_lease(vrf.clone(), *ip, *revision, sighted));
        }
        match (&lease.rest, cooldown_key(vrf, *ip, lease)) {
            (Some(rest), Some(key)) => {
                let over = cooldown_rule == CooldownRule::Ignore || lease.has_rested(now);
                if !over && cooldown_rule == CooldownRule::Wait {
                    self.in_cooldown.push(*ip);
                    return;
                }
                let rank = match (cooldown_rule, rest.last, over) {
                    (CooldownRule::Ignore, ..) | (_, false, true) => Rank::CooldownOver(rest.released),
                    (_, false, false) => Rank::InCooldown(rest.released),
                    (_, true, _) => Rank::FormerlyFixed(rest.released),
                };
                let (revision, may_answer) = (*revision, lease.may_still_answer(now));
                let availability = Availability::Resting { revision, rest: key, over, may_answer };
                self.candidates.push((rank, Candidate { ip: *ip, availability }));
            }
            _ if lease.unused.is_some() => {
                self.reserved.push(*ip);
                self.examples.extend(match (lease.manual(now), &lease.owner) {
                    (Some(manual), _) => Some(format!("{ip} {manual}")),
                    (None, owner) => owner.as_ref().map(|owner| format!("{ip} reserved for {owner}")),
                });
                if cooldown_rule == CooldownRule::Ignore {
                    // The requester may be its owner.
                    self.held.push(found);
                } else if lease.is_over_for(owner, now) {
                    self.candidates.push((Rank::ReservationExpired, Candidate::expired(*ip, *revision)));
                }
            }
            _ if let Some(foreign) = lease.foreign() => {
                match Candidate::formerly_foreign(*ip, *revision, lease, probes_foreign, now) {
                    Some(candidate) => self.candidates.push((Rank::FormerlyForeign, candidate)),
                    None => {
                        self.foreign.push(*ip);
                        self.examples.push(example(*ip, foreign.mac));
                    }
                }
            }
            _ => {
                self.examples.extend(lease.holders.first().map(|holder| format!("{ip} by {holder}")));
                self.held.push(found);
            }
        }
    }

    /// The best first. Parts of a set that were drawn at random may overlap, so an address may occur twice.
    pub(super) fn candidates(&mut self) -> Vec<Candidate> {
        self.candidates.sort_by_key(|(rank, candidate)| (*rank, candidate.ip));
        self.candidates.dedup_by_key(|(_, candidate)| candidate.ip);
        self.candidates.drain(..).map(|(_, candidate)| candidate).collect()
    }
}
