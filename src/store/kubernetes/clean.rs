//! Resolves what a dead process has left on one object, for whoever collects such remains. No transaction needs it: each
//! resolves what it meets.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::api::{Answer, Request, Seen, Stored};
use super::forward::Forward;
use super::resolve::Resolve;
use super::rules::Rules;
use super::step::{Finished, Step};
use crate::store::Key;

/// Cleans one object, as it is when it is read. What is left afterwards needs another look.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Clean {
    rules: Rules,
    phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Read,
    Resolve(Resolve),
    Forward(Forward),
    Remove,
}

impl Clean {
    /// Begins.
    pub(super) fn start(key: Key, rules: Rules) -> (Self, Step<Finished<()>>) {
        (Self { rules, phase: Phase::Read }, Step::Send(vec![Request::Get(key)]))
    }

    pub(super) fn answer(&mut self, key: &Key, answer: Answer) -> Step<Finished<()>> {
        match &mut self.phase {
            Phase::Read => match answer.into_seen(key) {
                Ok(seen) => self.seen(&seen),
                Err(error) => Step::Done(Err(error)),
            },
            Phase::Resolve(resolve) => resolve.answer(answer),
            Phase::Forward(forward) => forward.answer(key, answer),
            // If it is still there, it has changed.
            Phase::Remove => Step::Done(Ok(())),
        }
    }

    /// Goes on after a pause.
    pub(super) fn resume(&mut self) -> Step<Finished<()>> {
        match &mut self.phase {
            Phase::Resolve(resolve) => resolve.resume(),
            Phase::Read | Phase::Forward(_) | Phase::Remove => Step::Wait,
        }
    }

    fn seen(&mut self, seen: &Seen) -> Step<Finished<()>> {
        let Some(seen): Option<&Arc<Stored>> = seen.as_ref() else { return Step::Done(Ok(())) };
        if let Some(lock) = seen.lock() {
            let (resolve, step) = Resolve::start(Arc::clone(seen), lock.clone(), None, true, self.rules);
            self.phase = Phase::Resolve(resolve);
            step
        } else if let Some(commit) = seen.commit() {
            let (forward, step) = Forward::start(Arc::clone(seen), commit.clone(), &BTreeMap::new(), self.rules);
            self.phase = Phase::Forward(forward);
            step
        } else if seen.object.value.is_none() {
            self.phase = Phase::Remove;
            Step::Send(vec![Request::Write(seen.delete())])
        } else {
            Step::Done(Ok(()))
        }
    }
}
