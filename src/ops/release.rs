//! The release of an attachment: what DEL, GC and the replay of marks have in common.

use std::time::Duration;

use super::{Node, recovery};
use crate::error::Error;
use crate::ipam::decide::{Release, Released};
use crate::ipam::lease::Written;
use crate::ipam::name::AttachmentId;
use crate::record::{Found, Lock, Record, State};
use crate::store::Deadline;

/// How long a DEL waits for its store. The runtime tears the pod down meanwhile, and a mark serves as well.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Marks replayed by one call, and how long that may take.
const REPLAYED: usize = 8;
const REPLAY_TIME: Duration = Duration::from_millis(200);

/// What is to be released.
#[derive(Clone, Debug)]
pub struct Task {
    /// As the node's record says, or in its place.
    pub record: Record,
    /// Whether an ADD of this attachment may still be under way.
    pub fence: bool,
}

impl Task {
    /// What a record says: if it does not know what the ADD was given, that ADD may still be under way.
    pub fn of(record: Record) -> Self {
        Self { fence: record.held.is_none(), record }
    }
}

/// Does a task, and removes the record, where it can be locked.
pub fn settle(node: &mut Node<'_>, lock: Option<&Lock>, task: &Task, until: Deadline) -> Result<Released, Error> {
    if let Some(lock) = lock {
        note_begin(node, lock, &task.record);
    }
    let released = release(node, task, until)?;
    if let Some(sign) = &released.sign {
        recovery::report(node, &task.record, sign, until);
    }
    // The addresses are free. A record that stays releases nothing again.
    if let Some(Err(error)) = lock.map(|lock| node.records.remove(lock, &task.record.pod)) {
        tracing::warn!(%error, "the node's record of a released attachment could not be removed");
    }
    Ok(released)
}

/// Notes that the release begins, where it leaves no trace in the store. A DEL that dies between the release and the removal
/// of its record would else look like a store that has lost the attachment.
fn note_begin(node: &Node<'_>, lock: &Lock, record: &Record) {
    let has_trace = record.held.as_ref().is_none_or(Written::leaves_a_trace);
    if record.state != State::Held || record.deleting || has_trace {
        return;
    }
    if let Err(error) = node.records.write(lock, &Record { deleting: true, ..record.clone() }) {
        tracing::debug!(%error, "that the release begins could not be noted");
    }
}

fn release(node: &mut Node<'_>, task: &Task, until: Deadline) -> Result<Released, Error> {
    let Task { record, fence } = task;
    let machine = Release::new(record.id.clone(), record.vrf.clone(), record.held.clone(), *fence);
    // Without it less is noticed.
    let newest = node.records.seen(&record.store).ok().and_then(|seen| seen.newest());
    let mut machine = machine.after_revision(newest);
    let session = node.open(&record.store)?;
    let released = session.decide(&mut machine, until)?;
    if let Some(clear) = &released.clear
        && let Err(error) = session.commit(clear, until)
    {
        tracing::debug!(%error, "rests that are over were left for a later release");
    }
    if let Some(why) = &released.left {
        tracing::warn!(attachment = %record.id, why, "the stored entry of the attachment was left as it is");
    }
    for (ip, why) in &released.kept {
        tracing::warn!(attachment = %record.id, %ip, why, "the address was not released, since it is not this attachment's");
    }
    Ok(released)
}

/// Does one release that is marked, with the store that its record names; `None` if it is not marked any more, or by a
/// record that is not wanted.
pub fn replay_one(
    node: &mut Node<'_>,
    id: &AttachmentId,
    until: Deadline,
    is_wanted: impl FnOnce(&Node<'_>, &Record) -> bool,
) -> Result<Option<Released>, Error> {
    let lock = node.records.lock(id, until)?;
    match node.records.read(&lock)? {
        Found::Record(record) if record.state == State::Releasing && is_wanted(node, &record) => {
            settle(node, Some(&lock), &Task::of(*record), until).map(Some)
        }
        _ => Ok(None),
    }
}

/// Replays a few of the releases that earlier calls of this node could not do, those of the store that is open anyway.
/// Whatever goes wrong stays marked for a later call.
pub fn replay(node: &mut Node<'_>) {
    if let Err(error) = try_replay(node) {
        tracing::debug!(error = %error.full(), "marked releases are left for a later call");
    }
}

fn try_replay(node: &mut Node<'_>) -> Result<(), Error> {
    let until = node.until.at_most(REPLAY_TIME);
    let marks = node.records.marks(REPLAYED)?;
    if marks.is_empty() || node.session.is_none() {
        return Ok(());
    }
    let Some(_replaying) = node.records.replay_lock()? else { return Ok(()) };
    for id in marks {
        if until.has_passed() {
            break;
        }
        let of_open_store = |node: &Node<'_>, record: &Record| {
            node.session.as_ref().is_some_and(|session| *session.config() == record.store)
        };
        if let Some(released) = replay_one(node, &id, until, of_open_store)? {
            tracing::info!(attachment = %id, freed = ?released.freed, "a release that was marked earlier is done");
        }
    }
    Ok(())
}
