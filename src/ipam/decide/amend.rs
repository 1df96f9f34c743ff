//! Amends values of others: records when a time in the future was first seen, or when a pod was first seen gone.
//!
//! An ADD writes amendments before it is refused, a sweep when it ends. Each has its own guard: if the value has
//! changed since it was read, it stays as it is.

use std::net::IpAddr;

use super::release::put_or_delete;
use crate::ipam::keys;
use crate::ipam::lease::{self, Attachment, Lease};
use crate::ipam::name::{AttachmentId, Name};
use crate::store::{Guard, Op, Revision, Txn, TxnError};

/// The most amendments of one transaction. Each takes up to three of its operations.
const MAX_AMENDMENTS: usize = 32;

/// A value to rewrite, and the revision on which the rewrite depends.
#[derive(Clone, Debug, PartialEq)]
pub struct Amendment {
    /// The revision at which the value was read.
    pub revision: Revision,
    /// The amended value.
    pub value: Amended,
}

/// What an amendment rewrites.
#[derive(Clone, Debug, PartialEq)]
pub enum Amended {
    /// A lease. Its holders, reservation and cooldown don't change.
    Lease {
        /// The vrf of the address.
        vrf: Name,
        /// The address of the lease.
        ip: IpAddr,
        /// The amended lease.
        lease: Box<Lease>,
    },
    /// An attachment.
    Attachment {
        /// Its attachment ID.
        id: AttachmentId,
        /// The amended entry.
        attachment: Box<Attachment>,
    },
}

impl Amendment {
    /// Amends a lease.
    pub fn for_lease(vrf: Name, ip: IpAddr, revision: Revision, lease: Lease) -> Self {
        Self { revision, value: Amended::Lease { vrf, ip, lease: Box::new(lease) } }
    }

    /// Transactions for all of these. Each amendment is written or not, independently. No two may rewrite the same
    /// value.
    pub fn batches(amendments: &[Self]) -> impl Iterator<Item = Result<Txn, TxnError>> {
        amendments.chunks(MAX_AMENDMENTS).map(|batch| {
            let tries = batch.iter().map(|amendment| Ok(Op::Txn(Box::new(amendment.txn()?))));
            Txn::read(tries.collect::<Result<_, TxnError>>()?)
        })
    }

    /// The address of an amended lease.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        match &self.value {
            Amended::Lease { ip, .. } => Some(*ip),
            Amended::Attachment { .. } => None,
        }
    }

    fn txn(&self) -> Result<Txn, TxnError> {
        let (key, then) = match &self.value {
            // The cooldown index must keep the revision of its lease, so both are written together.
            Amended::Lease { vrf, ip, lease } => {
                (keys::lease(vrf, *ip), put_or_delete(vrf, *ip, Some(lease.as_ref().clone())))
            }
            Amended::Attachment { id, attachment } => {
                let key = keys::attachment(id);
                (key.clone(), vec![Op::Put(key, lease::write(attachment.as_ref()))])
            }
        };
        Txn::new(vec![Guard::Unchanged(key, self.revision)], then, Vec::new())
    }
}
