//! Interprets the answers of the store: committed, assigned before, or which guard failed.

use ipnet::IpNet;
use jiff::Timestamp;

use super::pending::{AfterFailure, OwnEntry, Pending};
use super::recovery::refusal;
use super::{Add, Allocation};
use crate::ipam::decide::attempt::Attempt;
use crate::ipam::decide::candidate::Availability;
use crate::ipam::decide::check::still_held;
use crate::ipam::decide::reads::{Answers, OneEntry, Read, Reads};
use crate::ipam::decide::reservation_state::{GiveUpReason, GivenUp};
use crate::ipam::decide::slot::{Slot, SlotReads};
use crate::ipam::decide::specific_address::DecisionContext;
use crate::ipam::decide::{Step, no_recovery};
use crate::ipam::keys;
use crate::ipam::lease::{self, Attachment, Stored};
use crate::ipam::name::AttachmentId;
use crate::ipam::recovery::{self, Witness};
use crate::ipam::refusal::{NotHeldReason, Refusal};
use crate::store::{Branch, Entry, Guard, Op, OpResponse, Outcome, Revision, Txn};

impl Add {
    /// The entries of the attachment, an earlier sandbox and the owner were read, before the first attempt.
    pub(super) fn after_entries(
        &mut self,
        own: Read<OneEntry>,
        sandbox: Option<Read<OneEntry>>,
        reservation: Option<Vec<Read<OneEntry>>>,
        answers: Answers<'_>,
        now: Timestamp,
    ) -> Result<Step<Allocation>, Refusal> {
        if let Some(step) = self.own_key(answers.to(own), now)? {
            return Ok(step);
        }
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        if let (Some(reservation), Some(read)) = (&mut self.reservation, reservation) {
            reservation.on_response(&read, answers, &mut self.slots)?;
        }
        if let (Some(earlier), Some(read)) = (self.sandbox.take(), sandbox) {
            self.after_sandbox_of(&earlier, answers.to(read));
        }
        let mut reads = Reads::default();
        let previous = self.slots.iter_mut().enumerate().filter(|(_, slot)| slot.is_previously_assigned());
        let slots = previous.map(|(i, slot)| (i, slot.reads(&self.policy.vrf, &mut reads))).collect();
        let not_offered =
            self.reservation.as_ref().map(|reservation| reservation.not_offered_reads(&self.policy.vrf, &mut reads));
        if reads.is_empty() {
            return self.propose(now);
        }
        self.pending = Pending::PreviousLeases { slots, not_offered: not_offered.unwrap_or_default() };
        Ok(Step::Commit(Txn::read(reads.into_operations())?))
    }

    /// Lets slots try the addresses of an earlier sandbox, also those that it has lost: a sandbox between the two may
    /// have taken them over and been killed during its call.
    fn after_sandbox_of(&mut self, earlier: &AttachmentId, entry: Option<&Entry>) {
        let Some(Stored::Known(entry)) = entry.map(|entry| Stored::<Attachment>::read(&entry.value)) else { return };
        let is_own = entry.holder.as_ref().is_some_and(|holder| holder.pod == self.holder.pod);
        if !is_own || entry.vrf != self.policy.vrf {
            return;
        }
        let held = entry.addresses.iter().map(|assigned| assigned.address.addr());
        for ip in held.chain(entry.lost.iter().copied()) {
            if let Some(slot) = self.slots.iter_mut().find(|slot| slot.may_assign(ip)) {
                slot.try_previous(ip, earlier);
            }
        }
    }

    pub(super) fn after_attempt(
        &mut self,
        mut attempts: Vec<Attempt>,
        failure: AfterFailure,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Result<Step<Allocation>, Refusal> {
        let answers = match committed(attempts.len(), outcome) {
            Ok((nth, branch)) => {
                self.found_hosts.on_recorded(&branch.responses);
                return Ok(Step::Done(self.allocation(attempts.swap_remove(nth), outcome.at)));
            }
            Err(Branch { responses, .. }) => responses,
        };
        self.after_failure(failure, Answers(answers), now)
    }

    pub(super) fn allocation(&self, attempt: Attempt, revision: Revision) -> Allocation {
        let random = self.slots.iter().zip(&attempt.candidates).filter(|(slot, _)| slot.is_random());
        let early =
            random.filter(|(_, candidate)| matches!(candidate.availability, Availability::Resting { over: false, .. }));
        let before_cooldown_ended = early.map(|(_, candidate)| candidate.ip).collect();
        let of_owner = self.slots.iter().zip(&attempt.candidates).filter(|(slot, _)| slot.is_reserved());
        let reused = of_owner.filter(|(_, candidate)| matches!(candidate.availability, Availability::Reserved { .. }));
        let reused = reused.map(|(_, candidate)| candidate.ip).collect();
        let owner = self.policy.sticky.as_ref().map(|sticky| &sticky.owner);
        let lost = self.slots.iter().filter_map(Slot::lost_to_another).zip(owner);
        let reason = GiveUpReason::TakenByOther;
        let lost = lost.map(|(ip, owner)| GivenUp { ip, owner: owner.clone(), reason });
        let given_up = attempt.reservation.given_up.iter().cloned().chain(lost).collect();
        let (repeated, taken_over) = (false, attempt.taken_over());
        let Attempt { attachment, leases, .. } = attempt;
        let foreign = self.found_hosts.recorded().to_vec();
        Allocation {
            attachment,
            leases,
            revision,
            repeated,
            before_cooldown_ended,
            taken_over,
            reused,
            given_up,
            foreign,
        }
    }

    /// An attempt failed. Its own key comes first, then a recovery, the witness, and the keys of the slots.
    pub(super) fn after_failure(
        &mut self,
        AfterFailure { own, recovery, witness, slots, reservation }: AfterFailure,
        answers: Answers<'_>,
        now: Timestamp,
    ) -> Result<Step<Allocation>, Refusal> {
        let own = answers.to(own);
        let is_recorded = own.is_some_and(|own| self.is_recorded(own));
        if let Some(recovery) = answers.to(recovery).filter(|_| !is_recorded) {
            return Err(refusal(&recovery::read(recovery, now)));
        }
        if let Some(read) = witness.filter(|_| !is_recorded)
            && let Some(refusal) = self.after_witness(answers.to(read), now)
        {
            return Err(refusal);
        }
        if let Some(step) = self.own_key(own, now)? {
            return Ok(step);
        }
        self.on_response(slots, answers, now);
        if let (Some(reservation), Some(read)) = (&mut self.reservation, reservation)
            && reservation.is_outdated(&read, answers)
        {
            reservation.reset(&mut self.slots);
        }
        self.propose(now)
    }

    /// Handles the attachment's own key: nothing, a fence to be replaced, or addresses to be verified.
    fn own_key(&mut self, entry: Option<&Entry>, now: Timestamp) -> Result<Option<Step<Allocation>>, Refusal> {
        // The entry may be that of an earlier container with the same ID.
        let is_witness = self.recorded.witness.as_ref().is_some_and(|witness| witness.id == self.holder.id);
        if is_witness && let Some(refusal) = self.after_witness(entry, now) {
            return Err(refusal);
        }
        match entry {
            Some(entry) => self.own_entry(entry, now),
            None => {
                self.own = OwnEntry::Absent;
                Ok(None)
            }
        }
    }

    fn own_entry(&mut self, entry: &Entry, now: Timestamp) -> Result<Option<Step<Allocation>>, Refusal> {
        let mut attachment = match Stored::<Attachment>::read(&entry.value) {
            Stored::Known(attachment) => attachment,
            Stored::Unreadable(why) => {
                return Err(Refusal::AttachmentUnreadable { attachment: Box::new(self.holder.id.clone()), why });
            }
        };
        if attachment.is_only_closed() {
            // ADD and DEL of one attachment exclude each other on its node, so the DEL that wrote this fence has ended.
            // It was written against an earlier ADD, not this one.
            self.own = OwnEntry::Fence(entry.revision, Box::new(attachment));
            return Ok(None);
        }
        if let Some(ip) = attachment.lost.first().copied() {
            let attachment = Box::new(self.holder.id.clone());
            return Err(Refusal::Lost { attachment, ip, now: NotHeldReason::Taken });
        }
        let mut unchanged = vec![Guard::Unchanged(entry.key.clone(), entry.revision)];
        let is_recorded = self.is_recorded(entry);
        let witness = self.recorded.witness.as_ref().filter(|_| !is_recorded);
        if !is_recorded {
            // The store may have lost a DEL, and others may hold these addresses by now.
            unchanged.push(no_recovery());
            unchanged.extend(witness.map(Witness::guard));
        }
        // It is written again, because a DEL without an answer may still take effect. It would free what this ADD
        // confirms; with the new revision, it fails.
        attachment.closed = self.closed(attachment.closed, now);
        let mut then = Reads::default();
        then.write(Op::Put(entry.key.clone(), lease::write(&attachment)));
        let addresses = attachment.addresses.iter().map(|assigned| assigned.address.addr());
        let leases = addresses.map(|ip| then.entry(keys::lease(&attachment.vrf, ip))).collect();
        let mut otherwise = Reads::default();
        let (own, recovery) = (otherwise.entry(entry.key.clone()), otherwise.entry(keys::recovery()));
        let witness = witness.map(|witness| otherwise.entry(keys::attachment(&witness.id)));
        let txn = Txn::new(unchanged, then.into_operations(), otherwise.into_operations())?;
        let failure = AfterFailure { own, recovery, witness, slots: Vec::new(), reservation: None };
        self.pending = Pending::Verify { attachment: Box::new(attachment), leases, failure };
        Ok(Some(Step::Commit(txn)))
    }

    /// A repeated ADD (invariant 2) gets the same addresses if it still holds every one of them.
    pub(super) fn verified(
        &self,
        attachment: Attachment,
        leases: &[Read<OneEntry>],
        outcome: &Outcome,
    ) -> Result<Allocation, Refusal> {
        let leases = still_held(&self.holder.id, &attachment, leases, Answers(&outcome.branch.responses))?;
        let assigned: Vec<IpNet> = attachment.addresses.iter().map(|assigned| assigned.address).collect();
        for slot in &self.slots {
            if let Some(asked) = slot.requested()
                && !assigned.iter().any(|net| net.addr() == asked)
            {
                let attachment = Box::new(self.holder.id.clone());
                return Err(Refusal::AlreadyHasOther { attachment, asked, has: assigned });
            }
        }
        Ok(Allocation {
            attachment,
            leases,
            revision: outcome.at,
            repeated: true,
            before_cooldown_ended: Vec::new(),
            taken_over: Vec::new(),
            reused: Vec::new(),
            given_up: Vec::new(),
            foreign: Vec::new(),
        })
    }

    pub(super) fn on_response(
        &mut self,
        read: impl IntoIterator<Item = (usize, SlotReads)>,
        answers: Answers<'_>,
        now: Timestamp,
    ) {
        let context = DecisionContext { own: &self.holder, policy: &self.policy, checks: &self.checks, now };
        for (i, read) in read {
            if let Some(slot) = self.slots.get_mut(i) {
                slot.on_response(read, answers, &context);
            }
        }
    }
}

/// The index of the attempt that was committed, with its branch, or else the branch with the reads.
pub(super) fn committed(attempts: usize, outcome: &Outcome) -> Result<(usize, &Branch), &Branch> {
    let mut branch = &outcome.branch;
    for nth in 0..attempts {
        if branch.succeeded {
            return Ok((nth, branch));
        }
        match branch.responses.as_slice() {
            [OpResponse::Branch(inner)] => branch = inner,
            _ => break,
        }
    }
    Err(branch)
}
