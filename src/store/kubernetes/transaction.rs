//! A transaction of the store: attempts, until one has a certain end.
//!
//! ```text
//!         ┌─────────────────────────────── retry, with a new id ◄─────────────────┐
//!         ▼                                                                        │
//!  Read the path's keys, ─► the path writes ─► Resolve locks,  ─► Attempt, Single ─┴─► outcome
//!  primaries of locks           │              Forward commits        (one key)
//!         ▲                     │                   │
//!         ├─────────────────────│───────────────────┘
//!         │                     └─► it only reads ─► read all again ─┬─► outcome
//!         └────────────────────────────── something changed ◄────────┘
//! ```
//!
//! The machine has no clock and no random numbers. The driver sends its requests side by side, passes on each answer,
//! and waits when it pauses. With each call it passes a fresh id, for the case that an attempt begins. At the deadline
//! it drops the machine, and [`Transaction::given_up`] says what is known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::api::{Answer, Seen};
use super::attempt::{Attempt, AttemptEnd};
use super::forward::Forward;
use super::object::{Then, TxnId};
use super::plan;
use super::resolve::Resolve;
use super::rules::{Rule, Rules};
use super::single::Single;
use super::spans::Spans;
use super::step::{Finished, Pause, Reads, Step};
use super::view::View;
use crate::cause::Cause;
use crate::store::{Key, Outcome, StoreError, Txn};

/// A transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Transaction {
    rules: Rules,
    txn: Arc<Txn>,
    view: View,
    /// The ids of earlier attempts. Their locks are removed without waiting.
    attempts: Vec<TxnId>,
    phase: Phase,
    /// A read that failed.
    failed: Option<StoreError>,
    outcome: Option<Result<Outcome, StoreError>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Read(Reads),
    ReadPrimaries(Reads),
    Spans(Spans),
    Resolve(Resolve, Key),
    Forward(Forward),
    Retry,
    Attempt(Attempt, Outcome),
    Single(Single, Outcome),
    /// Reads again, first what was absent.
    Confirm {
        reads: Reads,
        present: BTreeSet<Key>,
        is_same: bool,
    },
    Over,
}

impl Transaction {
    /// Begins. In its first attempt, it presumes that its guards hold, and leaves it to creates to find out.
    pub(super) fn start(txn: Arc<Txn>, rules: Rules, fresh: TxnId) -> (Self, Step<()>) {
        let presumed = if txn.writes() { plan::presumably_absent(&txn, rules) } else { BTreeSet::new() };
        let view = View::presuming(presumed, rules);
        let phase = Phase::Over;
        let mut machine = Self { rules, txn, view, attempts: Vec::new(), phase, failed: None, outcome: None };
        let step = machine.advance(fresh);
        (machine, step)
    }

    /// The outcome, as soon as it is known. Requests that clean up may follow it.
    #[cfg(test)]
    pub(super) fn outcome(&self) -> Option<&Result<Outcome, StoreError>> {
        self.outcome.as_ref()
    }

    /// The number of attempts so far.
    #[cfg(test)]
    pub(super) fn attempts(&self) -> usize {
        self.attempts.len()
    }

    /// What the caller is told if the machine is dropped now: its outcome, or whether it may have had an effect.
    pub(super) fn given_up(&self) -> Result<Outcome, StoreError> {
        let doubt = match &self.phase {
            Phase::Attempt(attempt, _) => attempt.doubt(),
            Phase::Single(single, ..) => Some(single.doubt()),
            _ => None,
        };
        match (&self.outcome, doubt) {
            (Some(outcome), _) => outcome.clone(),
            (None, Some(cause)) => Err(StoreError::Ambiguous(cause)),
            (None, None) => Err(StoreError::Unavailable(Cause::new("the deadline passed before the commit"))),
        }
    }

    /// Records the answer to the request about a key.
    pub(super) fn answer(&mut self, key: &Key, answer: Answer, fresh: TxnId) -> Step<()> {
        match &mut self.phase {
            Phase::Read(reads) => {
                let is_last = reads.answered(key);
                self.note(key, answer.into_shown(key), View::note);
                if is_last { self.advance(fresh) } else { Step::Wait }
            }
            Phase::ReadPrimaries(reads) => {
                let is_last = reads.answered(key);
                self.note(key, answer.into_seen(key), View::note_primary);
                if is_last { self.advance(fresh) } else { Step::Wait }
            }
            Phase::Spans(spans) => {
                let step = spans.answer(key, answer);
                self.after_spans(step, fresh)
            }
            Phase::Resolve(resolve, _) => {
                let step = resolve.answer(answer);
                self.after_resolve(step, fresh)
            }
            Phase::Forward(forward) => {
                let step = forward.answer(key, answer);
                self.after_forward(step, fresh)
            }
            Phase::Attempt(attempt, _) => {
                let step = attempt.answer(key, answer);
                self.after_attempt(step)
            }
            Phase::Single(single, ..) => {
                let step = single.answer(key, answer);
                self.after_attempt(step)
            }
            Phase::Confirm { reads, is_same, .. } => {
                let is_last = reads.answered(key);
                match answer.into_shown(key) {
                    Ok(seen) => *is_same &= self.view.confirms(key, &seen),
                    Err(error) => self.failed = Some(error),
                }
                if is_last { self.confirm_rest(fresh) } else { Step::Wait }
            }
            Phase::Retry | Phase::Over => Step::Wait,
        }
    }

    /// Goes on after a pause.
    pub(super) fn resume(&mut self, fresh: TxnId) -> Step<()> {
        match &mut self.phase {
            Phase::Resolve(resolve, _) => {
                let step = resolve.resume();
                self.after_resolve(step, fresh)
            }
            Phase::Retry => self.read_anew(fresh),
            _ => Step::Wait,
        }
    }

    fn note(&mut self, key: &Key, seen: Result<Seen, StoreError>, note: fn(&mut View, Key, Seen)) {
        match seen {
            Ok(seen) => note(&mut self.view, key.clone(), seen),
            Err(error) => self.failed = Some(error),
        }
    }

    fn end(&mut self, outcome: Result<Outcome, StoreError>) -> Step<()> {
        self.phase = Phase::Over;
        self.outcome = Some(outcome);
        Step::Done(())
    }

    /// Reads everything again, and presumes nothing.
    fn read_anew(&mut self, fresh: TxnId) -> Step<()> {
        self.view = View::presuming(BTreeSet::new(), self.rules);
        self.advance(fresh)
    }

    /// Reads what is missing, then takes the path.
    fn advance(&mut self, fresh: TxnId) -> Step<()> {
        if let Some(error) = self.failed.take() {
            return self.end(Err(error));
        }
        let primaries = self.view.unread_primaries();
        if !primaries.is_empty() {
            let (reads, step) = Reads::send(primaries);
            self.phase = Phase::ReadPrimaries(reads);
            return step;
        }
        // The other branch may depend on a key that was only presumed absent.
        if self.view.has_presumed() && plan::is_refused(&self.txn, &self.view) {
            self.view.forget_presumed();
        }
        let unread = plan::unread(&self.txn, &self.view);
        if !unread.is_empty() {
            let (reads, step) = Reads::send(unread);
            self.phase = Phase::Read(reads);
            return step;
        }
        let spans = plan::spans(&self.txn, &self.view);
        if !spans.is_empty() && !self.view.spans().is_some_and(|read| read.has(&spans)) {
            let (spans, step) = Spans::start(spans, self.rules);
            self.phase = Phase::Spans(spans);
            return self.after_spans(step, fresh);
        }
        let members = plan::members(&self.txn, &self.view, self.rules);
        if members.is_empty() {
            return self.confirm(fresh);
        }
        self.settle(&members, fresh).unwrap_or_else(|| self.attempt(members, fresh))
    }

    /// Resolves a lock, or else a commit, on a key that the attempt would lock. Gives up if one can't be read.
    fn settle(&mut self, members: &BTreeMap<Key, Then>, fresh: TxnId) -> Option<Step<()>> {
        let seen = || members.keys().filter_map(|key| self.view.get(key)?.clone());
        if let Some(why) = seen().find_map(|seen| seen.object.unreadable_mark().cloned()) {
            return Some(self.end(Err(StoreError::Corrupt(why))));
        }
        let locked = seen().find_map(|seen| seen.lock().cloned().map(|lock| (seen, lock)));
        if let Some((seen, lock)) = locked {
            let polite = !self.attempts.contains(&lock.txn);
            let key = seen.object.key.clone();
            let primary = self.view.primary(&lock).cloned();
            let (resolve, step) = Resolve::start(seen, lock, primary.as_ref(), polite, self.rules);
            self.phase = Phase::Resolve(resolve, key);
            return Some(self.after_resolve(step, fresh));
        }
        if !self.rules.keep(Rule::ForwardFirst) {
            return None;
        }
        let (seen, commit) = seen().find_map(|seen| seen.commit().cloned().map(|commit| (seen, commit)))?;
        let (forward, step) = Forward::start(seen, commit, self.view.seen(), self.rules);
        self.phase = Phase::Forward(forward);
        Some(self.after_forward(step, fresh))
    }

    fn after_spans(&mut self, step: Step<Finished<()>>, fresh: TxnId) -> Step<()> {
        match (step, &self.phase) {
            (Step::Done(Ok(())), Phase::Spans(spans)) => {
                self.view.note_spans(spans.clone());
                self.advance(fresh)
            }
            (Step::Done(Err(error)), _) => self.end(Err(error)),
            (step, _) => step.without_result(),
        }
    }

    fn after_resolve(&mut self, step: Step<Finished<()>>, fresh: TxnId) -> Step<()> {
        match (step, &self.phase) {
            (Step::Done(Ok(())), Phase::Resolve(resolve, key)) => {
                let (primary, key) = (resolve.primary().clone(), key.clone());
                self.view.forget_lock(&key, &primary);
                self.advance(fresh)
            }
            (Step::Done(Err(error)), _) => self.end(Err(error)),
            (step, _) => step.without_result(),
        }
    }

    fn after_forward(&mut self, step: Step<Finished<()>>, fresh: TxnId) -> Step<()> {
        match (step, &self.phase) {
            (Step::Done(Ok(())), Phase::Forward(forward)) => {
                self.view.note_forwarded(forward);
                self.advance(fresh)
            }
            (Step::Done(Err(error)), _) => self.end(Err(error)),
            (step, _) => step.without_result(),
        }
    }

    fn attempt(&mut self, members: BTreeMap<Key, Then>, fresh: TxnId) -> Step<()> {
        self.attempts.push(fresh);
        let outcome = plan::outcome(&self.txn, &self.view, fresh);
        let Some((primary, others)) = plan::primary_and_others(members, &self.view) else { return self.confirm(fresh) };
        let step = if others.is_empty() {
            let (single, step) = Single::start(fresh, primary, self.rules);
            self.phase = Phase::Single(single, outcome);
            step
        } else {
            let (attempt, step) = Attempt::start(fresh, primary, others, self.rules);
            self.phase = Phase::Attempt(attempt, outcome);
            step
        };
        self.after_attempt(step)
    }

    fn after_attempt(&mut self, step: Step<()>) -> Step<()> {
        let (end, outcome) = match &self.phase {
            Phase::Attempt(attempt, outcome) => (attempt.end().cloned(), outcome.clone()),
            Phase::Single(single, outcome) => (single.end().cloned(), outcome.clone()),
            _ => return step,
        };
        if end == Some(AttemptEnd::Committed) {
            self.outcome = Some(Ok(outcome));
        }
        match (step, end) {
            (Step::Done(()), Some(AttemptEnd::NotApplied)) => {
                self.phase = Phase::Retry;
                Step::Pause(Pause::Retry)
            }
            (Step::Done(()), Some(AttemptEnd::Unknown(cause))) => self.end(Err(StoreError::Ambiguous(cause))),
            (Step::Done(()), Some(AttemptEnd::Failed(error))) => self.end(Err(error)),
            (Step::Done(()), _) => {
                self.phase = Phase::Over;
                Step::Done(())
            }
            (step, _) => step,
        }
    }

    /// The path only reads. Several keys are read again: if none has changed, all of this was so at one moment.
    fn confirm(&mut self, fresh: TxnId) -> Step<()> {
        if self.view.has_presumed() {
            return self.read_anew(fresh);
        }
        let (absent, present) = self.view.to_confirm();
        if absent.len() + present.len() <= 1 || !self.rules.keep(Rule::ReadTwice) {
            return self.end(Ok(plan::outcome(&self.txn, &self.view, fresh)));
        }
        if self.rules.keep(Rule::AbsentBetween) && !absent.is_empty() {
            return self.read_again(absent, present);
        }
        self.read_again(absent.into_iter().chain(present).collect(), BTreeSet::new())
    }

    fn read_again(&mut self, keys: BTreeSet<Key>, present: BTreeSet<Key>) -> Step<()> {
        let (reads, step) = Reads::send(keys);
        self.phase = Phase::Confirm { reads, present, is_same: true };
        step
    }

    fn confirm_rest(&mut self, fresh: TxnId) -> Step<()> {
        if let Some(error) = self.failed.take() {
            return self.end(Err(error));
        }
        let Phase::Confirm { present, is_same, .. } = &mut self.phase else { return Step::Wait };
        let present = std::mem::take(present);
        match (*is_same, present.is_empty()) {
            (false, _) => self.read_anew(fresh),
            (true, false) => self.read_again(present, BTreeSet::new()),
            (true, true) => self.end(Ok(plan::outcome(&self.txn, &self.view, fresh))),
        }
    }
}
