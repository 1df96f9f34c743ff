//! Who held what in the course of a cluster.

use std::sync::PoisonError;
use std::time::Duration;

use jiff::Timestamp;

use super::{Cluster, Node, eventually};
use crate::Result;
use crate::history::log::{self, Event, Unlogged};
use crate::history::{Hold, duplicates};

/// How long a DEL that has released an address may take to write its line. What two really had at a time, no line that
/// comes later takes back.
const WRITTEN: Duration = Duration::from_secs(20);

/// What a history in which no address had two owners has.
#[derive(Clone, Copy, Debug)]
pub struct Holds {
    /// So many holds.
    pub all: usize,
    /// Of which so many have not ended.
    pub open: usize,
}

impl Cluster {
    /// Who held what, and when, by the logs of the nodes. One whose defaults came by `examples/install` has none.
    fn history(&self) -> Result<Vec<Hold<Timestamp>>> {
        let logs: Vec<_> = self.nodes().iter().flat_map(Node::kube_ipam_logs).collect();
        let unlogged = self.unlogged.lock().unwrap_or_else(PoisonError::into_inner).clone();
        log::holds(&logs, &unlogged)
    }

    /// Holds the history against the first invariant, and says what it has.
    ///
    /// # Errors
    /// If one address ever had two owners.
    pub fn no_address_had_two_owners(&self) -> Result<Holds> {
        no_address_had_two_owners(&[self])
    }

    /// Notes what is in no log.
    pub(super) fn note(&self, node: &str, event: Event) {
        let noted = Unlogged { node: node.to_owned(), event, at: Timestamp::now() };
        self.unlogged.lock().unwrap_or_else(PoisonError::into_inner).push(noted);
    }
}

/// Holds the history of clusters that share a store against the first invariant, and says what it has.
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
