//! Lists addresses with their leases, each as soon as it is read.
//!
//! ```text
//!  options ─► spans    the keys to read ─┐
//!          ─► Filter   what is shown ────┴─► AddressRow, in the order of keys ─► show
//!                                                                      └─ sort ─► show
//! ```
//!
//! The order of keys is that of routing domains, families (IPv4 first) and addresses.

mod filter;
mod owner_pattern;
mod sort;
mod spans;

use std::collections::BTreeSet;
use std::net::IpAddr;

use self::filter::Filter;
pub(super) use self::filter::json_text;
pub use self::owner_pattern::{OwnerPattern, OwnerPatternError};
use self::sort::Sorter;
pub use self::sort::{MAX_SORTED, SortColumn};
use self::spans::Reading;
pub(super) use self::spans::{keys_of_address, vrfs};
use super::STORE_TIMEOUT;
use super::selection::Selection;
use crate::error::Error;
use crate::ipam::keys;
use crate::ipam::lease::{AllocationKind, Lease, LeaseState, Stored};
use crate::ipam::name::Name;
use crate::ops::Session;
use crate::store::{Entry, StoreConfig};

/// Which addresses are listed: those that match the selection, and one value of each other option. An option without
/// values admits all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Where they are, and whose. A node has what its attachments hold; with [`ListOptions::states`], also what it had.
    pub selection: Selection,
    /// States.
    pub states: BTreeSet<AddressState>,
    /// How the address was selected.
    pub kinds: BTreeSet<AllocationKind>,
    /// Owners for which it is reserved or held, and workloads of its holders.
    pub owners: Vec<OwnerPattern>,
    /// Sorts by this column; by address if it is not given.
    pub sort: Option<SortColumn>,
}

/// The state of an address that has a lease, also of one that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressState {
    /// As the lease says.
    Known(LeaseState),
    /// Its lease can't be read. It counts as held.
    Unreadable,
}

impl AddressState {
    /// The state as a word, for tables and documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::Known(state) => state.word(),
            Self::Unreadable => "unreadable",
        }
    }
}

/// One address that has a lease.
#[derive(Clone, Debug, PartialEq)]
pub struct AddressRow {
    /// Its routing domain.
    pub vrf: Name,
    /// The address.
    pub address: IpAddr,
    /// Its lease, as far as it can be parsed.
    pub lease: Stored<Lease>,
}

impl AddressRow {
    /// The row of an entry of the store; `None` if that is no lease.
    fn read(entry: &Entry) -> Option<Self> {
        let (vrf, address) = keys::read_lease(&entry.key)?;
        Some(Self { vrf, address, lease: Stored::read(&entry.value) })
    }

    /// Its state.
    pub fn state(&self) -> AddressState {
        self.lease.as_known().map_or(AddressState::Unreadable, |lease| AddressState::Known(lease.state()))
    }
}

/// Why the addresses can't be listed as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// More rows than are sorted in memory.
    #[error("more than {MAX_SORTED} addresses match, too many to sort; narrow the list, or leave --sort out")]
    TooManyToSort,
}

/// Passes on every address that matches. An error of `show` ends the listing.
pub fn list<E: From<Error> + From<ListError>>(
    store: &StoreConfig,
    options: &ListOptions,
    mut show: impl FnMut(AddressRow) -> Result<(), E>,
) -> Result<(), E> {
    let session = Session::open(store.clone(), None)?;
    let filter = Filter::new(options);
    let Some(column) = options.sort else {
        return each(&session, options, |entry| filter.read(entry).map_or(Ok(()), &mut show));
    };
    let mut sorter = Sorter::new(column);
    each(&session, options, |entry| {
        filter.read(entry).map_or(Ok(()), |row| sorter.push(&row, entry).map_err(E::from))
    })?;
    sorter.into_rows().try_for_each(show)
}

/// Passes on the entries that have to be read, in the order of their keys.
fn each<E: From<Error>>(
    session: &Session,
    options: &ListOptions,
    mut show: impl FnMut(&Entry) -> Result<(), E>,
) -> Result<(), E> {
    match Reading::new(session, options)? {
        Reading::Keys(keys) => session.each_of(keys, STORE_TIMEOUT, show),
        Reading::Spans(spans) => spans.iter().try_for_each(|span| session.each(span, STORE_TIMEOUT, &mut show)),
    }
}
