//! The reservation of an ADD's owner.
//!
//! ```text
//!  the reservation is read ─┬─ an address that a slot may assign ─► that slot tries it
//!                           └─ any other ─► not offered: another one is requested, or the network no longer has it
//!  requested addresses of the owner's last pod are noted there, too: they belong to the owner while its lease names it
//!  their leases are read ─┬─ a pod of the owner holds one that is not offered, and may be alive ─► the ADD is refused
//!                         └─ the attempt: what is assigned is reserved again, the rest is given up, in one commit
//! ```
//!
//! The commit has guards on the reservation, so that of two pods of one owner, the later one sees what the earlier one
//! got. It also has guards on the leases of addresses that are not offered, in case a pod starts using one again
//! meanwhile.
//!
//! The reservation may be stored under a former identity of the cluster, or under none, as kube-ipam 0.3.0 wrote it if
//! the node defaults named no cluster. All of these keys are read together. The commit moves what it finds to the
//! present key.

use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;

use super::AllocationPolicy;
use super::reads::{Answers, OneEntry, Read, Reads};
use super::release::put_or_delete;
use super::slot::Slot;
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::keys;
use crate::ipam::lease::{self, AllocationKind, Holder, Lease, OnRelease, Stored};
use crate::ipam::name::Name;
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::{Owner, OwnerKind, Reservation};
use crate::ipam::takeover::{HolderChecks, InUseReason, PendingCheck, TakeoverDecision};
use crate::store::{Entry, Guard, Key, Op, Revision};

/// The most addresses that one commit gives up, so that the transaction stays within its limits. Others stay in the
/// reservation until the next ADD.
const MAX_GIVEN_UP: usize = 8;

/// For whom assigned addresses are reserved, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StickyPolicy {
    /// The owner.
    pub owner: Owner,
    /// How long an unused address stays reserved, in seconds. `None` means as long as the owner exists.
    pub ttl: Option<u64>,
}

/// An address of an owner that its next pod did not get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// The address that was given up.
    pub ip: IpAddr,
    /// Its former owner.
    pub owner: Owner,
    /// The reason.
    pub reason: GiveUpReason,
}

/// Why an owner's next pod did not get one of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUpReason {
    /// The pod requests another one, or the ranges of its node don't contain it.
    NotOffered,
    /// Another owner or pod has it.
    TakenByOther,
    /// Its owner was deleted, and another one has the same name.
    OwnerReplaced,
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ip, owner, reason } = self;
        let why = match reason {
            GiveUpReason::NotOffered => {
                "the pod requests another address or family, or no range of this node contains it"
            }
            GiveUpReason::TakenByOther => "another holder has it",
            GiveUpReason::OwnerReplaced => "it was deleted, and another one has its name",
        };
        write!(f, "{ip} is no longer reserved for {owner}: {why}")
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct ReservationChange {
    pub(super) guards: Vec<Guard>,
    pub(super) writes: Vec<Op>,
    pub(super) given_up: Vec<GivenUp>,
}

/// A pod that may still use an address that its owner's next pod would give up. While there is one, the owner gets no
/// other address.
pub(super) struct CurrentHolder<'a> {
    ip: IpAddr,
    owner: &'a Owner,
    holder: &'a Holder,
    since: Timestamp,
    /// Why it is not confirmed gone; `None` if it was not checked.
    why: Option<InUseReason>,
}

impl CurrentHolder<'_> {
    pub(super) fn pending_check(&self) -> Option<PendingCheck> {
        self.why.is_none().then(|| PendingCheck::Pod(self.holder.pod.clone()))
    }

    /// The refusal of an ADD on this node.
    pub(super) fn refusal(self, node: &Name) -> Refusal {
        Refusal::OwnerHoldsOther {
            ip: self.ip,
            owner: Box::new(self.owner.clone()),
            holder: Box::new(self.holder.clone()),
            since: self.since,
            node: node.clone(),
            why: Box::new(self.why.unwrap_or(InUseReason::NotChecked)),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct ReservationState {
    sticky: StickyPolicy,
    cluster: ClusterIdentity,
    /// The key of its reservation first, then the keys under which it may have been stored before.
    entries: Vec<StoredReservation>,
    /// Addresses of the reservation that no slot may assign, with their leases.
    not_offered: Vec<(IpAddr, Option<(Revision, Lease)>)>,
}

#[derive(Clone, Debug)]
struct StoredReservation {
    key: Key,
    /// `None` before it was read.
    guard: Option<Guard>,
    stored: Option<Reservation>,
}

impl StoredReservation {
    fn guard_of(&self, entry: Option<&Entry>) -> Guard {
        match entry {
            Some(entry) => Guard::Unchanged(entry.key.clone(), entry.revision),
            None => Guard::Absent(self.key.clone()),
        }
    }
}

impl ReservationState {
    pub(super) fn new(sticky: StickyPolicy, holder: &Holder, policy: &AllocationPolicy) -> Self {
        let under = |cluster: Option<&str>| {
            let owner = Owner { cluster: cluster.map(str::to_owned), ..sticky.owner.clone() };
            let key = keys::reservation(&policy.vrf, &owner, &holder.id);
            StoredReservation { key, guard: None, stored: None }
        };
        let own = under(sticky.owner.cluster.as_deref());
        let entries = std::iter::once(own).chain(policy.cluster.others().map(under)).collect();
        Self { sticky, cluster: policy.cluster.clone(), entries, not_offered: Vec::new() }
    }

    pub(super) fn reads(&self, reads: &mut Reads) -> Vec<Read<OneEntry>> {
        self.entries.iter().map(|reserved| reads.entry(reserved.key.clone())).collect()
    }

    pub(super) fn is_unread(&self) -> bool {
        self.entries.iter().any(|reserved| reserved.guard.is_none())
    }

    /// Interprets the reservation, and lets every slot try an address of it.
    pub(super) fn on_response(
        &mut self,
        read: &[Read<OneEntry>],
        answers: Answers<'_>,
        slots: &mut [Slot],
    ) -> Result<(), Refusal> {
        for (reserved, read) in self.entries.iter_mut().zip(read) {
            let entry = answers.to(*read);
            reserved.guard = Some(reserved.guard_of(entry));
            reserved.stored = match entry.map(|entry| Stored::<Reservation>::read(&entry.value)) {
                None => None,
                Some(Stored::Known(stored)) => Some(stored),
                Some(Stored::Unreadable(why)) => {
                    let owner = Box::new(self.sticky.owner.clone());
                    return Err(Refusal::ReservationUnreadable { owner, why });
                }
            };
        }
        // The reservation of an earlier claim of the same name has ended.
        let all = self.entries.iter().filter_map(|reserved| reserved.stored.as_ref());
        let over = all.filter(|stored| self.sticky.owner.replaces(&self.cluster.renamed(&stored.owner)));
        self.not_offered = over.flat_map(|stored| stored.addresses.iter().map(|ip| (*ip, None))).collect();
        // An owner of the same name in another cluster is a different owner.
        let own: Vec<IpAddr> = self.own().flat_map(|(_, stored)| stored.addresses.clone()).collect();
        for ip in own {
            let is_requested = slots.iter().any(|slot| slot.requests(ip));
            if is_requested {
                continue;
            }
            match slots.iter_mut().find(|slot| slot.may_assign(ip)) {
                Some(slot) => slot.try_reserved(ip),
                None if self.not_offered.iter().any(|(not_offered, _)| *not_offered == ip) => {}
                None => self.not_offered.push((ip, None)),
            }
        }
        let asked: Vec<IpAddr> = self.own().flat_map(|(_, stored)| stored.asked.clone()).collect();
        for ip in asked {
            let is_not_offered = self.not_offered.iter().any(|(not_offered, _)| *not_offered == ip);
            if is_not_offered || slots.iter().any(|slot| slot.requests(ip) || slot.tries_reserved(ip)) {
                continue;
            }
            match slots.iter_mut().find(|slot| slot.may_assign(ip)) {
                Some(slot) => slot.try_while_held(ip),
                None => self.not_offered.push((ip, None)),
            }
        }
        Ok(())
    }

    /// The reservations of this owner, each with its key.
    fn own(&self) -> impl Iterator<Item = (&Key, &Reservation)> {
        let stored = self.entries.iter().filter_map(|reserved| Some((&reserved.key, reserved.stored.as_ref()?)));
        stored.filter(|(_, stored)| self.cluster.renamed(&stored.owner).is(&self.sticky.owner))
    }

    pub(super) fn not_offered_reads(&self, vrf: &Name, reads: &mut Reads) -> Vec<Read<OneEntry>> {
        self.not_offered.iter().map(|(ip, _)| reads.entry(keys::lease(vrf, *ip))).collect()
    }

    /// Interprets the leases of addresses that are not offered. A lease that belongs to somebody else by now is left
    /// alone, and so is one that a pod of an earlier claim of the same name still holds.
    pub(super) fn on_not_offered(&mut self, read: &[Read<OneEntry>], answers: Answers<'_>) {
        let (owner, cluster) = (&self.sticky.owner, &self.cluster);
        let is_own = |lease: &Lease| match lease.owner.as_ref().map(|other| cluster.renamed(other)) {
            Some(other) if owner.replaces(&other) => lease.unused.is_some(),
            Some(other) => other.is(owner) && lease.rest.is_none(),
            None => lease.is_held_for(owner, cluster),
        };
        let own = |entry: Option<&Entry>| {
            let entry = entry?;
            let lease = Stored::<Lease>::read(&entry.value).known()?;
            is_own(&lease).then_some((entry.revision, lease))
        };
        for ((_, lease), read) in self.not_offered.iter_mut().zip(read) {
            *lease = own(answers.to(*read));
        }
    }

    /// A pod of the owner that holds an address that is not offered and is not confirmed gone; preferably one that was
    /// found alive.
    pub(super) fn current_holder(&self, own: &Holder, checks: &HolderChecks) -> Option<CurrentHolder<'_>> {
        let own_leases = self.not_offered.iter().filter_map(|(ip, lease)| Some((*ip, &lease.as_ref()?.1)));
        let held = own_leases.filter(|(_, lease)| lease.is_held());
        let holders = held.flat_map(|(ip, lease)| lease.holders.iter().map(move |holder| (ip, lease, holder)));
        let current = holders.filter_map(|(ip, lease, holder)| {
            let why = match checks.decide_takeover(own, std::slice::from_ref(holder)) {
                TakeoverDecision::TakeOver(_) => return None,
                TakeoverDecision::Refuse(why) => Some(why),
                TakeoverDecision::CheckContainer => Some(InUseReason::NoPodNamed),
                TakeoverDecision::CheckPod | TakeoverDecision::CheckJoin | TakeoverDecision::Share => None,
            };
            Some(CurrentHolder { ip, owner: &self.sticky.owner, holder, since: lease.since, why })
        });
        current.min_by_key(|holder| holder.why.is_none())
    }

    /// The owner, if the API server must confirm that the pod belongs to it, because the ADD would give up its address.
    pub(super) fn owner_to_check(&self, own: &Holder) -> Option<&Owner> {
        let owner = &self.sticky.owner;
        let leases = self.not_offered.iter().filter_map(|(_, lease)| lease.as_ref());
        let mut leases = leases.filter(|(_, lease)| lease.owner.is_some());
        let is_of_other_pods = |lease: &Lease| lease.holders.iter().any(|holder| holder.pod != own.pod);
        let gives_up = leases.any(|(_, lease)| is_of_other_pods(lease));
        (gives_up && owner.kind.needs_check()).then_some(owner)
    }

    /// After a failed attempt, which has read the reservation: whether everything here must be read again.
    pub(super) fn is_outdated(&self, read: &[Read<OneEntry>], answers: Answers<'_>) -> bool {
        let is_other = |(reserved, read): (&StoredReservation, &Read<OneEntry>)| {
            reserved.guard != Some(reserved.guard_of(answers.to(*read)))
        };
        !self.not_offered.is_empty() || self.entries.iter().zip(read).any(is_other)
    }

    pub(super) fn reset(&mut self, slots: &mut [Slot]) {
        self.entries.iter_mut().for_each(|reserved| reserved.guard = None);
        slots.iter_mut().for_each(Slot::drop_reserved);
    }

    /// The lease of a slot that the pod joins as another holder. If the pod requests nothing, the address becomes
    /// sticky.
    pub(super) fn join(&self, slot: &Slot, lease: Lease) -> Lease {
        let owner = Some(self.sticky.owner.clone());
        if !self.reserves(slot) || lease.manual.is_some() {
            return if lease.owner.is_none() {
                Lease { held_for: self.owner_for_note().or(lease.held_for), ..lease }
            } else {
                lease
            };
        }
        match lease.is_held_for(&self.sticky.owner, &self.cluster) {
            true => {
                Lease { kind: AllocationKind::Sticky, on_release: self.on_release(), owner, held_for: None, ..lease }
            }
            false => lease,
        }
    }

    /// The owner whose reservation notes requested addresses. There is no note if a part of the reservation is left for
    /// a later ADD, because the release of the note would delete all of it.
    pub(super) fn owner_for_note(&self) -> Option<Owner> {
        let not_offered = self.not_offered.iter().filter(|(_, lease)| lease.is_some()).count();
        (not_offered <= MAX_GIVEN_UP).then(|| self.sticky.owner.clone())
    }

    /// Whether the address of a slot is reserved. A requested address is not, unless the owner is a claim.
    pub(super) fn reserves(&self, slot: &Slot) -> bool {
        self.sticky.owner.kind == OwnerKind::IpamClaim || !slot.is_requested()
    }

    pub(super) fn on_release(&self) -> OnRelease {
        OnRelease::Keep(self.sticky.ttl)
    }

    pub(super) fn owner(&self) -> &Owner {
        &self.sticky.owner
    }

    /// What else the commit changes: it reserves the `given` addresses, and notes the `asked` ones, which were
    /// requested.
    pub(super) fn changes(
        &self,
        given: Vec<IpAddr>,
        asked: Vec<IpAddr>,
        policy: &AllocationPolicy,
    ) -> ReservationChange {
        let guards = self.entries.iter().filter_map(|reserved| reserved.guard.clone()).collect();
        let mut change = ReservationChange { guards, ..Default::default() };
        let own = self.not_offered.iter().filter_map(|(ip, lease)| Some((*ip, lease.as_ref()?)));
        let (now, later): (Vec<_>, Vec<_>) = own
            .filter(|(ip, _)| !given.contains(ip) && !asked.contains(ip))
            .enumerate()
            .partition(|(i, _)| *i < MAX_GIVEN_UP);
        for (_, (ip, (revision, lease))) in now {
            change.guards.push(Guard::Unchanged(keys::lease(&policy.vrf, ip), *revision));
            // A requested address was not reserved, and stays as it is. So does one that is reserved by hand.
            let Some(owner) = lease.owner.clone().filter(|_| lease.manual.is_none()) else { continue };
            change.writes.extend(put_or_delete(&policy.vrf, ip, lease.clone().given_up(policy.cooldown)));
            let is_over = self.sticky.owner.replaces(&self.cluster.renamed(&owner));
            let reason = if is_over { GiveUpReason::OwnerReplaced } else { GiveUpReason::NotOffered };
            change.given_up.push(GivenUp { ip, owner, reason });
        }
        let Some((here, elsewhere)) = self.entries.split_first() else { return change };
        let owner = self.sticky.owner.clone();
        let is_own = |lease: &Lease| {
            lease.owner.as_ref().is_some_and(|other| self.cluster.renamed(other).is(&self.sticky.owner))
        };
        let later = later.into_iter().filter(|(_, (_, (_, lease)))| is_own(lease)).map(|(_, (ip, _))| ip);
        let reserved: Vec<IpAddr> = given.into_iter().chain(later).collect();
        let asked = if self.owner_for_note().is_some() { asked } else { Vec::new() };
        match &here.stored {
            // A note is always written again, so that it has the revision of the attachment.
            Some(Reservation { addresses, asked: noted, owner: of, .. })
                if *addresses == reserved && *of == owner && asked.is_empty() && noted.is_empty() => {}
            Some(_) if reserved.is_empty() && asked.is_empty() => change.writes.push(Op::Delete(here.key.clone())),
            None if reserved.is_empty() && asked.is_empty() => {}
            stored => {
                let moved = || self.own().find(|(key, _)| **key != here.key).map(|(_, stored)| stored.unknown.clone());
                let unknown = stored.as_ref().map(|stored| stored.unknown.clone()).or_else(moved).unwrap_or_default();
                let reservation = Reservation { asked, unknown, ..Reservation::new(owner, reserved) };
                change.writes.push(Op::Put(here.key.clone(), lease::write(&reservation)));
            }
        }
        let moved = self.own().filter(|(key, _)| elsewhere.iter().any(|reserved| reserved.key == **key));
        change.writes.extend(moved.map(|(key, _)| Op::Delete(key.clone())));
        change
    }
}
