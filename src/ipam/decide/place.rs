//! The places of an ADD: one for each address that it is to have, each with the candidate that is tried now.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use jiff::Timestamp;

use super::Terms;
use super::aim::{AddressReads, Aim, Known, Question};
use super::amend::Amendment;
use super::any::Any;
use super::pool::Pool;
use super::reads::{Answers, Reads};
use super::seek::{Candidate, SearchReads, Seek, Unrested, Unsearched};
use crate::ipam::address::{Span, Spans};
use crate::ipam::lease::{Assigned, Holder, Kind, OnRelease};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::range::{Range, RangeSet};
use crate::ipam::refusal::{HostLocalFiles, Refusal};
use crate::ipam::request::{AddressOverrides, AddressRequest, Selection};
use crate::ipam::reservation::Owner;
use crate::ipam::seed::Chances;
use crate::ipam::takeover::{HolderChecks, InUseReason};

/// What is read for a place.
#[derive(Clone, Debug)]
pub(super) enum PlaceReads {
    /// For the search of a free address.
    Search(SearchReads),
    /// Of one certain address.
    Address(AddressReads),
    /// It has come to its end.
    Nothing,
}

impl From<Option<AddressReads>> for PlaceReads {
    fn from(read: Option<AddressReads>) -> Self {
        read.map_or(Self::Nothing, Self::Address)
    }
}

/// One address to be found.
#[derive(Clone, Debug)]
pub(super) struct Place {
    set: RangeSet,
    overrides: AddressOverrides,
    /// Whether its owner had the address that is asked for, maybe at random.
    previously_assigned: bool,
    /// The address that its owner had here, once somebody else has it.
    lost: Option<IpAddr>,
    search: Search,
}

#[derive(Clone, Debug)]
enum Search {
    Any(Box<Any>),
    Pool(Box<Pool>),
    /// What an earlier sandbox of the pod holds, or else, if it holds that no more, what the place gives anyway.
    Recalled {
        aim: Box<Aim>,
        otherwise: Box<Search>,
    },
    /// What its owner has, or else, if that has passed to somebody else, what the place gives anyway.
    Kept {
        aim: Box<Aim>,
        otherwise: Box<Search>,
        /// Whether it is the owner's only as long as a pod of the owner holds it.
        while_held: bool,
    },
    Fixed {
        aim: Box<Aim>,
        /// What is done instead if another interface of the same sandbox holds it, where that is not a conflict.
        otherwise: Option<Box<Otherwise>>,
    },
}

#[derive(Clone, Debug)]
struct Otherwise {
    own: AttachmentId,
    any: Any,
}

impl Place {
    /// The places of a request: one, or as many as it has fixed addresses. `reserved` is what no range of the network gives
    /// at random.
    pub(super) fn of_request(
        request: AddressRequest,
        own: &AttachmentId,
        reserved: &[Span],
        terms: &Terms,
        chances: &Chances,
    ) -> Result<Vec<Self>, Refusal> {
        let AddressRequest { set, selection, source, overrides, fallback_to_any, previously_assigned } = request;
        let search = match selection {
            Selection::Auto => Search::Any(Box::new(any(&set, reserved, terms, chances)?)),
            Selection::OneOf(spans) => {
                let what = format!("{spans} ({source})");
                let unsearched = Unsearched { host_local: by_host_local(&[&spans], terms), excluded: 0 };
                let left = without_host_local(spans, terms);
                let seek = Seek::new(terms, vec![left.clone()], Unrested::AtOnce, chances).leaving_out(unsearched);
                if seek.is_empty() {
                    return Err(seek.exhausted(what));
                }
                Search::Pool(Box::new(Pool::new(what, left, seek, chances.attempt.clone())))
            }
            Selection::Exact(ips) => {
                let fixed = |ip: IpAddr| {
                    if let Some(file) = terms.host_local.get(&ip) {
                        return Err(Refusal::HeldByHostLocal { ip, file: file.display().to_string() });
                    }
                    let any = fallback_to_any.then(|| any(&set, reserved, terms, chances).ok()).flatten();
                    let otherwise = any.map(|any| Box::new(Otherwise { own: own.clone(), any }));
                    let on_request = set.range_of(ip).is_some_and(|range| range.assignable(ip).is_ok());
                    let aim = if previously_assigned && !on_request { Aim::at_own(ip) } else { Aim::at(ip) };
                    let search = Search::Fixed { aim: Box::new(aim), otherwise };
                    Ok(Self { set: set.clone(), overrides, previously_assigned, lost: None, search })
                };
                return ips.into_iter().map(fixed).collect();
            }
        };
        Ok(vec![Self { set, overrides, previously_assigned, lost: None, search }])
    }

    /// The first or the second address that is to be tried now.
    pub(super) fn candidate(&self, nth: usize) -> Option<&Candidate> {
        match &self.search {
            Search::Any(any) => any.candidate(nth),
            Search::Pool(pool) => pool.candidate(nth),
            Search::Recalled { aim, .. } | Search::Kept { aim, .. } | Search::Fixed { aim, .. } => {
                aim.candidate().filter(|_| nth == 0)
            }
        }
    }

    pub(super) fn has_second(&self) -> bool {
        self.candidate(1).is_some()
    }

    /// The address that was asked for and nothing instead of it, if it is one of those.
    pub(super) fn asked(&self) -> Option<IpAddr> {
        match &self.search {
            Search::Fixed { aim, otherwise: None } => Some(aim.ip()),
            _ => None,
        }
    }

    /// Whether the address was named by whoever asks.
    pub(super) fn is_asked_for(&self) -> bool {
        matches!(self.search, Search::Fixed { .. })
    }

    /// Whether this very address was named by whoever asks.
    pub(super) fn asks_for(&self, ip: IpAddr) -> bool {
        matches!(&self.search, Search::Fixed { aim, .. } if aim.ip() == ip)
    }

    /// Whether its owner may keep this address here.
    pub(super) fn may_keep(&self, ip: IpAddr) -> bool {
        match &self.search {
            Search::Any(any) => any.may_give(ip),
            Search::Pool(pool) => pool.may_give(ip),
            Search::Recalled { .. } | Search::Kept { .. } | Search::Fixed { .. } => false,
        }
    }

    /// Whether this address may be given here, and none is aimed at yet.
    pub(super) fn may_recall(&self, ip: IpAddr) -> bool {
        self.may_keep(ip)
    }

    /// Aims at an address that an earlier sandbox of the pod has, or had.
    pub(super) fn recall(&mut self, ip: IpAddr, earlier: &AttachmentId) {
        let aim = Box::new(Aim::at_held_by(ip, earlier.clone()));
        self.search = Search::Recalled { aim, otherwise: Box::new(self.search.clone()) };
    }

    /// The address that its owner had here, if somebody else has it now.
    pub(super) fn lost_to_another(&self) -> Option<IpAddr> {
        self.lost
    }

    /// Aims at an address that its owner has.
    pub(super) fn keep(&mut self, ip: IpAddr) {
        self.keep_on(ip, false);
    }

    /// Aims at an address that its owner has if a pod of the owner holds it.
    pub(super) fn keep_while_held(&mut self, ip: IpAddr) {
        self.keep_on(ip, true);
    }

    fn keep_on(&mut self, ip: IpAddr, while_held: bool) {
        self.lost = None;
        self.search = Search::Kept { aim: Box::new(Aim::at(ip)), otherwise: Box::new(self.search.clone()), while_held };
    }

    /// Whether it aims at this address, which its owner has.
    pub(super) fn keeps(&self, ip: IpAddr) -> bool {
        matches!(&self.search, Search::Kept { aim, .. } if aim.ip() == ip)
    }

    /// Aims at no address of its owner any more.
    pub(super) fn keep_nothing(&mut self) {
        if let Search::Kept { otherwise, .. } = &self.search {
            self.search = (**otherwise).clone();
        }
    }

    /// Whether it aims at an address that its owner has.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self.search, Search::Kept { .. })
    }

    /// Whether it aims at an address that its owner has, or an earlier sandbox of the pod.
    pub(super) fn is_had(&self) -> bool {
        matches!(self.search, Search::Kept { .. } | Search::Recalled { .. })
    }

    /// Why there is nothing to be tried any more.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match &self.search {
            Search::Any(any) => any.refusal(self.set.to_string()),
            Search::Pool(pool) => pool.exhausted(),
            Search::Recalled { aim, .. } | Search::Kept { aim, .. } | Search::Fixed { aim, .. } => {
                aim.refusal().cloned()
            }
        }
    }

    /// Whether any address would do, and there is none.
    pub(super) fn lacks_room(&self) -> bool {
        matches!(&self.search, Search::Any(any) if any.lacks_room())
    }

    /// Begins a search again that has found nothing.
    pub(super) fn search_again(&mut self) {
        if let Search::Any(any) = &mut self.search {
            any.begin_again();
        }
    }

    /// Who has to be asked about before anything can be tried.
    pub(super) fn question(&self) -> Option<&Question> {
        match &self.search {
            Search::Any(any) => any.question(),
            Search::Recalled { .. } => None,
            Search::Pool(pool) => pool.question(),
            Search::Kept { aim, .. } | Search::Fixed { aim, .. } => aim.question(),
        }
    }

    /// The refusal as long as nobody was asked about that pod.
    pub(super) fn unanswered(&self) -> Option<Refusal> {
        let question = self.question()?;
        Some(match &self.search {
            Search::Any(any) => any.unanswered(self.set.to_string()),
            _ => question.refusal(InUseReason::NotChecked),
        })
    }

    /// Parts with what may not pass yet.
    pub(super) fn settle(&mut self, now: Timestamp) {
        if let Search::Any(any) = &mut self.search {
            any.settle(now);
        }
    }

    /// What is to be written before it is refused.
    pub(super) fn take_amendments(&mut self) -> Vec<Amendment> {
        match &mut self.search {
            Search::Any(any) => any.take_amendments(),
            Search::Pool(pool) => pool.take_amendments(),
            Search::Recalled { .. } => Vec::new(),
            Search::Kept { aim, .. } | Search::Fixed { aim, .. } => aim.take_ahead().into_iter().collect(),
        }
    }

    /// The owner of which the pod has to be, to have the address that is tried now.
    pub(super) fn owner_to_check(&self) -> Option<&Owner> {
        match &self.search {
            Search::Any(_) | Search::Recalled { .. } => None,
            Search::Pool(pool) => pool.owner_to_check(),
            Search::Kept { aim, .. } | Search::Fixed { aim, .. } => aim.owner_to_check(),
        }
    }

    /// Looks at its question again, after a check.
    pub(super) fn judge(&mut self, own: &Holder, checks: &HolderChecks) {
        match &mut self.search {
            Search::Any(any) => any.judge(own, checks),
            Search::Recalled { .. } => {}
            Search::Pool(pool) => pool.judge(own, checks),
            Search::Kept { aim, .. } | Search::Fixed { aim, .. } => aim.judge(own, checks),
        }
    }

    /// Gives up an address that was about to pass.
    pub(super) fn refuse(&mut self, ip: IpAddr, refusal: &Refusal) {
        match &mut self.search {
            Search::Any(any) => any.refuse(ip, refusal),
            Search::Pool(pool) => pool.refuse(ip, refusal),
            // Any other serves as well, and none was asked for.
            Search::Recalled { aim, otherwise } if aim.ip() == ip => self.search = (**otherwise).clone(),
            Search::Recalled { .. } => {}
            Search::Kept { aim, .. } | Search::Fixed { aim, .. } if aim.ip() == ip => aim.refuse(refusal.clone()),
            Search::Kept { .. } | Search::Fixed { .. } => {}
        }
    }

    pub(super) fn is_random(&self) -> bool {
        matches!(self.search, Search::Any(_))
    }

    /// What is to be read of the store: along with a transaction that fails, or by itself.
    pub(super) fn reads(&mut self, vrf: &Name, reads: &mut Reads) -> PlaceReads {
        match &mut self.search {
            Search::Any(any) => any.reads(reads),
            Search::Pool(pool) => pool.reads(vrf, reads),
            Search::Recalled { aim, .. } | Search::Kept { aim, .. } | Search::Fixed { aim, .. } => {
                PlaceReads::Address(aim.reads(vrf, reads))
            }
        }
    }

    /// Takes in what was read.
    pub(super) fn learn(&mut self, read: PlaceReads, answers: Answers<'_>, known: &Known<'_>) {
        let (aim, read) = match (&mut self.search, read) {
            (Search::Any(any), read) => return any.learn(read, answers, known),
            (Search::Pool(pool), read) => return pool.learn(read, answers, known),
            (
                Search::Recalled { aim, .. } | Search::Kept { aim, .. } | Search::Fixed { aim, .. },
                PlaceReads::Address(read),
            ) => (aim, read),
            _ => return,
        };
        aim.learn(read, answers, known);
        self.after_look();
    }

    /// Leaves its address for what it gives otherwise, where the address is not to be had in this way.
    fn after_look(&mut self) {
        match &mut self.search {
            Search::Any(_) | Search::Pool(_) => {}
            Search::Recalled { aim, otherwise } => {
                if !aim.is_from_an_earlier_sandbox() || aim.refusal().is_some() {
                    self.search = (**otherwise).clone();
                }
            }
            Search::Kept { aim, while_held, .. } => {
                if *while_held && aim.is_not_of_owner() {
                    self.keep_nothing();
                } else if aim.is_of_another_owner() {
                    self.lost = Some(aim.ip());
                    self.keep_nothing();
                }
            }
            Search::Fixed { aim, otherwise } => {
                if let Some(Refusal::Held { holder, .. }) = aim.refusal()
                    && let Some(instead) = otherwise.take_if(|instead| instead.is_another_of(&holder.id))
                {
                    self.search = Search::Any(Box::new(instead.any));
                    self.overrides = AddressOverrides::default();
                }
            }
        }
    }

    /// The address with the prefix length and the gateway of the range that gives it.
    pub(super) fn assigned(&self, candidate: &Candidate) -> Assigned {
        // At random it comes from a window, and no two of a set overlap; on request also from around them. What an owner
        // had comes from where it came from then.
        let ranges = self.set.ranges();
        let of_window = self.previously_assigned || !self.is_asked_for();
        let at_random = ranges.iter().find(|range| of_window && range.window.contains(candidate.ip));
        let range = at_random.or_else(|| self.set.range_of(candidate.ip)).unwrap_or(&ranges[0]);
        let address = IpNet::new(candidate.ip, self.overrides.prefix_in(range)).unwrap_or(range.subnet);
        Assigned { address, gateway: self.overrides.gateway.or(range.gateway) }
    }

    /// How an address of this place is chosen, and what becomes of it on release.
    pub(super) fn kind(&self, ip: IpAddr, cooldown: u64) -> (Kind, OnRelease) {
        let rest = if cooldown == 0 { OnRelease::Forget } else { OnRelease::Rest(cooldown) };
        let given_at_random = || self.set.ranges().iter().any(|range| range.dynamic().contains(ip));
        let search = match &self.search {
            Search::Recalled { otherwise, .. } => otherwise,
            search => search,
        };
        match search {
            Search::Any(_) => (Kind::Dynamic, rest),
            _ if given_at_random() => (Kind::Fixed, OnRelease::Last),
            _ => (Kind::Fixed, rest),
        }
    }
}

impl Otherwise {
    /// Whether the holder is another interface of the same sandbox.
    fn is_another_of(&self, holder: &AttachmentId) -> bool {
        holder.node == self.own.node && holder.container == self.own.container && *holder != self.own
    }
}

/// The search for a random address of a set.
fn any(set: &RangeSet, reserved: &[Span], terms: &Terms, chances: &Chances) -> Result<Any, Refusal> {
    let grounds = grounds(set, reserved);
    if grounds.iter().all(Spans::is_empty) {
        return Err(Refusal::NothingDynamic { set: set.to_string() });
    }
    let size = grounds.iter().fold(0_u128, |sum, spans| sum.saturating_add(spans.len()));
    let of_windows = set.ranges().iter().fold(0_u128, |sum, range| sum.saturating_add(range.window.len()));
    let host_local = by_host_local(&grounds.iter().collect::<Vec<_>>(), terms);
    let unsearched = Unsearched { host_local, excluded: of_windows.saturating_sub(size) };
    let grounds = grounds.into_iter().map(|spans| without_host_local(spans, terms)).collect();
    let unrested = if terms.strict { Unrested::Never } else { Unrested::Last };
    let seek = Seek::new(terms, grounds, unrested, chances).leaving_out(unsearched);
    if seek.is_empty() {
        return Err(seek.exhausted(set.to_string()));
    }
    Ok(Any::new(seek, chances.attempt.clone()))
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

/// What host-local holds of these addresses on this node.
fn by_host_local(grounds: &[&Spans], terms: &Terms) -> Option<HostLocalFiles> {
    let is_of_them = |ip: &IpAddr| grounds.iter().any(|spans| spans.contains(*ip));
    let files: Vec<&PathBuf> = terms.host_local.iter().filter(|(ip, _)| is_of_them(ip)).map(|(_, file)| file).collect();
    let folder = files.first()?.parent()?.to_owned();
    Some(HostLocalFiles { count: files.len() as u128, folder })
}
