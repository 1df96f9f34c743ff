//! Texts that several checks print: times and numbers as people say them.

use jiff::Timestamp;

/// The time between two instants, in its largest unit: `42 seconds`, `7 minutes`, `3 hours`, `12 days`.
pub(super) fn time_between(one: Timestamp, other: Timestamp) -> String {
    let seconds = one.as_second().abs_diff(other.as_second());
    match seconds {
        1 => "1 second".to_owned(),
        0..120 => format!("{seconds} seconds"),
        120..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A number of things: `1 address`, `2 addresses`.
pub(super) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The first of many, and how many more there are.
pub(super) fn first_of(all: &[String]) -> String {
    /// As many as fit a line or two.
    const SHOWN: usize = 3;
    match all.split_at(all.len().min(SHOWN)) {
        (shown, []) => shown.join(", "),
        (shown, more) => format!("{} and {} more", shown.join(", "), more.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_are_written_as_people_say_them() -> Result<(), jiff::Error> {
        let at = Timestamp::from_second;
        for (seconds, text) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7_200, "2 hours"),
            (172_800, "2 days"),
        ] {
            assert_eq!(time_between(at(1_000_000 + seconds)?, at(1_000_000)?), text);
            assert_eq!(time_between(at(1_000_000)?, at(1_000_000 + seconds)?), text);
        }
        Ok(())
    }

    #[test]
    fn of_many_only_the_first_are_named() {
        let all = ["a", "b", "c", "d", "e"].map(str::to_owned);
        assert_eq!(first_of(&all[..3]), "a, b, c");
        assert_eq!(first_of(&all), "a, b, c and 2 more");
    }
}
