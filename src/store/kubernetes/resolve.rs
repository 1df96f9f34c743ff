//! Resolves the lock of another transaction: with its effect if the transaction has committed, otherwise after ending
//! it.
//!
//! ```text
//! lock on k ─► GET primary ─┬─ its commit names this lock ────────────────────────────► unlock k with its effect
//!                  ▲        ├─ it has the transaction's lock ─► wait ─► remove that ─┬─► unlock k without effect
//!                  │        │                                          │ refused, silence
//!                  └────────│──────────────────────────────────────────┘
//!                           └─ neither: the transaction was ended, or this lock is a late copy ─► unlock k without
//! ```
//!
//! The transaction may still be running. Removing the lock of its primary is what ends it, since its commit names the
//! version of that object. Only then, nothing can change what this lock means.

use std::sync::Arc;

use super::api::{Answer, Request, Seen, Stored, Written};
use super::object::{Lock, Uid};
use super::rules::{Rule, Rules};
use super::step::{Finished, Pause, Started, Step};
use crate::store::{Key, StoreError};

/// What a primary says about a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Committed,
    /// The transaction is running, or its process has died. This is its primary.
    Open(Arc<Stored>),
    Ended,
}

/// What the lock of an object means, by its primary as it was read after the lock.
pub(super) fn verdict(locked: &Stored, lock: &Lock, primary: &Seen, rules: Rules) -> Verdict {
    let Some(primary) = primary else { return Verdict::Ended };
    let names = |key: &Key, uid: &Uid| {
        *key == locked.object.key && (*uid == locked.version.uid || !rules.keep(Rule::LockedByUid))
    };
    match (primary.commit(), primary.lock()) {
        (Some(commit), _) if commit.txn == lock.txn && commit.locks.iter().any(|(key, uid)| names(key, uid)) => {
            Verdict::Committed
        }
        (_, Some(own)) if own.txn == lock.txn => Verdict::Open(Arc::clone(primary)),
        _ => Verdict::Ended,
    }
}

/// Resolves one lock. Afterwards, its key must be read again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Resolve {
    rules: Rules,
    locked: Arc<Stored>,
    lock: Lock,
    /// Whether to wait before ending the transaction. An earlier attempt of one's own needs no time.
    polite: bool,
    phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    ReadPrimary,
    Wait(Arc<Stored>),
    EndTransaction,
    Unlock,
}

impl Resolve {
    /// Begins. `primary` is what was read of it since the lock was seen, if anything.
    pub(super) fn start(
        locked: Arc<Stored>,
        lock: Lock,
        primary: Option<&Seen>,
        polite: bool,
        rules: Rules,
    ) -> Started<Self, Finished<()>> {
        let is_primary = lock.primary == locked.object.key;
        let known = if is_primary { Some(Some(Arc::clone(&locked))) } else { primary.cloned() };
        let mut machine = Self { rules, locked, lock, polite, phase: Phase::ReadPrimary };
        let step = match known {
            Some(primary) => machine.judge(&primary),
            None => machine.read_primary(),
        };
        (machine, step)
    }

    pub(super) fn answer(&mut self, answer: Answer) -> Step<Finished<()>> {
        match self.phase {
            Phase::ReadPrimary => match answer.into_seen(&self.lock.primary) {
                Ok(primary) => self.judge(&primary),
                Err(error) => Step::Done(Err(error)),
            },
            Phase::Wait(_) => Step::Wait,
            Phase::EndTransaction => match answer.into_written() {
                Written::Done(_) if self.is_primary() => Step::Done(Ok(())),
                Written::Done(_) => self.unlock(false),
                Written::Conflict | Written::Silence(_) | Written::Failed(StoreError::Unavailable(_)) => {
                    self.read_primary()
                }
                Written::Failed(error) => Step::Done(Err(error)),
            },
            Phase::Unlock => match answer.into_written() {
                // Reading the key again shows what became of it.
                Written::Done(_)
                | Written::Conflict
                | Written::Silence(_)
                | Written::Failed(StoreError::Unavailable(_)) => Step::Done(Ok(())),
                Written::Failed(error) => Step::Done(Err(error)),
            },
        }
    }

    /// Goes on after the pause.
    pub(super) fn resume(&mut self) -> Step<Finished<()>> {
        let Phase::Wait(primary) = &self.phase else { return Step::Wait };
        let end = primary.unlock(false);
        self.phase = Phase::EndTransaction;
        Step::Send(vec![Request::Write(end)])
    }

    /// The key that decides.
    pub(super) fn primary(&self) -> &Key {
        &self.lock.primary
    }

    fn is_primary(&self) -> bool {
        self.lock.primary == self.locked.object.key
    }

    fn read_primary(&mut self) -> Step<Finished<()>> {
        self.phase = Phase::ReadPrimary;
        Step::Send(vec![Request::Get(self.lock.primary.clone())])
    }

    fn judge(&mut self, primary: &Seen) -> Step<Finished<()>> {
        match verdict(&self.locked, &self.lock, primary, self.rules) {
            Verdict::Open(primary) if self.rules.keep(Rule::EndAtPrimary) => {
                self.phase = Phase::Wait(primary);
                if self.polite { Step::Pause(Pause::Politeness) } else { self.resume() }
            }
            // The primary itself was locked, and is not any more.
            Verdict::Committed | Verdict::Ended if self.is_primary() => Step::Done(Ok(())),
            verdict => self.unlock(verdict == Verdict::Committed),
        }
    }

    fn unlock(&mut self, committed: bool) -> Step<Finished<()>> {
        self.phase = Phase::Unlock;
        Step::Send(vec![Request::Write(self.locked.unlock(committed))])
    }
}
