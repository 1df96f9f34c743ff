//! Sorts rows in memory. Without that, a listing needs no more memory for a million rows than for a thousand, so the
//! number of rows that are sorted has a limit.

use jiff::Timestamp;

use super::{AddressRow, ListError};
use crate::ipam::lease::Lease;
use crate::store::Entry;

/// The most rows that are sorted: about 60 MiB.
pub const MAX_SORTED: usize = 100_000;

/// The column by which rows are sorted. Rows of one value are in the order of their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortColumn {
    /// The state.
    State,
    /// How the address was selected.
    Kind,
    /// The network of the first holder.
    Network,
    /// Namespace and name of the first holder's pod.
    Pod,
    /// The node of the first holder.
    Node,
    /// The time of the column SINCE, the earliest first.
    Since,
}

/// The value of a column. What has none comes last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SortKey {
    Text(String),
    Time(Timestamp),
    Missing,
}

/// Collects rows, as the store has them.
pub(super) struct Sorter {
    column: SortColumn,
    rows: Vec<(SortKey, Entry)>,
}

impl Sorter {
    pub(super) fn new(column: SortColumn) -> Self {
        Self { column, rows: Vec::new() }
    }

    /// Adds a row. Fails if there are too many.
    pub(super) fn push(&mut self, row: &AddressRow, entry: &Entry) -> Result<(), ListError> {
        if self.rows.len() == MAX_SORTED {
            return Err(ListError::TooManyToSort);
        }
        self.rows.push((sort_key(self.column, row), entry.clone()));
        Ok(())
    }

    /// The rows in their order.
    pub(super) fn into_rows(mut self) -> impl Iterator<Item = AddressRow> {
        self.rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        self.rows.into_iter().filter_map(|(_, entry)| AddressRow::read(&entry))
    }
}

fn sort_key(column: SortColumn, row: &AddressRow) -> SortKey {
    let lease = row.lease.as_known();
    let holder = lease.and_then(|lease| lease.holders.first());
    let foreign = lease.and_then(Lease::foreign);
    let text = match column {
        SortColumn::State => Some(row.state().word().to_owned()),
        SortColumn::Kind => lease.map(|lease| lease.kind.word().to_owned()),
        SortColumn::Network => {
            holder.map(|holder| &holder.id.network).or(foreign.map(|foreign| &foreign.network)).map(ToString::to_string)
        }
        SortColumn::Pod => holder.and_then(|holder| holder.pod.label()),
        SortColumn::Node => {
            holder.map(|holder| &holder.id.node).or(foreign.map(|foreign| &foreign.node)).map(ToString::to_string)
        }
        SortColumn::Since => return lease.map_or(SortKey::Missing, |lease| SortKey::Time(lease.state_since())),
    };
    text.map_or(SortKey::Missing, SortKey::Text)
}
