//! Writing the cluster into a lease whose holders name none, as kube-ipam 0.3.0 left them where the node defaults named
//! none.
//!
//! It rewrites the lease, the attachments of those holders, and the place of what is reserved for their owner, in one
//! commit. Nothing else about them changes: the addresses stay as they were given, and a DEL goes by the attachment,
//! not by the cluster.

use std::net::IpAddr;

use jiff::Timestamp;

use super::{Decide, Step, within_rounds};
use crate::ipam::keys;
use crate::ipam::lease::{self, Attachment, Holder, Lease, Stored};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::{Owner, Reservation};
use crate::store::{Entry, Guard, Key, Op, OpResponse, Outcome, Revision, Txn};

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

#[derive(Clone, Debug)]
enum Pending {
    Look,
    Rest(Box<Plan>),
    Names,
}

/// A lease that is about to be rewritten, and what is read to go with it: the attachments, then the reservation in its
/// old place and in its new one.
#[derive(Clone, Debug)]
struct Plan {
    lease: Lease,
    attachments: Vec<AttachmentId>,
    owner: Option<(Owner, [Key; 2])>,
}

impl Adopt {
    /// The adoption of these holders, of a lease of this revision, by a cluster.
    pub fn new(vrf: Name, ip: IpAddr, seen: Revision, of: Vec<AttachmentId>, cluster: String) -> Self {
        Self { vrf, ip, seen, of, cluster, pending: Pending::Look, rounds: 0 }
    }

    fn look(&mut self) -> Result<Step<Adopted>, Refusal> {
        self.pending = Pending::Look;
        Ok(Step::Commit(Txn::read(vec![Op::Get(keys::lease(&self.vrf, self.ip))])?))
    }

    fn advance(&mut self, outcome: &Outcome) -> Result<Step<Adopted>, Refusal> {
        let answers = &outcome.branch.responses;
        match std::mem::replace(&mut self.pending, Pending::Look) {
            Pending::Look => self.after_look(answers),
            Pending::Rest(plan) => self.write(*plan, answers),
            Pending::Names if outcome.branch.succeeded => Ok(Step::Done(Adopted::Named)),
            // Whatever has changed, the next sweep sees.
            Pending::Names => Ok(Step::Done(Adopted::Changed)),
        }
    }

    fn after_look(&mut self, answers: &[OpResponse]) -> Result<Step<Adopted>, Refusal> {
        let lease = match answers {
            [OpResponse::Entry(Some(entry))] if entry.revision == self.seen => {
                Stored::<Lease>::read(&entry.value).known()
            }
            _ => None,
        };
        let Some(mut lease) = lease else { return Ok(Step::Done(Adopted::Changed)) };
        let mut attachments = Vec::new();
        for holder in &mut lease.holders {
            if self.of.contains(&holder.id) && name(holder, &self.cluster) {
                attachments.push(holder.id.clone());
            }
        }
        let unnamed = lease.owner.as_mut().or(lease.held_for.as_mut()).filter(|owner| owner.cluster.is_none());
        let owner = unnamed.zip(attachments.first()).map(|(owner, id)| {
            let before = keys::reservation(&self.vrf, owner, id);
            owner.cluster = Some(self.cluster.clone());
            (owner.clone(), [before, keys::reservation(&self.vrf, owner, id)])
        });
        let reservations = owner.iter().flat_map(|(_, places)| places.clone());
        let reads = attachments.iter().map(keys::attachment).chain(reservations).map(Op::Get).collect();
        self.pending = Pending::Rest(Box::new(Plan { lease, attachments, owner }));
        Ok(Step::Commit(Txn::read(reads)?))
    }

    fn write(&mut self, plan: Plan, answers: &[OpResponse]) -> Result<Step<Adopted>, Refusal> {
        let key = keys::lease(&self.vrf, self.ip);
        let mut when = vec![Guard::Unchanged(key.clone(), self.seen)];
        let mut then = vec![Op::Put(key, lease::write(&plan.lease))];
        let (attachments, reservations) = answers.split_at(plan.attachments.len().min(answers.len()));
        for entry in attachments.iter().filter_map(entry_of) {
            let Some(mut attachment) = Stored::<Attachment>::read(&entry.value).known() else { continue };
            if attachment.holder.as_mut().is_some_and(|holder| name(holder, &self.cluster)) {
                when.push(Guard::Unchanged(entry.key.clone(), entry.revision));
                then.push(Op::Put(entry.key.clone(), lease::write(&attachment)));
            }
        }
        if let Some((owner, [_, after])) = &plan.owner
            && let [before, now] = reservations
            && let (Some(entry), None) = (entry_of(before), entry_of(now))
            && let Some(reservation) = Stored::<Reservation>::read(&entry.value).known()
            && reservation.owner.is(owner)
        {
            let moved = Reservation { owner: owner.clone(), ..reservation };
            when.extend([Guard::Unchanged(entry.key.clone(), entry.revision), Guard::Absent(after.clone())]);
            then.extend([Op::Delete(entry.key.clone()), Op::Put(after.clone(), lease::write(&moved))]);
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

fn entry_of(answer: &OpResponse) -> Option<&Entry> {
    match answer {
        OpResponse::Entry(entry) => entry.as_ref(),
        _ => None,
    }
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
