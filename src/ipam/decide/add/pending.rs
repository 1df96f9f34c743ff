//! The transaction that an ADD waits for, and what it needs to interpret the outcome.

use super::super::attempt::Attempt;
use super::super::reads::{OneEntry, Read};
use super::super::release::Release;
use super::super::slot::SlotReads;
use crate::ipam::keys;
use crate::ipam::lease::{Attachment, Written};
use crate::ipam::name::AttachmentId;
use crate::ipam::recovery::Recovery;
use crate::store::{Guard, Revision};

#[derive(Clone, Debug, Default)]
pub(super) enum Pending {
    #[default]
    Nothing,
    /// Reads the entries of the attachment, an earlier sandbox and the owner.
    Entries { own: Read<OneEntry>, sandbox: Option<Read<OneEntry>>, reservation: Option<Vec<Read<OneEntry>>> },
    /// Reads the leases of addresses that the owner or the sandbox has: those that these slots try, and those that are
    /// not offered.
    PreviousLeases { slots: Vec<(usize, SlotReads)>, not_offered: Vec<Read<OneEntry>> },
    /// Reads for this slot alone.
    Slot(usize, SlotReads),
    /// Commits one of the attempts. Without any, it only reads what their guards would depend on.
    Attempt { attempts: Vec<Attempt>, failure: AfterFailure },
    /// Checks that the attachment still holds all addresses of its entry.
    Verify { attachment: Box<Attachment>, leases: Vec<Read<OneEntry>>, failure: AfterFailure },
    /// Writes corrections and observations of other leases, before a refusal.
    Amend,
    /// Records hosts without a lease, before a refusal.
    RecordForeign,
    /// Begins a recovery, because the store has lost writes. It may have committed this ADD before.
    BeginRecovery(Recovery, Option<Box<Written>>),
    /// Releases what was committed.
    Withdraw(Recovery, Box<Release>),
}

/// What a transaction reads if its guards fail.
#[derive(Clone, Debug)]
pub(super) struct AfterFailure {
    pub(super) own: Read<OneEntry>,
    pub(super) recovery: Read<OneEntry>,
    pub(super) witness: Option<Read<OneEntry>>,
    pub(super) slots: Vec<(usize, SlotReads)>,
    pub(super) reservation: Option<Vec<Read<OneEntry>>>,
}

/// The entry under the key of an attachment that has no addresses yet.
#[derive(Clone, Debug)]
pub(super) enum OwnEntry {
    Absent,
    /// A fence that a DEL left. The new entry keeps it.
    Fence(Revision, Box<Attachment>),
}

impl OwnEntry {
    pub(super) fn guard(&self, id: &AttachmentId) -> Guard {
        let key = keys::attachment(id);
        match self {
            Self::Absent => Guard::Absent(key),
            Self::Fence(revision, _) => Guard::Unchanged(key, *revision),
        }
    }

    pub(super) fn fence(&self) -> Option<&Attachment> {
        match self {
            Self::Absent => None,
            Self::Fence(_, fence) => Some(fence),
        }
    }
}
