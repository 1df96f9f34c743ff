//! The map of a network: a character for each address or block, row by row, with a legend.
//! docs/map.schema.json describes its document.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Serialize;

use super::glyph::{Glyph, print_glyphs};
use crate::cli::CliError;
use crate::cli::output::{Encoding, Output};
use crate::cli::render::count;
use crate::ipam::address_map::{AddressMap, Block, StateCounts};
use crate::ipam::name::Name;

/// The most blocks of a document.
pub(crate) const DOCUMENT_BLOCKS: u32 = 1024;

/// The most rows of a drawing.
const MAX_ROWS: u32 = 32;

/// The width where there is no terminal.
const DEFAULT_COLUMNS: usize = 80;

/// A map, as a document.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Map")]
struct Document<'a> {
    /// The routing domain.
    vrf: &'a Name,
    /// The network.
    #[schemars(with = "String")]
    net: IpNet,
    /// The number of addresses in a block: a power of two.
    block_size: u128,
    /// The addresses of all blocks together.
    total: StateCounts,
    /// The blocks in order, without those that no known network has and that have no lease.
    blocks: Vec<BlockDocument>,
}

/// A block of a map.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Block")]
struct BlockDocument {
    /// Its first address.
    from: IpAddr,
    #[serde(flatten)]
    counts: StateCounts,
}

/// Prints the maps as documents.
pub(crate) fn map_documents(
    output: &mut Output,
    encoding: Encoding,
    maps: &BTreeMap<Name, AddressMap>,
) -> Result<(), CliError> {
    let mut elements = output.stream_list(encoding);
    for (vrf, map) in maps {
        let blocks = map.blocks().filter(|block| block.counts != StateCounts::default());
        let blocks = blocks.map(|Block { span, counts }| BlockDocument { from: span.first(), counts }).collect();
        let (net, block_size, total) = (map.net(), map.block_size(), map.total());
        elements.push(&Document { vrf, net, block_size, total, blocks })?;
    }
    elements.end()
}

/// How many blocks fit into a drawing on this output.
pub(crate) fn drawn_blocks(output: &Output, net: IpNet) -> u32 {
    row_length(output.terminal_columns().unwrap_or(DEFAULT_COLUMNS), net).saturating_mul(MAX_ROWS)
}

/// The blocks of a row: a power of two, so that rows begin at round addresses.
fn row_length(columns: usize, net: IpNet) -> u32 {
    let room = columns.saturating_sub(label_width(net) + 1).max(1);
    1 << u32::try_from(room).unwrap_or(u32::MAX).ilog2()
}

/// The width of the longest address of a network.
fn label_width(net: IpNet) -> usize {
    // In IPv4, the last address has the most digits; in IPv6, the first of a row ends with zeros, which are left out.
    net.broadcast().to_string().chars().count()
}

/// Draws the maps.
pub(crate) fn map(output: &mut Output, net: IpNet, maps: &BTreeMap<Name, AddressMap>) -> Result<(), CliError> {
    if maps.is_empty() {
        let text = format!("No known network has an address of {net}, and no address of it has a lease.");
        return output.line(&text);
    }
    for (i, (vrf, map)) in maps.iter().enumerate() {
        if i > 0 {
            output.line("")?;
        }
        draw(output, vrf, map)?;
    }
    Ok(())
}

fn draw(output: &mut Output, vrf: &Name, map: &AddressMap) -> Result<(), CliError> {
    let columns = output.terminal_columns().unwrap_or(DEFAULT_COLUMNS);
    let is_block = map.block_size() > 1;
    let size = match map.block_size() {
        1 => "each character is an address".to_owned(),
        size => format!("each character is a block of {} addresses", count(size)),
    };
    output.line(&format!("{} in vrf {vrf}: {size}", map.net()))?;
    output.line("")?;
    let blocks: Vec<Block> = map.blocks().collect();
    let width = label_width(map.net());
    let mut drawn = BTreeSet::new();
    for row in blocks.chunks(row_length(columns, map.net()) as usize) {
        let glyphs: Vec<Glyph> = row.iter().map(Glyph::from_block).collect();
        drawn.extend(glyphs.iter().copied());
        let first = row.first().map_or_else(String::new, |block| block.span.first().to_string());
        print_glyphs(output, &format!("{first:<width$} "), &glyphs, "")?;
    }
    output.line("")?;
    for glyph in Glyph::ALL.iter().filter(|glyph| drawn.contains(glyph)) {
        print_glyphs(output, "  ", &[*glyph], &format!("  {}", glyph.meaning(is_block)))?;
    }
    output.line("")?;
    output.paragraph("", &sum(&map.total()))?;
    match map.closer() {
        Some(closer) => output.line(&format!("All leases are in {closer}: look closer with --map {closer}")),
        None => Ok(()),
    }
}

fn sum(total: &StateCounts) -> String {
    let StateCounts { held, reserved, resting, foreign, unreadable, random, request, never } = *total;
    let counts = [
        (u128::from(held), "held"),
        (u128::from(reserved), "reserved"),
        (u128::from(resting), "in cooldown"),
        (u128::from(foreign), "foreign"),
        (u128::from(unreadable), "unreadable"),
        (random, "free at random"),
        (request, "free on request only"),
        (never, "never assigned"),
    ];
    let occurs = counts.into_iter().filter(|(number, _)| *number > 0);
    let counts: Vec<String> = occurs.map(|(number, what)| format!("{} {what}", count(number))).collect();
    if counts.is_empty() { "Nothing is known there.".to_owned() } else { counts.join(", ") + "." }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use super::*;
    use crate::cli::render::schema;

    #[derive(JsonSchema)]
    #[schemars(rename = "Maps")]
    struct Maps<'a>(#[allow(dead_code, reason = "only its schema is used")] Vec<Document<'a>>);

    #[test]
    fn the_schema_of_a_map_is_current() {
        schema::assert_current::<Maps<'_>>("map.schema.json");
    }

    #[test]
    fn a_row_fits_and_begins_at_a_round_address() {
        for (columns, network, blocks) in [
            (80, "10.188.0.0/16", 64),
            (80, "255.255.255.0/24", 64),
            (200, "10.188.0.0/16", 128),
            (80, "fd00::/64", 32),
            (1, "10.0.0.0/8", 1),
        ] {
            let net: IpNet = network.parse().unwrap();
            assert_eq!(row_length(columns, net), blocks, "{columns} {network}");
            assert!(columns == 1 || label_width(net) + 1 + blocks as usize <= columns);
        }
    }
}
