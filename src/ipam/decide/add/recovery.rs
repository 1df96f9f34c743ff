//! An ADD that notices that its store has lost writes. It releases what it got. No node assigns addresses until all
//! nodes have written back what runs on them.
//!
//! ```text
//!  an answer at a revision that this node has already seen ─► writes recovery/current ─► releases what it got ─► refused
//! ```
//!
//! An address from such a store may belong to a running pod whose lease was lost.
//!
//! Where revisions have no order, the answer tells nothing. There, a witness does ([`Witness`]), before anything is
//! assigned:
//!
//! ```text
//!  the witness is not as recorded ─► refused, with the attachment to examine ─┬─ lost ─► its caller begins a recovery
//!                                                                             └─ not lost ─► the next witness, again
//! ```

use jiff::Timestamp;

use super::answers::committed;
use super::pending::Pending;
use super::{Add, Allocation};
use crate::ipam::decide::{Decide, Release, Released, Step};
use crate::ipam::lease::{Attachment, Stored, Written};
use crate::ipam::name::AttachmentId;
use crate::ipam::recovery::{Begin, Recovery, Sign, Witness};
use crate::ipam::refusal::Refusal;
use crate::store::{Entry, Outcome};

/// The refusal of every ADD during a recovery.
pub(super) fn refusal(recovery: &Recovery) -> Refusal {
    Refusal::Recovering { sign: recovery.sign.clone(), since: recovery.since }
}

impl Add {
    /// A sign in this answer that the store has lost writes.
    pub(super) fn sign(&self, outcome: &Outcome) -> Option<Sign> {
        let wrote = match &self.pending {
            // A failed attempt only reads.
            Pending::Attempt { attempts, .. } => committed(attempts.len(), outcome).is_ok(),
            Pending::Verify { .. } => outcome.branch.succeeded,
            Pending::BeginRecovery(..) | Pending::Withdraw(..) => return None,
            Pending::Nothing
            | Pending::Slot(..)
            | Pending::Entries { .. }
            | Pending::PreviousLeases { .. }
            | Pending::Amend
            | Pending::RecordForeign => false,
        };
        Sign::behind(outcome.at, self.recorded.newest, wrote)
    }

    /// Records in the store that it has lost writes. What a repeated ADD confirmed is left alone.
    pub(super) fn begin_recovery(
        &mut self,
        sign: &Sign,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Result<Step<Allocation>, Refusal> {
        let written = match std::mem::take(&mut self.pending) {
            Pending::Attempt { mut attempts, .. } => {
                committed(attempts.len(), outcome).ok().map(|(nth, _)| attempts.swap_remove(nth))
            }
            _ => None,
        };
        let written = written.map(|attempt| Box::new(self.allocation(attempt, outcome.at).written()));
        let recovery = Recovery::new(sign.to_string(), Some(self.holder.id.node.clone()), now);
        let txn = Begin::new(recovery.clone()).txn()?;
        self.pending = Pending::BeginRecovery(recovery, written);
        Ok(Step::Commit(txn))
    }

    /// The refusal, if the store does not have the witness as its record. It depends on the examination of the record.
    pub(super) fn after_witness(&mut self, entry: Option<&Entry>, now: Timestamp) -> Option<Refusal> {
        let witness = self.recorded.witness.as_ref().filter(|witness| !witness.is_confirmed_by(entry))?;
        self.to_examine = Some(witness.id.clone());
        let sign = format!("the entry of {} is not the one that this node has recorded", witness.id);
        Some(Refusal::Recovering { sign, since: now })
    }

    /// After a refusal: the attachment on whose examination it depends. If the store has not lost it, name another
    /// witness and start again.
    pub fn to_examine(&self) -> Option<&AttachmentId> {
        self.to_examine.as_ref()
    }

    /// Continues with another witness, or without one.
    pub fn set_witness(&mut self, witness: Option<Witness>) {
        self.to_examine = None;
        self.recorded.witness = witness;
    }

    pub(super) fn withdraw(
        &mut self,
        recovery: Recovery,
        written: Option<Written>,
        now: Timestamp,
    ) -> Result<Step<Allocation>, Refusal> {
        let Some(written) = written else { return Err(refusal(&recovery)) };
        let (id, vrf) = (self.holder.id.clone(), self.policy.vrf.clone());
        let mut release = Box::new(Release::new(id, vrf, Some(written), self.in_doubt));
        let step = release.start(now);
        Ok(self.withdrawing(recovery, release, step))
    }

    pub(super) fn withdrawing(
        &mut self,
        recovery: Recovery,
        release: Box<Release>,
        step: Step<Released>,
    ) -> Step<Allocation> {
        match step {
            Step::Commit(txn) => {
                self.pending = Pending::Withdraw(recovery, release);
                Step::Commit(txn)
            }
            Step::Done(_) => Step::Refused(refusal(&recovery)),
            Step::Refused(refusal) => {
                // Its DEL releases the rest.
                self.in_doubt = true;
                Step::Refused(refusal)
            }
        }
    }

    /// The refusal, if this ADD was releasing what it got.
    pub(super) fn recovering(&self) -> Option<Refusal> {
        match &self.pending {
            Pending::BeginRecovery(recovery, _) | Pending::Withdraw(recovery, _) => Some(refusal(recovery)),
            _ => None,
        }
    }

    /// Whether the node's record confirms the addresses of this entry.
    pub(super) fn is_recorded(&self, own: &Entry) -> bool {
        let Stored::Known(Attachment { addresses, .. }) = Stored::read(&own.value) else { return false };
        let recorded = &self.recorded.addresses;
        !addresses.is_empty() && addresses.iter().all(|assigned| recorded.contains(&assigned.address.addr()))
    }
}
