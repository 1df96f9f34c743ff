//! Addresses as numbers, spans of them, and their one sortable spelling.
//!
//! Everything that compares, counts or walks addresses does it on `u128` and inclusive spans; nothing ever enumerates
//! hosts, so a `::/0` costs what a `/30` costs. The order of addresses is written down once, in [`sortable`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4, 32 bits.
    V4,
    /// IPv6, 128 bits.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The length of an address in bits: 32 or 128.
    pub fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The digit that names the family in keys and in CNI results: `4` or `6`.
    pub fn digit(self) -> char {
        match self {
            Self::V4 => '4',
            Self::V6 => '6',
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IPv{}", self.digit())
    }
}

/// A text that is no address, with what is wrong about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Octets with leading zeros are octal to some programs and decimal to others.
    #[error("{0:?} has an octet with leading zeros, which programs read differently; write it without them")]
    LeadingZeros(String),
    /// Not an address at all.
    #[error("{0:?} is not an IP address")]
    NotAnAddress(String),
}

/// Reads one address; an IPv4-mapped IPv6 address (`::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2) is the IPv4 address.
pub fn parse(text: &str) -> Result<IpAddr, AddressError> {
    match text.parse::<IpAddr>() {
        Ok(ip) => Ok(ip.to_canonical()),
        Err(_) => {
            let digits_and_dots = text.chars().all(|c| c.is_ascii_digit() || c == '.');
            let padded = |octet: &str| octet.len() > 1 && octet.starts_with('0');
            if digits_and_dots && text.split('.').count() == 4 && text.split('.').any(padded) {
                Err(AddressError::LeadingZeros(quoted(text)))
            } else {
                Err(AddressError::NotAnAddress(quoted(text)))
            }
        }
    }
}

/// The beginning of a text for an error: whoever wrote it recognizes it, and the error stays short.
fn quoted(text: &str) -> String {
    /// A span of two IPv6 addresses has 79 characters.
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The address as a number, in network order.
pub fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The address of a number; bits beyond the family's length are not looked at.
pub fn address(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from((number & u128::from(u32::MAX)) as u32)),
        Family::V6 => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

/// The spelling of fixed width whose byte order is the numeric order: `010.188.000.218`, or all 32 hexadecimal digits.
pub fn sortable(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{a:03}.{b:03}.{c:03}.{d:03}")
        }
        IpAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h] = v6.segments();
            format!("{a:04x}:{b:04x}:{c:04x}:{d:04x}:{e:04x}:{f:04x}:{g:04x}:{h:04x}")
        }
    }
}

/// Reads what [`sortable`] wrote, and nothing else.
pub fn from_sortable(text: &str) -> Option<IpAddr> {
    let ip = if text.len() == 15 {
        let octets = text.split('.').map(|octet| octet.parse::<u8>().ok());
        let octets: Vec<u8> = octets.collect::<Option<_>>()?;
        IpAddr::from(<[u8; 4]>::try_from(octets).ok()?)
    } else {
        IpAddr::V6(text.parse().ok()?)
    };
    (sortable(ip) == text).then_some(ip)
}

/// An inclusive span of addresses of one family; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    family: Family,
    first: u128,
    last: u128,
}

impl Span {
    /// The span from `first` to `last`, both included; `None` if the families differ or `last` comes before `first`.
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        let family = Family::of(first);
        (family == Family::of(last)).then_some(())?;
        Self::of_numbers(family, number(first), number(last))
    }

    /// As [`Span::new`], from numbers.
    pub fn of_numbers(family: Family, first: u128, last: u128) -> Option<Self> {
        (first <= last).then_some(Self { family, first, last })
    }

    /// The span of one address.
    pub fn single(ip: IpAddr) -> Self {
        Self { family: Family::of(ip), first: number(ip), last: number(ip) }
    }

    /// Every address of a network, its network and broadcast addresses included.
    pub fn of_net(net: IpNet) -> Self {
        Self { family: Family::of(net.network()), first: number(net.network()), last: number(net.broadcast()) }
    }

    /// The family of all its addresses.
    pub fn family(&self) -> Family {
        self.family
    }

    /// The lowest address.
    pub fn first(&self) -> IpAddr {
        address(self.family, self.first)
    }

    /// The highest address.
    pub fn last(&self) -> IpAddr {
        address(self.family, self.last)
    }

    /// The lowest and the highest address as numbers.
    pub fn numbers(&self) -> (u128, u128) {
        (self.first, self.last)
    }

    /// How many addresses it holds; all of IPv6 saturates at `u128::MAX`.
    pub fn len(&self) -> u128 {
        (self.last - self.first).saturating_add(1)
    }

    /// Never: a span holds at least one address.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Whether the address lies in the span.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.family == Family::of(ip) && (self.first..=self.last).contains(&number(ip))
    }

    /// Whether all of the other span lies in this one.
    pub fn covers(&self, other: &Self) -> bool {
        self.family == other.family && self.first <= other.first && other.last <= self.last
    }

    /// What both spans hold.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        (self.family == other.family).then_some(())?;
        Self::of_numbers(self.family, self.first.max(other.first), self.last.min(other.last))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first())
        } else {
            write!(f, "{}-{}", self.first(), self.last())
        }
    }
}

/// A text that is no span of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// One of its addresses is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A CIDR with a prefix length that is no number or too long.
    #[error("{0:?} is not a network in CIDR notation")]
    NotANetwork(String),
    /// A CIDR whose address is not the network's.
    #[error("{text:?} has host bits set; the network is {network}")]
    HostBits {
        /// What was written.
        text: String,
        /// The network that the address lies in.
        network: IpNet,
    },
    /// `a-b` with b before a, or of two families.
    #[error("{0:?} does not run from a lower to a higher address of one family")]
    Backwards(String),
}

impl std::str::FromStr for Span {
    type Err = SpanError;

    /// Reads an address, a network in CIDR notation, or a span `a-b`.
    fn from_str(text: &str) -> Result<Self, SpanError> {
        let text = text.trim();
        if text.contains('/') {
            return parse_net(text).map(Self::of_net);
        }
        if let Some((first, last)) = text.split_once('-') {
            let (first, last) = (parse(first.trim())?, parse(last.trim())?);
            return Self::new(first, last).ok_or_else(|| SpanError::Backwards(quoted(text)));
        }
        Ok(Self::single(parse(text)?))
    }
}

/// Reads a network in CIDR notation without host bits.
pub fn parse_net(text: &str) -> Result<IpNet, SpanError> {
    let net = parse_interface(text)?;
    if net.addr() == net.network() {
        Ok(net)
    } else {
        Err(SpanError::HostBits { text: quoted(text), network: net.trunc() })
    }
}

/// Reads an address with its prefix length (`10.1.2.3/16`), host bits allowed.
pub fn parse_interface(text: &str) -> Result<IpNet, SpanError> {
    let not_a_network = || SpanError::NotANetwork(quoted(text));
    let (ip, length) = text.split_once('/').ok_or_else(not_a_network)?;
    let written = ip;
    let ip = parse(ip)?;
    // u8's own parser would take "+16" too.
    let digits = Some(length).filter(|length| length.bytes().all(|b| b.is_ascii_digit()));
    let length: u8 = digits.and_then(|length| length.parse().ok()).ok_or_else(not_a_network)?;
    // ::ffff:10.1.2.3/112 is 10.1.2.3/16: the 96 bits of the mapping are not part of the IPv4 address.
    let mapped = ip.is_ipv4() && written.contains(':');
    let length = if mapped { length.checked_sub(96).ok_or_else(not_a_network)? } else { length };
    IpNet::new(ip, length).map_err(|_| not_a_network())
}

/// Sorted, disjoint spans of one family: a set of addresses that is walked by position.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Spans(Vec<Span>);

impl Spans {
    /// The set of one span.
    pub fn of(span: Span) -> Self {
        Self(vec![span])
    }

    /// The spans, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = &Span> {
        self.0.iter()
    }

    /// Whether no address is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many addresses there are, saturating at `u128::MAX`.
    pub fn len(&self) -> u128 {
        self.0.iter().fold(0, |sum, span| sum.saturating_add(span.len()))
    }

    /// Whether the address is in the set.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let after = self.0.partition_point(|span| (span.family, span.first) <= (Family::of(ip), number(ip)));
        after > 0 && self.0[after - 1].contains(ip)
    }

    /// What is left of a span without the addresses of `holes`, which may overlap and come in any order.
    pub fn between(span: Span, holes: impl IntoIterator<Item = Span>) -> Self {
        let mut holes: Vec<Span> = holes.into_iter().filter_map(|hole| hole.intersection(&span)).collect();
        holes.sort_unstable();
        let mut left = Vec::new();
        // The lowest address that no hole has taken so far; none once a hole has reached the end.
        let mut next = Some(span.first);
        for hole in holes {
            let Some(first) = next else { break };
            let before = hole.first.checked_sub(1).and_then(|last| Span::of_numbers(span.family, first, last));
            left.extend(before);
            next = if hole.last < span.last { Some(first.max(hole.last + 1)) } else { None };
        }
        left.extend(next.and_then(|first| Span::of_numbers(span.family, first, span.last)));
        Self(left)
    }

    /// The set without the addresses of `hole`.
    #[must_use]
    pub fn without(self, hole: &Span) -> Self {
        Self(self.0.into_iter().flat_map(|span| Self::between(span, [*hole]).0).collect())
    }

    /// The address at a position, counted from the lowest; `None` beyond the last.
    pub fn at(&self, mut position: u128) -> Option<IpAddr> {
        for span in &self.0 {
            let offset_of_last = span.last - span.first;
            if position <= offset_of_last {
                return Some(address(span.family, span.first + position));
            }
            position -= offset_of_last + 1;
        }
        None
    }

    /// The stretch of at most `len` addresses, all in one span, that ends or begins near a position: the piece of the
    /// grid of `len`-sized pieces of that span in which the position lies.
    pub fn window_around(&self, mut position: u128, len: u128) -> Option<Span> {
        for span in &self.0 {
            let offset_of_last = span.last - span.first;
            if position <= offset_of_last {
                let offset = position - position % len;
                return Span::of_numbers(
                    span.family,
                    span.first + offset,
                    span.first + offset.saturating_add(len - 1).min(offset_of_last),
                );
            }
            position -= offset_of_last + 1;
        }
        None
    }

    /// All of the set in pieces of at most `len` addresses, each in one span, lowest first.
    pub fn chunks(&self, len: u128) -> impl Iterator<Item = Span> {
        let len = len.max(1);
        self.0.iter().flat_map(move |span| {
            let mut next = Some(span.first);
            std::iter::from_fn(move || {
                let first = next?;
                let last = first.saturating_add(len - 1).min(span.last);
                next = (last < span.last).then(|| last + 1);
                Span::of_numbers(span.family, first, last)
            })
        })
    }
}

impl FromIterator<Span> for Spans {
    /// The set of all addresses of spans that may overlap and come in any order, but are of one family.
    fn from_iter<T: IntoIterator<Item = Span>>(spans: T) -> Self {
        let mut sorted: Vec<Span> = spans.into_iter().collect();
        sorted.sort_unstable();
        let mut merged: Vec<Span> = Vec::with_capacity(sorted.len());
        for span in sorted {
            match merged.last_mut() {
                Some(last) if span.first <= last.last.saturating_add(1) => last.last = last.last.max(span.last),
                _ => merged.push(span),
            }
        }
        Self(merged)
    }
}

impl fmt::Display for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, span) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{span}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
