//! What an ADD would write: its attachment, a lease for each address, its network's definition.

use jiff::Timestamp;

use super::Add;
use crate::ipam::decide::choice::Choice;
use crate::ipam::decide::keep::Keeping;
use crate::ipam::decide::place::Place;
use crate::ipam::decide::seek::{Candidate, Standing};
use crate::ipam::keys;
use crate::ipam::lease::{self, Attachment, DefinedRange, Definition, Kind, Lease, Unknown, VERSION};
use crate::ipam::name::Name;
use crate::ipam::range::Range;
use crate::ipam::request::AddressRequest;
use crate::ipam::seed::fnv1a_128;
use crate::store::Key;

impl Add {
    /// A choice of one candidate for every place: the `nth`, or the first where there is no other.
    pub(super) fn choice(&self, nth: usize, now: Timestamp) -> Choice {
        let of_place = |place: &Place| {
            let candidate = place.candidate(nth).or_else(|| place.candidate(0)).cloned();
            candidate.map(|candidate| (place.assigned(&candidate), self.lease(place, &candidate, now), candidate))
        };
        let fence = self.own.fence();
        let mut choice = Choice {
            key: keys::attachment(&self.holder.id),
            candidates: Vec::new(),
            attachment: Attachment {
                v: VERSION,
                vrf: self.terms.vrf.clone(),
                addresses: Vec::new(),
                lost: Vec::new(),
                lost_since: None,
                holder: Some(self.holder.clone()),
                closed: self.closed(fence.and_then(|fence| fence.closed), now),
                sighted: fence.map(|fence| fence.sighted.clone()).unwrap_or_default(),
                unknown: fence.map(|fence| fence.unknown.clone()).unwrap_or_default(),
            },
            leases: Vec::new(),
            reserved: Default::default(),
            at: now,
        };
        for (assigned, lease, candidate) in self.places.iter().filter_map(of_place) {
            choice.attachment.addresses.push(assigned);
            choice.leases.push((candidate.ip, lease));
            choice.candidates.push(candidate);
        }
        if let Some(keeping) = &self.keeping {
            let given = self.places.iter().zip(choice.candidates.iter().map(|candidate| candidate.ip));
            let (kept, asked): (Vec<_>, Vec<_>) = given.partition(|(place, _)| keeping.keeps(place));
            let [kept, asked] = [kept, asked].map(|given| given.into_iter().map(|(_, ip)| ip).collect());
            choice.reserved = keeping.changes(kept, asked, &self.terms);
        }
        choice
    }

    /// The fence that the attachment notes.
    pub(super) fn closed(&self, before: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        if self.unsettled { Some(now) } else { before }
    }

    fn lease(&self, place: &Place, candidate: &Candidate, now: Timestamp) -> Lease {
        let others = match &candidate.standing {
            Standing::Joining { lease, .. } => Some(lease),
            Standing::Takeover(takeover) => takeover.others.as_ref(),
            Standing::Unknown | Standing::Resting { .. } | Standing::Reserved(_) => None,
        };
        if let Some(lease) = others {
            let joined = lease.as_ref().clone().joined_by(self.holder.clone());
            return match &self.keeping {
                Some(keeping) => keeping.joined(place, joined),
                None => joined,
            };
        }
        let asker = self.keeping.as_ref().filter(|keeping| !keeping.keeps(place));
        let keeping = self.keeping.as_ref().filter(|keeping| keeping.keeps(place));
        let (kind, on_release) = match keeping {
            Some(keeping) => (Kind::Sticky, keeping.on_release()),
            None => place.kind(candidate.ip, self.terms.cooldown),
        };
        Lease {
            v: VERSION,
            kind,
            holders: vec![self.holder.clone()],
            since: now,
            on_release,
            rest: None,
            owner: keeping.map(|keeping| keeping.owner().clone()),
            held_for: asker.and_then(Keeping::asker),
            unused: None,
            seen_gone: None,
            sighted: Vec::new(),
            former_pods: candidate.takeover().map(|takeover| takeover.former_pods.clone()).unwrap_or_default(),
            unknown: Unknown::new(),
        }
    }
}

/// The key and the value of the network's definition, as this ADD sees it.
pub(super) fn definition(vrf: &Name, network: &Name, requests: &[AddressRequest]) -> (Key, Vec<u8>) {
    let defined = |range: &Range| DefinedRange {
        subnet: range.subnet,
        dynamic: range.dynamic().to_string(),
        fixed: range.fixed.map(|window| window.to_string()),
        gateway: range.gateway,
    };
    let sets = requests.iter().map(|request| request.set.ranges().iter().map(defined).collect()).collect();
    let value = lease::write(&Definition { v: VERSION, sets, unknown: Unknown::new() });
    (keys::definition(vrf, network, fnv1a_128(&value)), value)
}
