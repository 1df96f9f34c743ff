//! Releases one address, or one holder's share of it, on behalf of the operator or a sweep.
//!
//! One commit frees the address and rewrites the attachments of its holders. So their DEL leaves the address alone, and
//! a repeated ADD is refused. The operator also ends a reservation. A sweep only knows that a pod is gone, which ends
//! the use of an address but not its reservation.

use std::net::IpAddr;

use jiff::Timestamp;

use super::candidate::cooldown_key;
use super::reads::{Answers, OneEntry, Read, Reads};
use super::{Decide, Step, within_rounds};
use crate::ipam::keys;
use crate::ipam::lease::{self, Attachment, Lease, Stored, UnreadableValue};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::Reservation;
use crate::store::{Entry, Guard, Op, Outcome, Revision, Txn};

/// The result of an eviction.
#[derive(Clone, Debug, PartialEq)]
pub enum Evicted {
    /// The address was released. This was its lease.
    Freed(Box<Lease>),
    /// Its lease was damaged, for this reason, and was deleted. Whose it was is not known.
    Deleted(UnreadableValue),
    /// It had no lease.
    NotHeld,
    /// Its lease has changed since the caller read it.
    Changed,
}

/// The state machine of an eviction.
#[derive(Clone, Debug)]
pub struct Evict {
    vrf: Name,
    ip: IpAddr,
    /// The revision at which the caller read the lease.
    seen: Revision,
    /// Whether a damaged lease is deleted.
    deletes_damaged: bool,
    /// Whether a sticky address stays reserved for its owner.
    keep_reservation: bool,
    /// The only holder that loses it; `None` if all do.
    only: Option<AttachmentId>,
    pending: Pending,
    rounds: u32,
}

#[derive(Clone, Debug, Default)]
enum Pending {
    #[default]
    Nothing,
    Lease(Read<OneEntry>),
    /// Reads the attachments of the holders that lose it, and the reservation that ends with it.
    Attachments {
        lease: Box<Lease>,
        losing: Vec<Read<OneEntry>>,
        reservation: Option<Read<OneEntry>>,
    },
    Free(Box<Lease>),
    Delete(UnreadableValue),
}

impl Evict {
    /// Evicts all holders of a lease that has this revision, and ends its reservation.
    pub fn new(vrf: Name, ip: IpAddr, seen: Revision) -> Self {
        let (deletes_damaged, keep_reservation, only) = (false, false, None);
        Self { vrf, ip, seen, deletes_damaged, keep_reservation, only, pending: Pending::Nothing, rounds: 0 }
    }

    /// The same, but a lease that is damaged is deleted instead of refused. Nobody can tell whose address it is, so an
    /// operator must have seen it. What a newer version wrote stays all the same: that one can read it.
    #[must_use]
    pub fn deleting_damaged(self) -> Self {
        Self { deletes_damaged: true, ..self }
    }

    /// The same for this holder alone. Other holders keep the address, and a reservation stays.
    #[must_use]
    pub fn only_holder(self, holder: AttachmentId) -> Self {
        Self { only: Some(holder), ..self.keeping_reservation() }
    }

    /// The same, but a sticky address stays reserved for its owner, as after a DEL.
    #[must_use]
    pub fn keeping_reservation(self) -> Self {
        Self { keep_reservation: true, ..self }
    }

    fn read_lease(&mut self) -> Result<Step<Evicted>, Refusal> {
        let mut reads = Reads::default();
        self.pending = Pending::Lease(reads.entry(keys::lease(&self.vrf, self.ip)));
        Ok(Step::Commit(Txn::read(reads.into_operations())?))
    }

    fn advance(&mut self, outcome: &Outcome, now: Timestamp) -> Result<Step<Evicted>, Refusal> {
        let answers = Answers(&outcome.branch.responses);
        match std::mem::take(&mut self.pending) {
            Pending::Lease(lease) => self.on_lease(answers.to(lease)),
            Pending::Attachments { lease, losing, reservation } => {
                let losing: Vec<Option<&Entry>> = losing.into_iter().map(|entry| answers.to(entry)).collect();
                self.free(lease, &losing, reservation.and_then(|entry| answers.to(entry)), now)
            }
            Pending::Free(lease) if outcome.branch.succeeded => Ok(Step::Done(Evicted::Freed(lease))),
            Pending::Delete(why) if outcome.branch.succeeded => Ok(Step::Done(Evicted::Deleted(why))),
            Pending::Nothing | Pending::Free(_) | Pending::Delete(_) => self.read_lease(),
        }
    }

    fn on_lease(&mut self, entry: Option<&Entry>) -> Result<Step<Evicted>, Refusal> {
        let Some(entry) = entry else { return Ok(Step::Done(Evicted::NotHeld)) };
        if entry.revision != self.seen {
            return Ok(Step::Done(Evicted::Changed));
        }
        let lease = match Stored::<Lease>::read(&entry.value) {
            Stored::Known(lease) => lease,
            Stored::Unreadable(why @ UnreadableValue::Corrupt(_)) if self.deletes_damaged => {
                let key = entry.key.clone();
                let txn = Txn::new(vec![Guard::Unchanged(key.clone(), self.seen)], vec![Op::Delete(key)], Vec::new())?;
                self.pending = Pending::Delete(why);
                return Ok(Step::Commit(txn));
            }
            Stored::Unreadable(why) => return Err(Refusal::Unreadable { ip: self.ip, why }),
        };
        let mut reads = Reads::default();
        let losing = self.losing(&lease).map(|id| reads.entry(keys::attachment(id))).collect();
        let is_left_by_all = self.losing(&lease).count() == lease.holders.len();
        let noted_owner = lease.held_for.as_ref().filter(|_| is_left_by_all);
        let owner = lease.owner.as_ref().filter(|_| !self.keep_reservation).or(noted_owner);
        let reservation = owner.zip(lease.holders.first());
        let reservation = reservation.map(|(owner, holder)| keys::reservation(&self.vrf, owner, &holder.id));
        let reservation = reservation.map(|key| reads.entry(key));
        self.pending = Pending::Attachments { lease: Box::new(lease), losing, reservation };
        Ok(Step::Commit(Txn::read(reads.into_operations())?))
    }

    fn free(
        &mut self,
        lease: Box<Lease>,
        losing: &[Option<&Entry>],
        reservation: Option<&Entry>,
        now: Timestamp,
    ) -> Result<Step<Evicted>, Refusal> {
        let key = keys::lease(&self.vrf, self.ip);
        let mut when = vec![Guard::Unchanged(key.clone(), self.seen)];
        let others = self.only.as_ref().and_then(|only| lease.as_ref().clone().without(only));
        let mut then = match (others, cooldown_key(&self.vrf, self.ip, &lease)) {
            (Some(others), _) => vec![Op::Put(key, lease::write(&others))],
            // It is in cooldown, which ends.
            (None, Some(rest)) => vec![Op::Delete(key), Op::Delete(rest)],
            // The operator ends its use and its reservation.
            (None, None) if !self.keep_reservation && (lease.owner.is_some() || lease.manual.is_some()) => {
                vec![Op::Delete(key)]
            }
            (None, None) => super::release::cool_down_or_delete(&self.vrf, self.ip, (*lease).clone(), now),
        };
        for (id, entry) in self.losing(&lease).zip(losing) {
            if let Some(entry) = entry
                && let Some(op) = self.without_address(id, entry, now)
            {
                when.push(Guard::Unchanged(entry.key.clone(), entry.revision));
                then.push(op);
            }
        }
        if let Some(entry) = reservation
            && let Some(left) = Stored::<Reservation>::read(&entry.value).known().and_then(|all| all.without(self.ip))
        {
            when.push(Guard::Unchanged(entry.key.clone(), entry.revision));
            then.push(match left.is_empty() {
                true => Op::Delete(entry.key.clone()),
                false => Op::Put(entry.key.clone(), lease::write(&left)),
            });
        }
        let txn = Txn::new(when, then, Vec::new())?;
        self.pending = Pending::Free(lease);
        Ok(Step::Commit(txn))
    }

    fn losing<'a>(&'a self, lease: &'a Lease) -> impl Iterator<Item = &'a AttachmentId> {
        let loses = |id: &&AttachmentId| self.only.as_ref().is_none_or(|only| only == *id);
        lease.holders.iter().map(|holder| &holder.id).filter(loses)
    }

    /// Removes the address from an attachment; `None` if that does not have it or can't be read. Even an empty
    /// attachment stays until a DEL or a sweep removes it. If it were missing, its node would conclude that the store
    /// has lost writes.
    fn without_address(&self, id: &AttachmentId, entry: &Entry, now: Timestamp) -> Option<Op> {
        let attachment = Stored::<Attachment>::read(&entry.value).known()?;
        let left = attachment.without(&[self.ip], now).filter(|left| left.vrf == self.vrf)?;
        Some(Op::Put(keys::attachment(id), lease::write(&left)))
    }
}

impl Decide for Evict {
    type Decision = Evicted;

    fn start(&mut self, _now: Timestamp) -> Step<Evicted> {
        self.read_lease().unwrap_or_else(Step::Refused)
    }

    fn next(&mut self, outcome: &Outcome, now: Timestamp) -> Step<Evicted> {
        self.rounds += 1;
        within_rounds(self.rounds, self.advance(outcome, now).unwrap_or_else(Step::Refused))
    }

    fn unanswered(&mut self, _now: Timestamp) -> Step<Evicted> {
        self.read_lease().unwrap_or_else(Step::Refused)
    }
}
