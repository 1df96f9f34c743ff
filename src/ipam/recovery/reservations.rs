//! What stable identities had last, written back together with the leases that say it.
//!
//! ```text
//!  leases that go back ─► whose they are ─┬─ no entry ───────────────► as its ADD wrote it
//!                                         ├─ an entry of that owner ─► the reserved addresses that it lacks go first
//!                                         └─ any other ──────────────► left alone
//! ```
//!
//! Without the entry, the owner's next pod would not find its address, and might get a second one while the first is in
//! use. An entry that the store has is of the backup, or of an ADD since then. Nothing is taken from it, since it is
//! only a hint: each address belongs to whom its lease names. A requested address joins no other: the DEL of its pod
//! removes the note of it, with all that is beside it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::ipam::keys;
use crate::ipam::lease::{self, Lease, OnRelease, Stored, Written};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::reservation::{Owner, Reservation};
use crate::store::{Entry, Key, Op};

/// The owner in whose entry an address is, and whether it is reserved there or only noted.
fn owner_of(lease: &Lease) -> Option<(&Owner, bool)> {
    let is_reserved = matches!(lease.on_release, OnRelease::Keep(_));
    let owner = lease.owner.as_ref().filter(|_| is_reserved).map(|owner| (owner, true));
    owner.or_else(|| lease.held_for.as_ref().map(|owner| (owner, false)))
}

/// The keys under which owners find the addresses of an attachment.
pub(super) fn keys_of(id: &AttachmentId, written: &Written) -> Vec<Key> {
    by_key(id, &written.attachment.vrf, &written.leases).into_keys().collect()
}

fn by_key(id: &AttachmentId, vrf: &Name, leases: &[(IpAddr, Lease)]) -> BTreeMap<Key, Reservation> {
    let mut found = BTreeMap::new();
    for (ip, (owner, is_reserved)) in leases.iter().filter_map(|(ip, lease)| Some((*ip, owner_of(lease)?))) {
        let new = || Reservation::new(owner.clone(), Vec::new());
        let reservation = found.entry(keys::reservation(vrf, owner, id)).or_insert_with(new);
        if is_reserved { &mut reservation.addresses } else { &mut reservation.asked }.push(ip);
    }
    found
}

/// The writes beside leases that go back, for the entries that the store has of their owners.
pub(super) fn writes(
    id: &AttachmentId,
    vrf: &Name,
    leases: &[(IpAddr, Lease)],
    stored: &[(Key, Option<Entry>)],
) -> Vec<Op> {
    let lost = by_key(id, vrf, leases).into_iter();
    let written = lost.filter_map(|(key, lost)| {
        let (_, entry) = stored.iter().find(|(other, _)| *other == key)?;
        let reservation = match entry {
            None => lost,
            Some(entry) => joined(Stored::<Reservation>::read(&entry.value).known()?, &lost)?,
        };
        Some(Op::Put(key, lease::write(&reservation)))
    });
    written.collect()
}

/// An entry with the reserved addresses that it lacks; `None` if it lacks none, or is of another identity.
fn joined(stored: Reservation, lost: &Reservation) -> Option<Reservation> {
    let missing: Vec<IpAddr> = lost.addresses.iter().filter(|ip| !stored.addresses.contains(ip)).copied().collect();
    if missing.is_empty() || !stored.owner.is(&lost.owner) {
        return None;
    }
    let asked = stored.asked.into_iter().filter(|ip| !missing.contains(ip)).collect();
    let addresses = missing.into_iter().chain(stored.addresses).collect();
    Some(Reservation { addresses, asked, ..stored })
}
