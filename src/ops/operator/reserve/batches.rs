//! Commits edits of many leases in batches, each as a whole.

use std::net::IpAddr;

use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::decide::{EditLeases, Edited, LeaseEdit};
use crate::ipam::name::Name;
use crate::ops::Session;
use crate::ops::operator::STORE_TIMEOUT;

/// How far the work came.
#[derive(Debug)]
pub struct BatchReport {
    /// How many addresses were changed.
    pub done: usize,
    /// How many were to be changed.
    pub total: usize,
    /// Why it ended.
    pub end: BatchEnd,
}

/// Why the work on batches ended.
#[derive(Debug)]
pub enum BatchEnd {
    /// All is done.
    Complete,
    /// These addresses are not as they were shown.
    Stale {
        /// The addresses.
        ips: Vec<IpAddr>,
        /// Whether a commit of this batch without an answer may still take effect.
        in_doubt: bool,
    },
    /// It was told to stop.
    Stopped,
    /// The store failed. Whether the last batch took effect is not known.
    Failed(Box<Error>),
}

/// Makes the edits in their order, until a batch fails.
pub(in crate::ops::operator) fn commit(
    session: &Session,
    vrf: &Name,
    edits: Vec<LeaseEdit>,
    mut may_continue: impl FnMut() -> bool,
) -> BatchReport {
    let (total, mut done) = (edits.len(), 0);
    for batch in LeaseEdit::batches(edits) {
        if !may_continue() {
            return BatchReport { done, total, end: BatchEnd::Stopped };
        }
        let length = batch.len();
        match session.decide(&mut EditLeases::new(vrf.clone(), batch), Deadline::after(STORE_TIMEOUT)) {
            Ok(Edited::Written) => done += length,
            Ok(Edited::Stale { ips, in_doubt }) => {
                return BatchReport { done, total, end: BatchEnd::Stale { ips, in_doubt } };
            }
            Err(error) => return BatchReport { done, total, end: BatchEnd::Failed(Box::new(error)) },
        }
    }
    BatchReport { done, total, end: BatchEnd::Complete }
}
