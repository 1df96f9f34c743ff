//! Ranges on a terminal: a bar for each, with the numbers below it.

use super::Row;
use super::glyph::{Glyph, print_glyphs};
use crate::cli::CliError;
use crate::cli::output::Output;
use crate::cli::render::count;
use crate::ipam::usage::{RangeUsage, Trend};

/// The longest bar, in characters.
const MAX_BAR: usize = 60;

/// The shortest bar.
const MIN_BAR: usize = 10;

/// What stands on the left of a bar.
const LEFT_END: &str = "  [";

/// The most reasons that are shown of addresses that no pod gets, and the most spans of each.
const SHOWN_REASONS: usize = 5;
const SHOWN_SPANS: usize = 3;

/// What is said where a pace is missing.
const UNKNOWN_PACE: &str = "When ranges will be full is not known for all of them: the controller stores their usage once a \
                            day, and a pace needs a value that is a day old.";

/// Prints the ranges, subnet by subnet.
pub(super) fn bars(output: &mut Output, rows: &[Row<'_>], columns: usize) -> Result<(), CliError> {
    let beside = rows.iter().map(|row| LEFT_END.len() + right_end(&row.range).chars().count()).max().unwrap_or(0);
    let width = columns.saturating_sub(beside).clamp(MIN_BAR, MAX_BAR);
    let mut subnet = None;
    for (i, row) in rows.iter().enumerate() {
        let key = &row.range.key;
        let of_row = (&key.vrf, &key.network, key.subnet);
        if subnet != Some(of_row) {
            if i > 0 {
                output.line("")?;
            }
            heading(output, row)?;
            subnet = Some(of_row);
        }
        range(output, row, width)?;
    }
    if rows.iter().any(|row| row.range.size.is_some() && row.trend == Trend::Unknown) {
        output.line("")?;
        output.paragraph("", UNKNOWN_PACE)?;
    }
    Ok(())
}

fn heading(output: &mut Output, row: &Row<'_>) -> Result<(), CliError> {
    let key = &row.range.key;
    let subnet = key.subnet.map_or_else(|| "in no known subnet".to_owned(), |subnet| subnet.to_string());
    let vrf = if key.vrf.as_str() == "default" { String::new() } else { format!(", vrf {}", key.vrf) };
    output.line(&format!("{} {subnet}{vrf}", key.network))?;
    if row.never.is_empty() { Ok(()) } else { never(output, row) }
}

/// The addresses that no pod gets, by the reason.
fn never(output: &mut Output, row: &Row<'_>) -> Result<(), CliError> {
    output.line(&format!("  {} addresses are never assigned:", count(row.never_count())))?;
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for never in row.never {
        match reasons.iter_mut().find(|(why, _)| *why == never.why) {
            Some((_, spans)) => spans.push(never.span.to_string()),
            None => reasons.push((&never.why, vec![never.span.to_string()])),
        }
    }
    let more = reasons.len().saturating_sub(SHOWN_REASONS);
    for (why, mut spans) in reasons.into_iter().take(SHOWN_REASONS) {
        let hidden = spans.len().saturating_sub(SHOWN_SPANS);
        spans.truncate(SHOWN_SPANS);
        spans.extend((hidden > 0).then(|| format!("{hidden} more")));
        output.paragraph("    ", &format!("{}: {why}", spans.join(", ")))?;
    }
    match more {
        0 => Ok(()),
        more => output.line(&format!("    {more} more reasons, which -o json has")),
    }
}

/// What stands on the right of a bar.
fn right_end(range: &RangeUsage) -> String {
    let size = range.size.unwrap_or(0);
    format!("] {} of {}, {}", share(range.used(), size), count(size), range.key.part)
}

fn range(output: &mut Output, row: &Row<'_>, width: usize) -> Result<(), CliError> {
    let RangeUsage { key, size, held, reserved, resting, foreign } = &row.range;
    let counts = [
        (Glyph::Held, *held, "held"),
        (Glyph::Reserved, *reserved, "reserved"),
        (Glyph::Resting, *resting, "in cooldown"),
        (Glyph::Foreign, *foreign, "foreign"),
    ];
    let used = counts.iter().filter(|(_, number, _)| *number > 0).map(|(_, number, word)| format!("{number} {word}"));
    let mut numbers: Vec<String> = used.collect();
    numbers.extend(row.range.free().map(|free| format!("{} free", count(free))));
    match size {
        Some(size) => {
            let bar = bar(&counts.map(|(glyph, count, _)| (glyph, count)), *size, width);
            print_glyphs(output, LEFT_END, &bar, &right_end(&row.range))?;
        }
        None => output.line(&format!("  {}", key.part))?,
    }
    let run = row.run.map(|run| format!("; largest free run: {run} ({})", count(run.len())));
    output.paragraph("  ", &format!("{}{}", numbers.join(", "), run.unwrap_or_default()))?;
    match pace(row.trend) {
        Some(pace) => output.line(&format!("  {pace}")),
        None => Ok(()),
    }
}

/// When a range is full, as far as that is known.
fn pace(trend: Trend) -> Option<String> {
    match trend {
        Trend::Unknown => None,
        Trend::NotGrowing { since } => Some(format!("no more in use than at {since:.0}")),
        Trend::Growing { days, per_day, since } => {
            let days = match days {
                days if days < 1.0 => "less than a day".to_owned(),
                days => format!("about {days:.0} days"),
            };
            Some(format!("full in {days} at the pace since {since:.0}, {per_day:.1} a day"))
        }
    }
}

/// The glyphs of a bar. Every state with an address has one at least, also where its share is smaller.
fn bar(counts: &[(Glyph, u64)], size: u128, width: usize) -> Vec<Glyph> {
    let mut glyphs = Vec::new();
    let cells = width as u128;
    for (glyph, count) in counts.iter().filter(|(_, count)| *count > 0) {
        let share = u128::from(*count).saturating_mul(cells).checked_div(size).unwrap_or(cells).clamp(1, cells);
        glyphs.extend(std::iter::repeat_n(*glyph, usize::try_from(share).unwrap_or(width)));
    }
    // A full range shows no free address, and one with a free address shows it.
    let used: u128 = counts.iter().map(|(_, count)| u128::from(*count)).sum();
    let room = if used < size { width - 1 } else { width };
    while glyphs.len() > room {
        let longest = longest_stretch(&glyphs);
        glyphs.remove(longest);
    }
    let rest = if used < size { Glyph::Free } else { glyphs.last().copied().unwrap_or(Glyph::Free) };
    glyphs.resize(width, rest);
    glyphs
}

/// Where the glyph stands that has the most characters.
fn longest_stretch(glyphs: &[Glyph]) -> usize {
    let count = |glyph: &Glyph| glyphs.iter().filter(|other| *other == glyph).count();
    (0..glyphs.len()).max_by_key(|at| count(&glyphs[*at])).unwrap_or(0)
}

/// A share in percent. Only a full range has 100 %, and only an empty one 0 %.
fn share(used: u64, size: u128) -> String {
    let used = u128::from(used);
    match used.saturating_mul(100).checked_div(size) {
        Some(0) if used > 0 => "<1 %".to_owned(),
        Some(percent) => format!("{} %", percent.min(100)),
        None => "100 %".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(counts: [u64; 4], size: u128, width: usize) -> String {
        let glyphs = [Glyph::Held, Glyph::Reserved, Glyph::Resting, Glyph::Foreign];
        let counts: Vec<(Glyph, u64)> = glyphs.into_iter().zip(counts).collect();
        bar(&counts, size, width).into_iter().map(Glyph::character).collect()
    }

    #[test]
    fn a_bar_shows_the_shares() {
        for (counts, size, expected) in [
            ([0, 0, 0, 0], 100, ".........."),
            ([50, 0, 0, 0], 100, "#####....."),
            ([1, 1, 1, 1], 65_536, "#RCF......"),
            ([99, 0, 0, 0], 100, "#########."),
            ([100, 0, 0, 0], 100, "##########"),
            ([97, 1, 1, 1], 100, "#######RCF"),
            ([0, 0, 0, 3], 3, "FFFFFFFFFF"),
            ([5, 0, 0, 0], 0, "##########"),
            ([1, 0, 0, 0], u128::MAX, "#........."),
        ] {
            assert_eq!(text(counts, size, 10), expected, "{counts:?} of {size}");
        }
    }

    #[test]
    fn a_share_is_never_rounded_to_nothing_or_to_all() {
        assert_eq!([share(0, 10), share(1, 1000), share(999, 1000), share(10, 10)], ["0 %", "<1 %", "99 %", "100 %"]);
    }

    proptest! {
        #[test]
        fn a_bar_has_its_width_and_every_state(
            counts in prop::array::uniform4(0_u64..2_000), more in 0_u128..100_000, width in 10_usize..80,
        ) {
            let used: u64 = counts.iter().sum();
            let size = u128::from(used) + more;
            let bar = text(counts, size, width);
            prop_assert_eq!(bar.chars().count(), width);
            for (character, count) in "#RCF".chars().zip(counts) {
                prop_assert_eq!(bar.contains(character), count > 0, "{} {:?}", &bar, counts);
            }
            prop_assert_eq!(bar.contains('.'), u128::from(used) < size || used == 0, "{}", &bar);
        }
    }
}
