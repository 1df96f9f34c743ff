//! The transactions of a recovery: its beginning, a node that is done, its end, and its progress.

use jiff::Timestamp;

use super::{LastRecovery, NodeDone, Progress, Recovery};
use crate::cause::chain;
use crate::ipam::decide::{Decide, Step};
use crate::ipam::keys;
use crate::ipam::lease::{self, Stored, VERSION};
use crate::ipam::name::Name;
use crate::store::{Entry, Freshness, Guard, Op, OpResponse, Outcome, Revision, Txn, TxnError};

/// The most nodes that are read. Kubernetes supports 5,000.
const MAX_NODES: u32 = 10_000;

/// The most nodes' entries that the end of a recovery removes. Others no longer count.
const REMOVED: usize = 100;

/// The step that commits this transaction.
pub(super) fn committing<D>(txn: Result<Txn, TxnError>) -> Step<D> {
    txn.map_or_else(|error| Step::Refused(error.into()), Step::Commit)
}

/// The result of beginning a recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It begins with this call.
    Now,
    /// It had begun before, or its entry can't be read, which stops the nodes as well.
    Before,
}

/// Begins a recovery.
#[derive(Clone, Debug)]
pub struct Begin {
    recovery: Recovery,
    /// The revision of the recovery that it replaces.
    instead: Option<Revision>,
}

impl Begin {
    /// Begins a recovery unless one is in progress.
    pub fn new(recovery: Recovery) -> Self {
        Self { recovery, instead: None }
    }

    /// Replaces the recovery of this revision. Nodes that were done with that one have to repeat their part.
    pub fn instead_of(recovery: Recovery, seen: Revision) -> Self {
        Self { instead: Some(seen), ..Self::new(recovery) }
    }

    /// Writes the recovery, or reads the existing one.
    pub fn txn(&self) -> Result<Txn, TxnError> {
        let key = keys::recovery();
        let guard = match self.instead {
            Some(seen) => Guard::Unchanged(key.clone(), seen),
            None => Guard::Absent(key.clone()),
        };
        Txn::new(vec![guard], vec![Op::Put(key.clone(), lease::write(&self.recovery))], vec![Op::Get(key)])
    }

    fn step(&self) -> Step<Begun> {
        committing(self.txn())
    }
}

impl Decide for Begin {
    type Decision = Begun;

    fn start(&mut self, _now: Timestamp) -> Step<Begun> {
        self.step()
    }

    fn next(&mut self, outcome: &Outcome, _now: Timestamp) -> Step<Begun> {
        Step::Done(if outcome.branch.succeeded { Begun::Now } else { Begun::Before })
    }

    fn unanswered(&mut self, _now: Timestamp) -> Step<Begun> {
        self.step()
    }
}

/// A write that depends on the recovery that was read: a node is done with it, or it ends.
#[derive(Clone, Debug)]
pub struct UpdateRecovery {
    seen: Revision,
    update: Update,
}

#[derive(Clone, Debug)]
enum Update {
    NodeDone(Name),
    End { recovery: Recovery, done: Vec<Name>, by_operator: bool },
}

impl UpdateRecovery {
    /// Records that this node is done with the recovery of this revision.
    pub fn node_done(node: Name, seen: Revision) -> Self {
        Self { seen, update: Update::NodeDone(node) }
    }

    /// Ends the recovery that was read, because all nodes are done; `None` if there is none.
    pub fn end(progress: &Progress) -> Option<Self> {
        Self::end_by(progress, false)
    }

    /// The same at the operator's request, whether or not all nodes are done.
    pub fn end_by_operator(progress: &Progress) -> Option<Self> {
        Self::end_by(progress, true)
    }

    fn end_by(progress: &Progress, by_operator: bool) -> Option<Self> {
        let (seen, recovery) = progress.current.clone()?;
        let done = progress.done.keys().take(REMOVED).cloned().collect();
        Some(Self { seen, update: Update::End { recovery, done, by_operator } })
    }

    fn step(&self, now: Timestamp) -> Step<bool> {
        let writes = match &self.update {
            Update::NodeDone(node) => {
                let done = NodeDone { v: VERSION, recovery: self.seen, at: now };
                vec![Op::Put(keys::recovered_node(node), lease::write(&done))]
            }
            Update::End { recovery: Recovery { since, sign, .. }, done, by_operator } => {
                let (since, sign, by_operator) = (*since, sign.clone(), *by_operator);
                let last = LastRecovery { v: VERSION, since, sign, ended: now, by_operator };
                let removed = done.iter().map(|node| Op::Delete(keys::recovered_node(node)));
                let ended = [Op::Delete(keys::recovery()), Op::Put(keys::last_recovery(), lease::write(&last))];
                ended.into_iter().chain(removed).collect()
            }
        };
        committing(Txn::new(vec![Guard::Unchanged(keys::recovery(), self.seen)], writes, Vec::new()))
    }
}

impl Decide for UpdateRecovery {
    /// Whether that recovery was still in progress.
    type Decision = bool;

    fn start(&mut self, now: Timestamp) -> Step<bool> {
        self.step(now)
    }

    fn next(&mut self, outcome: &Outcome, _now: Timestamp) -> Step<bool> {
        Step::Done(outcome.branch.succeeded)
    }

    fn unanswered(&mut self, now: Timestamp) -> Step<bool> {
        self.step(now)
    }
}

/// Reads the progress of a recovery.
#[derive(Clone, Copy, Debug, Default)]
pub struct Survey;

impl Survey {
    fn step(&self) -> Step<(Revision, Progress)> {
        let (limit, freshness) = (MAX_NODES, Freshness::Exact);
        let nodes = Op::Range { span: keys::recovered_nodes(), limit, keys_only: false, freshness };
        let txn = Txn::read(vec![Op::Get(keys::recovery()), Op::Get(keys::last_recovery()), nodes]);
        committing(txn)
    }
}

impl Decide for Survey {
    /// The revision of the store, and the progress.
    type Decision = (Revision, Progress);

    fn start(&mut self, _now: Timestamp) -> Step<Self::Decision> {
        self.step()
    }

    fn next(&mut self, outcome: &Outcome, now: Timestamp) -> Step<Self::Decision> {
        let progress = match outcome.branch.responses.as_slice() {
            [OpResponse::Entry(current), OpResponse::Entry(last), OpResponse::Entries(nodes)] => {
                progress(current.as_ref(), last.as_ref(), nodes, now)
            }
            _ => Progress::default(),
        };
        Step::Done((outcome.at, progress))
    }

    fn unanswered(&mut self, _now: Timestamp) -> Step<Self::Decision> {
        self.step()
    }
}

/// The recovery of an entry. One that can't be read also counts as in progress.
pub(in crate::ipam) fn read(entry: &Entry, now: Timestamp) -> Recovery {
    match Stored::<Recovery>::read(&entry.value) {
        Stored::Known(recovery) => recovery,
        Stored::Unreadable(why) => Recovery::new(format!("{} can't be read: {}", entry.key, chain(&why)), None, now),
    }
}

fn progress(current: Option<&Entry>, last: Option<&Entry>, nodes: &[Entry], now: Timestamp) -> Progress {
    let current = current.map(|entry| (entry.revision, read(entry, now)));
    let done = nodes.iter().filter_map(|entry| {
        let node = keys::read_recovered_node(&entry.key)?;
        let done = Stored::<NodeDone>::read(&entry.value).known()?;
        (Some(done.recovery) == current.as_ref().map(|(revision, _)| *revision)).then_some((node, done.at))
    });
    let last = last.and_then(|entry| Stored::<LastRecovery>::read(&entry.value).known());
    Progress { done: done.collect(), current, last }
}
