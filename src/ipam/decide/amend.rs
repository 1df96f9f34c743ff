//! What is noted in a value that is not one's own: that a time in it lies ahead, or when a pod was first seen gone.
//!
//! An ADD writes such notes before it is refused, and a sweep when it ends. Each is written under the revision at which
//! the value was read, and for itself alone: what has changed since is left as it is.

use std::net::IpAddr;

use super::release::put_or_forget;
use crate::ipam::keys;
use crate::ipam::lease::{self, Attachment, Lease};
use crate::ipam::name::{AttachmentId, Name};
use crate::store::{Guard, Op, Revision, Txn, TxnError};

/// The most values that are amended at once: each takes up to three operations of a transaction.
const AMENDED: usize = 32;

/// A value that is written again with a note.
#[derive(Clone, Debug, PartialEq)]
pub struct Amendment {
    /// The revision of the value as it was read.
    pub revision: Revision,
    /// The value as it is to be.
    pub value: Amended,
}

/// What is amended.
#[derive(Clone, Debug, PartialEq)]
pub enum Amended {
    /// The lease of an address, which holds, reserves or rests as before.
    Lease {
        /// Its routing domain.
        vrf: Name,
        /// The address.
        ip: IpAddr,
        /// The lease.
        lease: Box<Lease>,
    },
    /// The entry of an attachment.
    Attachment {
        /// Which.
        id: AttachmentId,
        /// The entry.
        attachment: Box<Attachment>,
    },
}

impl Amendment {
    /// The amendment of a lease.
    pub fn of_lease(vrf: Name, ip: IpAddr, revision: Revision, lease: Lease) -> Self {
        Self { revision, value: Amended::Lease { vrf, ip, lease: Box::new(lease) } }
    }

    /// Transactions for all of these, each of which is written or not. No two may be of one value.
    pub fn batches(amendments: &[Self]) -> impl Iterator<Item = Result<Txn, TxnError>> {
        amendments.chunks(AMENDED).map(|batch| {
            let tries = batch.iter().map(|amendment| Ok(Op::Txn(Box::new(amendment.txn()?))));
            Txn::read(tries.collect::<Result<_, TxnError>>()?)
        })
    }

    /// The address, if it is about a lease.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        match &self.value {
            Amended::Lease { ip, .. } => Some(*ip),
            Amended::Attachment { .. } => None,
        }
    }

    fn txn(&self) -> Result<Txn, TxnError> {
        let (key, then) = match &self.value {
            // The entry of a rest is of the same revision as its lease, and so is written with it.
            Amended::Lease { vrf, ip, lease } => {
                (keys::lease(vrf, *ip), put_or_forget(vrf, *ip, Some(lease.as_ref().clone())))
            }
            Amended::Attachment { id, attachment } => {
                let key = keys::attachment(id);
                (key.clone(), vec![Op::Put(key, lease::write(attachment.as_ref()))])
            }
        };
        Txn::new(vec![Guard::Unchanged(key, self.revision)], then, Vec::new())
    }
}
