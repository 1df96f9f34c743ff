//! Runs the decision of an ADD, with the checks that it asks for.
//!
//! If another holder has a requested address, or if it is reserved for an owner, the API server is asked about the
//! holder's pod, the virtual machine of both pods, or the owner. If the network wants it, the link is probed for such
//! addresses and for new ones. The decision continues with each result.

use std::net::IpAddr;

use jiff::Timestamp;

use super::Call;
use super::containers::{self, Containers};
use super::recovery::Witnesses;
use crate::cause::{Cause, chain};
use crate::cluster::ApiServer;
use crate::cni::Target;
use crate::config::Network;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::decide::{Add, Allocation};
use crate::ipam::lease::PodRef;
use crate::ipam::machine::{JoinError, JoinQuestion, MigrationRef, check_instance, check_migration};
use crate::ipam::name::AttachmentId;
use crate::ipam::recovery::Witness;
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::{Owner, OwnerError};
use crate::ipam::takeover::{GoneReason, InUseReason, PendingCheck, Probe, ProbeResult, check_holder};
use crate::store::StoreConfig;
use crate::telemetry::Phase;
use crate::wire::{self, Claim, Conflict};

/// What answers a decision: a store, an API server, this node and the link. A real ADD may wait and write; a rehearsal
/// only reads.
pub(super) trait Checks {
    /// Runs the decision on the store.
    fn decide(&mut self, machine: &mut Add) -> Result<Allocation, Error>;

    /// The API server that knows this pod.
    fn api(&mut self, pod: &PodRef) -> Result<&ApiServer, Error>;

    /// Checks that a container of this node is gone.
    fn check_container(&mut self, id: &AttachmentId) -> Result<GoneReason, InUseReason>;

    /// Releases what nobody on this node uses any more. Returns the number of attachments.
    fn make_room(&mut self) -> usize;

    /// Compares a recorded attachment with the store, which has another entry of it. Refused if the store has lost it;
    /// else the next one to compare.
    fn next_witness(&mut self, differing: &AttachmentId) -> Result<Option<Witness>, Error>;

    /// Probes the link for addresses that are about to be used. Refused if a new address can't be probed in time.
    fn probe(&mut self, machine: &Add, ips: &[IpAddr]) -> Result<Vec<(IpAddr, ProbeResult)>, Refusal>;
}

/// The pod for which a decision asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Requester<'a> {
    pub(super) pod: &'a PodRef,
    /// The migration that has this pod as its target, according to the pod.
    pub(super) migration: Option<&'a MigrationRef>,
    /// Whether the network reads pods (`annotations`). If not, no API server is asked about holders.
    pub(super) reads_pods: bool,
}

/// Runs an ADD until it is done. It checks nothing unless a held address is in the way, and probes only if the network
/// wants it.
pub(super) fn decide(
    checks: &mut impl Checks,
    requester: Requester<'_>,
    machine: &mut Add,
) -> Result<Allocation, Error> {
    let (mut asked, mut made_room) = (false, false);
    loop {
        let refusal = match checks.decide(machine) {
            Err(Error::Refused(refusal)) => refusal,
            // An earlier round may have had no response.
            Err(error) if asked && machine.is_in_doubt() => return Err(error.with_ambiguity()),
            done => return done,
        };
        if let Some(id) = machine.to_examine().cloned() {
            let next = checks.next_witness(&id)?;
            machine.set_witness(next);
            continue;
        }
        let is_full = machine.lacks_room() && !std::mem::replace(&mut made_room, true);
        if is_full && checks.make_room() > 0 {
            machine.search_again();
        } else if let Some(check) = machine.pending_check() {
            match check {
                PendingCheck::Pod(pod) => {
                    let result = check_pod(checks, requester, &pod);
                    machine.record_pod(pod, result);
                }
                PendingCheck::Container(id) => {
                    let result = checks.check_container(&id);
                    machine.record_container(id, result);
                }
                PendingCheck::Join(question) => {
                    let result = is_of_one_machine(checks, requester, &question);
                    machine.record_join(question.holder, result);
                }
                PendingCheck::Owner(owner) => {
                    let result = is_of_owner(checks, requester, &owner);
                    machine.record_owner(result);
                }
            }
        } else {
            let to_probe = machine.to_probe();
            if to_probe.is_empty() {
                return Err(refusal.into());
            }
            for (ip, result) in checks.probe(machine, &to_probe)? {
                machine.record_probe(ip, result, Timestamp::now());
            }
        }
        asked = true;
    }
}

/// Checks with the API server that a holder's pod is gone.
fn check_pod(checks: &mut impl Checks, requester: Requester<'_>, pod: &PodRef) -> Result<GoneReason, InUseReason> {
    if !requester.reads_pods {
        return Err(InUseReason::ChecksDisabled);
    }
    let found = checks.api(pod).and_then(|api| Ok(api.lookup_pod(pod)?));
    found.map_err(|error| InUseReason::LookupFailed(Cause::new(error))).and_then(|found| check_holder(pod, &found))
}

/// Checks with KubeVirt that the requesting pod and a holder's pod are the two pods of a migrating machine.
fn is_of_one_machine(
    checks: &mut impl Checks,
    requester: Requester<'_>,
    asked: &JoinQuestion,
) -> Result<(), JoinError> {
    let named = requester.migration.ok_or(JoinError::NoMigration)?;
    let namespace = asked.pod.namespace.as_deref().unwrap_or_default();
    let not_told = |error: Error| JoinError::LookupFailed(Cause::new(error.with_details()));
    let api = checks.api(&asked.pod).map_err(not_told)?;
    let found = api.migration(namespace, &named.name).map_err(|error| not_told(error.into()))?;
    check_migration(asked, named, &found)?;
    let found = api.instance(namespace, &asked.instance.name).map_err(|error| not_told(error.into()))?;
    check_instance(asked, &found)
}

/// Checks that the owner in the pod's metadata exists in the API, with the same UID.
fn is_of_owner(checks: &mut impl Checks, requester: Requester<'_>, owner: &Owner) -> Result<(), OwnerError> {
    let found = checks.api(requester.pod).and_then(|api| Ok(api.owner_uid(owner)?));
    owner.check(found.map_err(|error| OwnerError::LookupFailed(Cause::new(error.with_details())))?)
}

/// The checks of a real ADD.
pub(super) struct CallChecks<'a, 'call> {
    call: &'a mut Call<'call>,
    network: &'a Network,
    target: &'a Target,
    store: &'a StoreConfig,
    containers: Containers,
    witnesses: Witnesses,
}

impl<'a, 'call> CallChecks<'a, 'call> {
    pub(super) fn new(
        call: &'a mut Call<'call>,
        network: &'a Network,
        target: &'a Target,
        store: &'a StoreConfig,
        witnesses: Witnesses,
    ) -> Self {
        Self { call, network, target, store, containers: Containers::default(), witnesses }
    }
}

impl Checks for CallChecks<'_, '_> {
    fn decide(&mut self, machine: &mut Add) -> Result<Allocation, Error> {
        self.call.enter(Phase::Store);
        let deadline = self.call.node.deadline;
        self.call.node.open(self.store).and_then(|session| session.decide(machine, deadline))
    }

    fn api(&mut self, pod: &PodRef) -> Result<&ApiServer, Error> {
        self.call.api(pod)
    }

    fn check_container(&mut self, id: &AttachmentId) -> Result<GoneReason, InUseReason> {
        self.containers.check(&self.call.node, id)
    }

    fn make_room(&mut self) -> usize {
        containers::make_room(&mut self.call.node, self.store)
    }

    fn next_witness(&mut self, differing: &AttachmentId) -> Result<Option<Witness>, Error> {
        let deadline = self.call.node.deadline;
        self.witnesses.after(&mut self.call.node, self.store, differing, deadline)
    }

    fn probe(&mut self, machine: &Add, ips: &[IpAddr]) -> Result<Vec<(IpAddr, ProbeResult)>, Refusal> {
        let deadline = self.call.node.deadline;
        // A takeover may continue without a probe. A new address is left to the next attempt, which can probe it.
        if let Some(unprobed) = wire::check_time(deadline).err().and_then(|error| machine.unprobed(Cause::new(error))) {
            return Err(unprobed);
        }
        self.call.enter(Phase::Wire);
        let results = probe(self.target, ips, deadline);
        for (ip, result) in &results {
            if let ProbeResult::NotProbed(cause) = result
                && (self.network.probe != Probe::Required || machine.is_new(*ip))
            {
                tracing::warn!(%ip, why = %chain(cause), "using an address without a probe");
            }
        }
        Ok(results)
    }
}

/// Probes the link for addresses that are about to be used.
fn probe(target: &Target, ips: &[IpAddr], deadline: Deadline) -> Vec<(IpAddr, ProbeResult)> {
    let ifname = || target.ifname.clone();
    let conflicts = wire::probe(target.netns.as_deref(), target.ifname.as_str(), ips, deadline).map_err(Cause::new);
    let result_for = |ip: &IpAddr| match &conflicts {
        Err(error) => ProbeResult::NotProbed(error.clone()),
        Ok(conflicts) => match conflicts.iter().find(|conflict| conflict.ip == *ip) {
            None => ProbeResult::NoReply,
            Some(Conflict { mac, claim: Claim::InUse, .. }) => ProbeResult::Conflict { mac: *mac, ifname: ifname() },
            Some(Conflict { mac, claim: Claim::Probing, .. }) => ProbeResult::Contended { mac: *mac, ifname: ifname() },
        },
    };
    ips.iter().map(|ip| (*ip, result_for(ip))).collect()
}
