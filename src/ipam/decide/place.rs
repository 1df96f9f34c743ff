//! The places of an ADD: one for each address that it is to have, each with the candidate that is tried now.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;

use super::Terms;
use super::seek::{Candidate, Seek, Standing, key_of_rest};
use crate::ipam::address::{Span, Spans};
use crate::ipam::lease::{Assigned, Kind, Lease, OnRelease, Stored};
use crate::ipam::name::Name;
use crate::ipam::range::{Range, RangeSet};
use crate::ipam::refusal::Refusal;
use crate::ipam::seed::Draws;
use crate::store::keys;
use crate::store::{Answer, Entry, Op};

/// One address to be found.
#[derive(Clone, Debug)]
pub(super) struct Place {
    set: RangeSet,
    search: Search,
}

#[derive(Clone, Debug)]
enum Search {
    Any(Box<Seek>),
    Fixed(Candidate),
}

impl Place {
    /// The place of a range set's random address; `reserved` is what no range of the network gives at random.
    pub(super) fn random(set: RangeSet, reserved: &[Span], terms: &Terms, draws: Draws) -> Result<Self, Refusal> {
        let grounds = grounds(&set, reserved);
        if grounds.iter().all(Spans::is_empty) {
            return Err(Refusal::NothingDynamic { set: set.to_string() });
        }
        let grounds = grounds.into_iter().map(|spans| without_host_local(spans, terms)).collect();
        let seek = Seek::new(terms.vrf.clone(), grounds, terms.strict, draws);
        if seek.is_empty() {
            return Err(all_held_by_host_local(&set, terms));
        }
        Ok(Self { set, search: Search::Any(Box::new(seek)) })
    }

    /// The place of an address that was asked for.
    pub(super) fn fixed(set: RangeSet, ip: IpAddr, terms: &Terms) -> Result<Self, Refusal> {
        match terms.host_local.get(&ip) {
            Some(file) => Err(Refusal::HeldByHostLocal { ip, file: file.display().to_string() }),
            None => Ok(Self { set, search: Search::Fixed(Candidate::fresh(ip)) }),
        }
    }

    /// The first or the second address that is to be tried now.
    pub(super) fn candidate(&self, nth: usize) -> Option<&Candidate> {
        match &self.search {
            Search::Any(seek) => seek.candidates()[nth],
            Search::Fixed(candidate) => (nth == 0).then_some(candidate),
        }
    }

    pub(super) fn has_second(&self) -> bool {
        self.candidate(1).is_some()
    }

    /// The address that was asked for, if it is one of those.
    pub(super) fn asked(&self) -> Option<IpAddr> {
        match &self.search {
            Search::Any(_) => None,
            Search::Fixed(candidate) => Some(candidate.ip),
        }
    }

    /// Why there is nothing to be tried any more.
    pub(super) fn exhausted(&self) -> Option<Refusal> {
        let Search::Any(seek) = &self.search else { return None };
        let exhausted = || {
            let (size, resting, examples) = seek.report();
            Refusal::Exhausted { set: self.set.to_string(), held: size.saturating_sub(resting), resting, examples }
        };
        seek.is_exhausted().then(exhausted)
    }

    pub(super) fn is_random(&self) -> bool {
        matches!(self.search, Search::Any(_))
    }

    /// What is to be read of the store: along with a transaction that fails, or by itself.
    pub(super) fn reads(&mut self, vrf: &Name) -> Vec<Op> {
        match &mut self.search {
            Search::Any(seek) => seek.reads(),
            Search::Fixed(candidate) => vec![Op::Get(keys::lease(vrf, candidate.ip))],
        }
    }

    /// How many answers belong to what [`Place::reads`] asked last.
    pub(super) fn awaited(&self) -> usize {
        match &self.search {
            Search::Any(seek) => seek.awaited(),
            Search::Fixed(_) => 1,
        }
    }

    /// Takes in what [`Place::reads`] asked for.
    pub(super) fn learn(&mut self, answers: &[Answer], terms: &Terms, now: Timestamp) -> Result<(), Refusal> {
        match &mut self.search {
            Search::Any(seek) => {
                seek.learn(answers, now);
                Ok(())
            }
            Search::Fixed(candidate) => {
                let entry = match answers {
                    [Answer::Entry(entry)] => entry.as_ref(),
                    _ => None,
                };
                candidate.standing = standing_of_fixed(candidate.ip, entry, &terms.vrf)?;
                Ok(())
            }
        }
    }

    /// The address with the prefix length and the gateway of the range that gives it.
    pub(super) fn assigned(&self, candidate: &Candidate) -> Assigned {
        // At random it comes from a window, and no two of a set overlap; on request also from around them.
        let ranges = self.set.ranges();
        let at_random = ranges.iter().find(|range| self.is_random() && range.window.contains(candidate.ip));
        let range = at_random.or_else(|| self.set.range_of(candidate.ip)).unwrap_or(&ranges[0]);
        let address = IpNet::new(candidate.ip, range.subnet.prefix_len()).unwrap_or(range.subnet);
        Assigned { address, gateway: range.gateway }
    }

    /// How an address of this place is chosen, and what becomes of it on release.
    pub(super) fn kind(&self, ip: IpAddr, cooldown: u64) -> (Kind, OnRelease) {
        let rest = if cooldown == 0 { OnRelease::Forget } else { OnRelease::Rest(cooldown) };
        let given_at_random = || self.set.ranges().iter().any(|range| range.dynamic().contains(ip));
        match self.search {
            Search::Any(_) => (Kind::Dynamic, rest),
            Search::Fixed(_) if given_at_random() => (Kind::Fixed, OnRelease::Last),
            Search::Fixed(_) => (Kind::Fixed, rest),
        }
    }
}

/// What the store has of an address that was asked for: free, resting (which binds random choice only), or held.
fn standing_of_fixed(ip: IpAddr, entry: Option<&Entry>, vrf: &Name) -> Result<Standing, Refusal> {
    let Some(entry) = entry else { return Ok(Standing::Unknown) };
    match Stored::<Lease>::read(&entry.value) {
        Stored::Known(lease) => match key_of_rest(vrf, ip, &lease) {
            // Cooldown binds random choice only.
            Some(rest) => Ok(Standing::Resting { revision: entry.revision, rest, over: true }),
            None => match lease.holders.into_iter().next() {
                Some(holder) => Err(Refusal::Held { ip, holder: Box::new(holder), since: lease.since }),
                None => Err(Refusal::Unreadable { ip, why: "names no holder".to_owned() }),
            },
        },
        unreadable => Err(Refusal::Unreadable { ip, why: unreadable.why_unreadable() }),
    }
}

/// What each range of a set gives at random: never a gateway or a fixed window, also not those of another range that
/// shares its subnet.
fn grounds(set: &RangeSet, reserved: &[Span]) -> Vec<Spans> {
    let unreserved = |range: &Range| reserved.iter().fold(range.dynamic(), |left, hole| left.without(hole));
    set.ranges().iter().map(unreserved).collect()
}

fn without_host_local(spans: Spans, terms: &Terms) -> Spans {
    terms.host_local.keys().copied().map(Span::single).fold(spans, |left, hole| left.without(&hole))
}

fn all_held_by_host_local(set: &RangeSet, terms: &Terms) -> Refusal {
    let of_set = |ip: &IpAddr| set.ranges().iter().any(|range| range.window.contains(*ip));
    let held: Vec<IpAddr> = terms.host_local.keys().copied().filter(of_set).collect();
    let examples = held.iter().take(3).map(|ip| format!("{ip} by host-local")).collect();
    Refusal::Exhausted { set: set.to_string(), held: held.len() as u128, resting: 0, examples }
}
