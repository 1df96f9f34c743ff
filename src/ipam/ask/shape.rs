//! The prefix length and the gateway of an address, where its pod's annotations override those of the subnet.

use std::net::IpAddr;

use ipnet::IpNet;

use super::annotations::{AnnotationError, Fields};
use super::given::Given;
use super::{Ask, Wish};
use crate::ipam::address::{self, Family};
use crate::ipam::range::{Range, usable};

/// What an address gets instead of its subnet's prefix length and gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// The prefix length.
    pub prefix: Option<u8>,
    /// The gateway.
    pub gateway: Option<IpAddr>,
}

impl Shape {
    /// The prefix length of an address of this range.
    pub fn prefix_in(&self, range: &Range) -> u8 {
        self.prefix.unwrap_or(range.subnet.prefix_len())
    }
}

/// The annotations that gave an ask its shape.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Overrides<'a> {
    netmask: Option<&'a Given>,
    gateway: Option<&'a Given>,
}

/// Overrides the shape of the asks at these places. Whether it fits shows when all is overridden ([`fits`]).
pub(super) fn reshape<'a>(
    asks: &mut [Ask],
    overrides: &mut [Overrides<'a>],
    fields: &'a Fields,
    places: &[usize],
) -> Result<(), AnnotationError> {
    let families: Vec<Family> = places.iter().map(|place| asks[*place].set.family()).collect();
    for (given, item) in fields.netmask.iter().flat_map(|given| given.items().map(move |item| (given, item))) {
        let (family, length) = netmask(given, item, &families)?;
        for place in of_family(asks, places, family, given, item)? {
            asks[place].shape.prefix = Some(length);
            overrides[place].netmask = Some(given);
        }
    }
    for (given, item) in fields.gateway.iter().flat_map(|given| given.items().map(move |item| (given, item))) {
        let gateway = address::parse(item).map_err(|_| given.wrong(item, "an address such as 10.188.0.1"))?;
        for place in of_family(asks, places, Family::of(gateway), given, item)? {
            asks[place].shape.gateway = Some(gateway);
            overrides[place].gateway = Some(given);
        }
    }
    Ok(())
}

/// Those of `places` that an override of a family is for, of which there must be one.
fn of_family(
    asks: &[Ask],
    places: &[usize],
    family: Family,
    given: &Given,
    item: &str,
) -> Result<Vec<usize>, AnnotationError> {
    let ours: Vec<usize> = places.iter().copied().filter(|place| asks[*place].set.family() == family).collect();
    if ours.is_empty() { Err(nothing_of(given, item, family)) } else { Ok(ours) }
}

fn nothing_of(given: &Given, item: &str, family: Family) -> AnnotationError {
    AnnotationError::Unfit {
        key: given.key.clone(),
        value: item.to_owned(),
        address: "this interface".to_owned(),
        why: format!("it has no {family} address that this could be for"),
    }
}

/// A netmask: dotted, or a length with or without its slash. A length that either family could have is IPv4's, where the
/// interface has such an address: nobody's IPv6 subnet is that large.
fn netmask(given: &Given, item: &str, families: &[Family]) -> Result<(Family, u8), AnnotationError> {
    let wrong = || given.wrong(item, "a netmask such as 255.255.0.0 or /16");
    if let Ok(IpAddr::V4(mask)) = address::parse(item) {
        let length = mask.to_bits().leading_ones();
        let contiguous = mask.to_bits().checked_shl(length).unwrap_or(0) == 0;
        return if contiguous && length > 0 { Ok((Family::V4, length as u8)) } else { Err(wrong()) };
    }
    let digits = item.strip_prefix('/').unwrap_or(item);
    let digits = Some(digits).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse::<u8>().ok()) {
        Some(length @ 1..=32) if families.contains(&Family::V4) => Ok((Family::V4, length)),
        Some(length @ 1..=128) => Ok((Family::V6, length)),
        _ => Err(wrong()),
    }
}

/// Whether an ask's shape fits every address that it may end with. Netmask and gateway may be of different annotations.
pub(super) fn fits(ask: &Ask, overrides: &Overrides<'_>) -> Result<(), AnnotationError> {
    let Shape { prefix, gateway } = ask.shape;
    let unfit = |given: Option<&Given>, value: String, address: &dyn ToString, why: String| match given {
        Some(given) => Err(AnnotationError::Unfit { key: given.key.clone(), value, address: address.to_string(), why }),
        None => Ok(()),
    };
    let of_prefix = |address: &dyn ToString, why| {
        unfit(overrides.netmask, prefix.map_or_else(String::new, |length| format!("/{length}")), address, why)
    };
    let of_gateway = |address: &dyn ToString, why| {
        unfit(overrides.gateway, gateway.map_or_else(String::new, |ip| ip.to_string()), address, why)
    };
    match &ask.wish {
        Wish::Fixed(ips) => {
            for ip in ips {
                let Some(range) = ask.set.range_of(*ip) else { continue };
                let Ok(net) = IpNet::new(*ip, ask.shape.prefix_in(range)) else { continue };
                if prefix.is_some() && !usable(net.trunc()).contains(*ip) {
                    let why = format!("it would be the first or the last address of {}", net.trunc());
                    return of_prefix(ip, why);
                }
                if gateway == Some(*ip) {
                    return of_gateway(ip, "an interface is not its own gateway".to_owned());
                }
                if let Some(why) = out_of_reach(gateway, net.trunc()) {
                    return of_gateway(&net, why);
                }
            }
        }
        Wish::Any | Wish::Pool(_) => {
            for range in ask.set.ranges() {
                let subnet = range.subnet;
                if prefix.is_some_and(|length| length > subnet.prefix_len()) {
                    let why = "a longer prefix than the subnet's needs an address of its own (ip)".to_owned();
                    return of_prefix(&subnet, why);
                }
                let net = IpNet::new(subnet.addr(), ask.shape.prefix_in(range)).unwrap_or(subnet).trunc();
                if let Some(why) = out_of_reach(gateway, net) {
                    return of_gateway(&net, why);
                }
                if let (Wish::Pool(pool), Some(gateway)) = (&ask.wish, gateway)
                    && pool.contains(gateway)
                {
                    return of_gateway(pool, "it is one of the pool, which the interface may get itself".to_owned());
                }
            }
        }
    }
    Ok(())
}

/// Why a gateway can't be reached from an address in this network. A host's own prefix (/32, /128) reaches none by
/// itself; there the main plugin knows how.
fn out_of_reach(gateway: Option<IpAddr>, net: IpNet) -> Option<String> {
    let gateway = gateway?;
    let alone = net.prefix_len() == net.max_prefix_len();
    (!alone && !usable(net).contains(gateway)).then(|| format!("a gateway must be a usable address of {net}"))
}
