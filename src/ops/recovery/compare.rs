//! Compares this node's records with the store, for `doctor` and rehearsals. Begins no recovery.

use std::thread;
use std::time::Duration;

use super::{is_gone, look, recorded, survey};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::name::AttachmentId;
use crate::ipam::recovery::{EntryState, Sign};
use crate::ops::Node;
use crate::store::StoreConfig;

/// What this node's records and a store say about each other.
#[derive(Debug, Default)]
pub(in crate::ops) struct RecordComparison {
    /// The records with addresses of this store.
    pub(in crate::ops) compared: usize,
    /// The first sign that the store has lost writes.
    pub(in crate::ops) sign: Option<Sign>,
    /// Records whose entries in the store can't be read.
    pub(in crate::ops) unreadable: usize,
}

/// How often a lost entry is looked for again, and how long to wait before. A DEL releases the entry right before it
/// removes its record.
const LOOKS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);

/// Compares this node's records with the store, and changes neither. `timeout` is the limit for each response.
pub(in crate::ops) fn compare_records(
    node: &mut Node<'_>,
    store: &StoreConfig,
    timeout: Duration,
) -> Result<RecordComparison, Error> {
    let newest = node.records.newest_seen(store)?;
    let (at, _) = survey(node, store, Deadline::after(timeout))?;
    let mut comparison = RecordComparison { sign: Sign::behind(at, newest, false), ..RecordComparison::default() };
    for id in node.records.all()? {
        match compare_record(node, &id, store, timeout)? {
            None => continue,
            Some(EntryState::Lost(sign)) => comparison.sign = comparison.sign.or(Some(sign)),
            Some(EntryState::Unreadable(_)) => comparison.unreadable += 1,
            Some(EntryState::InPlace | EntryState::Changed(_) | EntryState::Released) => {}
        }
        comparison.compared += 1;
    }
    Ok(comparison)
}

/// The state of a record's entry; `None` if the record has no addresses of this store, or its container is gone. Takes no
/// lock.
pub(super) fn compare_record(
    node: &mut Node<'_>,
    id: &AttachmentId,
    store: &StoreConfig,
    timeout: Duration,
) -> Result<Option<EntryState>, Error> {
    for again in 0..LOOKS {
        let Some((record, written)) = recorded(node, id, store)? else { return Ok(None) };
        if is_gone(node, &record) {
            return Ok(None);
        }
        let state = look(node, id, written, store, Deadline::after(timeout))?;
        if again + 1 == LOOKS || !matches!(state, EntryState::Lost(_)) {
            return Ok(Some(state));
        }
        thread::sleep(PAUSE);
    }
    Ok(None)
}
