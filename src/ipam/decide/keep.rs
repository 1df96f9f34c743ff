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

use std::net::IpAddr;

use super::Terms;
use super::place::Place;
use super::release::put_or_forget;
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
    key: Key,
    /// The guard under which it is as it was read; `None` before that.
    guard: Option<Guard>,
    stored: Option<Reservation>,
    /// Addresses of it that this ADD has no use for, with their leases.
    loose: Vec<(IpAddr, Option<(Revision, Lease)>)>,
}

impl Keeping {
    pub(super) fn of(keep: Keep, holder: &Holder, vrf: &Name) -> Self {
        let key = keys::reservation(vrf, &keep.owner, &holder.id);
        Self { keep, key, guard: None, stored: None, loose: Vec::new() }
    }

    pub(super) fn read(&self) -> Op {
        Op::Get(self.key.clone())
    }

    pub(super) fn is_unread(&self) -> bool {
        self.guard.is_none()
    }

    /// Takes in the reservation, and lets every place aim at what its owner has there.
    pub(super) fn learn(&mut self, entry: Option<&Entry>, places: &mut [Place]) -> Result<(), Refusal> {
        self.loose.clear();
        let Some(entry) = entry else {
            (self.guard, self.stored) = (Some(Guard::Absent(self.key.clone())), None);
            return Ok(());
        };
        let stored = match Stored::<Reservation>::read(&entry.value) {
            Stored::Known(stored) => stored,
            unreadable => {
                let (owner, why) = (Box::new(self.keep.owner.clone()), unreadable.why_unreadable());
                return Err(Refusal::ReservationUnreadable { owner, why });
            }
        };
        // What an earlier claim of its name had is not its own.
        let own = stored.addresses.iter().filter(|_| stored.owner.is(&self.keep.owner));
        for ip in own {
            let is_asked_for = places.iter().any(|place| place.asks_for(*ip));
            if is_asked_for {
                continue;
            }
            match places.iter_mut().find(|place| place.may_keep(*ip)) {
                Some(place) => place.keep(*ip),
                None if self.loose.len() >= LET_GO => {}
                None => self.loose.push((*ip, None)),
            }
        }
        self.guard = Some(Guard::Unchanged(entry.key.clone(), entry.revision));
        self.stored = Some(stored);
        Ok(())
    }

    /// The leases of what is loose.
    pub(super) fn reads(&self, vrf: &Name) -> Vec<Op> {
        self.loose.iter().map(|(ip, _)| Op::Get(keys::lease(vrf, *ip))).collect()
    }

    /// Takes in what [`Keeping::reads`] asked for. What has become somebody else's is left alone.
    pub(super) fn learn_loose(&mut self, answers: &[Answer]) {
        let owner = &self.keep.owner;
        let own = |answer: &Answer| match answer {
            Answer::Entry(Some(entry)) => {
                let lease = Stored::<Lease>::read(&entry.value).known()?;
                let is_own = lease.rest.is_none() && lease.owner.as_ref().is_some_and(|other| other.is(owner));
                is_own.then_some((entry.revision, lease))
            }
            _ => None,
        };
        for ((_, lease), answer) in self.loose.iter_mut().zip(answers) {
            *lease = own(answer);
        }
    }

    /// After an attempt that failed: whether all of this has to be read again.
    pub(super) fn is_outdated(&self, entry: Option<&Entry>) -> bool {
        let guard = match entry {
            Some(entry) => Guard::Unchanged(entry.key.clone(), entry.revision),
            None => Guard::Absent(self.key.clone()),
        };
        self.guard.as_ref() != Some(&guard) || !self.loose.is_empty()
    }

    pub(super) fn forget(&mut self, places: &mut [Place]) {
        self.guard = None;
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
        let mut guards: Vec<Guard> = self.guard.iter().cloned().collect();
        let mut writes = Vec::new();
        for (ip, lease) in &self.loose {
            let Some((revision, lease)) = lease.as_ref().filter(|_| !given.contains(ip)) else { continue };
            guards.push(Guard::Unchanged(keys::lease(&terms.vrf, *ip), *revision));
            writes.extend(put_or_forget(&terms.vrf, *ip, lease.clone().given_up(terms.cooldown)));
        }
        let owner = self.keep.owner.clone();
        match &self.stored {
            Some(stored) if stored.addresses == kept && stored.owner == owner => {}
            Some(_) if kept.is_empty() => writes.push(Op::Delete(self.key.clone())),
            None if kept.is_empty() => {}
            stored => {
                let unknown = stored.clone().map(|stored| stored.unknown).unwrap_or_default();
                let reservation = Reservation { unknown, ..Reservation::new(owner, kept) };
                writes.push(Op::Put(self.key.clone(), lease::write(&reservation)));
            }
        }
        (guards, writes)
    }
}
