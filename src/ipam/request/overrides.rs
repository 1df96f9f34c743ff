//! Prefix lengths and gateways from a pod's annotations, which override those of the subnet.

use std::net::IpAddr;

use ipnet::IpNet;

use super::annotation_error::AnnotationError;
use super::annotations::Fields;
use super::value::AnnotationValue;
use super::{AddressRequest, Selection};
use crate::ipam::address::{self, Family};
use crate::ipam::range::{Range, usable};

/// The prefix length and gateway that override those of the subnet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressOverrides {
    /// `None` keeps that of the subnet.
    pub prefix: Option<u8>,
    /// `None` keeps that of the range.
    pub gateway: Option<IpAddr>,
}

impl AddressOverrides {
    /// The prefix length of an address of this range.
    pub fn prefix_in(&self, range: &Range) -> u8 {
        self.prefix.unwrap_or(range.subnet.prefix_len())
    }
}

/// The annotations that the overrides of a request come from.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OverrideSources<'a> {
    netmask: Option<&'a AnnotationValue>,
    gateway: Option<&'a AnnotationValue>,
}

/// Applies overrides to the requests for these sets. [`check`] checks afterwards whether they fit.
pub(super) fn apply<'a>(
    requests: &mut [AddressRequest],
    sources: &mut [OverrideSources<'a>],
    fields: &'a Fields,
    sets: &[usize],
) -> Result<(), AnnotationError> {
    let families: Vec<Family> = sets.iter().map(|set| requests[*set].set.family()).collect();
    for (value, item) in fields.netmask.iter().flat_map(|value| value.items().map(move |item| (value, item))) {
        let (family, length) = netmask(value, item, &families)?;
        for set in of_family(requests, sets, family, value, item)? {
            requests[set].overrides.prefix = Some(length);
            sources[set].netmask = Some(value);
        }
    }
    for (value, item) in fields.gateway.iter().flat_map(|value| value.items().map(move |item| (value, item))) {
        let gateway = address::parse(item).map_err(|_| value.wrong(item, "an address such as 10.188.0.1"))?;
        for set in of_family(requests, sets, Family::of(gateway), value, item)? {
            requests[set].overrides.gateway = Some(gateway);
            sources[set].gateway = Some(value);
        }
    }
    Ok(())
}

/// The `sets` of an override's family. There must be at least one.
fn of_family(
    requests: &[AddressRequest],
    sets: &[usize],
    family: Family,
    value: &AnnotationValue,
    item: &str,
) -> Result<Vec<usize>, AnnotationError> {
    let ours: Vec<usize> = sets.iter().copied().filter(|set| requests[*set].set.family() == family).collect();
    if ours.is_empty() { Err(nothing_of(value, item, family)) } else { Ok(ours) }
}

fn nothing_of(value: &AnnotationValue, item: &str, family: Family) -> AnnotationError {
    AnnotationError::Unfit {
        key: value.key.clone(),
        value: item.to_owned(),
        address: "this interface".to_owned(),
        why: format!("it has no {family} address that this could be for"),
    }
}

/// Reads a netmask: dotted, or a prefix length with or without a slash. A length up to 32 is an IPv4 one if the
/// interface has an IPv4 address, because no IPv6 subnet is that large.
fn netmask(value: &AnnotationValue, item: &str, families: &[Family]) -> Result<(Family, u8), AnnotationError> {
    let wrong = || value.wrong(item, "a netmask such as 255.255.0.0 or /16");
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

/// Checks that the overrides fit every address that a request can get. Netmask and gateway may come from different
/// annotations.
pub(super) fn check(request: &AddressRequest, sources: &OverrideSources<'_>) -> Result<(), AnnotationError> {
    let AddressOverrides { prefix, gateway } = request.overrides;
    let unfit = |from: Option<&AnnotationValue>, value: String, address: &dyn ToString, why: String| match from {
        Some(from) => Err(AnnotationError::Unfit { key: from.key.clone(), value, address: address.to_string(), why }),
        None => Ok(()),
    };
    let of_prefix = |address: &dyn ToString, why| {
        unfit(sources.netmask, prefix.map_or_else(String::new, |length| format!("/{length}")), address, why)
    };
    let of_gateway = |address: &dyn ToString, why| {
        unfit(sources.gateway, gateway.map_or_else(String::new, |ip| ip.to_string()), address, why)
    };
    match &request.selection {
        Selection::Exact(ips) => {
            for ip in ips {
                let Some(range) = request.set.range_of(*ip) else { continue };
                let Ok(net) = IpNet::new(*ip, request.overrides.prefix_in(range)) else { continue };
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
        Selection::Auto | Selection::OneOf(_) => {
            for range in request.set.ranges() {
                let subnet = range.subnet;
                if prefix.is_some_and(|length| length > subnet.prefix_len()) {
                    let why = "a longer prefix than the subnet's needs an address of its own (ip)".to_owned();
                    return of_prefix(&subnet, why);
                }
                let net = IpNet::new(subnet.addr(), request.overrides.prefix_in(range)).unwrap_or(subnet).trunc();
                if let Some(why) = out_of_reach(gateway, net) {
                    return of_gateway(&net, why);
                }
                if let (Selection::OneOf(pool), Some(gateway)) = (&request.selection, gateway)
                    && pool.addresses.contains(gateway)
                {
                    return of_gateway(pool, "it is one of the pool, which the interface may get itself".to_owned());
                }
            }
        }
    }
    Ok(())
}

/// Why a gateway can't be reached from an address in this network. A host prefix (/32, /128) reaches no gateway
/// directly, and the main plugin handles that.
fn out_of_reach(gateway: Option<IpAddr>, net: IpNet) -> Option<String> {
    let gateway = gateway?;
    let alone = net.prefix_len() == net.max_prefix_len();
    (!alone && !usable(net).contains(gateway)).then(|| format!("a gateway must be a usable address of {net}"))
}
