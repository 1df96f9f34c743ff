//! GC: collects what attachments of this node hold that the runtime no longer knows.
//!
//! The runtime's list is of one node and one network name, and may be wrong (two networks can have one name). So an
//! attachment goes only on three grounds together: its container is nowhere in the list, this node's own record has it,
//! and the network namespace that was recorded is gone (invariant 4).

use super::Call;
use super::release::{ReleaseTask, release_and_clear};
use crate::cause::chain;
use crate::cni::ValidAttachment;
use crate::error::Error;
use crate::ipam::name::AttachmentId;
use crate::record::{ReadResult, Record, RecordState};
use crate::telemetry::Phase;

/// Leftovers of killed calls that are tidied up at once.
const TIDIED: usize = 256;

/// Serves a GC, and says which attachments were released.
pub(super) fn gc(call: &mut Call<'_>, valid: Option<&[ValidAttachment]>) -> Result<Vec<AttachmentId>, Error> {
    // No list says nothing about any attachment.
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
            release_and_clear(&mut call.node, Some(&lock), &ReleaseTask::from_record(*record), deadline).map(|_| true)
        }
        ReadResult::Record(_) | ReadResult::Missing => Ok(false),
        ReadResult::Unreadable { path, why } => {
            tracing::warn!(path = %path.display(), why = %chain(&why), "kept: the record can't be read");
            Ok(false)
        }
    }
}

/// Whether the attachment's network namespace is certainly gone. One that was never noted may well be there.
fn is_gone(call: &Call<'_>, record: &Record) -> bool {
    record.netns.as_ref().is_some_and(|netns| netns.is_gone(&record.began.boot, &call.node.began.boot))
}
