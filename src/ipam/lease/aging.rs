//! How stored times age, by clocks that may be wrong.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The first sight of a stored time, by the clock of whoever saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The stored time, or that of an earlier sighting by a clock that was ahead of this one. A sighting says nothing
    /// of a time that was stored later: an older version keeps the field without knowing what it means.
    pub of: Timestamp,
    /// When it was seen.
    pub at: Timestamp,
}

/// How far ahead of this node's clock a stored time may be, in seconds: clocks differ a little.
const AHEAD: i64 = 60;

/// Whether a stored time is so far ahead that a clock is wrong: the one by which it was written, or this one.
pub fn is_ahead(time: Timestamp, now: Timestamp) -> bool {
    time.as_second().saturating_sub(now.as_second()) > AHEAD
}

/// From when on a stored time counts for an age.
///
/// One that lies ahead would not age before that time has come, which may be never; to count it as over would let a
/// slow clock give away what others keep. So it ages from its first sight. The stored time itself stays as it is: it is
/// right for all whose clock is, if this one is slow.
pub(super) fn counts_from(time: Timestamp, sighted: &[Sighting], now: Timestamp) -> Timestamp {
    if is_ahead(time, now) { first_sight(time, sighted, now).unwrap_or(now) } else { time }
}

/// The most sightings of one time: each is by a clock that is behind that of the one before it.
const SIGHTINGS: usize = 4;

/// The sightings of a time, each of the one before it.
pub(super) fn sightings(time: Timestamp, sighted: &[Sighting]) -> impl Iterator<Item = &Sighting> {
    let of = move |time: Timestamp| sighted.iter().find(|sighting| sighting.of == time);
    std::iter::successors(of(time), move |sighting| of(sighting.at)).take(SIGHTINGS)
}

/// When a time was first seen by a clock that is not ahead of this one.
pub(super) fn first_sight(time: Timestamp, sighted: &[Sighting], now: Timestamp) -> Option<Timestamp> {
    sightings(time, sighted).map(|sighting| sighting.at).find(|at| !is_ahead(*at, now))
}

/// The sightings of a time, with one more if all of them lie ahead, as the time itself does.
pub(super) fn with_sight(time: Timestamp, sighted: &[Sighting], now: Timestamp) -> Vec<Sighting> {
    let mut known: Vec<Sighting> = sightings(time, sighted).cloned().collect();
    let of = known.last().map_or(time, |last| last.at);
    if is_ahead(of, now) && known.len() < SIGHTINGS {
        known.push(Sighting { of, at: now });
    }
    known
}

/// Whether so many seconds have passed since then. What lies in the future (a wrong clock) was now.
pub(super) fn has_lasted(since: Timestamp, seconds: u64, now: Timestamp) -> bool {
    let passed = now.as_second().saturating_sub(since.as_second());
    u64::try_from(passed).unwrap_or(0) >= seconds
}
