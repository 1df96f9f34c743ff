//! One candidate for every slot of an ADD: the guards under which it is committed, and its writes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;

use super::candidate::{Availability, Candidate};
use super::no_recovery;
use super::reservation_state::ReservationChange;
use super::specific_address::Takeover;
use crate::ipam::keys;
use crate::ipam::lease::{self, Attachment, Holder, Lease};
use crate::ipam::takeover::GoneReason;
use crate::store::{Guard, Key, Op, Txn, TxnError};

/// An address that was taken over.
#[derive(Clone, Debug, PartialEq)]
pub struct TakenOver {
    /// The address that was taken over.
    pub ip: IpAddr,
    /// The holder that lost it.
    pub victim: Holder,
    /// Why the holder no longer needs it.
    pub reason: GoneReason,
}

#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) key: Key,
    pub(super) candidates: Vec<Candidate>,
    pub(super) attachment: Attachment,
    pub(super) leases: Vec<(IpAddr, Lease)>,
    pub(super) reservation: ReservationChange,
    pub(super) proposed_at: Timestamp,
}

impl Attempt {
    /// Nothing of this may have changed since it was read: the attachment's own key, the absence of a recovery, every
    /// lease, and the attachments of those who lose one.
    pub(super) fn guards(&self, own: &Guard) -> Vec<Guard> {
        let addresses = self.candidates.iter().map(|candidate| candidate.guard(&self.attachment.vrf));
        let holders = self.takeovers().map(|(_, takeover)| takeover.guard());
        let own = [own.clone(), no_recovery()];
        own.into_iter().chain(addresses).chain(holders).chain(self.reservation.guards.clone()).collect()
    }

    /// The attachment, its leases, what changes with them, and the definition of the network if it is new.
    pub(super) fn writes(&self, (key, value): &(Key, Vec<u8>)) -> Result<Vec<Op>, TxnError> {
        let mut writes = vec![Op::Put(self.key.clone(), lease::write(&self.attachment))];
        for (ip, lease) in &self.leases {
            writes.push(Op::Put(keys::lease(&self.attachment.vrf, *ip), lease::write(lease)));
        }
        writes.extend(self.candidates.iter().filter_map(|candidate| match &candidate.availability {
            Availability::Resting { rest, .. } => Some(Op::Delete(rest.clone())),
            _ => None,
        }));
        writes.extend(self.victim_writes());
        writes.extend(self.reservation.writes.clone());
        let unseen = Txn::new(vec![Guard::Absent(key.clone())], vec![Op::Put(key.clone(), value.clone())], Vec::new())?;
        writes.push(Op::Txn(Box::new(unseen)));
        Ok(writes)
    }

    /// The victims' attachments without these addresses. One victim may lose several.
    fn victim_writes(&self) -> Vec<Op> {
        let mut by_entry: BTreeMap<Key, (&Attachment, Vec<IpAddr>)> = BTreeMap::new();
        for (ip, takeover) in self.takeovers() {
            let in_vrf = |entry: &&Attachment| entry.vrf == self.attachment.vrf;
            if let Some(entry) = takeover.entry.as_ref().map(|(_, entry)| entry).filter(in_vrf) {
                let key = keys::attachment(&takeover.victim.id);
                by_entry.entry(key).or_insert((entry, Vec::new())).1.push(ip);
            }
        }
        let left = by_entry
            .into_iter()
            .filter_map(|(key, (entry, ips))| Some((key, entry.clone().without(&ips, self.proposed_at)?)));
        left.map(|(key, left)| Op::Put(key, lease::write(&left))).collect()
    }

    pub(super) fn taken_over(&self) -> Vec<TakenOver> {
        let taken_over = |(ip, takeover): (IpAddr, &Takeover)| {
            let Takeover { victim, reason, .. } = takeover.clone();
            TakenOver { ip, victim, reason }
        };
        self.takeovers().map(taken_over).collect()
    }

    fn takeovers(&self) -> impl Iterator<Item = (IpAddr, &Takeover)> {
        self.candidates.iter().filter_map(|candidate| Some((candidate.ip, candidate.takeover()?)))
    }
}
