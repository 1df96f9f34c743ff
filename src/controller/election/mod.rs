//! Leader election among controllers: a state machine without I/O, driven by [`super::leader_elector`].
//!
//! ```text
//!            read: no holder, or unchanged for a whole lease duration ─► Write ─┐ written: leads until renew_deadline
//!  standby ◄───────────────────────────────────────────────────────────────────┴─► leader   after it was sent
//!      ▲                                                                             │ ▲
//!      └── read: another holder · written: conflict · renew_deadline has passed ◄────┘ └─ Write, every retry_period
//! ```
//!
//! - Every write is conditional on the resourceVersion that was read. Of two controllers that try to acquire the lease
//!   at once, one succeeds.
//! - Whether another holder's lease has expired depends on how long *we* have seen it unchanged, on our own monotonic
//!   clock. Clocks of two machines are never compared. A lease that is seen for the first time counts as just renewed.
//! - The leader steps down one third of the lease duration before anyone else may acquire the lease. Its clock starts
//!   before it sends the write; theirs start when they observe it.
//!
//! It does not guarantee one leader while a process is suspended (SIGSTOP, a suspended machine) between its last look
//! at the clock and its next action. A second leader for a moment is harmless, because every release is conditional on
//! the revision that was seen, whoever sends it.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::cluster::{LeaderElectionRecord, ObservedRecord};

/// The durations of an election, all derived from that of the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElectionTiming {
    lease_duration: Duration,
}

impl ElectionTiming {
    /// A Lease counts whole seconds.
    const MIN_LEASE_DURATION: Duration = Duration::from_secs(1);

    /// Rounds down to whole seconds.
    pub fn new(lease_duration: Duration) -> Self {
        Self { lease_duration: Duration::from_secs(lease_duration.max(Self::MIN_LEASE_DURATION).as_secs()) }
    }

    /// How long after the last renewal the leader steps down.
    pub(super) fn renew_deadline(self) -> Duration {
        self.lease_duration * 2 / 3
    }

    /// How often the lease is read, and renewed by its holder.
    pub(super) fn retry_period(self) -> Duration {
        self.lease_duration / 5
    }
}

/// What to do after the lease was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ElectionAction {
    /// Write this record, unless the lease has changed since.
    Write(LeaderElectionRecord),
    /// Nothing, until the next read.
    Wait,
}

/// The state of one participant.
#[derive(Debug)]
pub(super) struct Election {
    identity: String,
    timing: ElectionTiming,
    /// The resourceVersion of another holder's record, and when it was first seen.
    observed: Option<(String, Instant)>,
    leader_until: Option<Instant>,
}

impl Election {
    /// Starts in standby. The identity must be unique to the process.
    pub(super) fn new(identity: String, timing: ElectionTiming) -> Self {
        Self { identity, timing, observed: None, leader_until: None }
    }

    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    pub(super) fn timing(&self) -> ElectionTiming {
        self.timing
    }

    /// When leadership ends unless it is renewed; `None` in standby.
    pub(super) fn leader_until(&self) -> Option<Instant> {
        self.leader_until
    }

    /// Handles the record that was read. `wall` is only shown in the Lease. No decision depends on it.
    pub(super) fn on_read(
        &mut self,
        observed: Option<&ObservedRecord>,
        now: Instant,
        wall: Timestamp,
    ) -> ElectionAction {
        let Some(ObservedRecord { resource_version, record, .. }) = observed else {
            return ElectionAction::Write(self.next_record(None, wall));
        };
        let is_held_by_another = !record.holder_identity.is_empty() && record.holder_identity != self.identity;
        if is_held_by_another {
            self.leader_until = None;
            let first_seen = match &self.observed {
                Some((version, first_seen)) if version == resource_version => *first_seen,
                _ => now,
            };
            self.observed = Some((resource_version.clone(), first_seen));
            // The holder's own lease duration counts if it is longer than ours.
            let expires_after = self.timing.lease_duration.max(Duration::from_secs(record.lease_duration_seconds));
            if now.saturating_duration_since(first_seen) < expires_after {
                return ElectionAction::Wait;
            }
        }
        ElectionAction::Write(self.next_record(Some(record), wall))
    }

    /// Handles the result of a write: it succeeded, or another process changed the lease first.
    pub(super) fn on_written(&mut self, succeeded: bool, sent: Instant) {
        self.observed = None;
        self.leader_until = succeeded.then(|| sent + self.timing.renew_deadline());
    }

    /// Steps down. Returns the record that releases the lease, if we hold it.
    pub(super) fn release(
        &mut self,
        observed: Option<&ObservedRecord>,
        wall: Timestamp,
    ) -> Option<LeaderElectionRecord> {
        self.leader_until = None;
        let record = &observed?.record;
        (record.holder_identity == self.identity).then(|| LeaderElectionRecord {
            holder_identity: String::new(),
            lease_duration_seconds: 1,
            renew_time: Some(wall),
            ..record.clone()
        })
    }

    /// The record that acquires or renews the lease.
    fn next_record(&self, last: Option<&LeaderElectionRecord>, wall: Timestamp) -> LeaderElectionRecord {
        let ours = last.filter(|record| record.holder_identity == self.identity);
        LeaderElectionRecord {
            holder_identity: self.identity.clone(),
            lease_duration_seconds: self.timing.lease_duration.as_secs(),
            acquire_time: ours.map_or(Some(wall), |record| record.acquire_time),
            renew_time: Some(wall),
            leader_transitions: match (last, ours) {
                (_, Some(record)) => record.leader_transitions,
                (Some(record), None) => record.leader_transitions.saturating_add(1),
                (None, None) => 0,
            },
        }
    }
}
