//! A candidate for every slot of an ADD: what is written if all of them can be had, and under which guards.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;

use super::candidate::{Availability, Candidate};
use super::reservation_state::ReservationChange;
use super::specific_address::Takeover;
use crate::ipam::keys;
use crate::ipam::lease::{self, Attachment, Holder, Lease};
use crate::ipam::takeover::GoneReason;
use crate::store::{Guard, Key, Op, Txn, TxnError};

/// An address that passed from its holder.
#[derive(Clone, Debug, PartialEq)]
pub struct TakenOver {
    /// The address.
    pub ip: IpAddr,
    /// Who held it.
    pub victim: Holder,
    /// Why it does not need it any more.
    pub reason: GoneReason,
}

/// A candidate for every slot.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// The key of the attachment.
    pub(super) key: Key,
    pub(super) candidates: Vec<Candidate>,
    pub(super) attachment: Attachment,
    pub(super) leases: Vec<(IpAddr, Lease)>,
    /// What changes of the owner's reservation.
    pub(super) reservation: ReservationChange,
    /// When it was made.
    pub(super) at: Timestamp,
}

impl Attempt {
    /// What must be as it was seen: the attachment's own key, no recovery, every address, and the entries of those who
    /// give one up.
    pub(super) fn guards(&self, own: &Guard) -> Vec<Guard> {
        let addresses = self.candidates.iter().map(|candidate| candidate.guard(&self.attachment.vrf));
        let holders = self.takeovers().map(|(_, takeover)| takeover.guard());
        let own = [own.clone(), Guard::Absent(keys::recovery())];
        own.into_iter().chain(addresses).chain(holders).chain(self.reservation.guards.clone()).collect()
    }

    /// The attachment, its leases, and what changes with them; the definition of the network, if nobody has seen it.
    pub(super) fn writes(&self, (key, value): &(Key, Vec<u8>)) -> Result<Vec<Op>, TxnError> {
        let mut writes = vec![Op::Put(self.key.clone(), lease::write(&self.attachment))];
        for (ip, lease) in &self.leases {
            writes.push(Op::Put(keys::lease(&self.attachment.vrf, *ip), lease::write(lease)));
        }
        writes.extend(self.candidates.iter().filter_map(|candidate| match &candidate.availability {
            Availability::Resting { rest, .. } => Some(Op::Delete(rest.clone())),
            _ => None,
        }));
        writes.extend(self.without_taken_over());
        writes.extend(self.reservation.writes.clone());
        let unseen = Txn::new(vec![Guard::Absent(key.clone())], vec![Op::Put(key.clone(), value.clone())], Vec::new())?;
        writes.push(Op::Txn(Box::new(unseen)));
        Ok(writes)
    }

    /// The entries of those from whom addresses pass, without these addresses. One may give up several.
    fn without_taken_over(&self) -> Vec<Op> {
        let mut by_entry: BTreeMap<Key, (&Attachment, Vec<IpAddr>)> = BTreeMap::new();
        for (ip, takeover) in self.takeovers() {
            let in_vrf = |entry: &&Attachment| entry.vrf == self.attachment.vrf;
            if let Some(entry) = takeover.entry.as_ref().map(|(_, entry)| entry).filter(in_vrf) {
                let key = keys::attachment(&takeover.victim.id);
                by_entry.entry(key).or_insert((entry, Vec::new())).1.push(ip);
            }
        }
        let left =
            by_entry.into_iter().filter_map(|(key, (entry, ips))| Some((key, entry.clone().without(&ips, self.at)?)));
        left.map(|(key, left)| Op::Put(key, lease::write(&left))).collect()
    }

    /// What passes from others with it.
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
