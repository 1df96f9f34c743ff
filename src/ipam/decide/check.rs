//! CHECK, and the question behind it that ADD and DEL ask too: does an attachment still hold what its entry says?

use std::net::IpAddr;

use jiff::Timestamp;

use super::{Decide, Step, within_rounds};
use crate::ipam::keys;
use crate::ipam::lease::{Attachment, Lease, Stored};
use crate::ipam::name::AttachmentId;
use crate::ipam::refusal::Refusal;
use crate::store::{Answer, Entry, Guard, Op, Outcome, Revision, Txn, TxnError};

/// What an attachment holds: nothing, or all that its entry says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holding(pub Vec<IpAddr>);

/// The state machine of a CHECK.
#[derive(Clone, Debug)]
pub struct Check {
    id: AttachmentId,
    seen: Option<Box<Attachment>>,
    rounds: u32,
}

impl Check {
    /// The check of an attachment.
    pub fn new(id: AttachmentId) -> Self {
        Self { id, seen: None, rounds: 0 }
    }

    fn after_look(&mut self, entry: Option<&Entry>) -> Result<Step<Holding>, Refusal> {
        let Some(entry) = entry else { return Ok(Step::Done(Holding::default())) };
        match Stored::<Attachment>::read(&entry.value) {
            Stored::Known(attachment) => {
                let txn = read_leases(&attachment, entry)?;
                self.seen = Some(Box::new(attachment));
                Ok(Step::Commit(txn))
            }
            unreadable => {
                let (attachment, why) = (Box::new(self.id.clone()), unreadable.why_unreadable());
                Err(Refusal::AttachmentUnreadable { attachment, why })
            }
        }
    }

    fn advance(&mut self, outcome: &Outcome) -> Result<Step<Holding>, Refusal> {
        match self.seen.take() {
            Some(attachment) if outcome.branch.taken => {
                let leases = still_held(&self.id, &attachment, &outcome.branch.answers)?;
                Ok(Step::Done(Holding(leases.into_iter().map(|(ip, _)| ip).collect())))
            }
            _ => match outcome.branch.answers.as_slice() {
                [Answer::Entry(entry)] => self.after_look(entry.as_ref()),
                _ => self.after_look(None),
            },
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

/// Reads all leases of an attachment in one transaction, if its entry is still the one that was seen; else the entry.
pub(super) fn read_leases(attachment: &Attachment, entry: &Entry) -> Result<Txn, TxnError> {
    let leases = attachment.addresses.iter().map(|a| Op::Get(keys::lease(&attachment.vrf, a.address.addr())));
    let unchanged = Guard::Unchanged(entry.key.clone(), entry.revision);
    Txn::new(vec![unchanged], leases.collect(), vec![Op::Get(entry.key.clone())])
}

/// The leases that [`read_leases`] has read, if every one is still the attachment's own (invariant 2).
pub(super) fn still_held(
    id: &AttachmentId,
    attachment: &Attachment,
    answers: &[Answer],
) -> Result<Vec<(IpAddr, Lease)>, Refusal> {
    let read = attachment.addresses.iter().zip(answers).map(|(assigned, answer)| {
        let ip = assigned.address.addr();
        let lost = |now| Refusal::Lost { attachment: Box::new(id.clone()), ip, now };
        held_lease(id, answer).map(|(lease, _)| (ip, lease)).map_err(lost)
    });
    read.collect()
}

/// A lease and its revision, if this attachment holds it; else what is to be said of it.
pub(super) fn held_lease(id: &AttachmentId, answer: &Answer) -> Result<(Lease, Revision), String> {
    let Answer::Entry(Some(entry)) = answer else { return Err("nobody holds it".to_owned()) };
    match Stored::<Lease>::read(&entry.value) {
        Stored::Known(lease) if lease.is_held_by(id) => Ok((lease, entry.revision)),
        Stored::Known(Lease { rest: Some(_), .. }) => Err("it rests".to_owned()),
        Stored::Known(Lease { unused: Some(_), owner: Some(owner), .. }) => Err(format!("it is reserved for {owner}")),
        Stored::Known(lease) => Err(match lease.holders.first() {
            Some(holder) => format!("{holder} holds it"),
            None => "its lease names no holder".to_owned(),
        }),
        unreadable => Err(format!("its lease {}", unreadable.why_unreadable())),
    }
}
