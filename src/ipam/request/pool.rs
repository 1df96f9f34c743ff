//! `kube-ipam.<ifname>.pool`: a list of addresses and spans of which the interface takes one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::annotation_error::AnnotationError;
use super::explicit::set_of;
use super::value::AnnotationValue;
use super::{AddressRequest, Selection, Source};
use crate::ipam::address::{Span, Spans};
use crate::ipam::refusal::Refusal;

/// The place of a pod in its StatefulSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordinal {
    /// The pod's number, at the end of its name.
    pub pod: u32,
    /// The number of the first pod (`spec.ordinals.start`).
    pub first: u32,
}

/// Requests one of the pool's addresses of each set that it has any of: any free one, or, for the pod of a StatefulSet, the
/// one at its place.
pub(super) fn apply(
    requests: &mut [AddressRequest],
    value: &AnnotationValue,
    ordinal: Option<Ordinal>,
) -> Result<(), Refusal> {
    let mut shares: Vec<Vec<Span>> = vec![Vec::new(); requests.len()];
    let requestable: Vec<Vec<Span>> = requests.iter().map(requestable).collect();
    let mut listed: BTreeMap<IpAddr, Span> = BTreeMap::new();
    for item in value.items() {
        let wanted = "a list of addresses and spans such as 10.188.0.20-10.188.0.29, 10.188.0.40";
        let span: Span = item.parse().map_err(|_| value.wrong(item, wanted))?;
        let share = permitted(requests, &requestable, value, span)?;
        // Those before it have no address in common, so that only the last to begin in it, or before it, can have one of it.
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
        request.selection = match ordinal {
            Some(ordinal) => {
                Selection::Exact(vec![at_place(&share, ordinal).ok_or_else(|| AnnotationError::PoolTooShort {
                    key: value.key.clone(),
                    set: request.set.to_string(),
                    has: share.iter().fold(0, |sum, span| sum.saturating_add(span.len())),
                    pod: ordinal.pod,
                    first: ordinal.first,
                })?])
            }
            None => Selection::OneOf(share.into_iter().collect()),
        };
    }
    Ok(())
}

/// What a set may give on request.
fn requestable(request: &AddressRequest) -> Vec<Span> {
    request.set.ranges().iter().flat_map(|range| range.requestable().iter().copied().collect::<Vec<_>>()).collect()
}

/// The set that may give every address of a span, by its index.
fn permitted(
    requests: &[AddressRequest],
    requestable: &[Vec<Span>],
    value: &AnnotationValue,
    span: Span,
) -> Result<usize, Refusal> {
    // Its ends say where it belongs; what is in between is compared as a whole, since a span may be of any length.
    let set = set_of(requests, span.first(), &value.key.to_string())?;
    set_of(requests, span.last(), &value.key.to_string())?;
    let gateways =
        requests.iter().flat_map(|request| request.set.ranges()).filter_map(|range| range.gateway).map(Span::single);
    let not_given = Spans::between(span, requestable[set].iter().copied());
    let first_of = |spans: &Spans| spans.iter().next().map(|span| span.first());
    let gateway = gateways.filter_map(|gateway| gateway.intersection(&span)).map(|gateway| gateway.first()).next();
    match first_of(&not_given).or(gateway) {
        Some(ip) => set_of(requests, ip, &value.key.to_string()),
        None => Ok(set),
    }
}

/// The address at a pod's place, counted through the spans as they are written.
fn at_place(spans: &[Span], ordinal: Ordinal) -> Option<IpAddr> {
    let mut place = u128::from(ordinal.pod.checked_sub(ordinal.first)?);
    for span in spans {
        if place < span.len() {
            return Spans::of(*span).at(place);
        }
        place -= span.len();
    }
    None
}
