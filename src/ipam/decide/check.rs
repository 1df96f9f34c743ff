//! CHECK: does an attachment still hold the addresses of its entry? ADD and DEL use the same check.

use std::net::IpAddr;

use jiff::Timestamp;

use super::reads::{Answers, OneEntry, Read, Reads};
use super::{Decide, Step, within_rounds};
use crate::ipam::keys;
use crate::ipam::lease::{Attachment, Lease, Stored};
use crate::ipam::name::AttachmentId;
use crate::ipam::refusal::{NotHeldReason, Refusal};
use crate::store::{Entry, Guard, Op, Outcome, Revision, Txn, TxnError};

/// The addresses that an attachment holds: none, or all of its entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holding(pub Vec<IpAddr>);

/// The state machine of a CHECK.
#[derive(Clone, Debug)]
pub struct Check {
    id: AttachmentId,
    /// The attachment, and the reads of its leases.
    seen: Option<(Box<Attachment>, Vec<Read<OneEntry>>)>,
    rounds: u32,
}

impl Check {
    /// Checks an attachment.
    pub fn new(id: AttachmentId) -> Self {
        Self { id, seen: None, rounds: 0 }
    }

    fn on_entry(&mut self, entry: Option<&Entry>) -> Result<Step<Holding>, Refusal> {
        let Some(entry) = entry else { return Ok(Step::Done(Holding::default())) };
        match Stored::<Attachment>::read(&entry.value) {
            Stored::Known(attachment) => {
                let (txn, leases) = read_leases(&attachment, entry)?;
                self.seen = Some((Box::new(attachment), leases));
                Ok(Step::Commit(txn))
            }
            Stored::Unreadable(why) => {
                Err(Refusal::AttachmentUnreadable { attachment: Box::new(self.id.clone()), why })
            }
        }
    }

    fn advance(&mut self, outcome: &Outcome) -> Result<Step<Holding>, Refusal> {
        match self.seen.take() {
            Some((attachment, leases)) if outcome.branch.succeeded => {
                let leases = still_held(&self.id, &attachment, &leases, Answers(&outcome.branch.responses))?;
                Ok(Step::Done(Holding(leases.into_iter().map(|(ip, _)| ip).collect())))
            }
            _ => self.on_entry(Answers(&outcome.branch.responses).only_entry()),
        }
    }
}

impl Decide for Check {
    type Decision = Holding;

    fn start(&mut self, _now: Timestamp) -> Step<Holding> {
        match Txn::read(vec![Op::Get(keys::attachment(&self.id))]) {
            Ok(txn) => Step::Commit(txn),
            Err(error) => Step::Refused(error.into()),
        }
    }

    fn next(&mut self, outcome: &Outcome, _now: Timestamp) -> Step<Holding> {
        self.rounds += 1;
        within_rounds(self.rounds, self.advance(outcome).unwrap_or_else(Step::Refused))
    }

    fn unanswered(&mut self, now: Timestamp) -> Step<Holding> {
        self.seen = None;
        self.start(now)
    }
}

/// Reads all leases of an attachment in one transaction, if its entry has not changed; otherwise its entry.
pub(super) fn read_leases(attachment: &Attachment, entry: &Entry) -> Result<(Txn, Vec<Read<OneEntry>>), TxnError> {
    let mut reads = Reads::default();
    let addresses = attachment.addresses.iter().map(|assigned| assigned.address.addr());
    let leases = addresses.map(|ip| reads.entry(keys::lease(&attachment.vrf, ip))).collect();
    let unchanged = Guard::Unchanged(entry.key.clone(), entry.revision);
    let txn = Txn::new(vec![unchanged], reads.into_operations(), vec![Op::Get(entry.key.clone())])?;
    Ok((txn, leases))
}

/// The leases of an attachment, if it still holds every one of them (invariant 2).
pub(super) fn still_held(
    id: &AttachmentId,
    attachment: &Attachment,
    leases: &[Read<OneEntry>],
    answers: Answers<'_>,
) -> Result<Vec<(IpAddr, Lease)>, Refusal> {
    let read = attachment.addresses.iter().zip(leases).map(|(assigned, lease)| {
        let ip = assigned.address.addr();
        let lost = |now| Refusal::Lost { attachment: Box::new(id.clone()), ip, now };
        held_lease(id, answers.to(*lease)).map(|(lease, _)| (ip, lease)).map_err(lost)
    });
    read.collect()
}

pub(super) fn held_lease(id: &AttachmentId, entry: Option<&Entry>) -> Result<(Lease, Revision), NotHeldReason> {
    let Some(entry) = entry else { return Err(NotHeldReason::NoLease) };
    match Stored::<Lease>::read(&entry.value) {
        Stored::Known(lease) if lease.is_held_by(id) => Ok((lease, entry.revision)),
        Stored::Known(Lease { rest: Some(_), .. }) => Err(NotHeldReason::InCooldown),
        Stored::Known(Lease { unused: Some(_), manual: Some(manual), .. }) => {
            Err(NotHeldReason::ReservedByHand(Box::new(manual)))
        }
        Stored::Known(Lease { unused: Some(_), owner: Some(owner), .. }) => {
            Err(NotHeldReason::Reserved(Box::new(owner)))
        }
        Stored::Known(lease) => Err(match lease.holders.into_iter().next() {
            Some(holder) => NotHeldReason::HeldBy(Box::new(holder)),
            None => NotHeldReason::NoHolder,
        }),
        Stored::Unreadable(why) => Err(NotHeldReason::Unreadable(why)),
    }
}
