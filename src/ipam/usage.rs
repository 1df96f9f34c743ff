//! How much of each network is in use, counted over the leases in the store.
//!
//! ```text
//! net/… ─► the addresses of each network ─┐
//! ip/…  ─► held, reserved, in cooldown ────┴► Usage ─┬─► ranges   one line for each range, for people
//!                                                    └─► counts   for each namespace, for metrics
//! ```
//!
//! The store keeps each definition of a network that an ADD has used. Several may be valid at once, one per rack or
//! zone, so the capacity of a subnet is the union of all definitions. A range that was made smaller therefore counts
//! with its old size until the old definition is removed from the store.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use super::address::{Span, Spans};
use super::lease::{AllocationKind, Definition, Lease, LeaseState, Stored};
use super::name::Name;
use crate::ipam::keys;
use crate::store::Entry;

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

/// A part of a network, as it is counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RangeKey {
    /// The routing domain.
    pub vrf: Name,
    /// The network. For an address, that of its holder.
    pub network: Name,
    /// The subnet, if a stored definition of the network has one with the address.
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
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RangeUsage {
    /// The part of the network.
    #[serde(flatten)]
    pub key: RangeKey,
    /// The number of its addresses; `None` if no definition has them.
    pub size: Option<u128>,
    /// The number of held and reserved addresses.
    pub held: u64,
    /// The number of addresses in cooldown.
    pub resting: u64,
    /// The number of addresses that hosts use without a lease.
    pub foreign: u64,
}

impl RangeUsage {
    fn new(key: RangeKey, size: Option<u128>) -> Self {
        Self { key, size, held: 0, resting: 0, foreign: 0 }
    }

    /// The number of free addresses: neither held, reserved, in cooldown nor foreign. `None` if the size is unknown.
    pub fn free(&self) -> Option<u128> {
        self.size.map(|size| {
            size.saturating_sub(u128::from(self.held) + u128::from(self.resting) + u128::from(self.foreign))
        })
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
    counts: BTreeMap<Group, u64>,
    unreadable: BTreeMap<Name, u64>,
}

impl Usage {
    /// Adds an entry of the store. Entries other than definitions and leases are ignored.
    pub fn note(&mut self, entry: &Entry) {
        if let Some(network) = keys::read_definition(&entry.key) {
            // A newer version's definition can't be read. Its leases count as `RangePart::Other`.
            if let Some(definition) = Stored::<Definition>::read(&entry.value).known() {
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
                LeaseState::Held | LeaseState::Reserved => range.held += count,
                LeaseState::Resting => range.resting += count,
                LeaseState::Foreign => range.foreign += count,
            }
        }
        ranges.into_values().collect()
    }

    /// The number of addresses of each part of a network.
    pub fn sizes(&self) -> impl Iterator<Item = (RangeKey, u128)> {
        self.capacities.iter().flat_map(|((vrf, network), subnets)| {
            subnets.iter().flat_map(move |(subnet, capacity)| {
                capacity.parts().map(move |(part, spans)| {
                    let (vrf, network) = (vrf.clone(), network.clone());
                    (RangeKey { vrf, network, subnet: Some(*subnet), part }, spans.len())
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
            *fixed = fixed.iter().copied().chain(range.fixed.iter().flat_map(|text| spans(text))).collect();
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
        // An address with two holders counts once.
        let Some(holder) = lease.holders.into_iter().next() else {
            return *self.unreadable.entry(vrf).or_default() += 1;
        };
        let namespace = holder.pod.namespace.filter(|_| state != LeaseState::Resting);
        let key = self.key(vrf, holder.id.network, ip);
        *self.counts.entry(Group { key, kind: lease.kind, state, namespace }).or_default() += 1;
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
#[allow(clippy::unwrap_used)]
mod tests {
    use std::num::NonZeroU64;

    use serde_json::{Value, json};

    use super::*;
    use crate::store::{Key, Revision};

    fn entry(key: &str, value: &Value) -> Entry {
        Entry { key: Key::new(key), value: value.to_string().into_bytes(), revision: Revision(NonZeroU64::MIN) }
    }

    fn defined(network: &str, digest: u128, ranges: &Value) -> Entry {
        entry(&format!("net/default/{network}/{digest:032x}"), &json!({ "v": 1, "sets": [ranges] }))
    }

    fn lease(ip: &str, network: &str, kind: &str, namespace: &str, resting: bool) -> Entry {
        let holder = json!({
            "node": "n", "containerID": "c", "ifname": "net1", "network": network,
            "pod": { "namespace": namespace, "name": "p", "uid": "u" }, "began": { "boot": "b", "boottime": 1 },
        });
        let mut lease = json!({
            "v": 1, "kind": kind, "holders": [holder], "since": "2026-11-01T10:00:00Z", "onRelease": { "rest": 30 },
        });
        if resting {
            lease["rest"] = json!({ "released": "2026-11-01T11:00:00Z", "seconds": 30 });
        }
        let ip: IpAddr = ip.parse().unwrap();
        entry(keys::lease(&Name::new("default").unwrap(), ip).as_str(), &lease)
    }

    fn usage(entries: &[Entry]) -> Usage {
        let mut usage = Usage::default();
        entries.iter().for_each(|entry| usage.note(entry));
        usage
    }

    fn lines(usage: &Usage) -> Vec<String> {
        let size = |range: &RangeUsage| range.size.map_or("-".to_owned(), |size| size.to_string());
        let line = |range: &RangeUsage| {
            let RangeKey { network, subnet, part, .. } = &range.key;
            let subnet = subnet.map_or("-".to_owned(), |subnet| subnet.to_string());
            format!("{network} {subnet} {} {} {} {}", part, size(range), range.held, range.resting)
        };
        usage.ranges().iter().map(line).collect()
    }

    #[test]
    fn an_address_counts_for_its_holders_network_and_the_part_of_the_subnet_it_lies_in() {
        let range =
            json!({ "subnet": "10.0.0.0/24", "dynamic": "10.0.0.100-10.0.0.199", "fixed": "10.0.0.10-10.0.0.19" });
        let usage = usage(&[
            defined("db", 1, &json!([range])),
            lease("10.0.0.10", "db", "fixed", "db", false),
            lease("10.0.0.100", "db", "dynamic", "web", false),
            lease("10.0.0.101", "db", "dynamic", "web", false),
            lease("10.0.0.102", "db", "fixed", "db", false),
            lease("10.0.0.103", "db", "dynamic", "web", true),
            lease("10.0.0.250", "db", "fixed", "db", false),
            lease("10.9.9.9", "db", "fixed", "db", false),
            lease("10.0.0.104", "other", "dynamic", "db", false),
        ]);
        assert_eq!(
            lines(&usage),
            [
                "db - other - 1 0",
                "db 10.0.0.0/24 dynamic 100 3 1",
                "db 10.0.0.0/24 fixed 10 1 0",
                "db 10.0.0.0/24 other - 1 0",
                "other - other - 1 0",
            ]
        );
        let namespaces: Vec<(Option<&str>, u64)> = usage
            .counts()
            .iter()
            .filter(|(group, _)| group.key.part == RangePart::Dynamic)
            .map(|(group, count)| (group.namespace.as_deref(), *count))
            .collect();
        assert_eq!(namespaces, [(Some("web"), 2), (None, 1), (Some("db"), 1)]);
    }

    #[test]
    fn a_subnet_has_to_give_what_any_definition_names_and_each_address_once() {
        let range = |dynamic: &str| json!([{ "subnet": "10.0.0.0/16", "dynamic": dynamic }]);
        let usage = usage(&[
            defined("db", 1, &range("10.0.1.0-10.0.1.99")),
            defined("db", 2, &range("10.0.1.50-10.0.1.119, 10.0.2.0-10.0.2.9")),
            defined("db", 3, &json!([{ "subnet": "fd00::/64", "dynamic": "fd00::1-fd00::ffff:ffff:ffff:ffff" }])),
        ]);
        assert_eq!(lines(&usage), ["db 10.0.0.0/16 dynamic 130 0 0", "db fd00::/64 dynamic 18446744073709551615 0 0"]);
    }

    #[test]
    fn an_address_of_a_pool_counts_for_the_pool_and_for_no_other_part() {
        let range = |pools: Value| {
            let (dynamic, fixed) = ("10.0.0.100-10.0.0.199", "10.0.0.10-10.0.0.19");
            json!([{ "subnet": "10.0.0.0/24", "dynamic": dynamic, "fixed": fixed, "pools": pools }])
        };
        let usage = usage(&[
            // A definition from before the pools were declared.
            defined("db", 1, &range(json!({}))),
            defined("db", 2, &range(json!({ "db": "10.0.0.15-10.0.0.24", "web": "10.0.0.100, 10.0.0.150" }))),
            lease("10.0.0.15", "db", "fixed", "db", false),
            lease("10.0.0.20", "db", "fixed", "db", true),
            lease("10.0.0.100", "db", "dynamic", "web", false),
            lease("10.0.0.101", "db", "dynamic", "web", false),
        ]);
        assert_eq!(
            lines(&usage),
            [
                "db 10.0.0.0/24 dynamic 98 1 0",
                "db 10.0.0.0/24 fixed 5 0 0",
                "db 10.0.0.0/24 pool db 10 1 1",
                "db 10.0.0.0/24 pool web 2 1 0",
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_counted_apart() {
        let usage = usage(&[
            entry("ip/default/4/010.000.000.001", &json!({ "v": 99 })),
            entry("ip/default/4/010.000.000.002", &json!("?")),
            entry("net/default/db/00000000000000000000000000000001", &json!({ "v": 99 })),
            entry("at/n/c/net1/db", &json!({})),
        ]);
        assert_eq!(lines(&usage), [""; 0]);
        assert_eq!(usage.unreadable().values().copied().collect::<Vec<_>>(), [2]);
    }
    #[test]
    fn what_is_kept_for_an_owner_is_no_more_free_than_what_is_held() {
        let mut kept = lease("10.0.0.100", "db", "sticky", "db", false);
        let mut value: Value = serde_json::from_slice(&kept.value).unwrap();
        value["unused"] = json!("2026-11-01T11:00:00Z");
        kept.value = value.to_string().into_bytes();
        let range = json!({ "subnet": "10.0.0.0/24", "dynamic": "10.0.0.100-10.0.0.199" });
        let usage = usage(&[defined("db", 1, &json!([range])), kept]);
        assert_eq!(lines(&usage), ["db 10.0.0.0/24 dynamic 100 1 0"]);
        let states: Vec<LeaseState> = usage.counts().keys().map(|group| group.state).collect();
        assert_eq!(states, [LeaseState::Reserved]);
    }
}
