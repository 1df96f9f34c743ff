//! DEL: releases the addresses that this attachment still holds, each separately, and nothing else.
//!
//! ```text
//!  the record has what the ADD wrote ─► release it, if nothing of it has changed        (one request)
//!  otherwise                         ─► read the attachment ─► read its leases ─► release those that it still holds
//!  an ADD may still take effect      ─► whatever was found, the attachment ends as a fence
//! ```
//!
//! An ADD with an unknown outcome may take effect after a read that did not see it. So a DEL does not rely on reads: it
//! writes the attachment's key, and the guard of a late commit fails. It does so even if it found addresses, because
//! they may come from another attempt, or from one copy of a request that was sent twice.

use std::net::IpAddr;

use jiff::Timestamp;

use super::candidate::cooldown_key;
use super::check::{held_lease, read_leases};
use super::reads::{Answers, OneEntry, Read};
use super::{Decide, Step, within_rounds};
use crate::ipam::address::Family;
use crate::ipam::keys::{self, CooldownClass};
use crate::ipam::lease::{
    self, Attachment, Lease, OnRelease, Rest, RestEntry, Stored, UnreadableValue, VERSION, Written, is_ahead,
};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::recovery::{EntryState, Examine, Sign, is_explained};
use crate::ipam::refusal::NotHeldReason;
use crate::store::{Entry, Freshness, Guard, Op, OpResponse, Outcome, Revision, RevisionOrder, Txn, TxnError};

/// How many cooldown entries a release reads. If there are so many, and most of them are over, those are removed.
const COOLDOWN_BATCH: u32 = 32;

/// How long a fence is needed, in seconds: far longer than a commit can take.
const FENCE_SECONDS: i64 = 3600;

/// Whether a fence is so old that no commit from before it can still take effect.
pub(in crate::ipam) fn is_fence_over(closed: Timestamp, now: Timestamp) -> bool {
    now.as_second().saturating_sub(closed.as_second()) >= FENCE_SECONDS
}

/// The result of a DEL.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Released {
    /// Addresses that the attachment no longer holds. They are free, left to another holder, or reserved for their
    /// owner.
    pub freed: Vec<IpAddr>,
    /// Addresses of its entry that the attachment no longer held, and why.
    pub not_owned: Vec<(IpAddr, NotHeldReason)>,
    /// Why the attachment stays as it is: this version can't read it.
    pub left: Option<UnreadableValue>,
    /// Whether a fence was written against an ADD that may still take effect.
    pub fenced: bool,
    /// Removes expired cooldown entries. Without it, no address is lost.
    pub clear: Option<Txn>,
    /// A sign that the store has lost the attachment, unless somebody released it and died before recording that.
    pub sign: Option<Sign>,
}

/// The state machine of a DEL.
#[derive(Clone, Debug)]
pub struct Release {
    id: AttachmentId,
    vrf: Name,
    /// Whether an ADD of this attachment may still take effect.
    fence: bool,
    written: Option<Written>,
    order: RevisionOrder,
    newest: Option<Revision>,
    sign: Option<Sign>,
    /// Whether it removes expired cooldowns.
    clears_cooldowns: bool,
    pending: Pending,
    rounds: u32,
}

#[derive(Clone, Debug)]
enum Pending {
    Nothing,
    Entry,
    /// Reads the leases of the attachment, which has this revision.
    Leases(Box<Attachment>, Revision, Vec<Read<OneEntry>>),
    /// Releases these addresses. Others are left alone.
    Free(Released),
    Fence,
    /// Finds out why the store contradicts the node's record.
    Examine(Box<Examine>),
}

impl Release {
    /// Releases an attachment. `written` is what the node's record says of its ADD. With `fence`, the outcome of that
    /// ADD or an earlier one since the last DEL is unknown. A fence, if one is written, names the vrf.
    pub fn new(id: AttachmentId, vrf: Name, written: Option<Written>, fence: bool) -> Self {
        // What holds without an order holds on every store.
        let (order, newest) = (RevisionOrder::Unordered, None);
        let (clears_cooldowns, pending) = (true, Pending::Nothing);
        Self { id, vrf, fence, written, order, newest, sign: None, clears_cooldowns, pending, rounds: 0 }
    }
}

impl Release {
    /// The same, on a store whose revisions are ordered like this, by a node that has seen this one. A store that is
    /// behind it has lost writes.
    #[must_use]
    pub fn after_revision(self, order: RevisionOrder, newest: Option<Revision>) -> Self {
        Self { order, newest, ..self }
    }

    /// The same, which leaves expired cooldowns to the sweep: on this store, removing them costs more than a release.
    #[must_use]
    pub fn leaving_cooldowns(self) -> Self {
        Self { clears_cooldowns: false, ..self }
    }
}

impl Decide for Release {
    type Decision = Released;

    fn start(&mut self, now: Timestamp) -> Step<Released> {
        let step = match self.written.clone() {
            Some(Written { attachment, leases, revision }) => {
                let leases = leases.into_iter().map(|(ip, lease)| (ip, lease, revision)).collect();
                self.free(&attachment, revision, leases, Vec::new(), now)
            }
            None => self.read_entry(),
        };
        step.unwrap_or_else(|error| Step::Refused(error.into()))
    }

    fn next(&mut self, outcome: &Outcome, now: Timestamp) -> Step<Released> {
        self.rounds += 1;
        let wrote = outcome.branch.succeeded && matches!(self.pending, Pending::Free(_) | Pending::Fence);
        self.sign = self.sign.take().or_else(|| Sign::behind(outcome.at, self.newest, wrote));
        let step = match self.advance(outcome, now).unwrap_or_else(|error| Step::Refused(error.into())) {
            Step::Done(released) => Step::Done(Released { sign: self.sign.take(), ..released }),
            step => step,
        };
        within_rounds(self.rounds, step)
    }

    fn unanswered(&mut self, _now: Timestamp) -> Step<Released> {
        // From now on, the store may contain what this release wrote.
        self.written = None;
        self.read_entry().unwrap_or_else(|error| Step::Refused(error.into()))
    }
}

impl Release {
    fn advance(&mut self, outcome: &Outcome, now: Timestamp) -> Result<Step<Released>, TxnError> {
        let (succeeded, answers) = (outcome.branch.succeeded, Answers(&outcome.branch.responses));
        match std::mem::replace(&mut self.pending, Pending::Nothing) {
            Pending::Free(released) if succeeded => {
                Ok(Step::Done(Released { clear: clear_expired(answers.0, now)?, ..released }))
            }
            Pending::Fence if succeeded => Ok(Step::Done(Released { fenced: true, ..Released::default() })),
            Pending::Leases(attachment, revision, leases) if succeeded => {
                self.on_leases(&attachment, revision, &leases, answers, now)
            }
            Pending::Examine(mut examine) => match examine.next(outcome, now) {
                Step::Done((_, entry_state)) => {
                    if let EntryState::Lost(sign) = entry_state {
                        self.sign = self.sign.take().or(Some(sign));
                    }
                    self.read_entry()
                }
                Step::Commit(txn) => {
                    self.pending = Pending::Examine(examine);
                    Ok(Step::Commit(txn))
                }
                Step::Refused(refusal) => Ok(Step::Refused(refusal)),
            },
            Pending::Free(_) if self.contradicts_record(answers.only_entry()) => self.examine(now),
            // A read of the entry has it as its answer, and so does every other transaction whose guards failed.
            Pending::Nothing | Pending::Entry | Pending::Leases(..) | Pending::Free(_) | Pending::Fence => {
                self.on_entry(answers.only_entry(), now)
            }
        }
    }

    /// Whether the store may have lost what the node's record has.
    fn contradicts_record(&self, entry: Option<&Entry>) -> bool {
        self.written.as_ref().is_some_and(|written| !is_explained(self.order, &self.id, written, entry))
    }

    fn examine(&mut self, now: Timestamp) -> Result<Step<Released>, TxnError> {
        let Some(written) = self.written.take() else { return self.read_entry() };
        let mut examine = Box::new(Examine::new(self.order, self.id.clone(), written));
        let step = examine.start(now);
        self.pending = Pending::Examine(examine);
        Ok(match step {
            Step::Commit(txn) => Step::Commit(txn),
            Step::Done(_) => return self.read_entry(),
            Step::Refused(refusal) => Step::Refused(refusal),
        })
    }

    fn read_entry(&mut self) -> Result<Step<Released>, TxnError> {
        self.pending = Pending::Entry;
        Txn::read(vec![Op::Get(keys::attachment(&self.id))]).map(Step::Commit)
    }

    fn on_entry(&mut self, entry: Option<&Entry>, now: Timestamp) -> Result<Step<Released>, TxnError> {
        let Some(entry) = entry else {
            return self.nothing_held(Guard::Absent(keys::attachment(&self.id)), now);
        };
        let unchanged = Guard::Unchanged(entry.key.clone(), entry.revision);
        match Stored::<Attachment>::read(&entry.value) {
            Stored::Known(attachment) if attachment.is_only_closed() => self.nothing_held(unchanged, now),
            Stored::Known(attachment) => {
                let (txn, leases) = read_leases(&attachment, entry)?;
                self.pending = Pending::Leases(Box::new(attachment), entry.revision, leases);
                Ok(Step::Commit(txn))
            }
            // A newer version can read the entry, and its sweep will release it.
            Stored::Unreadable(why) => Ok(Step::Done(Released { left: Some(why), ..Released::default() })),
        }
    }

    fn nothing_held(&mut self, guard: Guard, now: Timestamp) -> Result<Step<Released>, TxnError> {
        if !self.fence {
            return Ok(Step::Done(Released::default()));
        }
        // Replaces an older fence, too: the ADD may have a guard on the revision of that one.
        let key = keys::attachment(&self.id);
        let closed = Op::Put(key.clone(), lease::write(&Attachment::closed(self.vrf.clone(), now)));
        self.pending = Pending::Fence;
        Txn::new(vec![guard], vec![closed], vec![Op::Get(key)]).map(Step::Commit)
    }

    fn on_leases(
        &mut self,
        attachment: &Attachment,
        revision: Revision,
        leases: &[Read<OneEntry>],
        answers: Answers<'_>,
        now: Timestamp,
    ) -> Result<Step<Released>, TxnError> {
        let (mut own, mut not_owned) = (Vec::new(), Vec::new());
        for (assigned, lease) in attachment.addresses.iter().zip(leases) {
            let ip = assigned.address.addr();
            match held_lease(&self.id, answers.to(*lease)) {
                Ok((lease, revision)) => own.push((ip, lease, revision)),
                Err(now) => not_owned.push((ip, now)),
            }
        }
        self.free(attachment, revision, own, not_owned, now)
    }

    /// Releases these leases and removes the attachment, each under the revision at which it was read.
    fn free(
        &mut self,
        attachment: &Attachment,
        revision: Revision,
        own: Vec<(IpAddr, Lease, Revision)>,
        not_owned: Vec<(IpAddr, NotHeldReason)>,
        now: Timestamp,
    ) -> Result<Step<Released>, TxnError> {
        let key = keys::attachment(&self.id);
        let mut when = vec![Guard::Unchanged(key.clone(), revision)];
        let mut families: Vec<Family> = own.iter().map(|(ip, ..)| Family::of(*ip)).collect();
        families.sort_unstable();
        families.dedup();
        let oldest_rests = families.into_iter().filter(|_| self.clears_cooldowns).map(|family| Op::Range {
            span: keys::rests(&attachment.vrf, family, CooldownClass::Normal),
            limit: COOLDOWN_BATCH,
            keys_only: false,
            // Each is removed under its own guards.
            freshness: Freshness::Hint,
        });
        let mut then: Vec<Op> = oldest_rests.collect();
        then.push(self.write_emptied(attachment, now));
        then.extend(self.remove_note(&attachment.vrf, revision, &own)?);
        let mut released = Released { not_owned, fenced: self.fence, ..Released::default() };
        for (ip, lease, revision) in own {
            let lease_key = keys::lease(&attachment.vrf, ip);
            when.push(Guard::Unchanged(lease_key.clone(), revision));
            then.extend(release_holder(&self.id, &attachment.vrf, ip, lease, now));
            released.freed.push(ip);
        }
        self.pending = Pending::Free(released);
        Txn::new(when, then, vec![Op::Get(key)]).map(Step::Commit)
    }

    /// Removes the note of a requested address from the owner's reservation, unless an address is reserved beside it or
    /// somebody else holds it too. The note of a later ADD has another revision and stays.
    fn remove_note(
        &self,
        vrf: &Name,
        attachment: Revision,
        own: &[(IpAddr, Lease, Revision)],
    ) -> Result<Vec<Op>, TxnError> {
        if own.iter().any(|(_, lease, _)| matches!(lease.on_release, OnRelease::Keep(_))) {
            return Ok(Vec::new());
        }
        let mut held_alone = own.iter().filter(|(_, lease, _)| lease.holders.iter().all(|holder| holder.id == self.id));
        let noted = held_alone.find_map(|(_, lease, revision)| Some((lease.held_for.as_ref()?, *revision)));
        let Some((owner, lease)) = noted else { return Ok(Vec::new()) };
        let key = keys::reservation(vrf, owner, &self.id);
        let remove = |revision, otherwise| {
            let unchanged = vec![Guard::Unchanged(key.clone(), revision)];
            Ok(vec![Op::Txn(Box::new(Txn::new(unchanged, vec![Op::Delete(key.clone())], otherwise)?))])
        };
        // The note has the revision of the lease, or of the attachment: a repeated ADD rewrites the attachment, and a
        // pod that leaves a shared lease rewrites the lease.
        remove(lease, if attachment == lease { Vec::new() } else { remove(attachment, Vec::new())? })
    }

    /// Deletes the attachment, unless a fence is written or must stay.
    fn write_emptied(&self, attachment: &Attachment, now: Timestamp) -> Op {
        let key = keys::attachment(&self.id);
        let is_needed = |closed: &Timestamp| !is_fence_over(*closed, now);
        // This node wrote a fence in the future before its clock was set back.
        let not_ahead = |closed: Timestamp| if is_ahead(closed, now) { now } else { closed };
        let closed = if self.fence { Some(now) } else { attachment.closed.filter(is_needed).map(not_ahead) };
        match closed {
            Some(_) => {
                let (addresses, lost) = (Vec::new(), Vec::new());
                let emptied =
                    Attachment { addresses, lost, lost_since: None, holder: None, closed, ..attachment.clone() };
                Op::Put(key, lease::write(&emptied))
            }
            None => Op::Delete(key),
        }
    }
}

/// The writes that remove a holder: the lease without it, or its cooldown, or nothing is left.
pub(in crate::ipam) fn release_holder(
    id: &AttachmentId,
    vrf: &Name,
    ip: IpAddr,
    lease: Lease,
    now: Timestamp,
) -> Vec<Op> {
    match lease.clone().without(id) {
        Some(others) => vec![Op::Put(keys::lease(vrf, ip), lease::write(&others))],
        None => cool_down_or_delete(vrf, ip, lease, now),
    }
}

/// The writes for a lease without holders.
pub(super) fn cool_down_or_delete(vrf: &Name, ip: IpAddr, lease: Lease, now: Timestamp) -> Vec<Op> {
    put_or_delete(vrf, ip, lease.released(now))
}

/// The writes for a lease and its entry in the cooldown index; without a lease, its deletion.
pub(super) fn put_or_delete(vrf: &Name, ip: IpAddr, lease: Option<Lease>) -> Vec<Op> {
    let key = keys::lease(vrf, ip);
    let Some(resting) = lease else { return vec![Op::Delete(key)] };
    let entry = resting
        .rest
        .clone()
        .zip(cooldown_key(vrf, ip, &resting))
        .map(|(rest, rest_key): (Rest, _)| Op::Put(rest_key, lease::write(&RestEntry { v: VERSION, rest })));
    entry.into_iter().chain([Op::Put(key, lease::write(&resting))]).collect()
}

/// Removes expired cooldowns, once a batch of them has gathered. Each has its own guards, because another call may have
/// taken the address meanwhile.
fn clear_expired(answers: &[OpResponse], now: Timestamp) -> Result<Option<Txn>, TxnError> {
    let mut tries = Vec::new();
    for answer in answers {
        let OpResponse::Entries(entries) = answer else { continue };
        let over = |entry: &&Entry| {
            let known = Stored::<RestEntry>::read(&entry.value).known();
            known.is_some_and(|entry| entry.rest.is_over(now))
        };
        let over: Vec<&Entry> = entries.iter().filter(over).collect();
        if entries.len() < COOLDOWN_BATCH as usize || over.len() <= COOLDOWN_BATCH as usize / 2 {
            continue;
        }
        for entry in over {
            tries.extend(removal_of_rest(entry)?.map(|removal| Op::Txn(Box::new(removal))));
        }
    }
    if tries.is_empty() { Ok(None) } else { Txn::read(tries).map(Some) }
}

/// Removes a cooldown with its lease, if it has expired and neither has changed.
pub fn clear_rest(entry: &Entry, now: Timestamp) -> Result<Option<Txn>, TxnError> {
    let known = Stored::<RestEntry>::read(&entry.value).known();
    if known.is_some_and(|entry| entry.rest.is_over(now)) { removal_of_rest(entry) } else { Ok(None) }
}

fn removal_of_rest(entry: &Entry) -> Result<Option<Txn>, TxnError> {
    let Some((vrf, _, ip)) = keys::read_rest(&entry.key) else { return Ok(None) };
    let lease = keys::lease(&vrf, ip);
    // One transaction wrote both, so they have the same revision.
    let when = [&entry.key, &lease].map(|key| Guard::Unchanged(key.clone(), entry.revision));
    let then = [Op::Delete(entry.key.clone()), Op::Delete(lease)];
    Txn::new(when.into(), then.into(), Vec::new()).map(Some)
}
