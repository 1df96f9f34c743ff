//! How long a caller waits. A call has one deadline, and passes it to everything that waits: requests to a store or to
//! the API server, locks, probes.

use std::time::{Duration, Instant};

/// The instant until which a caller waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline after this time from now.
    pub fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// The time left; zero after the deadline.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }

    /// This deadline, or the one after this time from now, whichever is earlier.
    #[must_use]
    pub fn at_most(self, time: Duration) -> Self {
        self.min(Self::after(time))
    }

    /// The instant.
    pub fn instant(self) -> Instant {
        self.0
    }
}
