//! One attempt of a transaction over several keys.
//!
//! ```text
//!  1 lock primary ─► 2 lock others ─► 3 write primary, with commit ─► finish: unlock others ─► remove tombstone
//!        │               │ any refused, │ refused, silence                ▲
//!        │               │ or silence   ▼                                 │ committed
//!        │               │          4 look up primary ────────────────────┘
//!        │               ▼              │ locked: remove it       │ unknown, unless another
//!        │           unlock primary ◄───┘                         │ lock is still there
//!        ▼               ▼                                        ▼
//!     retry          unlock others ◄──────────────────────────────┘
//! ```
//!
//! Step 3 is the transaction: before it, nothing has happened, and after it, everything has. It is sent once. Who gets
//! no clear answer asks the primary.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::api::{Answer, Request, Seen, Stored, Write, Written};
use super::object::{Commit, Lock, Mark, Object, Then, TxnId, Uid, Versioned};
use super::rules::{Rule, Rules};
use super::step::Step;
use crate::cause::Cause;
use crate::store::{Key, StoreError};

/// Why it may be unknown what became of a commit.
const REFUSED: &str = "the commit was refused";

/// A key of the transaction, as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Member {
    pub(super) key: Key,
    pub(super) seen: Seen,
    /// What the transaction does to it.
    pub(super) then: Then,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum AttemptEnd {
    Committed,
    /// It has not happened and never will. Another attempt may succeed.
    NotApplied,
    /// It is not known.
    Unknown(Cause),
    /// It has not happened, and another attempt would fail as well.
    Failed(StoreError),
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Attempt {
    rules: Rules,
    id: TxnId,
    primary: Member,
    others: Vec<Member>,
    /// The locks that were answered, as long as they are not removed.
    held: BTreeMap<Key, Arc<Stored>>,
    /// The object on which this attempt has locked the primary. It tells its lock from a copy that came late, also while
    /// the lock is being removed.
    locked_primary: Option<Uid>,
    phase: Phase,
    end: Option<AttemptEnd>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Lock { open: BTreeSet<Key>, failed: Option<AttemptEnd> },
    Commit,
    LookUp(Cause),
    UnlockPrimary(Reason),
    UnlockOthers { open: BTreeSet<Key>, one_was_left: bool, end: AttemptEnd },
    Finish { open: BTreeSet<Key>, primary: Seen, all_resolved: bool },
    RemoveTombstone,
}

/// Why the lock of the primary is removed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Reason {
    /// The commit was not sent, and will not be.
    NotSent(AttemptEnd),
    /// The commit was sent, and the answer is that it was not applied. If a proxy has sent it twice, the first copy may
    /// have been.
    Denied(AttemptEnd),
    /// The commit was sent, and this shows that it can't arrive any more.
    InDoubt(Cause),
}

impl Attempt {
    /// Begins. The primary is a key that the transaction writes.
    pub(super) fn start(id: TxnId, primary: Member, others: Vec<Member>, rules: Rules) -> (Self, Step<()>) {
        let phase = Phase::Commit;
        let (held, locked_primary) = (BTreeMap::new(), None);
        let mut attempt = Self { rules, id, primary, others, held, locked_primary, phase, end: None };
        let first: Vec<Member> = if rules.keep(Rule::PrimaryFirst) {
            vec![attempt.primary.clone()]
        } else {
            attempt.others.iter().chain([&attempt.primary]).cloned().collect()
        };
        let step = attempt.lock(&first);
        (attempt, step)
    }

    /// How it ended. It is known before the attempt is over: the locks of a committed one remain to be resolved.
    pub(super) fn end(&self) -> Option<&AttemptEnd> {
        self.end.as_ref()
    }

    /// Why it is not known whether it has happened; `None` as long as it certainly has not.
    pub(super) fn doubt(&self) -> Option<Cause> {
        match &self.phase {
            Phase::Commit => Some(Cause::new("the commit was sent and not answered")),
            Phase::LookUp(cause)
            | Phase::UnlockPrimary(Reason::InDoubt(cause))
            | Phase::UnlockOthers { end: AttemptEnd::Unknown(cause), .. } => Some(cause.clone()),
            Phase::UnlockPrimary(Reason::Denied(_)) => Some(Cause::new(REFUSED)),
            _ => None,
        }
    }

    pub(super) fn answer(&mut self, key: &Key, answer: Answer) -> Step<()> {
        match &mut self.phase {
            Phase::Lock { .. } => self.lock_answered(key, answer.into_written()),
            Phase::Commit => self.commit_answered(answer.into_written()),
            Phase::LookUp(cause) => {
                let cause = cause.clone();
                match answer.into_seen(key) {
                    Ok(seen) => self.looked_up(&seen, cause),
                    Err(error) => self.over(AttemptEnd::Unknown(Cause::new(error))),
                }
            }
            Phase::UnlockPrimary(reason) => {
                let reason = reason.clone();
                self.primary_unlocked(reason, answer.into_written())
            }
            Phase::UnlockOthers { open, one_was_left, end } => {
                open.remove(key);
                *one_was_left |= matches!(answer.into_written(), Written::Done(_));
                if !open.is_empty() {
                    return Step::Wait;
                }
                let end = if *one_was_left { end.without_doubt() } else { end.clone() };
                self.over(end)
            }
            Phase::Finish { open, primary, all_resolved } => {
                open.remove(key);
                *all_resolved &= matches!(answer.into_written(), Written::Done(_));
                if !open.is_empty() {
                    return Step::Wait;
                }
                let (primary, all_resolved) = (primary.clone(), *all_resolved);
                self.finished(&primary, all_resolved)
            }
            // If it is still there, whoever meets it next removes it.
            Phase::RemoveTombstone => Step::Done(()),
        }
    }

    fn lock(&mut self, members: &[Member]) -> Step<()> {
        let requests = members.iter().map(|Member { key, seen, then }| {
            let then = if *key == self.primary.key { Then::Keep } else { then.clone() };
            Request::Write(Write::lock(key, seen, Lock { txn: self.id, primary: self.primary.key.clone(), then }))
        });
        let step = Step::Send(requests.collect());
        self.phase = Phase::Lock { open: members.iter().map(|member| member.key.clone()).collect(), failed: None };
        step
    }

    fn lock_answered(&mut self, key: &Key, answer: Written) -> Step<()> {
        let Phase::Lock { open, failed } = &mut self.phase else { return Step::Wait };
        open.remove(key);
        match answer {
            Written::Done(Some(locked)) => {
                if *key == self.primary.key {
                    self.locked_primary = Some(locked.version.uid.clone());
                }
                self.held.insert(key.clone(), locked);
            }
            Written::Failed(error @ (StoreError::Denied(_) | StoreError::Corrupt(_))) => {
                *failed = Some(AttemptEnd::Failed(error));
            }
            _ => {
                failed.get_or_insert(AttemptEnd::NotApplied);
            }
        }
        if !open.is_empty() {
            return Step::Wait;
        }
        match failed.take() {
            Some(end) => self.unlock_primary(Reason::NotSent(end)),
            None if self.held.len() > self.others.len() => self.commit(),
            None => self.lock(&self.others.clone()),
        }
    }

    fn commit(&mut self) -> Step<()> {
        let Some(locked) = self.held.get(&self.primary.key) else { return self.over(AttemptEnd::NotApplied) };
        let value = match &self.primary.then {
            Then::Put(value) => Some(Versioned { value: value.clone(), revision: self.id.revision() }),
            Then::Delete => None,
            Then::Keep => locked.object.value.clone(),
        };
        let others = self.held.iter().filter(|(key, _)| **key != self.primary.key);
        let locks = others.map(|(key, locked)| (key.clone(), locked.version.uid.clone())).collect();
        let mark = Some(Mark::Commit(Commit { txn: self.id, locks }));
        let write = if value.is_none() && !self.rules.keep(Rule::Tombstone) {
            locked.delete()
        } else {
            Write::put(&Some(Arc::clone(locked)), Object { key: self.primary.key.clone(), value, mark })
        };
        self.phase = Phase::Commit;
        Step::Send(vec![Request::Write(write)])
    }

    fn commit_answered(&mut self, answer: Written) -> Step<()> {
        match answer {
            Written::Done(primary) => self.finish(primary),
            Written::Conflict if self.rules.keep(Rule::RefusalLookedUp) => self.look_up(Cause::new(REFUSED)),
            Written::Conflict => self.unlock_others(AttemptEnd::NotApplied),
            Written::Silence(cause) if self.rules.keep(Rule::SilenceLookedUp) => self.look_up(cause),
            Written::Silence(cause) => self.unlock_others(AttemptEnd::Unknown(cause)),
            Written::Failed(StoreError::Unavailable(_)) => self.unlock_primary(Reason::Denied(AttemptEnd::NotApplied)),
            Written::Failed(error) => self.unlock_primary(Reason::Denied(AttemptEnd::Failed(error))),
        }
    }

    fn look_up(&mut self, cause: Cause) -> Step<()> {
        self.phase = Phase::LookUp(cause);
        Step::Send(vec![Request::Get(self.primary.key.clone())])
    }

    fn looked_up(&mut self, seen: &Seen, cause: Cause) -> Step<()> {
        let Some(primary) = seen else {
            return self.unlock_others(self.unless(Rule::AbsenceUnknown, cause));
        };
        let revision = |seen: &Seen| Some(seen.as_ref()?.object.value.as_ref()?.revision);
        let is_own = Some(&primary.version.uid) == self.locked_primary.as_ref() || !self.rules.keep(Rule::OwnLockByUid);
        if primary.commit().is_some_and(|commit| commit.txn == self.id) {
            self.finish(Some(Arc::clone(primary)))
        } else if revision(seen) == Some(self.id.revision()) {
            // Others have resolved its locks since, as they do before the commit goes.
            self.held.clear();
            self.over(AttemptEnd::Committed)
        } else if is_own && primary.lock().is_some_and(|lock| lock.txn == self.id) {
            self.held.insert(self.primary.key.clone(), Arc::clone(primary));
            self.unlock_primary(Reason::InDoubt(cause))
        } else if revision(seen).is_none() {
            self.unlock_others(self.unless(Rule::AbsenceUnknown, cause))
        } else if revision(seen) == revision(&self.primary.seen) {
            // Somebody has ended it: a commit would have left another revision, or none.
            self.unlock_others(AttemptEnd::NotApplied)
        } else {
            self.unlock_others(self.unless(Rule::OtherRevisionUnknown, cause))
        }
    }

    /// The end is unknown by this rule.
    fn unless(&self, rule: Rule, cause: Cause) -> AttemptEnd {
        if self.rules.keep(rule) { AttemptEnd::Unknown(cause) } else { AttemptEnd::NotApplied }
    }

    fn unlock_primary(&mut self, reason: Reason) -> Step<()> {
        match (self.held.remove(&self.primary.key), reason) {
            (Some(locked), reason) => {
                self.phase = Phase::UnlockPrimary(reason);
                Step::Send(vec![Request::Write(locked.unlock(false))])
            }
            (None, Reason::NotSent(end) | Reason::Denied(end)) => self.unlock_others(end),
            (None, Reason::InDoubt(cause)) => self.unlock_others(AttemptEnd::Unknown(cause)),
        }
    }

    fn primary_unlocked(&mut self, reason: Reason, answer: Written) -> Step<()> {
        let is_done = matches!(answer, Written::Done(_));
        match reason {
            Reason::NotSent(end) => self.unlock_others(end),
            Reason::Denied(end) if is_done || !self.rules.keep(Rule::DenialSeenThrough) => self.unlock_others(end),
            Reason::Denied(_) => self.look_up(Cause::new(REFUSED)),
            Reason::InDoubt(_) if is_done || !self.rules.keep(Rule::UndoSeenThrough) => {
                self.unlock_others(AttemptEnd::NotApplied)
            }
            Reason::InDoubt(cause) => self.look_up(cause),
        }
    }

    /// Removes the locks of the other keys. If one of them was still there although the primary was written, that was
    /// not by this transaction: everybody resolves all locks before writing a primary.
    fn unlock_others(&mut self, end: AttemptEnd) -> Step<()> {
        self.held.remove(&self.primary.key);
        if self.held.is_empty() {
            return self.over(end);
        }
        let open = self.held.keys().cloned().collect();
        let requests = self.held.values().map(|locked| Request::Write(locked.unlock(false))).collect();
        self.held.clear();
        self.phase = Phase::UnlockOthers { open, one_was_left: false, end };
        Step::Send(requests)
    }

    /// The transaction has committed. Resolves its other locks.
    fn finish(&mut self, primary: Seen) -> Step<()> {
        self.end = Some(AttemptEnd::Committed);
        self.held.remove(&self.primary.key);
        let held = std::mem::take(&mut self.held);
        if held.is_empty() {
            return self.finished(&primary, true);
        }
        let requests = held.values().map(|locked| Request::Write(locked.unlock(true))).collect();
        self.phase = Phase::Finish { open: held.into_keys().collect(), primary, all_resolved: true };
        Step::Send(requests)
    }

    fn finished(&mut self, primary: &Seen, all_resolved: bool) -> Step<()> {
        let tombstone = primary.as_ref().filter(|primary| primary.object.value.is_none());
        match tombstone {
            Some(tombstone) if all_resolved || !self.rules.keep(Rule::AllResolved) => {
                self.phase = Phase::RemoveTombstone;
                Step::Send(vec![Request::Write(tombstone.drop_commit())])
            }
            _ => Step::Done(()),
        }
    }

    fn over(&mut self, end: AttemptEnd) -> Step<()> {
        self.end = Some(end);
        Step::Done(())
    }
}

impl AttemptEnd {
    /// The end, now that it is known that nothing has happened.
    fn without_doubt(&self) -> Self {
        match self {
            Self::Unknown(_) => Self::NotApplied,
            end => end.clone(),
        }
    }
}
