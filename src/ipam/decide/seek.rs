//! The search for a free address of a range set: a bounded number of looks, whatever the size of the ranges.
//!
//! ```text
//!  Draw ──► two random addresses; if both are taken, a stretch of some hundred keys is read along with the failure
//!    │      (an empty range ends here after one request, one that is 92 % full after two; see Terms::glance)
//!  Sample ► counts of 8 random stretches of 256
//!  Survey ► counts of all of the range, and of those after it in the set, in some hundred stretches; a large one with
//!    │      room is divided again; if the first with room is of a later range, that one's turn begins with Draw
//!    │      List: the keys of a stretch with room, from which every free address in it is known
//!    ▼
//!  Last ──► the leases of the range itself: what rests there, what is reserved for longer than its time to live, and who
//!    │      holds the rest of it. A small range is read whole; of a large one parts are drawn, others in each try, and
//!    │      before that
//!  Rests ─► what rested longest in the vrf is read, as far as two pages without an address of the range; what was fixed
//!           once comes after all other rests
//! ```
//!
//! Counts may be outdated when they are acted on; that costs a round, never an address, since every address is taken
//! under a guard.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;

use jiff::Timestamp;

use super::add::Terms;
use super::aim::Takeover;
use super::amend::Amendment;
use super::last_look::{LastLook, Met};
use super::reads::{Answers, Count, Entries, OneEntry, Read, Reads};
use crate::ipam::address::{self, Span, Spans};
use crate::ipam::keys::{self, Resting};
use crate::ipam::lease::{Lease, RestEntry, Stored};
use crate::ipam::name::Name;
use crate::ipam::refusal::{Counts, HostLocalFiles, Refusal};
use crate::ipam::reservation::Owner;
use crate::ipam::seed::{Chances, Draws};
use crate::store::{Entry, Guard, Key, Revision};

/// Stretches that a sample counts, and the addresses in each.
const SAMPLES: usize = 8;
const SAMPLE: u128 = 256;
/// Stretches that a survey aims at, the shortest of them, and the most that one request counts.
const STRETCHES: u128 = 96;
const SHORTEST: u128 = 64;
const COUNTS_A_REQUEST: usize = 100;
/// The longest stretch whose keys are listed.
const LISTED: u128 = 2048;
/// Rests read at once.
const RESTS: u32 = 500;
/// Rests read along with a failed draw.
const RESTS_GLANCE: u32 = 8;
/// Candidates kept of one look.
const CANDIDATES: usize = 16;
/// Holders that a refusal names.
const EXAMPLES: usize = 3;
/// Pages of rests that are read one after the other without an address of the set among them. Other networks of the vrf may
/// have any number of them.
const BARREN_PAGES: u32 = 2;
/// Stretches that are read at the very end, the addresses in each, and how many of either a set may have to be read whole:
/// one with holes comes in many stretches.
const LAST_LOOKS: usize = 4;
const LAST_LOOK: u128 = 256;
const WHOLE_LOOKS: usize = 64;
const WHOLE: u128 = LAST_LOOKS as u128 * LAST_LOOK;

/// An address to be tried, and the guard under which it is free.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) ip: IpAddr,
    pub(super) standing: Standing,
}

/// What the store has of a candidate.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Standing {
    /// Nothing.
    Unknown,
    /// A resting lease.
    Resting {
        /// Its revision.
        revision: Revision,
        /// Its entry among the rests.
        rest: Key,
        /// Whether it has rested long enough.
        over: bool,
    },
    /// A lease whose holder gives it up.
    Takeover(Box<Takeover>),
    /// A lease that nobody holds and that is reserved for who asks, or was for longer than its time to live.
    Reserved(Revision),
    /// A lease that is held together with those who have it.
    Joining {
        /// Its revision.
        revision: Revision,
        /// As it is.
        lease: Box<Lease>,
    },
}

impl Candidate {
    pub(super) fn fresh(ip: IpAddr) -> Self {
        Self { ip, standing: Standing::Unknown }
    }

    /// What passes with it from somebody else.
    pub(super) fn takeover(&self) -> Option<&Takeover> {
        match &self.standing {
            Standing::Takeover(takeover) => Some(takeover),
            Standing::Unknown | Standing::Resting { .. } | Standing::Reserved(_) | Standing::Joining { .. } => None,
        }
    }

    pub(super) fn guard(&self, vrf: &Name) -> Guard {
        let key = keys::lease(vrf, self.ip);
        match &self.standing {
            Standing::Unknown => Guard::Absent(key),
            Standing::Resting { revision, .. } | Standing::Reserved(revision) | Standing::Joining { revision, .. } => {
                Guard::Unchanged(key, *revision)
            }
            Standing::Takeover(takeover) => Guard::Unchanged(key, takeover.revision),
        }
    }
}

/// The key of a resting lease among the rests; `None` for a lease that is held.
pub(in crate::ipam) fn key_of_rest(vrf: &Name, ip: IpAddr, lease: &Lease) -> Option<Key> {
    let rest = lease.rest.as_ref()?;
    let class = if rest.last { Resting::UntilNothingElse } else { Resting::ForAWhile };
    Some(keys::rest(vrf, class, rest.released, ip))
}

/// What is read for a search.
#[derive(Clone, Debug, Default)]
pub(super) struct SearchReads {
    /// The leases of what is tried.
    tried: Vec<(IpAddr, Read<OneEntry>)>,
    /// The keys of a stretch.
    listing: Option<(Span, Read<Entries>)>,
    /// How much of each stretch is taken, by its place in the survey.
    counts: Vec<(usize, Read<Count>)>,
    /// What rests in the vrf.
    rests: Option<Read<Entries>>,
    /// The leases of the set itself; empty unless they are looked at in the end.
    leases: Vec<Read<Entries>>,
}

#[derive(Clone, Debug)]
enum Stage {
    Draw,
    /// Counts of stretches, from `next` on; `whole` if they are all of what is surveyed.
    Survey {
        stretches: Vec<Span>,
        next: usize,
        whole: bool,
    },
    List(Span),
    /// The rests beyond `after`, if there are `more`, after so many `barren` pages.
    Rests {
        class: Resting,
        after: Option<Key>,
        more: bool,
        barren: u32,
    },
    /// The leases of the set; `again` if the last reading of them has shown something to try.
    Last {
        again: bool,
    },
    Exhausted,
}

impl Stage {
    fn rests(class: Resting) -> Self {
        Self::Rests { class, after: None, more: true, barren: 0 }
    }
}

/// When an address may be given whose rest is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unrested {
    /// As any other: the address was asked for, and cooldown binds random choice only.
    AtOnce,
    /// When nothing else is free.
    Last,
    /// Not before its rest is over (`cooldown.strict`).
    Never,
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
pub(super) struct Seek {
    vrf: Name,
    /// What each range of the set gives at random, in their order.
    grounds: Vec<Spans>,
    /// The range that is searched.
    ground: usize,
    draws: Draws,
    /// What is drawn anew in each try: which part of a large set is looked at in the end.
    chance: Draws,
    /// Addresses in the stretch that is listed along with a failed draw.
    glance: u32,
    stage: Stage,
    candidates: VecDeque<Candidate>,
    unrested: Unrested,
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
    held: Vec<Met>,
    /// Those of them whose times lie ahead.
    ahead: Vec<Amendment>,
}

impl Seek {
    /// A search in these ranges.
    pub(super) fn new(terms: &Terms, grounds: Vec<Spans>, unrested: Unrested, chances: &Chances) -> Self {
        let Chances { attachment: draws, attempt: chance } = chances.clone();
        let grounds: Vec<Spans> = grounds.into_iter().filter(|spans| !spans.is_empty()).collect();
        let mut seek = Self {
            vrf: terms.vrf.clone(),
            grounds,
            ground: 0,
            draws,
            chance,
            glance: terms.glance,
            stage: Stage::Draw,
            candidates: VecDeque::new(),
            unrested,
            owner: terms.keep.as_ref().map(|keep| keep.owner.clone()).filter(|owner| !owner.kind.goes_by_name()),
            resting: BTreeSet::new(),
            reserved: 0,
            unsearched: Unsearched::default(),
            examples: Vec::new(),
            passed_over: false,
            held: Vec::new(),
            ahead: Vec::new(),
        };
        seek.draw();
        seek
    }

    /// Begins again, if all has been looked at in vain.
    pub(super) fn begin_again(&mut self) {
        if self.is_exhausted() {
            (self.ground, self.stage, self.passed_over) = (0, Stage::Draw, false);
            self.resting.clear();
            self.reserved = 0;
            self.examples.clear();
            self.draw();
        }
    }

    /// The same search, with what its refusal is to say of addresses that it leaves out.
    #[must_use]
    pub(super) fn leaving_out(self, unsearched: Unsearched) -> Self {
        Self { unsearched, ..self }
    }

    /// Whether it may end at this address.
    pub(super) fn may_give(&self, ip: IpAddr) -> bool {
        self.grounds.iter().any(|spans| spans.contains(ip))
    }

    /// Whether there is an address in it at all.
    pub(super) fn is_empty(&self) -> bool {
        self.grounds.is_empty()
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
        let size = self.grounds.iter().fold(0_u128, |sum, spans| sum.saturating_add(spans.len()));
        let (resting, reserved) = (self.resting.len() as u128, self.reserved);
        let Unsearched { host_local, excluded } = self.unsearched.clone();
        let held = size.saturating_sub(resting).saturating_sub(reserved);
        let counts = Box::new(Counts { held, resting, reserved, host_local, excluded });
        Refusal::Exhausted { set, counts, examples: self.examples.clone() }
    }

    /// What is held in the set, as far as it was looked at in the end.
    pub(super) fn take_held(&mut self) -> Vec<Met> {
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
            Stage::Draw => {
                let spans = &self.grounds[self.ground];
                let Some(glance) = spans.piece_around(self.draws.below(spans.len()), self.glance.into()) else {
                    return read;
                };
                let listing = Some(self.listing(glance, reads));
                SearchReads { listing, rests: Some(self.rests(Resting::ForAWhile, None, RESTS_GLANCE, reads)), ..read }
            }
            _ if !self.candidates.is_empty() => read,
            Stage::Survey { stretches, next, .. } => {
                let counted = stretches.iter().enumerate().skip(*next).take(COUNTS_A_REQUEST);
                let counts = counted.map(|(i, span)| (i, reads.count(keys::leases(vrf, span)))).collect();
                SearchReads { counts, ..read }
            }
            Stage::List(span) => SearchReads { listing: Some(self.listing(*span, reads)), ..read },
            Stage::Rests { class, after, .. } => {
                SearchReads { rests: Some(self.rests(*class, after.clone(), RESTS, reads)), ..read }
            }
            Stage::Last { .. } => {
                let spans = self.last_looks();
                let leases = spans.iter().map(|span| reads.entries(keys::leases(&self.vrf, span), LAST_LOOK as u32));
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
    fn last_looks(&mut self) -> Vec<Span> {
        if let Some(all) = self.all_looks() {
            return all;
        }
        let mut look = || {
            let ground = usize::try_from(self.chance.below(self.grounds.len() as u128)).unwrap_or(0);
            let spans = &self.grounds[ground];
            spans.piece_around(self.chance.below(spans.len()), LAST_LOOK)
        };
        let mut drawn: Vec<Span> = (0..LAST_LOOKS).filter_map(|_| look()).collect();
        drawn.sort_unstable();
        drawn.dedup();
        drawn
    }

    /// All of the set, if that is no more than is read at once.
    fn all_looks(&self) -> Option<Vec<Span>> {
        let pieces = self.grounds.iter().flat_map(|spans| spans.pieces(LAST_LOOK));
        let all: Vec<Span> = pieces.take(WHOLE_LOOKS + 1).collect();
        let addresses: u128 = all.iter().map(Span::len).sum();
        (all.len() <= WHOLE_LOOKS && addresses <= WHOLE).then_some(all)
    }

    fn rests(&self, class: Resting, after: Option<Key>, limit: u32, reads: &mut Reads) -> Read<Entries> {
        let family = self.grounds[self.ground].iter().next().map_or(address::Family::V4, Span::family);
        let mut span = keys::rests(&self.vrf, family, class);
        if let Some(after) = after {
            span.from = after.successor();
        }
        reads.entries(span, limit)
    }

    /// Takes in what was read, and settles what is tried or read next.
    pub(super) fn learn(&mut self, read: SearchReads, answers: Answers<'_>, now: Timestamp) {
        let tried: Vec<Candidate> = self.candidates.drain(..).collect();
        let mut found = Found::default();
        for (ip, lease) in read.tried {
            self.reconsider(ip, answers.to(lease), now, &mut found);
        }
        if let Some((span, keys)) = read.listing {
            self.list_free(&span, answers.to(keys), &mut found);
        }
        if let Some(rests) = read.rests {
            self.read_rests(answers.to(rests), now, &mut found);
        }
        found.counts.extend(read.counts.into_iter().filter_map(|(i, count)| Some((i, answers.to(count)?))));
        if !read.leases.is_empty() {
            let leases: Vec<&Entry> = read.leases.into_iter().flat_map(|leases| answers.to(leases)).collect();
            self.look_last(&leases, now, &mut found);
        }
        // What was not looked at again (beyond the first two) may still be free.
        found.free.extend(tried.into_iter().skip(2));
        self.candidates.extend(found.free);
        self.candidates.extend(found.rested);
        if self.candidates.is_empty() {
            self.go_on(&found.counts);
        }
    }

    /// A candidate that was in the way of the transaction, or not.
    fn reconsider(&self, ip: IpAddr, entry: Option<&Entry>, now: Timestamp, found: &mut Found) {
        let Some(entry) = entry else {
            found.free.push(Candidate::fresh(ip));
            return;
        };
        let Stored::Known(lease) = Stored::<Lease>::read(&entry.value) else { return };
        let Some(rest) = &lease.rest else {
            found.rested.extend(self.over(entry, now));
            return;
        };
        let at_once = self.unrested == Unrested::AtOnce;
        let is_late = matches!(self.stage, Stage::Rests { .. } | Stage::Last { .. });
        let resting_is_next = is_late && self.unrested == Unrested::Last;
        let over = at_once || lease.has_rested(now);
        if at_once || resting_is_next || (over && (!rest.last || is_late)) {
            let key = key_of_rest(&self.vrf, ip, &lease);
            let standing = key.map(|rest| Standing::Resting { revision: entry.revision, rest, over });
            found.rested.extend(standing.map(|standing| Candidate { ip, standing }));
        }
    }

    /// At the very end: an address whose reservation is over (`sticky.ttl`, or since it was that of an earlier claim). Whoever
    /// asks for a pool has a look of its own.
    fn over(&self, entry: &Entry, now: Timestamp) -> Option<Candidate> {
        let is_last = matches!(self.stage, Stage::Last { .. }) && self.unrested != Unrested::AtOnce;
        let (_, ip) = keys::read_lease(&entry.key).filter(|_| is_last)?;
        let lease = Stored::<Lease>::read(&entry.value).known()?;
        let is_known = self.candidates.iter().any(|candidate| candidate.ip == ip);
        let is_over = lease.is_over_for(self.owner.as_ref(), now);
        (is_over && !is_known).then_some(Candidate { ip, standing: Standing::Reserved(entry.revision) })
    }

    /// The free addresses of a stretch of which all keys are known.
    fn list_free(&mut self, span: &Span, entries: &[Entry], found: &mut Found) {
        let held: Vec<u128> = entries
            .iter()
            .filter_map(|entry| keys::read_lease(&entry.key))
            .map(|(_, ip)| address::number(ip))
            .collect();
        let (first, last) = span.numbers();
        let free = (first..=last).filter(|number| held.binary_search(number).is_err());
        let mut free: Vec<IpAddr> = free.map(|number| address::address(span.family(), number)).collect();
        self.draws.shuffle(&mut free);
        let known: Vec<IpAddr> = found.free.iter().map(|candidate| candidate.ip).collect();
        let new = free.into_iter().filter(|ip| !known.contains(ip)).take(CANDIDATES);
        found.free.extend(new.map(Candidate::fresh));
    }

    /// Addresses of the set among those that rest, longest first.
    fn read_rests(&mut self, entries: &[Entry], now: Timestamp, found: &mut Found) {
        let at_a_glance = matches!(self.stage, Stage::Draw);
        let mut looked_at = 0;
        for entry in entries {
            if found.rested.len() >= CANDIDATES {
                break;
            }
            looked_at += 1;
            let Some((.., ip)) = keys::read_rest(&entry.key) else { continue };
            let Stored::Known(RestEntry { rest, .. }) = Stored::read(&entry.value) else { continue };
            let here = match at_a_glance {
                true => self.grounds[self.ground].contains(ip),
                false => self.grounds.iter().any(|spans| spans.contains(ip)),
            };
            let over = self.unrested == Unrested::AtOnce || rest.is_over(now);
            let known = found.rested.iter().any(|candidate| candidate.ip == ip);
            if here && !known && (over || !at_a_glance && self.unrested == Unrested::Last) {
                let standing = Standing::Resting { revision: entry.revision, rest: entry.key.clone(), over };
                found.rested.push(Candidate { ip, standing });
            } else if here && !known && !at_a_glance {
                self.resting.insert(ip);
            }
        }
        // Never back to the start: what was tried in vain has been taken, and a rest that has lost its lease (somebody
        // deleted keys by hand) must not be in the way of those after it.
        if let Stage::Rests { after, more, barren, .. } = &mut self.stage {
            *after = entries[..looked_at].last().map(|entry| entry.key.clone()).or(after.take());
            *more = looked_at < entries.len() || entries.len() >= RESTS as usize;
            *barren = if found.rested.is_empty() { *barren + 1 } else { 0 };
        }
    }

    /// What the leases of the set show, once nothing in it is free.
    fn look_last(&mut self, entries: &[&Entry], now: Timestamp, found: &mut Found) {
        let mut look = LastLook::of(entries, &self.vrf, self.unrested, self.owner.as_ref(), now);
        found.rested = look.candidates();
        found.rested.truncate(CANDIDATES);
        // It may be looked at again, while others come and go.
        self.resting.extend(look.resting);
        self.reserved = look.reserved.len() as u128;
        (self.examples, self.held, self.ahead) = (look.examples, look.held, look.ahead);
        self.examples.truncate(EXAMPLES);
        self.stage = Stage::Last { again: !found.rested.is_empty() };
    }

    /// Nothing to try was found: where to look next.
    fn go_on(&mut self, counts: &[(usize, u64)]) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Exhausted) {
            Stage::Draw => self.sample(),
            Stage::Survey { stretches, next, whole } => self.after_counts(&stretches, next, whole, counts),
            // Others have taken what the count had promised.
            Stage::List(_) => self.survey(),
            rests @ Stage::Rests { more: true, barren: ..BARREN_PAGES, .. } => rests,
            Stage::Rests { class: Resting::ForAWhile, more, .. } => {
                self.passed_over = more;
                // What rests in the set itself goes before what was fixed once.
                if more { Stage::Last { again: false } } else { Stage::rests(Resting::UntilNothingElse) }
            }
            Stage::Rests { class: Resting::UntilNothingElse, .. } if self.passed_over => Stage::Exhausted,
            Stage::Rests { class: Resting::UntilNothingElse, .. } => Stage::Last { again: false },
            // Others have taken what it had shown; there may be more of it.
            Stage::Last { again: true } => Stage::Last { again: false },
            Stage::Last { again: false } if self.passed_over => Stage::rests(Resting::UntilNothingElse),
            Stage::Last { again: false } | Stage::Exhausted => Stage::Exhausted,
        };
        if matches!(self.stage, Stage::Draw) {
            self.draw();
        }
    }

    fn draw(&mut self) {
        let Some(spans) = self.grounds.get(self.ground) else { return };
        let positions = [self.draws.below(spans.len()), self.draws.below(spans.len())];
        let mut ips: Vec<IpAddr> = positions.iter().filter_map(|position| spans.at(*position)).collect();
        ips.dedup();
        self.candidates = ips.into_iter().map(Candidate::fresh).collect();
    }

    fn sample(&mut self) -> Stage {
        let spans = &self.grounds[self.ground];
        if spans.len() <= SAMPLE * SAMPLES as u128 {
            return self.survey();
        }
        let positions: Vec<u128> = (0..SAMPLES).map(|_| self.draws.below(spans.len())).collect();
        let stretches = positions.into_iter().filter_map(|position| spans.piece_around(position, SAMPLE)).collect();
        Stage::Survey { stretches, next: 0, whole: false }
    }

    fn survey(&self) -> Stage {
        let grounds = &self.grounds[self.ground..];
        let share = (STRETCHES / grounds.len() as u128).max(1);
        let stretches = grounds.iter().flat_map(|spans| divide(spans, share)).collect();
        Stage::Survey { stretches, next: 0, whole: true }
    }

    fn after_counts(&mut self, stretches: &[Span], next: usize, whole: bool, counts: &[(usize, u64)]) -> Stage {
        let with_room = |(i, count): &(usize, u64)| stretches.get(*i).filter(|span| u128::from(*count) < span.len());
        let mut room: Vec<Span> = counts.iter().filter_map(with_room).copied().collect();
        let ground_of = |span: &Span| self.grounds.iter().position(|spans| spans.contains(span.first()));
        let ground = room.first().and_then(ground_of).unwrap_or(self.ground);
        if ground > self.ground {
            self.ground = ground;
            return Stage::Draw;
        }
        room.retain(|span| ground_of(span) == Some(ground));
        // Not the first or the largest for everyone: calls that run at once are to end up in different places.
        self.draws.shuffle(&mut room);
        match room.first() {
            Some(span) if span.len() <= LISTED => Stage::List(*span),
            // Not the whole: if others fill this stretch meanwhile, there may be room in another.
            Some(span) => Stage::Survey { stretches: divide(&Spans::of(*span), STRETCHES), next: 0, whole: false },
            None if next + COUNTS_A_REQUEST < stretches.len() => {
                Stage::Survey { stretches: stretches.to_vec(), next: next + COUNTS_A_REQUEST, whole }
            }
            None if !whole => self.survey(),
            None if self.all_looks().is_some() => Stage::Last { again: false },
            None => Stage::rests(Resting::ForAWhile),
        }
    }
}

/// All of a set in about so many stretches, each in one span.
fn divide(spans: &Spans, stretches: u128) -> Vec<Span> {
    spans.pieces(spans.len().div_ceil(stretches).max(SHORTEST)).collect()
}

/// What one round of reading has shown.
#[derive(Default)]
struct Found {
    free: Vec<Candidate>,
    rested: Vec<Candidate>,
    counts: Vec<(usize, u64)>,
}
