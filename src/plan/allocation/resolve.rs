//! Resolves the requests of a pod on each kind of node that it may run on.

use std::collections::BTreeMap;

use crate::config::Network;
use crate::ipam::refusal::Refusal;
use crate::ipam::request::{
    self, AddressRequest, Annotations, Inputs, Note, Ordinal, RequestSource, RequestedAddresses, Selection,
};
use crate::plan::claims::ClaimRef;
use crate::plan::interfaces::PlannedInterface;
use crate::plan::keeper::{identity, keeper};
use crate::plan::networks::PlannedNetwork;
use crate::plan::objects::Kind;

/// The requests of a pod on each kind of node, and notes for its author.
pub(super) struct ResolvedPod {
    /// The first alternative that succeeds is used.
    pub(super) alternatives: Vec<Vec<AddressRequest>>,
    pub(super) notes: Vec<Note>,
    /// The object for which its addresses are kept.
    pub(super) keeper: Option<String>,
    /// Whether `sticky` applies to it.
    pub(super) is_sticky: bool,
}

/// Whether the second pod of a migrating virtual machine shares the address of the first (`ipam/machine.rs`). It does so
/// unless the address was selected at random and nobody keeps it.
pub(super) fn shares_address(
    interface: &PlannedInterface<'_>,
    alternatives: &[Vec<AddressRequest>],
    is_kept: bool,
) -> bool {
    let is_random = alternatives.iter().flatten().any(|request| request.selection == Selection::Auto);
    interface.workload.kind.is_machine() && (is_kept || !is_random)
}

/// Resolves a pod's requests on each kind of node that it may run on; fails with one refusal if all of them refuse
/// it.
pub(super) fn resolve(
    interface: &PlannedInterface<'_>,
    network: &PlannedNetwork<'_>,
    annotations: &BTreeMap<String, String>,
    pod: u32,
) -> Result<ResolvedPod, Option<Refusal>> {
    let views = network.views_for(interface.workload.nodes_of(pod));
    let (mut alternatives, mut notes, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
    let (mut keeper, mut is_sticky) = (None, false);
    // Each pod starts with another node, because the pods of a workload are spread over the nodes.
    for i in 0..views.len() {
        match resolve_on(interface, &views[(i + pod as usize) % views.len()].network, annotations, pod) {
            Ok(resolved) => {
                notes.extend(resolved.notes);
                alternatives.push(resolved.requests);
                keeper = resolved.keeper;
                is_sticky = resolved.is_sticky;
            }
            Err(refusal) => refusals.push(refusal),
        }
    }
    // Prefer the refusal of the nodes that have the address over that of nodes that don't.
    refusals.sort_by_key(|refusal| matches!(refusal, Refusal::OtherNodes { .. } | Refusal::NotOnNode { .. }));
    match alternatives.is_empty() {
        true => Err(refusals.into_iter().next()),
        false => Ok(ResolvedPod { alternatives, notes, keeper, is_sticky }),
    }
}

/// The requests of a pod on one kind of node.
struct ResolvedOnNode {
    requests: Vec<AddressRequest>,
    notes: Vec<Note>,
    keeper: Option<String>,
    is_sticky: bool,
}

/// Resolves the requests of a pod on one kind of node.
fn resolve_on(
    interface: &PlannedInterface<'_>,
    network: &Network,
    annotations: &BTreeMap<String, String>,
    pod: u32,
) -> Result<ResolvedOnNode, Refusal> {
    let workload = interface.workload;
    let read = network.annotations.then(|| Annotations::read(annotations, &interface.ifname)).transpose()?;
    let requested = (!interface.ips.is_empty())
        .then(|| RequestedAddresses { source: RequestSource::RuntimeConfig, ips: interface.ips.clone() });
    let has_ordinal = workload.kind == Kind::StatefulSet && read.as_ref().is_some_and(Annotations::has_pool);
    let inputs = Inputs {
        requested: requested.as_ref(),
        annotations: read.as_ref(),
        claim: match interface.claim {
            ClaimRef::Planned(planned) => Some(&planned.claim),
            ClaimRef::Unnamed | ClaimRef::Elsewhere(_) | ClaimRef::Refused => None,
        },
        ordinal: has_ordinal.then(|| Ordinal { pod: workload.ordinal(pod), first: workload.first_ordinal }),
        namespace: Some(&workload.namespace),
        one_per_family: None,
    };
    let (requests, mut notes) = request::resolve(network.ranges(), &inputs)?;
    let keeper = keeper(interface, network, read.as_ref(), &requests);
    if identity(interface).is_none() {
        notes.extend(read.as_ref().and_then(Annotations::sticky_in_vain));
    }
    let is_sticky = read.as_ref().is_some_and(|annotations| annotations.is_sticky(network.sticky.on));
    Ok(ResolvedOnNode { requests, notes, keeper, is_sticky })
}
