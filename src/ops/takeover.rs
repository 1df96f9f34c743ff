//! Runs the decision of an ADD, with the checks that it asks for.
//!
//! If another holder has a requested address, or if it is reserved for an owner, the API server is asked about the
//! holder's pod, the virtual machine of both pods, or the owner. If the network wants it, the link is probed for such
//! addresses and for new ones. The decision continues with each result.

use std::net::IpAddr;

use jiff::Timestamp;

use super::Call;
use super::containers::{self, Containers};
use crate::cause::{Cause, chain};
use crate::cni::Target;
use crate::config::Network;
use crate::error::Error;
use crate::ipam::decide::{Add, Allocation};
use crate::ipam::lease::PodRef;
use crate::ipam::machine::{JoinError, JoinQuestion, MigrationRef, check_instance, check_migration};
use crate::ipam::reservation::{Owner, OwnerError};
use crate::ipam::takeover::{GoneReason, InUseReason, PendingCheck, Probe, ProbeResult, check_holder};
use crate::store::StoreConfig;
use crate::telemetry::Phase;
use crate::wire::{self, Claim, Conflict};

/// Runs an ADD until it is done. It checks nothing unless a held address is in the way, and probes only if the network
/// wants it.
pub(super) fn decide(
    call: &mut Call<'_>,
    network: &Network,
    target: &Target,
    migration: Option<&MigrationRef>,
    store: &StoreConfig,
    machine: &mut Add,
) -> Result<Allocation, Error> {
    let deadline = call.node.deadline;
    let mut containers = Containers::default();
    let (mut asked, mut made_room) = (false, false);
    loop {
        call.enter(Phase::Store);
        let refusal = match call.node.open(store).and_then(|session| session.decide(machine, deadline)) {
            Err(Error::Refused(refusal)) => refusal,
            // An earlier round may have had no response.
            Err(error) if asked && machine.is_in_doubt() => return Err(error.with_ambiguity()),
            done => return done,
        };
        let is_full = machine.lacks_room() && !std::mem::replace(&mut made_room, true);
        if is_full && containers::make_room(&mut call.node, store) > 0 {
            machine.search_again();
        } else if let Some(check) = machine.pending_check() {
            match check {
                PendingCheck::Pod(pod) => {
                    let result = check_pod(call, network, &pod);
                    machine.record_pod(pod, result);
                }
                PendingCheck::Container(id) => {
                    let result = containers.check(&call.node, &id);
                    machine.record_container(id, result);
                }
                PendingCheck::Join(question) => {
                    let result = is_of_one_machine(call, migration, &question);
                    machine.record_join(question.holder, result);
                }
                PendingCheck::Owner(owner) => {
                    let result = is_of_owner(call, &target.pod, &owner);
                    machine.record_owner(result);
                }
            }
        } else {
            let to_probe = machine.to_probe();
            if to_probe.is_empty() {
                return Err(refusal.into());
            }
            // A takeover may continue without a probe. A new address is left to the next attempt, which can probe it.
            if let Some(unprobed) =
                wire::check_time(deadline).err().and_then(|error| machine.unprobed(Cause::new(error)))
            {
                return Err(unprobed.into());
            }
            for (ip, result) in probe(call, target, &to_probe) {
                if let ProbeResult::NotProbed(cause) = &result
                    && (network.probe != Probe::Required || machine.is_new(ip))
                {
                    tracing::warn!(%ip, why = %chain(cause), "using an address without a probe");
                }
                machine.record_probe(ip, result, Timestamp::now());
            }
        }
        asked = true;
    }
}

/// Probes the link for addresses that are about to be used.
fn probe(call: &mut Call<'_>, target: &Target, ips: &[IpAddr]) -> Vec<(IpAddr, ProbeResult)> {
    call.enter(Phase::Wire);
    let ifname = || target.ifname.clone();
    let conflicts =
        wire::probe(target.netns.as_deref(), target.ifname.as_str(), ips, call.node.deadline).map_err(Cause::new);
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

/// Checks with the API server that a holder's pod is gone.
fn check_pod(call: &mut Call<'_>, network: &Network, pod: &PodRef) -> Result<GoneReason, InUseReason> {
    if !network.annotations {
        return Err(InUseReason::ChecksDisabled);
    }
    let found = call.api(pod).and_then(|api| Ok(api.lookup_pod(pod)?));
    found.map_err(|error| InUseReason::LookupFailed(Cause::new(error))).and_then(|found| check_holder(pod, &found))
}

/// Checks with KubeVirt that the requesting pod and a holder's pod are the two pods of a migrating machine.
fn is_of_one_machine(
    call: &mut Call<'_>,
    migration: Option<&MigrationRef>,
    asked: &JoinQuestion,
) -> Result<(), JoinError> {
    let named = migration.ok_or(JoinError::NoMigration)?;
    let namespace = asked.pod.namespace.as_deref().unwrap_or_default();
    let not_told = |error: Error| JoinError::LookupFailed(Cause::new(error.with_details()));
    let api = call.api(&asked.pod).map_err(not_told)?;
    let found = api.migration(namespace, &named.name).map_err(|error| not_told(error.into()))?;
    check_migration(asked, named, &found)?;
    let found = api.instance(namespace, &asked.instance.name).map_err(|error| not_told(error.into()))?;
    check_instance(asked, &found)
}

/// Checks that the owner in the pod's metadata exists in the API, with the same UID.
fn is_of_owner(call: &mut Call<'_>, pod: &PodRef, owner: &Owner) -> Result<(), OwnerError> {
    let found = call.api(pod).and_then(|api| Ok(api.owner_uid(owner)?));
    owner.check(found.map_err(|error| OwnerError::LookupFailed(Cause::new(error.with_details())))?)
}
