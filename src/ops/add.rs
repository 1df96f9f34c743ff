//! ADD: assigns an attachment its addresses, all or none.
//!
//! The caller updates the status of the claim that owns the addresses ([`AddOutput::claim`]) after the lock is free. If
//! that update fails, the addresses may have to be released, and the release takes the same lock.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use super::Call;
use super::log::ReleaseReason;
use super::prepared::{self, PreparedAdd};
use super::recovery::Witnesses;
use super::release::release_and_log;
use super::takeover::{self, CallChecks, Requester};
use crate::cause::chain;
use crate::cni::Target;
use crate::config::Network;
use crate::error::Error;
use crate::ipam::claim::Claim;
use crate::ipam::decide::{Allocation, TakenOver};
use crate::ipam::lease::PodRef;
use crate::ipam::name::AttachmentId;
use crate::ipam::recovery::Recorded;
use crate::ipam::request::{AddressPool, AddressRequest, RequestedAddresses, Selection};
use crate::record::{Lock, Netns, ReadResult, Record, RecordState, SeenRevisions};
use crate::store::RevisionOrder;
use crate::telemetry::Phase;

/// The result of an ADD.
pub(super) struct AddOutput {
    /// The addresses, as assigned.
    pub allocation: Allocation,
    /// The claim that owns the addresses, as it was before this ADD.
    pub claim: Option<Claim>,
}

/// Serves an ADD.
pub(super) fn add(
    call: &mut Call<'_>,
    network: &Network,
    target: &Target,
    requested: Option<&RequestedAddresses>,
    annotations: Option<&BTreeMap<String, String>>,
) -> Result<AddOutput, Error> {
    // Everything that can be refused without the store is refused before anything is written.
    let store = call.node.settings.store.clone().map_err(Error::Config)?;
    // The store connects while the pod is read and the record is written. Its first use reports the errors.
    let _ = call.node.open(&store);
    let id = call.attachment(target);
    let resolved = prepared::resolve(call, network, &id, target, requested, annotations)?;
    call.enter(Phase::Config);
    let began = call.node.began.clone();
    let prepared = PreparedAdd::new(&call.node, network, &store, resolved, (id.clone(), &target.pod, began))?;
    let machine = prepared.machine(id.clone())?;

    call.enter(Phase::Record);
    let mut lock = call.node.records.lock(&id, call.node.deadline)?;
    let mut earlier = earlier(call, &lock)?;
    let mut machine = machine;
    if earlier.is_nothing()
        && let Some(other) = call.node.records.find_elsewhere(&lock, &call.node.began.boot)?
    {
        // The attachment keeps the name that its node had at the first ADD.
        machine = prepared.machine(other.clone())?;
        lock = call.node.records.lock(&other, call.node.deadline)?;
        earlier = self::earlier(call, &lock)?;
    }
    let Earlier { record: earlier, in_doubt } = earlier;
    let seen = call.node.records.seen_revisions(&store)?;
    let addresses = earlier.as_ref().map(Record::held_addresses).unwrap_or_default();
    let newest = seen.as_ref().and_then(SeenRevisions::newest);
    let mut witnesses = Witnesses::list(&call.node, &store, lock.id(), earlier.as_ref())?;
    let witness = witnesses.first(&call.node, &store)?;
    machine = machine.with_records(Recorded { newest, addresses, witness });
    if in_doubt {
        machine = machine.after_add_in_doubt();
    }
    // Only without an order of revisions, the order of records matters.
    let is_ordered = store.revision_order() == RevisionOrder::Counted;
    let before = earlier.as_ref().filter(|_| !is_ordered);
    let before = before.map(|_| call.node.records.written_at(&lock)).transpose()?;
    let record = Record {
        pod: prepared.holder.pod.clone(),
        netns: target.netns.as_deref().and_then(Netns::from_path),
        ..Record::asked(lock.id().clone(), call.node.settings.vrf.clone(), store.clone(), call.node.began.clone())
    };
    call.node.records.write(&lock, &record)?;
    let sandbox = earlier_sandbox(call, &lock, &record.pod);
    if let Some(sandbox) = &sandbox {
        machine = machine.after_sandbox(sandbox.clone());
    }

    let requester =
        Requester { pod: &target.pod, migration: prepared.migration.as_ref(), reads_pods: network.annotations };
    let mut checks = CallChecks::new(call, network, target, &store, witnesses);
    let allocation = takeover::decide(&mut checks, requester, &mut machine);
    // A container that was checked stays locked until its address has another holder.
    drop(checks);
    for (ip, foreign) in machine.recorded_foreign() {
        let mac = foreign.mac;
        tracing::warn!(%ip, %mac, "a host without a lease answers for this address; it is left alone for an hour");
    }
    call.enter(Phase::Record);
    match allocation {
        Ok(allocation) => {
            call.timer.source(if allocation.repeated {
                "repeated".to_owned()
            } else {
                source(&prepared.requests, &allocation)
            });
            for ip in &allocation.before_cooldown_ended {
                tracing::warn!(%ip, "range exhausted: reused an address before its cooldown ended; widen the range");
            }
            for given_up in &allocation.given_up {
                tracing::warn!(ip = %given_up.ip, owner = %given_up.owner, "{given_up}");
            }
            // The addresses are held. A record that still says "asked" only costs the DEL one more request.
            let record = record.holding(allocation.written());
            let relinked = sandbox.map_or(Ok(()), |_| call.node.records.relink_sandbox(&lock, &record.pod));
            let noted = seen.map_or(Ok(()), |seen| seen.note(allocation.revision));
            let assigned_at = assigned_at(earlier.as_ref(), before, &allocation).filter(|_| !is_ordered);
            let aged = || assigned_at.map_or(Ok(()), |assigned| call.node.records.set_written_at(&lock, assigned));
            let written = noted.and(call.node.records.write(&lock, &record)).and(relinked).and_then(|()| aged());
            if let Err(error) = written {
                tracing::warn!(error = %chain(&error), "the node's record could not be completed");
            }
            Ok(AddOutput { allocation, claim: prepared.claim })
        }
        Err(error) => {
            // While something may still take effect, the record keeps saying "asked".
            if !machine.is_in_doubt() && !error.is_ambiguous() {
                restore(call, &lock, earlier, before, &record.pod);
            }
            Err(error)
        }
    }
}

/// Where each address comes from, for the log: `any`, `fixed by runtimeConfig.ips`, or several of them, joined.
fn source(requests: &[AddressRequest], allocation: &Allocation) -> String {
    let mut sources: Vec<String> = Vec::new();
    let has = |ip: &IpAddr| allocation.leases.iter().any(|(leased, _)| leased == ip);
    for AddressRequest { selection, source, .. } in requests {
        let source = match selection {
            Selection::Auto => "any".to_owned(),
            Selection::Exact(ips) if !ips.iter().all(has) => {
                format!("any, since {source} serves another interface of the pod")
            }
            Selection::Exact(_) => format!("fixed by {source}"),
            Selection::OneOf(AddressPool { name: Some(name), .. }) => format!("pool {name} of {source}"),
            Selection::OneOf(_) => format!("pool of {source}"),
        };
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    let kept = allocation.leases.iter().filter_map(|(_, lease)| lease.owner.as_ref());
    for text in kept.map(|owner| format!("kept for {owner}")) {
        if !sources.contains(&text) {
            sources.push(text);
        }
    }
    let taken = allocation
        .taken_over
        .iter()
        .map(|TakenOver { ip, victim, reason }| format!("{ip} taken over from {victim}, {reason}"));
    sources.extend(taken);
    sources.join(", ")
}

/// When a repeated ADD's addresses were new, according to the record of its earlier ADD. Without one, as their leases
/// say: the store may have an entry of before a DEL again. Younger than it is, the record would hide that newer ones were
/// lost.
fn assigned_at(
    earlier: Option<&Record>,
    written_at: Option<SystemTime>,
    allocation: &Allocation,
) -> Option<SystemTime> {
    let since = || allocation.leases.iter().map(|(_, lease)| lease.since).max().map(SystemTime::from);
    let has_addresses = earlier.is_some_and(|record| record.held.is_some());
    written_at.filter(|_| has_addresses).or_else(since).filter(|_| allocation.repeated)
}

/// What this node knows about an earlier ADD of the attachment.
#[derive(Default)]
struct Earlier {
    record: Option<Record>,
    /// Whether that ADD may still take effect.
    in_doubt: bool,
}

impl Earlier {
    fn is_nothing(&self) -> bool {
        self.record.is_none() && !self.in_doubt
    }
}

/// Reads the record of an earlier ADD of this attachment. Completes an earlier DEL that was deferred.
fn earlier(call: &mut Call<'_>, lock: &Lock) -> Result<Earlier, Error> {
    match call.node.records.read(lock)? {
        ReadResult::Missing => Ok(Earlier::default()),
        ReadResult::Record(record) if record.state == RecordState::Releasing => {
            let deadline = call.node.deadline;
            release_and_log(&mut call.node, lock, *record, deadline, ReleaseReason::Deferred)?;
            Ok(Earlier::default())
        }
        ReadResult::Record(record) => Ok(Earlier { in_doubt: record.held.is_none(), record: Some(*record) }),
        ReadResult::Unreadable { path, why } => {
            tracing::warn!(path = %path.display(), why = %chain(&why), "the node's record of this attachment can't be read, and is \
                                                          replaced");
            Ok(Earlier { in_doubt: true, record: None })
        }
    }
}

/// Links this sandbox to the pod's interface, or returns the earlier sandbox that is linked already. A failure only
/// costs the pod the addresses of an earlier sandbox, so it does not fail the ADD.
fn earlier_sandbox(call: &Call<'_>, lock: &Lock, pod: &PodRef) -> Option<AttachmentId> {
    let linked = call.node.records.link_sandbox(lock, pod);
    linked.unwrap_or_else(|error| {
        tracing::warn!(error = %chain(&error), "a later sandbox of this pod will not find what this one holds");
        None
    })
}

/// Restores the record after an ADD that certainly changed nothing, with the time at which it was written if that
/// matters.
fn restore(call: &Call<'_>, lock: &Lock, earlier: Option<Record>, written_at: Option<SystemTime>, pod: &PodRef) {
    let records = &call.node.records;
    let restored = match &earlier {
        Some(record) => records
            .write(lock, record)
            .and_then(|()| written_at.map_or(Ok(()), |written| records.set_written_at(lock, written))),
        None => records.remove(lock, pod),
    };
    if let Err(error) = restored {
        // The record says "asked", so the DEL writes a fence without need.
        tracing::warn!(error = %chain(&error), "the node's record could not be put back");
    }
}
