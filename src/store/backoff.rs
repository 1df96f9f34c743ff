//! Exponential backoff with jitter.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Pauses that double up to a maximum. Each is shortened by a random part of up to half.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    max: Duration,
    random: RandomState,
}

impl Backoff {
    pub(crate) fn new(first: Duration, max: Duration) -> Self {
        Self { next: first, max, random: RandomState::new() }
    }

    pub(crate) fn next(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.max);
        // 0 to 255 of 512.
        let part = (self.random.hash_one(whole.as_nanos()) ^ self.random.hash_one(std::process::id())) & 0xff;
        whole - whole * u32::try_from(part).unwrap_or(0) / 512
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_maximum_and_lose_at_most_half() {
        let (first, max) = (Duration::from_millis(1), Duration::from_millis(4));
        let mut backoff = Backoff::new(first, max);
        for whole in [1, 2, 4, 4, 4].map(Duration::from_millis) {
            let pause = backoff.next();
            assert!(whole / 2 <= pause && pause <= whole, "{pause:?} of {whole:?}");
        }
    }
}
