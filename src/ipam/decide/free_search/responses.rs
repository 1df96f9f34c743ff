//! What the answers of the store say to a search.

use std::net::IpAddr;

use jiff::Timestamp;

use super::super::candidate::{Availability, Candidate, key_of_rest};
use super::super::lease_survey::LeaseSurvey;
use super::super::reads::Answers;
use super::{CANDIDATES, CooldownRule, EXAMPLES, FreeSearch, RESTS, SearchReads, Stage};
use crate::ipam::address::{self, Span};
use crate::ipam::keys;
use crate::ipam::lease::{Lease, RestEntry, Stored};
use crate::store::Entry;

/// What one round of reading has shown.
#[derive(Default)]
struct SearchResults {
    free: Vec<Candidate>,
    rested: Vec<Candidate>,
    counts: Vec<(usize, u64)>,
}

impl FreeSearch {
    /// Takes in what was read, and settles what is tried or read next.
    pub(in crate::ipam::decide) fn on_response(&mut self, read: SearchReads, answers: Answers<'_>, now: Timestamp) {
        let tried: Vec<Candidate> = self.candidates.drain(..).collect();
        let mut results = SearchResults::default();
        for (ip, lease) in read.tried {
            self.on_candidate(ip, answers.to(lease), now, &mut results);
        }
        if let Some((span, keys)) = read.listing {
            self.on_listing(&span, answers.to(keys), &mut results);
        }
        if let Some(rests) = read.rests {
            self.on_rests(answers.to(rests), now, &mut results);
        }
        results.counts.extend(read.counts.into_iter().filter_map(|(i, count)| Some((i, answers.to(count)?))));
        if !read.leases.is_empty() {
            let leases: Vec<&Entry> = read.leases.into_iter().flat_map(|leases| answers.to(leases)).collect();
            self.collect_holders(&leases, now, &mut results);
        }
        // What was not looked at again (beyond the first two) may still be free.
        results.free.extend(tried.into_iter().skip(2));
        self.candidates.extend(results.free);
        self.candidates.extend(results.rested);
        if self.candidates.is_empty() {
            self.go_on(&results.counts);
        }
    }

    /// A candidate that was in the way of the transaction, or not.
    fn on_candidate(&self, ip: IpAddr, entry: Option<&Entry>, now: Timestamp, results: &mut SearchResults) {
        let Some(entry) = entry else {
            results.free.push(Candidate::fresh(ip));
            return;
        };
        let Stored::Known(lease) = Stored::<Lease>::read(&entry.value) else { return };
        let Some(rest) = &lease.rest else {
            results.rested.extend(self.over(entry, now));
            return;
        };
        let at_once = self.cooldown_rule == CooldownRule::Ignore;
        let is_late = matches!(self.stage, Stage::InCooldown { .. } | Stage::CollectHolders { .. });
        let resting_is_next = is_late && self.cooldown_rule == CooldownRule::LastResort;
        let over = at_once || lease.has_rested(now);
        if at_once || resting_is_next || (over && (!rest.last || is_late)) {
            let key = key_of_rest(&self.vrf, ip, &lease);
            let availability = key.map(|rest| Availability::Resting { revision: entry.revision, rest, over });
            results.rested.extend(availability.map(|availability| Candidate { ip, availability }));
        }
    }

    /// At the very end: an address whose reservation is over (`sticky.ttl`, or since it was that of an earlier claim).
    /// Whoever asks for a pool has a look of its own.
    fn over(&self, entry: &Entry, now: Timestamp) -> Option<Candidate> {
        let is_last = matches!(self.stage, Stage::CollectHolders { .. }) && self.cooldown_rule != CooldownRule::Ignore;
        let (_, ip) = keys::read_lease(&entry.key).filter(|_| is_last)?;
        let lease = Stored::<Lease>::read(&entry.value).known()?;
        let is_known = self.candidates.iter().any(|candidate| candidate.ip == ip);
        let is_over = lease.is_over_for(self.owner.as_ref(), now);
        (is_over && !is_known).then_some(Candidate { ip, availability: Availability::Reserved(entry.revision) })
    }

    /// The free addresses of a stretch of which all keys are known.
    fn on_listing(&mut self, span: &Span, entries: &[Entry], results: &mut SearchResults) {
        let held: Vec<u128> = entries
            .iter()
            .filter_map(|entry| keys::read_lease(&entry.key))
            .map(|(_, ip)| address::number(ip))
            .collect();
        let (first, last) = span.numbers();
        let free = (first..=last).filter(|number| held.binary_search(number).is_err());
        let mut free: Vec<IpAddr> = free.map(|number| address::address(span.family(), number)).collect();
        self.draws.shuffle(&mut free);
        let known: Vec<IpAddr> = results.free.iter().map(|candidate| candidate.ip).collect();
        let new = free.into_iter().filter(|ip| !known.contains(ip)).take(CANDIDATES);
        results.free.extend(new.map(Candidate::fresh));
    }

    /// Addresses of the set among those that rest, longest first.
    fn on_rests(&mut self, entries: &[Entry], now: Timestamp, results: &mut SearchResults) {
        let is_prefetched = matches!(self.stage, Stage::RandomPick);
        let mut looked_at = 0;
        for entry in entries {
            if results.rested.len() >= CANDIDATES {
                break;
            }
            looked_at += 1;
            let Some((.., ip)) = keys::read_rest(&entry.key) else { continue };
            let Stored::Known(RestEntry { rest, .. }) = Stored::read(&entry.value) else { continue };
            let here = match is_prefetched {
                true => self.ranges[self.current_range].contains(ip),
                false => self.ranges.iter().any(|spans| spans.contains(ip)),
            };
            let over = self.cooldown_rule == CooldownRule::Ignore || rest.is_over(now);
            let known = results.rested.iter().any(|candidate| candidate.ip == ip);
            if here && !known && (over || !is_prefetched && self.cooldown_rule == CooldownRule::LastResort) {
                let availability = Availability::Resting { revision: entry.revision, rest: entry.key.clone(), over };
                results.rested.push(Candidate { ip, availability });
            } else if here && !known && !is_prefetched {
                self.resting.insert(ip);
            }
        }
        // Never back to the start: what was tried in vain has been taken, and a rest that has lost its lease (somebody
        // deleted keys by hand) must not be in the way of those after it.
        if let Stage::InCooldown { after, more, barren, .. } = &mut self.stage {
            *after = entries[..looked_at].last().map(|entry| entry.key.clone()).or(after.take());
            *more = looked_at < entries.len() || entries.len() >= RESTS as usize;
            *barren = if results.rested.is_empty() { *barren + 1 } else { 0 };
        }
    }

    /// What the leases of the set show, once nothing in it is free.
    fn collect_holders(&mut self, entries: &[&Entry], now: Timestamp, results: &mut SearchResults) {
        let mut look = LeaseSurvey::of(entries, &self.vrf, self.cooldown_rule, self.owner.as_ref(), now);
        results.rested = look.candidates();
        results.rested.truncate(CANDIDATES);
        // It may be looked at again, while others come and go.
        self.resting.extend(look.resting);
        self.reserved = look.reserved.len() as u128;
        (self.examples, self.held, self.ahead) = (look.examples, look.held, look.ahead);
        self.examples.truncate(EXAMPLES);
        self.stage = Stage::CollectHolders { again: !results.rested.is_empty() };
    }
}
