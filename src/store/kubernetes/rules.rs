//! The rules that make a transaction over several objects out of requests about one.
//!
//! In the program, every rule holds, and [`Rules`] has no size. The tests leave out one rule after the other, and find
//! what goes wrong without it (`tests/rules.rs`).

/// A rule of the protocol. The text of each says what it prevents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Rule {
    /// The primary is locked before the other keys. Otherwise whoever meets another lock finds no lock on the primary,
    /// drops what it met, and the transaction commits without it.
    PrimaryFirst,
    /// Whoever ends a transaction removes the lock of its primary before any other. Otherwise the transaction commits
    /// after one of its locks was dropped.
    EndAtPrimary,
    /// A primary is read after the lock that names it was seen. What was read before may be older than the lock.
    PrimaryAfterLock,
    /// The locks of a commit are read after the commit was seen, unless they show its revision. What was read before
    /// may be older than the lock.
    LocksAfterCommit,
    /// A commit's locks are resolved before its primary is locked again. Otherwise nobody knows that they have
    /// committed.
    ForwardFirst,
    /// A primary that the transaction deletes stays with its commit until every lock is resolved. Otherwise a lock that
    /// is met later looks as if its transaction had been ended.
    Tombstone,
    /// The tombstone stays if any lock was not certainly resolved.
    AllResolved,
    /// A commit names the locked objects by UID. Otherwise a copy of a lock request that arrives after the key was
    /// deleted brings the value back.
    LockedByUid,
    /// Guards that held are locked, not only what is written. Otherwise two transactions can each write what the other
    /// one depends on.
    GuardsLocked,
    /// So are keys that a writing transaction reads.
    ReadsLocked,
    /// A refused commit is looked up, since a proxy may have sent it twice. The second copy is refused because the first
    /// one was applied.
    RefusalLookedUp,
    /// After a commit without an answer, no lock is removed before the primary shows that the commit can't arrive.
    SilenceLookedUp,
    /// If removing the primary's lock then fails, the primary is read again. The commit may have arrived in between.
    UndoSeenThrough,
    /// If the commit was denied, and removing the primary's lock fails as well, the primary is read. A proxy may have sent
    /// the commit twice, and only the second copy was denied.
    DenialSeenThrough,
    /// Only the lock on the object that was locked is the transaction's own. A copy of the request may have created
    /// another one.
    OwnLockByUid,
    /// Another revision on the primary proves nothing: the commit may have arrived, and the key was written again.
    OtherRevisionUnknown,
    /// Neither does a primary without a value.
    AbsenceUnknown,
    /// A single write that was refused is looked up, for the same reason as a commit.
    SingleLookedUp,
    /// Several keys are read twice, until both readings have the same versions. Otherwise they show two moments.
    ReadTwice,
    /// The primaries that decided about locks are part of both readings.
    PrimariesReadTwice,
    /// What was absent is read again before the rest is. An absence has no version that shows that it lasted.
    AbsentBetween,
    /// A list is sent again if a lock in it is not open afterwards and was not known before. Otherwise it shows what
    /// its transaction wrote after the moment of the list.
    ListAgain,
    /// A key with a lock and no value is in a hint. Otherwise a key that was committed looks free to a search, until its
    /// lock is resolved.
    LockedInHint,
}

/// Which rules hold: all of them, except in a test that leaves out one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Rules {
    #[cfg(test)]
    pub(super) without: Option<Rule>,
}

impl Rules {
    /// Whether a rule holds.
    pub(super) fn keep(self, rule: Rule) -> bool {
        #[cfg(test)]
        return self.without != Some(rule);
        #[cfg(not(test))]
        {
            let _ = rule;
            true
        }
    }
}
