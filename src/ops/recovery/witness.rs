//! The witnesses of an ADD on a store whose revisions have no order ([`Witness`]).

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::compare::compare_record;
use super::{begin, examine_within, is_gone, look, recorded};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::lease::Written;
use crate::ipam::name::AttachmentId;
use crate::ipam::recovery::{EntryState, Sign, Witness};
use crate::ipam::refusal::Refusal;
use crate::ops::Node;
use crate::record::{Record, RecordError};
use crate::store::{RevisionOrder, StoreConfig};

/// The most witnesses of one ADD. Each of them but the last costs requests. `sweep --node` compares all records.
const MAX_WITNESSES: usize = 8;

/// The records that one ADD may compare with a store: that of its attachment's earlier ADD, then the others, the last
/// written first. By default none.
#[derive(Debug, Default)]
pub(in crate::ops) struct Witnesses {
    own: Option<(Record, Written)>,
    others: std::vec::IntoIter<AttachmentId>,
    left: usize,
}

impl Witnesses {
    /// The records beside that of the requesting attachment, and `earlier`, which this ADD replaces. None if the store
    /// counts its revisions.
    pub(in crate::ops) fn list(
        node: &Node<'_>,
        store: &StoreConfig,
        own: &AttachmentId,
        earlier: Option<&Record>,
    ) -> Result<Self, Error> {
        if store.revision_order() == RevisionOrder::Counted {
            return Ok(Self::default());
        }
        let earlier = earlier.filter(|record| record.runs_on(store));
        let earlier = earlier.and_then(|record| Some((record.clone(), record.held.clone()?)));
        let mut others = node.records.newest_first()?;
        others.retain(|id| id != own);
        Ok(Self { own: earlier, others: others.into_iter(), left: MAX_WITNESSES })
    }

    /// The first one.
    pub(in crate::ops) fn first(&mut self, node: &Node<'_>, store: &StoreConfig) -> Result<Option<Witness>, Error> {
        match &self.own {
            Some((record, written)) => Ok(Some(Witness { id: record.id.clone(), revision: written.revision })),
            None => self.next_other(node, store),
        }
    }

    /// Examines a witness that the store does not have as recorded. If the store has lost it, begins a recovery and
    /// refuses; else returns the next one.
    pub(in crate::ops) fn after(
        &mut self,
        node: &mut Node<'_>,
        store: &StoreConfig,
        differing: &AttachmentId,
        deadline: Deadline,
    ) -> Result<Option<Witness>, Error> {
        let sign = match self.own.take() {
            Some((record, written)) => examine_own(node, store, &record, written, deadline)?,
            None => examine_other(node, store, differing, deadline)?,
        };
        let Some(sign) = sign else { return self.next_other(node, store) };
        begin(node, store, &sign, deadline)?;
        Err(refused(&sign))
    }

    /// The same for a rehearsal, which takes no lock and begins nothing. `timeout` is the limit for each response.
    pub(in crate::ops) fn after_comparison(
        &mut self,
        node: &mut Node<'_>,
        store: &StoreConfig,
        differing: &AttachmentId,
        timeout: Duration,
    ) -> Result<Option<Witness>, Error> {
        self.own = None;
        match compare_record(node, differing, store, timeout)? {
            Some(EntryState::Lost(sign)) => Err(refused(&sign)),
            _ => self.next_other(node, store),
        }
    }

    /// The next one of another attachment that has addresses of this store.
    fn next_other(&mut self, node: &Node<'_>, store: &StoreConfig) -> Result<Option<Witness>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        for id in self.others.by_ref() {
            if let Some((_, written)) = recorded(node, &id, store)?
                && !written.attachment.addresses.is_empty()
            {
                self.left -= 1;
                return Ok(Some(Witness { id, revision: written.revision }));
            }
        }
        Ok(None)
    }
}

/// The refusal of the ADD that has found this sign.
fn refused(sign: &Sign) -> Error {
    Refusal::Recovering { sign: sign.to_string(), since: jiff::Timestamp::now() }.into()
}

/// Examines the record that this ADD has replaced. The call holds its lock.
fn examine_own(
    node: &mut Node<'_>,
    store: &StoreConfig,
    record: &Record,
    written: Written,
    deadline: Deadline,
) -> Result<Option<Sign>, Error> {
    match look(node, &record.id, written, store, deadline)? {
        EntryState::Lost(sign) if !is_gone(node, record) => Ok(Some(sign)),
        _ => Ok(None),
    }
}

fn examine_other(
    node: &mut Node<'_>,
    store: &StoreConfig,
    id: &AttachmentId,
    deadline: Deadline,
) -> Result<Option<Sign>, Error> {
    // Does not wait for its lock: the other call changes the record, and may be waiting for the lock of this one.
    match examine_within(node, id, store, deadline, Deadline::after(Duration::ZERO)) {
        Err(Error::Record(RecordError::Busy { .. })) => Ok(None),
        examined => examined,
    }
}
