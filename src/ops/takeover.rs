//! What an ADD does about addresses that somebody else holds, or that are kept for an owner: it asks the API server about the
//! holder's pod, about the virtual machine of both pods, or about the owner; then the wire about the address, where the
//! network wants that; and goes on with the answers.

use std::net::IpAddr;

use super::Call;
use super::containers::{self, Containers};
use crate::cni::Target;
use crate::config::Network;
use crate::error::Error;
use crate::ipam::decide::{Add, Granted};
use crate::ipam::lease::PodRef;
use crate::ipam::machine::{JoinError, JoinQuestion, MigrationRef, check_instance, check_migration};
use crate::ipam::reservation::{Owner, OwnerError};
use crate::ipam::takeover::{Heard, Probe, Question, Shown, Unshown, verdict};
use crate::store::StoreConfig;
use crate::telemetry::Phase;
use crate::wire;

/// Drives an ADD to its end. Nobody is asked anything unless a held address stands in its way.
pub(super) fn decide(
    call: &mut Call<'_>,
    network: &Network,
    target: &Target,
    migration: Option<&MigrationRef>,
    store: &StoreConfig,
    machine: &mut Add,
) -> Result<Granted, Error> {
    let until = call.node.until;
    let mut containers = Containers::default();
    let (mut asked, mut made_room) = (false, false);
    loop {
        call.enter(Phase::Store);
        let refusal = match call.node.open(store).and_then(|session| session.decide(machine, until)) {
            Err(Error::Refused(refusal)) => refusal,
            // An earlier round may have got no answer.
            Err(error) if asked && machine.is_unsettled() => return Err(error.after_silence()),
            done => return done,
        };
        let is_full = machine.lacks_room() && !std::mem::replace(&mut made_room, true);
        if is_full && containers::make_room(&mut call.node, store) > 0 {
            machine.search_again();
        } else if let Some(question) = machine.question() {
            match question {
                Question::Pod(pod) => {
                    let verdict = judge(call, network, &pod);
                    machine.judged(pod, verdict);
                }
                Question::Container(id) => {
                    let verdict = containers.judge(&call.node, &id);
                    machine.judged_by_node(id, verdict);
                }
                Question::Join(asked) => {
                    let verdict = is_of_one_machine(call, migration, &asked);
                    machine.judged_join(asked.holder, verdict);
                }
                Question::Owner(owner) => {
                    let verdict = is_of_owner(call, &target.pod, &owner);
                    machine.judged_owner(verdict);
                }
            }
        } else {
            let unheard = machine.unheard();
            if unheard.is_empty() {
                return Err(refusal.into());
            }
            for (ip, heard) in listen(call, target, &unheard) {
                if let Heard::NotAsked(why) = &heard
                    && network.probe != Probe::Required
                {
                    tracing::warn!(%ip, %why, "taking an address over without a probe");
                }
                machine.heard(ip, heard);
            }
        }
        asked = true;
    }
}

/// What the wire says of addresses that are about to pass: the first answer, or that there is none for any of them.
fn listen(call: &mut Call<'_>, target: &Target, unheard: &[IpAddr]) -> Vec<(IpAddr, Heard)> {
    call.enter(Phase::Wire);
    let of_all = |heard: Heard| unheard.iter().map(|ip| (*ip, heard.clone())).collect();
    match wire::probe(target.netns.as_deref(), target.ifname.as_str(), unheard, call.node.until) {
        Ok(Some(wire::Conflict { ip, mac })) => vec![(ip, Heard::Answer { mac, ifname: target.ifname.clone() })],
        Ok(None) => of_all(Heard::Silence),
        Err(why) => of_all(Heard::NotAsked(why.to_string())),
    }
}

/// Whether the API server shows that a pod needs its addresses no more.
fn judge(call: &mut Call<'_>, network: &Network, pod: &PodRef) -> Result<Shown, Unshown> {
    if !network.annotations {
        return Err(Unshown::NotRead);
    }
    let told = call.api(pod).and_then(|api| Ok(api.lookup_pod(pod)?));
    told.map_err(|error| Unshown::NotTold(error.to_string())).and_then(|told| verdict(pod, &told))
}

/// Whether KubeVirt has the pod that asks and the one of a holder as the two pods of a machine that migrates.
fn is_of_one_machine(
    call: &mut Call<'_>,
    migration: Option<&MigrationRef>,
    asked: &JoinQuestion,
) -> Result<(), JoinError> {
    let named = migration.ok_or(JoinError::NoMigration)?;
    let namespace = asked.pod.namespace.as_deref().unwrap_or_default();
    let not_told = |error: Error| JoinError::NotTold(error.full().to_string());
    let api = call.api(&asked.pod).map_err(not_told)?;
    let found = api.migration(namespace, &named.name).map_err(|error| not_told(error.into()))?;
    check_migration(asked, named, &found)?;
    let found = api.instance(namespace, &asked.instance.name).map_err(|error| not_told(error.into()))?;
    check_instance(asked, &found)
}

/// Whether the API has the owner that a pod names, with the UID that it names.
fn is_of_owner(call: &mut Call<'_>, pod: &PodRef, owner: &Owner) -> Result<(), OwnerError> {
    let found = call.api(pod).and_then(|api| Ok(api.owner_uid(owner)?));
    owner.check(found.map_err(|error| OwnerError::NotTold(error.full().to_string()))?)
}
