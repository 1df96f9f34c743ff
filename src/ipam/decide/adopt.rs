//! Writing the cluster into a lease whose holders name none, as kube-ipam 0.3.0 left them where the node defaults named
//! none.
//!
//! It rewrites the lease, the attachments of those holders, and the place of what is reserved for their owner, in one
//! commit. Nothing else about them changes: the addresses stay as they were given, and a DEL goes by the attachment,
//! not by the cluster.

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

/// What became of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// Its holders name their cluster.
    Named,
    /// It is another one than was seen.
    Changed,
}

/// The state machine of an adoption.
#[derive(Clone, Debug)]
pub struct Adopt {
    vrf: Name,
    ip: IpAddr,
    /// The revision of the lease that was seen.
    seen: Revision,
    /// The holders whose pods are of the cluster.
    of: Vec<AttachmentId>,
    cluster: String,
    pending: Pending,
    rounds: u32,
}

#[derive(Clone, Debug, Default)]
enum Pending {
    #[default]
    Nothing,
    /// Its lease.
    Look(Read<OneEntry>),
    /// What is to be rewritten with it.
    Rest(Box<Plan>),
    /// The write of the names.
    Names,
}

/// A lease that is about to be rewritten, and what is read to go with it.
#[derive(Clone, Debug)]
struct Plan {
    lease: Lease,
    attachments: Vec<Read<OneEntry>>,
    reservation: Option<Move>,
}

/// A reservation that is moved with its lease, to the place of an owner with a cluster.
#[derive(Clone, Debug)]
struct Move {
    owner: Owner,
    before: Read<OneEntry>,
    after: (Key, Read<OneEntry>),
}

impl Adopt {
    /// The adoption of these holders, of a lease of this revision, by a cluster.
    pub fn new(vrf: Name, ip: IpAddr, seen: Revision, of: Vec<AttachmentId>, cluster: String) -> Self {
        Self { vrf, ip, seen, of, cluster, pending: Pending::Nothing, rounds: 0 }
    }

    fn look(&mut self) -> Result<Step<Adopted>, Refusal> {
        let mut reads = Reads::default();
        self.pending = Pending::Look(reads.entry(keys::lease(&self.vrf, self.ip)));
        Ok(Step::Commit(Txn::read(reads.into_operations())?))
    }

    fn advance(&mut self, outcome: &Outcome) -> Result<Step<Adopted>, Refusal> {
        let answers = Answers(&outcome.branch.responses);
        match std::mem::take(&mut self.pending) {
            Pending::Nothing => self.look(),
            Pending::Look(lease) => self.after_look(answers.to(lease)),
            Pending::Rest(plan) => self.write(*plan, answers),
            Pending::Names if outcome.branch.succeeded => Ok(Step::Done(Adopted::Named)),
            // Whatever has changed, the next sweep sees.
            Pending::Names => Ok(Step::Done(Adopted::Changed)),
        }
    }

    fn after_look(&mut self, entry: Option<&Entry>) -> Result<Step<Adopted>, Refusal> {
        let seen = entry.filter(|entry| entry.revision == self.seen);
        let lease = seen.and_then(|entry| Stored::<Lease>::read(&entry.value).known());
        let Some(mut lease) = lease else { return Ok(Step::Done(Adopted::Changed)) };
        let mut attachments = Vec::new();
        for holder in &mut lease.holders {
            if self.of.contains(&holder.id) && name(holder, &self.cluster) {
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
        self.pending = Pending::Rest(Box::new(Plan { lease, attachments, reservation }));
        Ok(Step::Commit(Txn::read(reads.into_operations())?))
    }

    fn write(&mut self, plan: Plan, answers: Answers<'_>) -> Result<Step<Adopted>, Refusal> {
        let key = keys::lease(&self.vrf, self.ip);
        let mut when = vec![Guard::Unchanged(key.clone(), self.seen)];
        let mut then = vec![Op::Put(key, lease::write(&plan.lease))];
        for entry in plan.attachments.into_iter().filter_map(|entry| answers.to(entry)) {
            let Some(mut attachment) = Stored::<Attachment>::read(&entry.value).known() else { continue };
            if attachment.holder.as_mut().is_some_and(|holder| name(holder, &self.cluster)) {
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
        self.pending = Pending::Names;
        Ok(Step::Commit(Txn::new(when, then, Vec::new())?))
    }
}

/// Writes the cluster into a holder that names none.
fn name(holder: &mut Holder, cluster: &str) -> bool {
    let is_unnamed = holder.cluster.is_none();
    holder.cluster.get_or_insert_with(|| cluster.to_owned());
    is_unnamed
}

impl Decide for Adopt {
    type Decision = Adopted;

    fn start(&mut self, _now: Timestamp) -> Step<Adopted> {
        self.look().unwrap_or_else(Step::Refused)
    }

    fn next(&mut self, outcome: &Outcome, _now: Timestamp) -> Step<Adopted> {
        self.rounds += 1;
        within_rounds(self.rounds, self.advance(outcome).unwrap_or_else(Step::Refused))
    }

    fn unanswered(&mut self, _now: Timestamp) -> Step<Adopted> {
        self.rounds += 1;
        // If it has taken effect, the lease has another revision, and is left as it is.
        within_rounds(self.rounds, self.look().unwrap_or_else(Step::Refused))
    }
}
