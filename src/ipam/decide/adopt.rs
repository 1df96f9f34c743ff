//! Adds the cluster to a lease whose holders name none. kube-ipam 0.3.0 wrote such leases if the node defaults named no
//! cluster.
//!
//! One commit rewrites the lease, the attachments of those holders, and the key of their owner's reservation. Nothing
//! else changes: the addresses stay, and a DEL finds them by the attachment, not by the cluster.

use std::net::IpAddr;

use jiff::Timestamp;

use super::reads::{Answers, OneEntry, Read, Reads};
use super::{Decide, Step, within_rounds};
use crate::ipam::keys;
use crate::ipam::lease::{self, Attachment, Holder, Lease, Stored};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::{Owner, Reservation};
use crate::store::{Entry, Guard, Key, Op, Outcome, Revision, Txn};

/// The result of an adoption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// The holders now name their cluster.
    Named,
    /// The lease has changed and stays as it is.
    Changed,
}

/// Adds the cluster to a lease.
#[derive(Clone, Debug)]
pub struct Adopt {
    vrf: Name,
    ip: IpAddr,
    /// The revision at which the lease was read.
    seen: Revision,
    /// The holders whose pods belong to the cluster.
    holders: Vec<AttachmentId>,
    cluster: String,
    pending: Pending,
    rounds: u32,
}

#[derive(Clone, Debug, Default)]
enum Pending {
    #[default]
    Nothing,
    Lease(Read<OneEntry>),
    /// Reads what is rewritten with the lease.
    Dependents(Box<Plan>),
    Write,
}

/// A lease to be rewritten, and the reads of what changes with it.
#[derive(Clone, Debug)]
struct Plan {
    lease: Lease,
    attachments: Vec<Read<OneEntry>>,
    reservation: Option<Move>,
}

/// A reservation that moves to the key of an owner with a cluster.
#[derive(Clone, Debug)]
struct Move {
    owner: Owner,
    before: Read<OneEntry>,
    after: (Key, Read<OneEntry>),
}

impl Adopt {
    /// Adds `cluster` to these holders of a lease that has this revision.
    pub fn new(vrf: Name, ip: IpAddr, seen: Revision, holders: Vec<AttachmentId>, cluster: String) -> Self {
        Self { vrf, ip, seen, holders, cluster, pending: Pending::Nothing, rounds: 0 }
    }

    fn read_lease(&mut self) -> Result<Step<Adopted>, Refusal> {
        let mut reads = Reads::default();
        self.pending = Pending::Lease(reads.entry(keys::lease(&self.vrf, self.ip)));
        Ok(Step::Commit(Txn::read(reads.into_operations())?))
    }

    fn advance(&mut self, outcome: &Outcome) -> Result<Step<Adopted>, Refusal> {
        let answers = Answers(&outcome.branch.responses);
        match std::mem::take(&mut self.pending) {
            Pending::Nothing => self.read_lease(),
            Pending::Lease(lease) => self.on_lease(answers.to(lease)),
            Pending::Dependents(plan) => self.write(*plan, answers),
            Pending::Write if outcome.branch.succeeded => Ok(Step::Done(Adopted::Named)),
            // The next sweep sees what has changed.
            Pending::Write => Ok(Step::Done(Adopted::Changed)),
        }
    }

    fn on_lease(&mut self, entry: Option<&Entry>) -> Result<Step<Adopted>, Refusal> {
        let seen = entry.filter(|entry| entry.revision == self.seen);
        let lease = seen.and_then(|entry| Stored::<Lease>::read(&entry.value).known());
        let Some(mut lease) = lease else { return Ok(Step::Done(Adopted::Changed)) };
        let mut attachments = Vec::new();
        for holder in &mut lease.holders {
            if self.holders.contains(&holder.id) && name_cluster(holder, &self.cluster) {
                attachments.push(holder.id.clone());
            }
        }
        let unnamed = lease.owner.as_mut().or(lease.held_for.as_mut()).filter(|owner| owner.cluster.is_none());
        let mut reads = Reads::default();
        let reservation = unnamed.zip(attachments.first()).map(|(owner, id)| {
            let before = reads.entry(keys::reservation(&self.vrf, owner, id));
            owner.cluster = Some(self.cluster.clone());
            let after = keys::reservation(&self.vrf, owner, id);
            Move { owner: owner.clone(), before, after: (after.clone(), reads.entry(after)) }
        });
        let attachments = attachments.iter().map(|id| reads.entry(keys::attachment(id))).collect();
        self.pending = Pending::Dependents(Box::new(Plan { lease, attachments, reservation }));
        Ok(Step::Commit(Txn::read(reads.into_operations())?))
    }

    fn write(&mut self, plan: Plan, answers: Answers<'_>) -> Result<Step<Adopted>, Refusal> {
        let key = keys::lease(&self.vrf, self.ip);
        let mut when = vec![Guard::Unchanged(key.clone(), self.seen)];
        let mut then = vec![Op::Put(key, lease::write(&plan.lease))];
        for entry in plan.attachments.into_iter().filter_map(|entry| answers.to(entry)) {
            let Some(mut attachment) = Stored::<Attachment>::read(&entry.value).known() else { continue };
            if attachment.holder.as_mut().is_some_and(|holder| name_cluster(holder, &self.cluster)) {
                when.push(Guard::Unchanged(entry.key.clone(), entry.revision));
                then.push(Op::Put(entry.key.clone(), lease::write(&attachment)));
            }
        }
        if let Some(Move { owner, before, after: (after, there) }) = plan.reservation
            && let (Some(entry), None) = (answers.to(before), answers.to(there))
            && let Some(reservation) = Stored::<Reservation>::read(&entry.value).known()
            && reservation.owner.is(&owner)
        {
            let moved = Reservation { owner, ..reservation };
            when.extend([Guard::Unchanged(entry.key.clone(), entry.revision), Guard::Absent(after.clone())]);
            then.extend([Op::Delete(entry.key.clone()), Op::Put(after, lease::write(&moved))]);
        }
        self.pending = Pending::Write;
        Ok(Step::Commit(Txn::new(when, then, Vec::new())?))
    }
}

/// Adds the cluster to a holder that names none. Whether it did.
fn name_cluster(holder: &mut Holder, cluster: &str) -> bool {
    let is_unnamed = holder.cluster.is_none();
    holder.cluster.get_or_insert_with(|| cluster.to_owned());
    is_unnamed
}

impl Decide for Adopt {
    type Decision = Adopted;

    fn start(&mut self, _now: Timestamp) -> Step<Adopted> {
        self.read_lease().unwrap_or_else(Step::Refused)
    }

    fn next(&mut self, outcome: &Outcome, _now: Timestamp) -> Step<Adopted> {
        self.rounds += 1;
        within_rounds(self.rounds, self.advance(outcome).unwrap_or_else(Step::Refused))
    }

    fn unanswered(&mut self, _now: Timestamp) -> Step<Adopted> {
        self.rounds += 1;
        // If it took effect, the lease has another revision now, and is not written again.
        within_rounds(self.rounds, self.read_lease().unwrap_or_else(Step::Refused))
    }
}
