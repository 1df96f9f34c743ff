//! Finds a free address of a range set in a bounded number of requests, whatever the size of the ranges.
//!
//! ```text
//!  RandomPick ────► two random addresses; if both are held, a stretch of some hundred keys is read in the same request
//!     │             (an empty range takes one request, one that is 92 % full takes two). A store that finds single keys
//!     │             faster than stretches tries and reads more random addresses instead (see Lookahead)
//!  DrawAgain ─────► still more of them, if the store counts slowly
//!  Counts ────────► counts 8 random stretches of 256 addresses; then the whole range, and those after it in the set, in
//!     │             some hundred stretches. A large stretch with room is divided again. If only a later range has room,
//!     │             that range starts with RandomPick
//!     │   ListKeys: reads the keys of a stretch with room, and so knows every free address in it
//!     ▼
//!  CollectHolders ► reads the leases of the range itself: cooldowns, expired reservations, and holders for the refusal.
//!     │             A small range is read as a whole. A large one goes through InCooldown first; then random parts of it
//!     │             are read, different ones in each attempt
//!  InCooldown ────► reads the cooldown index of the vrf, oldest first, until two pages in a row have no address of the
//!                   range; formerly fixed addresses come after all others
//! ```
//!
//! Counts, listed keys and the cooldown index are hints: they may be outdated when they are used. That costs another
//! round, but never an address: a guard protects each one.

mod responses;
mod stages;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use super::add::AllocationPolicy;
use super::amend::Amendment;
use super::candidate::Candidate;
use super::foreign::example;
use super::lease_survey::FoundLease;
use super::reads::{Count, Entries, OneEntry, Read, Reads};
use crate::ipam::address::{self, Span, Spans};
use crate::ipam::keys::{self, CooldownClass};
use crate::ipam::name::Name;
use crate::ipam::refusal::{Counts, HostLocalFiles, Refusal};
use crate::ipam::reservation::Owner;
use crate::ipam::seed::{Chances, SplitMix64};
use crate::store::{Freshness, Key, Lookahead};

const SAMPLE_COUNT: usize = 8;
const SAMPLE_LENGTH: u128 = 256;
/// The stretches into which a range is divided for counting, the length of the shortest, and the counts of one request.
const COUNTED_STRETCHES: u128 = 96;
const MIN_STRETCH: u128 = 64;
const MAX_COUNTS: usize = 100;
const MAX_LISTED: u128 = 2048;
/// Entries of the cooldown index that one request reads.
const COOLDOWN_PAGE: u32 = 500;
/// Entries of the cooldown index that are read in case a random pick fails.
const COOLDOWN_PREFETCH: u32 = 8;
/// The most candidates that one response yields.
const MAX_CANDIDATES: usize = 16;
const MAX_EXAMPLES: usize = 3;
/// The most pages in a row without an address of the set. Other networks of the vrf may have any number of entries.
const MAX_EMPTY_PAGES: u32 = 2;
/// What CollectHolders reads of a large set, and the largest set that it reads as a whole. A set with holes consists of
/// many stretches, so both their number and their addresses are limited.
const SURVEYED_STRETCHES: usize = 4;
const SURVEYED_STRETCH: u128 = 256;
const MAX_STRETCHES: usize = 64;
const MAX_SURVEYED: u128 = SURVEYED_STRETCHES as u128 * SURVEYED_STRETCH;

#[derive(Clone, Debug, Default)]
pub(super) struct SearchReads {
    /// The leases of the candidates.
    candidates: Vec<(IpAddr, Read<OneEntry>)>,
    /// The leases of other random addresses.
    draws: Vec<(IpAddr, Read<Entries>)>,
    listing: Option<(Span, Read<Entries>)>,
    /// The number of leases in each stretch, by its index.
    counts: Vec<(usize, Read<Count>)>,
    cooldowns: Option<Read<Entries>>,
    /// The leases of the set itself, by stretch. Only CollectHolders reads them.
    leases: Vec<(Span, Read<Entries>)>,
}

#[derive(Clone, Debug)]
enum Stage {
    RandomPick,
    /// Reads more random addresses of the current range.
    DrawAgain,
    /// Counts stretches from `next` on. With `whole`, they cover all ranges that are left to search.
    Counts {
        stretches: Vec<Span>,
        next: usize,
        whole: bool,
    },
    ListKeys(Span),
    /// Reads the cooldown index behind `after`, if it has `more`, after so many `empty_pages` in a row.
    InCooldown {
        class: CooldownClass,
        after: Option<Key>,
        more: bool,
        empty_pages: u32,
    },
    /// Reads leases of the set, `again` because the last ones had something to try.
    CollectHolders {
        again: bool,
    },
    Exhausted,
}

impl Stage {
    fn in_cooldown(class: CooldownClass) -> Self {
        Self::InCooldown { class, after: None, more: true, empty_pages: 0 }
    }
}

/// Whether an address may be assigned during its cooldown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CooldownRule {
    /// Yes: the address was requested, and cooldown applies to random selection only.
    Ignore,
    /// Only if nothing else is free.
    LastResort,
    /// No (`cooldown.strict`).
    Wait,
}

/// Addresses of a range set that are not searched. They only appear in the refusal.
#[derive(Clone, Debug, Default)]
pub(super) struct Unsearched {
    pub(super) host_local: Option<HostLocalFiles>,
    /// How many are never selected at random.
    pub(super) excluded: u128,
}

/// An address for which another host answers.
#[derive(Clone, Debug)]
struct PassedOver {
    has_lease: bool,
    is_foreign: bool,
    /// What a refusal says of it.
    example: String,
}

#[derive(Clone, Debug)]
pub(super) struct FreeSearch {
    vrf: Name,
    /// The addresses that each range assigns at random, in the order of the set.
    ranges: Vec<Spans>,
    current_range: usize,
    attachment_random: SplitMix64,
    /// Draws the part of a large set that CollectHolders reads. It differs in each attempt, so that every part gets its
    /// turn.
    attempt_random: SplitMix64,
    lookahead: Lookahead,
    stage: Stage,
    candidates: VecDeque<Candidate>,
    cooldown_rule: CooldownRule,
    /// The requesting owner, if reservations of an earlier owner of its name have ended.
    owner: Option<Owner>,
    /// Addresses of the set that are in cooldown and may not be assigned yet.
    in_cooldown: BTreeSet<IpAddr>,
    /// How many addresses of the set are reserved, according to CollectHolders.
    reserved: u128,
    /// How many hosts without a lease use addresses of the set, according to CollectHolders.
    foreign: u128,
    /// Whether an address with a foreign host is tried even if that host has answered a short while ago.
    probes_foreign: bool,
    /// Addresses for which another host answers. They are not tried again.
    passed_over: BTreeMap<IpAddr, PassedOver>,
    unsearched: Unsearched,
    examples: Vec<String>,
    /// Whether InCooldown stopped before the end of the index, so that formerly fixed addresses are still to be read.
    index_unfinished: bool,
    /// Held addresses that CollectHolders has read.
    held: Vec<FoundLease>,
    /// Corrections of leases with a time in the future, to be written before the refusal.
    amendments: Vec<Amendment>,
}

impl FreeSearch {
    pub(super) fn new(
        policy: &AllocationPolicy,
        ranges: Vec<Spans>,
        cooldown_rule: CooldownRule,
        chances: &Chances,
    ) -> Self {
        let Chances { attachment: attachment_random, attempt: attempt_random } = chances.clone();
        let ranges: Vec<Spans> = ranges.into_iter().filter(|spans| !spans.is_empty()).collect();
        let mut search = Self {
            vrf: policy.vrf.clone(),
            ranges,
            current_range: 0,
            attachment_random,
            attempt_random,
            lookahead: policy.lookahead,
            stage: Stage::RandomPick,
            candidates: VecDeque::new(),
            cooldown_rule,
            owner: policy.sticky.as_ref().map(|sticky| sticky.owner.clone()).filter(|owner| !owner.kind.goes_by_name()),
            in_cooldown: BTreeSet::new(),
            reserved: 0,
            foreign: 0,
            probes_foreign: policy.probe_new && cooldown_rule == CooldownRule::Ignore,
            passed_over: BTreeMap::new(),
            unsearched: Unsearched::default(),
            examples: Vec::new(),
            index_unfinished: false,
            held: Vec::new(),
            amendments: Vec::new(),
        };
        search.pick_at_random();
        search
    }

    /// Starts over, if the search ended without an address.
    pub(super) fn restart(&mut self) {
        if self.is_exhausted() {
            (self.current_range, self.stage, self.index_unfinished) = (0, Stage::RandomPick, false);
            self.in_cooldown.clear();
            (self.reserved, self.foreign) = (0, 0);
            self.examples.clear();
            self.pick_at_random();
        }
    }

    /// Mentions these addresses in the refusal.
    #[must_use]
    pub(super) fn with_unsearched(self, unsearched: Unsearched) -> Self {
        Self { unsearched, ..self }
    }

    pub(super) fn may_assign(&self, ip: IpAddr) -> bool {
        self.ranges.iter().any(|spans| spans.contains(ip))
    }

    /// Whether no range has any address.
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The addresses to try in one request, each if those before it are held.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter().take(self.lookahead.alternatives)
    }

    pub(super) fn is_exhausted(&self) -> bool {
        matches!(self.stage, Stage::Exhausted)
    }

    /// The refusal, which names what was searched.
    pub(super) fn exhausted(&self, set: String) -> Refusal {
        let size = self.ranges.iter().fold(0_u128, |sum, spans| sum.saturating_add(spans.len()));
        let (resting, reserved) = (self.in_cooldown.len() as u128, self.reserved);
        let foreign = self.foreign + self.passed_over.values().filter(|passed| passed.is_foreign).count() as u128;
        let Unsearched { host_local, excluded } = self.unsearched.clone();
        let held = size.saturating_sub(resting).saturating_sub(reserved).saturating_sub(foreign);
        let counts = Box::new(Counts { held, resting, reserved, foreign, host_local, excluded });
        let passed_over = self.passed_over.values().map(|passed| passed.example.clone());
        let examples = self.examples.iter().cloned().chain(passed_over).take(MAX_EXAMPLES).collect();
        Refusal::Exhausted { set, counts, examples }
    }

    /// Does not try a candidate any more, because another host answers for it. Returns whether it was one.
    pub(super) fn pass_over(&mut self, ip: IpAddr, refusal: &Refusal) -> bool {
        let place = self.candidates.iter().position(|candidate| candidate.ip == ip);
        let Some(candidate) = place.and_then(|place| self.candidates.remove(place)) else { return false };
        let (is_foreign, example) = match refusal {
            Refusal::Foreign { ip, mac, .. } => (true, example(*ip, *mac)),
            other => (false, other.to_string()),
        };
        self.passed_over.insert(ip, PassedOver { has_lease: candidate.has_lease(), is_foreign, example });
        true
    }

    pub(super) fn take_held_leases(&mut self) -> Vec<FoundLease> {
        std::mem::take(&mut self.held)
    }

    pub(super) fn take_amendments(&mut self) -> Vec<Amendment> {
        std::mem::take(&mut self.amendments)
    }

    /// With candidates, these reads join the transaction that tries them. Otherwise they are a transaction of their
    /// own.
    pub(super) fn reads(&mut self, reads: &mut Reads) -> SearchReads {
        let vrf = &self.vrf;
        let candidates = self.candidates().map(|candidate| candidate.ip);
        let candidates = candidates.map(|ip| (ip, reads.entry(keys::lease(vrf, ip)))).collect();
        let read = SearchReads { candidates, ..SearchReads::default() };
        match &self.stage {
            Stage::RandomPick => {
                let draws = self.draws(self.lookahead.draws, reads);
                let listing = self.stretch_ahead().map(|stretch| self.listing(stretch, reads));
                let cooldowns = Some(self.cooldowns(CooldownClass::Normal, None, COOLDOWN_PREFETCH, reads));
                SearchReads { draws, listing, cooldowns, ..read }
            }
            _ if !self.candidates.is_empty() => read,
            Stage::DrawAgain => SearchReads { draws: self.draws(self.lookahead.draws_again, reads), ..read },
            Stage::Counts { stretches, next, .. } => {
                let counted = stretches.iter().enumerate().skip(*next).take(MAX_COUNTS);
                let counts = counted.map(|(i, span)| (i, reads.count(keys::leases(vrf, span)))).collect();
                SearchReads { counts, ..read }
            }
            Stage::ListKeys(span) => SearchReads { listing: Some(self.listing(*span, reads)), ..read },
            Stage::InCooldown { class, after, .. } => {
                SearchReads { cooldowns: Some(self.cooldowns(*class, after.clone(), COOLDOWN_PAGE, reads)), ..read }
            }
            Stage::CollectHolders { .. } => {
                let spans = self.lease_stretches();
                // Not as a hint: the refusal depends on it, and nothing checks that again.
                let leases = spans.into_iter().map(|span| {
                    let leases = keys::leases(&self.vrf, &span);
                    (span, reads.entries(leases, SURVEYED_STRETCH as u32, Freshness::Exact))
                });
                SearchReads { leases: leases.collect(), ..read }
            }
            Stage::Exhausted => read,
        }
    }

    /// The leases of random addresses of the current range.
    fn draws(&mut self, count: usize, reads: &mut Reads) -> Vec<(IpAddr, Read<Entries>)> {
        self.draw(count).into_iter().map(|ip| (ip, reads.hint(keys::lease(&self.vrf, ip)))).collect()
    }

    /// Random addresses of the current range. One that is drawn twice appears once.
    fn draw(&mut self, count: usize) -> Vec<IpAddr> {
        let spans = &self.ranges[self.current_range];
        let positions = (0..count).map(|_| self.attachment_random.below(spans.len()));
        let mut seen = BTreeSet::new();
        positions.filter_map(|position| spans.at(position)).filter(|ip| seen.insert(*ip)).collect()
    }

    /// A random stretch of the current range, to be read in case the candidates are held.
    fn stretch_ahead(&mut self) -> Option<Span> {
        let spans = &self.ranges[self.current_range];
        let length = self.lookahead.stretch;
        (length > 0).then(|| spans.window_around(self.attachment_random.below(spans.len()), length.into()))?
    }

    fn listing(&self, span: Span, reads: &mut Reads) -> (Span, Read<Entries>) {
        let limit = u32::try_from(span.len()).unwrap_or(u32::MAX);
        (span, reads.keys(keys::leases(&self.vrf, &span), limit))
    }

    /// A small set as a whole. Of a larger one, random parts that differ in each call, so that every part is read
    /// sometimes.
    fn lease_stretches(&mut self) -> Vec<Span> {
        if let Some(all) = self.all_stretches() {
            return all;
        }
        let mut draw = || {
            let current_range = usize::try_from(self.attempt_random.below(self.ranges.len() as u128)).unwrap_or(0);
            let spans = &self.ranges[current_range];
            spans.window_around(self.attempt_random.below(spans.len()), SURVEYED_STRETCH)
        };
        let mut drawn: Vec<Span> = (0..SURVEYED_STRETCHES).filter_map(|_| draw()).collect();
        drawn.sort_unstable();
        drawn.dedup();
        drawn
    }

    /// The whole set, if one request can read it.
    fn all_stretches(&self) -> Option<Vec<Span>> {
        let chunks = self.ranges.iter().flat_map(|spans| spans.chunks(SURVEYED_STRETCH));
        let all: Vec<Span> = chunks.take(MAX_STRETCHES + 1).collect();
        let addresses: u128 = all.iter().map(Span::len).sum();
        (all.len() <= MAX_STRETCHES && addresses <= MAX_SURVEYED).then_some(all)
    }

    fn cooldowns(&self, class: CooldownClass, after: Option<Key>, limit: u32, reads: &mut Reads) -> Read<Entries> {
        let family = self.ranges[self.current_range].iter().next().map_or(address::Family::V4, Span::family);
        let mut span = keys::rests(&self.vrf, family, class);
        if let Some(after) = after {
            span.from = after.successor();
        }
        reads.entries(span, limit, Freshness::Hint)
    }
}
