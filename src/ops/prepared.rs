//! An ADD whose requests are resolved: who asks for what, and by which rules the decision is made. A real ADD and its
//! rehearsal share it, so that both decide alike.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use super::Node;
use super::requests::{self, PodFacts, ResolvedRequests};
use crate::cni::Target;
use crate::config::{CallSettings, Network};
use crate::error::Error;
use crate::host_local::{self, HostLocalError};
use crate::ipam::claim::Claim;
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::decide::{Add, AllocationPolicy, StickyPolicy};
use crate::ipam::lease::{Began, Holder, PodRef, Unknown};
use crate::ipam::machine::MigrationRef;
use crate::ipam::name::AttachmentId;
use crate::ipam::refusal::Refusal;
use crate::ipam::request::{AddressRequest, RequestedAddresses};
use crate::record::{ReadResult, RecordState};
use crate::store::StoreConfig;

/// An ADD before its first transaction.
pub(super) struct PreparedAdd {
    pub(super) holder: Holder,
    pub(super) requests: Vec<AddressRequest>,
    /// The claim that owns the addresses.
    pub(super) claim: Option<Claim>,
    /// The migration that has this pod as its target, according to the pod.
    pub(super) migration: Option<MigrationRef>,
    policy: AllocationPolicy,
    /// Why nothing new may be assigned.
    refusal: Option<Refusal>,
}

/// What an attachment requests, and why nothing new may be assigned to it. If no range is for this node any more, the
/// attachment keeps what it has.
pub(super) fn resolve(
    facts: &mut impl PodFacts,
    network: &Network,
    id: &AttachmentId,
    target: &Target,
    requested: Option<&RequestedAddresses>,
    annotations: Option<&BTreeMap<String, String>>,
) -> Result<(ResolvedRequests, Option<Refusal>), Error> {
    match requests::resolve(facts, network, target, requested, annotations) {
        Err(Error::Refused(refusal)) if refusal.is_about_node() => {
            let Some(as_held) = network_as_held(facts.node(), network, id)? else { return Err(refusal.into()) };
            Ok((requests::resolve(facts, &as_held, target, requested, annotations)?, Some(refusal)))
        }
        resolved => Ok((resolved?, None)),
    }
}

impl PreparedAdd {
    /// An ADD of this pod's attachment, which began then.
    pub(super) fn new(
        node: &Node<'_>,
        network: &Network,
        store: &StoreConfig,
        (resolved, refusal): (ResolvedRequests, Option<Refusal>),
        (id, pod, began): (AttachmentId, &PodRef, Began),
    ) -> Result<Self, Error> {
        let ResolvedRequests { requests, uid, workload, controller, migration, sticky_policy, claim, cluster } =
            resolved;
        let mut policy = policy(node.settings, network, store, cluster, sticky_policy);
        // Only the node itself has host-local's files.
        if node.records.is_own_name(&id.node) {
            policy.host_local = held_by_host_local(node)?;
        }
        let holder = Holder {
            id,
            // For a static pod, the runtime's UID differs from the API's. Earlier sandboxes have the runtime's, so it
            // comes first.
            pod: PodRef { uid: pod.uid.clone().or(uid), ..pod.clone() },
            workload: workload.map(|workload| workload.to_string()),
            controller,
            cluster: policy.cluster.id().map(str::to_owned),
            began,
            unknown: Unknown::new(),
        };
        Ok(Self { holder, requests, claim, migration, policy, refusal })
    }

    /// The decision. The attachment may have the name that its node had at the first ADD.
    pub(super) fn machine(&self, id: AttachmentId) -> Result<Add, Refusal> {
        let add = Add::new(Holder { id, ..self.holder.clone() }, self.policy.clone(), self.requests.clone())?;
        Ok(match &self.refusal {
            Some(refusal) => add.only_repeated(refusal.clone()),
            None => add,
        })
    }
}

/// The rules of a network. Nothing is known of host-local.
pub(super) fn policy(
    settings: &CallSettings,
    network: &Network,
    store: &StoreConfig,
    cluster: ClusterIdentity,
    sticky: Option<StickyPolicy>,
) -> AllocationPolicy {
    AllocationPolicy {
        vrf: settings.vrf.clone(),
        cluster,
        cooldown: network.cooldown.seconds,
        strict: network.cooldown.strict,
        probe: network.probe,
        probe_new: network.probe_new,
        sticky,
        host_local: BTreeMap::new(),
        // If `sweep` has a mistake, no sweep runs, and no holder loses its address to another form of collection
        // either.
        min_age: settings.sweep.as_ref().ok().map(|sweep| sweep.min_age.as_secs()),
        lookahead: store.lookahead(),
    }
}

/// The network with the ranges of the addresses that this node's record has for the attachment; `None` if it has none.
/// A node can be relabelled or renamed, or a range can move to other nodes, while containers run. They keep their
/// addresses.
fn network_as_held(node: &Node<'_>, network: &Network, id: &AttachmentId) -> Result<Option<Network>, Error> {
    let (_, found) = node.records.locate(id, &node.began.boot)?;
    let ReadResult::Record(record) = found else { return Ok(None) };
    let is_held = record.held.is_some() && record.state == RecordState::Held;
    Ok(is_held.then(|| network.as_held(&record.held_addresses())))
}

fn held_by_host_local(node: &Node<'_>) -> Result<BTreeMap<IpAddr, PathBuf>, Error> {
    let held = host_local::held(&node.settings.host_local);
    held.map_err(|HostLocalError { path, error }| Error::HostLocal { path, error })
}
