//! Decides whether one specific address can be assigned: it is free, in cooldown, or its holder may lose it.
//!
//! ```text
//!  Ready ──► tried ──► the transaction failed and read the lease
//!    ▲                   │ free or in cooldown ─────────────────────────────────────────────► Ready
//!    │                   │ held ─► decision ─┬─ take over ─► Unread ─► the holder's entry ──► Ready
//!    │                   │                   ├─ check ─────► CheckHolder, until the result is recorded
//!    │                   │                   └─ refuse ────► Refused
//!    └───────────────────┘
//! ```
//!
//! An address that may be assigned only to its owner ([`SpecificAddress::only_if_owned`]) is read before it is tried.
//!
//! If the lease changes in between, its revision changes too. Then the guard of the commit fails, and all of this
//! starts again.

mod held;

use std::net::IpAddr;

use jiff::Timestamp;

use super::AllocationPolicy;
use super::admission::Admission;
use super::amend::Amendment;
use super::candidate::{Availability, Candidate, cooldown_key};
use super::lease_survey::FoundLease;
use super::reads::{Answers, OneEntry, Read, Reads};
use crate::cause::Cause;
use crate::ipam::claim::ClaimError;
use crate::ipam::keys;
use crate::ipam::lease::{Attachment, Holder, Lease, ManualReservation, Stored, UnreadableValue};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::Owner;
use crate::ipam::takeover::{self, GoneReason, HolderChecks};
use crate::store::{Entry, Guard, Revision};

pub(super) struct DecisionContext<'a> {
    pub(super) own: &'a Holder,
    pub(super) policy: &'a AllocationPolicy,
    pub(super) checks: &'a HolderChecks,
    pub(super) now: Timestamp,
}

/// An address that an ADD takes from its holder.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Takeover {
    pub(super) revision: Revision,
    pub(super) victim: Holder,
    pub(super) reason: GoneReason,
    pub(super) lease: Box<Lease>,
    /// The lease without the victim, if others hold it too.
    pub(super) others: Option<Box<Lease>>,
    /// Whether neither the pod itself has it nor its owner.
    pub(super) is_new: bool,
    /// Pods of a virtual machine that held it before and left.
    pub(super) former_pods: Vec<String>,
    /// The victim's attachment, which the same commit rewrites; `None` if there is none.
    pub(super) entry: Option<(Revision, Attachment)>,
}

impl Takeover {
    /// The victim's attachment must not have changed since it was read.
    pub(super) fn guard(&self) -> Guard {
        let key = keys::attachment(&self.victim.id);
        match &self.entry {
            Some((revision, _)) => Guard::Unchanged(key, *revision),
            None => Guard::Absent(key),
        }
    }
}

/// A holder that must be checked before the address can be taken over from it, or shared with it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HolderCheck {
    ip: IpAddr,
    revision: Revision,
    pub(super) holder: Holder,
    since: Timestamp,
    lease: Lease,
    pub(super) pending: takeover::PendingCheck,
}

#[derive(Clone, Debug)]
enum AddressState {
    Ready,
    /// The lease or the victim's attachment must be read first.
    Unread,
    CheckHolder(Box<HolderCheck>),
    Refused(Refusal),
}

#[derive(Clone, Debug)]
pub(super) struct AddressReads {
    lease: Read<OneEntry>,
    /// The attachment of its holder, if the holder is known.
    holder: Option<(AttachmentId, Read<OneEntry>)>,
}

#[derive(Clone, Debug)]
pub(super) struct SpecificAddress {
    candidate: Candidate,
    state: AddressState,
    /// The attachment that probably holds it. It is read together with the lease, once.
    expected: Option<AttachmentId>,
    /// Whether only its present owner can get it.
    only_if_owned: bool,
    /// Whether the lease belongs to another owner, and the requester can't share it either.
    of_other_owner: bool,
    /// What the operator said of the lease, if it is reserved by hand, and not for the requester.
    kept_by_hand: Option<Box<ManualReservation>>,
    /// Whether the lease is neither reserved for the requester's owner nor held by a pod of that owner.
    not_of_owner: bool,
    /// Corrects a time in the future in its lease. It is written before the refusal, since the lease would never age
    /// otherwise.
    amendment: Option<Amendment>,
    /// The owner through which the requester gets the address. The API server must confirm that the pod belongs to it.
    from_owner: Option<Owner>,
}

impl SpecificAddress {
    /// An address whose lease was not read yet.
    pub(super) fn new(ip: IpAddr) -> Self {
        let (candidate, state) = (Candidate::unread(ip), AddressState::Ready);
        let (only_if_owned, of_other_owner, not_of_owner) = (false, false, false);
        let (expected, kept_by_hand, amendment, from_owner) = (None, None, None, None);
        Self {
            candidate,
            state,
            expected,
            only_if_owned,
            of_other_owner,
            kept_by_hand,
            not_of_owner,
            amendment,
            from_owner,
        }
    }

    /// An address that only its present owner can get.
    pub(super) fn only_if_owned(ip: IpAddr) -> Self {
        Self { state: AddressState::Unread, only_if_owned: true, ..Self::new(ip) }
    }

    /// An address that this attachment probably holds. The attachment is read together with the lease.
    pub(super) fn held_by(ip: IpAddr, holder: AttachmentId) -> Self {
        Self { state: AddressState::Unread, expected: Some(holder), ..Self::new(ip) }
    }

    pub(super) fn from_lease(found: FoundLease, context: &DecisionContext<'_>) -> Self {
        let mut address = Self::new(found.ip);
        address.on_lease(Some((found.revision, found.lease)), context);
        address
    }

    pub(super) fn ip(&self) -> IpAddr {
        self.candidate.ip
    }

    pub(super) fn candidate(&self) -> Option<&Candidate> {
        matches!(self.state, AddressState::Ready).then_some(&self.candidate)
    }

    pub(super) fn refusal(&self) -> Option<&Refusal> {
        match &self.state {
            AddressState::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.state = AddressState::Refused(refusal);
    }

    pub(super) fn holder_check(&self) -> Option<&HolderCheck> {
        match &self.state {
            AddressState::CheckHolder(check) => Some(check),
            _ => None,
        }
    }

    /// Whether another owner has it, and can't lose it.
    pub(super) fn is_lost_to_other_owner(&self) -> bool {
        self.of_other_owner && !matches!(self.state, AddressState::Ready | AddressState::Unread)
    }

    pub(super) fn is_not_of_owner(&self) -> bool {
        self.not_of_owner
    }

    /// Whether it is free, or could still be taken over. An address that would be shared does not count.
    pub(super) fn may_be_assigned(&self) -> bool {
        let is_available = matches!(
            self.candidate.availability,
            Availability::Unread | Availability::Free | Availability::Takeover(_)
        );
        self.holder_check().is_some() || is_available && self.refusal().is_none()
    }

    /// Whether nobody holds it, and it is reserved for nobody.
    pub(super) fn is_unowned(&self) -> bool {
        matches!(
            self.candidate.availability,
            Availability::Free | Availability::Resting { .. } | Availability::Foreign { .. }
        )
    }

    pub(super) fn takeover(&self) -> Option<&Takeover> {
        self.candidate.takeover()
    }

    pub(super) fn take_amendment(&mut self) -> Option<Amendment> {
        self.amendment.take()
    }

    pub(super) fn owner_to_check(&self) -> Option<&Owner> {
        let is_reserved =
            matches!(self.candidate.availability, Availability::Reserved { .. } | Availability::Takeover(_));
        self.from_owner.as_ref().filter(|_| is_reserved && !self.is_from_an_earlier_sandbox())
    }

    pub(super) fn is_from_an_earlier_sandbox(&self) -> bool {
        self.takeover().is_some_and(|takeover| takeover.reason == GoneReason::EarlierSandbox)
    }

    pub(super) fn reads(&mut self, vrf: &Name, reads: &mut Reads) -> AddressReads {
        let lease = reads.entry(keys::lease(vrf, self.candidate.ip));
        let holder = match &self.candidate.availability {
            Availability::Takeover(takeover) => Some(takeover.victim.id.clone()),
            _ => self.expected.take(),
        };
        let holder = holder.map(|id| {
            let entry = reads.entry(keys::attachment(&id));
            (id, entry)
        });
        AddressReads { lease, holder }
    }

    pub(super) fn on_response(&mut self, read: AddressReads, answers: Answers<'_>, context: &DecisionContext<'_>) {
        self.on_lease_entry(answers.to(read.lease), context);
        let Availability::Takeover(takeover) = &mut self.candidate.availability else { return };
        let Some((_, entry)) = read.holder.filter(|(id, _)| *id == takeover.victim.id) else { return };
        self.state = AddressState::Ready;
        if let Some(entry) = answers.to(entry) {
            match Stored::read(&entry.value) {
                Stored::Known(attachment) => takeover.entry = Some((entry.revision, attachment)),
                Stored::Unreadable(why) => {
                    let attachment = Box::new(takeover.victim.id.clone());
                    self.state = AddressState::Refused(Refusal::AttachmentUnreadable { attachment, why });
                }
            }
        }
    }

    fn on_lease_entry(&mut self, entry: Option<&Entry>, context: &DecisionContext<'_>) {
        match entry.map(|entry| (entry.revision, Stored::<Lease>::read(&entry.value))) {
            None => self.on_lease(None, context),
            Some((revision, Stored::Known(lease))) => self.on_lease(Some((revision, lease)), context),
            Some((_, Stored::Unreadable(why))) => {
                self.candidate.availability = Availability::Unread;
                (self.of_other_owner, self.not_of_owner) = (false, false);
                self.state = AddressState::Refused(Refusal::Unreadable { ip: self.candidate.ip, why });
            }
        }
    }

    fn damaged(&self, why: &str) -> Refusal {
        Refusal::Unreadable { ip: self.candidate.ip, why: UnreadableValue::Corrupt(Cause::new(why)) }
    }

    /// Decides what to do, given the lease, or that there is none.
    fn on_lease(&mut self, mut lease: Option<(Revision, Lease)>, context: &DecisionContext<'_>) {
        let ip = self.candidate.ip;
        (self.candidate.availability, self.state) = (Availability::Free, AddressState::Ready);
        (self.of_other_owner, self.kept_by_hand, self.from_owner) = (false, None, None);
        let manual = lease.as_ref().and_then(|(_, lease)| lease.manual(context.now)).cloned().map(Box::new);
        let admission = manual.as_ref().map(|manual| Admission::new(manual, context.own, context.policy));
        let is_admitted = admission.as_ref().is_some_and(|admission| *admission != Admission::Refused);
        let own = context.policy.sticky.as_ref().map(|sticky| &sticky.owner);
        // An older version may have added an owner to a lease that is reserved by hand.
        let owner = lease.as_ref().and_then(|(_, lease)| lease.owner.as_ref()).filter(|_| manual.is_none());
        let renamed = owner.map(|owner| context.policy.cluster.renamed(owner));
        let is_held_for_own =
            lease.as_ref().zip(own).is_some_and(|((_, lease), own)| lease.is_held_for(own, &context.policy.cluster));
        let is_own = renamed.as_ref().zip(own).is_some_and(|(owner, own)| owner.is(own));
        // This call has read the present claim, so a reservation of an earlier claim of the same name has ended.
        let is_over = renamed.as_ref().zip(own).is_some_and(|(owner, own)| own.replaces(owner));
        let is_reserved = is_own && lease.as_ref().is_some_and(|(_, lease)| lease.rest.is_none());
        // While another pod of the same StatefulSet holds it, it is that pod's.
        let is_kept_for_own = is_admitted && lease.as_ref().is_some_and(|(_, lease)| lease.unused.is_some());
        self.not_of_owner = !is_reserved && !is_held_for_own && !is_kept_for_own;
        if let Some(own) = own.filter(|_| self.only_if_owned && !is_own && !is_over && !is_admitted) {
            self.state = AddressState::Refused(ClaimError::NotItsOwn { ip, owner: Box::new(own.clone()) }.into());
            return;
        }
        if let Some(((_, lease), own)) = lease.as_mut().zip(own).filter(|_| is_own) {
            lease.name_cluster_of_pods(own);
        }
        let Some((revision, lease)) = lease else { return };
        if let Some(rest) = cooldown_key(&context.policy.vrf, ip, &lease) {
            // Cooldown applies to random selection only.
            let may_answer = lease.may_still_answer(context.now);
            self.candidate.availability = Availability::Resting { revision, rest, over: true, may_answer };
            return;
        }
        if let Some(foreign) = lease.foreign() {
            // With probes, the link is asked again each time. Without them, the lease counts for an hour.
            match Candidate::formerly_foreign(ip, revision, &lease, context.policy.probe_new, context.now) {
                Some(candidate) => self.candidate = candidate,
                None => self.state = AddressState::Refused(Refusal::foreign(ip, foreign, lease.since)),
            }
            return;
        }
        let may_join = lease.holders.iter().all(|other| context.own.may_join(other));
        // If the pod itself already holds it, its owner was confirmed when the address was assigned.
        let has_other_pod = lease.holders.iter().any(|other| other.pod != context.own.pod);
        self.from_owner = match own {
            _ if let Some(Admission::IfOwnedBy(owner)) = &admission => Some((**owner).clone()),
            _ if !has_other_pod => None,
            Some(own) if is_own => own.kind.needs_check().then(|| own.clone()),
            // This call has read the sticky virtual machine's instance, by its UID.
            Some(own) if own.kind.is_machine() => None,
            _ if may_join && lease.owner.is_some() => Owner::from_holder(context.own),
            _ => None,
        };
        match (lease.unused, &lease.owner) {
            (Some(_), _) if is_admitted || is_own || is_over || lease.is_over(context.now) => {
                self.candidate.availability = Availability::Reserved { revision, manual };
            }
            (Some(_), _) if let Some(manual) = manual => {
                self.of_other_owner = true;
                let sighted = lease.sighted(context.now);
                self.amendment =
                    sighted.map(|lease| Amendment::for_lease(context.policy.vrf.clone(), ip, revision, lease));
                self.state = AddressState::Refused(Refusal::ReservedByHand { ip, manual });
            }
            (Some(since), Some(owner)) => {
                self.of_other_owner = true;
                let sighted = lease.sighted(context.now);
                self.amendment =
                    sighted.map(|lease| Amendment::for_lease(context.policy.vrf.clone(), ip, revision, lease));
                self.state = AddressState::Refused(Refusal::Reserved { ip, owner: Box::new(owner.clone()), since });
            }
            (Some(_), None) => self.state = AddressState::Refused(self.damaged("it is reserved for nobody")),
            (None, _) => {
                self.of_other_owner = !is_own && !is_over && !may_join && !is_held_for_own;
                self.kept_by_hand = manual.filter(|_| !is_admitted);
                self.decide(revision, lease, context.own, context.checks);
            }
        }
    }
}
