//! An ADD whose store has lost writes: it gives back what it was given, and no node gives addresses until all have
//! written back what runs on them.
//!
//! ```text
//!  an answer of a revision that this node has seen passed ─► recovery/current is written ─► what was given is released
//!                                                                                         ─► refused
//! ```
//!
//! The address that such a store gives may be that of a running pod whose lease it has lost.

use jiff::Timestamp;

use super::answers::given;
use super::pending::Pending;
use super::{Add, Allocation};
use crate::ipam::decide::{Decide, Release, Released, Step};
use crate::ipam::lease::{Attachment, Stored, Written};
use crate::ipam::recovery::{Begin, Recovery, Sign};
use crate::ipam::refusal::Refusal;
use crate::store::{Entry, Outcome};

/// Why no address is given during a recovery.
pub(super) fn refusal(recovery: &Recovery) -> Refusal {
    Refusal::Recovering { sign: recovery.sign.clone(), since: recovery.since }
}

impl Add {
    /// Whether an answer shows that the store has lost writes.
    pub(super) fn sign(&self, outcome: &Outcome) -> Option<Sign> {
        let wrote = match &self.pending {
            // An attempt that fails only reads.
            Pending::Attempt { attempts, .. } => given(attempts.len(), outcome).is_ok(),
            Pending::Verify { .. } => outcome.branch.succeeded,
            Pending::Begin(..) | Pending::Withdraw(..) => return None,
            Pending::Nothing | Pending::Look(..) | Pending::Before { .. } | Pending::Had { .. } | Pending::Amend => {
                false
            }
        };
        Sign::behind(outcome.at, self.recorded.newest, wrote)
    }

    /// Writes that the store has lost writes. What a repeated ADD has confirmed is left alone.
    pub(super) fn begin_recovery(
        &mut self,
        sign: &Sign,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Result<Step<Allocation>, Refusal> {
        let written = match std::mem::take(&mut self.pending) {
            Pending::Attempt { mut attempts, .. } => {
                given(attempts.len(), outcome).ok().map(|nth| attempts.swap_remove(nth))
            }
            _ => None,
        };
        let written = written.map(|attempt| Box::new(self.allocation(attempt, outcome.at).written()));
        let recovery = Recovery::new(sign.to_string(), Some(self.holder.id.node.clone()), now);
        let txn = Begin::new(recovery.clone()).txn()?;
        self.pending = Pending::Begin(recovery, written);
        Ok(Step::Commit(txn))
    }

    /// Releases what was given.
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
                // Its DEL releases what is left.
                self.in_doubt = true;
                Step::Refused(refusal)
            }
        }
    }

    /// The refusal of an ADD that was giving back what it had.
    pub(super) fn recovering(&self) -> Option<Refusal> {
        match &self.pending {
            Pending::Begin(recovery, _) | Pending::Withdraw(recovery, _) => Some(refusal(recovery)),
            _ => None,
        }
    }

    /// Whether the node's record says that the attachment has what this entry of it says.
    pub(super) fn is_recorded(&self, own: &Entry) -> bool {
        let Stored::Known(Attachment { addresses, .. }) = Stored::read(&own.value) else { return false };
        let recorded = &self.recorded.addresses;
        !addresses.is_empty() && addresses.iter().all(|assigned| recorded.contains(&assigned.address.addr()))
    }
}
