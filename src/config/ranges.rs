//! Resolves the ranges of a config to the range sets of this node.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::diagnostics::{ConfigWarning, Diagnostics};
use super::document::{IpamBlock, RangeBlock};
use super::keys;
use super::pools::{self, DividedPool};
use super::problem::Problem;
use super::read::{Field, List, Subnet};
use crate::ipam::address::{Family, Span};
use crate::ipam::node_selector::{LocalNode, NodeSelector};
use crate::ipam::pool::Pool;
use crate::ipam::range::{Range, RangeSet, special};
use crate::ipam::request::UnplacedSet;

/// The most ranges of one node on one network. It bounds the work on a hostile config.
const MAX_RANGES: usize = 256;

/// A range set as written, with its path.
struct WrittenSet {
    at: String,
    ranges: Vec<Field<RangeBlock>>,
}

/// The ranges of a set, divided by the nodes that use them. Those of this node have their paths.
struct PlacedSet {
    at: String,
    here: Vec<(String, Range)>,
    other_nodes: Vec<Range>,
}

/// The ranges of a network, from the view of one node.
#[derive(Default)]
pub(super) struct NodeRanges {
    /// The range sets that this node uses.
    pub(super) sets: Vec<RangeSet>,
    /// The ranges that only other nodes use.
    pub(super) other_nodes: Vec<Range>,
    /// The range sets that only other nodes use.
    pub(super) unplaced: Vec<UnplacedSet>,
    /// The named pools.
    pub(super) pools: Vec<Arc<Pool>>,
}

/// The range sets of this node: those of `runtimeConfig.ipRanges`, then the flat range, then `ranges`.
pub(super) fn sets(
    config: &Map<String, Value>,
    block: &IpamBlock,
    node: &LocalNode,
    diagnostics: &mut Diagnostics,
) -> NodeRanges {
    let mut written = runtime_sets(config, diagnostics);
    let listed = block.ranges.located().map(|(_, list)| written_sets(list)).unwrap_or_default();
    let others = !written.is_empty() || !listed.is_empty();
    written.extend(flat_set(block, others, diagnostics));
    written.extend(listed);
    let nothing_is_said = block.ranges.get().map_or(block.ranges.is_absent(), |list| list.0.is_empty());
    // A missing block, or a part of a range without its subnet, has been reported already.
    let is_explained =
        diagnostics.mistakes.iter().any(|mistake| mistake.key == block.at || mistake.problem == Problem::NeedsSubnet);
    if written.is_empty() && nothing_is_said && !is_explained {
        diagnostics.mistake(&block.at, Problem::NoRanges);
    }
    let here = written.iter().flat_map(|set| &set.ranges).filter_map(Field::get);
    let here = here.filter(|range| selector(range).admits(node));
    let found = here.count();
    note_missing_labels(&written, node, diagnostics);
    if found > MAX_RANGES {
        diagnostics.mistake(&block.at, Problem::TooManyRanges { found, max: MAX_RANGES });
        return NodeRanges::default();
    }
    let exclude: Vec<Span> = given(&block.exclude);
    let mut placed: Vec<PlacedSet> =
        written.into_iter().filter_map(|set| placed_set(set, &exclude, node, diagnostics)).collect();
    refuse_overlaps(&placed, diagnostics);
    let unplaced: Vec<UnplacedSet> = placed.iter().filter_map(PlacedSet::unplaced).collect();
    // Ranges with a mistake are missing here, so pools can only be checked if there is none.
    let is_read = diagnostics.mistakes.iter().all(|mistake| mistake.problem.is_overlooked_key());
    let all_ranges = is_read.then(|| placed.iter().map(PlacedSet::ranges).collect());
    let pools = pools::divided(block, &exclude, all_ranges, diagnostics);
    let other_nodes = placed.iter_mut().flat_map(|set| std::mem::take(&mut set.other_nodes)).collect();
    let of_ranges = |(nth, set): (usize, PlacedSet)| set.with_pools(nth, &pools);
    let sets: Vec<RangeSet> = placed.into_iter().enumerate().filter_map(of_ranges).collect();
    // Some callers take a success without an address for an address.
    if sets.is_empty()
        && unplaced.is_empty()
        && diagnostics.mistakes.iter().all(|mistake| mistake.problem.is_overlooked_key())
    {
        diagnostics.mistake(&block.at, Problem::NoRanges);
    }
    let pools = pools.into_iter().map(|divided| divided.pool).collect();
    NodeRanges { sets, other_nodes, unplaced, pools }
}

impl PlacedSet {
    /// The set, if only other nodes use it.
    fn unplaced(&self) -> Option<UnplacedSet> {
        let family = self.other_nodes.first().filter(|_| self.here.is_empty())?.family();
        let nodes = self.other_nodes.iter().map(|range| range.nodes.clone()).collect();
        Some(UnplacedSet { at: self.at.clone(), family, nodes })
    }

    /// Its ranges on all nodes.
    fn ranges(&self) -> Vec<&Range> {
        self.here.iter().map(|(_, range)| range).chain(&self.other_nodes).collect()
    }

    /// The range set of this node, with its shares of pools. It is the `nth` of the sets that share the pools.
    fn with_pools(self, nth: usize, pools: &[DividedPool]) -> Option<RangeSet> {
        let set = RangeSet::new(self.here.into_iter().map(|(_, range)| range).collect())?;
        let add = |set: RangeSet, DividedPool { pool, shares }: &DividedPool| {
            set.with_pool(pool, shares.get(nth).cloned().unwrap_or_default(), &shares.concat())
        };
        Some(pools.iter().fold(set, add))
    }
}

/// The path of the sets that the runtime passes through the capability `ipRanges`.
pub(super) const OF_RUNTIME: &str = "runtimeConfig.ipRanges";

/// The sets of that path, as written.
pub(super) fn of_runtime(config: &Map<String, Value>) -> Option<&Value> {
    keys::find(keys::find(config, "runtimeConfig")?.as_object()?, "ipRanges")
}

/// The sets of that path, parsed.
fn runtime_sets(config: &Map<String, Value>, diagnostics: &mut Diagnostics) -> Vec<WrittenSet> {
    let Some(runtime) = keys::find(config, "runtimeConfig").and_then(Value::as_object) else { return Vec::new() };
    let sets = Field::<List<List<RangeBlock>>>::read(runtime, "ipRanges", "runtimeConfig", diagnostics);
    sets.located().map(|(_, list)| written_sets(list)).unwrap_or_default()
}

fn written_sets(list: &List<List<RangeBlock>>) -> Vec<WrittenSet> {
    let set = |set: &Field<List<RangeBlock>>| {
        let (at, ranges) = set.located()?;
        Some(WrittenSet { at: at.to_owned(), ranges: ranges.0.clone() })
    };
    list.0.iter().filter_map(set).collect()
}

/// The range in the keys of the block itself.
fn flat_set(block: &IpamBlock, others: bool, diagnostics: &mut Diagnostics) -> Option<WrittenSet> {
    if block.subnet.is_absent() {
        note_strays(block, others, diagnostics);
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
        node_selector: block.node_selector.clone(),
        ..RangeBlock::default()
    };
    let at = block.subnet.located().map_or(block.at.as_str(), |(at, _)| at).to_owned();
    Some(WrittenSet { at, ranges: vec![Field::Present { at: block.at.clone(), value: range }] })
}

/// Reports keys of the flat range in a block without its subnet.
fn note_strays(block: &IpamBlock, others: bool, diagnostics: &mut Diagnostics) {
    for (at, _) in [&block.range_start, &block.range_end, &block.gateway].into_iter().filter_map(Field::located) {
        if others {
            // host-local ignores them beside `ranges`, so a config may have had them for years.
            diagnostics.warnings.push(ConfigWarning::WithoutSubnet(at.to_owned()));
        } else {
            diagnostics.mistake(at, Problem::NeedsSubnet);
        }
    }
    for (at, _) in [&block.fixed_start, &block.fixed_end].into_iter().filter_map(Field::located) {
        diagnostics.mistake(at, Problem::NeedsSubnet);
    }
    let of_nodes = [block.nodes.located().map(|(at, _)| at), block.node_selector.located().map(|(at, _)| at)];
    for at in of_nodes.into_iter().flatten() {
        diagnostics.mistake(at, Problem::NodesWithoutSubnet);
    }
}

/// Reports the first selector on a node without known labels. Another range of its set, for all nodes, may be used in
/// its place without any other sign.
fn note_missing_labels(written: &[WrittenSet], node: &LocalNode, diagnostics: &mut Diagnostics) {
    let ranges = written.iter().flat_map(|set| &set.ranges).filter_map(Field::get);
    let mut selectors = ranges.filter_map(|range| range.node_selector.located());
    if node.labels.is_none()
        && let Some((at, _)) = selectors.find(|(_, labels)| !labels.is_empty())
    {
        diagnostics.warnings.push(ConfigWarning::SelectorWithoutLabels(at.to_owned()));
    }
}

/// The nodes that use a range.
fn selector(range: &RangeBlock) -> NodeSelector {
    NodeSelector { names: given(&range.nodes), labels: range.node_selector.get().cloned().unwrap_or_default() }
}

/// The ranges of a set, divided by whether this node uses them. Ranges of other nodes are checked too, except against
/// the block's excludes.
fn placed_set(set: WrittenSet, exclude: &[Span], node: &LocalNode, diagnostics: &mut Diagnostics) -> Option<PlacedSet> {
    let WrittenSet { at, ranges: written } = set;
    if written.is_empty() {
        diagnostics.mistake(at, Problem::EmptySet);
        return None;
    }
    let mut first = None;
    let (mut ranges, mut other_nodes) = (Vec::new(), Vec::new());
    for block in written.iter().filter_map(Field::get) {
        let here = selector(block).admits(node);
        let Some(range) = range(block, if here { exclude } else { &[] }, diagnostics) else { continue };
        let first = *first.get_or_insert(range.subnet);
        if range.family() != Family::of(first.addr()) {
            diagnostics
                .mistake(keys::below(&block.at, "subnet"), Problem::MixedFamilies { first, subnet: range.subnet });
        }
        if here {
            ranges.push((block.at.clone(), range));
        } else {
            other_nodes.push(range);
        }
    }
    Some(PlacedSet { at, here: ranges, other_nodes })
}

/// One range. Checks its subnet, both windows and the gateway against each other.
fn range(block: &RangeBlock, exclude: &[Span], diagnostics: &mut Diagnostics) -> Option<Range> {
    let Some((subnet_at, &Subnet(subnet))) = block.subnet.located() else {
        if block.subnet.is_absent() {
            diagnostics.mistake(keys::below(&block.at, "subnet"), Problem::NoSubnet);
        }
        return None;
    };
    let whole = Span::of_net(subnet);
    if let Some(what) = special(&whole) {
        diagnostics.mistake(subnet_at, Problem::SpecialSubnet { subnet, what });
        return None;
    }
    let before = diagnostics.mistakes.len();
    let mut range = Range::of_subnet(subnet);
    let edges = [&block.range_start, &block.range_end, &block.fixed_start, &block.fixed_end];
    for (at, &ip) in edges.into_iter().filter_map(Field::located).filter(|(_, ip)| !whole.contains(**ip)) {
        diagnostics.mistake(at, Problem::OutsideSubnet { ip, subnet });
    }
    if let Some((at, &gateway)) = block.gateway.located() {
        if Family::of(gateway) != whole.family() {
            diagnostics.mistake(at, Problem::GatewayFamily { gateway, subnet });
        } else if let Some(what) = no_host(gateway, subnet) {
            diagnostics.mistake(at, Problem::GatewayIsNoHost { gateway, what });
        }
        range.gateway = Some(gateway);
    }
    if diagnostics.mistakes.len() == before {
        let usable = range.window;
        let edges = ((&block.range_start, usable.first()), (&block.range_end, usable.last()));
        range.window = window(edges.0, edges.1, diagnostics).unwrap_or(usable);
        range.fixed = fixed_window(block, diagnostics);
    }
    range.exclude = exclude
        .iter()
        .copied()
        .chain(given(&block.exclude))
        .filter(|hole| hole.intersection(&whole).is_some())
        .collect();
    range.nodes = NodeSelector { names: globs(&block.nodes, diagnostics), ..selector(block) };
    range.namespaces = globs(&block.namespaces, diagnostics);
    if diagnostics.mistakes.len() > before {
        return None;
    }
    if range.dynamic().is_empty() && range.requestable().is_empty() {
        diagnostics.mistake(subnet_at, Problem::NothingLeft(subnet));
        return None;
    }
    Some(range)
}

/// Why an address can't be a gateway: it is the network or broadcast address, or one that no interface can have. The
/// first address of an IPv6 subnet is allowed, because it belongs to the routers (RFC 4291 section 2.6.1).
fn no_host(gateway: IpAddr, subnet: IpNet) -> Option<String> {
    if let Some(what) = special(&Span::single(gateway)) {
        return Some(what.to_owned());
    }
    let whole = Span::of_net(subnet);
    match whole.family() {
        Family::V4 if subnet.prefix_len() <= 30 && gateway == whole.first() => {
            Some(format!("the network address of {subnet}"))
        }
        Family::V4 if subnet.prefix_len() <= 30 && gateway == whole.last() => {
            Some(format!("the broadcast address of {subnet}"))
        }
        _ => None,
    }
}

/// The window between two edges, each with its default.
fn window(
    start: (&Field<IpAddr>, IpAddr),
    end: (&Field<IpAddr>, IpAddr),
    diagnostics: &mut Diagnostics,
) -> Option<Span> {
    let edge = |(field, default): (&Field<IpAddr>, IpAddr)| match field {
        Field::Absent => Some(default),
        Field::Invalid => None,
        Field::Present { value, .. } => Some(*value),
    };
    let (first, last) = (edge(start)?, edge(end)?);
    let span = Span::new(first, last);
    // The default edges enclose all usable addresses, so a window runs backwards only if one edge is written.
    if let (None, Some((at, _))) = (span, end.0.located().or(start.0.located())) {
        diagnostics.mistake(at, Problem::Backwards { start: first, end: last });
    }
    span
}

fn fixed_window(block: &RangeBlock, diagnostics: &mut Diagnostics) -> Option<Span> {
    let (start, end) = (&block.fixed_start, &block.fixed_end);
    match (start.located(), end.located()) {
        (Some((at, _)), None) if end.is_absent() => diagnostics.mistake(at, Problem::HalfWindow("fixedEnd")),
        (None, Some((at, _))) if start.is_absent() => diagnostics.mistake(at, Problem::HalfWindow("fixedStart")),
        (Some((_, &first)), Some((_, &last))) => return window((start, first), (end, last), diagnostics),
        _ => {}
    }
    None
}

/// Reports ranges with common addresses. In one set, an address would have two ranges. In two sets, an interface could
/// get the same address twice. Reports each range once, however many it overlaps.
fn refuse_overlaps(sets: &[PlacedSet], diagnostics: &mut Diagnostics) {
    let places = sets.iter().enumerate().flat_map(|(s, set)| (0..set.here.len()).map(move |r| (s, r)));
    let mut windows: Vec<_> = places.map(|(s, r)| (sets[s].here[r].1.window, (s, r))).collect();
    windows.sort_unstable();
    // Of the windows that start before, the one with the last end.
    let mut furthest: Option<(Span, (usize, usize))> = None;
    for (window, place) in windows {
        if let Some((other, other_place)) = furthest
            && let Some(common) = window.intersection(&other)
        {
            let ((s, r), (before, b)) = (place.max(other_place), place.min(other_place));
            if s == before {
                let other = sets[s].here[b].0.clone();
                diagnostics.mistake(&sets[s].here[r].0, Problem::RangesOverlap { other, common });
            } else {
                diagnostics.mistake(&sets[s].at, Problem::SetsOverlap { other: sets[before].at.clone(), common });
            }
            if window.last() <= other.last() {
                continue;
            }
        }
        furthest = Some((window, place));
    }
}

/// The globs of a list. Reports a list without any, because it can be read as all or none.
pub(super) fn globs(field: &Field<List<String>>, diagnostics: &mut Diagnostics) -> Vec<String> {
    if let Some((at, _)) = field.located().filter(|(_, list)| list.0.iter().all(Field::is_absent)) {
        diagnostics.mistake(at, Problem::NoGlobs);
    }
    given(field)
}

pub(super) fn given<T: Clone>(field: &Field<List<T>>) -> Vec<T> {
    field.get().map(|list| list.valid().cloned().collect()).unwrap_or_default()
}
