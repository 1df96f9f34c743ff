//! When the next look is due. It reads no clock.
//!
//! - In any case after the interval.
//! - Soon, where there is something to look for: after a deletion, and after a look whose suspects another one has to
//!   confirm. Deletions that come meanwhile neither hasten nor delay it.
//! - After a failure soon as well, and later each time, up to the interval.
//! - Never so often that looking takes more than a fifth of the time.

use std::time::{Duration, Instant};

/// So many times as long as a look has taken nothing is looked at again.
const IDLE: u32 = 4;

/// How a look ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// There is nothing to hurry for.
    Calm,
    /// Another look may free what this one has shown.
    ToConfirm,
    /// It was not complete.
    Failed,
}

/// When the next look is due.
#[derive(Debug)]
pub struct Schedule {
    interval: Duration,
    settle: Duration,
    due: Instant,
    earliest: Instant,
    failures: u32,
}

impl Schedule {
    /// A first look now. `settle` is how soon "soon" is.
    pub fn new(interval: Duration, settle: Duration, now: Instant) -> Self {
        Self { interval, settle: settle.min(interval), due: now, earliest: now, failures: 0 }
    }

    /// When.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Something was deleted then.
    pub fn deleted(&mut self, at: Instant) {
        self.due = self.due.min((at + self.settle).max(self.earliest));
    }

    /// Who looks is another one now, and begins at once.
    pub fn begin_anew(&mut self, now: Instant) {
        *self = Self::new(self.interval, self.settle, now);
    }

    /// A look has ended now.
    pub fn ended(&mut self, began: Instant, now: Instant, how: Ending) {
        self.failures = if how == Ending::Failed { self.failures.saturating_add(1) } else { 0 };
        let pause = match how {
            Ending::Calm => self.interval,
            Ending::ToConfirm => self.settle,
            Ending::Failed => self.settle.saturating_mul(1 << (self.failures - 1).min(16)).min(self.interval),
        };
        // One that failed has mostly waited, and its pauses grow anyway.
        let idle = match how {
            Ending::Failed => pause,
            Ending::Calm | Ending::ToConfirm => now.saturating_duration_since(began) * IDLE,
        };
        self.earliest = now + idle;
        self.due = now + pause.max(idle);
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
    fn the_first_look_is_at_once_and_the_next_after_the_interval() {
        let (mut schedule, now) = schedule();
        assert_eq!(schedule.due(), now);
        schedule.ended(now, now, Ending::Calm);
        assert_eq!(schedule.due(), now + seconds(300));
    }

    #[test]
    fn what_is_to_be_confirmed_is_looked_at_soon() {
        let (mut schedule, now) = schedule();
        schedule.ended(now, now, Ending::ToConfirm);
        assert_eq!(schedule.due(), now + seconds(10));
    }

    #[test]
    fn a_look_follows_the_first_of_many_deletions_and_none_of_them_puts_it_off() {
        let (mut schedule, now) = schedule();
        schedule.ended(now, now, Ending::Calm);
        for after in [20, 21, 25, 29] {
            schedule.deleted(now + seconds(after));
            assert_eq!(schedule.due(), now + seconds(30));
        }
        // One that came while a look was going on counts for the next.
        schedule.ended(now + seconds(30), now + seconds(31), Ending::Calm);
        schedule.deleted(now + seconds(30));
        assert_eq!(schedule.due(), now + seconds(40));
    }

    #[test]
    fn looking_takes_a_fifth_of_the_time_at_most() {
        let (mut schedule, now) = schedule();
        schedule.ended(now, now + seconds(100), Ending::Calm);
        assert_eq!(schedule.due(), now + seconds(500));
        schedule.deleted(now + seconds(110));
        assert_eq!(schedule.due(), now + seconds(500));
        schedule.ended(now + seconds(500), now + seconds(505), Ending::ToConfirm);
        assert_eq!(schedule.due(), now + seconds(525));
    }

    #[test]
    fn after_failures_it_is_tried_again_later_each_time_up_to_the_interval() {
        let (mut schedule, now) = schedule();
        let mut pause = || {
            schedule.ended(now, now, Ending::Failed);
            (schedule.due() - now).as_secs()
        };
        assert_eq!([pause(), pause(), pause(), pause(), pause(), pause(), pause()], [10, 20, 40, 80, 160, 300, 300]);
        schedule.ended(now, now, Ending::Calm);
        schedule.ended(now, now, Ending::Failed);
        assert_eq!(schedule.due(), now + seconds(10));
        // However long it has waited for an answer, and whatever is deleted meanwhile.
        schedule.ended(now, now + seconds(30), Ending::Failed);
        schedule.deleted(now + seconds(31));
        assert_eq!(schedule.due(), now + seconds(50));
    }
}
