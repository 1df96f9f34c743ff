//! The usage of a network over the last weeks, and when its ranges are full at that pace.
//!
//! Leases do not tell a pace: what was released has none. So the controller stores one sample a day of each network,
//! under `use/…`. No decision depends on it; an older version does not know the key.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::{RangeKey, RangeUsage};
use crate::ipam::lease::{Unknown, VERSION};

/// The most samples of a network.
const MAX_SAMPLES: usize = 32;

/// The pace is that of this many days, at most.
const PACE_DAYS: i64 = 7;

/// Two samples must be this far apart for a pace, in seconds: a day, less what a scan may come early.
const MIN_APART: i64 = 20 * 3600;

const DAY: i64 = 24 * 3600;

/// The samples of a network, stored under `use/<vrf>/<network>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsageHistory {
    /// The version of the format, [`VERSION`].
    pub v: u32,
    /// The samples, the earliest first; one a day.
    pub samples: Vec<UsageSample>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The usage of a network's ranges at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsageSample {
    /// When it was counted.
    pub at: Timestamp,
    /// The number of addresses in use, by subnet and part: `10.188.0.0/16 dynamic`.
    pub used: BTreeMap<String, u64>,
}

/// How a range fills.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trend {
    /// No sample is a day older than now.
    Unknown,
    /// It has as many addresses in use as then, or fewer.
    NotGrowing {
        /// When the first sample of the comparison was taken.
        since: Timestamp,
    },
    /// It is full after this many days at the present pace.
    Growing {
        /// Days until it is full.
        days: f64,
        /// How many more addresses are in use each day.
        per_day: f64,
        /// When the first sample of the comparison was taken.
        since: Timestamp,
    },
}

impl Default for UsageHistory {
    fn default() -> Self {
        Self { v: VERSION, samples: Vec::new(), unknown: Unknown::new() }
    }
}

/// How a sample names a range; `None` for one that no definition has.
fn label(key: &RangeKey) -> Option<String> {
    key.subnet.map(|subnet| format!("{subnet} {}", key.part))
}

impl UsageHistory {
    /// The history with a sample of these ranges of one network; `None` if there is one of this day (UTC) or later.
    #[must_use]
    pub fn with_sample<'a>(mut self, ranges: impl IntoIterator<Item = &'a RangeUsage>, now: Timestamp) -> Option<Self> {
        let day = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
        if self.samples.iter().any(|sample| day(sample.at) >= day(now)) {
            return None;
        }
        let used = ranges.into_iter().filter_map(|range| Some((label(&range.key)?, range.used()))).collect();
        self.samples.push(UsageSample { at: now, used });
        let surplus = self.samples.len().saturating_sub(MAX_SAMPLES);
        self.samples.drain(..surplus);
        Some(self)
    }

    /// How a range fills, by its usage now and the earliest sample of the last week.
    #[allow(clippy::cast_precision_loss, reason = "a pace is an estimate")]
    pub fn trend(&self, range: &RangeUsage, now: Timestamp) -> Trend {
        let (Some(label), Some(free)) = (label(&range.key), range.free()) else { return Trend::Unknown };
        let age = |sample: &UsageSample| now.as_second().saturating_sub(sample.at.as_second());
        let is_recent = |sample: &&UsageSample| (MIN_APART..=PACE_DAYS * DAY + DAY / 2).contains(&age(sample));
        let known = self.samples.iter().filter(is_recent).find_map(|sample| Some((sample, *sample.used.get(&label)?)));
        let Some((sample, used)) = known else { return Trend::Unknown };
        let since = sample.at;
        let grown = range.used().saturating_sub(used);
        if grown == 0 {
            return Trend::NotGrowing { since };
        }
        let per_day = grown as f64 * DAY as f64 / age(sample) as f64;
        Trend::Growing { days: free as f64 / per_day, per_day, since }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use super::*;
    use crate::ipam::name::Name;
    use crate::ipam::usage::RangePart;

    fn at(days: f64) -> Timestamp {
        Timestamp::from_second(1_793_000_000 + (days * 86_400.0) as i64).unwrap()
    }

    fn range(held: u64) -> RangeUsage {
        let name = |text| Name::new(text).unwrap();
        let subnet = Some("10.0.0.0/24".parse().unwrap());
        let key = RangeKey { vrf: name("default"), network: name("db"), subnet, part: RangePart::Dynamic };
        RangeUsage { held, ..RangeUsage::new(key, Some(200)) }
    }

    fn history(samples: &[(f64, u64)]) -> UsageHistory {
        samples.iter().fold(UsageHistory::default(), |history, (day, held)| {
            history.with_sample([&range(*held)], at(*day)).unwrap()
        })
    }

    #[test]
    fn a_sample_is_stored_like_this() {
        let text = String::from_utf8(crate::ipam::lease::write(&history(&[(0.0, 3)]))).unwrap();
        insta::assert_snapshot!(text, @r#"{"v":1,"samples":[{"at":"2026-10-26T07:33:20Z","used":{"10.0.0.0/24 dynamic":3}}]}"#);
    }

    #[test]
    fn there_is_one_sample_a_day_and_no_more_than_a_month() {
        let month: Vec<(f64, u64)> = (0..40).map(|day| (f64::from(day), 1)).collect();
        let history = history(&month);
        assert_eq!((history.samples.len(), history.samples[0].at), (MAX_SAMPLES, at(8.0)));
        assert_eq!(history.clone().with_sample([&range(1)], at(39.1)), None);
        assert_eq!(history.with_sample([&range(1)], at(20.0)), None, "of a clock that is behind");
    }

    #[test]
    fn the_pace_is_that_of_the_last_week() {
        let growing = |days, per_day, since| Trend::Growing { days, per_day, since: at(since) };
        for (samples, held, now, expected) in [
            (vec![], 100, 0.0, Trend::Unknown),
            (vec![(0.0, 100)], 100, 0.5, Trend::Unknown),
            (vec![(0.0, 100)], 110, 1.0, growing(9.0, 10.0, 0.0)),
            (vec![(0.0, 100), (1.0, 130)], 140, 2.0, growing(3.0, 20.0, 0.0)),
            // What is older than a week does not count.
            (vec![(0.0, 0), (10.0, 100)], 110, 12.0, growing(18.0, 5.0, 10.0)),
            (vec![(0.0, 0)], 110, 12.0, Trend::Unknown),
            (vec![(0.0, 100)], 100, 2.0, Trend::NotGrowing { since: at(0.0) }),
            (vec![(0.0, 100)], 90, 2.0, Trend::NotGrowing { since: at(0.0) }),
            (vec![(0.0, 100)], 200, 1.0, growing(0.0, 100.0, 0.0)),
        ] {
            assert_eq!(history(&samples).trend(&range(held), at(now)), expected, "{samples:?} {held} {now}");
        }
    }

    #[test]
    fn a_range_that_was_not_there_has_no_pace() {
        let mut other = range(1);
        other.key.part = RangePart::Fixed;
        assert_eq!(history(&[(0.0, 100)]).trend(&other, at(2.0)), Trend::Unknown);
    }
}
