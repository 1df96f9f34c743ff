//! Explicit requests: each is applied to the range set that has its address, and all of them must agree.

use std::net::IpAddr;

use ipnet::IpNet;

use super::annotation_error::AnnotationError;
use super::annotations::{Annotations, Note, OtherInterfaceKey};
use super::input::{Inputs, NetworkRanges};
use super::overrides::{self, OverrideSources};
use super::value::AnnotationValue;
use super::{AddressRequest, Selection, Source, claim, pool, ranges_with};
use crate::ipam::address::{self, Span};
use crate::ipam::range::{NotAssignable, Range};
use crate::ipam::refusal::{Refusal, list};

/// A requested address.
struct ExplicitAddress {
    ip: IpAddr,
    /// The index of its set.
    set: usize,
    /// The address with its prefix length, if one is written.
    with_length: Option<IpNet>,
    from: Source,
}

/// Applies the explicit requests to the sets.
pub(super) fn apply(
    requests: &mut [AddressRequest],
    network: NetworkRanges<'_>,
    inputs: &Inputs<'_>,
) -> Result<Vec<Note>, Refusal> {
    let mut notes = Vec::new();
    let mut addresses = Vec::new();
    if let Some(Annotations { own, .. }) = inputs.annotations {
        if let Some(value) = &own.pool {
            pool::apply(requests, network, value, inputs)?;
        }
        if let Some(value) = &own.ip {
            let source = Source::Annotation(value.key.clone());
            addresses.extend(request(requests, listed(value)?, &source, inputs)?);
        }
    }
    if let Some(requested) = inputs.requested {
        let source = Source::Runtime(requested.source);
        addresses.extend(request(requests, requested.ips.iter().map(String::as_str), &source, inputs)?);
    }
    if let Some(claim) = inputs.claim {
        claim::apply(requests, claim, inputs)?;
    }
    if let Some(annotations) = inputs.annotations {
        let mut sources = vec![OverrideSources::default(); requests.len()];
        addresses.extend(unscoped(requests, network, (annotations, inputs), &mut sources, &mut notes)?);
        own_overrides(requests, annotations, &mut sources)?;
        requests.iter().zip(&sources).try_for_each(|(request, sources)| overrides::check(request, sources))?;
        other_interfaces(requests, network, annotations, &mut notes)?;
    }
    check_lengths(requests, &addresses)?;
    Ok(notes)
}

/// The addresses of an annotation. There must be at least one.
fn listed(value: &AnnotationValue) -> Result<impl Iterator<Item = &str>, AnnotationError> {
    let mut items = value.items().peekable();
    match items.peek() {
        Some(_) => Ok(items),
        None => Err(value.wrong(&value.text, "a list with an address in it")),
    }
}

/// Requests these addresses, each from its set.
fn request<'a>(
    requests: &mut [AddressRequest],
    texts: impl Iterator<Item = &'a str>,
    source: &Source,
    inputs: &Inputs<'_>,
) -> Result<Vec<ExplicitAddress>, Refusal> {
    let address = |text: &str| {
        let (ip, with_length) = read(text).map_err(|error| not_an_address(source, text, error))?;
        Ok(ExplicitAddress { ip, set: set_of(requests, ip, source, inputs)?, with_length, from: source.clone() })
    };
    let addresses = texts.map(address).collect::<Result<Vec<_>, Refusal>>()?;
    agree(requests, &addresses, source)?;
    Ok(addresses)
}

/// The prefix length of a requested address must be that of the subnet, or of the netmask beside it.
fn check_lengths(requests: &[AddressRequest], addresses: &[ExplicitAddress]) -> Result<(), Refusal> {
    for ExplicitAddress { ip, set, with_length, from } in addresses {
        let request = &requests[*set];
        let Some((asked, range)) = with_length.zip(request.set.range_of(*ip)) else { continue };
        let length = request.overrides.prefix_in(range);
        if asked.prefix_len() != length {
            let subnet = IpNet::new(*ip, length).map_or(range.subnet, |net| net.trunc());
            return Err(Refusal::OtherPrefix { asked, from: Box::new(from.clone()), subnet });
        }
    }
    Ok(())
}

/// The index of the set that may assign an address to the pod.
pub(super) fn set_of(
    requests: &[AddressRequest],
    ip: IpAddr,
    from: &Source,
    inputs: &Inputs<'_>,
) -> Result<usize, Refusal> {
    let holding = || requests.iter().enumerate().filter_map(|(i, request)| Some((i, request.set.range_of(ip)?)));
    // If sets share a subnet, the one whose window has the address is preferred.
    let named = |range: &Range| range.window.contains(ip) || range.fixed.is_some_and(|window| window.contains(ip));
    let giving = || holding().filter(|(_, range)| range.assignable(ip).is_ok());
    let best = giving().find(|(_, range)| named(range)).or_else(|| holding().find(|(_, range)| named(range)));
    let Some((set, range)) = best.or_else(|| giving().next()).or_else(|| holding().next()) else {
        return Err(Refusal::OutsideSubnets { ip, from: Box::new(from.clone()), subnets: subnets_of(requests) });
    };
    // No interface gets a gateway, even that of another range in the same subnet.
    let mut ranges = requests.iter().flat_map(|request| request.set.ranges());
    let gateway = ranges.find(|other| other.gateway == Some(ip)).map(|other| NotAssignable::Gateway(other.subnet));
    let pool = range.pool_of(ip).filter(|pool| !pool.admits(inputs.namespace));
    let pool = pool.map(|pool| NotAssignable::InPool { pool: pool.name.clone(), namespaces: pool.namespaces.clone() });
    match range.assignable(ip).err().or(gateway).or(pool) {
        Some(why) => Err(Refusal::NotAssignable { ip, from: Box::new(from.clone()), why }),
        None => Ok(set),
    }
}

/// The subnets of all ranges of the requested sets.
pub(super) fn subnets_of(requests: &[AddressRequest]) -> Vec<IpNet> {
    requests.iter().flat_map(|request| request.set.ranges()).map(|range| range.subnet).collect()
}

/// The refusal of a text that is no address.
pub(super) fn not_an_address(from: &Source, text: &str, error: address::SpanError) -> Refusal {
    Refusal::NotAnAddress { from: Box::new(from.clone()), text: text.to_owned(), error }
}

/// An address, with the prefix length if one is written (CNI conventions, `ips`).
pub(super) fn read(text: &str) -> Result<(IpAddr, Option<IpNet>), address::SpanError> {
    let text = text.trim();
    if text.contains('/') {
        let net = address::parse_interface(text)?;
        Ok((net.addr(), Some(net)))
    } else {
        Ok((address::parse(text)?, None))
    }
}

/// Adds the addresses that a source requests. If another source has requested something of the same set, it must be the
/// same.
fn agree(
    requests: &mut [AddressRequest],
    addresses: &[ExplicitAddress],
    source: &Source,
) -> Result<(), AnnotationError> {
    for (set, request) in requests.iter_mut().enumerate() {
        let mut ips: Vec<IpAddr> = Vec::new();
        for address in addresses.iter().filter(|address| address.set == set) {
            // An address that is listed twice is requested once.
            if !ips.contains(&address.ip) {
                ips.push(address.ip);
            }
        }
        if ips.is_empty() {
            continue;
        }
        let same = match &request.selection {
            Selection::Auto => {
                request.selection = Selection::Exact(ips);
                request.source = source.clone();
                continue;
            }
            Selection::Exact(before) => before.len() == ips.len() && before.iter().all(|ip| ips.contains(ip)),
            Selection::OneOf(_) => false,
        };
        if !same {
            return Err(AnnotationError::Disagree {
                set: request.set.to_string(),
                first: Box::new(request.source.clone()),
                first_ips: request.selection.to_string(),
                second: Box::new(source.clone()),
                second_ips: list(&ips),
            });
        }
    }
    Ok(())
}

/// Applies the unscoped annotations to the sets whose addresses they name.
fn unscoped<'a>(
    requests: &mut [AddressRequest],
    network: NetworkRanges<'_>,
    (annotations, inputs): (&'a Annotations, &Inputs<'_>),
    sources: &mut [OverrideSources<'a>],
    notes: &mut Vec<Note>,
) -> Result<Vec<ExplicitAddress>, Refusal> {
    let Annotations { unscoped, interfaces, ifname, .. } = annotations;
    let Some(value) = &unscoped.ip else {
        let alone = [&unscoped.netmask, &unscoped.gateway].into_iter().flatten();
        notes.extend(alone.map(|value| Note::WithoutAddress(value.key.clone())));
        return Ok(Vec::new());
    };
    let source = Source::Annotation(value.key.clone());
    let mut here = Vec::new();
    for text in listed(value)? {
        let (ip, _) = read(text).map_err(|error| not_an_address(&source, text, error))?;
        // An address in a range of this network that the pod may not use is refused later, because it belongs to no
        // other network.
        let belongs_here = ranges_with(network, ip).next().is_some();
        if belongs_here || interfaces.are_only(ifname) {
            here.push(text);
        } else {
            notes.push(Note::Elsewhere { ip });
        }
    }
    let addresses = request(requests, here.into_iter(), &source, inputs)?;
    for request in requests.iter_mut() {
        request.fallback_to_any = request.source == source;
    }
    let sets: Vec<usize> = addresses.iter().map(|address| address.set).collect();
    if !sets.is_empty() {
        overrides::apply(requests, sources, unscoped, &sets)?;
    }
    Ok(addresses)
}

/// Applies the interface's own netmask and gateway to the addresses of its own annotation, or to all if it has none.
fn own_overrides<'a>(
    requests: &mut [AddressRequest],
    Annotations { own, .. }: &'a Annotations,
    sources: &mut [OverrideSources<'a>],
) -> Result<(), AnnotationError> {
    let key = own.ip.as_ref().or(own.pool.as_ref()).map(|value| Source::Annotation(value.key.clone()));
    let is_for = |request: &AddressRequest| key.as_ref().is_none_or(|key| request.source == *key);
    let sets: Vec<usize> =
        requests.iter().enumerate().filter(|(_, request)| is_for(request)).map(|(set, _)| set).collect();
    overrides::apply(requests, sources, own, &sets)
}

/// Notes annotations for interfaces that the pod does not have. It is an error if this interface was probably meant and
/// would get a random address instead.
fn other_interfaces(
    requests: &[AddressRequest],
    network: NetworkRanges<'_>,
    annotations: &Annotations,
    notes: &mut Vec<Note>,
) -> Result<(), AnnotationError> {
    let Annotations { ifname, interfaces, other_interfaces, unknown, .. } = annotations;
    let asks_for_nothing = requests.iter().all(|request| request.selection == Selection::Auto);
    let fits_here = |other: &OtherInterfaceKey| {
        let first = |item: &str| read(item).map(|(ip, _)| ip).or_else(|_| item.parse().map(|span: Span| span.first()));
        let mut ips = other.value.split(',').filter_map(|item| first(item.trim()).ok());
        let names_addresses = matches!(other.field.as_str(), "ip" | "pool");
        let names_pool = || network.pools.iter().any(|pool| pool.name.as_str() == other.value.trim());
        (names_addresses && ips.any(|ip| requests.iter().any(|request| request.set.range_of(ip).is_some())))
            || (other.field == "pool" && names_pool())
    };
    for other in other_interfaces.iter().filter(|other| interfaces.lack(&other.ifname)) {
        let (key, interfaces) = (other.key.clone(), interfaces.to_string());
        if asks_for_nothing && fits_here(other) {
            return Err(AnnotationError::NoSuchInterface { key, ifname: ifname.clone(), interfaces });
        }
        notes.push(Note::NoSuchInterface { key, interfaces });
    }
    notes.extend(unknown.iter().cloned().map(Note::Unknown));
    Ok(())
}
