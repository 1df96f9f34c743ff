//! How long to wait before something is tried again: longer each time, and never the same for two processes.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Pauses that double up to a longest one, each shortened by a random part of its half.
#[derive(Debug)]
pub(crate) struct Pauses {
    next: Duration,
    longest: Duration,
    random: RandomState,
}

impl Pauses {
    /// Pauses from the first length to the longest.
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest, random: RandomState::new() }
    }

    /// The next pause.
    pub(crate) fn next(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.longest);
        // 0 to 255 of 512 parts.
        let part = (self.random.hash_one(whole.as_nanos()) ^ self.random.hash_one(std::process::id())) & 0xff;
        whole - whole * u32::try_from(part).unwrap_or(0) / 512
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_lose_at_most_half() {
        let (first, longest) = (Duration::from_millis(1), Duration::from_millis(4));
        let mut pauses = Pauses::new(first, longest);
        for whole in [1, 2, 4, 4, 4].map(Duration::from_millis) {
            let pause = pauses.next();
            assert!(whole / 2 <= pause && pause <= whole, "{pause:?} of {whole:?}");
        }
    }
}
