//! DEL: releases the attachment, or defers the release. It does not need the network's config.

use super::Call;
use super::release::{ReleaseTask, STORE_TIMEOUT, release_and_clear};
use crate::cause::chain;
use crate::cni::Target;
use crate::error::Error;
use crate::host_local;
use crate::ipam::decide::Released;
use crate::ipam::name::AttachmentId;
use crate::record::{Lock, ReadResult, Record, RecordError};
use crate::telemetry::Phase;

/// Serves a DEL.
pub(super) fn del(call: &mut Call<'_>, target: &Target) -> Result<Released, Error> {
    let id = call.attachment(target);
    call.enter(Phase::Record);
    if let Ok(store) = &call.node.settings.store {
        // The record nearly always names the same store, which connects while the record is read. Its first use reports
        // errors.
        let _ = call.node.open(store);
    }
    let (id, lock, found) = find(call, id)?;
    let mut released = match what_to_release(call, id, found) {
        Some(task) => {
            let deadline = call.node.deadline.at_most(STORE_TIMEOUT);
            call.enter(Phase::Store);
            let released = release_and_clear(&mut call.node, lock.as_ref().ok(), &task, deadline);
            call.enter(Phase::Record);
            released.or_else(|error| defer_release(call, lock, &task.record, error))?
        }
        None => {
            tracing::info!("nothing is recorded of this attachment, and no config says where it might be held");
            Released::default()
        }
    };
    match host_local::forget(&call.node.settings.host_local, target) {
        Ok(forgotten) => released.freed.extend(forgotten),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "host-local's folder of this network could not be cleaned")
        }
    }
    Ok(released)
}

/// Finds the attachment under the name that its node had at the ADD, and returns it with its lock and its record.
fn find(call: &Call<'_>, id: AttachmentId) -> Result<Lookup, Error> {
    let locked = lock(call, &id)?;
    let found = call.node.records.peek(&id);
    // A record under the current name is the right one, even if it can't be read.
    if !matches!(found, Ok(ReadResult::Missing)) {
        return Ok((id, locked, found));
    }
    let elsewhere = match &locked {
        Ok(lock) => call.node.records.find_elsewhere(lock, &call.node.began.boot),
        Err(_) => call
            .node
            .records
            .locate(&id, &call.node.began.boot)
            .map(|(located, _)| Some(located).filter(|located| *located != id)),
    };
    match elsewhere {
        Ok(Some(other)) => {
            drop(locked);
            let locked = lock(call, &other)?;
            let found = call.node.records.peek(&other);
            Ok((other, locked, found))
        }
        Ok(None) => Ok((id, locked, found)),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "the folders of the node's former names could not be looked through");
            Ok((id, locked, found))
        }
    }
}

type Lookup = (AttachmentId, Result<Lock, RecordError>, Result<ReadResult, RecordError>);

/// Takes the attachment's lock. A full or read-only disk allows none. The release is safe without it, because it frees
/// only what the attachment still holds.
fn lock(call: &Call<'_>, id: &AttachmentId) -> Result<Result<Lock, RecordError>, Error> {
    match call.node.records.lock(id, call.node.deadline) {
        Err(error @ RecordError::Busy { .. }) => Err(error.into()),
        lock => Ok(lock),
    }
}

/// The release according to the record, or to the config if there is no record; `None` if neither names a store.
fn what_to_release(call: &Call<'_>, id: AttachmentId, found: Result<ReadResult, RecordError>) -> Option<ReleaseTask> {
    // Without a record, no ADD of this attachment can be in progress, because an ADD writes its record first.
    let fence = match found {
        Ok(ReadResult::Record(record)) => return Some(ReleaseTask::from_record(*record)),
        Ok(ReadResult::Missing) => false,
        Ok(ReadResult::Unreadable { path, why }) => {
            tracing::warn!(path = %path.display(), why = %chain(&why), "the node's record is passed over; the store is asked instead");
            true
        }
        Err(error) => {
            tracing::warn!(error = %chain(&error), "the store is asked instead");
            true
        }
    };
    let store = call.node.settings.store.clone().ok()?;
    Some(ReleaseTask {
        record: Record::asked(id, call.node.settings.vrf.clone(), store, call.node.began.clone()),
        fence,
    })
}

/// Defers a release that failed. The DEL still succeeds.
fn defer_release(
    call: &Call<'_>,
    lock: Result<Lock, RecordError>,
    record: &Record,
    error: Error,
) -> Result<Released, Error> {
    match lock.and_then(|lock| call.node.records.defer_release(&lock, record)) {
        Ok(()) => {
            tracing::warn!(error = %error.full(), "the release is marked, and done by a later call on this node");
            Ok(Released::default())
        }
        Err(mark) => Err(Error::NotMarked { release: Box::new(error), mark }),
    }
}
