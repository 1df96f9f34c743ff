//! Networks of one vrf that assign the same addresses: each of them has fewer than its ranges promise.

use std::collections::{BTreeMap, BTreeSet};

use super::place_of_text;
use crate::ipam::address::Span;
use crate::ipam::name::Name;
use crate::ipam::range::Range;
use crate::plan::code;
use crate::plan::finding::Finding;
use crate::plan::networks::{PlannedNetwork, label};

/// A span of addresses that a network assigns.
struct Share {
    span: Span,
    /// The index of the network.
    network: usize,
}

/// Warns of each network that assigns addresses of an earlier one. The spans are compared in the order of their first
/// addresses, so that thousands of networks are no problem.
pub(super) fn ranges(networks: &[PlannedNetwork<'_>], findings: &mut Vec<Finding>) {
    let mut by_vrf: BTreeMap<&Name, Vec<Share>> = BTreeMap::new();
    for (network, planned) in networks.iter().enumerate() {
        let spans = super::ranges(planned).flat_map(spans);
        by_vrf.entry(&planned.vrf).or_default().extend(spans.map(|span| Share { span, network }));
    }
    let mut reported = BTreeSet::new();
    for shares in by_vrf.values_mut() {
        shares.sort_by_key(|share| (share.span.first(), share.network));
        for (one, other, common) in overlaps(networks, shares) {
            let (earlier, later) = (one.min(other), one.max(other));
            if reported.insert((later, common.first())) {
                findings.push(finding(&networks[earlier], &networks[later], common));
            }
        }
    }
}

/// The overlaps of spans of different networks, by their indices. Each span that overlaps with spans before it is
/// compared with the one that ends last. Definitions of one name are one network.
fn overlaps(networks: &[PlannedNetwork<'_>], shares: &[Share]) -> Vec<(usize, usize, Span)> {
    let differ = |one: &Share, other: &Share| networks[one.network].name != networks[other.network].name;
    // The span that ends last, and the one that ends last of all other networks.
    let (mut last, mut last_of_others): (Option<&Share>, Option<&Share>) = (None, None);
    let mut overlaps = Vec::new();
    for share in shares {
        let before = [last, last_of_others].into_iter().flatten().find(|before| differ(before, share));
        if let Some((before, common)) = before.and_then(|before| Some((before, before.span.intersection(&share.span)?)))
        {
            overlaps.push((before.network, share.network, common));
        }
        match last {
            Some(before) if share.span.last() <= before.span.last() => {
                let is_later = last_of_others.is_none_or(|other| share.span.last() > other.span.last());
                if differ(before, share) && is_later {
                    last_of_others = Some(share);
                }
            }
            before => {
                last_of_others = before.filter(|before| differ(before, share)).or(last_of_others);
                last = Some(share);
            }
        }
    }
    overlaps
}

/// All that a range assigns, at random or on request.
fn spans(range: &Range) -> Vec<Span> {
    range.dynamic().iter().copied().chain(range.fixed).collect()
}

fn finding(earlier: &PlannedNetwork<'_>, later: &PlannedNetwork<'_>, common: Span) -> Finding {
    let subnet = super::ranges(later).find(|range| range.subnet.contains(&common.first()));
    let place =
        subnet.map_or_else(|| later.definition.place.clone(), |range| place_of_text(later, &range.subnet.to_string()));
    let message = format!("{} and {} both give out {common}", label(earlier.definition), label(later.definition));
    Finding::warning(code::RANGES_SHARED, place, message)
        .related(earlier.definition.place.clone(), "the other network")
        .help("no address is given twice. Keep the ranges apart, or set another `vrf` if the networks never meet")
}
