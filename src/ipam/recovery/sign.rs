//! Signs: what shows that a store has lost writes, and what does not.
//!
//! If the store counts its revisions:
//!
//! | the attachment's entry | its leases | result |
//! |---|---|---|
//! | of a lower revision than the record | | a sign |
//! | of the record's revision, or with all addresses | | in place |
//! | of a higher one, without some address, which is in `lost` | | changed: a take-over, a release, a sweep |
//! | of a higher one, and only a fence | | released: a DEL died before it removed its record |
//! | of a higher one, without some address, which is not in `lost` | | a sign: an old entry that was written again since |
//! | absent | one is in cooldown or reserved, after this attachment held it | released: a DEL died before it removed its record |
//! | absent | anything else | a sign |
//!
//! If its revisions have no order, an entry of another revision than the record's may be an older or a newer one. Then
//! its content decides:
//!
//! | the attachment's entry | its leases | result |
//! |---|---|---|
//! | with an address | that address is absent, or not held by this attachment | a sign: objects can be deleted or put back one by one |
//! | of the record's revision | | in place |
//! | of another ADD, whatever its addresses | | a sign: an earlier container had the same ID (podman restarts one under its ID) |
//! | with all addresses | | changed: written again since, by a repeated ADD or a sweep |
//! | without some address, which is in `lost` | | changed: a take-over, a release, a sweep |
//! | without some address, which is not in `lost` | | a sign |
//! | only a fence, or absent | one is in cooldown or reserved, after this attachment held it | released: a DEL died before it removed its record |
//! | only a fence, or absent | anything else | a sign: the fence may be the restored one |

use std::fmt;
use std::net::IpAddr;

use crate::ipam::lease::{Attachment, Holder, Lease, Stored, UnreadableValue, Written};
use crate::ipam::name::AttachmentId;
use crate::store::{Entry, Revision, RevisionOrder};

/// Something that only a lost write explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The store is behind a revision that this node has seen.
    Behind {
        /// The store's present revision.
        at: Revision,
        /// The revision that the node has seen.
        seen: Revision,
    },
    /// An attachment has no entry.
    Missing {
        /// The attachment.
        attachment: Box<AttachmentId>,
    },
    /// An attachment's entry is older than the node's record of it.
    Older {
        /// The attachment.
        attachment: Box<AttachmentId>,
        /// The revision of its entry.
        at: Revision,
        /// The revision in the record.
        seen: Revision,
    },
    /// An attachment's entry lacks an address without naming it as lost.
    Lacking {
        /// The attachment.
        attachment: Box<AttachmentId>,
        /// The address.
        ip: IpAddr,
    },
    /// An attachment's entry has an address whose lease is not its own.
    WithoutLease {
        /// The attachment.
        attachment: Box<AttachmentId>,
        /// The address.
        ip: IpAddr,
    },
    /// An attachment's entry is of another ADD than the node's record of it.
    OtherAdd {
        /// The attachment.
        attachment: Box<AttachmentId>,
    },
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind { at, seen } => {
                write!(f, "the store is at revision {}, and was at revision {} before", at.0, seen.0)
            }
            Self::Missing { attachment } => write!(f, "{attachment} has no entry in the store, and was not released"),
            Self::Lacking { attachment, ip } => {
                write!(f, "the entry of {attachment} does not have {ip}, although nobody took it")
            }
            Self::WithoutLease { attachment, ip } => {
                write!(f, "the entry of {attachment} has {ip}, whose lease does not name it")
            }
            Self::OtherAdd { attachment } => {
                write!(f, "the entry of {attachment} is of another ADD than the node's record of it")
            }
            Self::Older { attachment, at, seen } => {
                write!(f, "the entry of {attachment} has revision {}, and had revision {} before", at.0, seen.0)
            }
        }
    }
}

impl Sign {
    /// A sign if the store answers at revision `at`, although the node has seen `seen`. A node notes what it sees only
    /// if the store counts its revisions.
    pub fn behind(at: Revision, seen: Option<Revision>, wrote: bool) -> Option<Self> {
        let seen = seen?;
        let order = RevisionOrder::Counted;
        // A write raises the revision, so its answer must be higher.
        let is_behind = if wrote { !order.is_older(seen, at) } else { order.is_older(at, seen) };
        is_behind.then_some(Self::Behind { at, seen })
    }
}

/// The state of an attachment in the store, compared with its record.
#[derive(Clone, Debug, PartialEq)]
pub enum EntryState {
    /// It has all addresses of its record.
    InPlace,
    /// It was written again since. If it lost addresses, then to somebody who left a trace. This is what it has.
    Changed(Box<Written>),
    /// It was released.
    Released,
    /// Its entry can't be read by this version.
    Unreadable(UnreadableValue),
    /// The store has lost it.
    Lost(Sign),
}

/// Compares a record with the attachment's entry and the leases of its addresses.
pub fn entry_state(
    order: RevisionOrder,
    id: &AttachmentId,
    written: &Written,
    entry: Option<&Entry>,
    leases: &[(IpAddr, Option<Entry>)],
) -> EntryState {
    let released_or = |sign: Sign| {
        let mut left = leases.iter().filter_map(|(_, lease)| lease.as_ref());
        if left.any(|lease| is_release_of(order, id, lease, written)) {
            EntryState::Released
        } else {
            EntryState::Lost(sign)
        }
    };
    let Some(entry) = entry else { return released_or(Sign::Missing { attachment: Box::new(id.clone()) }) };
    if order.is_older(entry.revision, written.revision) {
        let (at, seen) = (entry.revision, written.revision);
        return EntryState::Lost(Sign::Older { attachment: Box::new(id.clone()), at, seen });
    }
    let attachment = match Stored::<Attachment>::read(&entry.value) {
        Stored::Known(attachment) => attachment,
        Stored::Unreadable(why) => return EntryState::Unreadable(why),
    };
    let may_be_older = order == RevisionOrder::Unordered && entry.revision != written.revision;
    if may_be_older && !attachment.is_only_closed() && !is_of_add(&attachment, written) {
        // It may have all addresses nevertheless, since a search and an owner start with the same ones.
        return EntryState::Lost(Sign::OtherAdd { attachment: Box::new(id.clone()) });
    }
    let has = |ip: IpAddr| attachment.addresses.iter().any(|assigned| assigned.address.addr() == ip);
    let missing = written.attachment.addresses.iter().map(|assigned| assigned.address.addr());
    let missing: Vec<IpAddr> = missing.filter(|ip| !has(*ip)).collect();
    let is_complete = missing.is_empty();
    if let Some(ip) = missing.first().copied() {
        let lacking = |ip| Sign::Lacking { attachment: Box::new(id.clone()), ip };
        if attachment.is_only_closed() {
            return if may_be_older { released_or(lacking(ip)) } else { EntryState::Released };
        }
        if let Some(ip) = missing.into_iter().find(|ip| !attachment.lost.contains(ip)) {
            return EntryState::Lost(lacking(ip));
        }
    }
    if order == RevisionOrder::Unordered
        && let Some((ip, _)) = leases.iter().find(|(ip, lease)| has(*ip) && !may_be_held_by(id, lease.as_ref()))
    {
        return EntryState::Lost(Sign::WithoutLease { attachment: Box::new(id.clone()), ip: *ip });
    }
    if is_complete && !may_be_older {
        return EntryState::InPlace;
    }
    let leases = leases.iter().filter_map(|(ip, lease)| {
        let lease = Stored::<Lease>::read(&lease.as_ref()?.value).known()?;
        lease.is_held_by(id).then_some((*ip, lease))
    });
    let leases = leases.collect();
    EntryState::Changed(Box::new(Written { revision: entry.revision, attachment, leases }))
}

/// Whether the entry alone shows what became of the attachment. If not, its leases have to be read as well.
pub fn is_explained(order: RevisionOrder, id: &AttachmentId, written: &Written, entry: Option<&Entry>) -> bool {
    !matches!(entry_state(order, id, written, entry, &[]), EntryState::Lost(_))
}

/// Whether a lease names this attachment, as far as this version can read it.
fn may_be_held_by(id: &AttachmentId, lease: Option<&Entry>) -> bool {
    let Some(lease) = lease else { return false };
    Stored::<Lease>::read(&lease.value).known().is_none_or(|lease| lease.is_held_by(id))
}

/// Whether an entry is of the ADD of the record, and not of another one of the same container.
fn is_of_add(attachment: &Attachment, written: &Written) -> bool {
    let began = |attachment: &Attachment| attachment.holder.as_ref().map(|holder| holder.began.clone());
    began(attachment) == began(&written.attachment)
}

/// Whether a lease was left by a release of this attachment after the recorded write. A release by a later ADD of the
/// same attachment does not count, because the record is of the one before.
fn is_release_of(order: RevisionOrder, id: &AttachmentId, lease: &Entry, written: &Written) -> bool {
    let Stored::Known(known) = Stored::<Lease>::read(&lease.value) else { return false };
    let began = written.attachment.holder.as_ref().map(|holder| &holder.began);
    let is_last = |holder: &Holder| holder.id == *id && began == Some(&holder.began);
    let is_later = match order {
        RevisionOrder::Counted => order.is_older(written.revision, lease.revision),
        RevisionOrder::Unordered => lease.revision != written.revision,
    };
    is_later && !known.is_held() && known.holders.iter().any(is_last)
}
