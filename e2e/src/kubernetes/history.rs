//! The history of the addresses in a cluster.

use std::sync::PoisonError;
use std::time::Duration;

use jiff::Timestamp;

use super::{Cluster, Node, eventually};
use crate::Result;
use crate::history::log::{self, Event, Unlogged};
use crate::history::{Hold, duplicates};

/// How long a DEL that has released an address may take to write its line. No later line can undo a real duplicate.
const WRITTEN: Duration = Duration::from_secs(20);

/// The holds of a history in which no address had two owners.
#[derive(Clone, Copy, Debug)]
pub struct Holds {
    /// The number of holds.
    pub all: usize,
    /// How many of them have not ended.
    pub open: usize,
}

impl Cluster {
    /// The holds according to the nodes' logs. A node whose defaults come from `examples/install` has none.
    fn history(&self) -> Result<Vec<Hold<Timestamp>>> {
        let logs: Vec<_> = self.nodes().iter().flat_map(Node::kube_ipam_logs).collect();
        let unlogged = self.unlogged.lock().unwrap_or_else(PoisonError::into_inner).clone();
        log::holds(&logs, &unlogged)
    }

    /// Checks the first invariant on the history, and counts its holds.
    ///
    /// # Errors
    /// If one address ever had two owners.
    pub fn no_address_had_two_owners(&self) -> Result<Holds> {
        no_address_had_two_owners(&[self])
    }

    /// Records what is in no log.
    pub(super) fn note(&self, node: &str, event: Event) {
        let noted = Unlogged { node: node.to_owned(), event, at: Timestamp::now() };
        self.unlogged.lock().unwrap_or_else(PoisonError::into_inner).push(noted);
    }
}

/// Checks the first invariant on the history of clusters that share a store, and counts its holds.
///
/// # Errors
/// If one address ever had two owners.
pub fn no_address_had_two_owners(clusters: &[&Cluster]) -> Result<Holds> {
    let mut found = Vec::new();
    let checked = eventually("no address had two owners", WRITTEN, Duration::from_millis(500), || {
        let holds = clusters.iter().map(|cluster| cluster.history()).collect::<Result<Vec<_>>>()?.concat();
        found = duplicates(&holds);
        let open = holds.iter().filter(|hold| hold.until.is_none()).count();
        Ok(found.is_empty().then_some(Holds { all: holds.len(), open }))
    });
    checked.map_err(|error| {
        let told: Vec<String> = found.iter().map(|pair| format!("{pair:?}")).collect();
        format!("{error}: {}", told.join("\n")).into()
    })
}
