//! Spans of addresses, and how they are written: an address, a network in CIDR notation, or `a-b`.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{AddressError, Family, address, number, parse, quoted};

/// An inclusive span of addresses of one family; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub(super) family: Family,
    pub(super) first: u128,
    pub(super) last: u128,
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

    /// The number of addresses. All of IPv6 saturates at `u128::MAX`.
    pub fn len(&self) -> u128 {
        (self.last - self.first).saturating_add(1)
    }

    /// Always false: a span has at least one address.
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

    /// The addresses that both spans have.
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

/// Why a text is not a span of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// One of its addresses can't be read.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A CIDR whose prefix length is not a number, or too long.
    #[error("{0:?} is not a network in CIDR notation")]
    NotANetwork(String),
    /// A CIDR with host bits.
    #[error("{text:?} has host bits set; the network is {network}")]
    HostBits {
        /// What was written.
        text: String,
        /// The network that the address lies in.
        network: IpNet,
    },
    /// `a-b` with b lower than a, or of two families.
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
