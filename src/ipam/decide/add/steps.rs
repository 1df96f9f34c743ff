//! The steps of an ADD: which transaction comes next.

use jiff::Timestamp;

use super::pending::{AfterFailure, Pending};
use super::{Add, Allocation};
use crate::cause::Cause;
use crate::ipam::decide::amend::Amendment;
use crate::ipam::decide::probe_gate::unprobed;
use crate::ipam::decide::reads::{Answers, Reads};
use crate::ipam::decide::reservation_state::CurrentHolder;
use crate::ipam::decide::slot::Slot;
use crate::ipam::decide::{Decide, Step, within_rounds};
use crate::ipam::keys;
use crate::ipam::lease::Holder;
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::{Owner, OwnerError};
use crate::store::{Op, Outcome, Txn};

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
        // What is written before a refusal is not of this attachment.
        self.in_doubt |= !matches!(self.pending, Pending::Amend);
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
            Pending::Attempt { attempts, failure } => self.after_attempt(attempts, failure, outcome, now),
            Pending::Look(slot, read) => {
                self.on_response([(slot, read)], answers, now);
                self.propose(now)
            }
            Pending::Before { own, sandbox, reservation } => self.after_before(own, sandbox, reservation, answers, now),
            Pending::Had { slots, not_offered } => {
                self.reservation.iter_mut().for_each(|reservation| reservation.on_not_offered(&not_offered, answers));
                self.on_response(slots, answers, now);
                self.propose(now)
            }
            Pending::Verify { attachment, leases, .. } if outcome.branch.succeeded => {
                self.verified(*attachment, &leases, outcome).map(Step::Done)
            }
            Pending::Verify { failure, .. } => self.after_failure(failure, answers, now),
            Pending::Begin(recovery, written) => self.withdraw(recovery, written.map(|written| *written), now),
            Pending::Withdraw(recovery, mut release) => {
                let step = release.next(outcome, now);
                Ok(self.withdrawing(recovery, release, step))
            }
        }
    }

    /// The next transaction: an attempt if there is something to try for every slot, else a look for those that have
    /// nothing.
    pub(super) fn propose(&mut self, now: Timestamp) -> Result<Step<Allocation>, Refusal> {
        if let Some(step) = self.look_before()? {
            return Ok(step);
        }
        self.slots.iter_mut().for_each(|slot| slot.drop_delayed(now));
        if let Some(refusal) = self.final_refusal() {
            return self.amend()?.map_or_else(|| Err(beside(&self.holder, refusal)), Ok);
        }
        if let Some(user) = self.current_holder() {
            return Err(user.refusal(&self.holder.id.node));
        }
        if let Some(refusal) = self.slots.iter().find_map(Slot::unchecked_refusal) {
            return Err(beside(&self.holder, refusal));
        }
        if let Some(owner) = self.unchecked_owner() {
            return Err(Refusal::OwnerUnproven { owner: Box::new(owner), why: Box::new(OwnerError::NotChecked) });
        }
        let lacking = self.slots.iter().position(|slot| slot.candidate(0).is_none());
        match lacking {
            // One slot at a time: counting a range may fill a transaction.
            Some(slot) => {
                let mut reads = Reads::default();
                let read = self.slots[slot].reads(&self.policy.vrf, &mut reads);
                self.pending = Pending::Look(slot, read);
                Ok(Step::Commit(Txn::read(reads.into_operations())?))
            }
            None => self.attempt(now),
        }
    }

    /// A look at what the attachment, its owner and an earlier sandbox have, if one of the latter is not known yet.
    fn look_before(&mut self) -> Result<Option<Step<Allocation>>, Refusal> {
        let unread = self.reservation.as_ref().filter(|reservation| reservation.is_unread());
        if self.sandbox.is_none() && unread.is_none() {
            return Ok(None);
        }
        let mut reads = Reads::default();
        let own = reads.entry(keys::attachment(&self.holder.id));
        let sandbox = self.sandbox.as_ref().map(|earlier| reads.entry(keys::attachment(earlier)));
        let reservation = unread.map(|reservation| reservation.reads(&mut reads));
        self.pending = Pending::Before { own, sandbox, reservation };
        Ok(Some(Step::Commit(Txn::read(reads.into_operations())?)))
    }

    /// What is to be written before a refusal, if there is anything.
    fn amend(&mut self) -> Result<Option<Step<Allocation>>, Refusal> {
        let mut amendments: Vec<Amendment> = self.slots.iter_mut().flat_map(Slot::take_amendments).collect();
        // Two slots of one set may have seen the same. The next try does what is beyond one transaction.
        amendments.sort_by_key(Amendment::ip);
        amendments.dedup_by_key(|amendment| amendment.ip());
        let Some(txn) = Amendment::batches(&amendments).next() else { return Ok(None) };
        self.pending = Pending::Amend;
        Ok(Some(Step::Commit(txn?)))
    }

    pub(super) fn final_refusal(&self) -> Option<Refusal> {
        let user = || self.current_holder().filter(|user| user.pending_check().is_none());
        let elsewhere = || user().map(|user| user.refusal(&self.holder.id.node));
        self.slots.iter().find_map(Slot::refusal).or_else(elsewhere).or_else(|| self.forged_owner())
    }

    /// The owner of which the pod that asks has to be, in order to get what is tried now.
    pub(super) fn owner_to_check(&self) -> Option<Owner> {
        let of_places = || self.slots.iter().find_map(Slot::owner_to_check);
        let of_reservation = self.reservation.as_ref().and_then(|reservation| reservation.owner_to_check(&self.holder));
        of_reservation.or_else(of_places).cloned()
    }

    pub(super) fn unchecked_owner(&self) -> Option<Owner> {
        self.owner_to_check().filter(|_| self.checks.owner().is_none())
    }

    /// The refusal if the pod that asks is not shown to be of the owner that it names.
    fn forged_owner(&self) -> Option<Refusal> {
        let Some(Err(why)) = self.checks.owner() else { return None };
        let owner = Box::new(self.owner_to_check()?);
        Some(Refusal::OwnerUnproven { owner, why: Box::new(why.clone()) })
    }

    /// A pod of the owner that may still use an address which this ADD would give up.
    pub(super) fn current_holder(&self) -> Option<CurrentHolder<'_>> {
        self.reservation.as_ref()?.current_holder(&self.holder, &self.checks)
    }

    fn attempt(&mut self, now: Timestamp) -> Result<Step<Allocation>, Refusal> {
        if let Some((ip, takeover)) = self.probes.to_probe(&self.slots).first() {
            return Err(unprobed(*ip, takeover, Cause::new("it was not tried")));
        }
        let first = self.build_attempt(0, now);
        let has_second = self.slots.iter().any(|slot| slot.has_second());
        let second = has_second.then(|| self.build_attempt(1, now));
        let mut reads = Reads::default();
        let failure = AfterFailure {
            own: reads.entry(keys::attachment(&self.holder.id)),
            recovery: reads.entry(keys::recovery()),
            slots: self.slots.iter_mut().enumerate().map(|(i, p)| (i, p.reads(&self.policy.vrf, &mut reads))).collect(),
            reservation: self.reservation.as_ref().map(|reservation| reservation.reads(&mut reads)),
        };
        let (reads, guard) = (reads.into_operations(), self.own.guard(&self.holder.id));
        let otherwise = match &second {
            Some(second) => {
                vec![Op::Txn(Box::new(Txn::new(second.guards(&guard), second.writes(&self.definition)?, reads)?))]
            }
            None => reads,
        };
        let txn = Txn::new(first.guards(&guard), first.writes(&self.definition)?, otherwise)?;
        self.pending = Pending::Attempt { attempts: [Some(first), second].into_iter().flatten().collect(), failure };
        Ok(Step::Commit(txn))
    }
}

/// A refusal with what the pods of both sides have in common.
fn beside(own: &Holder, refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Held { ip, holder, since, why, .. } => {
            let same = holder.pod.namespace == own.pod.namespace && holder.workload == own.workload;
            Refusal::Held { ip, workload: own.workload.clone().filter(|_| same), holder, since, why }
        }
        other => other,
    }
}
