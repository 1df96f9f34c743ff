//! The release of one address, whoever holds it, by the operator or by a sweep; or of what one of its holders has of
//! it.
//!
//! It frees the address and rewrites the attachments of its holders in the same commit, so that none of them believes
//! that it still has it: their DEL leaves it alone, and a repeated ADD is refused. What was kept for an owner is that
//! no more if the operator says so; a sweep knows no more than that a pod is gone, which ends a use and not a
//! reservation.

use std::net::IpAddr;

use jiff::Timestamp;

use super::candidate::cooldown_key;
use super::reads::{Answers, OneEntry, Read, Reads};
use super::{Decide, Step, within_rounds};
use crate::ipam::keys;
use crate::ipam::lease::{self, Attachment, Lease, Stored};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::Reservation;
use crate::store::{Entry, Guard, Op, Outcome, Revision, Txn};

/// What an eviction has done.
#[derive(Clone, Debug, PartialEq)]
pub enum Evicted {
    /// The address is free; these had it.
    Freed(Box<Lease>),
    /// It was free before.
    NotHeld,
    /// Its lease is not the one that the operator has seen.
    Changed,
}

/// The state machine of an eviction.
#[derive(Clone, Debug)]
pub struct Evict {
    vrf: Name,
    ip: IpAddr,
    /// The revision of the lease that is to go.
    seen: Revision,
    /// Whether it stays reserved, if it is kept for an owner.
    to_its_owner: bool,
    /// The one holder that loses it; `None` for all of them.
    of: Option<AttachmentId>,
    pending: Pending,
    rounds: u32,
}

#[derive(Clone, Debug, Default)]
enum Pending {
    #[default]
    Nothing,
    /// Its lease.
    Look(Read<OneEntry>),
    /// The entries of those who lose it, and the reservation that goes with it.
    Attachments { lease: Box<Lease>, losing: Vec<Read<OneEntry>>, reservation: Option<Read<OneEntry>> },
    /// What frees it.
    Free(Box<Lease>),
}

impl Evict {
    /// The eviction of whoever has the lease of this revision.
    pub fn new(vrf: Name, ip: IpAddr, seen: Revision) -> Self {
        Self { vrf, ip, seen, to_its_owner: false, of: None, pending: Pending::Nothing, rounds: 0 }
    }

    /// The same of this holder alone: the others go on holding the address, and what is kept stays so.
    #[must_use]
    pub fn of(self, holder: AttachmentId) -> Self {
        Self { of: Some(holder), ..self.to_its_owner() }
    }

    /// The same, but what is kept for an owner stays reserved for it, as after a DEL.
    #[must_use]
    pub fn to_its_owner(self) -> Self {
        Self { to_its_owner: true, ..self }
    }

    fn look(&mut self) -> Result<Step<Evicted>, Refusal> {
        let mut reads = Reads::default();
        self.pending = Pending::Look(reads.entry(keys::lease(&self.vrf, self.ip)));
        Ok(Step::Commit(Txn::read(reads.into_operations())?))
    }

    fn advance(&mut self, outcome: &Outcome, now: Timestamp) -> Result<Step<Evicted>, Refusal> {
        let answers = Answers(&outcome.branch.responses);
        match std::mem::take(&mut self.pending) {
            Pending::Look(lease) => self.after_look(answers.to(lease)),
            Pending::Attachments { lease, losing, reservation } => {
                let losing: Vec<Option<&Entry>> = losing.into_iter().map(|entry| answers.to(entry)).collect();
                self.free(lease, &losing, reservation.and_then(|entry| answers.to(entry)), now)
            }
            Pending::Free(lease) if outcome.branch.succeeded => Ok(Step::Done(Evicted::Freed(lease))),
            Pending::Nothing | Pending::Free(_) => self.look(),
        }
    }

    fn after_look(&mut self, entry: Option<&Entry>) -> Result<Step<Evicted>, Refusal> {
        let Some(entry) = entry else { return Ok(Step::Done(Evicted::NotHeld)) };
        if entry.revision != self.seen {
            return Ok(Step::Done(Evicted::Changed));
        }
        let lease = match Stored::<Lease>::read(&entry.value) {
            Stored::Known(lease) => lease,
            unreadable => return Err(Refusal::Unreadable { ip: self.ip, why: unreadable.why_unreadable() }),
        };
        let mut reads = Reads::default();
        let losing = self.losing(&lease).map(|id| reads.entry(keys::attachment(id))).collect();
        let is_left_by_all = self.losing(&lease).count() == lease.holders.len();
        let asker = lease.held_for.as_ref().filter(|_| is_left_by_all);
        let owner = lease.owner.as_ref().filter(|_| !self.to_its_owner).or(asker);
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
        let others = self.of.as_ref().and_then(|of| lease.as_ref().clone().without(of));
        let mut then = match (others, cooldown_key(&self.vrf, self.ip, &lease)) {
            (Some(others), _) => vec![Op::Put(key, lease::write(&others))],
            // It rests already: then the rest ends.
            (None, Some(rest)) => vec![Op::Delete(key), Op::Delete(rest)],
            // It is used by nobody, or kept beyond its use: neither is to go on.
            (None, None) if lease.owner.is_some() && !self.to_its_owner => vec![Op::Delete(key)],
            (None, None) => super::release::rest_or_forget(&self.vrf, self.ip, (*lease).clone(), now),
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

    /// Those who have the lease now, and will not.
    fn losing<'a>(&'a self, lease: &'a Lease) -> impl Iterator<Item = &'a AttachmentId> {
        let loses = |id: &&AttachmentId| self.of.as_ref().is_none_or(|of| of == *id);
        lease.holders.iter().map(|holder| &holder.id).filter(loses)
    }

    /// The entry of an attachment without the address; `None` where it doesn't list it, or can't be read. It stays,
    /// also without an address, until a DEL or a sweep removes it: its node would take its absence for a loss of the
    /// store.
    fn without_address(&self, id: &AttachmentId, entry: &Entry, now: Timestamp) -> Option<Op> {
        let attachment = Stored::<Attachment>::read(&entry.value).known()?;
        let left = attachment.without(&[self.ip], now).filter(|left| left.vrf == self.vrf)?;
        Some(Op::Put(keys::attachment(id), lease::write(&left)))
    }
}

impl Decide for Evict {
    type Decision = Evicted;

    fn start(&mut self, _now: Timestamp) -> Step<Evicted> {
        self.look().unwrap_or_else(Step::Refused)
    }

    fn next(&mut self, outcome: &Outcome, now: Timestamp) -> Step<Evicted> {
        self.rounds += 1;
        within_rounds(self.rounds, self.advance(outcome, now).unwrap_or_else(Step::Refused))
    }

    fn unanswered(&mut self, _now: Timestamp) -> Step<Evicted> {
        self.look().unwrap_or_else(Step::Refused)
    }
}
