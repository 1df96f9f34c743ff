//! Removes an attachment that holds no address: an old fence, or what a take-over left.

use jiff::Timestamp;

use super::reads::Answers;
use super::{Decide, Step};
use crate::ipam::keys;
use crate::ipam::name::AttachmentId;
use crate::ipam::refusal::Refusal;
use crate::store::{Guard, Op, Outcome, Revision, Txn};

/// The result of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discarded {
    /// It no longer exists.
    Gone,
    /// It has changed and stays.
    Changed,
}

/// The state machine of a removal. It does not check the entry: the caller has read that it holds no address.
#[derive(Clone, Debug)]
pub struct Discard {
    id: AttachmentId,
    /// The revision of the entry that the caller has read.
    seen: Revision,
}

impl Discard {
    /// Removes an attachment that has this revision.
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
        // It can be repeated without limit, because a revision is never reused.
        self.remove().unwrap_or_else(Step::Refused)
    }
}
