//! From the ranges as they are written to the range sets of this node.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::document::{IpamBlock, RangeBlock};
use super::keys;
use super::problem::{ConfigWarning, Notes, Problem};
use super::read::{Field, List, Subnet};
use crate::ipam::address::{Family, Span};
use crate::ipam::name::Name;
use crate::ipam::range::{Range, RangeSet, glob_matches, special};

/// A range set as it is written, and where.
struct WrittenSet {
    at: String,
    ranges: Vec<Field<RangeBlock>>,
}

/// A range set for this node, and where each of its ranges was written.
struct PlacedSet {
    at: String,
    ranges: Vec<(String, Range)>,
}

/// The range sets from which this node draws: those of `runtimeConfig.ipRanges` first, then the flat range, then `ranges`.
pub(super) fn sets(config: &Map<String, Value>, block: &IpamBlock, node: &Name, notes: &mut Notes) -> Vec<RangeSet> {
    let mut written = runtime_sets(config, notes);
    let listed = block.ranges.located().map(|(_, list)| written_sets(list)).unwrap_or_default();
    let others = !written.is_empty() || !listed.is_empty();
    let before = notes.mistakes.len();
    written.extend(flat_set(block, others, notes));
    written.extend(listed);
    let silent = block.ranges.get().map_or(block.ranges.is_absent(), |list| list.0.is_empty());
    if written.is_empty() && silent && notes.mistakes.len() == before {
        notes.mistake(&block.at, Problem::NoRanges);
    }
    let exclude: Vec<Span> = given(&block.exclude);
    let placed: Vec<PlacedSet> = written.into_iter().filter_map(|set| placed_set(set, &exclude, node, notes)).collect();
    refuse_overlaps(&placed, notes);
    placed
        .into_iter()
        .filter_map(|set| RangeSet::new(set.ranges.into_iter().map(|(_, range)| range).collect()))
        .collect()
}

/// The sets that the runtime hands down by the capability `ipRanges`.
fn runtime_sets(config: &Map<String, Value>, notes: &mut Notes) -> Vec<WrittenSet> {
    let Some(runtime) = keys::find(config, "runtimeConfig").and_then(Value::as_object) else { return Vec::new() };
    let sets = Field::<List<List<RangeBlock>>>::read(runtime, "ipRanges", "runtimeConfig", notes);
    sets.located().map(|(_, list)| written_sets(list)).unwrap_or_default()
}

fn written_sets(list: &List<List<RangeBlock>>) -> Vec<WrittenSet> {
    let set = |set: &Field<List<RangeBlock>>| {
        let (at, ranges) = set.located()?;
        Some(WrittenSet { at: at.to_owned(), ranges: ranges.0.clone() })
    };
    list.0.iter().filter_map(set).collect()
}

/// The range that the block itself spells out.
fn flat_set(block: &IpamBlock, others: bool, notes: &mut Notes) -> Option<WrittenSet> {
    if block.subnet.is_absent() {
        let parts =
            [&block.range_start, &block.range_end, &block.gateway].map(|field| (field, others)).into_iter().chain([
                // host-local has no such keys, so that nobody counts on their being overlooked.
                (&block.fixed_start, false),
                (&block.fixed_end, false),
            ]);
        for ((at, _), overlooked) in parts.filter_map(|(field, overlooked)| Some((field.located()?, overlooked))) {
            if overlooked {
                notes.warnings.push(ConfigWarning::WithoutSubnet(at.to_owned()));
            } else {
                notes.mistake(at, Problem::NeedsSubnet);
            }
        }
        if let Some((at, _)) = block.nodes.located() {
            notes.mistake(at, Problem::NodesWithoutSubnet);
        }
        return None;
    }
    let range = RangeBlock {
        at: block.at.clone(),
        subnet: block.subnet.clone(),
        range_start: block.range_start.clone(),
        range_end: block.range_end.clone(),
        gateway: block.gateway.clone(),
        fixed_start: block.fixed_start.clone(),
        fixed_end: block.fixed_end.clone(),
        nodes: block.nodes.clone(),
        ..RangeBlock::default()
    };
    let at = block.subnet.located().map_or(block.at.as_str(), |(at, _)| at).to_owned();
    Some(WrittenSet { at, ranges: vec![Field::Given { at: block.at.clone(), value: range }] })
}

/// The ranges of a set that are for this node. All are checked, also those for other nodes.
fn placed_set(set: WrittenSet, exclude: &[Span], node: &Name, notes: &mut Notes) -> Option<PlacedSet> {
    let WrittenSet { at, ranges: written } = set;
    if written.is_empty() {
        notes.mistake(at, Problem::EmptySet);
        return None;
    }
    let mut ranges: Vec<(String, Range)> = Vec::with_capacity(written.len());
    for block in written.iter().filter_map(Field::get) {
        ranges.extend(range(block, exclude, notes).map(|range| (block.at.clone(), range)));
    }
    let complete = ranges.len() == written.len();
    let first = ranges.first()?.1.subnet;
    for (place, range) in &ranges {
        if range.family() != Family::of(first.addr()) {
            notes.mistake(keys::below(place, "subnet"), Problem::MixedFamilies { first, subnet: range.subnet });
        }
    }
    let all_globs: Vec<String> = ranges.iter().flat_map(|(_, range)| range.nodes.iter().cloned()).collect();
    let fits = |glob: &String| glob_matches(glob, node.as_str());
    ranges.retain(|(_, range)| range.nodes.is_empty() || range.nodes.iter().any(fits));
    if ranges.is_empty() && complete {
        notes.mistake(&at, Problem::NotOnNode { node: node.clone(), globs: all_globs.join(", ") });
    }
    for (i, (place, range)) in ranges.iter().enumerate() {
        for (other, before) in &ranges[..i] {
            if let Some(common) = range.window.intersection(&before.window) {
                notes.mistake(place, Problem::RangesOverlap { other: other.clone(), common });
            }
        }
    }
    (!ranges.is_empty()).then_some(PlacedSet { at, ranges })
}

/// One range: its subnet, both windows and the gateway, checked against each other.
fn range(block: &RangeBlock, exclude: &[Span], notes: &mut Notes) -> Option<Range> {
    let Some((subnet_at, &Subnet(subnet))) = block.subnet.located() else {
        if block.subnet.is_absent() {
            notes.mistake(keys::below(&block.at, "subnet"), Problem::NoSubnet);
        }
        return None;
    };
    let whole = Span::of_net(subnet);
    if let Some(what) = special(&whole) {
        notes.mistake(subnet_at, Problem::SpecialSubnet { subnet, what });
        return None;
    }
    let before = notes.mistakes.len();
    let mut range = Range::of_subnet(subnet);
    let edges = [&block.range_start, &block.range_end, &block.fixed_start, &block.fixed_end];
    for (at, &ip) in edges.into_iter().filter_map(Field::located).filter(|(_, ip)| !whole.contains(**ip)) {
        notes.mistake(at, Problem::OutsideSubnet { ip, subnet });
    }
    if let Some((at, &gateway)) = block.gateway.located() {
        if Family::of(gateway) != whole.family() {
            notes.mistake(at, Problem::GatewayFamily { gateway, subnet });
        }
        range.gateway = Some(gateway);
    }
    if notes.mistakes.len() == before {
        let usable = range.window;
        let edges = ((&block.range_start, usable.first()), (&block.range_end, usable.last()));
        range.window = window(edges.0, edges.1, notes).unwrap_or(usable);
        range.fixed = fixed_window(block, notes);
    }
    range.exclude = exclude
        .iter()
        .copied()
        .chain(given(&block.exclude))
        .filter(|hole| hole.intersection(&whole).is_some())
        .collect();
    range.nodes = globs(&block.nodes, notes);
    range.namespaces = globs(&block.namespaces, notes);
    if notes.mistakes.len() > before {
        return None;
    }
    if range.dynamic().is_empty() && range.requestable().is_empty() {
        notes.mistake(subnet_at, Problem::NothingLeft(subnet));
        return None;
    }
    Some(range)
}

/// The window from one edge to the other, each with its default.
fn window(start: (&Field<IpAddr>, IpAddr), end: (&Field<IpAddr>, IpAddr), notes: &mut Notes) -> Option<Span> {
    let edge = |(field, default): (&Field<IpAddr>, IpAddr)| match field {
        Field::Absent => Some(default),
        Field::Wrong => None,
        Field::Given { value, .. } => Some(*value),
    };
    let (first, last) = (edge(start)?, edge(end)?);
    let span = Span::new(first, last);
    // The default edges surround the usable addresses, so one of the two is written.
    if let (None, Some((at, _))) = (span, end.0.located().or(start.0.located())) {
        notes.mistake(at, Problem::Backwards { start: first, end: last });
    }
    span
}

fn fixed_window(block: &RangeBlock, notes: &mut Notes) -> Option<Span> {
    let (start, end) = (&block.fixed_start, &block.fixed_end);
    match (start.located(), end.located()) {
        (Some((at, _)), None) if end.is_absent() => notes.mistake(at, Problem::HalfWindow("fixedEnd")),
        (None, Some((at, _))) if start.is_absent() => notes.mistake(at, Problem::HalfWindow("fixedStart")),
        (Some((_, &first)), Some((_, &last))) => return window((start, first), (end, last), notes),
        _ => {}
    }
    None
}

/// Two sets with an address in common would give one interface the same address twice.
fn refuse_overlaps(sets: &[PlacedSet], notes: &mut Notes) {
    for (i, set) in sets.iter().enumerate() {
        for before in &sets[..i] {
            let pairs = set.ranges.iter().flat_map(|(_, a)| before.ranges.iter().map(move |(_, b)| (a, b)));
            if let Some(common) = pairs.into_iter().find_map(|(a, b)| a.window.intersection(&b.window)) {
                notes.mistake(&set.at, Problem::SetsOverlap { other: before.at.clone(), common });
            }
        }
    }
}

/// The globs of a list; one without any would allow all, or nobody, depending on who reads it.
pub(super) fn globs(field: &Field<List<String>>, notes: &mut Notes) -> Vec<String> {
    if let Some((at, _)) = field.located().filter(|(_, list)| list.0.iter().all(Field::is_absent)) {
        notes.mistake(at, Problem::NoGlobs);
    }
    given(field)
}

fn given<T: Clone>(field: &Field<List<T>>) -> Vec<T> {
    field.get().map(|list| list.given().cloned().collect()).unwrap_or_default()
}
