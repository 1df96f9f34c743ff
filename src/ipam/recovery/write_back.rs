//! Writes back what the store has lost of one attachment, from the node's record.
//!
//! ```text
//!  read the entry and its leases ─┬─ in place, changed, released ─► nothing to do
//!                                 ├─ somebody else holds an address ─► a conflict, which the driver has to resolve
//!                                 └─ lost ─► write the entry, the leases and their owners' reservations, all under
//!                                            guards ─► what is stored now
//! ```
//!
//! A lease in cooldown or only reserved is from an earlier time, and gives way to a running pod. A lease that somebody
//! holds does not, whatever its revision. If that holder is alive, two pods have one address by now. The store then
//! keeps its present holder, and the attachment loses the address, as in a take-over.

use std::net::IpAddr;

use jiff::Timestamp;

use super::reservations;
use super::sign::{EntryState, entry_state};
use super::steps::committing;
use crate::ipam::decide::{Decide, Step, cooldown_key, release_holder, within_rounds};
use crate::ipam::keys;
use crate::ipam::lease::{self, Attachment, Holder, Lease, Stored, Written};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::refusal::Refusal;
use crate::store::{Entry, Guard, Key, Op, OpResponse, Outcome, Revision, RevisionOrder, Txn, TxnError};

/// The entries of an attachment in the store.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Found {
    entry: Option<Entry>,
    leases: Vec<(IpAddr, Option<Entry>)>,
    /// What the owners of the addresses had last, as far as that was read.
    reservations: Vec<(Key, Option<Entry>)>,
}

fn read(id: &AttachmentId, written: &Written, reservations: Vec<Key>) -> Result<Txn, TxnError> {
    let leases = addresses(written).map(|ip| keys::lease(&written.attachment.vrf, ip));
    let keys = [keys::attachment(id)].into_iter().chain(leases).chain(reservations);
    Txn::read(keys.map(Op::Get).collect())
}

fn found(written: &Written, reservations: Vec<Key>, answers: &[OpResponse]) -> Found {
    let mut entries = answers.iter().map(|answer| answer.clone().into_entry());
    let entry = entries.next().flatten();
    let leases = addresses(written).zip(entries.by_ref()).collect();
    Found { entry, leases, reservations: reservations.into_iter().zip(entries).collect() }
}

fn addresses(written: &Written) -> impl Iterator<Item = IpAddr> {
    written.attachment.addresses.iter().map(|assigned| assigned.address.addr())
}

/// Compares an attachment with its record.
#[derive(Clone, Debug)]
pub struct Examine {
    order: RevisionOrder,
    id: AttachmentId,
    written: Written,
}

impl Examine {
    /// Compares the attachment of this record, on a store whose revisions are ordered like this.
    pub fn new(order: RevisionOrder, id: AttachmentId, written: Written) -> Self {
        Self { order, id, written }
    }

    fn step(&self) -> Step<(Revision, EntryState)> {
        committing(read(&self.id, &self.written, Vec::new()))
    }
}

impl Decide for Examine {
    /// The revision of the store, and the attachment's state.
    type Decision = (Revision, EntryState);

    fn start(&mut self, _now: Timestamp) -> Step<Self::Decision> {
        self.step()
    }

    fn next(&mut self, outcome: &Outcome, _now: Timestamp) -> Step<Self::Decision> {
        let Found { entry, leases, .. } = found(&self.written, Vec::new(), &outcome.branch.responses);
        Step::Done((outcome.at, entry_state(self.order, &self.id, &self.written, entry.as_ref(), &leases)))
    }

    fn unanswered(&mut self, _now: Timestamp) -> Step<Self::Decision> {
        self.step()
    }
}

/// An address that belongs to the attachment according to its record, but has another holder in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// The address.
    pub ip: IpAddr,
    /// The revision of its lease.
    pub revision: Revision,
    /// Its holder in the store; `None` if the lease can't be read.
    pub holder: Option<Box<Holder>>,
}

/// The result of writing back.
#[derive(Clone, Debug, PartialEq)]
pub enum WrittenBack {
    /// Nothing was lost.
    NothingLost(EntryState),
    /// It was written back, as follows.
    Back(Box<Written>),
    /// Nothing was written, because others hold some of its addresses.
    Conflicts(Vec<Conflict>),
}

/// The state machine that writes back one attachment.
#[derive(Clone, Debug)]
pub struct WriteBack {
    order: RevisionOrder,
    id: AttachmentId,
    written: Written,
    /// Addresses that are left to other holders.
    without: Vec<IpAddr>,
    pending: Pending,
    rounds: u32,
}

#[derive(Clone, Debug)]
enum Pending {
    /// Reads the entry, the leases and the owners' reservations of the record.
    Entries,
    /// Reads the leases of other addresses that an older entry has.
    Older(Box<Found>, Name, Vec<IpAddr>),
    /// Writes this.
    Write(Box<Written>),
}

impl WriteBack {
    /// Writes back what this record has, on a store whose revisions are ordered like this.
    pub fn new(order: RevisionOrder, id: AttachmentId, written: Written) -> Self {
        Self { order, id, written, without: Vec::new(), pending: Pending::Entries, rounds: 0 }
    }

    /// The same without these addresses, which are left to other holders.
    #[must_use]
    pub fn without(self, ips: Vec<IpAddr>) -> Self {
        Self { without: ips, ..self }
    }

    fn read_entries(&mut self) -> Step<WrittenBack> {
        self.pending = Pending::Entries;
        within_rounds(self.rounds, committing(read(&self.id, &self.written, self.reservations())))
    }

    fn reservations(&self) -> Vec<Key> {
        reservations::keys_of(&self.id, &self.written)
    }

    fn on_entries(&mut self, found: Found, now: Timestamp) -> Result<Step<WrittenBack>, Refusal> {
        let entry_state = entry_state(self.order, &self.id, &self.written, found.entry.as_ref(), &found.leases);
        if !matches!(entry_state, EntryState::Lost(_)) {
            return Ok(Step::Done(WrittenBack::NothingLost(entry_state)));
        }
        let older = found.entry.as_ref().and_then(|entry| Stored::<Attachment>::read(&entry.value).known());
        let Some(Attachment { vrf, addresses, .. }) = older else { return self.write(&found, Vec::new(), now) };
        // A container that was restarted since the backup has other addresses by now.
        let is_other =
            |ip: &IpAddr| vrf != self.written.attachment.vrf || !self::addresses(&self.written).any(|own| own == *ip);
        let others: Vec<IpAddr> = addresses.iter().map(|assigned| assigned.address.addr()).filter(is_other).collect();
        if others.is_empty() {
            return self.write(&found, Vec::new(), now);
        }
        let txn = Txn::read(others.iter().map(|ip| Op::Get(keys::lease(&vrf, *ip))).collect())?;
        self.pending = Pending::Older(Box::new(found), vrf, others);
        Ok(within_rounds(self.rounds, Step::Commit(txn)))
    }

    /// Releases addresses of an older entry, each under a guard.
    fn release_leases(
        &self,
        vrf: &Name,
        ips: &[IpAddr],
        answers: &[OpResponse],
        now: Timestamp,
    ) -> Vec<(Guard, Vec<Op>)> {
        let held = ips.iter().zip(answers).filter_map(|(ip, answer)| {
            let OpResponse::Entry(Some(entry)) = answer else { return None };
            let lease = Stored::<Lease>::read(&entry.value).known().filter(|lease| lease.is_held_by(&self.id))?;
            Some((Guard::Unchanged(entry.key.clone(), entry.revision), release_holder(&self.id, vrf, *ip, lease, now)))
        });
        held.collect()
    }

    fn write(
        &mut self,
        found: &Found,
        others: Vec<(Guard, Vec<Op>)>,
        now: Timestamp,
    ) -> Result<Step<WrittenBack>, Refusal> {
        let mut attachment = self.written.attachment.clone();
        // A fence against an earlier ADD stays, whichever entry has it.
        let fence = found.entry.as_ref().and_then(|entry| Stored::<Attachment>::read(&entry.value).known()?.closed);
        attachment.closed = attachment.closed.max(fence);
        if let Some(left) = attachment.clone().without(&self.without, now) {
            attachment = left;
        }
        let key = keys::attachment(&self.id);
        let mut when = vec![guard(key.clone(), found.entry.as_ref())];
        let mut then = vec![Op::Put(key, lease::write(&attachment))];
        let (mut leases, mut conflicts) = (Vec::new(), Vec::new());
        for (ip, entry) in found.leases.iter().filter(|(ip, _)| !self.without.contains(ip)) {
            match self.lease(*ip, entry.as_ref()) {
                Ok(lease) => {
                    let key = keys::lease(&self.written.attachment.vrf, *ip);
                    when.push(guard(key.clone(), entry.as_ref()));
                    then.extend(self.cooldown_key(*ip, entry.as_ref()).map(Op::Delete));
                    then.push(Op::Put(key, lease::write(&lease)));
                    leases.push((*ip, lease));
                }
                Err(conflict) => conflicts.push(conflict),
            }
        }
        if !conflicts.is_empty() {
            return Ok(Step::Done(WrittenBack::Conflicts(conflicts)));
        }
        when.extend(found.reservations.iter().map(|(key, entry)| guard(key.clone(), entry.as_ref())));
        then.extend(reservations::writes(&self.id, &attachment.vrf, &leases, &found.reservations));
        for (guard, operations) in others {
            when.push(guard);
            then.extend(operations);
        }
        let txn = Txn::new(when, then, Vec::new())?;
        self.pending = Pending::Write(Box::new(Written { revision: self.written.revision, attachment, leases }));
        Ok(within_rounds(self.rounds, Step::Commit(txn)))
    }

    /// The lease of this attachment that replaces the stored one.
    fn lease(&self, ip: IpAddr, entry: Option<&Entry>) -> Result<Lease, Conflict> {
        let recorded = self.written.leases.iter().find(|(leased, _)| *leased == ip).map(|(_, lease)| lease);
        let own = recorded.and_then(|lease| {
            // The nodes of other holders write back their own shares.
            let own = lease.holders.iter().find(|holder| holder.id == self.id)?;
            Some((Lease { holders: vec![own.clone()], rest: None, unused: None, ..lease.clone() }, own))
        });
        let Some(entry) = entry else {
            return own.map(|(lease, _)| lease).ok_or(Conflict { ip, revision: self.written.revision, holder: None });
        };
        let conflict =
            |holder: Option<&Holder>| Conflict { ip, revision: entry.revision, holder: holder.cloned().map(Box::new) };
        let (Stored::Known(stored), Some((own, holder))) = (Stored::<Lease>::read(&entry.value), own) else {
            return Err(conflict(None));
        };
        if !stored.is_held() {
            // The pod runs, so it keeps the address, and the reservation by hand applies again after it.
            return Ok(match stored.manual {
                Some(manual) => own.kept_by_hand(manual),
                None => own,
            });
        }
        match stored.holders.iter().find(|other| other.id != self.id) {
            None => Ok(own),
            Some(_) if stored.is_held_by(&self.id) => Ok(stored),
            Some(other) if stored.holders.len() == 1 && other.is_of_one_machine_with(holder) => {
                Ok(stored.joined_by(holder.clone()))
            }
            other => Err(conflict(other)),
        }
    }

    /// The key in the cooldown index of a lease that leaves its cooldown.
    fn cooldown_key(&self, ip: IpAddr, entry: Option<&Entry>) -> Option<Key> {
        let lease = Stored::<Lease>::read(&entry?.value).known()?;
        cooldown_key(&self.written.attachment.vrf, ip, &lease)
    }
}

fn guard(key: Key, entry: Option<&Entry>) -> Guard {
    match entry {
        Some(entry) => Guard::Unchanged(key, entry.revision),
        None => Guard::Absent(key),
    }
}

impl Decide for WriteBack {
    type Decision = WrittenBack;

    fn start(&mut self, _now: Timestamp) -> Step<WrittenBack> {
        self.read_entries()
    }

    fn next(&mut self, outcome: &Outcome, now: Timestamp) -> Step<WrittenBack> {
        self.rounds += 1;
        let answers = &outcome.branch.responses;
        let step = match std::mem::replace(&mut self.pending, Pending::Entries) {
            Pending::Write(written) if outcome.branch.succeeded => {
                Ok(Step::Done(WrittenBack::Back(Box::new(Written { revision: outcome.at, ..*written }))))
            }
            Pending::Write(_) => Ok(self.read_entries()),
            Pending::Entries => self.on_entries(found(&self.written, self.reservations(), answers), now),
            Pending::Older(found, vrf, ips) => self.write(&found, self.release_leases(&vrf, &ips, answers, now), now),
        };
        step.unwrap_or_else(Step::Refused)
    }

    fn unanswered(&mut self, _now: Timestamp) -> Step<WrittenBack> {
        self.read_entries()
    }
}
