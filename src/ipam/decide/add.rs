//! ADD: one commit that assigns every address of an attachment, or none.
//!
//! The first request already tries to commit: "if this attachment is unknown and these addresses are free, write
//! everything". Otherwise the same with a second attempt, otherwise it reads what made the guards fail. A repeated ADD
//! finds its attachment. One transaction then writes the attachment again and checks that it still holds every address.
//!
//! | waiting for ([`Pending`]) | its outcome | next |
//! |---|---|---|
//! | `Nothing` | | `Entries` with an owner or an earlier sandbox, or if it may only be repeated; else `Attempt` |
//! | `Entries` | the attachment has addresses | `Verify` |
//! | | it has none, and may only be repeated | refused |
//! | | the owner or the sandbox has addresses | `PreviousLeases` |
//! | | neither has any | `Attempt` |
//! | `PreviousLeases`, `Slot` | every slot has a candidate | `Attempt` |
//! | | a slot has none | `Slot` for that one |
//! | | a slot is refused | `RecordForeign` or `Amend` if there is something to write, else refused |
//! | | new addresses are probed, and a candidate was not read | `Attempt` that only reads |
//! | | a candidate was not probed | refused until it was ([`Add::to_probe`]) |
//! | `Attempt` | committed | done |
//! | | the attachment has addresses | `Verify` |
//! | | the owner's reservation has changed | `Entries` |
//! | | the witness is not as recorded | refused until it was examined ([`Add::to_examine`]) |
//! | | another guard failed | as after `Slot` |
//! | `Verify` | it still holds all of them | done |
//! | | it lost one, or another one is requested | refused |
//! | | its entry has changed | as after `Attempt` |
//! | `RecordForeign`, `Amend` | | refused, as before |
//! | any | the store is behind what this node has seen | `BeginRecovery` |
//! | `BeginRecovery` | | `Withdraw` if something was committed, else refused |
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

use jiff::Timestamp;

use self::pending::{OwnEntry, Pending};
use self::writes::definition;
use super::attempt::TakenOver;
use super::candidate::{Availability, Candidate};
use super::foreign::FoundHosts;
use super::probe_gate::{ProbeGate, ToProbe};
use super::reservation_state::{GivenUp, ReservationState, StickyPolicy};
use super::slot::Slot;
use crate::cause::Cause;
use crate::ipam::address::Span;
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::keys;
use crate::ipam::lease::{Attachment, Foreign, Holder, LAST_HOLDER_ANSWERS, Lease, PodRef, Written};
use crate::ipam::machine::JoinError;
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::range::Range;
use crate::ipam::recovery::Recorded;
use crate::ipam::refusal::Refusal;
use crate::ipam::request::AddressRequest;
use crate::ipam::reservation::OwnerError;
use crate::ipam::seed::Chances;
use crate::ipam::takeover::{GoneReason, HolderChecks, InUseReason, PendingCheck, Probe, ProbeResult};
use crate::store::{Key, Lookahead, Revision};

/// The most addresses of one attachment. With more, its largest transaction could exceed the limits of a store.
const MAX_ADDRESSES: usize = 20;

/// The most addresses that are probed at once for one range set.
const MAX_PROBED: usize = 2;

/// The most holders that are checked for one ADD.
const MAX_CHECKS: usize = 8;

/// The rules by which addresses are assigned.
#[derive(Clone, Debug)]
pub struct AllocationPolicy {
    /// The routing domain in which each address has at most one owner.
    pub vrf: Name,
    /// The cluster whose pods and owners the API server knows.
    pub cluster: ClusterIdentity,
    /// The cooldown of a released address, in seconds.
    pub cooldown: u64,
    /// Whether to refuse rather than assign an address during its cooldown.
    pub strict: bool,
    /// Whether the link is probed before an address is taken over.
    pub probe: Probe,
    /// Whether the link is probed before any new address is used.
    pub probe_new: bool,
    /// For whom assigned addresses are reserved.
    pub sticky: Option<StickyPolicy>,
    /// Addresses that host-local holds on this node, each with its file.
    pub host_local: BTreeMap<IpAddr, PathBuf>,
    /// How long an address must have been held, in seconds, before a request for any address may take it from a pod
    /// that is gone (`sweep.minAge`). With `None`, such a request takes none.
    pub min_age: Option<u64>,
    /// What an attempt reads in case its addresses are held (`StoreConfig::lookahead`).
    pub lookahead: Lookahead,
}

/// The result of an ADD.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    /// The attachment, as stored.
    pub attachment: Attachment,
    /// Its leases, as stored.
    pub leases: Vec<(IpAddr, Lease)>,
    /// The revision at which they were written. For a repeated ADD, the revision of the attachment.
    pub revision: Revision,
    /// Whether the attachment already held them.
    pub repeated: bool,
    /// Addresses that were assigned before their cooldown ended, because no other was free.
    pub before_cooldown_ended: Vec<IpAddr>,
    /// Addresses that were taken over from other holders.
    pub taken_over: Vec<TakenOver>,
    /// Addresses that were reserved for its owner and were not requested.
    pub reused: Vec<IpAddr>,
    /// Addresses of its owner that this pod did not get.
    pub given_up: Vec<GivenUp>,
    /// Addresses that this ADD recorded as used by hosts without a lease.
    pub foreign: Vec<(IpAddr, Foreign)>,
}

/// The state machine of an ADD.
#[derive(Clone, Debug)]
pub struct Add {
    holder: Holder,
    policy: AllocationPolicy,
    slots: Vec<Slot>,
    reservation: Option<ReservationState>,
    /// The attachment of an earlier sandbox of the pod, until it is read.
    sandbox: Option<AttachmentId>,
    definition: (Key, Vec<u8>),
    /// Why this ADD may assign nothing new.
    refusal: Option<Refusal>,
    /// The entry under the attachment's own key, if the ADD can continue with it.
    own: OwnEntry,
    /// Whether an earlier ADD of this attachment or a transaction of this one may still take effect, with no DEL in
    /// between.
    in_doubt: bool,
    recorded: Recorded,
    /// A witness that the store does not have as recorded.
    to_examine: Option<AttachmentId>,
    checks: HolderChecks,
    probes: ProbeGate,
    found_hosts: FoundHosts,
    pending: Pending,
    rounds: u32,
}

impl Allocation {
    /// What was written to the store, for the node's record.
    pub fn written(&self) -> Written {
        let Self { attachment, leases, revision, .. } = self.clone();
        Written { revision, attachment, leases }
    }
}

impl Add {
    /// An ADD of `holder`, with one request for each range set of its network.
    pub fn new(holder: Holder, mut policy: AllocationPolicy, requests: Vec<AddressRequest>) -> Result<Self, Refusal> {
        if policy.probe_new {
            // Without a lease, nothing would show that the last holder may still answer.
            policy.cooldown = policy.cooldown.max(LAST_HOLDER_ANSWERS);
            // All of them are probed, at once.
            policy.lookahead.alternatives = MAX_PROBED;
        }
        policy.lookahead = policy.lookahead.shared_by(requests.len());
        let key = keys::attachment(&holder.id);
        let definition = definition(&policy.vrf, &holder.id.network, &requests);
        let by_ranges = requests.iter().flat_map(|request| request.set.ranges()).flat_map(Range::reserved);
        let by_overrides = requests.iter().filter_map(|request| request.overrides.gateway).map(Span::single);
        let reserved: Vec<Span> = by_ranges.chain(by_overrides).collect();
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
            probes: ProbeGate::new(policy.probe, policy.probe_new),
            found_hosts: FoundHosts::default(),
            holder,
            policy,
            slots,
            reservation,
            sandbox: None,
            refusal: None,
            definition,
            own: OwnEntry::Absent,
            in_doubt: false,
            recorded: Recorded::default(),
            to_examine: None,
            checks,
            pending: Pending::Nothing,
            rounds: 0,
        })
    }

    /// After a refusal: the check on which it depends, by the API server or on this node. Record the result and start
    /// again.
    pub fn pending_check(&self) -> Option<PendingCheck> {
        if self.final_refusal().is_some() || self.checks.len() >= MAX_CHECKS {
            return None;
        }
        let of_slots = || self.slots.iter().find_map(Slot::holder_check).map(|check| check.pending.clone());
        let of_owner = || self.unchecked_owner().map(|owner| PendingCheck::Owner(Box::new(owner)));
        self.current_holder().and_then(|holder| holder.pending_check()).or_else(of_slots).or_else(of_owner)
    }

    /// Records the result of a check of a container.
    pub fn record_container(&mut self, id: AttachmentId, result: Result<GoneReason, InUseReason>) {
        self.checks.record_container(id, result);
        self.recheck_slots();
    }

    /// After a refusal: whether any address of a range would do, and none is free.
    pub fn lacks_room(&self) -> bool {
        self.slots.iter().any(Slot::lacks_room)
    }

    /// Searches the full ranges again, because something was released there.
    pub fn search_again(&mut self) {
        self.slots.iter_mut().for_each(Slot::search_again);
    }

    /// Records the result of a check of a pod.
    pub fn record_pod(&mut self, pod: PodRef, result: Result<GoneReason, InUseReason>) {
        self.checks.record_pod(pod, result);
        self.recheck_slots();
    }

    /// Records whether a holder's pod and the requesting pod belong to one virtual machine.
    pub fn record_join(&mut self, holder: PodRef, result: Result<(), JoinError>) {
        self.checks.record_join(holder, result);
        self.recheck_slots();
    }

    /// Records whether the requesting pod belongs to the owner that it names.
    pub fn record_owner(&mut self, result: Result<(), OwnerError>) {
        self.checks.record_owner(result);
    }

    fn recheck_slots(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.recheck(&self.holder, &self.checks));
    }

    /// After a refusal that depends on a probe: the addresses to probe, all at once. With their results, the same ADD
    /// starts again.
    pub fn to_probe(&self) -> Vec<IpAddr> {
        let has_candidates = self.slots.iter().all(Slot::has_candidate);
        let is_next = self.final_refusal().is_none() && has_candidates && !self.probes.is_spent(&self.slots);
        if is_next { self.probes.to_probe(&self.slots).iter().map(ToProbe::ip).collect() } else { Vec::new() }
    }

    /// Whether an address to probe is a new one, rather than one to be taken over.
    pub fn is_new(&self, ip: IpAddr) -> bool {
        let to_probe = self.probes.to_probe(&self.slots);
        to_probe.iter().any(|to_probe| matches!(to_probe, ToProbe::New(_)) && to_probe.ip() == ip)
    }

    /// The refusal, if there are new addresses to probe and the call can't wait for a probe.
    pub fn unprobed(&self, cause: Cause) -> Option<Refusal> {
        let to_probe = self.probes.to_probe(&self.slots);
        to_probe.iter().find(|to_probe| matches!(to_probe, ToProbe::New(_))).map(|to_probe| to_probe.unprobed(cause))
    }

    /// Records the result of a probe.
    pub fn record_probe(&mut self, ip: IpAddr, result: ProbeResult, now: Timestamp) {
        let refusal = match self.probes.to_probe(&self.slots).into_iter().find(|to_probe| to_probe.ip() == ip) {
            None => None,
            Some(ToProbe::Takeover(_, takeover)) => self.probes.record_takeover(ip, takeover, result),
            Some(ToProbe::New(candidate)) => {
                let candidate = candidate.clone();
                self.record_new(&candidate, result, now)
            }
        };
        if let Some(refusal) = refusal {
            self.slots.iter_mut().for_each(|slot| slot.refuse(ip, &refusal));
        }
    }

    /// The refusal, if the result forbids to use a new address.
    fn record_new(&mut self, candidate: &Candidate, result: ProbeResult, now: Timestamp) -> Option<Refusal> {
        let ip = candidate.ip;
        let (mac, ifname) = match result {
            ProbeResult::NotProbed(_) if let Some(refusal) = recorded_foreign(candidate, now) => return Some(refusal),
            ProbeResult::NoReply | ProbeResult::NotProbed(_) => {
                self.probes.clear(candidate);
                return None;
            }
            ProbeResult::Contended { mac, ifname } => {
                self.probes.count_answer();
                return Some(Refusal::ProbedByOther { ip, mac, ifname });
            }
            ProbeResult::Conflict { mac, ifname } => (mac, ifname),
        };
        self.probes.count_answer();
        match &candidate.availability {
            // The last holder may just be leaving, and a reservation must not be overwritten.
            Availability::Resting { may_answer: true, .. } | Availability::Reserved { .. } => {
                Some(Refusal::StillAnswers { ip, mac, ifname })
            }
            _ => {
                let AttachmentId { network, node, .. } = self.holder.id.clone();
                let foreign = Foreign { mac, network, node, answered: now };
                Some(self.found_hosts.record(&self.policy.vrf, candidate, foreign, &ifname, now))
            }
        }
    }

    /// Addresses that this ADD recorded as used by hosts without a lease.
    pub fn recorded_foreign(&self) -> &[(IpAddr, Foreign)] {
        self.found_hosts.recorded()
    }

    /// The same, after an ADD of this attachment without an answer. The attachment then carries a fence, which the DEL
    /// leaves in place. Otherwise that ADD could take effect after the DEL.
    #[must_use]
    pub fn after_add_in_doubt(self) -> Self {
        Self { in_doubt: true, ..self }
    }

    /// The same, on a node with these records. A store that is behind them has lost writes.
    #[must_use]
    pub fn with_records(self, recorded: Recorded) -> Self {
        Self { recorded, ..self }
    }

    /// The same, where an earlier sandbox of the pod had this attachment. If any address or one of several would do,
    /// the new sandbox continues with the address of the earlier one. This is only a hint: the store decides.
    #[must_use]
    pub fn after_sandbox(self, earlier: AttachmentId) -> Self {
        Self { sandbox: Some(earlier), ..self }
    }

    /// The same, if nothing new may be assigned: a repeated ADD still gets what its attachment has, any other one is refused.
    #[must_use]
    pub fn only_repeated(self, refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), ..self }
    }

    /// Whether this ADD or an earlier one of this attachment may still take effect.
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }
}

/// The refusal of an address whose host has answered within the last hour, according to its lease.
fn recorded_foreign(candidate: &Candidate, now: Timestamp) -> Option<Refusal> {
    let Availability::Foreign { lease, .. } = &candidate.availability else { return None };
    let foreign = lease.foreign().filter(|_| lease.is_foreign_now(now))?;
    Some(Refusal::foreign(candidate.ip, foreign, lease.since))
}
