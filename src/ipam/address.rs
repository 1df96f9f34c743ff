//! Addresses as numbers, spans of them, and their one sortable spelling.
//!
//! Everything that compares, counts or walks addresses does it on `u128` and inclusive spans; nothing ever enumerates
//! hosts, so a `::/0` costs what a `/30` costs. The order of addresses is written down once, in [`sortable`].

mod segments;
mod span;
mod spans;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use self::segments::{SpanIndex, divide};
pub use self::span::{Span, SpanError, parse_interface, parse_net};
pub use self::spans::Spans;

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

/// Why a text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Octets with leading zeros are octal to some programs and decimal to others.
    #[error("{0:?} has an octet with leading zeros, which programs read differently; write it without them")]
    LeadingZeros(String),
    /// It has no form of an address.
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

/// The address of a number. Bits beyond the family's length are ignored.
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
