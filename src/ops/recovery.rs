//! A node's part in a recovery: it looks for signs of lost writes, writes back its records, and reports itself done.
//!
//! ```text
//!  any call that finds a recovery, or a sign ─┐
//!  sweep --node, sweep --marked (installer) ──┴► look ─► begin ─► write back each record ─► done ─► end, once all are
//! ```

mod compare;
mod witness;

use std::net::IpAddr;

pub(super) use self::compare::{RecordComparison, compare_records};
pub(super) use self::witness::Witnesses;
use super::{Node, Session};
use crate::cause::{Cause, chain};
use crate::cluster::ApiServer;
use crate::config::CallSettings;
use crate::deadline::Deadline;
use crate::error::{Error, paths};
use crate::ipam::decide::Evict;
use crate::ipam::lease::{Holder, PodRef, Written};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::recovery::{
    Begin, Begun, Conflict, EntryState, Examine, Progress, Recovery, Sign, Survey, UpdateRecovery, WriteBack,
    WrittenBack,
};
use crate::ipam::takeover::{GoneReason, InUseReason, check_holder, is_complete};
use crate::record::{ReadResult, Record, RecordState};
use crate::store::{Revision, StoreConfig};

/// What this node did in a recovery.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RecoveryShare {
    /// Attachments that were written back to the store.
    pub written_back: Vec<AttachmentId>,
    /// Attachments that can't be written back yet, each with its error.
    pub failed: Vec<(AttachmentId, String)>,
    /// Nodes that are not done; empty once the recovery has ended.
    pub missing: Vec<Name>,
    /// Why the missing nodes are unknown.
    pub unknown: Option<String>,
    /// Whether the recovery has ended.
    pub ended: bool,
}

/// Compares this node's records with the store, and begins a recovery if a record shows that the store has lost writes.
pub(super) fn look_for_signs(
    node: &mut Node<'_>,
    store: &StoreConfig,
    deadline: Deadline,
) -> Result<Option<Sign>, Error> {
    let newest = node.records.seen_revisions(store)?.and_then(|seen| seen.newest());
    let (at, _) = node.open(store)?.decide(&mut Survey, deadline)?;
    let mut sign = Sign::behind(at, newest, false);
    for id in node.records.all()? {
        if sign.is_some() {
            break;
        }
        sign = examine(node, &id, store, deadline)?;
    }
    if let Some(sign) = &sign {
        begin(node, store, sign, deadline)?;
    }
    Ok(sign)
}

/// Whether the store has lost an attachment of this node. Confirms it under the attachment's lock, because a call may
/// be changing it.
pub(super) fn examine(
    node: &mut Node<'_>,
    id: &AttachmentId,
    store: &StoreConfig,
    deadline: Deadline,
) -> Result<Option<Sign>, Error> {
    examine_within(node, id, store, deadline, deadline)
}

/// The same, with a deadline of its own for the lock.
fn examine_within(
    node: &mut Node<'_>,
    id: &AttachmentId,
    store: &StoreConfig,
    deadline: Deadline,
    lock_deadline: Deadline,
) -> Result<Option<Sign>, Error> {
    let Some((_, written)) = recorded(node, id, store)? else { return Ok(None) };
    let entry_state = look(node, id, written, store, deadline)?;
    if !matches!(entry_state, EntryState::Lost(_) | EntryState::Changed(_)) {
        return Ok(None);
    }
    let lock = node.records.lock(id, lock_deadline)?;
    let Some((record, written)) = recorded(node, id, store)? else { return Ok(None) };
    match look(node, id, written, store, deadline)? {
        EntryState::Lost(sign) if !is_gone(node, &record) => Ok(Some(sign)),
        // The trace in the store expires. The record must not expect it any longer, or its absence would look like a
        // loss.
        EntryState::Changed(left) => Ok(node.records.update(&lock, &record.holding(*left)).map(|()| None)?),
        _ => Ok(None),
    }
}

/// Begins a recovery because of a sign that a call has found. A failure does not fail the call.
pub(super) fn report(node: &mut Node<'_>, record: &Record, sign: &Sign, deadline: Deadline) {
    // An earlier attempt of the release may have taken effect, and a container that is gone needs no addresses.
    let is_of_record = !matches!(sign, Sign::Behind { .. });
    if is_of_record && (record.state != RecordState::Held || record.deleting || is_gone(node, record)) {
        return;
    }
    node.saw_recovery = true;
    if let Err(error) = begin(node, &record.store, sign, deadline) {
        tracing::warn!(error = %error.full(), %sign, "the store went back in time, and that could not be written into \
                                                      it");
    }
}

/// Begins a recovery if the store has lost an attachment that a call did not find in it.
pub(super) fn report_if_lost(node: &mut Node<'_>, id: &AttachmentId, store: &StoreConfig, deadline: Deadline) {
    let found = examine(node, id, store, deadline).and_then(|sign| match sign {
        Some(sign) => begin(node, store, &sign, deadline).map(|()| true),
        None => Ok(false),
    });
    match found {
        Ok(saw) => node.saw_recovery |= saw,
        Err(error) => tracing::debug!(error = %error.full(), "could not check whether the store has lost this \
            attachment"),
    }
}

/// Begins a recovery, unless one has begun.
pub(super) fn begin(node: &mut Node<'_>, store: &StoreConfig, sign: &Sign, deadline: Deadline) -> Result<(), Error> {
    let name = node.settings.node.clone();
    let recovery = Recovery::new(sign.to_string(), Some(name), jiff::Timestamp::now());
    if node.open(store)?.decide(&mut Begin::new(recovery), deadline)? == Begun::Now {
        tracing::error!(%sign, "the store went back in time; no addresses are assigned until all nodes have written back \
                                theirs");
    }
    Ok(())
}

/// Does this node's part in a recovery; `None` if there is none.
pub(super) fn take_part(
    node: &mut Node<'_>,
    store: &StoreConfig,
    deadline: Deadline,
) -> Result<Option<RecoveryShare>, Error> {
    let (_, progress) = node.open(store)?.decide(&mut Survey, deadline)?;
    let Some((mut current, recovery)) = progress.current.clone() else { return Ok(None) };
    let mut part = RecoveryShare::default();
    for id in node.records.all()? {
        match write_back(node, &id, store, &progress, deadline) {
            Ok(true) => part.written_back.push(id),
            Ok(false) => {}
            Err(error) => part.failed.push((id, error.full().to_string())),
        }
    }
    if !part.failed.is_empty() {
        return Ok(Some(part));
    }
    let name = node.settings.node.clone();
    if progress.done.contains_key(&name) && !part.written_back.is_empty() {
        // The store has lost writes again since this node was done, so every node must check again.
        let again = Recovery { since: recovery.since, ..recovery };
        node.open(store)?.decide(&mut Begin::instead_of(again, current), deadline)?;
        match survey(node, store, deadline)?.1.current {
            Some((revision, _)) => current = revision,
            None => return Ok(Some(part)),
        }
    }
    // Revisions from before the loss would be a sign of another one.
    let (at, _) = survey(node, store, deadline)?;
    if let Some(mut seen) = node.records.seen_revisions(store)? {
        seen.reset(Some(at))?;
    }
    node.open(store)?.decide(&mut UpdateRecovery::node_done(name, current), deadline)?;
    end_if_all_are_done(node, store, deadline, &mut part)?;
    Ok(Some(part))
}

fn survey(node: &mut Node<'_>, store: &StoreConfig, deadline: Deadline) -> Result<(Revision, Progress), Error> {
    node.open(store)?.decide(&mut Survey, deadline)
}

/// Ends the recovery once every node that uses the store is done.
fn end_if_all_are_done(
    node: &mut Node<'_>,
    store: &StoreConfig,
    deadline: Deadline,
    part: &mut RecoveryShare,
) -> Result<(), Error> {
    let (_, progress) = survey(node, store, deadline)?;
    let Some(mut end) = UpdateRecovery::end(&progress) else {
        part.ended = true;
        return Ok(());
    };
    let nodes = match nodes(node.settings, store, deadline) {
        Ok(nodes) => nodes,
        Err(why) => {
            part.unknown = Some(why);
            return Ok(());
        }
    };
    part.missing = progress.missing(&nodes).into_iter().cloned().collect();
    if part.missing.is_empty() {
        part.ended = node.open(store)?.decide(&mut end, deadline)?;
        tracing::warn!("the recovery of the store is over; addresses are assigned again");
    }
    Ok(())
}

/// The nodes that use a store: this one if it is embedded, else those that the API server lists. `Err` says why they
/// are unknown.
pub fn nodes(settings: &CallSettings, store: &StoreConfig, deadline: Deadline) -> Result<Vec<Name>, String> {
    match store {
        StoreConfig::Embedded { .. } => Ok(vec![settings.node.clone()]),
        StoreConfig::Etcd(_) | StoreConfig::Kubernetes(_) => {
            let kubeconfig = settings.kubeconfigs.iter().find(|path| path.exists());
            let kubeconfig =
                kubeconfig.ok_or_else(|| format!("there is no kubeconfig at {}", paths(&settings.kubeconfigs)))?;
            let nodes = ApiServer::open(kubeconfig, deadline).and_then(|api| api.nodes());
            nodes.map_err(|error| Error::from(error).full().to_string())
        }
    }
}

/// Checks with the API server that a holder's pod is gone.
fn check_pod(node: &mut Node<'_>, pod: &PodRef) -> Result<GoneReason, InUseReason> {
    let found = node.api(pod).and_then(|api| Ok(api.lookup_pod(pod)?));
    found.map_err(|error| InUseReason::LookupFailed(Cause::new(error))).and_then(|found| check_holder(pod, &found))
}

/// The record of an attachment with addresses from this store.
fn recorded(node: &Node<'_>, id: &AttachmentId, store: &StoreConfig) -> Result<Option<(Record, Written)>, Error> {
    Ok(match node.records.peek(id)? {
        ReadResult::Record(record) if record.runs_on(store) => record.held.clone().map(|written| (*record, written)),
        ReadResult::Unreadable { path, why } => {
            tracing::warn!(path = %path.display(), why = %chain(&why), "the node's record says nothing of what runs");
            None
        }
        _ => None,
    })
}

fn look(
    node: &mut Node<'_>,
    id: &AttachmentId,
    written: Written,
    store: &StoreConfig,
    deadline: Deadline,
) -> Result<EntryState, Error> {
    Ok(node.open(store)?.decide(&mut Examine::new(store.revision_order(), id.clone(), written), deadline)?.1)
}

/// Whether the container that used the attachment's addresses is certainly gone.
fn is_gone(node: &Node<'_>, record: &Record) -> bool {
    record.netns.as_ref().is_some_and(|netns| netns.is_gone(&record.began.boot, &node.began.boot))
}

/// Writes back an attachment that the store has lost. Returns `false` if the store has it, or if it has no container
/// left.
fn write_back(
    node: &mut Node<'_>,
    id: &AttachmentId,
    store: &StoreConfig,
    progress: &Progress,
    deadline: Deadline,
) -> Result<bool, Error> {
    // An ADD that began before the recovery may be about to complete its record, so this takes the lock first.
    let lock = node.records.lock(id, deadline)?;
    let Some((record, written)) = recorded(node, id, store)? else { return Ok(false) };
    if is_gone(node, &record) {
        return Ok(false);
    }
    let mut lost = Vec::new();
    loop {
        let mut machine = WriteBack::new(store.revision_order(), id.clone(), written.clone()).without(lost.clone());
        match node.open(store)?.decide(&mut machine, deadline)? {
            WrittenBack::NothingLost(_) => return Ok(false),
            WrittenBack::Back(written) => {
                tracing::warn!(attachment = %id, ?lost, "written back into the store");
                node.records.write(&lock, &record.holding(*written))?;
                return Ok(true);
            }
            WrittenBack::Conflicts(conflicts) => {
                for conflict in conflicts {
                    let Conflict { ip, revision, ref holder } = conflict;
                    match whose(node, id, &conflict, progress)? {
                        Whose::Nobodys(why) => {
                            let vrf = written.attachment.vrf.clone();
                            node.open(store)?
                                .decide(&mut Evict::new(vrf, ip, revision).keeping_reservation(), deadline)?;
                            tracing::warn!(%ip, attachment = %id, why, "the holder of before the loss has ended");
                        }
                        Whose::Theirs(why) => {
                            let holder = holder.as_ref().map(ToString::to_string);
                            tracing::error!(
                                %ip, attachment = %id, holder, %why,
                                "two pods have one address: it was assigned again before the loss was noticed; \
                                 delete one of them"
                            );
                            lost.push(ip);
                        }
                    }
                }
            }
        }
    }
}

/// Who keeps an address that the store has for another holder.
enum Whose {
    /// This attachment: that holder has ended since the backup, for this reason.
    Nobodys(String),
    /// That holder, which still runs.
    Theirs(InUseReason),
}

fn whose(node: &mut Node<'_>, id: &AttachmentId, conflict: &Conflict, progress: &Progress) -> Result<Whose, Error> {
    let Conflict { ip, holder, .. } = conflict;
    let Some(holder) = holder else { return Ok(Whose::Theirs(InUseReason::NoPodNamed)) };
    let is_own = holder.id.node == node.settings.node;
    let ended = if is_own { has_ended_here(node, &holder.id, *ip)? } else { has_ended(node, holder) };
    match ended {
        Ok(why) => Ok(Whose::Nobodys(why)),
        // The node of that holder has written back its records, so the store is right about it.
        Err(why) if is_own || progress.done.contains_key(&holder.id.node) => match why {
            InUseReason::LookupFailed(_) | InUseReason::NotChecked => Err(not_for_now(id, conflict, why)),
            why => Ok(Whose::Theirs(why)),
        },
        Err(why) => Err(not_for_now(id, conflict, why)),
    }
}

fn not_for_now(id: &AttachmentId, conflict: &Conflict, why: InUseReason) -> Error {
    let (ip, holder) = (conflict.ip, conflict.holder.clone());
    Error::NotWrittenBack { attachment: Box::new(id.clone()), ip, holder, why: Box::new(why) }
}

/// Whether an attachment of this node has lost an address, according to its record. That is written before the ADD's
/// first transaction and removed after the release.
fn has_ended_here(node: &Node<'_>, id: &AttachmentId, ip: IpAddr) -> Result<Result<String, InUseReason>, Error> {
    let has = |record: &Record| record.held.as_ref().map(|held| held.leases.iter().any(|(leased, _)| *leased == ip));
    Ok(match node.records.peek(id)? {
        ReadResult::Missing => Ok("it was released".to_owned()),
        ReadResult::Record(record) if record.state == RecordState::Held => match has(&record) {
            Some(false) => Ok("it has another address by now".to_owned()),
            _ => Err(InUseReason::NoPodNamed),
        },
        // A call is changing it, or its DEL is still to come.
        _ => Err(InUseReason::NotChecked),
    })
}

/// Whether a holder on another node has ended, according to the API server.
fn has_ended(node: &mut Node<'_>, holder: &Holder) -> Result<String, InUseReason> {
    if holder.cluster != node.settings.cluster {
        return Err(InUseReason::OtherCluster);
    }
    if !is_complete(&holder.pod) {
        return Err(InUseReason::NoPodNamed);
    }
    check_pod(node, &holder.pod).map(|reason| format!("its pod is {reason}"))
}

/// The progress of a recovery.
pub fn progress(session: &Session, deadline: Deadline) -> Result<Progress, Error> {
    Ok(session.decide(&mut Survey, deadline)?.1)
}
