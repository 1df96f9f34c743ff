//! Sizes and spans of time as people say them.

use std::time::Duration;

use jiff::Timestamp;

/// A size: `2.0 GiB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    #[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let in_unit = |shift: u32| bytes as f64 / (1u64 << shift) as f64;
    let unit = UNITS.iter().find(|(_, shift)| bytes >> shift > 0);
    unit.map_or_else(|| format!("{bytes} bytes"), |(name, shift)| format!("{:.1} {name}", in_unit(*shift)))
}

/// A span of time in its two largest units: `3d 4h`, `12m`, `5s`.
pub(super) fn span(time: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let seconds = time.as_secs();
    let Some(first) = UNITS.iter().position(|(length, _)| seconds >= *length) else {
        return if time.is_zero() { "0s".to_owned() } else { format!("{}ms", time.as_millis()) };
    };
    let mut left = seconds;
    let mut shown = Vec::new();
    for (length, unit) in UNITS.iter().skip(first).take(2) {
        if left >= *length {
            shown.push(format!("{}{unit}", left / length));
        }
        left %= length;
    }
    shown.join(" ")
}

/// The time from one instant to a later one; zero if it is not later.
pub(super) fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_as_people_say_them() {
        let sizes = [0, 1023, 1024, 3 << 19, 2 << 30].map(size);
        assert_eq!(sizes, ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 MiB", "2.0 GiB"]);
        let spans = [0, 5, 60, 3_661, 90_000, 86_400 * 40, 3_605].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(spans, ["0s", "5s", "1m", "1h 1m", "1d 1h", "40d", "1h"]);
        assert_eq!(span(Duration::from_millis(250)), "250ms");
    }
}
