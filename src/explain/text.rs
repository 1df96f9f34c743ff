//! Texts with times in them: exact for programs, as people say them for a terminal.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// A text whose times are kept apart from its words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(Vec<Piece>);

/// A part of a [`Text`].
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Words(String),
    /// A point in time: `3 days ago`, `in 12 seconds`.
    At(Timestamp),
    /// Since a point in time: `for 3 days`.
    Lasting(Timestamp),
    /// A point in time behind a word such as *until*: `3 days ago`.
    Moment(Timestamp),
}

impl Text {
    /// A text that begins with these words.
    pub fn new(words: impl Into<String>) -> Self {
        Self(vec![Piece::Words(words.into())])
    }

    /// Adds words.
    #[must_use]
    pub fn then(mut self, words: impl Into<String>) -> Self {
        self.0.push(Piece::Words(words.into()));
        self
    }

    /// Adds another text.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Adds a point in time.
    #[must_use]
    pub fn at(mut self, time: Timestamp) -> Self {
        self.0.push(Piece::At(time));
        self
    }

    /// Adds the time since then.
    #[must_use]
    pub fn lasting(mut self, since: Timestamp) -> Self {
        self.0.push(Piece::Lasting(since));
        self
    }

    /// Adds a point in time behind a word such as *until*.
    #[must_use]
    pub fn moment(mut self, time: Timestamp) -> Self {
        self.0.push(Piece::Moment(time));
        self
    }

    /// The text with times as people say them.
    pub fn spoken(&self, now: Timestamp) -> String {
        self.render(|out, piece| match piece {
            Piece::Words(words) => out.push_str(words),
            Piece::At(time) | Piece::Moment(time) if *time > now => out.push_str(&format!("in {}", span(*time, now))),
            Piece::At(time) | Piece::Moment(time) => out.push_str(&format!("{} ago", span(now, *time))),
            Piece::Lasting(since) => out.push_str(&format!("for {}", span(now, *since))),
        })
    }

    /// The text with exact times (RFC 3339).
    pub fn exact(&self) -> String {
        self.render(|out, piece| {
            // Writing to a string can't fail.
            let _ = match piece {
                Piece::Words(words) => write!(out, "{words}"),
                Piece::At(time) => write!(out, "at {time:.0}"),
                Piece::Lasting(since) => write!(out, "since {since:.0}"),
                Piece::Moment(time) => write!(out, "{time:.0}"),
            };
        })
    }

    fn render(&self, each: impl Fn(&mut String, &Piece)) -> String {
        let mut out = String::new();
        self.0.iter().for_each(|piece| each(&mut out, piece));
        out
    }
}

impl<T: Into<String>> From<T> for Text {
    fn from(words: T) -> Self {
        Self::new(words)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.exact())
    }
}

/// The time between two points, in its largest unit of which there are two or more; at least a second.
fn span(later: Timestamp, earlier: Timestamp) -> String {
    let seconds = later.as_second().saturating_sub(earlier.as_second()).max(1).unsigned_abs();
    let largest = UNITS.iter().find(|(size, ..)| seconds >= 2 * size);
    let (size, one, several) = largest.unwrap_or(&SECOND);
    count(seconds / size, one, several)
}

/// A number of seconds in the largest unit that divides it.
pub(super) fn duration(seconds: u64) -> String {
    let largest = UNITS.iter().find(|(size, ..)| seconds >= *size && seconds.is_multiple_of(*size));
    let (size, one, several) = largest.unwrap_or(&SECOND);
    count(seconds / size, one, several)
}

/// The units of time, the largest first, with their names for one and for several.
const UNITS: [(u64, &str, &str); 4] =
    [(86_400, "day", "days"), (3_600, "hour", "hours"), (60, "minute", "minutes"), SECOND];
const SECOND: (u64, &str, &str) = (1, "second", "seconds");

fn count(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_how_long_ago_and_programs_read_when() -> Result<(), jiff::Error> {
        let now: Timestamp = "2026-11-04T10:00:00Z".parse()?;
        let text = |time: Timestamp| Text::new("held ").lasting(time).then(", seen ").at(time).then(".");
        for (time, spoken) in [
            ("2026-11-01T10:00:00Z", "held for 3 days, seen 3 days ago."),
            ("2026-11-04T08:00:00Z", "held for 2 hours, seen 2 hours ago."),
            ("2026-11-04T08:00:01Z", "held for 119 minutes, seen 119 minutes ago."),
            ("2026-11-04T09:59:59.9Z", "held for 1 second, seen 1 second ago."),
            ("2026-11-04T10:00:30Z", "held for 1 second, seen in 30 seconds."),
        ] {
            let time: Timestamp = time.parse()?;
            assert_eq!(text(time).spoken(now), spoken);
            assert_eq!(text(time).exact(), format!("held since {time:.0}, seen at {time:.0}."));
        }
        Ok(())
    }

    #[test]
    fn a_setting_is_said_in_the_unit_in_which_people_set_it() {
        for (seconds, expected) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (30, "30 seconds"),
            (90, "90 seconds"),
            (3_600, "1 hour"),
            (86_400, "1 day"),
            (129_600, "36 hours"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
    }
}
