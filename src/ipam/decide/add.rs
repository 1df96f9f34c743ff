//! ADD: one commit that holds every address of an attachment, or none.
//!
//! The first request already tries to succeed: "this attachment is unknown and these addresses are free: write all",
//! else the same with a second attempt, else read what stood in the way. A repeated ADD finds its attachment, and in
//! one transaction writes that again and checks that every address is still its own.
//!
//! | awaited ([`Pending`]) | its outcome | next |
//! |---|---|---|
//! | `Nothing` | | `Before` for an owner or a later sandbox, else `Attempt` |
//! | `Before` | the attachment has addresses | `Verify` |
//! | | owner or sandbox have addresses | `Had` |
//! | | neither has any | `Attempt` |
//! | `Had`, `Look` | there is something to try at each slot | `Attempt` |
//! | | one slot has nothing to try | `Look` for that one |
//! | | a slot is refused | `Amend` if a note is to be written, else refused |
//! | `Attempt` | written | done |
//! | | the attachment has addresses | `Verify` |
//! | | the owner's reservation is another one by now | `Before` |
//! | | something else stood in the way | as after `Look` |
//! | `Verify` | all are still its own | done |
//! | | one is not, or another one is asked for | refused |
//! | | its entry is another one by now | as after `Attempt` |
//! | `Amend` | | refused, as before |
//! | any | the store is behind what this node has seen | `Begin` |
//! | `Begin` | | `Withdraw` if something was written, else refused |
//! | `Withdraw` | released | refused |
//! | any | no answer | in doubt from then on; as from `Nothing` |

mod answers;
mod pending;
mod recovery;
mod steps;
mod writes;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use self::pending::{OwnEntry, Pending};
use self::writes::definition;
use super::attempt::TakenOver;
use super::probe_gate::ProbeGate;
use super::reservation_state::{GivenUp, ReservationState, StickyPolicy};
use super::slot::Slot;
use crate::ipam::address::Span;
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::keys;
use crate::ipam::lease::{Attachment, Holder, Lease, PodRef, Written};
use crate::ipam::machine::JoinError;
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::range::Range;
use crate::ipam::recovery::Recorded;
use crate::ipam::refusal::Refusal;
use crate::ipam::request::AddressRequest;
use crate::ipam::reservation::OwnerError;
use crate::ipam::seed::Chances;
use crate::ipam::takeover::{GoneReason, HolderChecks, InUseReason, PendingCheck, Probe, ProbeResult};
use crate::store::{Key, Revision};

/// The most addresses of one attachment: with as many, even the largest transaction stays within what a store takes.
const MAX_ADDRESSES: usize = 20;

/// The most pods of holders that are asked about for one ADD.
const MAX_CHECKS: usize = 8;

/// Under which terms addresses are given.
#[derive(Clone, Debug)]
pub struct AllocationPolicy {
    /// The routing domain in which each has at most one owner.
    pub vrf: Name,
    /// The cluster of the pods and owners that the API server can speak for.
    pub cluster: ClusterIdentity,
    /// How long a released address rests, in seconds.
    pub cooldown: u64,
    /// Rather refuse than give an address that rests.
    pub strict: bool,
    /// Whether the wire is asked before an address passes from somebody else.
    pub probe: Probe,
    /// For whom addresses are kept; `None` if for nobody.
    pub sticky: Option<StickyPolicy>,
    /// Addresses that host-local still holds on this node, each with the file that says so.
    pub host_local: BTreeMap<IpAddr, PathBuf>,
    /// How long, in seconds, an address has been held at least that passes from a pod which is gone to whoever may have
    /// any (`sweep.minAge`); `None`: it does not.
    pub min_age: Option<u64>,
    /// How many addresses are read along with a first attempt, in case it fails (`StoreConfig::prefetch`).
    pub prefetch: u32,
}

/// What an ADD has got.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    /// The attachment as it is stored.
    pub attachment: Attachment,
    /// Its leases as they are stored.
    pub leases: Vec<(IpAddr, Lease)>,
    /// The revision that wrote them; of a repeated ADD, that of the attachment.
    pub revision: Revision,
    /// Whether the attachment had them before.
    pub repeated: bool,
    /// Addresses that were still in cooldown, since nothing else was free.
    pub before_cooldown_ended: Vec<IpAddr>,
    /// Addresses that passed from somebody else.
    pub taken_over: Vec<TakenOver>,
    /// Addresses that were reserved for its owner, and were not asked for by name.
    pub reused: Vec<IpAddr>,
    /// Addresses that its owner had, and that it did not get.
    pub given_up: Vec<GivenUp>,
}

/// The state machine of an ADD.
#[derive(Clone, Debug)]
pub struct Add {
    holder: Holder,
    policy: AllocationPolicy,
    slots: Vec<Slot>,
    reservation: Option<ReservationState>,
    /// What an earlier sandbox of the pod may hold, until that is read.
    sandbox: Option<AttachmentId>,
    definition: (Key, Vec<u8>),
    /// What is stored under the attachment's own key, as far as that lets the ADD go on.
    own: OwnEntry,
    /// Whether an ADD of this attachment, or a transaction of this one, may still be under way, without a DEL in
    /// between.
    in_doubt: bool,
    /// What the node's records say of the store, and of this attachment.
    recorded: Recorded,
    /// What was learnt of the pods that hold what is asked for.
    checks: HolderChecks,
    /// What the wire says of what is about to pass.
    probes: ProbeGate,
    pending: Pending,
    rounds: u32,
}

impl Allocation {
    /// What was written, for the node's record.
    pub fn written(&self) -> Written {
        let Self { attachment, leases, revision, .. } = self.clone();
        Written { revision, attachment, leases }
    }
}

impl Add {
    /// An ADD of `holder` with these requests, one per range set of its network.
    pub fn new(holder: Holder, policy: AllocationPolicy, requests: Vec<AddressRequest>) -> Result<Self, Refusal> {
        let key = keys::attachment(&holder.id);
        let definition = definition(&policy.vrf, &holder.id.network, &requests);
        let of_ranges = requests.iter().flat_map(|request| request.set.ranges()).flat_map(Range::reserved);
        let overriding = requests.iter().filter_map(|request| request.overrides.gateway).map(Span::single);
        let reserved: Vec<Span> = of_ranges.chain(overriding).collect();
        let mut slots = Vec::new();
        for (i, request) in requests.into_iter().enumerate() {
            let chances = Chances::of(&format!("{key}#{i}"), &holder.began);
            slots.extend(Slot::from_request(request, &holder.id, &reserved, &policy, &chances)?);
        }
        if slots.len() > MAX_ADDRESSES {
            return Err(Refusal::TooManyAddresses { asked: slots.len(), most: MAX_ADDRESSES });
        }
        let reservation = policy.sticky.clone().map(|sticky| ReservationState::new(sticky, &holder, &policy));
        let checks = HolderChecks::new(policy.cluster.clone());
        Ok(Self {
            probes: ProbeGate::new(policy.probe),
            holder,
            policy,
            slots,
            reservation,
            sandbox: None,
            definition,
            own: OwnEntry::Absent,
            in_doubt: false,
            recorded: Recorded::default(),
            checks,
            pending: Pending::Nothing,
            rounds: 0,
        })
    }

    /// After a refusal: what is to be checked, by the API server or on this node, if the refusal hangs on that. With
    /// the result the same ADD goes on from its start.
    pub fn pending_check(&self) -> Option<PendingCheck> {
        if self.final_refusal().is_some() || self.checks.len() >= MAX_CHECKS {
            return None;
        }
        let of_places = || self.slots.iter().find_map(Slot::holder_check).map(|check| check.pending.clone());
        let of_owner = || self.unchecked_owner().map(|owner| PendingCheck::Owner(Box::new(owner)));
        self.current_holder().and_then(|user| user.pending_check()).or_else(of_places).or_else(of_owner)
    }

    /// Records what the check of a container has shown.
    pub fn record_container(&mut self, id: AttachmentId, result: Result<GoneReason, InUseReason>) {
        self.checks.record_container(id, result);
        self.recheck_slots();
    }

    /// After a refusal: whether a range from which any address would do has none.
    pub fn lacks_room(&self) -> bool {
        self.slots.iter().any(Slot::lacks_room)
    }

    /// Begins to search again in ranges that had no room, since something was released there.
    pub fn search_again(&mut self) {
        self.slots.iter_mut().for_each(Slot::search_again);
    }

    /// Records what the check of a pod has shown.
    pub fn record_pod(&mut self, pod: PodRef, result: Result<GoneReason, InUseReason>) {
        self.checks.record_pod(pod, result);
        self.recheck_slots();
    }

    /// Records whether the pod of a holder and the one that asks are of one virtual machine.
    pub fn record_join(&mut self, holder: PodRef, result: Result<(), JoinError>) {
        self.checks.record_join(holder, result);
        self.recheck_slots();
    }

    /// Records whether the pod that asks is one of the owner that it names.
    pub fn record_owner(&mut self, result: Result<(), OwnerError>) {
        self.checks.record_owner(result);
    }

    fn recheck_slots(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.recheck(&self.holder, &self.checks));
    }

    /// After a refusal: the addresses to probe, if the refusal hangs on that. With the result for one of them the same
    /// ADD goes on from its start.
    pub fn to_probe(&self) -> Vec<IpAddr> {
        let is_next = self.final_refusal().is_none() && self.slots.iter().all(|slot| slot.candidate(0).is_some());
        let to_probe = self.probes.to_probe(&self.slots).into_iter().map(|(ip, _)| ip);
        to_probe.filter(|_| is_next).collect()
    }

    /// Records the result of a probe.
    pub fn record_probe(&mut self, ip: IpAddr, result: ProbeResult) {
        let to_probe = self.probes.to_probe(&self.slots);
        let Some(takeover) = to_probe.into_iter().find(|(other, _)| *other == ip).map(|(_, takeover)| takeover) else {
            return;
        };
        if let Some(refusal) = self.probes.record(ip, takeover, result) {
            self.slots.iter_mut().for_each(|slot| slot.refuse(ip, &refusal));
        }
    }

    /// The same, after an ADD of this attachment that was never answered: a fence is noted in the attachment, which the
    /// DEL will leave standing. Otherwise that ADD could still take effect after the DEL.
    #[must_use]
    pub fn after_add_in_doubt(self) -> Self {
        Self { in_doubt: true, ..self }
    }

    /// The same, where the node's records say this: a store that is behind them has lost writes.
    #[must_use]
    pub fn with_records(self, recorded: Recorded) -> Self {
        Self { recorded, ..self }
    }

    /// The same, where an earlier sandbox of the pod had this attachment. What it holds goes on to this one, wherever
    /// any address or one of several is asked for. What is said here is not relied on.
    #[must_use]
    pub fn after_sandbox(self, earlier: AttachmentId) -> Self {
        Self { sandbox: Some(earlier), ..self }
    }

    /// Whether an ADD of this attachment, this one or an earlier one, may still be under way.
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }
}
