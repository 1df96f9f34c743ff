//! The witness of an ADD: an attachment of its node that the store must still have.
//!
//! Where revisions have no order, no answer shows that the store is behind. So the ADD reads the entry of the node's newest
//! record along with its transaction. A store that has lost anything of this node has usually lost that one. If the entry
//! is another one, the ADD assigns nothing. Its caller compares record and store ([`super::Examine`]), and begins a
//! recovery or continues with the next newest record. In the usual case, this costs no request.
//!
//! The first witness of a repeated ADD is its own earlier record: without its entry, it would be a new ADD, and with an
//! older one, it would confirm what another container with the same ID had.

use crate::ipam::keys;
use crate::ipam::name::AttachmentId;
use crate::store::{Entry, Guard, Revision};

/// A recorded attachment that the store must still have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The attachment.
    pub id: AttachmentId,
    /// The revision of its entry, according to its record.
    pub revision: Revision,
}

impl Witness {
    /// The guard of the transaction. Its entry may change before the commit, by its own DEL or a take-over.
    pub(in crate::ipam) fn guard(&self) -> Guard {
        Guard::WasUnchanged(keys::attachment(&self.id), self.revision)
    }

    /// Whether the store has its entry as recorded.
    pub(in crate::ipam) fn is_confirmed_by(&self, entry: Option<&Entry>) -> bool {
        entry.is_some_and(|entry| entry.revision == self.revision)
    }
}
