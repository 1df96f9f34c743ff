//! The addresses that a slot may search: those that its ranges assign at random, without what host-local holds on this
//! node.

use std::net::IpAddr;
use std::path::PathBuf;

use super::super::AllocationPolicy;
use super::super::auto_search::AutoSearch;
use super::super::free_search::{CooldownRule, FreeSearch, Unsearched};
use crate::ipam::address::{Span, Spans};
use crate::ipam::range::{Range, RangeSet};
use crate::ipam::refusal::{HostLocalFiles, Refusal};
use crate::ipam::seed::Chances;

pub(super) fn auto_search(
    set: &RangeSet,
    reserved: &[Span],
    policy: &AllocationPolicy,
    chances: &Chances,
) -> Result<AutoSearch, Refusal> {
    let dynamic = dynamic_spans(set, reserved);
    if dynamic.iter().all(Spans::is_empty) {
        return Err(Refusal::NothingDynamic { set: set.to_string() });
    }
    let size = dynamic.iter().fold(0_u128, |sum, spans| sum.saturating_add(spans.len()));
    let of_windows = set.ranges().iter().fold(0_u128, |sum, range| sum.saturating_add(range.window.len()));
    let host_local = by_host_local(&dynamic.iter().collect::<Vec<_>>(), policy);
    let unsearched = Unsearched { host_local, excluded: of_windows.saturating_sub(size) };
    let dynamic = dynamic.into_iter().map(|spans| without_host_local(spans, policy)).collect();
    let cooldown_rule = if policy.strict { CooldownRule::Wait } else { CooldownRule::LastResort };
    let search = FreeSearch::new(policy, dynamic, cooldown_rule, chances).with_unsearched(unsearched);
    if search.is_empty() {
        return Err(search.exhausted(set.to_string()));
    }
    Ok(AutoSearch::new(search, chances.attempt.clone()))
}

/// The addresses that each range of a set assigns at random. Gateways and fixed windows are left out, also those of
/// another range that shares the subnet.
fn dynamic_spans(set: &RangeSet, reserved: &[Span]) -> Vec<Spans> {
    let unreserved = |range: &Range| reserved.iter().fold(range.dynamic(), |left, hole| left.without(hole));
    set.ranges().iter().map(unreserved).collect()
}

pub(super) fn without_host_local(spans: Spans, policy: &AllocationPolicy) -> Spans {
    policy.host_local.keys().copied().map(Span::single).fold(spans, |left, hole| left.without(&hole))
}

/// The files of host-local on this node for these addresses.
pub(super) fn by_host_local(dynamic: &[&Spans], policy: &AllocationPolicy) -> Option<HostLocalFiles> {
    let is_of_them = |ip: &IpAddr| dynamic.iter().any(|spans| spans.contains(*ip));
    let files: Vec<&PathBuf> =
        policy.host_local.iter().filter(|(ip, _)| is_of_them(ip)).map(|(_, file)| file).collect();
    let folder = files.first()?.parent()?.to_owned();
    Some(HostLocalFiles { count: files.len() as u128, folder })
}
