//! Renders the verbs' reports, one module each: tables and sentences for people, documents for programs.

pub(super) mod batches;
pub(super) mod config;
pub(super) mod doctor;
pub(super) mod explain;
pub(super) mod list;
pub(super) mod man;
pub(super) mod move_reservation;
pub(super) mod plan;
pub(super) mod recovery;
pub(super) mod release;
pub(super) mod reserve;
pub(super) mod sweep;
pub(super) mod usage;
pub(super) mod watch;

#[cfg(test)]
mod schema;
mod style;

use jiff::Timestamp;

use crate::ipam::name::AttachmentId;

/// The columns of an attachment: interface, node, and container, shortened to 12 characters as runtimes do.
fn columns(AttachmentId { ifname, node, container, .. }: &AttachmentId) -> [String; 3] {
    [ifname.to_string(), node.to_string(), container.as_str().chars().take(12).collect()]
}

/// The text of an empty cell.
fn none() -> String {
    "-".to_owned()
}

/// A number for people. Nobody reads the 20 digits of an IPv6 network.
fn count(number: u128) -> String {
    /// From here on, a number is rounded.
    const ROUNDED: u128 = 1_000_000_000_000;
    if number < ROUNDED { number.to_string() } else { format!("{number:.1e}") }
}

/// The time since then, as kubectl prints it: `42s`, `7m`, `3h`, `12d`.
fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short_and_never_negative() -> Result<(), jiff::Error> {
        let at = Timestamp::from_second;
        let ages = [-5, 0, 119, 120, 7_199, 7_200, 172_800].map(|after| at(1_000_000 + after).map(|now| (after, now)));
        let ages = ages.into_iter().collect::<Result<Vec<_>, _>>()?;
        let texts: Vec<String> =
            ages.into_iter().map(|(_, now)| at(1_000_000).map(|then| age(then, now))).collect::<Result<_, _>>()?;
        assert_eq!(texts, ["0s", "0s", "119s", "2m", "119m", "2h", "2d"]);
        Ok(())
    }
}
