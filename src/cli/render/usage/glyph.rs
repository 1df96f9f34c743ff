//! The characters for states of addresses, in bars and maps. Each state has a character of its own, so that nobody needs
//! colours to read them.

use anstyle::{AnsiColor, Style};

use crate::cli::CliError;
use crate::cli::output::Output;
use crate::ipam::address_map::{Block, StateCounts};

/// Prints glyphs between two texts.
pub(super) fn print_glyphs(output: &mut Output, before: &str, glyphs: &[Glyph], after: &str) -> Result<(), CliError> {
    output.styled_characters(before, glyphs.iter().map(|glyph| (glyph.character(), glyph.style())), after)
}

/// What a character of a bar or a map stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Glyph {
    /// Held: an address, or a block without a free one.
    Held,
    /// Held, by at least half of a block.
    HeldMost,
    /// Held, by less than half of a block.
    HeldFew,
    Reserved,
    ReservedFew,
    Resting,
    RestingFew,
    Foreign,
    ForeignFew,
    Unreadable,
    /// Free at random.
    Free,
    /// Free, and assigned only on request.
    OnRequest,
    Never,
    /// No known network has it.
    Unknown,
}

impl Glyph {
    /// In the order of the legend.
    pub(super) const ALL: [Self; 14] = [
        Self::Held,
        Self::HeldMost,
        Self::HeldFew,
        Self::Reserved,
        Self::ReservedFew,
        Self::Resting,
        Self::RestingFew,
        Self::Foreign,
        Self::ForeignFew,
        Self::Unreadable,
        Self::Free,
        Self::OnRequest,
        Self::Never,
        Self::Unknown,
    ];

    /// The character.
    pub(super) fn character(self) -> char {
        match self {
            Self::Held => '#',
            Self::HeldMost => '=',
            Self::HeldFew => '+',
            Self::Reserved => 'R',
            Self::ReservedFew => 'r',
            Self::Resting => 'C',
            Self::RestingFew => 'c',
            Self::Foreign => 'F',
            Self::ForeignFew => 'f',
            Self::Unreadable => '?',
            Self::Free => '.',
            Self::OnRequest => ':',
            Self::Never => '-',
            Self::Unknown => ' ',
        }
    }

    /// Its colour.
    pub(super) fn style(self) -> Style {
        match self {
            Self::Held | Self::HeldMost | Self::HeldFew => AnsiColor::Blue.on_default(),
            Self::Reserved | Self::ReservedFew => AnsiColor::Magenta.on_default(),
            Self::Resting | Self::RestingFew => AnsiColor::Yellow.on_default(),
            Self::Foreign | Self::ForeignFew | Self::Unreadable => AnsiColor::Red.on_default(),
            Self::Free | Self::OnRequest => AnsiColor::Green.on_default(),
            Self::Never | Self::Unknown => Style::new().dimmed(),
        }
    }

    /// What the legend says: of a character that stands for one address, or for a block.
    pub(super) fn meaning(self, is_block: bool) -> &'static str {
        match self {
            Self::Held if is_block => "all in use, mostly held",
            Self::Held => "held",
            Self::HeldMost => "half or more in use, mostly held",
            Self::HeldFew => "less than half in use, mostly held",
            Self::Reserved if is_block => "half or more, mostly reserved",
            Self::Reserved => "reserved",
            Self::ReservedFew => "less than half, mostly reserved",
            Self::Resting if is_block => "half or more, mostly in cooldown",
            Self::Resting => "in cooldown",
            Self::RestingFew => "less than half, mostly in cooldown",
            Self::Foreign if is_block => "half or more, mostly foreign",
            Self::Foreign => "foreign",
            Self::ForeignFew => "less than half, mostly foreign",
            Self::Unreadable => "a lease that can't be read",
            Self::Free if is_block => "nothing in use, free at random",
            Self::Free => "free at random",
            Self::OnRequest => "free on request",
            Self::Never => "never assigned",
            Self::Unknown => "no known network",
        }
    }

    /// The glyph of a block: what most of its leases are, and whether they are half or all of what can be assigned there;
    /// without a lease, the best that a pod can get there. A lease that can't be read is always shown.
    pub(super) fn from_block(block: &Block) -> Self {
        let counts = &block.counts;
        let StateCounts { held, reserved, resting, foreign, unreadable, random, request, never } = *counts;
        if unreadable > 0 {
            return Self::Unreadable;
        }
        if counts.leases() == 0 {
            return match (random > 0, request > 0, never > 0) {
                (true, _, _) => Self::Free,
                (false, true, _) => Self::OnRequest,
                (false, false, true) => Self::Never,
                (false, false, false) => Self::Unknown,
            };
        }
        // What no known network has may be free as well.
        let unused = block.span.len().saturating_sub(u128::from(counts.leases())).saturating_sub(never);
        let is_full = unused == 0;
        let is_half = u128::from(counts.leases()) >= unused;
        let most = held.max(reserved).max(resting).max(foreign);
        match (is_half, most) {
            (true, most) if most == held && is_full => Self::Held,
            (true, most) if most == held => Self::HeldMost,
            (false, most) if most == held => Self::HeldFew,
            (true, most) if most == foreign => Self::Foreign,
            (false, most) if most == foreign => Self::ForeignFew,
            (true, most) if most == reserved => Self::Reserved,
            (false, most) if most == reserved => Self::ReservedFew,
            (true, _) => Self::Resting,
            (false, _) => Self::RestingFew,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ipam::address::{Family, Span};

    #[test]
    fn every_state_has_a_character_of_its_own() {
        let characters: BTreeSet<char> = Glyph::ALL.iter().map(|glyph| glyph.character()).collect();
        assert_eq!(characters.len(), Glyph::ALL.len());
    }

    #[test]
    fn a_block_shows_what_most_of_its_leases_are() {
        let counts = StateCounts::default();
        for (counts, expected) in [
            (StateCounts { held: 1, ..counts }, Glyph::Held),
            (StateCounts { held: 1, never: 7, ..counts }, Glyph::Held),
            (StateCounts { held: 2, resting: 2, random: 4, ..counts }, Glyph::HeldMost),
            (StateCounts { held: 1, random: 2, never: 9, ..counts }, Glyph::HeldFew),
            (StateCounts { held: 1, reserved: 2, ..counts }, Glyph::Reserved),
            (StateCounts { reserved: 1, random: 9, ..counts }, Glyph::ReservedFew),
            (StateCounts { resting: 1, random: 1, ..counts }, Glyph::Resting),
            (StateCounts { resting: 1, random: 2, ..counts }, Glyph::RestingFew),
            (StateCounts { foreign: 3, ..counts }, Glyph::Foreign),
            (StateCounts { foreign: 1, request: 20, ..counts }, Glyph::ForeignFew),
            (StateCounts { held: 100, unreadable: 1, ..counts }, Glyph::Unreadable),
            (StateCounts { random: 1, never: 100, ..counts }, Glyph::Free),
            (StateCounts { request: 1, never: 100, ..counts }, Glyph::OnRequest),
            (StateCounts { never: 1, ..counts }, Glyph::Never),
            (counts, Glyph::Unknown),
        ] {
            let known = u128::from(counts.leases()) + counts.free() + counts.never;
            let span = Span::of_numbers(Family::V4, 0, known.max(1) - 1).unwrap();
            assert_eq!(Glyph::from_block(&Block { span, counts }), expected, "{counts:?}");
            // A block of which nothing is known but its leases is not full.
            let span = Span::of_numbers(Family::V4, 0, 4096).unwrap();
            let unknown = Glyph::from_block(&Block { span, counts });
            assert!(unknown != Glyph::Held && unknown != Glyph::HeldMost, "{counts:?}");
        }
    }
}
