//! How much of each network is in use, counted over the leases in the store.
//!
//! ```text
//! net/… ─► the addresses of each network ─┐
//! ip/…  ─► held, reserved, in cooldown ────┴► Usage ─┬─► ranges   one line for each range, for people
//!                                                    ├─► counts   for each namespace, for metrics
//!                                                    └─► of_definitions   for each definition, for its object's status
//! ```
//!
//! The store keeps each definition of a network that an ADD has used. Several may be valid at once, one per rack or
//! zone, so the capacity of a subnet is the union of all definitions. A range that was made smaller therefore counts
//! with its old size until the old definition is removed from the store.

mod history;
mod runs;
mod status;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};

pub use self::history::{Trend, UsageHistory, UsageSample};
pub use self::runs::FreeRuns;
pub use self::status::{Count, DefinitionUsage, Fill, RangeFill, UsedShare};

use super::address::{Span, Spans};
use super::lease::{AllocationKind, Definition, Lease, LeaseState, Stored};
use super::name::Name;
use crate::ipam::keys;
use crate::store::{Entry, Key};

/// A part of a subnet, by how its addresses are selected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RangePart {
    /// Random addresses.
    Dynamic,
    /// The window of fixed addresses.
    Fixed,
    /// The named pool of this name.
    Pool(String),
    /// Outside all of these, or in no stored definition.
    Other,
}

impl fmt::Display for RangePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dynamic => f.write_str("dynamic"),
            Self::Fixed => f.write_str("fixed"),
            Self::Pool(name) => write!(f, "pool {name}"),
            Self::Other => f.write_str("other"),
        }
    }
}

impl Serialize for RangePart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for RangePart {
    fn schema_name() -> Cow<'static, str> {
        "RangePart".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "description": "A part of a subnet, by how its addresses are selected: random ones (dynamic), those of the window \
                of fixed addresses (fixed), those of a named pool (pool NAME), or outside all of these (other).",
            "type": "string",
            "pattern": "^(dynamic|fixed|other|pool .+)$"
        })
    }
}

/// A part of a network, as it is counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct RangeKey {
    /// The routing domain.
    pub vrf: Name,
    /// The network. For an address, that of its holder.
    pub network: Name,
    /// The subnet, if a stored definition of the network has one with the address.
    #[schemars(with = "Option<String>")]
    pub subnet: Option<IpNet>,
    /// The part of the subnet.
    #[serde(rename = "range")]
    pub part: RangePart,
}

/// Addresses that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// The part of a network to which they belong.
    pub key: RangeKey,
    /// How they were selected.
    pub kind: AllocationKind,
    /// The state of their leases.
    pub state: LeaseState,
    /// The namespace of the holder's pod, if it has one; for reserved addresses, that of the last holder. `None` in
    /// cooldown and for foreign addresses.
    pub namespace: Option<String>,
}

/// The usage of a part of a network.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct RangeUsage {
    /// The part of the network.
    #[serde(flatten)]
    pub key: RangeKey,
    /// The number of its addresses; null if no definition has them.
    pub size: Option<u128>,
    /// The number of held addresses.
    pub held: u64,
    /// The number of addresses that are reserved for their owners.
    pub reserved: u64,
    /// The number of addresses in cooldown.
    pub resting: u64,
    /// The number of addresses that hosts use without a lease.
    pub foreign: u64,
}

impl RangeUsage {
    fn new(key: RangeKey, size: Option<u128>) -> Self {
        Self { key, size, held: 0, reserved: 0, resting: 0, foreign: 0 }
    }

    /// The number of addresses that are not free: held, reserved, in cooldown or foreign.
    pub fn used(&self) -> u64 {
        self.held + self.reserved + self.resting + self.foreign
    }

    /// The number of free addresses. `None` if the size is unknown.
    pub fn free(&self) -> Option<u128> {
        self.size.map(|size| size.saturating_sub(u128::from(self.used())))
    }
}

/// The addresses of a subnet, over all definitions.
#[derive(Clone, Debug, Default)]
struct Capacity {
    dynamic: Spans,
    fixed: Spans,
    pools: BTreeMap<String, Spans>,
}

impl Capacity {
    /// Its parts, which don't overlap. A definition from before a pool was declared lists the pool's addresses as
    /// random or fixed; they count for the pool alone.
    fn parts(&self) -> impl Iterator<Item = (RangePart, Spans)> + '_ {
        let pooled: Vec<Span> = self.pools.values().flat_map(|pool| pool.iter().copied()).collect();
        let rest = move |spans: &Spans| -> Spans {
            spans
                .iter()
                .flat_map(|span| Spans::between(*span, pooled.iter().copied()).iter().copied().collect::<Vec<_>>())
                .collect()
        };
        let pools = self.pools.iter().map(|(name, spans)| (RangePart::Pool(name.clone()), spans.clone()));
        let others = [(RangePart::Dynamic, rest(&self.dynamic)), (RangePart::Fixed, rest(&self.fixed))];
        others.into_iter().chain(pools).filter(|(_, spans)| !spans.is_empty())
    }
}

/// Counts the addresses in use. Definitions must be added before leases.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    capacities: BTreeMap<(Name, Name), BTreeMap<IpNet, Capacity>>,
    /// The vrf, the network and the subnets of each definition.
    definitions: BTreeMap<Key, ((Name, Name), BTreeSet<IpNet>)>,
    counts: BTreeMap<Group, u64>,
    unreadable: BTreeMap<Name, u64>,
}

impl Usage {
    /// Adds an entry of the store. Entries other than definitions and leases are ignored.
    pub fn note(&mut self, entry: &Entry) {
        if let Some(network) = keys::read_definition(&entry.key) {
            // A newer version's definition can't be read. Its leases count as `RangePart::Other`.
            if let Some(definition) = Stored::<Definition>::read(&entry.value).known() {
                let subnets = definition.sets.iter().flatten().map(|range| range.subnet).collect();
                self.definitions.insert(entry.key.clone(), (network.clone(), subnets));
                self.define(network, &definition);
            }
        } else if let Some((vrf, ip)) = keys::read_lease(&entry.key) {
            self.note_lease(vrf, ip, Stored::read(&entry.value));
        }
    }

    /// The number of addresses of each group.
    pub fn counts(&self) -> &BTreeMap<Group, u64> {
        &self.counts
    }

    /// The number of leases of each vrf that can't be read. They count as held, on an unknown network.
    pub fn unreadable(&self) -> &BTreeMap<Name, u64> {
        &self.unreadable
    }

    /// Every part of a network that has addresses, assigned or not.
    pub fn ranges(&self) -> Vec<RangeUsage> {
        let mut ranges = BTreeMap::new();
        for (key, size) in self.sizes() {
            ranges.insert(key.clone(), RangeUsage::new(key, Some(size)));
        }
        for (Group { key, state, .. }, count) in &self.counts {
            let range = ranges.entry(key.clone()).or_insert_with(|| RangeUsage::new(key.clone(), None));
            match state {
                LeaseState::Held => range.held += count,
                LeaseState::Reserved => range.reserved += count,
                LeaseState::Resting => range.resting += count,
                LeaseState::Foreign => range.foreign += count,
            }
        }
        ranges.into_values().collect()
    }

    /// The number of addresses of each part of a network.
    pub fn sizes(&self) -> impl Iterator<Item = (RangeKey, u128)> {
        self.parts().map(|(key, spans)| (key, spans.len()))
    }

    /// The addresses of each part of a network.
    pub fn parts(&self) -> impl Iterator<Item = (RangeKey, Spans)> {
        self.capacities.iter().flat_map(|((vrf, network), subnets)| {
            subnets.iter().flat_map(move |(subnet, capacity)| {
                capacity.parts().map(move |(part, spans)| {
                    let (vrf, network) = (vrf.clone(), network.clone());
                    (RangeKey { vrf, network, subnet: Some(*subnet), part }, spans)
                })
            })
        })
    }

    /// The addresses of all pools of this name, each span with its vrf and network. A network's pools are known once an
    /// ADD has stored its definition.
    pub fn pool_spans<'a>(&'a self, pool: &'a str) -> impl Iterator<Item = (&'a Name, &'a Name, Span)> {
        self.capacities.iter().flat_map(move |((vrf, network), subnets)| {
            let pools = subnets.values().filter_map(|capacity| capacity.pools.get(pool));
            pools.flat_map(Spans::iter).map(move |span| (vrf, network, *span))
        })
    }

    fn define(&mut self, network: (Name, Name), definition: &Definition) {
        let subnets = self.capacities.entry(network).or_default();
        for range in definition.sets.iter().flatten() {
            let Capacity { dynamic, fixed, pools } = subnets.entry(range.subnet).or_default();
            for (name, text) in &range.pools {
                let pool = pools.entry(name.clone()).or_default();
                *pool = pool.iter().copied().chain(spans(text)).collect();
            }
            *dynamic = dynamic.iter().copied().chain(spans(&range.dynamic)).collect();
            let excluded: Vec<Span> = range.exclude.iter().flat_map(|text| spans(text)).collect();
            let window = range.fixed.iter().flat_map(|text| spans(text));
            let window = window
                .flat_map(|span| Spans::between(span, excluded.iter().copied()).iter().copied().collect::<Vec<_>>());
            *fixed = fixed.iter().copied().chain(window).collect();
        }
    }

    /// Adds a lease.
    pub fn note_lease(&mut self, vrf: Name, ip: IpAddr, lease: Stored<Lease>) {
        let lease = match lease {
            Stored::Known(lease) => lease,
            Stored::Unreadable(_) => return *self.unreadable.entry(vrf).or_default() += 1,
        };
        let state = lease.state();
        if let Some(foreign) = lease.foreign() {
            let key = self.key(vrf, foreign.network.clone(), ip);
            let group = Group { key, kind: lease.kind, state, namespace: None };
            return *self.counts.entry(group).or_default() += 1;
        }
        if lease.holders.is_empty() && lease.manual.is_some() {
            return self.note_reserved_by_hand(&vrf, ip, &lease);
        }
        // An address with two holders counts once.
        let Some(holder) = lease.holders.into_iter().next() else {
            return *self.unreadable.entry(vrf).or_default() += 1;
        };
        let namespace = holder.pod.namespace.filter(|_| state != LeaseState::Resting);
        let key = self.key(vrf, holder.id.network, ip);
        *self.counts.entry(Group { key, kind: lease.kind, state, namespace }).or_default() += 1;
    }

    /// Adds an address that is reserved by hand and that nobody has held yet. It counts for every network that has it.
    fn note_reserved_by_hand(&mut self, vrf: &Name, ip: IpAddr, lease: &Lease) {
        let has_it = |subnets: &BTreeMap<IpNet, Capacity>| subnets.keys().any(|subnet| subnet.contains(&ip));
        let around = self.capacities.iter().filter(|((of, _), subnets)| of == vrf && has_it(subnets));
        let networks: Vec<Name> = around.map(|((_, network), _)| network.clone()).collect();
        for network in networks {
            let key = self.key(vrf.clone(), network, ip);
            let group = Group { key, kind: lease.kind, state: lease.state(), namespace: None };
            *self.counts.entry(group).or_default() += 1;
        }
    }

    /// The part of a network to which an address belongs.
    fn key(&self, vrf: Name, network: Name, ip: IpAddr) -> RangeKey {
        let network_of = (vrf, network);
        let around = self.capacities.get(&network_of).into_iter().flatten().filter(|(subnet, _)| subnet.contains(&ip));
        let found = around.max_by_key(|(subnet, _)| subnet.prefix_len());
        let pool_of = |(_, capacity): &(&IpNet, &Capacity)| {
            let pool = capacity.pools.iter().find(|(_, spans)| spans.contains(ip))?;
            Some(RangePart::Pool(pool.0.clone()))
        };
        let part = match found {
            Some(found) if let Some(pool) = pool_of(&found) => pool,
            Some((_, capacity)) if capacity.fixed.contains(ip) => RangePart::Fixed,
            Some((_, capacity)) if capacity.dynamic.contains(ip) => RangePart::Dynamic,
            _ => RangePart::Other,
        };
        let subnet = found.map(|(subnet, _)| *subnet);
        let (vrf, network) = network_of;
        RangeKey { vrf, network, subnet, part }
    }
}

/// The spans of a stored text; none if it can't be read.
fn spans(text: &str) -> impl Iterator<Item = Span> {
    text.split(',').filter_map(|span| span.parse().ok())
}

#[cfg(test)]
mod tests;
