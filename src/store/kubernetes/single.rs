//! A transaction that writes one key and depends on no other: one request, which needs no locks.
//!
//! If it is refused, the key shows whether a proxy has sent it twice: its value then has the transaction's revision. What
//! another client has overwritten in between can't be told from what it wrote before, and counts as the latter.

use super::api::{Answer, Change, Request, Seen, Write, Written};
use super::attempt::{AttemptEnd, Member};
use super::object::{Object, Then, TxnId, Versioned};
use super::rules::{Rule, Rules};
use super::step::Step;
use crate::cause::Cause;
use crate::store::{Key, StoreError};

/// The write of one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Single {
    rules: Rules,
    id: TxnId,
    deletes: bool,
    phase: Phase,
    end: Option<AttemptEnd>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Write,
    LookUp,
}

impl Single {
    /// Begins.
    pub(super) fn start(id: TxnId, member: Member, rules: Rules) -> (Self, Step<()>) {
        let Member { key, seen, then } = member;
        let revision = id.revision();
        let write = match (then, &seen) {
            (Then::Put(value), _) => {
                let value = Some(Versioned { value, revision });
                Some(Write::put(&seen, Object { key, value, mark: None }))
            }
            (Then::Delete, Some(seen)) => Some(seen.delete()),
            (Then::Delete, None) | (Then::Keep, _) => None,
        };
        let deletes = matches!(write.as_ref().map(Write::change), Some(Change::Delete(_)));
        let mut single = Self { rules, id, deletes, phase: Phase::Write, end: None };
        let step = match write {
            Some(write) => Step::Send(vec![Request::Write(write)]),
            None => single.over(AttemptEnd::Committed),
        };
        (single, step)
    }

    /// How it ended.
    pub(super) fn end(&self) -> Option<&AttemptEnd> {
        self.end.as_ref()
    }

    /// Why it is not known whether it has happened, if its answer does not come.
    pub(super) fn doubt(&self) -> Cause {
        Cause::new("the write was sent and not answered")
    }

    pub(super) fn answer(&mut self, key: &Key, answer: Answer) -> Step<()> {
        match self.phase {
            Phase::Write => match answer.into_written() {
                Written::Done(_) => self.over(AttemptEnd::Committed),
                Written::Conflict if self.rules.keep(Rule::SingleLookedUp) => {
                    self.phase = Phase::LookUp;
                    Step::Send(vec![Request::Get(key.clone())])
                }
                Written::Conflict | Written::Failed(StoreError::Unavailable(_)) => self.over(AttemptEnd::NotApplied),
                Written::Silence(cause) => self.over(AttemptEnd::Unknown(cause)),
                Written::Failed(error) => self.over(AttemptEnd::Failed(error)),
            },
            Phase::LookUp => {
                let end = match answer.into_seen(key) {
                    Ok(seen) => self.looked_up(&seen),
                    Err(error) => AttemptEnd::Unknown(Cause::new(error)),
                };
                self.over(end)
            }
        }
    }

    fn looked_up(&self, seen: &Seen) -> AttemptEnd {
        let revision = seen.as_ref().and_then(|seen| Some(seen.object.value.as_ref()?.revision));
        match revision {
            Some(revision) if revision == self.id.revision() => AttemptEnd::Committed,
            None if self.deletes => AttemptEnd::Unknown(Cause::new("the delete was refused, and the key is absent")),
            _ => AttemptEnd::NotApplied,
        }
    }

    fn over(&mut self, end: AttemptEnd) -> Step<()> {
        self.end = Some(end);
        Step::Done(())
    }
}
