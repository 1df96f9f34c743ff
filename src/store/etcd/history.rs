//! Finds the earlier values of a key by reading it at older revisions.
//!
//! ```text
//!  revision      1 … R-1   R         c        m       d                 H
//!                compacted ├─ absent ┼─ put ──┼─ put ─┼─ absent ─ … ────┤ the first read
//!                                    ◄─ one read at m-1, since the value at m is not the key's first
//!                          ◄─ scan ──┘               ◄─ scan: up to 128 revisions in a request
//! ```
//!
//! etcd says of a value when it was written and whether it is the first since the key was created. So the value before
//! it is one read away, however many revisions lie between. Nothing leads from a creation to the deletion before it. A
//! scan finds it: it reads the key at one revision after another. For etcd, that is a lookup in memory.
//!
//! A watch would deliver the same changes, but etcd reads all changes of all keys from its file for it, under a lock
//! that writers need, and gives no reliable sign that the last one has been delivered (etcd issue 15220).
//!
//! A read of a discarded revision fails as a whole and does not say which revision is the oldest. Bisecting between it
//! and one that was readable finds that. [`Walk`] decides what to read; it does no I/O.

use std::num::NonZeroU64;

use super::{EtcdStore, Reply, wire};
use crate::deadline::Deadline;
use crate::store::{Change, HistoryEnd, Key, KeyHistory, MAX_OPERATIONS, Revision, StoreError, Value};

/// How many revisions one request of a scan reads.
const SCAN: u64 = MAX_OPERATIONS as u64;

/// A key's value at some revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// The revision at which it was written.
    pub(super) modified: u64,
    /// Whether the key did not exist just before that.
    pub(super) is_first: bool,
    pub(super) value: Value,
}

/// Walks back through the revisions of a key.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    limit: usize,
    /// The map's revision at the start.
    current: u64,
    changes: Vec<Change>,
    /// The next revision to read; everything above it is known. 0 at the end.
    next: u64,
    /// Whether the key exists just above `next`.
    above: Above,
    /// The lowest revision that was readable.
    readable: u64,
    oldest: Oldest,
}

/// Whether the key exists just above the next revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Above {
    Absent,
    /// And it was not created there, so it exists at the next revision, too.
    Present,
}

/// What is known of the oldest readable revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Oldest {
    Unknown,
    /// It is above this one, which has been discarded, and at most the lowest that was readable.
    Above(u64),
    Found(u64),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WalkStep {
    /// Read the key at these revisions, the highest first.
    Read(Vec<u64>),
    End(HistoryEnd),
}

impl Walk {
    /// Starts from the current state: the map's revision, and the key's value at it.
    pub(super) fn new(limit: usize, current: u64, version: Option<Version>) -> Self {
        let (changes, above, oldest) = (Vec::new(), Above::Absent, Oldest::Unknown);
        let mut walk = Self { limit, current, changes, next: current, above, readable: current, oldest };
        // Of a key that does not exist, the deletion is still to be found.
        match version {
            Some(version) => walk.wrote(version),
            None => walk.next = current.saturating_sub(1),
        }
        walk
    }

    /// What to read next, or why the walk ends.
    pub(super) fn step(&self) -> WalkStep {
        let floor = match self.oldest {
            Oldest::Unknown => 1,
            Oldest::Found(revision) => revision,
            Oldest::Above(discarded) => return WalkStep::Read(vec![discarded + (self.readable - discarded) / 2]),
        };
        match self.oldest {
            _ if self.next == 0 => WalkStep::End(HistoryEnd::Complete),
            _ if self.has_enough() => WalkStep::End(HistoryEnd::Limit),
            Oldest::Found(oldest) if self.next < oldest => {
                WalkStep::End(revision(oldest).map_or(HistoryEnd::Complete, HistoryEnd::Compacted))
            }
            _ => {
                let count = if self.above == Above::Present { 1 } else { SCAN };
                let last = self.next.saturating_sub(count - 1).max(floor);
                WalkStep::Read((last..=self.next).rev().collect())
            }
        }
    }

    /// The versions at the revisions of the last step.
    pub(super) fn read(&mut self, revisions: &[u64], versions: Vec<Option<Version>>) {
        self.readable = revisions.iter().copied().fold(self.readable, u64::min);
        if let Oldest::Above(discarded) = self.oldest {
            self.narrow(discarded);
            return;
        }
        for (at, version) in revisions.iter().zip(versions) {
            if self.has_enough() {
                return;
            }
            match version {
                // It lies within a version that was found at a higher revision.
                _ if *at != self.next => {}
                None => (self.above, self.next) = (Above::Absent, at - 1),
                Some(version) => {
                    if self.above == Above::Absent {
                        self.changes.extend(revision(at + 1).map(|at| Change { at, value: None }));
                    }
                    self.wrote(version);
                }
            }
        }
    }

    /// The lowest revision of the last step has been discarded.
    pub(super) fn compacted(&mut self, revisions: &[u64]) {
        let discarded = revisions.iter().copied().min().unwrap_or_default();
        self.narrow(discarded);
    }

    fn narrow(&mut self, discarded: u64) {
        if self.readable <= discarded {
            // It was discarded meanwhile.
            self.readable = self.current.max(discarded + 1);
        }
        self.oldest = match self.readable - discarded {
            1 => Oldest::Found(self.readable),
            _ => Oldest::Above(discarded),
        };
    }

    fn has_enough(&self) -> bool {
        self.changes.iter().filter(|change| change.value.is_some()).count() >= self.limit
    }

    fn wrote(&mut self, version: Version) {
        let Version { modified, is_first, value } = version;
        self.changes.extend(revision(modified).map(|at| Change { at, value: Some(value) }));
        (self.above, self.next) = match is_first {
            true => (Above::Absent, modified.saturating_sub(2)),
            false => (Above::Present, modified.saturating_sub(1)),
        };
    }

    /// The lowest revision from which on everything is known.
    fn known_from(&self) -> Option<Revision> {
        revision(self.next + 1)
    }
}

fn revision(number: u64) -> Option<Revision> {
    NonZeroU64::new(number).map(Revision)
}

impl EtcdStore {
    /// The changes of a key, at most `limit` values.
    pub(super) async fn walk(&self, key: &Key, limit: usize, deadline: Deadline) -> Result<KeyHistory, StoreError> {
        let (current, version) = match self.send(wire::at_revisions(&self.prefix, key, &[]), false, deadline).await? {
            Reply::Txn(response) => wire::current_version(&response)?,
            Reply::Compacted => return Err(wire::unexpected()),
        };
        let mut walk = Walk::new(limit, current, version);
        let end = loop {
            let revisions = match walk.step() {
                WalkStep::End(end) => break end,
                WalkStep::Read(revisions) => revisions,
            };
            if deadline.has_passed() {
                break unfinished(&walk, None);
            }
            let request = wire::at_revisions(&self.prefix, key, &revisions);
            match self.send(request, false, deadline).await {
                Ok(Reply::Txn(response)) => walk.read(&revisions, wire::versions(&response, revisions.len())?),
                Ok(Reply::Compacted) => walk.compacted(&revisions),
                Err(error) => break unfinished(&walk, Some(error)),
            }
        };
        Ok(KeyHistory { changes: walk.changes, end })
    }
}

fn unfinished(walk: &Walk, error: Option<StoreError>) -> HistoryEnd {
    match walk.known_from() {
        Some(from) => HistoryEnd::Unfinished { from, error },
        None => HistoryEnd::Complete,
    }
}

#[cfg(test)]
mod tests;
