//! The search for a free address of a range set: a bounded number of looks, whatever the size of the ranges.
//!
//! ```text
//!  RandomPick ────► two random addresses; if both are taken, a stretch of some hundred keys is read along with the failure
//!     │             (an empty range ends here after one request, one that is 92 % full after two; see
//!     │             AllocationPolicy::prefetch)
//!  Counts ────────► of 8 random stretches of 256; then of all of the range, and of those after it in the set, in some
//!     │             hundred stretches. A large one with room is divided again. If the first with room is of a later range,
//!     │             that one's turn begins with RandomPick
//!     │   ListKeys: the keys of a stretch with room, from which every free address in it is known
//!     ▼
//!  CollectHolders ► the leases of the range itself: what is in cooldown, what is reserved for longer than its time to
//!     │             live, and who holds the rest of it. A small range is read whole. Of a large one parts are drawn, others
//!     │             in each try, and before that
//!  InCooldown ────► what was released first in the vrf is read, as far as two pages without an address of the range; what
//!                   was fixed once comes after all others
//! ```
//!
//! Counts may be outdated when they are acted on; that costs a round, never an address, since every address is taken
//! under a guard.

mod responses;
mod stages;

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;

use super::add::AllocationPolicy;
use super::amend::Amendment;
use super::candidate::Candidate;
use super::lease_survey::FoundLease;
use super::reads::{Count, Entries, OneEntry, Read, Reads};
use crate::ipam::address::{self, Span, Spans};
use crate::ipam::keys::{self, CooldownClass};
use crate::ipam::name::Name;
use crate::ipam::refusal::{Counts, HostLocalFiles, Refusal};
use crate::ipam::reservation::Owner;
use crate::ipam::seed::{Chances, SplitMix64};
use crate::store::Key;

/// Stretches that a sample counts, and the addresses in each.
const SAMPLES: usize = 8;
const SAMPLE: u128 = 256;
/// Into how many stretches a range is divided to be counted, the shortest of them, and the most that one request
/// counts.
const STRETCHES: u128 = 96;
const SHORTEST: u128 = 64;
const COUNTS_A_REQUEST: usize = 100;
/// The longest stretch whose keys are listed.
const LISTED: u128 = 2048;
/// Rests read at once.
const RESTS: u32 = 500;
/// Rests read along with a random pick that fails.
const PREFETCHED_RESTS: u32 = 8;
/// The most candidates that one look yields.
const CANDIDATES: usize = 16;
/// Holders that a refusal names.
const EXAMPLES: usize = 3;
/// Pages of rests that are read one after the other without an address of the set among them. Other networks of the vrf
/// may have any number of them.
const BARREN_PAGES: u32 = 2;
/// Stretches that are read at the very end, the addresses in each, and how many of either a set may have to be read
/// whole: one with holes comes in many stretches.
const SURVEYED_STRETCHES: usize = 4;
const SURVEYED_STRETCH: u128 = 256;
const MAX_STRETCHES: usize = 64;
const MAX_SURVEYED: u128 = SURVEYED_STRETCHES as u128 * SURVEYED_STRETCH;

/// What is read for a search.
#[derive(Clone, Debug, Default)]
pub(super) struct SearchReads {
    /// The leases of what is tried.
    tried: Vec<(IpAddr, Read<OneEntry>)>,
    /// The keys of a stretch.
    listing: Option<(Span, Read<Entries>)>,
    /// How much of each stretch is taken, by its place among them.
    counts: Vec<(usize, Read<Count>)>,
    /// What rests in the vrf.
    rests: Option<Read<Entries>>,
    /// The leases of the set itself; empty unless they are looked at in the end.
    leases: Vec<Read<Entries>>,
}

#[derive(Clone, Debug)]
enum Stage {
    RandomPick,
    /// Counts of stretches, from `next` on; `whole` if they are all of what is surveyed.
    Counts {
        stretches: Vec<Span>,
        next: usize,
        whole: bool,
    },
    ListKeys(Span),
    /// The rests beyond `after`, if there are `more`, after so many `barren` pages.
    InCooldown {
        class: CooldownClass,
        after: Option<Key>,
        more: bool,
        barren: u32,
    },
    /// The leases of the set; `again` if the last reading of them has shown something to try.
    CollectHolders {
        again: bool,
    },
    Exhausted,
}

impl Stage {
    fn in_cooldown(class: CooldownClass) -> Self {
        Self::InCooldown { class, after: None, more: true, barren: 0 }
    }
}

/// When an address may be given whose rest is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CooldownRule {
    /// As any other: the address was asked for, and cooldown binds random choice only.
    Ignore,
    /// When nothing else is free.
    LastResort,
    /// Not before its rest is over (`cooldown.strict`).
    Wait,
}

/// Addresses of a range set that a search leaves out.
#[derive(Clone, Debug, Default)]
pub(super) struct Unsearched {
    /// What host-local holds on this node.
    pub(super) host_local: Option<HostLocalFiles>,
    /// How many are never given at random.
    pub(super) excluded: u128,
}

/// The search in one range set.
#[derive(Clone, Debug)]
pub(super) struct FreeSearch {
    vrf: Name,
    /// What each range of the set gives at random, in their order.
    ranges: Vec<Spans>,
    /// The range that is searched.
    current_range: usize,
    draws: SplitMix64,
    /// What is drawn again in each try: which part of a large set is looked at in the end.
    chance: SplitMix64,
    /// Addresses in the stretch that is listed along with a random pick that fails.
    prefetch: u32,
    stage: Stage,
    candidates: VecDeque<Candidate>,
    cooldown_rule: CooldownRule,
    /// The owner who asks, if what an earlier one of its name had is over.
    owner: Option<Owner>,
    /// Addresses of the set that were seen to rest and may not be given yet.
    resting: BTreeSet<IpAddr>,
    /// Addresses of the set that were seen to be reserved in the end.
    reserved: u128,
    /// Addresses that are not searched, for the refusal.
    unsearched: Unsearched,
    examples: Vec<String>,
    /// Whether the rests of the vrf were left before their end, and not those that were fixed once.
    passed_over: bool,
    /// What the leases of the set have shown to be held.
    held: Vec<FoundLease>,
    /// Those of them whose times lie ahead.
    ahead: Vec<Amendment>,
}

impl FreeSearch {
    /// A search in these ranges.
    pub(super) fn new(
        policy: &AllocationPolicy,
        ranges: Vec<Spans>,
        cooldown_rule: CooldownRule,
        chances: &Chances,
    ) -> Self {
        let Chances { attachment: draws, attempt: chance } = chances.clone();
        let ranges: Vec<Spans> = ranges.into_iter().filter(|spans| !spans.is_empty()).collect();
        let mut search = Self {
            vrf: policy.vrf.clone(),
            ranges,
            current_range: 0,
            draws,
            chance,
            prefetch: policy.prefetch,
            stage: Stage::RandomPick,
            candidates: VecDeque::new(),
            cooldown_rule,
            owner: policy.sticky.as_ref().map(|sticky| sticky.owner.clone()).filter(|owner| !owner.kind.goes_by_name()),
            resting: BTreeSet::new(),
            reserved: 0,
            unsearched: Unsearched::default(),
            examples: Vec::new(),
            passed_over: false,
            held: Vec::new(),
            ahead: Vec::new(),
        };
        search.pick_at_random();
        search
    }

    /// Begins again, if all has been looked at in vain.
    pub(super) fn begin_again(&mut self) {
        if self.is_exhausted() {
            (self.current_range, self.stage, self.passed_over) = (0, Stage::RandomPick, false);
            self.resting.clear();
            self.reserved = 0;
            self.examples.clear();
            self.pick_at_random();
        }
    }

    /// The same search, with what its refusal is to say of addresses that it leaves out.
    #[must_use]
    pub(super) fn leaving_out(self, unsearched: Unsearched) -> Self {
        Self { unsearched, ..self }
    }

    /// Whether it may end at this address.
    pub(super) fn may_assign(&self, ip: IpAddr) -> bool {
        self.ranges.iter().any(|spans| spans.contains(ip))
    }

    /// Whether there is an address in it at all.
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The address to be tried now, and the one to be tried in the same request if that fails.
    pub(super) fn candidates(&self) -> [Option<&Candidate>; 2] {
        [self.candidates.front(), self.candidates.get(1)]
    }

    /// Whether all has been looked at, in vain.
    pub(super) fn is_exhausted(&self) -> bool {
        matches!(self.stage, Stage::Exhausted)
    }

    /// The refusal when all has been looked at, by what it was looked for in.
    pub(super) fn exhausted(&self, set: String) -> Refusal {
        let size = self.ranges.iter().fold(0_u128, |sum, spans| sum.saturating_add(spans.len()));
        let (resting, reserved) = (self.resting.len() as u128, self.reserved);
        let Unsearched { host_local, excluded } = self.unsearched.clone();
        let held = size.saturating_sub(resting).saturating_sub(reserved);
        let counts = Box::new(Counts { held, resting, reserved, host_local, excluded });
        Refusal::Exhausted { set, counts, examples: self.examples.clone() }
    }

    /// What is held in the set, as far as it was looked at in the end.
    pub(super) fn take_held(&mut self) -> Vec<FoundLease> {
        std::mem::take(&mut self.held)
    }

    /// What is to be written of the set before it is refused.
    pub(super) fn take_ahead(&mut self) -> Vec<Amendment> {
        std::mem::take(&mut self.ahead)
    }

    /// What is to be read: with candidates, along with the transaction that fails on them; else by itself.
    pub(super) fn reads(&mut self, reads: &mut Reads) -> SearchReads {
        let vrf = &self.vrf;
        let tried = self.candidates.iter().take(2).map(|candidate| candidate.ip);
        let tried = tried.map(|ip| (ip, reads.entry(keys::lease(vrf, ip)))).collect();
        let read = SearchReads { tried, ..SearchReads::default() };
        match &self.stage {
            Stage::RandomPick => {
                let spans = &self.ranges[self.current_range];
                let Some(prefetch) = spans.window_around(self.draws.below(spans.len()), self.prefetch.into()) else {
                    return read;
                };
                let listing = Some(self.listing(prefetch, reads));
                SearchReads {
                    listing,
                    rests: Some(self.rests(CooldownClass::Normal, None, PREFETCHED_RESTS, reads)),
                    ..read
                }
            }
            _ if !self.candidates.is_empty() => read,
            Stage::Counts { stretches, next, .. } => {
                let counted = stretches.iter().enumerate().skip(*next).take(COUNTS_A_REQUEST);
                let counts = counted.map(|(i, span)| (i, reads.count(keys::leases(vrf, span)))).collect();
                SearchReads { counts, ..read }
            }
            Stage::ListKeys(span) => SearchReads { listing: Some(self.listing(*span, reads)), ..read },
            Stage::InCooldown { class, after, .. } => {
                SearchReads { rests: Some(self.rests(*class, after.clone(), RESTS, reads)), ..read }
            }
            Stage::CollectHolders { .. } => {
                let spans = self.lease_stretches();
                let leases =
                    spans.iter().map(|span| reads.entries(keys::leases(&self.vrf, span), SURVEYED_STRETCH as u32));
                SearchReads { leases: leases.collect(), ..read }
            }
            Stage::Exhausted => read,
        }
    }

    fn listing(&self, span: Span, reads: &mut Reads) -> (Span, Read<Entries>) {
        let limit = u32::try_from(span.len()).unwrap_or(u32::MAX);
        (span, reads.keys(keys::leases(&self.vrf, &span), limit))
    }

    /// All of a small set; of a larger one other parts in each call, so that none is never looked at.
    fn lease_stretches(&mut self) -> Vec<Span> {
        if let Some(all) = self.all_stretches() {
            return all;
        }
        let mut look = || {
            let current_range = usize::try_from(self.chance.below(self.ranges.len() as u128)).unwrap_or(0);
            let spans = &self.ranges[current_range];
            spans.window_around(self.chance.below(spans.len()), SURVEYED_STRETCH)
        };
        let mut drawn: Vec<Span> = (0..SURVEYED_STRETCHES).filter_map(|_| look()).collect();
        drawn.sort_unstable();
        drawn.dedup();
        drawn
    }

    /// All of the set, if that is no more than is read at once.
    fn all_stretches(&self) -> Option<Vec<Span>> {
        let chunks = self.ranges.iter().flat_map(|spans| spans.chunks(SURVEYED_STRETCH));
        let all: Vec<Span> = chunks.take(MAX_STRETCHES + 1).collect();
        let addresses: u128 = all.iter().map(Span::len).sum();
        (all.len() <= MAX_STRETCHES && addresses <= MAX_SURVEYED).then_some(all)
    }

    fn rests(&self, class: CooldownClass, after: Option<Key>, limit: u32, reads: &mut Reads) -> Read<Entries> {
        let family = self.ranges[self.current_range].iter().next().map_or(address::Family::V4, Span::family);
        let mut span = keys::rests(&self.vrf, family, class);
        if let Some(after) = after {
            span.from = after.successor();
        }
        reads.entries(span, limit)
    }
}
