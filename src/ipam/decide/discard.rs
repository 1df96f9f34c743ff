//! The removal of an attachment's entry that holds no address any more: an old fence, or what a take-over has left.

use jiff::Timestamp;

use super::reads::Answers;
use super::{Decide, Step};
use crate::ipam::keys;
use crate::ipam::name::AttachmentId;
use crate::ipam::refusal::Refusal;
use crate::store::{Guard, Op, Outcome, Revision, Txn};

/// What came of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discarded {
    /// The entry is gone.
    Gone,
    /// It is another one than was seen.
    Changed,
}

/// The state machine of a removal. It takes the entry's word for nothing: who calls it has seen that it holds no
/// address.
#[derive(Clone, Debug)]
pub struct Discard {
    id: AttachmentId,
    /// The revision of the entry that is to go.
    seen: Revision,
}

impl Discard {
    /// The removal of an attachment's entry of this revision.
    pub fn new(id: AttachmentId, seen: Revision) -> Self {
        Self { id, seen }
    }

    fn remove(&self) -> Result<Step<Discarded>, Refusal> {
        let key = keys::attachment(&self.id);
        let unchanged = Guard::Unchanged(key.clone(), self.seen);
        Ok(Step::Commit(Txn::new(vec![unchanged], vec![Op::Delete(key.clone())], vec![Op::Get(key)])?))
    }
}

impl Decide for Discard {
    type Decision = Discarded;

    fn start(&mut self, _now: Timestamp) -> Step<Discarded> {
        self.remove().unwrap_or_else(Step::Refused)
    }

    fn next(&mut self, outcome: &Outcome, _now: Timestamp) -> Step<Discarded> {
        let is_gone = outcome.branch.succeeded || Answers(&outcome.branch.responses).only_entry().is_none();
        Step::Done(if is_gone { Discarded::Gone } else { Discarded::Changed })
    }

    fn unanswered(&mut self, _now: Timestamp) -> Step<Discarded> {
        // As often as it takes: it is about one revision, which never comes again.
        self.remove().unwrap_or_else(Step::Refused)
    }
}
