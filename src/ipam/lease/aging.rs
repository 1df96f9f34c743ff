//! Lets stored times age even if a clock is wrong.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When a stored time in the future was first seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sighting {
    /// The stored time, or an earlier sighting by a faster clock. It does not apply to a time that was stored later: an
    /// older version keeps the field without reading it.
    #[schemars(with = "String")]
    pub of: Timestamp,
    /// When it was seen, by the clock of that node.
    #[schemars(with = "String")]
    pub at: Timestamp,
}

/// How far in the future a stored time may be, in seconds. Clocks of nodes differ a little.
const AHEAD: i64 = 60;

/// Whether a stored time is so far in the future that one of the two clocks is wrong.
pub fn is_ahead(time: Timestamp, now: Timestamp) -> bool {
    time.as_second().saturating_sub(now.as_second()) > AHEAD
}

/// When a stored time starts to age.
///
/// A time in the future would not age until it is reached, maybe never. If it counted as over, a node with a slow clock
/// would assign addresses that are still held. So it ages from when it was first seen. The stored time itself stays: if
/// this clock is slow, it is right for all other nodes.
pub(super) fn counts_from(time: Timestamp, sighted: &[Sighting], now: Timestamp) -> Timestamp {
    if is_ahead(time, now) { first_sight(time, sighted, now).unwrap_or(now) } else { time }
}

/// The most sightings of one time. Each comes from a slower clock than the one before it.
const SIGHTINGS: usize = 4;

/// The sightings of a time. Each refers to the one before it.
pub(super) fn sightings(time: Timestamp, sighted: &[Sighting]) -> impl Iterator<Item = &Sighting> {
    let of = move |time: Timestamp| sighted.iter().find(|sighting| sighting.of == time);
    std::iter::successors(of(time), move |sighting| of(sighting.at)).take(SIGHTINGS)
}

/// When a time was first seen by a clock that is not ahead of this one.
pub(super) fn first_sight(time: Timestamp, sighted: &[Sighting], now: Timestamp) -> Option<Timestamp> {
    sightings(time, sighted).map(|sighting| sighting.at).find(|at| !is_ahead(*at, now))
}

/// The sightings of a time, with a new one if it and all others are in the future.
pub(super) fn with_sight(time: Timestamp, sighted: &[Sighting], now: Timestamp) -> Vec<Sighting> {
    let mut known: Vec<Sighting> = sightings(time, sighted).cloned().collect();
    let of = known.last().map_or(time, |last| last.at);
    if is_ahead(of, now) && known.len() < SIGHTINGS {
        known.push(Sighting { of, at: now });
    }
    known
}

/// Whether this number of seconds has passed. A time in the future (a wrong clock) counts as now.
pub(super) fn has_lasted(since: Timestamp, seconds: u64, now: Timestamp) -> bool {
    let passed = now.as_second().saturating_sub(since.as_second());
    u64::try_from(passed).unwrap_or(0) >= seconds
}

/// The time after this number of seconds; `None` if no calendar has it.
pub(super) fn after(since: Timestamp, seconds: u64) -> Option<Timestamp> {
    since.checked_add(SignedDuration::from_secs(i64::try_from(seconds).ok()?)).ok()
}
