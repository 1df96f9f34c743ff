//! What a network's definition says about an address: whether a random or a requested address may be this one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use super::{Fact, Source, Text, Topic};
use crate::ipam::address::{Span, Spans};
use crate::ipam::lease::{DefinedRange, Definition};
use crate::ipam::name::Name;
use crate::ipam::range::Range;
use crate::ipam::refusal::list;

/// A network, as far as its definition was found.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkView {
    /// The `name` of its config.
    pub name: Name,
    /// Its routing domain.
    pub vrf: Name,
    /// Where its definition was found.
    pub source: Source,
    /// Globs of the namespaces that may use it; empty for all.
    pub namespaces: Vec<String>,
    /// All its ranges, also those for other nodes.
    pub ranges: Vec<RangeView>,
    /// The folders in which host-local may hold its addresses on this node.
    pub host_local: Vec<PathBuf>,
}

/// A range of a network.
#[derive(Clone, Debug, PartialEq)]
pub enum RangeView {
    /// From a configuration.
    Configured(Range),
    /// From a definition in the store, which has no `exclude`, `namespaces` or `nodes`.
    Stored {
        /// Its subnet, gateway and window of fixed addresses.
        range: Box<Range>,
        /// Its random addresses.
        random: Spans,
        /// Its parts of named pools.
        pools: BTreeMap<String, Spans>,
    },
}

/// Whether an address may be assigned from a range.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rules {
    /// At random, or why not.
    pub random: Result<(), String>,
    /// On request, or why not.
    pub request: Result<(), String>,
    /// What limits or loosens that: pools, nodes, namespaces, what the definition leaves out.
    pub limits: String,
}

impl NetworkView {
    /// The network of a definition in the store.
    pub fn from_store(vrf: Name, name: Name, definition: &Definition) -> Self {
        let ranges = definition.sets.iter().flatten().map(RangeView::from_store).collect();
        Self { name, vrf, source: Source::Store, namespaces: Vec::new(), ranges, host_local: Vec::new() }
    }

    /// Whether one of its subnets has this address.
    pub fn has(&self, ip: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.range().subnet.contains(&ip))
    }

    /// What each of its ranges with this address says.
    pub(super) fn rules(&self, ip: IpAddr) -> Vec<Rules> {
        let around = self.ranges.iter().filter(|range| range.range().subnet.contains(&ip));
        let mut different: Vec<Rules> = Vec::new();
        for rules in around.map(|range| range.rules(ip, &self.namespaces)) {
            if !different.contains(&rules) {
                different.push(rules);
            }
        }
        different
    }

    /// Whether its named pool has this address.
    pub(super) fn pool_has(&self, pool: &str, ip: IpAddr) -> bool {
        self.ranges.iter().any(|range| match range {
            RangeView::Configured(range) => range.pool_of(ip).is_some_and(|found| found.name.as_str() == pool),
            RangeView::Stored { pools, .. } => pools.get(pool).is_some_and(|spans| spans.contains(ip)),
        })
    }

    /// The rules that apply to this address.
    pub(super) fn facts(&self, ip: IpAddr) -> Vec<Fact> {
        let fact = |topic, text: String| Fact::new(topic, Text::new(text), self.source.clone());
        let name = &self.name;
        let lines = |Rules { random, request, limits }: Rules| {
            let random = match random {
                Ok(()) => format!("network {name} assigns it at random{limits}"),
                Err(why) => format!("network {name} does not assign it at random: {why}"),
            };
            let request = match request {
                Ok(()) => format!("network {name} assigns it to a pod that requests it{limits}"),
                Err(why) => format!("network {name} does not assign it on request: {why}"),
            };
            [fact(Topic::Random, random), fact(Topic::Request, request)]
        };
        self.rules(ip).into_iter().flat_map(lines).collect()
    }
}

impl RangeView {
    fn from_store(defined: &DefinedRange) -> Self {
        let fixed = defined.fixed.as_deref().and_then(|fixed| fixed.parse().ok());
        let exclude =
            defined.exclude.iter().flat_map(|spans| read(spans).iter().copied().collect::<Vec<_>>()).collect();
        let range = Range { gateway: defined.gateway, fixed, exclude, ..Range::of_subnet(defined.subnet) };
        let pools = defined.pools.iter().map(|(name, spans)| (name.clone(), read(spans))).collect();
        Self::Stored { range: Box::new(range), random: read(&defined.dynamic), pools }
    }

    /// The spans of all its rules: between two of their ends, its rules say the same of every address.
    pub(super) fn boundaries(&self) -> Vec<Span> {
        match self {
            Self::Configured(range) => range.boundaries().collect(),
            Self::Stored { range, random, pools } => {
                let pools = pools.values().flat_map(Spans::iter);
                range.boundaries().chain(random.iter().chain(pools).copied()).collect()
            }
        }
    }

    /// The subnet with its gateway and windows.
    pub fn range(&self) -> &Range {
        match self {
            Self::Configured(range) => range,
            Self::Stored { range, .. } => range,
        }
    }

    fn rules(&self, ip: IpAddr, namespaces: &[String]) -> Rules {
        match self {
            Self::Configured(range) => configured(range, ip, namespaces),
            Self::Stored { range, random, pools } => stored(range, random, pools, ip),
        }
    }
}

fn configured(range: &Range, ip: IpAddr, namespaces: &[String]) -> Rules {
    let mut limits = Vec::new();
    if let Some(pool) = range.pool_of(ip) {
        limits.push(match pool.namespaces.as_slice() {
            [] => format!("by address or from pool {}", pool.name),
            only => format!("by address or from pool {}, if it is in namespace {}", pool.name, list(only)),
        });
    }
    for globs in [namespaces, range.namespaces.as_slice()] {
        if !globs.is_empty() {
            limits.push(format!("for namespaces {}", list(globs)));
        }
    }
    if range.nodes != Default::default() {
        limits.push(format!("on nodes {}", range.nodes));
    }
    let limits = limits.iter().map(|limit| format!(", {limit}")).collect();
    let random = range.random(ip).map_err(|why| why.to_string());
    Rules { random, request: range.assignable(ip).map_err(|why| why.to_string()), limits }
}

fn stored(range: &Range, random: &Spans, pools: &BTreeMap<String, Spans>, ip: IpAddr) -> Rules {
    if let Some((name, _)) = pools.iter().find(|(_, spans)| spans.contains(ip)) {
        let random = Err(format!("it is in pool {name}, which pods request by name"));
        return Rules { random, request: Ok(()), limits: format!(", by address or from pool {name}") };
    }
    if random.contains(ip) {
        return Rules {
            random: Ok(()),
            request: range.assignable(ip).map_err(|why| why.to_string()),
            limits: String::new(),
        };
    }
    let why = match range.random(ip) {
        Err(why) => why.to_string(),
        Ok(()) => "it is outside its random addresses, or excluded".to_owned(),
    };
    let limits = match range.exclude.as_slice() {
        // An earlier version's definition does not say whether there are any.
        [] => ", unless `exclude` has it, which the definition in the store does not say".to_owned(),
        _ => String::new(),
    };
    Rules { random: Err(why), request: range.assignable(ip).map_err(|why| why.to_string()), limits }
}

/// The spans of a stored text, without those that can't be read.
fn read(text: &str) -> Spans {
    text.split(',').filter_map(|span| span.parse::<Span>().ok()).collect()
}
