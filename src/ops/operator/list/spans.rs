//! What a listing reads of the store: no more than its options need.
//!
//! ```text
//!  pools        net/, and the spans of ip/<vrf>/ that belong to pools of these names
//!  addresses    one lease in each routing domain; the domains are found by skipping from one to the next
//!  a node       at/<node>/, and the leases that its attachments list
//!  ranges       their spans of ip/<vrf>/
//!  vrfs         ip/<vrf>/
//!  else         ip/
//! ```
//!
//! The first of these that is named decides what is read; the others are conditions. No key has the name of a pod, a
//! namespace, a network or an owner. Those options read everything in these spans.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::super::selection::{Selection, SpansByVrf};
use super::{AddressState, ListOptions};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::address::{Family, Span, Spans};
use crate::ipam::keys;
use crate::ipam::lease::{Attachment, LeaseState, Stored};
use crate::ipam::name::Name;
use crate::ops::Session;
use crate::ops::operator::STORE_TIMEOUT;
use crate::store::{Cursor, Key, KeySpan};

/// The keys that are read, in their order.
pub(super) enum Reading {
    /// These keys, one by one.
    Keys(BTreeSet<Key>),
    /// All keys of these spans, which don't overlap.
    Spans(Vec<KeySpan>),
}

impl Reading {
    /// What these options need. Reads what it takes to know that.
    pub(super) fn new(session: &Session, options: &ListOptions) -> Result<Self, Error> {
        let Selection { vrfs, pools, ranges, nodes, .. } = &options.selection;
        if !pools.is_empty() {
            return Ok(Self::Spans(limited(options.selection.pool_spans(session)?, ranges)));
        }
        if !ranges.is_empty() && ranges.iter().all(|span| span.len() == 1) {
            let vrfs = vrfs_of(session, vrfs)?;
            let of_vrf = |vrf: &Name| ranges.iter().map(|span| keys::lease(vrf, span.first())).collect::<Vec<_>>();
            return Ok(Self::Keys(vrfs.iter().flat_map(of_vrf).collect()));
        }
        if !nodes.is_empty() && by_attachments(options) {
            return of_nodes(session, nodes).map(Self::Keys);
        }
        if !ranges.is_empty() {
            let vrfs = vrfs_of(session, vrfs)?;
            let of_vrf = |vrf: Name| by_family(ranges).map(move |(family, spans)| ((vrf.clone(), family), spans));
            return Ok(Self::Spans(in_order(vrfs.into_iter().flat_map(of_vrf).collect())));
        }
        Ok(Self::Spans(match vrfs.is_empty() {
            true => vec![keys::all_leases()],
            false => sorted(vrfs.iter().map(keys::leases_of_vrf).collect()),
        }))
    }
}

/// Whether the attachments of a node say everything that is asked for: they name only what is held.
pub(super) fn by_attachments(options: &ListOptions) -> bool {
    options.states.iter().all(|state| *state == AddressState::Known(LeaseState::Held))
}

/// These addresses by family.
fn by_family(ranges: &[Span]) -> impl Iterator<Item = (Family, Spans)> {
    let of = |family| -> Spans { ranges.iter().filter(|span| span.family() == family).copied().collect() };
    [Family::V4, Family::V6].map(|family| (family, of(family))).into_iter()
}

/// The part of these addresses that lies in ranges; all without ranges.
fn limited(spans: SpansByVrf, ranges: &[Span]) -> Vec<KeySpan> {
    let within = |spans: &Spans| -> Spans {
        spans.iter().flat_map(|span| ranges.iter().filter_map(|range| range.intersection(span))).collect()
    };
    let spans = spans.into_iter().map(|(key, spans)| (key, if ranges.is_empty() { spans } else { within(&spans) }));
    in_order(spans.collect())
}

fn in_order(spans: SpansByVrf) -> Vec<KeySpan> {
    let of_vrf = |((vrf, _), spans): (&(Name, Family), &Spans)| -> Vec<KeySpan> {
        spans.iter().map(|span| keys::leases(vrf, span)).collect()
    };
    sorted(spans.iter().flat_map(of_vrf).collect())
}

/// The order of keys is not that of names: "a-b/" comes before "a/".
fn sorted(mut spans: Vec<KeySpan>) -> Vec<KeySpan> {
    spans.sort_by(|one, other| one.from.cmp(&other.from));
    spans
}

/// The keys of an address: one in each vrf, or only in the requested one.
pub(in crate::ops::operator) fn keys_of_address(
    session: &Session,
    ip: IpAddr,
    vrf: Option<&Name>,
) -> Result<BTreeSet<Key>, Error> {
    let vrfs = vrf.map_or_else(|| vrfs(session), |vrf| Ok(vec![vrf.clone()]))?;
    Ok(vrfs.iter().map(|vrf| keys::lease(vrf, ip)).collect())
}

/// The requested vrfs; all that have a lease if none is requested.
fn vrfs_of(session: &Session, requested: &BTreeSet<Name>) -> Result<Vec<Name>, Error> {
    if requested.is_empty() { vrfs(session) } else { Ok(requested.iter().cloned().collect()) }
}

/// The vrfs that have a lease. They are found by skipping from one to the next.
pub(in crate::ops::operator) fn vrfs(session: &Session) -> Result<Vec<Name>, Error> {
    let mut found = Vec::new();
    let mut rest = keys::all_leases();
    loop {
        let page = session.page(&rest, &Cursor::default(), 1, Deadline::after(STORE_TIMEOUT))?;
        let Some(first) = page.entries.first() else { return Ok(found) };
        rest.from = match keys::read_lease(&first.key) {
            Some((vrf, _)) => {
                let after = keys::leases_of_vrf(&vrf).to;
                found.push(vrf);
                after
            }
            None => first.key.clone().successor(),
        };
    }
}

/// The keys of the leases that nodes' attachments list.
fn of_nodes(session: &Session, nodes: &BTreeSet<Name>) -> Result<BTreeSet<Key>, Error> {
    let mut found = BTreeSet::new();
    for node in nodes {
        session.each(&keys::attachments_of(node), STORE_TIMEOUT, |entry| {
            if let Stored::Known(Attachment { vrf, addresses, .. }) = Stored::read(&entry.value) {
                found.extend(addresses.iter().map(|assigned| keys::lease(&vrf, assigned.address.addr())));
            }
            Ok::<_, Error>(())
        })?;
    }
    Ok(found)
}
