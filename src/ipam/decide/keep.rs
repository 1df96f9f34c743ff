//! The addresses that an ADD's owner keeps.
//!
//! ```text
//!  the owner's reservation is read ─┬─ an address that a place may give ─► that place aims at it
//!                                   └─ any other ─► loose: asked for otherwise, or not of this network any more
//!  all their leases are read ─► the attempt: what is given is reserved anew, what is loose is let go, in one commit
//! ```
//!
//! The commit is guarded by the reservation, so that of two pods of one owner the later one sees what the earlier one was
//! given.
//!
//! What an owner had may lie under a former identity of its cluster, or under none, as kube-ipam 0.3.0 wrote it where the node
//! defaults named none. It is read along with the reservation, and moved by the same commit.

use std::net::IpAddr;

use super::Terms;
use super::place::Place;
use super::release::put_or_forget;
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::lease::{self, Holder, Lease, OnRelease, Stored};
use crate::ipam::name::Name;
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::{Owner, OwnerKind, Reservation};
use crate::store::keys;
use crate::store::{Answer, Entry, Guard, Key, Op, Revision};

/// The most loose addresses that are let go at once. Those of a network whose ranges have changed are as many as it has
/// range sets.
const LET_GO: usize = 8;

/// By whom an address is kept, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Whose it is.
    pub owner: Owner,
    /// How long it stays while it is unused, in seconds; `None`: as long as its owner exists.
    pub ttl: Option<u64>,
}

/// What is known of an owner's reservation.
#[derive(Clone, Debug)]
pub(super) struct Keeping {
    keep: Keep,
    cluster: ClusterIdentity,
    /// Where its reservation is, and after that where it may have been before.
    entries: Vec<Reserved>,
    /// Addresses of it that this ADD has no use for, with their leases.
    loose: Vec<(IpAddr, Option<(Revision, Lease)>)>,
}

/// A reservation under one identity of the cluster.
#[derive(Clone, Debug)]
struct Reserved {
    key: Key,
    /// The guard under which it is as it was read; `None` before that.
    guard: Option<Guard>,
    stored: Option<Reservation>,
}

impl Reserved {
    fn guard_of(&self, entry: Option<&Entry>) -> Guard {
        match entry {
            Some(entry) => Guard::Unchanged(entry.key.clone(), entry.revision),
            None => Guard::Absent(self.key.clone()),
        }
    }
}

impl Keeping {
    pub(super) fn of(keep: Keep, holder: &Holder, terms: &Terms) -> Self {
        let under = |cluster: Option<&str>| {
            let owner = Owner { cluster: cluster.map(str::to_owned), ..keep.owner.clone() };
            let key = keys::reservation(&terms.vrf, &owner, &holder.id);
            Reserved { key, guard: None, stored: None }
        };
        let own = under(keep.owner.cluster.as_deref());
        let entries = std::iter::once(own).chain(terms.cluster.others().map(under)).collect();
        Self { keep, cluster: terms.cluster.clone(), entries, loose: Vec::new() }
    }

    /// What reads the reservation, wherever it is.
    pub(super) fn read(&self) -> impl Iterator<Item = Op> {
        self.entries.iter().map(|reserved| Op::Get(reserved.key.clone()))
    }

    pub(super) fn is_unread(&self) -> bool {
        self.entries.iter().any(|reserved| reserved.guard.is_none())
    }

    /// Takes in what [`Keeping::read`] asked for, and lets every place aim at what its owner has there.
    pub(super) fn learn(&mut self, answers: &[Answer], places: &mut [Place]) -> Result<(), Refusal> {
        self.loose.clear();
        for (reserved, entry) in self.entries.iter_mut().zip(answers.iter().map(entry_of)) {
            reserved.guard = Some(reserved.guard_of(entry));
            reserved.stored = match entry.map(|entry| Stored::<Reservation>::read(&entry.value)) {
                None => None,
                Some(Stored::Known(stored)) => Some(stored),
                Some(unreadable) => {
                    let (owner, why) = (Box::new(self.keep.owner.clone()), unreadable.why_unreadable());
                    return Err(Refusal::ReservationUnreadable { owner, why });
                }
            };
        }
        // What an earlier claim of its name had is not its own, nor what a namesake in another cluster has.
        let own: Vec<IpAddr> = self.own().flat_map(|(_, stored)| stored.addresses.clone()).collect();
        for ip in own {
            let is_asked_for = places.iter().any(|place| place.asks_for(ip));
            if is_asked_for {
                continue;
            }
            match places.iter_mut().find(|place| place.may_keep(ip)) {
                Some(place) => place.keep(ip),
                None if self.loose.len() >= LET_GO || self.loose.iter().any(|(loose, _)| *loose == ip) => {}
                None => self.loose.push((ip, None)),
            }
        }
        Ok(())
    }

    /// The reservations that are this owner's, each with where it is.
    fn own(&self) -> impl Iterator<Item = (&Key, &Reservation)> {
        let stored = self.entries.iter().filter_map(|reserved| Some((&reserved.key, reserved.stored.as_ref()?)));
        stored.filter(|(_, stored)| self.cluster.renamed(&stored.owner).is(&self.keep.owner))
    }

    /// The leases of what is loose.
    pub(super) fn reads(&self, vrf: &Name) -> Vec<Op> {
        self.loose.iter().map(|(ip, _)| Op::Get(keys::lease(vrf, *ip))).collect()
    }

    /// Takes in what [`Keeping::reads`] asked for. What has become somebody else's is left alone.
    pub(super) fn learn_loose(&mut self, answers: &[Answer]) {
        let (owner, cluster) = (&self.keep.owner, &self.cluster);
        let own = |answer: &Answer| {
            let entry = entry_of(answer)?;
            let lease = Stored::<Lease>::read(&entry.value).known()?;
            let is_own = lease.owner.as_ref().is_some_and(|other| cluster.renamed(other).is(owner));
            (is_own && lease.rest.is_none()).then_some((entry.revision, lease))
        };
        for ((_, lease), answer) in self.loose.iter_mut().zip(answers) {
            *lease = own(answer);
        }
    }

    /// After an attempt that failed, with what it has read last: whether all of this has to be read again.
    pub(super) fn is_outdated(&self, answers: &[Answer]) -> bool {
        let Some(from) = answers.len().checked_sub(self.entries.len()) else { return false };
        let mut read = self.entries.iter().zip(answers[from..].iter().map(entry_of));
        read.any(|(reserved, entry)| reserved.guard != Some(reserved.guard_of(entry))) || !self.loose.is_empty()
    }

    pub(super) fn forget(&mut self, places: &mut [Place]) {
        self.entries.iter_mut().for_each(|reserved| reserved.guard = None);
        places.iter_mut().for_each(Place::keep_nothing);
    }

    /// Whether what a place gives is kept. An address that was asked for is a matter of who asks, unless the asker is the
    /// owner itself.
    pub(super) fn keeps(&self, place: &Place) -> bool {
        self.keep.owner.kind == OwnerKind::IpamClaim || !place.is_asked_for()
    }

    /// How an address that is kept ends its use.
    pub(super) fn on_release(&self) -> OnRelease {
        OnRelease::Keep(self.keep.ttl)
    }

    pub(super) fn owner(&self) -> &Owner {
        &self.keep.owner
    }

    /// What else is in the commit that gives these addresses, some of them to be kept, and under which guards.
    pub(super) fn changes(&self, given: &[IpAddr], kept: Vec<IpAddr>, terms: &Terms) -> (Vec<Guard>, Vec<Op>) {
        let mut guards: Vec<Guard> = self.entries.iter().filter_map(|reserved| reserved.guard.clone()).collect();
        let mut writes = Vec::new();
        for (ip, lease) in &self.loose {
            let Some((revision, lease)) = lease.as_ref().filter(|_| !given.contains(ip)) else { continue };
            guards.push(Guard::Unchanged(keys::lease(&terms.vrf, *ip), *revision));
            writes.extend(put_or_forget(&terms.vrf, *ip, lease.clone().given_up(terms.cooldown)));
        }
        let Some((here, elsewhere)) = self.entries.split_first() else { return (guards, writes) };
        let owner = self.keep.owner.clone();
        match &here.stored {
            Some(stored) if stored.addresses == kept && stored.owner == owner => {}
            Some(_) if kept.is_empty() => writes.push(Op::Delete(here.key.clone())),
            None if kept.is_empty() => {}
            stored => {
                let moved = || self.own().find(|(key, _)| **key != here.key).map(|(_, stored)| stored.unknown.clone());
                let unknown = stored.as_ref().map(|stored| stored.unknown.clone()).or_else(moved).unwrap_or_default();
                let reservation = Reservation { unknown, ..Reservation::new(owner, kept) };
                writes.push(Op::Put(here.key.clone(), lease::write(&reservation)));
            }
        }
        let moved = self.own().filter(|(key, _)| elsewhere.iter().any(|reserved| reserved.key == **key));
        writes.extend(moved.map(|(key, _)| Op::Delete(key.clone())));
        (guards, writes)
    }
}

fn entry_of(answer: &Answer) -> Option<&Entry> {
    match answer {
        Answer::Entry(entry) => entry.as_ref(),
        _ => None,
    }
}
