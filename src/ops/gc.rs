//! GC: releases what this node holds for attachments that the runtime no longer knows.
//!
//! The runtime's list covers one node and one network name, and may be wrong, because two networks can have one name.
//! So GC releases an attachment only if three things are true: the list does not have its container, this node has a
//! record of it, and the network namespace in that record is gone (invariant 4).

use super::Call;
use super::log::ReleaseReason;
use super::release::release_and_log;
use crate::cause::chain;
use crate::cni::ValidAttachment;
use crate::error::Error;
use crate::ipam::name::AttachmentId;
use crate::record::{ReadResult, Record, RecordState};
use crate::telemetry::Phase;

/// The most leftovers of killed calls that one GC removes.
const TIDIED: usize = 256;

/// Serves a GC, and returns the attachments that it released.
pub(super) fn gc(call: &mut Call<'_>, valid: Option<&[ValidAttachment]>) -> Result<Vec<AttachmentId>, Error> {
    // Without a list, no attachment is known to be gone.
    let Some(valid) = valid else { return Ok(Vec::new()) };
    call.enter(Phase::Record);
    let mut suspects = call.node.records.all()?;
    suspects.retain(|id| id.network == *call.network && !valid.iter().any(|known| known.container == id.container));
    let considered = suspects.len();
    call.node.records.remove_leftovers(TIDIED)?;
    call.enter(Phase::Store);
    let (mut collected, mut failures) = (Vec::new(), Vec::new());
    for id in suspects {
        match collect(call, &id) {
            Ok(true) => collected.push(id),
            Ok(false) => {}
            Err(error) => failures.push((id, error)),
        }
    }
    tracing::info!(collected = collected.len(), considered, "attachments that the runtime no longer knows");
    if failures.is_empty() { Ok(collected) } else { Err(Error::Gc { considered, failures }) }
}

fn collect(call: &mut Call<'_>, id: &AttachmentId) -> Result<bool, Error> {
    let deadline = call.node.deadline;
    let lock = call.node.records.lock(id, deadline)?;
    match call.node.records.read(&lock)? {
        ReadResult::Record(record) if record.state == RecordState::Releasing || is_gone(call, &record) => {
            release_and_log(&mut call.node, &lock, *record, deadline, ReleaseReason::NotValid).map(|_| true)
        }
        ReadResult::Record(_) | ReadResult::Missing => Ok(false),
        ReadResult::Unreadable { path, why } => {
            tracing::warn!(path = %path.display(), why = %chain(&why), "kept: the record can't be read");
            Ok(false)
        }
    }
}

/// Whether the attachment's network namespace is certainly gone. A namespace that was never recorded may still exist.
fn is_gone(call: &Call<'_>, record: &Record) -> bool {
    record.netns.as_ref().is_some_and(|netns| netns.is_gone(&record.began.boot, &call.node.began.boot))
}
