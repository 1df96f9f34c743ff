//! One certain address: free, at rest, or held by somebody from whom it may pass.
//!
//! ```text
//!  Ready ──► tried ──► what stood in the way is read
//!    ▲                   │ free or at rest ─────────────────────────────────────────────► Ready
//!    │                   │ held ─► decision ─┬─ take over ─► Unread ─► the holder's entry ► Ready
//!    │                   │                   ├─ check ─────► CheckHolder, until that is done
//!    │                   │                   └─ refuse ────► Refused
//!    └───────────────────┘
//! ```
//!
//! One that somebody may have only if it is its own ([`SpecificAddress::only_if_owned`]) is read before anything is
//! tried.
//!
//! A lease that changes in between has a new revision: the guard of the commit fails, and all of this begins again.

use std::net::IpAddr;

use jiff::Timestamp;

use super::AllocationPolicy;
use super::amend::Amendment;
use super::candidate::{Availability, Candidate, key_of_rest};
use super::lease_survey::FoundLease;
use super::reads::{Answers, OneEntry, Read, Reads};
use crate::ipam::claim::ClaimError;
use crate::ipam::keys;
use crate::ipam::lease::{Attachment, Holder, Lease, Stored};
use crate::ipam::machine::JoinQuestion;
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::Owner;
use crate::ipam::takeover::{self, GoneReason, HolderChecks, InUseReason, TakeoverDecision};
use crate::store::{Entry, Guard, Revision};

/// What a decision about an address depends on, besides the store.
pub(super) struct DecisionContext<'a> {
    pub(super) own: &'a Holder,
    pub(super) policy: &'a AllocationPolicy,
    pub(super) checks: &'a HolderChecks,
    pub(super) now: Timestamp,
}

/// An address that passes from its holder.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Takeover {
    /// The revision of the lease that names the holder.
    pub(super) revision: Revision,
    pub(super) victim: Holder,
    pub(super) reason: GoneReason,
    /// The lease as it was read.
    pub(super) lease: Box<Lease>,
    /// The lease of those who go on holding it.
    pub(super) others: Option<Box<Lease>>,
    /// Pods of a virtual machine that had it before.
    pub(super) former_pods: Vec<String>,
    /// The holder's entry, which is to be rewritten; `None` if there is none.
    pub(super) entry: Option<(Revision, Attachment)>,
}

impl Takeover {
    /// The guard under which its holder's entry is as it was read.
    pub(super) fn guard(&self) -> Guard {
        let key = keys::attachment(&self.victim.id);
        match &self.entry {
            Some((revision, _)) => Guard::Unchanged(key, *revision),
            None => Guard::Absent(key),
        }
    }
}

/// A holder of whom it is not known whether the address may pass from it, or be shared with it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HolderCheck {
    ip: IpAddr,
    revision: Revision,
    pub(super) holder: Holder,
    since: Timestamp,
    lease: Lease,
    /// What is to be asked.
    pub(super) pending: takeover::PendingCheck,
}

#[derive(Clone, Debug)]
enum AddressState {
    Ready,
    /// The lease, or the holder's entry, is to be read.
    Unread,
    CheckHolder(Box<HolderCheck>),
    Refused(Refusal),
}

/// What is read of an address.
#[derive(Clone, Debug)]
pub(super) struct AddressReads {
    lease: Read<OneEntry>,
    /// The entry of its holder, as far as that is known.
    holder: Option<(AttachmentId, Read<OneEntry>)>,
}

/// One certain address, and how it stands.
#[derive(Clone, Debug)]
pub(super) struct SpecificAddress {
    candidate: Candidate,
    state: AddressState,
    /// Who probably holds it, of which nothing is read yet.
    expected: Option<AttachmentId>,
    /// Whether it is to be had only as what its owner has already.
    only_if_owned: bool,
    /// Whether its lease is known to be neither of the owner who asks nor of a machine of its own.
    foreign: bool,
    /// Whether it is known to be neither kept for the owner who asks nor held by a pod that it has.
    not_of_owner: bool,
    /// What is to be written of its lease before it is refused, since a time in it lies ahead.
    ahead: Option<Amendment>,
    /// The owner because of which it may be had, if the pod that asks is still to be shown to be one of that owner's.
    from_owner: Option<Owner>,
}

impl SpecificAddress {
    /// An address of which nothing is known yet.
    pub(super) fn new(ip: IpAddr) -> Self {
        let (candidate, state) = (Candidate::fresh(ip), AddressState::Ready);
        let (only_if_owned, foreign, not_of_owner) = (false, false, false);
        let (expected, ahead, from_owner) = (None, None, None);
        Self { candidate, state, expected, only_if_owned, foreign, not_of_owner, ahead, from_owner }
    }

    /// An address that can be had only as what its owner has already.
    pub(super) fn only_if_owned(ip: IpAddr) -> Self {
        Self { state: AddressState::Unread, only_if_owned: true, ..Self::new(ip) }
    }

    /// An address that this attachment may hold, whose entry is read along with the lease.
    pub(super) fn held_by(ip: IpAddr, holder: AttachmentId) -> Self {
        Self { state: AddressState::Unread, expected: Some(holder), ..Self::new(ip) }
    }

    /// An address of which the lease was read.
    pub(super) fn from_lease(met: FoundLease, context: &DecisionContext<'_>) -> Self {
        let mut address = Self::new(met.ip);
        address.weigh(Some((met.revision, met.lease)), context);
        address
    }

    pub(super) fn ip(&self) -> IpAddr {
        self.candidate.ip
    }

    /// The address with the guard under which it can be had, as far as that is known.
    pub(super) fn candidate(&self) -> Option<&Candidate> {
        matches!(self.state, AddressState::Ready).then_some(&self.candidate)
    }

    pub(super) fn refusal(&self) -> Option<&Refusal> {
        match &self.state {
            AddressState::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Gives it up.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.state = AddressState::Refused(refusal);
    }

    pub(super) fn holder_check(&self) -> Option<&HolderCheck> {
        match &self.state {
            AddressState::CheckHolder(check) => Some(check),
            _ => None,
        }
    }

    /// Whether somebody else has it, who is not shown gone.
    pub(super) fn is_of_another_owner(&self) -> bool {
        self.foreign && !matches!(self.state, AddressState::Ready | AddressState::Unread)
    }

    /// Whether it is neither kept for the owner who asks nor held by a pod of that owner.
    pub(super) fn is_not_of_owner(&self) -> bool {
        self.not_of_owner
    }

    /// Whether it may pass from its holder, or that is not known yet, or it has become free. To hold it together with
    /// others is no such thing.
    pub(super) fn may_pass(&self) -> bool {
        let is_free_or_passes =
            matches!(self.candidate.availability, Availability::Unknown | Availability::Takeover(_));
        self.holder_check().is_some() || is_free_or_passes && self.refusal().is_none()
    }

    /// From whom it passes.
    pub(super) fn takeover(&self) -> Option<&Takeover> {
        self.candidate.takeover()
    }

    /// What is to be written of its lease before it is refused.
    pub(super) fn take_ahead(&mut self) -> Option<Amendment> {
        self.ahead.take()
    }

    /// The owner of which the pod has to be, since nothing else lets it have the address.
    pub(super) fn owner_to_check(&self) -> Option<&Owner> {
        let is_reserved = matches!(self.candidate.availability, Availability::Reserved(_) | Availability::Takeover(_));
        self.from_owner.as_ref().filter(|_| is_reserved && !self.is_from_an_earlier_sandbox())
    }

    /// Whether it passes from an earlier sandbox of the pod.
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

    /// Takes in what was read.
    pub(super) fn on_response(&mut self, read: AddressReads, answers: Answers<'_>, context: &DecisionContext<'_>) {
        self.learn_lease(answers.to(read.lease), context);
        let Availability::Takeover(takeover) = &mut self.candidate.availability else { return };
        let Some((_, entry)) = read.holder.filter(|(id, _)| *id == takeover.victim.id) else { return };
        self.state = AddressState::Ready;
        if let Some(entry) = answers.to(entry) {
            match Stored::read(&entry.value) {
                Stored::Known(attachment) => takeover.entry = Some((entry.revision, attachment)),
                unreadable => {
                    let (attachment, why) = (Box::new(takeover.victim.id.clone()), unreadable.why_unreadable());
                    self.state = AddressState::Refused(Refusal::AttachmentUnreadable { attachment, why });
                }
            }
        }
    }

    fn learn_lease(&mut self, entry: Option<&Entry>, context: &DecisionContext<'_>) {
        match entry.map(|entry| (entry.revision, Stored::<Lease>::read(&entry.value))) {
            None => self.weigh(None, context),
            Some((revision, Stored::Known(lease))) => self.weigh(Some((revision, lease)), context),
            Some((_, other)) => {
                self.candidate.availability = Availability::Unknown;
                (self.foreign, self.not_of_owner) = (false, false);
                self.state = AddressState::Refused(self.unreadable(other.why_unreadable()));
            }
        }
    }

    fn unreadable(&self, why: String) -> Refusal {
        Refusal::Unreadable { ip: self.candidate.ip, why }
    }

    /// Takes in its lease, if it has one.
    fn weigh(&mut self, mut lease: Option<(Revision, Lease)>, context: &DecisionContext<'_>) {
        let ip = self.candidate.ip;
        (self.candidate.availability, self.state) = (Availability::Unknown, AddressState::Ready);
        (self.foreign, self.from_owner) = (false, None);
        let own = context.policy.sticky.as_ref().map(|sticky| &sticky.owner);
        let owner = lease.as_ref().and_then(|(_, lease)| lease.owner.as_ref());
        let renamed = owner.map(|owner| context.policy.cluster.renamed(owner));
        let is_held_for_own =
            lease.as_ref().zip(own).is_some_and(|((_, lease), own)| lease.is_held_for(own, &context.policy.cluster));
        let is_own = renamed.as_ref().zip(own).is_some_and(|(owner, own)| owner.is(own));
        // The claim of today was read by this call, so that what was kept for an earlier one of its name is over.
        let is_over = renamed.as_ref().zip(own).is_some_and(|(owner, own)| own.replaces(owner));
        let is_reserved = is_own && lease.as_ref().is_some_and(|(_, lease)| lease.rest.is_none());
        self.not_of_owner = !is_reserved && !is_held_for_own;
        if let Some(own) = own.filter(|_| self.only_if_owned && !is_own && !is_over) {
            self.state = AddressState::Refused(ClaimError::NotItsOwn { ip, owner: Box::new(own.clone()) }.into());
            return;
        }
        if let Some(((_, lease), own)) = lease.as_mut().zip(own).filter(|_| is_own) {
            lease.name_cluster_of_pods(own);
        }
        let Some((revision, lease)) = lease else { return };
        if let Some(rest) = key_of_rest(&context.policy.vrf, ip, &lease) {
            // Cooldown binds random choice only.
            self.candidate.availability = Availability::Resting { revision, rest, over: true };
            return;
        }
        let may_join = lease.holders.iter().all(|other| context.own.may_join(other));
        // What the very pod has had before, it was given as a pod of that owner.
        let is_new_to_it = lease.holders.iter().any(|other| other.pod != context.own.pod);
        self.from_owner = match own {
            _ if !is_new_to_it => None,
            Some(own) if is_own => own.kind.needs_check().then(|| own.clone()),
            // The instance of a machine that keeps its addresses was read, by its UID.
            Some(own) if own.kind.is_machine() => None,
            _ if may_join && lease.owner.is_some() => Owner::from_holder(context.own),
            _ => None,
        };
        match (lease.unused, &lease.owner) {
            (Some(_), _) if is_own || is_over || lease.is_over(context.now) => {
                self.candidate.availability = Availability::Reserved(revision);
            }
            (Some(since), Some(owner)) => {
                self.foreign = true;
                let sighted = lease.sighted(context.now);
                self.ahead = sighted.map(|lease| Amendment::of_lease(context.policy.vrf.clone(), ip, revision, lease));
                self.state = AddressState::Refused(Refusal::Reserved { ip, owner: Box::new(owner.clone()), since });
            }
            (Some(_), None) => self.state = AddressState::Refused(self.unreadable("is reserved for nobody".to_owned())),
            (None, _) => {
                self.foreign = !is_own && !is_over && !may_join && !is_held_for_own;
                self.rule(revision, lease, context.own, context.checks);
            }
        }
    }

    /// Decides again about the holder, after a check.
    pub(super) fn recheck(&mut self, own: &Holder, checks: &HolderChecks) {
        if let AddressState::CheckHolder(check) = &self.state {
            let HolderCheck { revision, lease, .. } = (**check).clone();
            self.rule(revision, lease, own, checks);
        }
    }

    fn rule(&mut self, revision: Revision, lease: Lease, own: &Holder, checks: &HolderChecks) {
        let ip = self.candidate.ip;
        let Some((holder, decision)) = checks.decide_among(own, &lease.holders) else {
            self.state = AddressState::Refused(self.unreadable("names no holder".to_owned()));
            return;
        };
        let holder = holder.clone();
        let since = lease.since;
        let check_holder = |lease, pending| {
            AddressState::CheckHolder(Box::new(HolderCheck {
                ip,
                revision,
                holder: holder.clone(),
                since,
                lease,
                pending,
            }))
        };
        self.state = match decision {
            TakeoverDecision::CheckPod => check_holder(lease, takeover::PendingCheck::Pod(holder.pod.clone())),
            TakeoverDecision::CheckContainer => {
                check_holder(lease, takeover::PendingCheck::Container(holder.id.clone()))
            }
            TakeoverDecision::CheckJoin => match own.machine().cloned() {
                Some(instance) => {
                    let (pod, former) = (own.pod.clone(), lease.former_pods.clone());
                    let question = JoinQuestion { instance, pod, holder: holder.pod.clone(), former };
                    check_holder(lease, takeover::PendingCheck::Join(Box::new(question)))
                }
                None => AddressState::Refused(held(ip, &holder, since, InUseReason::SeveralHolders)),
            },
            TakeoverDecision::Refuse(why) => AddressState::Refused(held(ip, &holder, since, why)),
            TakeoverDecision::Share => {
                self.candidate.availability = Availability::Joining { revision, lease: Box::new(lease) };
                AddressState::Ready
            }
            // A pod that goes on with another sandbox has not left it.
            TakeoverDecision::TakeOver(reason) => {
                match lease.owner.clone().filter(|_| self.foreign && reason != GoneReason::EarlierSandbox) {
                    // As after its DEL.
                    Some(owner) => AddressState::Refused(held(
                        ip,
                        &holder,
                        since,
                        InUseReason::ReservedForOwner(reason, Box::new(owner)),
                    )),
                    None => {
                        let former_pods = lease.former_pods.clone();
                        let others = lease.clone().without(&holder.id).map(Box::new);
                        let lease = Box::new(lease);
                        let takeover =
                            Takeover { revision, victim: holder, reason, lease, others, former_pods, entry: None };
                        self.candidate.availability = Availability::Takeover(Box::new(takeover));
                        AddressState::Unread
                    }
                }
            }
        };
    }
}

impl HolderCheck {
    /// The refusal as long as the holder keeps its address.
    pub(super) fn refusal(&self, why: InUseReason) -> Refusal {
        held(self.ip, &self.holder, self.since, why)
    }
}

fn held(ip: IpAddr, holder: &Holder, since: Timestamp, why: InUseReason) -> Refusal {
    Refusal::Held { ip, holder: Box::new(holder.clone()), since, workload: None, why: Box::new(why) }
}
