//! How a search interprets the answers of the store: what to try, and what is left to report.

use std::net::IpAddr;

use jiff::Timestamp;

use super::super::candidate::{Availability, Candidate, cooldown_key};
use super::super::lease_survey::{LeaseSurvey, SurveyTerms};
use super::super::reads::Answers;
use super::{COOLDOWN_PAGE, CooldownRule, FreeSearch, MAX_CANDIDATES, MAX_EXAMPLES, SearchReads, Stage};
use crate::ipam::address::{self, Span};
use crate::ipam::keys;
use crate::ipam::lease::{Lease, RestEntry, Stored};
use crate::store::Entry;

#[derive(Default)]
struct SearchResults {
    free: Vec<Candidate>,
    in_cooldown: Vec<Candidate>,
    counts: Vec<(usize, u64)>,
}

impl SearchResults {
    /// Whether an address is among the candidates.
    fn knows(&self, ip: IpAddr) -> bool {
        self.free.iter().chain(&self.in_cooldown).any(|candidate| candidate.ip == ip)
    }
}

impl FreeSearch {
    pub(in crate::ipam::decide) fn on_response(&mut self, read: SearchReads, answers: Answers<'_>, now: Timestamp) {
        let untried = self.candidates.split_off(self.candidates().count());
        self.candidates.clear();
        let mut results = SearchResults::default();
        for (ip, lease) in read.candidates {
            self.on_candidate(ip, answers.to(lease), now, &mut results);
        }
        for (ip, lease) in read.draws {
            if !results.knows(ip) {
                self.on_candidate(ip, answers.to(lease).first(), now, &mut results);
            }
        }
        if let Some((span, keys)) = read.listing {
            self.on_listing(&span, answers.to(keys), &mut results);
        }
        if let Some(cooldowns) = read.cooldowns {
            self.on_cooldowns(answers.to(cooldowns), now, &mut results);
        }
        results.counts.extend(read.counts.into_iter().filter_map(|(i, count)| Some((i, answers.to(count)?))));
        if !read.leases.is_empty() {
            let stretches = read.leases.into_iter().map(|(span, leases)| (span, answers.to(leases)));
            self.collect_holders(&stretches.collect::<Vec<_>>(), now, &mut results);
        }
        // These were neither tried nor read, and may still be free.
        results.free.extend(untried);
        self.candidates.extend(results.free);
        self.candidates.extend(results.in_cooldown);
        self.candidates.retain(|candidate| !self.passed_over.contains_key(&candidate.ip));
        if self.candidates.is_empty() {
            self.next_stage(&results.counts);
        }
    }

    /// A candidate of the transaction that failed. It may be free all the same, if another one was held.
    fn on_candidate(&self, ip: IpAddr, entry: Option<&Entry>, now: Timestamp, results: &mut SearchResults) {
        let Some(entry) = entry else {
            results.free.push(Candidate::free(ip));
            return;
        };
        let Stored::Known(lease) = Stored::<Lease>::read(&entry.value) else { return };
        let Some(rest) = &lease.rest else {
            let foreign = Candidate::formerly_foreign(ip, entry.revision, &lease, self.probes_foreign, now);
            results.in_cooldown.extend(foreign.or_else(|| self.expired_reservation(entry, now)));
            return;
        };
        let at_once = self.cooldown_rule == CooldownRule::Ignore;
        let is_late = matches!(self.stage, Stage::InCooldown { .. } | Stage::CollectHolders { .. });
        let uses_cooldowns = is_late && self.cooldown_rule == CooldownRule::LastResort;
        let over = at_once || lease.has_rested(now);
        if at_once || uses_cooldowns || (over && (!rest.last || is_late)) {
            let key = cooldown_key(&self.vrf, ip, &lease);
            let (revision, may_answer) = (entry.revision, lease.may_still_answer(now));
            let availability = key.map(|rest| Availability::Resting { revision, rest, over, may_answer });
            results.in_cooldown.extend(availability.map(|availability| Candidate { ip, availability }));
        }
    }

    /// An address whose reservation has expired, or belonged to an earlier claim of the same name. It is used only when
    /// nothing else is left. A pool checks the reservations of its addresses itself.
    fn expired_reservation(&self, entry: &Entry, now: Timestamp) -> Option<Candidate> {
        let is_last = matches!(self.stage, Stage::CollectHolders { .. }) && self.cooldown_rule != CooldownRule::Ignore;
        let (_, ip) = keys::read_lease(&entry.key).filter(|_| is_last)?;
        let lease = Stored::<Lease>::read(&entry.value).known()?;
        let is_candidate = self.candidates.iter().any(|candidate| candidate.ip == ip);
        let is_over = lease.is_over_for(self.owner.as_ref(), now);
        (is_over && !is_candidate).then_some(Candidate::expired(ip, entry.revision))
    }

    /// The free addresses of a stretch, of which these are all keys.
    fn on_listing(&mut self, span: &Span, entries: &[Entry], results: &mut SearchResults) {
        let held: Vec<u128> = entries
            .iter()
            .filter_map(|entry| keys::read_lease(&entry.key))
            .map(|(_, ip)| address::number(ip))
            .collect();
        let (first, last) = span.numbers();
        let free = (first..=last).filter(|number| held.binary_search(number).is_err());
        let mut free: Vec<IpAddr> = free.map(|number| address::address(span.family(), number)).collect();
        self.attachment_random.shuffle(&mut free);
        free.retain(|ip| !results.knows(*ip) && !self.passed_over.contains_key(ip));
        results.free.extend(free.into_iter().take(MAX_CANDIDATES).map(Candidate::free));
    }

    /// Addresses of the set in the cooldown index, oldest first.
    fn on_cooldowns(&mut self, entries: &[Entry], now: Timestamp, results: &mut SearchResults) {
        let is_prefetched = matches!(self.stage, Stage::RandomPick);
        let mut seen = 0;
        for entry in entries {
            if results.in_cooldown.len() >= MAX_CANDIDATES {
                break;
            }
            seen += 1;
            let Some((.., ip)) = keys::read_rest(&entry.key) else { continue };
            let Stored::Known(RestEntry { rest, .. }) = Stored::read(&entry.value) else { continue };
            let here = match is_prefetched {
                true => self.ranges[self.current_range].contains(ip),
                false => self.ranges.iter().any(|spans| spans.contains(ip)),
            };
            let over = self.cooldown_rule == CooldownRule::Ignore || rest.is_over(now);
            let is_candidate = results.in_cooldown.iter().any(|candidate| candidate.ip == ip);
            let known = is_candidate || self.passed_over.contains_key(&ip);
            if here && !known && (over || !is_prefetched && self.cooldown_rule == CooldownRule::LastResort) {
                let (revision, may_answer) = (entry.revision, rest.is_recent(now));
                let availability = Availability::Resting { revision, rest: entry.key.clone(), over, may_answer };
                results.in_cooldown.push(Candidate { ip, availability });
            } else if here && !known && !is_prefetched {
                self.in_cooldown.insert(ip);
            }
        }
        // Never returns to the start. Addresses that failed are held by now, and an index entry without a lease
        // (somebody deleted keys by hand) must not block those behind it.
        if let Stage::InCooldown { after, more, empty_pages, .. } = &mut self.stage {
            *after = entries[..seen].last().map(|entry| entry.key.clone()).or(after.take());
            *more = seen < entries.len() || entries.len() >= COOLDOWN_PAGE as usize;
            *empty_pages = if results.in_cooldown.is_empty() { *empty_pages + 1 } else { 0 };
        }
    }

    fn collect_holders(&mut self, stretches: &[(Span, &[Entry])], now: Timestamp, results: &mut SearchResults) {
        // The counts and listings before were hints, and may have counted what a killed ADD left.
        for (span, entries) in stretches {
            self.on_listing(span, entries, results);
        }
        results.free.truncate(MAX_CANDIDATES);
        let entries: Vec<&Entry> = stretches.iter().flat_map(|(_, entries)| *entries).collect();
        let Self { vrf, cooldown_rule, probes_foreign, owner, .. } = self;
        let (cooldown_rule, probes_foreign, owner) = (*cooldown_rule, *probes_foreign, owner.as_ref());
        let mut survey = LeaseSurvey::new(&entries, &SurveyTerms { vrf, cooldown_rule, probes_foreign, owner, now });
        results.in_cooldown = survey.candidates();
        results.in_cooldown.retain(|candidate| !self.passed_over.contains_key(&candidate.ip));
        results.in_cooldown.truncate(MAX_CANDIDATES);
        // Leases may be read again. Meanwhile, other calls may have ended a cooldown and started another.
        self.in_cooldown.extend(survey.in_cooldown);
        (self.reserved, self.foreign) = (survey.reserved.len() as u128, survey.foreign.len() as u128);
        (self.examples, self.held, self.amendments) = (survey.examples, survey.held, survey.amendments);
        self.examples.truncate(MAX_EXAMPLES);
        let has_found = !results.free.is_empty() || !results.in_cooldown.is_empty();
        self.stage = Stage::CollectHolders { again: has_found };
    }
}
