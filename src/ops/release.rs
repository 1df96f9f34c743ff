//! The release of an attachment, as DEL, GC and the replay of deferred releases share it.

use std::time::Duration;

use super::log::{ReleaseReason, ReleasedFields};
use super::{Node, recovery};
use crate::cause::chain;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::decide::{Release, Released};
use crate::ipam::lease::Written;
use crate::ipam::name::AttachmentId;
use crate::record::{Lock, ReadResult, Record, RecordState};

/// How long a DEL waits for its store. The runtime is tearing the pod down meanwhile, and a deferred release is as
/// good.
pub(super) const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// The most deferred releases that one call replays.
const MAX_REPLAYED: usize = 8;

/// How long a call begins with further replays.
const REPLAY_TIMEOUT: Duration = Duration::from_millis(200);

/// The time limit of a release beside the work of a call. In the Kubernetes store, a release that meets what a dead
/// process has left waits for up to half a second before it may remove that.
pub(super) const EXTRA_RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// A release to be done.
#[derive(Clone, Debug)]
pub(super) struct ReleaseTask {
    /// The node's record, or a substitute for it.
    pub record: Record,
    /// Whether an ADD of this attachment may still be under way.
    pub fence: bool,
}

impl ReleaseTask {
    /// A record without the ADD's addresses means that the ADD may still be in progress, so the release writes a fence.
    pub(super) fn from_record(record: Record) -> Self {
        Self { fence: record.held.is_none(), record }
    }

    /// The decision.
    pub(super) fn machine(&self) -> Release {
        let Record { id, vrf, held, .. } = self.record.clone();
        Release::new(id, vrf, held, self.fence)
    }
}

/// Releases an attachment, and removes its record if the caller has the lock.
pub(super) fn release_and_clear(
    node: &mut Node<'_>,
    lock: Option<&Lock>,
    task: &ReleaseTask,
    deadline: Deadline,
) -> Result<Released, Error> {
    if let Some(lock) = lock {
        note_deletion(node, lock, &task.record);
    }
    let released = release(node, task, deadline)?;
    if let Some(sign) = &released.sign {
        recovery::report(node, &task.record, sign, deadline);
    }
    // The addresses are free. A record that remains is harmless.
    if let Some(Err(error)) = lock.map(|lock| node.records.remove(lock, &task.record.pod)) {
        tracing::warn!(error = %chain(&error), "the node's record of a released attachment could not be removed");
    }
    Ok(released)
}

/// The same for a release that no call of the container asked for, so that no line of a call names its addresses.
pub(super) fn release_and_log(
    node: &mut Node<'_>,
    lock: &Lock,
    record: Record,
    deadline: Deadline,
    reason: ReleaseReason,
) -> Result<Released, Error> {
    let task = ReleaseTask::from_record(record);
    let released = release_and_clear(node, Some(lock), &task, deadline)?;
    let Record { id, vrf, pod, .. } = &task.record;
    ReleasedFields::new(vrf, id, pod, &released.freed).log(reason);
    Ok(released)
}

/// Notes in the record that a release begins that leaves no trace in the store. Without the note, a DEL that is killed
/// between the release and the removal of the record would look like a store that has lost the attachment.
fn note_deletion(node: &Node<'_>, lock: &Lock, record: &Record) {
    let has_trace = record.held.as_ref().is_none_or(Written::leaves_a_trace);
    if record.state != RecordState::Held || record.deleting || has_trace {
        return;
    }
    if let Err(error) = node.records.write(lock, &Record { deleting: true, ..record.clone() }) {
        tracing::debug!(error = %chain(&error), "the start of the release could not be noted in the record");
    }
}

fn release(node: &mut Node<'_>, task: &ReleaseTask, deadline: Deadline) -> Result<Released, Error> {
    let ReleaseTask { record, .. } = task;
    // Without the revision, the release may not notice a restored store.
    let newest = node.records.seen_revisions(&record.store).ok().flatten().and_then(|seen| seen.newest());
    let mut machine = task.machine().after_revision(record.store.revision_order(), newest);
    if !record.store.clears_cooldowns_on_release() {
        machine = machine.leaving_cooldowns();
    }
    let session = node.open(&record.store)?;
    let released = session.decide(&mut machine, deadline)?;
    if let Some(clear) = &released.clear
        && let Err(error) = session.commit(clear, deadline)
    {
        tracing::debug!(error = %chain(&error), "expired cooldowns were left for a later release");
    }
    if let Some(why) = &released.left {
        tracing::warn!(attachment = %record.id, why = %chain(why), "the stored entry of the attachment was left as it is");
    }
    for (ip, why) in &released.not_owned {
        tracing::warn!(attachment = %record.id, %ip, why = %chain(why), "the address was not released: this attachment does not \
                                                           hold it");
    }
    Ok(released)
}

/// Replays one deferred release, on the store in its record, and logs it; `None` if it is no longer deferred, or not
/// wanted.
pub(super) fn replay_deferred_release(
    node: &mut Node<'_>,
    id: &AttachmentId,
    deadline: Deadline,
    is_wanted: impl FnOnce(&Node<'_>, &Record) -> bool,
) -> Result<Option<Released>, Error> {
    let lock = node.records.lock(id, deadline)?;
    match node.records.read(&lock)? {
        ReadResult::Record(record) if record.state == RecordState::Releasing && is_wanted(node, &record) => {
            release_and_log(node, &lock, *record, deadline, ReleaseReason::Deferred).map(Some)
        }
        _ => Ok(None),
    }
}

/// Replays a few releases that earlier calls on this node deferred, if they belong to the store that is already open.
/// Those that fail stay deferred.
pub(super) fn replay_deferred(node: &mut Node<'_>) {
    if let Err(error) = try_replay(node) {
        tracing::debug!(error = %error.full(), "deferred releases are left for a later call");
    }
}

fn try_replay(node: &mut Node<'_>) -> Result<(), Error> {
    let last_begin = node.deadline.at_most(REPLAY_TIMEOUT);
    let deferred = node.records.deferred_releases(MAX_REPLAYED)?;
    if deferred.is_empty() || node.session.is_none() {
        return Ok(());
    }
    let Some(_replaying) = node.records.replay_lock()? else { return Ok(()) };
    for id in deferred {
        if last_begin.has_passed() {
            break;
        }
        let deadline = node.deadline.at_most(EXTRA_RELEASE_TIMEOUT);
        let of_open_store = |node: &Node<'_>, record: &Record| {
            node.session.as_ref().is_some_and(|session| *session.config() == record.store)
        };
        replay_deferred_release(node, &id, deadline, of_open_store)?;
    }
    Ok(())
}
