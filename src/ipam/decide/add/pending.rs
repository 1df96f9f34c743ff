//! What an ADD waits for, with what it needs to go on from there.

use super::super::attempt::Attempt;
use super::super::reads::{OneEntry, Read};
use super::super::release::Release;
use super::super::slot::SlotReads;
use crate::ipam::keys;
use crate::ipam::lease::{Attachment, Written};
use crate::ipam::name::AttachmentId;
use crate::ipam::recovery::Recovery;
use crate::store::{Guard, Revision};

/// The transaction whose outcome is awaited.
#[derive(Clone, Debug, Default)]
pub(super) enum Pending {
    #[default]
    Nothing,
    /// What the attachment, an earlier sandbox and its owner have.
    Before { own: Read<OneEntry>, sandbox: Option<Read<OneEntry>>, reservation: Option<Vec<Read<OneEntry>>> },
    /// The leases of what owner and sandbox have, for these slots, and of what is not offered.
    Had { slots: Vec<(usize, SlotReads)>, not_offered: Vec<Read<OneEntry>> },
    /// Reads alone, for this slot.
    Look(usize, SlotReads),
    /// The writes of one or two attempts.
    Attempt { attempts: Vec<Attempt>, failure: AfterFailure },
    /// Whether the attachment still has all that its entry says.
    Verify { attachment: Box<Attachment>, leases: Vec<Read<OneEntry>>, failure: AfterFailure },
    /// What is written before a refusal.
    Amend,
    /// The beginning of a recovery, and what this ADD has been given by a store that has lost writes.
    Begin(Recovery, Option<Box<Written>>),
    /// The release of that.
    Withdraw(Recovery, Box<Release>),
}

/// What a transaction reads in place of its writes.
#[derive(Clone, Debug)]
pub(super) struct AfterFailure {
    pub(super) own: Read<OneEntry>,
    pub(super) recovery: Read<OneEntry>,
    /// What stood in the way at each slot.
    pub(super) slots: Vec<(usize, SlotReads)>,
    /// The reservation of the owner.
    pub(super) reservation: Option<Vec<Read<OneEntry>>>,
}

/// What is stored under the key of an attachment that has no addresses yet.
#[derive(Clone, Debug)]
pub(super) enum OwnEntry {
    Absent,
    /// The fence that a DEL has left there. It is carried on.
    Fence(Revision, Box<Attachment>),
}

impl OwnEntry {
    /// The guard under which the key may be written.
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
