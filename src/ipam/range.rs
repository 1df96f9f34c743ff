//! Ranges and range sets: the addresses of a network, and which of them are assigned at random or on request.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::address::{Family, Span, Spans};
use super::node_selector::NodeSelector;
use super::pool::{self, Pool, PoolName, PoolPart, PoolShare};
use super::refusal::list;

mod random;

pub use self::random::NotRandom;

/// Addresses that no interface can have.
const SPECIAL: [(&str, &str); 8] = [
    ("0.0.0.0/8", "\"this network\" (RFC 1122 section 3.2.1.3)"),
    ("127.0.0.0/8", "loopback (RFC 1122 section 3.2.1.3)"),
    ("224.0.0.0/4", "multicast (RFC 5771)"),
    ("255.255.255.255/32", "limited broadcast (RFC 919)"),
    ("::/128", "the unspecified address (RFC 4291 section 2.5.2)"),
    ("::1/128", "loopback (RFC 4291 section 2.5.3)"),
    ("ff00::/8", "multicast (RFC 4291 section 2.7)"),
    ("::ffff:0:0/96", "IPv4-mapped (RFC 4291 section 2.5.5.2)"),
];

/// Link-local addresses: assigned from a link-local subnet, never from a larger one (RFC 3927, RFC 4291 2.5.6).
const LINK_LOCAL: [(&str, &str); 2] =
    [("169.254.0.0/16", "link-local (RFC 3927)"), ("fe80::/10", "link-local (RFC 4291 section 2.5.6)")];

fn spans_of(table: &'static [(&str, &str)]) -> impl Iterator<Item = (Span, &'static str)> {
    table.iter().filter_map(|(net, what)| Some((Span::of_net(net.parse().ok()?), *what)))
}

/// The kind of special addresses that a whole span has, if no interface can have them.
pub fn special(span: &Span) -> Option<&'static str> {
    spans_of(&SPECIAL).find(|(special, _)| special.covers(span)).map(|(_, what)| what)
}

/// Why an address can't be assigned on request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAssignable {
    /// It is not in the subnet.
    #[error("it is not in the subnet {0}")]
    OutsideSubnet(IpNet),
    /// It is the first address of an IPv4 subnet of /30 or larger.
    #[error("it is the network address of {0}")]
    NetworkAddress(IpNet),
    /// It is the last address of an IPv4 subnet of /30 or larger.
    #[error("it is the broadcast address of {0}")]
    BroadcastAddress(IpNet),
    /// It is the first address of an IPv6 subnet of /126 or larger (RFC 4291 section 2.6.1).
    #[error("it is the subnet-router anycast address of {0}")]
    AnycastAddress(IpNet),
    /// It is the gateway.
    #[error("it is the gateway of {0}")]
    Gateway(IpNet),
    /// An `exclude` has it.
    #[error("it is excluded by {0}")]
    Excluded(Span),
    /// It is outside the fixed window.
    #[error("it is outside the window for fixed addresses, {0} (fixedStart, fixedEnd)")]
    OutsideFixedWindow(Span),
    /// It is in a pool that pods of this namespace may not use.
    #[error("it is in pool {pool}, which is for namespaces {}", list(namespaces))]
    InPool {
        /// The pool that has it.
        pool: PoolName,
        /// Globs of the namespaces that may use the pool.
        namespaces: Vec<String>,
    },
    /// It is multicast, loopback or the like.
    #[error("it is {0}")]
    Special(&'static str),
}

/// One range of a set: a subnet, its random addresses, and its window of fixed addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The subnet, without host bits. Its prefix length goes into the result.
    pub subnet: IpNet,
    /// Random addresses lie between these two, both included (`rangeStart`, `rangeEnd`).
    pub window: Span,
    /// The gateway for the result. No interface gets it.
    pub gateway: Option<IpAddr>,
    /// The window of fixed addresses (`fixedStart`, `fixedEnd`), which are never selected at random.
    pub fixed: Option<Span>,
    /// Addresses that are never assigned.
    pub exclude: Vec<Span>,
    /// The nodes that may use it (`nodes`, `nodeSelector`).
    pub nodes: NodeSelector,
    /// Globs of the namespaces that may use it. Empty means all.
    pub namespaces: Vec<String>,
    /// The parts of the network's named pools in the subnet. They are never assigned at random.
    pub pools: Vec<PoolPart>,
}

impl Range {
    /// A range of all usable addresses of a subnet, with the default gateway (the first usable address, or none in a
    /// subnet of one or two addresses).
    pub fn of_subnet(subnet: IpNet) -> Self {
        let usable = usable(subnet);
        let gateway = (Span::of_net(subnet).len() > 2).then(|| default_gateway(subnet));
        Self {
            subnet,
            window: usable,
            gateway,
            fixed: None,
            exclude: Vec::new(),
            nodes: NodeSelector::default(),
            namespaces: Vec::new(),
            pools: Vec::new(),
        }
    }

    /// The family of its subnet.
    pub fn family(&self) -> Family {
        Family::of(self.subnet.network())
    }

    /// Its random addresses.
    pub fn dynamic(&self) -> Spans {
        let Some(window) = self.window.intersection(&usable(self.subnet)) else { return Spans::default() };
        let whole = Span::of_net(self.subnet);
        let link_local = spans_of(&LINK_LOCAL).map(|(span, _)| span).filter(|span| !span.covers(&whole));
        let pools = self.pools.iter().flat_map(|part| part.addresses.iter().copied());
        Spans::between(window, self.nobodys().chain(link_local).chain(self.fixed).chain(pools))
    }

    /// The addresses that may be assigned on request: those that [`Range::assignable`] accepts.
    pub fn requestable(&self) -> Spans {
        let window = self.requestable_in(&self.fixed.unwrap_or_else(|| Span::of_net(self.subnet)));
        let pools = self.pools.iter().flat_map(|part| part.addresses.iter());
        window.iter().chain(pools).copied().collect()
    }

    /// The addresses of a span that may be assigned on request, inside or outside the window of fixed addresses.
    pub fn requestable_in(&self, span: &Span) -> Spans {
        let usable = usable(self.subnet).intersection(span);
        usable.map(|usable| Spans::between(usable, self.nobodys())).unwrap_or_default()
    }

    /// The pool that has this address.
    pub fn pool_of(&self, ip: IpAddr) -> Option<&Arc<Pool>> {
        self.pools.iter().find(|part| part.addresses.contains(ip)).map(|part| &part.pool)
    }

    /// The spans of all its rules: between two of their ends, [`Range::assignable`] and [`Range::random`] say the same
    /// of every address.
    pub fn boundaries(&self) -> impl Iterator<Item = Span> {
        let special = spans_of(&SPECIAL).chain(spans_of(&LINK_LOCAL)).map(|(span, _)| span);
        let pools = self.pools.iter().flat_map(|part| part.addresses.iter().copied());
        let windows = [Span::of_net(self.subnet), usable(self.subnet), self.window].into_iter().chain(self.fixed);
        let gateway = self.gateway.map(Span::single);
        special.chain(pools).chain(windows).chain(gateway).chain(self.exclude.iter().copied())
    }

    /// The addresses that are never assigned: the gateway, excluded and special addresses.
    fn nobodys(&self) -> impl Iterator<Item = Span> {
        let special = spans_of(&SPECIAL).map(|(span, _)| span);
        special.chain(self.gateway.map(Span::single)).chain(self.exclude.iter().copied())
    }

    /// The addresses that no range of the network may assign at random: its gateway and its window of fixed addresses.
    pub fn reserved(&self) -> impl Iterator<Item = Span> {
        self.gateway.map(Span::single).into_iter().chain(self.fixed)
    }

    /// Checks that an address may be assigned on request.
    pub fn assignable(&self, ip: IpAddr) -> Result<(), NotAssignable> {
        let (subnet, whole, usable) = (self.subnet, Span::of_net(self.subnet), usable(self.subnet));
        if !whole.contains(ip) {
            return Err(NotAssignable::OutsideSubnet(subnet));
        }
        if let Some(what) = special(&Span::single(ip)) {
            return Err(NotAssignable::Special(what));
        }
        if !usable.contains(ip) {
            return Err(match self.family() {
                Family::V4 if ip == whole.first() => NotAssignable::NetworkAddress(subnet),
                Family::V4 => NotAssignable::BroadcastAddress(subnet),
                Family::V6 => NotAssignable::AnycastAddress(subnet),
            });
        }
        if self.gateway == Some(ip) {
            return Err(NotAssignable::Gateway(subnet));
        }
        if let Some(hole) = self.exclude.iter().find(|hole| hole.contains(ip)) {
            return Err(NotAssignable::Excluded(*hole));
        }
        match self.fixed {
            Some(window) if !window.contains(ip) && self.pool_of(ip).is_none() => {
                Err(NotAssignable::OutsideFixedWindow(window))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.window, self.subnet)
    }
}

/// The addresses that interfaces can have: all but the network and broadcast addresses of an IPv4 subnet of /30 or
/// larger, and the subnet-router anycast address of an IPv6 subnet of /126 or larger. A /31 and a /127 are links
/// between two hosts (RFC 3021, RFC 6164), a /32 and a /128 a single address.
pub fn usable(subnet: IpNet) -> Span {
    let whole = Span::of_net(subnet);
    let (first, last) = whole.numbers();
    let inner = match whole.family() {
        _ if whole.len() <= 2 => None,
        Family::V4 => Span::of_numbers(Family::V4, first + 1, last - 1),
        Family::V6 => Span::of_numbers(Family::V6, first + 1, last),
    };
    inner.unwrap_or(whole)
}

/// The default gateway of a subnet: its first usable address, as in host-local.
pub fn default_gateway(subnet: IpNet) -> IpAddr {
    usable(subnet).first()
}

/// An ordered set of ranges of one family. An interface gets one address from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeSet {
    ranges: Vec<Range>,
    pools: Vec<PoolShare>,
}

impl RangeSet {
    /// The set of these ranges; `None` if there are none, or they are of two families.
    pub fn new(ranges: Vec<Range>) -> Option<Self> {
        let family = ranges.first()?.family();
        ranges.iter().all(|range| range.family() == family).then_some(Self { ranges, pools: Vec::new() })
    }

    /// The same set, with its share of a pool. `given` is the union of all shares in the network.
    #[must_use]
    pub fn with_pool(mut self, pool: &Arc<Pool>, share: Vec<Span>, given: &[Span]) -> Self {
        for range in &mut self.ranges {
            let addresses = pool::within(given, [range.subnet]);
            if !addresses.is_empty() {
                range.pools.push(PoolPart { pool: pool.clone(), addresses });
            }
        }
        if !share.is_empty() {
            self.pools.push(PoolShare { pool: pool.clone(), addresses: share });
        }
        self
    }

    /// Its share of a pool, in the order of the pool, including addresses that only other nodes assign.
    pub fn share_of(&self, pool: &PoolName) -> &[Span] {
        self.pools.iter().find(|share| share.pool.name == *pool).map_or(&[], |share| &share.addresses)
    }

    /// Its ranges, in the order in which they are tried.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// The family of all its ranges.
    pub fn family(&self) -> Family {
        self.ranges[0].family()
    }

    /// The range whose subnet has the address; of several, one that may assign it, preferably one with the address in
    /// its window.
    pub fn range_of(&self, ip: IpAddr) -> Option<&Range> {
        let holding = || self.ranges.iter().filter(|range| Span::of_net(range.subnet).contains(ip));
        let giving = || holding().filter(|range| range.assignable(ip).is_ok());
        giving().find(|range| range.window.contains(ip)).or_else(|| giving().next()).or_else(|| holding().next())
    }

    /// The set of the ranges that meet a condition; `None` if none does.
    pub fn filter(&self, admits: impl Fn(&Range) -> bool) -> Option<Self> {
        let ranges: Vec<Range> = self.ranges.iter().filter(|range| admits(range)).cloned().collect();
        (!ranges.is_empty()).then(|| Self { ranges, pools: self.pools.clone() })
    }
}

impl fmt::Display for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.ranges.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{range}")?;
        }
        Ok(())
    }
}

/// Whether a list of globs (`nodes`, `namespaces`) admits a name. An empty list admits all, even without a name.
pub fn globs_admit(globs: &[String], name: Option<&str>) -> bool {
    globs.is_empty() || name.is_some_and(|name| globs.iter().any(|glob| glob_matches(glob, name)))
}

/// Whether a glob matches a whole text: `*` stands for any run of characters, `?` for one. Only the last star is
/// retried.
pub fn glob_matches(glob: &str, text: &str) -> bool {
    let (glob, text) = (glob.as_bytes(), text.as_bytes());
    let (mut g, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match glob.get(g) {
            Some(b'*') => {
                retry = Some((g + 1, t));
                g += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                g += 1;
                t += 1;
            }
            _ => match retry {
                // The last star takes one more character, and the rest is matched again.
                Some((after_star, taken)) => {
                    retry = Some((after_star, taken + 1));
                    (g, t) = (after_star, taken + 1);
                }
                None => return false,
            },
        }
    }
    glob[g..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests;
