//! `pools`: resolves the pools of a config to shares of range sets.
//!
//! Every address of a pool must be in a subnet of the network, on any node, and in one pool only. Excludes, gateways,
//! network and broadcast addresses are taken out, but must not take all of a pool.

use std::sync::Arc;

use ipnet::IpNet;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::diagnostics::Diagnostics;
use super::document::{IpamBlock, PoolBlock};
use super::keys;
use super::problem::Problem;
use super::ranges::{given, globs};
use super::read::{Field, MAX_ENTRIES, Read, bounded_object, is_absent, shortened};
use crate::ipam::address::{Span, Spans};
use crate::ipam::pool::{Pool, PoolName, divide};
use crate::ipam::range::Range;

/// The most pools of a network. Each ADD checks all of them.
const MAX_POOLS: usize = 64;

/// The pools of a block, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Pools(Vec<(PoolName, PoolBlock)>);

impl Read for Pools {
    fn read(value: &Value, at: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        let object =
            bounded_object(value, "an object in braces, with a name for each pool", MAX_POOLS, at, diagnostics)?;
        let mut pools = Vec::new();
        for (name, value) in object {
            let path = keys::below(at, &shortened(name));
            let name = diagnostics.ok_or_note(&path, PoolName::new(name.as_str()));
            if is_absent(value) {
                diagnostics.mistake(path, Problem::NoPoolAddresses);
                continue;
            }
            pools.extend(name.zip(PoolBlock::read(value, &path, diagnostics)));
        }
        Some(Self(pools))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let pool = generator.subschema_for::<PoolBlock>();
        json_schema!({
            "type": "object",
            "maxProperties": MAX_POOLS,
            "propertyNames": { "pattern": "^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$" },
            "additionalProperties": pool,
        })
    }
}

/// A pool, with the share of each range set.
pub(super) struct DividedPool {
    pub(super) pool: Arc<Pool>,
    pub(super) shares: Vec<Vec<Span>>,
}

/// A pool, with the paths of itself and its entries.
struct WrittenPool {
    at: String,
    entries: Vec<(String, Span)>,
    pool: Arc<Pool>,
}

/// The pools of a block, divided among range sets. A set is the list of its ranges on all nodes; `None` if some can't
/// be read, because then an address outside the others may still be valid.
pub(super) fn divided(
    block: &IpamBlock,
    exclude: &[Span],
    sets: Option<Vec<Vec<&Range>>>,
    diagnostics: &mut Diagnostics,
) -> Vec<DividedPool> {
    let Some((at, Pools(pools))) = block.pools.located() else { return Vec::new() };
    let written: Vec<WrittenPool> =
        pools.iter().filter_map(|(name, block)| written_pool(name, block, diagnostics)).collect();
    let found = written.iter().map(|written| written.entries.len()).sum();
    if found > MAX_ENTRIES {
        diagnostics.mistake(at, Problem::TooManyPoolEntries { found, max: MAX_ENTRIES });
        return Vec::new();
    }
    refuse_overlaps(&written, diagnostics);
    let Some(sets) = sets else { return Vec::new() };
    let subnets: Vec<IpNet> = sets.iter().flatten().map(|range| range.subnet).collect();
    let mut divided = Vec::new();
    for WrittenPool { at, entries, pool } in written {
        if refuse_outside(&entries, &subnets, diagnostics) {
            continue;
        }
        let shares = divide(&pool, exclude, &sets);
        if shares.iter().all(Vec::is_empty) {
            diagnostics.mistake(at, Problem::PoolNothingLeft);
        }
        divided.push(DividedPool { pool, shares });
    }
    divided
}

fn written_pool(name: &PoolName, block: &PoolBlock, diagnostics: &mut Diagnostics) -> Option<WrittenPool> {
    let at = keys::below(&block.at, "addresses");
    let namespaces = globs(&block.namespaces, diagnostics);
    if block.addresses.is_invalid() {
        return None;
    }
    let listed = block.addresses.get().map_or(&[][..], |list| &list.0);
    if listed.is_empty() {
        diagnostics.mistake(at, Problem::NoPoolAddresses);
        return None;
    }
    let entry = |field: &Field<Span>| field.located().map(|(at, span)| (at.to_owned(), *span));
    let entries: Vec<_> = listed.iter().filter_map(entry).collect();
    if entries.is_empty() {
        return None;
    }
    let pool = Arc::new(Pool { name: name.clone(), addresses: given(&block.addresses), namespaces });
    Some(WrittenPool { at, entries, pool })
}

/// Reports entries with common addresses, in one pool or two. Reports each entry once, however many it overlaps.
fn refuse_overlaps(written: &[WrittenPool], diagnostics: &mut Diagnostics) {
    let entries = written.iter().flat_map(|written| &written.entries).enumerate();
    let mut entries: Vec<(Span, usize, &str)> = entries.map(|(i, (at, span))| (*span, i, at.as_str())).collect();
    entries.sort_unstable();
    // Of the entries that start before, the one with the last end.
    let mut furthest: Option<(Span, usize, &str)> = None;
    for entry in entries {
        if let Some(other) = furthest
            && let Some(common) = entry.0.intersection(&other.0)
        {
            let (later, earlier) = if entry.1 > other.1 { (entry, other) } else { (other, entry) };
            diagnostics.mistake(later.2, Problem::PoolsOverlap { other: earlier.2.to_owned(), common });
            if entry.0.last() <= other.0.last() {
                continue;
            }
        }
        furthest = Some(entry);
    }
}

/// Reports entries that are not entirely in the network's subnets. Returns whether there are any.
fn refuse_outside(entries: &[(String, Span)], subnets: &[IpNet], diagnostics: &mut Diagnostics) -> bool {
    let before = diagnostics.mistakes.len();
    for (at, span) in entries {
        let outside = Spans::between(*span, subnets.iter().map(|subnet| Span::of_net(*subnet)));
        if let Some(outside) = outside.iter().next() {
            let subnets = subnets.to_vec();
            diagnostics.mistake(at, Problem::PoolOutsideSubnets { outside: *outside, subnets });
        }
    }
    diagnostics.mistakes.len() > before
}
