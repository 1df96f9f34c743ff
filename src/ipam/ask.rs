//! What an interface is to have, range set by range set, and why.
//!
//! ```text
//! the runtime's addresses ─┐
//!                          ├─►  Ask: one Wish per range set, each with its source  ─►  decide
//! the network's sets ──────┘
//! ```
//!
//! A set for which nothing is asked gives any free address. What is asked is checked against the set's rules here, before
//! the store is asked for anything, and is met exactly or refused: it never becomes a random address.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::address::{self, Family};
use super::range::{NotAssignable, RangeSet, globs_admit};
use super::refusal::Refusal;
use crate::cni::{CniVersion, RequestSource, Requested};
use crate::config::Network;

/// Where a wish comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nothing was asked for.
    Nothing,
    /// The runtime's own request.
    Runtime(RequestSource),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nobody",
            Self::Runtime(RequestSource::RuntimeConfig) => "runtimeConfig.ips",
            Self::Runtime(RequestSource::ArgsCni) => "args.cni.ips",
            Self::Runtime(RequestSource::CniArgs) => "IP in CNI_ARGS",
        })
    }
}

/// What a range set is to give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Any free address.
    Any,
    /// Exactly these, all of them.
    Fixed(Vec<IpAddr>),
}

/// The wish for one range set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The set.
    pub set: RangeSet,
    /// What it is to give.
    pub wish: Wish,
    /// Why.
    pub source: Source,
}

/// Settles what an interface is to have of a network.
///
/// `namespace` is that of the pod, if the call is for one.
pub fn asks(
    network: &Network,
    requested: Option<&Requested>,
    namespace: Option<&str>,
    version: CniVersion,
) -> Result<Vec<Ask>, Refusal> {
    let allowed = |globs: &[String]| globs_admit(globs, namespace);
    if !allowed(&network.namespaces) {
        return Err(refuse_namespace(namespace, format!("network {}", network.name), network.namespaces.clone()));
    }
    let any = |set: &RangeSet| match set.filter(|range| allowed(&range.namespaces)) {
        Some(set) => Ok(Ask { set, wish: Wish::Any, source: Source::Nothing }),
        None => {
            let globs = set.ranges().iter().flat_map(|range| range.namespaces.clone()).collect();
            Err(refuse_namespace(namespace, set.to_string(), globs))
        }
    };
    let mut asks = network.sets.iter().map(any).collect::<Result<Vec<Ask>, Refusal>>()?;
    if let Some(requested) = requested {
        let source = Source::Runtime(requested.source);
        for text in &requested.ips {
            fix(&mut asks, text, source).map_err(|refusal| match refusal {
                Refusal::OutsideSubnets { ip, .. } => hidden_by_namespace(network, namespace, ip).unwrap_or(refusal),
                other => other,
            })?;
        }
    }
    one_per_family(&asks, version)?;
    Ok(asks)
}

fn refuse_namespace(namespace: Option<&str>, what: String, allowed: Vec<String>) -> Refusal {
    Refusal::Namespace { namespace: namespace.map(str::to_owned), what, allowed }
}

/// What is to be said of an address whose range is there, but not for this namespace.
fn hidden_by_namespace(network: &Network, namespace: Option<&str>, ip: IpAddr) -> Option<Refusal> {
    let mut ranges = network.sets.iter().flat_map(RangeSet::ranges);
    let range = ranges.find(|range| range.subnet.contains(&ip))?;
    Some(refuse_namespace(namespace, range.to_string(), range.namespaces.clone()))
}

/// Adds one requested address to the set that has it.
fn fix(asks: &mut [Ask], text: &str, source: Source) -> Result<(), Refusal> {
    let from = source.to_string();
    let (ip, length) = read(text).map_err(|error| Refusal::NotAnAddress { from: from.clone(), error })?;
    let Some((place, range)) = asks.iter().enumerate().find_map(|(i, ask)| Some((i, ask.set.range_of(ip)?))) else {
        let subnets = asks.iter().flat_map(|ask| ask.set.ranges()).map(|range| range.subnet).collect();
        return Err(Refusal::OutsideSubnets { ip, from, subnets });
    };
    if let Some(asked) = length.filter(|asked| asked.prefix_len() != range.subnet.prefix_len()) {
        return Err(Refusal::OtherPrefix { asked, from, subnet: range.subnet });
    }
    // A gateway is nobody's, also where another range shares its subnet.
    let mut ranges = asks.iter().flat_map(|ask| ask.set.ranges());
    let gateway = ranges.find(|other| other.gateway == Some(ip)).map(|other| NotAssignable::Gateway(other.subnet));
    let why_not = range.assignable(ip).err().or(gateway);
    if let Some(why) = why_not {
        return Err(Refusal::NotAssignable { ip, from, why });
    }
    let ask = &mut asks[place];
    match &mut ask.wish {
        // An address that is listed twice is asked for once.
        Wish::Fixed(ips) if ips.contains(&ip) => {}
        Wish::Fixed(ips) => ips.push(ip),
        wish @ Wish::Any => *wish = Wish::Fixed(vec![ip]),
    }
    ask.source = source;
    Ok(())
}

/// An address, with the prefix length if one is written (CNI conventions, `ips`).
fn read(text: &str) -> Result<(IpAddr, Option<IpNet>), address::SpanError> {
    let text = text.trim();
    if text.contains('/') {
        let net = address::parse_interface(text)?;
        Ok((net.addr(), Some(net)))
    } else {
        Ok((address::parse(text)?, None))
    }
}

/// Results below 0.3.0 hold one address of each family, so more would be held and never shown.
fn one_per_family(asks: &[Ask], version: CniVersion) -> Result<(), Refusal> {
    if !version.one_address_per_family() {
        return Ok(());
    }
    let addresses = |ask: &Ask| match &ask.wish {
        Wish::Any => 1,
        Wish::Fixed(ips) => ips.len(),
    };
    for family in [Family::V4, Family::V6] {
        let count = asks.iter().filter(|ask| ask.set.family() == family).map(addresses).sum();
        if count > 1 {
            return Err(Refusal::OneAddressPerFamily { version: version.to_string(), family, count });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
