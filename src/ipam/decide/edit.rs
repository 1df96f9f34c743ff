//! Changes reservations by hand: reserves addresses, ends reservations, or gives one to somebody else.
//!
//! ```text
//!  what the operator was shown ─► LeaseEdit for each address ─► batches ─► EditLeases: one commit, all or nothing
//!                                                                             │ a lease is not as it was shown
//!                                                                             └─► Stale: nothing is written
//! ```
//!
//! A commit without an answer is sent again under the same guards. If it took effect the first time, the second one
//! fails, and the leases say what this very operator wrote.

use std::net::IpAddr;

use jiff::Timestamp;

use super::candidate::cooldown_key;
use super::reads::{Answers, OneEntry, Read, Reads};
use super::{Decide, Step, no_recovery, within_rounds};
use crate::ipam::keys;
use crate::ipam::lease::{self, Lease, ManualReservation, Stored};
use crate::ipam::name::Name;
use crate::ipam::recovery;
use crate::ipam::refusal::Refusal;
use crate::store::{Entry, Guard, Key, MAX_OPERATIONS, Op, Outcome, Revision, Txn};

/// The change of one address.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaseEdit {
    ip: IpAddr,
    /// The revision of the lease that the operator was shown; `None` if there was none.
    seen: Option<Revision>,
    /// The entry in the cooldown index, which goes with the cooldown.
    rest: Option<Key>,
    /// The lease to write; `None` to delete it.
    lease: Option<Box<Lease>>,
}

impl LeaseEdit {
    /// Reserves an address that was shown without a lease, or with this one, which nobody needs.
    pub fn reserve(vrf: &Name, ip: IpAddr, seen: Option<(Revision, &Lease)>, manual: ManualReservation) -> Self {
        let rest = seen.and_then(|(_, lease)| cooldown_key(vrf, ip, lease));
        let lease = Some(Box::new(Lease::reserved_by_hand(manual)));
        Self { ip, seen: seen.map(|(revision, _)| revision), rest, lease }
    }

    /// Ends the reservation of an address that nobody holds.
    pub fn end(ip: IpAddr, seen: Revision) -> Self {
        Self { ip, seen: Some(seen), rest: None, lease: None }
    }

    /// Replaces what the operator said. A holder keeps the address.
    pub fn restate(ip: IpAddr, (seen, lease): (Revision, Lease), manual: ManualReservation) -> Self {
        Self { ip, seen: Some(seen), rest: None, lease: Some(Box::new(lease.kept_by_hand(manual))) }
    }

    /// Its address.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Divides edits, in their order, into lists of which each fits one transaction.
    pub fn batches(edits: Vec<Self>) -> Vec<Vec<Self>> {
        // Guards and reads have one more key, that of a recovery.
        const MOST: usize = MAX_OPERATIONS - 1;
        let mut batches: Vec<Vec<Self>> = Vec::new();
        let mut writes = MOST;
        for edit in edits {
            let needed = 1 + usize::from(edit.rest.is_some());
            match batches.last_mut() {
                Some(batch) if writes + needed <= MOST => {
                    writes += needed;
                    batch.push(edit);
                }
                _ => {
                    writes = needed;
                    batches.push(vec![edit]);
                }
            }
        }
        batches
    }

    fn guard(&self, vrf: &Name) -> Guard {
        let key = keys::lease(vrf, self.ip);
        match self.seen {
            Some(revision) => Guard::Unchanged(key, revision),
            None => Guard::Absent(key),
        }
    }

    fn writes(&self, vrf: &Name) -> impl Iterator<Item = Op> {
        let key = keys::lease(vrf, self.ip);
        let write = match &self.lease {
            Some(lease) => Op::Put(key, lease::write(&**lease)),
            None => Op::Delete(key),
        };
        self.rest.clone().map(Op::Delete).into_iter().chain([write])
    }

    fn is_as_shown(&self, entry: Option<&Entry>) -> bool {
        entry.map(|entry| entry.revision) == self.seen
    }

    /// Whether an earlier copy of this edit took effect. A pod may have taken the address since.
    fn is_done(&self, entry: Option<&Entry>) -> bool {
        match (&self.lease, entry) {
            (None, None) => self.seen.is_some(),
            (Some(lease), Some(entry)) => {
                Stored::<Lease>::read(&entry.value).known().is_some_and(|stored| stored.manual == lease.manual)
            }
            _ => false,
        }
    }
}

/// The result of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Edited {
    /// All of it is written.
    Written,
    /// Nothing of it is written: these addresses are not as they were shown.
    Stale {
        /// The addresses.
        ips: Vec<IpAddr>,
        /// Whether an earlier copy without an answer may still take effect.
        in_doubt: bool,
    },
}

/// The state machine of a batch.
#[derive(Clone, Debug)]
pub struct EditLeases {
    vrf: Name,
    edits: Vec<LeaseEdit>,
    reads: Option<(Read<OneEntry>, Vec<Read<OneEntry>>)>,
    /// Whether a copy of the transaction had no answer.
    in_doubt: bool,
    rounds: u32,
}

impl EditLeases {
    /// Makes these edits, one of [`LeaseEdit::batches`], in a vrf.
    pub fn new(vrf: Name, edits: Vec<LeaseEdit>) -> Self {
        Self { vrf, edits, reads: None, in_doubt: false, rounds: 0 }
    }

    fn commit(&mut self) -> Step<Edited> {
        let mut reads = Reads::default();
        let recovery = reads.entry(keys::recovery());
        let leases = self.edits.iter().map(|edit| reads.entry(keys::lease(&self.vrf, edit.ip))).collect();
        self.reads = Some((recovery, leases));
        // During a recovery, an address without a lease may be that of a running pod.
        let none = no_recovery();
        let when = std::iter::once(none).chain(self.edits.iter().map(|edit| edit.guard(&self.vrf))).collect();
        let then = self.edits.iter().flat_map(|edit| edit.writes(&self.vrf)).collect();
        match Txn::new(when, then, reads.into_operations()) {
            Ok(txn) => Step::Commit(txn),
            Err(error) => Step::Refused(error.into()),
        }
    }

    fn on_failure(&mut self, answers: Answers<'_>, now: Timestamp) -> Step<Edited> {
        let Some((recovery, leases)) = self.reads.take() else { return self.commit() };
        let found: Vec<(&LeaseEdit, Option<&Entry>)> =
            self.edits.iter().zip(leases.into_iter().map(|lease| answers.to(lease))).collect();
        if self.in_doubt && found.iter().all(|(edit, entry)| edit.is_done(*entry)) {
            return Step::Done(Edited::Written);
        }
        if let Some(recovery) = answers.to(recovery) {
            let recovery = recovery::read(recovery, now);
            return Step::Refused(Refusal::Recovering { sign: recovery.sign, since: recovery.since });
        }
        let ips: Vec<IpAddr> =
            found.iter().filter(|(edit, entry)| !edit.is_as_shown(*entry)).map(|(edit, _)| edit.ip).collect();
        match ips.is_empty() {
            // The recovery that failed the guard is over by now.
            true => self.commit(),
            false => Step::Done(Edited::Stale { ips, in_doubt: self.in_doubt }),
        }
    }
}

impl Decide for EditLeases {
    type Decision = Edited;

    fn start(&mut self, _now: Timestamp) -> Step<Edited> {
        self.commit()
    }

    fn next(&mut self, outcome: &Outcome, now: Timestamp) -> Step<Edited> {
        self.rounds += 1;
        let step = match outcome.branch.succeeded {
            true => Step::Done(Edited::Written),
            false => self.on_failure(Answers(&outcome.branch.responses), now),
        };
        within_rounds(self.rounds, step)
    }

    fn unanswered(&mut self, _now: Timestamp) -> Step<Edited> {
        self.in_doubt = true;
        self.commit()
    }
}
