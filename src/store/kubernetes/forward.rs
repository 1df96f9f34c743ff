//! Finishes a committed transaction whose process did not: resolves the locks that its commit names.
//!
//! Each is read after the commit was seen, unless it already shows the commit's revision. A primary that its transaction
//! has deleted, a *tombstone*, is removed at the end. From any other, the next write of the key removes the commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::api::{Answer, Request, Seen, Stored, Written};
use super::object::{Commit, Uid};
use super::rules::{Rule, Rules};
use super::step::{Finished, Started, Step};
use crate::store::{Key, StoreError};

/// Finishes one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Forward {
    primary: Arc<Stored>,
    commit: Commit,
    /// The keys that may have changed meanwhile.
    looked_at: BTreeSet<Key>,
    phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Locks {
        /// The locks with an open request, and whether that is a write.
        open: BTreeMap<Key, (Uid, bool)>,
        /// An error, kept until the other requests are answered.
        failed: Option<StoreError>,
    },
    RemoveTombstone,
}

impl Forward {
    /// Begins. `known` has what was read together with the primary.
    pub(super) fn start(
        primary: Arc<Stored>,
        commit: Commit,
        known: &BTreeMap<Key, Seen>,
        rules: Rules,
    ) -> Started<Self, Finished<()>> {
        let is_resolved = |seen: &Seen, uid: &Uid| {
            shows(seen, &commit) || !rules.keep(Rule::LocksAfterCommit) && locked_by(seen, uid, &commit).is_none()
        };
        let is_open = |(key, uid): &&(Key, Uid)| known.get(key).is_none_or(|seen| !is_resolved(seen, uid));
        let open: BTreeMap<_, _> =
            commit.locks.iter().filter(is_open).map(|(key, uid)| (key.clone(), (uid.clone(), false))).collect();
        let looked_at = open.keys().cloned().collect();
        let requests: Vec<Request> = open.keys().cloned().map(Request::Get).collect();
        let mut machine = Self { primary, commit, looked_at, phase: Phase::Locks { open, failed: None } };
        let step = if requests.is_empty() { machine.end() } else { Step::Send(requests) };
        (machine, step)
    }

    pub(super) fn answer(&mut self, key: &Key, answer: Answer) -> Step<Finished<()>> {
        let Phase::Locks { open, failed } = &mut self.phase else {
            // If it is not gone, whoever meets it next removes it.
            return Step::Done(Ok(()));
        };
        let Some((uid, is_write)) = open.get_mut(key) else { return Step::Wait };
        let error = if *is_write {
            match answer.into_written() {
                Written::Done(_) => None,
                Written::Conflict | Written::Silence(_) | Written::Failed(StoreError::Unavailable(_)) => {
                    *is_write = false;
                    return Step::Send(vec![Request::Get(key.clone())]);
                }
                Written::Failed(error) => Some(error),
            }
        } else {
            match answer.into_seen(key) {
                Ok(seen) => match locked_by(&seen, uid, &self.commit) {
                    Some(locked) => {
                        *is_write = true;
                        return Step::Send(vec![Request::Write(locked.unlock(true))]);
                    }
                    None => None,
                },
                Err(error) => Some(error),
            }
        };
        open.remove(key);
        *failed = failed.take().or(error);
        if open.is_empty() { self.end() } else { Step::Wait }
    }

    fn end(&mut self) -> Step<Finished<()>> {
        if let Phase::Locks { failed: Some(error), .. } = &self.phase {
            return Step::Done(Err(error.clone()));
        }
        if self.primary.object.value.is_some() {
            return Step::Done(Ok(()));
        }
        self.phase = Phase::RemoveTombstone;
        Step::Send(vec![Request::Write(self.primary.drop_commit())])
    }

    pub(super) fn primary(&self) -> &Arc<Stored> {
        &self.primary
    }

    /// Whether a key was looked at, and must be read again.
    pub(super) fn has_looked_at(&self, key: &Key) -> bool {
        self.looked_at.contains(key)
    }
}

/// Whether a key shows that its lock was resolved: it has what the transaction wrote.
fn shows(seen: &Seen, commit: &Commit) -> bool {
    let is_locked = |seen: &Stored| seen.lock().is_some_and(|lock| lock.txn == commit.txn);
    let revision = |seen: &Stored| seen.object.value.as_ref().map(|value| value.revision);
    seen.as_ref().is_some_and(|seen| revision(seen) == Some(commit.txn.revision()) && !is_locked(seen))
}

/// The object with its lock, if the commit names it.
fn locked_by<'a>(seen: &'a Seen, uid: &Uid, commit: &Commit) -> Option<&'a Arc<Stored>> {
    let is_named = |seen: &&Arc<Stored>| seen.version.uid == *uid;
    seen.as_ref().filter(is_named).filter(|seen| seen.lock().is_some_and(|lock| lock.txn == commit.txn))
}
