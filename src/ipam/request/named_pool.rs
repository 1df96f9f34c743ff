//! `kube-ipam.<ifname>.pool: <name>`: requests one address of a pool of the network.
//!
//! A pool belongs to the whole network, so it may have addresses in ranges for other nodes. The pods of a StatefulSet
//! count through all of its addresses; a pod on a node that may not use its address is refused, as with any requested
//! address. All other pods get any free address that their node may use.

use std::net::IpAddr;

use super::annotation_error::AnnotationError;
use super::explicit::subnets_of;
use super::input::{Inputs, NetworkRanges};
use super::pool::at_place;
use super::value::AnnotationValue;
use super::{AddressPool, AddressRequest, Selection, Source};
use crate::ipam::address::Span;
use crate::ipam::pool::within;
use crate::ipam::range::RangeSet;
use crate::ipam::refusal::Refusal;

/// Requests one of the pool's addresses from each set that has a share of it. A set without a share assigns any
/// address.
pub(super) fn apply(
    requests: &mut [AddressRequest],
    network: NetworkRanges<'_>,
    value: &AnnotationValue,
    name: &str,
    inputs: &Inputs<'_>,
) -> Result<(), Refusal> {
    let Some(pool) = network.pools.iter().find(|pool| pool.name.as_str() == name) else {
        return Err(unknown(network, value, name).into());
    };
    if !pool.admits(inputs.namespace) {
        let what = format!("pool {name} of network {}", network.name);
        return Err(Refusal::Namespace {
            namespace: inputs.namespace.map(str::to_owned),
            what,
            allowed: pool.namespaces.clone(),
            key: Some(value.key.clone()),
        });
    }
    let subnets = subnets_of(requests);
    let not_here = |ip: IpAddr| {
        let from = Box::new(Source::NamedPool { key: value.key.clone(), pool: pool.name.clone() });
        Refusal::OutsideSubnets { ip, from, subnets: subnets.clone() }
    };
    let mut has_any = false;
    for request in requests.iter_mut() {
        let share = request.set.share_of(&pool.name);
        let Some(first) = share.first().map(Span::first) else { continue };
        has_any = true;
        request.selection = match inputs.ordinal {
            Some(ordinal) => {
                let ip = at_place(share, ordinal, &request.set, (&value.key, Some(&pool.name)))?;
                if !is_of(&request.set, ip) {
                    return Err(not_here(ip));
                }
                Selection::Exact(vec![ip])
            }
            None => {
                // Ranges of other nodes have shares, too.
                let addresses = within(share, request.set.ranges().iter().map(|range| range.subnet));
                if addresses.is_empty() {
                    return Err(not_here(first));
                }
                Selection::OneOf(AddressPool { addresses, name: Some(pool.name.clone()) })
            }
        };
        request.source = Source::Annotation(value.key.clone());
    }
    if has_any {
        return Ok(());
    }
    // All of its addresses belong to the other family, or to ranges for other namespaces.
    let elsewhere = network.sets.iter().flat_map(|set| set.share_of(&pool.name)).chain(&pool.addresses).next();
    elsewhere.map_or(Ok(()), |span| Err(not_here(span.first())))
}

fn is_of(set: &RangeSet, ip: IpAddr) -> bool {
    set.ranges().iter().any(|range| range.subnet.contains(&ip))
}

fn unknown(network: NetworkRanges<'_>, value: &AnnotationValue, name: &str) -> AnnotationError {
    let pools = network.pools.iter().map(|pool| pool.name.clone()).collect();
    AnnotationError::UnknownPool { key: value.key.clone(), network: network.name.clone(), pool: name.to_owned(), pools }
}
