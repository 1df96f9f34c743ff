//! Checks of this node's own containers that no API server knows: those of podman, nomad, or a kubelet without a
//! cluster.
//!
//! A container is gone if the network namespace in its record is gone, or if the node has rebooted since the ADD of the
//! record. The record decides, not the store: an ADD that podman repeats after a reboot leaves the store unchanged.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::Node;
use super::log::ReleaseReason;
use super::release::{EXTRA_RELEASE_TIMEOUT, release_and_log};
use crate::cause::chain;
use crate::deadline::Deadline;
use crate::ipam::lease::{AllocationKind, Written};
use crate::ipam::name::AttachmentId;
use crate::ipam::takeover::{GoneReason, InUseReason};
use crate::record::{Lock, ReadResult, Record, RecordError, RecordState, Records};
use crate::store::StoreConfig;

/// The most attachments that one call releases to make room.
pub(super) const MAX_RELEASED: usize = 8;

/// How long a call begins with further releases.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(200);

/// The checks that one call has made of containers of its node.
#[derive(Debug, Default)]
pub(super) struct Containers {
    /// The locks of the containers that are gone. While they are held, no ADD of such a container can begin.
    locks: Vec<Lock>,
}

impl Containers {
    /// Checks that a container of this node is gone.
    pub(super) fn check(&mut self, node: &Node<'_>, id: &AttachmentId) -> Result<GoneReason, InUseReason> {
        let mut lock = None;
        let reason = check(node, id, |records, id| {
            let (locked, record) = locked(records, id)?;
            lock = Some(locked);
            Ok(record)
        })?;
        self.locks.extend(lock);
        Ok(reason)
    }
}

/// The same without a lock, so an ADD of the container may begin right after. For a rehearsal.
pub(super) fn check_unlocked(node: &Node<'_>, id: &AttachmentId) -> Result<GoneReason, InUseReason> {
    check(node, id, |records, id| known(records.peek(id)))
}

fn check(
    node: &Node<'_>,
    id: &AttachmentId,
    read: impl FnOnce(&Records, &AttachmentId) -> Result<Record, InUseReason>,
) -> Result<GoneReason, InUseReason> {
    if !node.records.is_own_name(&id.node) {
        return Err(InUseReason::NoPodNamed);
    }
    let record = read(&node.records, id)?;
    gone_reason(&record, &node.began.boot).ok_or(InUseReason::NamespaceExists)
}

fn known(found: Result<ReadResult, RecordError>) -> Result<Record, InUseReason> {
    match found {
        Ok(ReadResult::Record(record)) => Ok(*record),
        _ => Err(InUseReason::NoRecord),
    }
}

/// Locks a container and reads its record. Does not wait for the lock: the other call may be waiting for this one's.
fn locked(records: &Records, id: &AttachmentId) -> Result<(Lock, Record), InUseReason> {
    // Without a record, taking the lock would create a file.
    known(records.peek(id))?;
    let lock = records.lock(id, Deadline::after(Duration::ZERO)).map_err(|_| InUseReason::BusyOnNode)?;
    let locked = known(records.read(&lock))?;
    Ok((lock, locked))
}

/// Why the container of a record is certainly gone; `None` if it may exist.
pub(super) fn gone_reason(record: &Record, boot: &str) -> Option<GoneReason> {
    let recorded = &record.began.boot;
    if !recorded.is_empty() && !boot.is_empty() && recorded != boot {
        return Some(GoneReason::EarlierBoot);
    }
    let netns = record.netns.as_ref()?;
    netns.is_gone(recorded, boot).then_some(GoneReason::NamespaceGone)
}

/// Why this node may release what a record holds; `None` if it must not. After a reboot, it may release anything. In
/// the same boot, it may release a container without a pod, once its namespace is gone. For a pod, the API server
/// decides, unless the runtime sends a DEL.
pub(super) fn leaked(record: &Record, boot: &str) -> Option<GoneReason> {
    let has_pod = record.pod.full_name().is_some() || held_for_a_pod(record);
    gone_reason(record, boot).filter(|reason| *reason == GoneReason::EarlierBoot || !has_pod)
}

/// Records of 0.3.0 name the pod only in the holder.
fn held_for_a_pod(record: &Record) -> bool {
    let holder = record.held.as_ref().and_then(|held| held.attachment.holder.as_ref());
    holder.is_none_or(|holder| holder.pod.full_name().is_some())
}

/// Releases a few attachments of this node that `sweep --node` would release, because a range is full. Returns how
/// many. Leaves failures to that sweep.
pub(super) fn make_room(node: &mut Node<'_>, store: &StoreConfig) -> usize {
    let last_begin = node.deadline.at_most(RELEASE_TIMEOUT);
    let mut ids = match node.records.all() {
        Ok(ids) => ids,
        Err(error) => {
            tracing::debug!(error = %chain(&error), "the node's records could not be listed to make room");
            return 0;
        }
    };
    // Starts at a random one, so that a few that can't be released don't hide the rest.
    if !ids.is_empty() {
        let start = RandomState::new().hash_one(()) as usize % ids.len();
        ids.rotate_left(start);
    }
    let mut released = 0;
    for id in ids {
        if released == MAX_RELEASED || last_begin.has_passed() {
            break;
        }
        let deadline = node.deadline.at_most(EXTRA_RELEASE_TIMEOUT);
        released += usize::from(release(node, store, &id, deadline));
    }
    released
}

/// The record of an attachment that may be released to make room: its container is gone, and all of its addresses were
/// assigned at random from this store.
pub(super) fn releasable(node: &Node<'_>, store: &StoreConfig, id: &AttachmentId) -> Option<Record> {
    known(node.records.peek(id)).ok().filter(|record| makes_room(node, store, record))
}

fn makes_room(node: &Node<'_>, store: &StoreConfig, record: &Record) -> bool {
    let held = record.held.as_ref().filter(|_| record.state == RecordState::Held && record.store == *store);
    let is_random = |held: &Written| held.leases.iter().all(|(_, lease)| lease.kind == AllocationKind::Dynamic);
    held.is_some_and(is_random) && leaked(record, &node.began.boot).is_some()
}

/// Releases an attachment that may be released to make room.
fn release(node: &mut Node<'_>, store: &StoreConfig, id: &AttachmentId, deadline: Deadline) -> bool {
    if releasable(node, store, id).is_none() {
        return false;
    }
    let Ok((lock, record)) = locked(&node.records, id) else { return false };
    if !makes_room(node, store, &record) {
        return false;
    }
    match release_and_log(node, &lock, record, deadline, ReleaseReason::Room) {
        Ok(_) => true,
        Err(error) => {
            tracing::debug!(attachment = %id, error = %error.full(), "left for a later sweep");
            false
        }
    }
}
