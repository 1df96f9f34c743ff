//! Builds what an ADD writes: its attachment, a lease for each address, its network's definition.

use jiff::Timestamp;

use super::Add;
use crate::ipam::address::{Span, Spans};
use crate::ipam::decide::attempt::Attempt;
use crate::ipam::decide::candidate::{Availability, Candidate};
use crate::ipam::decide::reservation_state::ReservationState;
use crate::ipam::decide::slot::Slot;
use crate::ipam::keys;
use crate::ipam::lease::{self, AllocationKind, Attachment, DefinedRange, Definition, Lease, Unknown, VERSION};
use crate::ipam::name::Name;
use crate::ipam::range::Range;
use crate::ipam::request::AddressRequest;
use crate::ipam::seed::fnv1a_128;
use crate::store::Key;

impl Add {
    /// An attempt with the `nth` candidate of every slot, or the first of a slot that has no other.
    pub(super) fn build_attempt(&self, nth: usize, now: Timestamp) -> Attempt {
        let assign = |slot: &Slot| {
            let candidate = slot.candidates().nth(nth).or_else(|| slot.candidates().next()).cloned();
            candidate.map(|candidate| (slot.assigned(&candidate), self.lease(slot, &candidate, now), candidate))
        };
        let fence = self.own.fence();
        let mut attempt = Attempt {
            key: keys::attachment(&self.holder.id),
            candidates: Vec::new(),
            attachment: Attachment {
                v: VERSION,
                vrf: self.policy.vrf.clone(),
                addresses: Vec::new(),
                lost: Vec::new(),
                lost_since: None,
                holder: Some(self.holder.clone()),
                closed: self.closed(fence.and_then(|fence| fence.closed), now),
                sighted: fence.map(|fence| fence.sighted.clone()).unwrap_or_default(),
                unknown: fence.map(|fence| fence.unknown.clone()).unwrap_or_default(),
            },
            leases: Vec::new(),
            reservation: Default::default(),
            proposed_at: now,
        };
        for (assigned, lease, candidate) in self.slots.iter().filter_map(assign) {
            attempt.attachment.addresses.push(assigned);
            attempt.leases.push((candidate.ip, lease));
            attempt.candidates.push(candidate);
        }
        if let Some(reservation) = &self.reservation {
            let candidates = self.slots.iter().zip(&attempt.candidates);
            // What is reserved by hand is not the owner's, but its next pod finds it by the note.
            let (reserved, asked): (Vec<_>, Vec<_>) =
                candidates.partition(|(slot, candidate)| reservation.reserves(slot) && candidate.manual(now).is_none());
            let [reserved, asked] =
                [reserved, asked].map(|of| of.into_iter().map(|(_, candidate)| candidate.ip).collect());
            attempt.reservation = reservation.changes(reserved, asked, &self.policy);
        }
        attempt
    }

    /// The fence that the attachment carries.
    pub(super) fn closed(&self, before: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        if self.in_doubt { Some(now) } else { before }
    }

    fn lease(&self, slot: &Slot, candidate: &Candidate, now: Timestamp) -> Lease {
        let others = match &candidate.availability {
            Availability::Joining { lease, .. } => Some(lease),
            Availability::Takeover(takeover) => takeover.others.as_ref(),
            Availability::Unread
            | Availability::Free
            | Availability::Resting { .. }
            | Availability::Foreign { .. }
            | Availability::Reserved { .. } => None,
        };
        if let Some(lease) = others {
            let joined = lease.as_ref().clone().joined_by(self.holder.clone());
            return match &self.reservation {
                Some(reservation) => reservation.join(slot, joined),
                None => joined,
            };
        }
        let manual = candidate.manual(now);
        let reserves = |reservation: &&ReservationState| reservation.reserves(slot) && manual.is_none();
        let noted_for = self.reservation.as_ref().filter(|reservation| !reserves(reservation));
        let reservation = self.reservation.as_ref().filter(reserves);
        let (kind, on_release) = match reservation {
            Some(reservation) => (AllocationKind::Sticky, reservation.on_release()),
            None => slot.kind(candidate.ip, self.policy.cooldown),
        };
        let lease = Lease {
            owner: reservation.map(|reservation| reservation.owner().clone()),
            held_for: noted_for.and_then(ReservationState::owner_for_note),
            former_pods: candidate.takeover().map(|takeover| takeover.former_pods.clone()).unwrap_or_default(),
            ..Lease::new(kind, vec![self.holder.clone()], now, on_release)
        };
        match manual {
            Some(manual) => lease.kept_by_hand(manual.clone()),
            None => lease,
        }
    }
}

/// The excluded addresses of a range's subnet.
fn excluded(range: &Range) -> Option<String> {
    let subnet = Span::of_net(range.subnet);
    let excluded: Spans = range.exclude.iter().filter_map(|span| span.intersection(&subnet)).collect();
    (!excluded.is_empty()).then(|| excluded.to_string())
}

/// The key and value of the network's definition, as this ADD sees it.
pub(super) fn definition(vrf: &Name, network: &Name, requests: &[AddressRequest]) -> (Key, Vec<u8>) {
    let defined = |range: &Range| DefinedRange {
        subnet: range.subnet,
        dynamic: range.dynamic().to_string(),
        fixed: range.fixed.map(|window| window.to_string()),
        exclude: excluded(range),
        gateway: range.gateway,
        pools: range.pools.iter().map(|part| (part.pool.name.to_string(), part.addresses.to_string())).collect(),
    };
    let sets = requests.iter().map(|request| request.set.ranges().iter().map(defined).collect()).collect();
    let value = lease::write(&Definition { v: VERSION, sets, unknown: Unknown::new() });
    (keys::definition(vrf, network, fnv1a_128(&value)), value)
}
