//! The steps of an ADD: the next transaction, or the refusal.

use jiff::Timestamp;

use super::pending::{AfterFailure, Pending};
use super::{Add, Allocation};
use crate::cause::Cause;
use crate::ipam::decide::amend::Amendment;
use crate::ipam::decide::attempt::Attempt;
use crate::ipam::decide::reads::{Answers, Reads};
use crate::ipam::decide::reservation_state::CurrentHolder;
use crate::ipam::decide::slot::Slot;
use crate::ipam::decide::{Decide, Step, within_rounds};
use crate::ipam::keys;
use crate::ipam::lease::Holder;
use crate::ipam::recovery::Witness;
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::{Owner, OwnerError};
use crate::store::{Guard, Op, Outcome, Txn};

impl Decide for Add {
    type Decision = Allocation;

    fn start(&mut self, now: Timestamp) -> Step<Allocation> {
        self.propose(now).unwrap_or_else(Step::Refused)
    }

    fn next(&mut self, outcome: &Outcome, now: Timestamp) -> Step<Allocation> {
        self.rounds += 1;
        let sign = self.sign(outcome);
        let step = match sign {
            Some(sign) => self.begin_recovery(&sign, outcome, now),
            None => self.advance(outcome, now),
        };
        within_rounds(self.rounds, step.unwrap_or_else(Step::Refused))
    }

    fn unanswered(&mut self, now: Timestamp) -> Step<Allocation> {
        // These writes don't concern this attachment.
        self.in_doubt |= !matches!(self.pending, Pending::Amend | Pending::RecordForeign);
        if let Some(refusal) = self.recovering() {
            return Step::Refused(refusal);
        }
        self.propose(now).unwrap_or_else(Step::Refused)
    }
}

impl Add {
    fn advance(&mut self, outcome: &Outcome, now: Timestamp) -> Result<Step<Allocation>, Refusal> {
        let answers = Answers(&outcome.branch.responses);
        match std::mem::take(&mut self.pending) {
            Pending::Nothing | Pending::Amend => self.propose(now),
            Pending::RecordForeign => {
                self.found_hosts.on_recorded(&outcome.branch.responses);
                self.propose(now)
            }
            Pending::Attempt { attempts, failure } => self.after_attempt(attempts, failure, outcome, now),
            Pending::Slot(slot, read) => {
                self.on_response([(slot, read)], answers, now);
                self.propose(now)
            }
            Pending::Entries { own, sandbox, reservation } => {
                self.after_entries(own, sandbox, reservation, answers, now)
            }
            Pending::PreviousLeases { slots, not_offered } => {
                self.reservation.iter_mut().for_each(|reservation| reservation.on_not_offered(&not_offered, answers));
                self.on_response(slots, answers, now);
                self.propose(now)
            }
            Pending::Verify { attachment, leases, .. } if outcome.branch.succeeded => {
                self.verified(*attachment, &leases, outcome).map(Step::Done)
            }
            Pending::Verify { failure, .. } => self.after_failure(failure, answers, now),
            Pending::BeginRecovery(recovery, written) => self.withdraw(recovery, written.map(|written| *written), now),
            Pending::Withdraw(recovery, mut release) => {
                let step = release.next(outcome, now);
                Ok(self.withdrawing(recovery, release, step))
            }
        }
    }

    /// The next transaction: an attempt if every slot has a candidate, else reads for a slot that has none.
    pub(super) fn propose(&mut self, now: Timestamp) -> Result<Step<Allocation>, Refusal> {
        if let Some(step) = self.read_entries()? {
            return Ok(step);
        }
        self.slots.iter_mut().for_each(|slot| slot.drop_delayed(now));
        if let Some(refusal) = self.final_refusal() {
            return self.refuse(refusal);
        }
        if let Some(holder) = self.current_holder() {
            return Err(holder.refusal(&self.holder.id.node));
        }
        if let Some(refusal) = self.slots.iter().find_map(Slot::unchecked_refusal) {
            return Err(with_shared_workload(&self.holder, refusal));
        }
        if let Some(owner) = self.unchecked_owner() {
            return Err(Refusal::OwnerUnproven { owner: Box::new(owner), why: Box::new(OwnerError::NotChecked) });
        }
        let without_candidate = self.slots.iter().position(|slot| !slot.has_candidate());
        match without_candidate {
            Some(slot) => {
                let mut reads = Reads::default();
                let read = self.slots[slot].reads(&self.policy.vrf, &mut reads);
                self.pending = Pending::Slot(slot, read);
                Ok(Step::Commit(Txn::read(reads.into_operations())?))
            }
            None => self.attempt(now),
        }
    }

    /// Reads the entries of the attachment, its owner and an earlier sandbox, unless both of the latter are known, and
    /// something new may be assigned.
    fn read_entries(&mut self) -> Result<Option<Step<Allocation>>, Refusal> {
        let unread = self.reservation.as_ref().filter(|reservation| reservation.is_unread());
        if self.sandbox.is_none() && unread.is_none() && self.refusal.is_none() {
            return Ok(None);
        }
        let mut reads = Reads::default();
        let own = reads.entry(keys::attachment(&self.holder.id));
        let sandbox = self.sandbox.as_ref().map(|earlier| reads.entry(keys::attachment(earlier)));
        let reservation = unread.map(|reservation| reservation.reads(&mut reads));
        self.pending = Pending::Entries { own, sandbox, reservation };
        Ok(Some(Step::Commit(Txn::read(reads.into_operations())?)))
    }

    /// Refuses, after writing what later calls should know.
    fn refuse(&mut self, refusal: Refusal) -> Result<Step<Allocation>, Refusal> {
        if self.found_hosts.has_new() {
            self.pending = Pending::RecordForeign;
            return Ok(Step::Commit(Txn::read(self.found_hosts.operations(&self.policy.vrf)?)?));
        }
        self.amend()?.map_or_else(|| Err(with_shared_workload(&self.holder, refusal)), Ok)
    }

    fn amend(&mut self) -> Result<Option<Step<Allocation>>, Refusal> {
        let mut amendments: Vec<Amendment> = self.slots.iter_mut().flat_map(Slot::take_amendments).collect();
        // Two slots of one set may have read the same lease. The next attempt of this ADD writes what does not fit.
        amendments.sort_by_key(Amendment::ip);
        amendments.dedup_by_key(|amendment| amendment.ip());
        let Some(txn) = Amendment::batches(&amendments).next() else { return Ok(None) };
        self.pending = Pending::Amend;
        Ok(Some(Step::Commit(txn?)))
    }

    pub(super) fn final_refusal(&self) -> Option<Refusal> {
        let holder = || self.current_holder().filter(|holder| holder.pending_check().is_none());
        let elsewhere = || holder().map(|holder| holder.refusal(&self.holder.id.node));
        let proxy = || self.found_hosts.proxy().cloned();
        proxy()
            .or_else(|| self.slots.iter().find_map(Slot::refusal))
            .or_else(elsewhere)
            .or_else(|| self.owner_refusal())
    }

    /// The owner that the requesting pod must belong to, to get the present candidates.
    pub(super) fn owner_to_check(&self) -> Option<Owner> {
        let of_slots = || self.slots.iter().find_map(Slot::owner_to_check);
        let of_reservation = self.reservation.as_ref().and_then(|reservation| reservation.owner_to_check(&self.holder));
        of_reservation.or_else(of_slots).cloned()
    }

    pub(super) fn unchecked_owner(&self) -> Option<Owner> {
        self.owner_to_check().filter(|_| self.checks.owner().is_none())
    }

    /// The refusal, if the requesting pod does not belong to the owner that it names.
    fn owner_refusal(&self) -> Option<Refusal> {
        let Some(Err(why)) = self.checks.owner() else { return None };
        let owner = Box::new(self.owner_to_check()?);
        Some(Refusal::OwnerUnproven { owner, why: Box::new(why.clone()) })
    }

    /// A pod of the owner that may still use an address that this ADD would give up.
    pub(super) fn current_holder(&self) -> Option<CurrentHolder<'_>> {
        self.reservation.as_ref()?.current_holder(&self.holder, &self.checks)
    }

    fn attempt(&mut self, now: Timestamp) -> Result<Step<Allocation>, Refusal> {
        let only_reads = self.probes.needs_reads(&self.slots);
        if !only_reads && let Some(to_probe) = self.probes.to_probe(&self.slots).first() {
            if self.probes.is_spent(&self.slots) {
                return self.refuse(self.found_hosts.none_silent());
            }
            return Err(to_probe.unprobed(Cause::new("it was not tried")));
        }
        let most = self.slots.iter().map(|slot| slot.candidates().count()).max().filter(|_| !only_reads);
        let attempts: Vec<Attempt> = (0..most.unwrap_or(0)).map(|nth| self.build_attempt(nth, now)).collect();
        let mut reads = Reads::default();
        let failure = AfterFailure {
            own: reads.entry(keys::attachment(&self.holder.id)),
            recovery: reads.entry(keys::recovery()),
            witness: self.recorded.witness.as_ref().map(|witness| reads.entry(keys::attachment(&witness.id))),
            slots: self
                .slots
                .iter_mut()
                .enumerate()
                .map(|(i, slot)| (i, slot.reads(&self.policy.vrf, &mut reads)))
                .collect(),
            reservation: self.reservation.as_ref().map(|reservation| reservation.reads(&mut reads)),
        };
        let (reads, guard) = (reads.into_operations(), self.own.guard(&self.holder.id));
        let txn = self.first_possible(&attempts, &guard, reads)?;
        self.pending = Pending::Attempt { attempts, failure };
        Ok(Step::Commit(txn))
    }

    /// Commits the first of these attempts whose guards hold, and records hosts without a lease with it; else reads.
    fn first_possible(&self, attempts: &[Attempt], own: &Guard, reads: Vec<Op>) -> Result<Txn, Refusal> {
        let Some((first, others)) = attempts.split_first() else { return Ok(Txn::read(reads)?) };
        let mut writes = first.writes(&self.definition)?;
        writes.extend(self.found_hosts.operations(&self.policy.vrf)?);
        let otherwise = match others {
            [] => reads,
            others => vec![Op::Txn(Box::new(self.first_possible(others, own, reads)?))],
        };
        let mut guards = first.guards(own);
        guards.extend(self.recorded.witness.as_ref().map(Witness::guard));
        Ok(Txn::new(guards, writes, otherwise)?)
    }
}

/// Names the workload in the refusal, if both pods belong to it: a rolling update may be waiting for itself.
fn with_shared_workload(own: &Holder, refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Held { ip, holder, since, why, .. } => {
            let same = holder.pod.namespace == own.pod.namespace && holder.workload == own.workload;
            Refusal::Held { ip, workload: own.workload.clone().filter(|_| same), holder, since, why }
        }
        other => other,
    }
}
