//! `kube-ipam.<ifname>.pool`: requests one address of a list of addresses and spans, or of a named pool (`named_pool`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::annotation_error::AnnotationError;
use super::annotations::Key;
use super::explicit::set_of;
use super::input::{Inputs, NetworkRanges};
use super::value::AnnotationValue;
use super::{AddressPool, AddressRequest, Selection, Source, named_pool};
use crate::ipam::address::{Span, Spans};
use crate::ipam::pool::PoolName;
use crate::ipam::range::{Range, RangeSet};
use crate::ipam::refusal::Refusal;

/// The position of a pod in its StatefulSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordinal {
    /// The pod's number, at the end of its name.
    pub pod: u32,
    /// The number of the first pod (`spec.ordinals.start`).
    pub first: u32,
}

/// Requests one of the pool's addresses from each set that has any of them: any free one, or, for a StatefulSet's pod,
/// the one at its position.
pub(super) fn apply(
    requests: &mut [AddressRequest],
    network: NetworkRanges<'_>,
    value: &AnnotationValue,
    inputs: &Inputs<'_>,
) -> Result<(), Refusal> {
    let names: Vec<&str> = value.items().filter(|item| PoolName::new(*item).is_ok()).collect();
    match names[..] {
        [] => list(requests, value, inputs),
        [name] if value.items().count() == 1 => named_pool::apply(requests, network, value, name, inputs),
        [name, ..] => Err(value.wrong(name, "an address or a span; the name of a pool stands alone").into()),
    }
}

/// The same, for a pool that is written as a list.
fn list(requests: &mut [AddressRequest], value: &AnnotationValue, inputs: &Inputs<'_>) -> Result<(), Refusal> {
    let mut shares: Vec<Vec<Span>> = vec![Vec::new(); requests.len()];
    let requestable: Vec<Vec<Span>> = requests.iter().map(requestable).collect();
    let mut listed: BTreeMap<IpAddr, Span> = BTreeMap::new();
    for item in value.items() {
        let wanted =
            "a list of addresses and spans such as 10.188.0.20-10.188.0.29, 10.188.0.40, or the name of a pool";
        let span: Span = item.parse().map_err(|_| value.wrong(item, wanted))?;
        let share = permitted(requests, &requestable, value, span, inputs)?;
        // Earlier spans don't overlap, so only the last one that starts at or before it can overlap with it.
        let nearest = listed.range(..=span.last()).next_back();
        if nearest.is_some_and(|(_, other)| other.intersection(&span).is_some()) {
            return Err(value.wrong(item, "named once: some of its addresses stand in the list twice").into());
        }
        listed.insert(span.first(), span);
        shares[share].push(span);
    }
    if shares.iter().all(Vec::is_empty) {
        return Err(value.wrong(&value.text, "a list with an address in it").into());
    }
    for (request, share) in requests.iter_mut().zip(shares).filter(|(_, share)| !share.is_empty()) {
        request.source = Source::Annotation(value.key.clone());
        request.selection = match inputs.ordinal {
            Some(ordinal) => Selection::Exact(vec![at_place(&share, ordinal, &request.set, (&value.key, None))?]),
            None => Selection::OneOf(AddressPool { addresses: share.into_iter().collect(), name: None }),
        };
    }
    Ok(())
}

/// The addresses that a set may assign on request.
fn requestable(request: &AddressRequest) -> Vec<Span> {
    request.set.ranges().iter().flat_map(|range| range.requestable().iter().copied().collect::<Vec<_>>()).collect()
}

/// The index of the set that may assign every address of a span.
fn permitted(
    requests: &[AddressRequest],
    requestable: &[Vec<Span>],
    value: &AnnotationValue,
    span: Span,
    inputs: &Inputs<'_>,
) -> Result<usize, Refusal> {
    let from = Source::PoolList(value.key.clone());
    // The ends of the span identify the set. The addresses between them are compared as spans, because a span may
    // have any length.
    let set = set_of(requests, span.first(), &from, inputs)?;
    set_of(requests, span.last(), &from, inputs)?;
    let ranges = || requests.iter().flat_map(|request| request.set.ranges());
    let gateways = ranges().filter_map(|range| range.gateway).map(Span::single);
    let not_given = Spans::between(span, requestable[set].iter().copied());
    let first_of = |spans: &Spans| spans.iter().next().map(|span| span.first());
    let refused = gateways.chain(ranges().flat_map(|range| closed_pools(range, inputs)));
    let refused = refused.filter_map(|refused| refused.intersection(&span)).map(|refused| refused.first()).next();
    match first_of(&not_given).or(refused) {
        Some(ip) => set_of(requests, ip, &from, inputs),
        None => Ok(set),
    }
}

/// The addresses of a range in named pools that the pod's namespace may not use.
fn closed_pools<'a>(range: &'a Range, inputs: &'a Inputs<'_>) -> impl Iterator<Item = Span> + 'a {
    let closed = range.pools.iter().filter(|part| !part.pool.admits(inputs.namespace));
    closed.flat_map(|part| part.addresses.iter().copied())
}

/// The address at a pod's position in a set's share of a pool, counted through the spans in the order in which they are
/// written.
pub(super) fn at_place(
    share: &[Span],
    Ordinal { pod, first }: Ordinal,
    set: &RangeSet,
    (key, pool): (&Key, Option<&PoolName>),
) -> Result<IpAddr, AnnotationError> {
    let address = pod.checked_sub(first).and_then(|place| {
        let mut place = u128::from(place);
        for span in share {
            if place < span.len() {
                return Spans::of(*span).at(place);
            }
            place -= span.len();
        }
        None
    });
    let has = share.iter().fold(0, |sum: u128, span| sum.saturating_add(span.len()));
    address.ok_or_else(|| AnnotationError::PoolTooShort {
        key: key.clone(),
        pool: pool.cloned(),
        set: set.to_string(),
        has,
        pod,
        first,
    })
}
