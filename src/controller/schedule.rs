//! When the next scan is due, and its scope. It reads no clock.
//!
//! - The whole store: once per interval, whatever happens in between.
//! - Some nodes: soon after pods of theirs were deleted.
//! - The whole store: soon after another object that keeps addresses was deleted. Further deletions neither hasten nor
//!   delay a scan that is due.
//! - The same scope again soon, if a scan found candidates that another one can confirm.
//! - After a failure: soon, and later each time, up to the interval.
//! - Scans of the store, or of nodes, take at most a fifth of the time. A long scan of the store does not delay one of
//!   nodes.

use std::time::{Duration, Instant};

/// The idle time after a scan, as a multiple of the scan's duration.
const IDLE_FACTOR: u32 = 4;

/// The scope of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScanScope {
    /// The whole store.
    Store,
    /// Some nodes.
    Nodes,
}

/// How a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScanResult {
    /// Nothing is urgent.
    Idle,
    /// Another scan of the same scope may confirm the candidates of this one.
    NeedsConfirmation,
    /// It was not completed.
    Failed,
}

/// When the next scan is due.
#[derive(Debug)]
pub(super) struct Schedule {
    interval: Duration,
    debounce: Duration,
    store_due: Instant,
    nodes_due: Option<Instant>,
    /// Deletions make no scan due before these times.
    store_earliest: Instant,
    nodes_earliest: Instant,
    failures: u32,
}

impl Schedule {
    /// The first scan, of the store, is due now. `debounce` is the delay after a deletion.
    pub(super) fn new(interval: Duration, debounce: Duration, now: Instant) -> Self {
        let debounce = debounce.min(interval);
        let (store_earliest, nodes_earliest) = (now, now);
        Self { interval, debounce, store_due: now, nodes_due: None, store_earliest, nodes_earliest, failures: 0 }
    }

    /// When the next scan is due.
    pub(super) fn due(&self) -> Instant {
        self.nodes_due.map_or(self.store_due, |nodes| nodes.min(self.store_due))
    }

    /// The scope of a scan that begins now. A scan of the store covers all nodes.
    pub(super) fn scope(&self, now: Instant) -> ScanScope {
        if self.store_due <= now { ScanScope::Store } else { ScanScope::Nodes }
    }

    /// Schedules a scan after a deletion at this time.
    pub(super) fn deleted(&mut self, at: Instant, scope: ScanScope) {
        let due = at + self.debounce;
        match scope {
            ScanScope::Store => self.store_due = self.store_due.min(due.max(self.store_earliest)),
            ScanScope::Nodes => {
                let due = due.max(self.nodes_earliest);
                self.nodes_due = Some(self.nodes_due.map_or(due, |known| known.min(due)));
            }
        }
    }

    /// Starts again with a scan that is due now, because leadership has changed.
    pub(super) fn restart(&mut self, now: Instant) {
        *self = Self::new(self.interval, self.debounce, now);
    }

    /// Schedules the scan that follows one that has ended now.
    pub(super) fn ended(&mut self, began: Instant, now: Instant, scope: ScanScope, result: ScanResult) {
        self.failures = if result == ScanResult::Failed { self.failures.saturating_add(1) } else { 0 };
        let pause = match result {
            ScanResult::Idle => self.interval,
            ScanResult::NeedsConfirmation => self.debounce,
            ScanResult::Failed => self.debounce.saturating_mul(1 << (self.failures - 1).min(16)).min(self.interval),
        };
        // A failed scan has mostly waited, and the pauses after failures grow anyway.
        let idle = match result {
            ScanResult::Failed => pause,
            ScanResult::Idle | ScanResult::NeedsConfirmation => now.saturating_duration_since(began) * IDLE_FACTOR,
        };
        let due = now + pause.max(idle);
        match (scope, result) {
            (ScanScope::Store, _) => {
                (self.store_due, self.nodes_due, self.store_earliest) = (due, None, now + idle);
            }
            (ScanScope::Nodes, ScanResult::Idle) => (self.nodes_due, self.nodes_earliest) = (None, now + idle),
            (ScanScope::Nodes, _) => (self.nodes_due, self.nodes_earliest) = (Some(due), now + idle),
        }
        if result == ScanResult::Failed {
            // A scan of the other scope would get no response sooner.
            (self.store_earliest, self.nodes_earliest) = (now + idle, now + idle);
            self.store_due = self.store_due.max(now + idle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn schedule() -> (Schedule, Instant) {
        let now = Instant::now();
        (Schedule::new(seconds(300), seconds(10), now), now)
    }

    #[test]
    fn the_first_scan_is_at_once_and_the_next_after_the_interval() {
        let (mut schedule, now) = schedule();
        assert_eq!(schedule.due(), now);
        schedule.ended(now, now, ScanScope::Store, ScanResult::Idle);
        assert_eq!(schedule.due(), now + seconds(300));
    }

    #[test]
    fn what_is_to_be_confirmed_is_looked_at_soon() {
        let (mut schedule, now) = schedule();
        schedule.ended(now, now, ScanScope::Store, ScanResult::NeedsConfirmation);
        assert_eq!(schedule.due(), now + seconds(10));
    }

    #[test]
    fn a_look_follows_the_first_of_many_deletions_and_none_of_them_puts_it_off() {
        let (mut schedule, now) = schedule();
        schedule.ended(now, now, ScanScope::Store, ScanResult::Idle);
        for after in [20, 21, 25, 29] {
            schedule.deleted(now + seconds(after), ScanScope::Store);
            assert_eq!(schedule.due(), now + seconds(30));
        }
        // A deletion during a scan counts for the next one.
        schedule.ended(now + seconds(30), now + seconds(31), ScanScope::Store, ScanResult::Idle);
        schedule.deleted(now + seconds(30), ScanScope::Store);
        assert_eq!(schedule.due(), now + seconds(40));
    }

    #[test]
    fn looking_takes_a_fifth_of_the_time_at_most() {
        let (mut schedule, now) = schedule();
        schedule.ended(now, now + seconds(100), ScanScope::Store, ScanResult::Idle);
        assert_eq!(schedule.due(), now + seconds(500));
        schedule.deleted(now + seconds(110), ScanScope::Store);
        assert_eq!(schedule.due(), now + seconds(500));
        schedule.ended(now + seconds(500), now + seconds(505), ScanScope::Store, ScanResult::NeedsConfirmation);
        assert_eq!(schedule.due(), now + seconds(525));
    }

    #[test]
    fn after_failures_it_is_tried_again_later_each_time_up_to_the_interval() {
        let (mut schedule, now) = schedule();
        let mut pause = || {
            schedule.ended(now, now, ScanScope::Store, ScanResult::Failed);
            (schedule.due() - now).as_secs()
        };
        assert_eq!([pause(), pause(), pause(), pause(), pause(), pause(), pause()], [10, 20, 40, 80, 160, 300, 300]);
        schedule.ended(now, now, ScanScope::Store, ScanResult::Idle);
        schedule.ended(now, now, ScanScope::Store, ScanResult::Failed);
        assert_eq!(schedule.due(), now + seconds(10));
        // The pause depends neither on how long the scan waited nor on deletions meanwhile.
        schedule.ended(now, now + seconds(30), ScanScope::Store, ScanResult::Failed);
        schedule.deleted(now + seconds(31), ScanScope::Store);
        assert_eq!(schedule.due(), now + seconds(50));
    }

    #[test]
    fn a_scan_of_nodes_leaves_the_interval_as_it_is_and_is_confirmed_by_another_one() {
        let (mut schedule, now) = schedule();
        assert_eq!(schedule.scope(now), ScanScope::Store);
        schedule.ended(now, now, ScanScope::Store, ScanResult::Idle);
        schedule.deleted(now + seconds(20), ScanScope::Nodes);
        assert_eq!((schedule.due(), schedule.scope(now + seconds(30))), (now + seconds(30), ScanScope::Nodes));
        schedule.ended(now + seconds(30), now + seconds(30), ScanScope::Nodes, ScanResult::NeedsConfirmation);
        assert_eq!((schedule.due(), schedule.scope(now + seconds(40))), (now + seconds(40), ScanScope::Nodes));
        schedule.ended(now + seconds(40), now + seconds(40), ScanScope::Nodes, ScanResult::Idle);
        assert_eq!((schedule.due(), schedule.scope(now + seconds(300))), (now + seconds(300), ScanScope::Store));
    }

    #[test]
    fn a_long_scan_of_the_store_does_not_put_off_one_of_a_node_and_a_failed_one_does() {
        let (mut schedule, now) = schedule();
        schedule.ended(now, now + seconds(60), ScanScope::Store, ScanResult::Idle);
        schedule.deleted(now + seconds(61), ScanScope::Nodes);
        assert_eq!(schedule.due(), now + seconds(71));
        schedule.ended(now + seconds(71), now + seconds(76), ScanScope::Nodes, ScanResult::Idle);
        schedule.deleted(now + seconds(77), ScanScope::Nodes);
        assert_eq!(schedule.due(), now + seconds(96));
        schedule.ended(now + seconds(300), now + seconds(300), ScanScope::Store, ScanResult::Failed);
        schedule.ended(now + seconds(310), now + seconds(310), ScanScope::Store, ScanResult::Failed);
        schedule.deleted(now + seconds(311), ScanScope::Nodes);
        assert_eq!(schedule.due(), now + seconds(330));
    }

    #[test]
    fn a_scan_of_the_store_covers_the_nodes_whose_pods_were_deleted_before() {
        let (mut schedule, now) = schedule();
        schedule.deleted(now, ScanScope::Nodes);
        schedule.ended(now, now, ScanScope::Store, ScanResult::Idle);
        assert_eq!(schedule.due(), now + seconds(300));
    }
}
