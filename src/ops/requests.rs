//! Resolves what an ADD requests, from the runtime's arguments, the pod's annotations, and the claim that those name.
//!
//! The annotations come from the runtime, if it passes them, else from the API server. A pod whose annotations can't be
//! read is refused, because it must not get a random address while a file is missing or a server is down.

use std::collections::BTreeMap;

use super::{Call, Node};
use crate::cause::chain;
use crate::cluster::ApiServer;
use crate::cni::{CniVersion, Target};
use crate::config::Network;
use crate::error::Error;
use crate::ipam::claim::Claim;
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::decide::StickyPolicy;
use crate::ipam::lease::PodRef;
use crate::ipam::machine::{MigrationRef, may_be_of_machine};
use crate::ipam::name::NameError;
use crate::ipam::pod::{Controller, Pod, Workload};
use crate::ipam::refusal::Refusal;
use crate::ipam::request::{self, AddressRequest, Annotations, Inputs, Ordinal, RequestedAddresses, Selection};
use crate::ipam::reservation::{Owner, OwnerKind};

/// The most notes on a pod's annotations that one call logs.
const MOST_NOTES: usize = 8;

/// What is known about the pod, its cluster and its node.
pub(super) trait PodFacts {
    /// This node.
    fn node(&self) -> &Node<'_>;

    /// The API server that knows this pod.
    fn api(&mut self, pod: &PodRef) -> Result<&ApiServer, Error>;

    /// The identity of this pod's cluster.
    fn cluster(&mut self, pod: &PodRef) -> ClusterIdentity;

    /// The version of the result.
    fn version(&self) -> CniVersion;

    /// Notes the claim that the pod names for the interface.
    fn note_claim(&mut self, claim: &Claim);
}

impl PodFacts for Call<'_> {
    fn node(&self) -> &Node<'_> {
        &self.node
    }

    fn api(&mut self, pod: &PodRef) -> Result<&ApiServer, Error> {
        Call::api(self, pod)
    }

    fn cluster(&mut self, pod: &PodRef) -> ClusterIdentity {
        Call::cluster(self, pod)
    }

    fn version(&self) -> CniVersion {
        self.version
    }

    fn note_claim(&mut self, claim: &Claim) {
        self.claim = Some(claim.clone());
    }
}

/// The resolved requests, and what was learned about the pod on the way.
pub(super) struct ResolvedRequests {
    /// One per range set.
    pub(super) requests: Vec<AddressRequest>,
    /// The pod's UID in the API, if it was read.
    pub(super) uid: Option<String>,
    /// The pod's workload, if it was read.
    pub(super) workload: Option<Workload>,
    /// The pod's controller, if it was read.
    pub(super) controller: Option<Controller>,
    /// The migration that has this pod as its target, according to the pod, if that was read.
    pub(super) migration: Option<MigrationRef>,
    /// The owner for whom the pod's addresses are reserved.
    pub(super) sticky_policy: Option<StickyPolicy>,
    /// The claim that owns the addresses.
    pub(super) claim: Option<Claim>,
    /// The pod's cluster.
    pub(super) cluster: ClusterIdentity,
}

/// Resolves what the attachment requests.
pub(super) fn resolve(
    facts: &mut impl PodFacts,
    network: &Network,
    target: &Target,
    requested: Option<&RequestedAddresses>,
    from_runtime: Option<&BTreeMap<String, String>>,
) -> Result<ResolvedRequests, Error> {
    let mut pod: Option<Pod> = None;
    let annotations = match from_runtime {
        _ if !network.annotations || !target.pod.is_in_a_cluster() => None,
        Some(annotations) => Some(annotations),
        None => Some(&pod.insert(facts.api(&target.pod)?.pod(&target.pod)?).annotations),
    };
    let annotations = annotations.map(|annotations| Annotations::read(annotations, &target.ifname));
    let annotations = annotations.transpose().map_err(Refusal::from)?;
    let has_pool = annotations.as_ref().is_some_and(Annotations::has_pool);
    let sticky = annotations.as_ref().is_some_and(|annotations| annotations.is_sticky(network.sticky.on));
    let reference = annotations.as_ref().and_then(Annotations::claim);
    let claim = reference.map(|name| claim(facts, network, target, name)).transpose()?;
    if (has_pool || sticky || claim.is_some()) && pod.is_none() {
        // The runtime does not pass the pod's owners.
        pod = Some(facts.api(&target.pod)?.pod(&target.pod)?);
    }
    let ordinal = match pod.as_ref().and_then(Workload::of) {
        Some(Workload::StatefulSet { name, ordinal }) if has_pool => {
            let namespace = target.pod.namespace.as_deref().unwrap_or_default();
            Some(Ordinal { pod: ordinal, first: facts.api(&target.pod)?.first_ordinal(namespace, &name)? })
        }
        _ => None,
    };
    let version = facts.version();
    let inputs = Inputs {
        requested,
        annotations: annotations.as_ref(),
        claim: claim.as_ref(),
        ordinal,
        namespace: target.pod.namespace.as_deref(),
        one_per_family: version.one_address_per_family().then(|| version.as_str()),
    };
    let (requests, mut notes) = request::resolve(network.ranges(), &inputs)?;
    if pod.is_none() && requests.iter().any(|request| matches!(request.selection, Selection::Exact(_))) {
        pod = machine_pod(facts, network, target, from_runtime)?;
    }
    let workload = pod.as_ref().and_then(Workload::of);
    let cluster = facts.cluster(&target.pod);
    let sticky_policy = match (&claim, &pod) {
        // A claim keeps its addresses until it is deleted, however long no pod uses it.
        (Some(claim), _) => Some(StickyPolicy { owner: claim.owner(cluster.id().map(str::to_owned)), ttl: None }),
        (None, Some(pod)) if sticky => {
            owner(facts, target, pod, &cluster)?.map(|owner| StickyPolicy { owner, ttl: network.sticky.ttl })
        }
        (None, _) => None,
    };
    if sticky_policy.is_none() {
        notes.extend(annotations.as_ref().and_then(Annotations::sticky_in_vain));
    }
    let more = notes.len().saturating_sub(MOST_NOTES);
    if more > 0 {
        notes.truncate(MOST_NOTES);
        tracing::warn!(
            pod = target.pod.label(),
            more,
            "the pod has more annotations without effect than are said here"
        );
    }
    for note in notes {
        let (pod, ifname) = (target.pod.label(), target.ifname.as_str());
        if note.is_suspect() {
            tracing::warn!(pod, ifname, "{note}");
        } else {
            tracing::info!(pod, ifname, "{note}");
        }
    }
    let migration = pod.as_ref().and_then(MigrationRef::from_pod);
    let (uid, controller) = pod.map(|pod| (pod.uid, pod.controller)).unzip();
    Ok(ResolvedRequests {
        requests,
        uid,
        workload,
        controller: controller.flatten(),
        migration,
        sticky_policy,
        claim,
        cluster,
    })
}

/// The API's object of the pod, if its annotations from the runtime look like those of a virtual machine's pod. While
/// the machine migrates, its two pods share an address that is requested explicitly, and only the API tells which
/// machine that is. On a node without a kubeconfig, pods can't share, but the machine's first pod still gets its
/// address.
fn machine_pod(
    facts: &mut impl PodFacts,
    network: &Network,
    target: &Target,
    from_runtime: Option<&BTreeMap<String, String>>,
) -> Result<Option<Pod>, Error> {
    let may_share = network.annotations && target.pod.is_in_a_cluster() && from_runtime.is_some_and(may_be_of_machine);
    if !may_share {
        return Ok(None);
    }
    match facts.api(&target.pod) {
        Ok(api) => Ok(Some(api.pod(&target.pod)?)),
        Err(error @ Error::NoKubeconfig { .. }) => {
            let pod = target.pod.label();
            let why = "the virtual machine of this pod can't migrate: its pods can't share this address";
            tracing::warn!(pod, error = %chain(&error), "{why}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The claim of this name in the pod's namespace. Refused if it is for another interface.
fn claim(facts: &mut impl PodFacts, network: &Network, target: &Target, name: &str) -> Result<Claim, Error> {
    let namespace = target.pod.namespace.as_deref().unwrap_or_default();
    let claim = facts.api(&target.pod)?.claim(namespace, name)?;
    claim.fits(&network.name, &target.ifname).map_err(Refusal::from)?;
    facts.note_claim(&claim);
    Ok(claim)
}

/// The owner of a pod's sticky addresses. For a virtual machine, this is the controller of its instance, which still
/// exists while the machine is stopped.
fn owner(
    facts: &mut impl PodFacts,
    target: &Target,
    pod: &Pod,
    cluster: &ClusterIdentity,
) -> Result<Option<Owner>, Error> {
    let unnamed = |error: NameError| Refusal::NoOwner { pod: format!("{}/{}", pod.namespace, pod.name), error };
    match Owner::of(pod, cluster.id().map(str::to_owned)).map_err(unnamed)? {
        Some(machine) if machine.kind == OwnerKind::VirtualMachineInstance => {
            let maker = facts.api(&target.pod)?.controller_of(&machine)?;
            Ok(Some(machine.made_by(maker.as_ref())))
        }
        owner => Ok(owner),
    }
}
