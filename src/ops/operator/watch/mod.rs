//! Watches addresses: passes on what happens to them, as it happens.
//!
//! ```text
//!  Store::changes ─► Update ─┬─ Changes ──────────────► Side × Side ─► Filter ─► LeaseEvent ─► Watched
//!                            └─ Gap, Entries ─► Known ──────┘
//!                                               (the difference)
//! ```
//!
//! This is the one verb that waits for several things at once, so it is async. Its caller has the runtime.

mod filter;
mod known;

use std::collections::VecDeque;
use std::net::IpAddr;

use jiff::Timestamp;

use self::filter::Filter;
use self::known::{Difference, Known};
use super::selection::Selection;
use crate::error::Error;
use crate::ipam::keys;
use crate::ipam::name::Name;
use crate::ipam::transition::{LeaseEvent, Side};
use crate::store::{Position, Store, StoreConfig, StoreError, Update, Watch};

/// Which changes are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchOptions {
    /// Addresses whose lease matches before or after the change.
    pub selection: Selection,
    /// Starts with the changes after this position instead of those from now on.
    pub since: Option<Position>,
}

/// What a watch has seen.
#[derive(Debug)]
pub enum Watched {
    /// The watch has started. There are so many leases in what it watches; `None` if it starts at a position.
    Started(Option<usize>),
    /// An address has changed.
    Change(Box<AddressChange>),
    /// The store stopped responding. The watch continues when it is back.
    Lost(Error),
    /// It is back.
    Back,
    /// The store has discarded changes that were not seen.
    Gap {
        /// Whether the changes that follow are the difference. Otherwise, what changed is not known.
        is_compared: bool,
    },
}

/// A change of an address.
#[derive(Clone, Debug, PartialEq)]
pub struct AddressChange {
    /// Its routing domain.
    pub vrf: Name,
    /// The address.
    pub address: IpAddr,
    /// What happened.
    pub event: LeaseEvent,
    /// When it happened, by the clock of the node that wrote it, if the lease says so.
    pub time: Option<Timestamp>,
    /// Where a watch continues after this change. Only the last change that the store passed on together has one.
    pub position: Option<Position>,
}

/// Why a watch failed.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The store failed before the watch started.
    #[error(transparent)]
    Store(#[from] Error),
    /// The changes after the requested position are not there.
    #[error("{store} does not have all changes since {since}; leave --since out to watch from now on")]
    Discarded {
        /// The store.
        store: Box<StoreConfig>,
        /// The position.
        since: Position,
    },
}

/// A watch of addresses.
#[derive(Debug)]
pub struct Watcher {
    store: StoreConfig,
    filter: Filter,
    watch: Watch,
    known: Known,
    /// Until the first change after it.
    since: Option<Position>,
    ready: VecDeque<Watched>,
    is_started: bool,
    is_lost: bool,
}

impl Watcher {
    /// Prepares a watch. Reads the definitions of networks if an option is about pools.
    pub fn new(store: &StoreConfig, options: WatchOptions) -> Result<Self, Error> {
        let WatchOptions { selection, since } = options;
        let filter = Filter::new(store, selection)?;
        let watch = store.open(None).changes(&filter.span(), since.clone());
        let is_started = since.is_some();
        let ready = is_started.then_some(Watched::Started(None)).into_iter().collect();
        let (store, known) = (store.clone(), Known::default());
        Ok(Self { store, filter, watch, known, since, ready, is_started, is_lost: false })
    }

    /// Waits for what happens next. Dropping the future loses nothing. `now` is for the ends of cooldowns and
    /// reservations.
    pub async fn next(&mut self, now: impl Fn() -> Timestamp) -> Result<Watched, WatchError> {
        loop {
            if let Some(watched) = self.ready.pop_front() {
                return Ok(watched);
            }
            match self.watch.next().await {
                Ok(update) => self.note(update, now())?,
                Err(error) => self.fail(error)?,
            }
        }
    }

    /// Notes an error. The first one of an outage is passed on; before the start, it ends the watch.
    fn fail(&mut self, error: StoreError) -> Result<(), WatchError> {
        let error = Error::store(&self.store, error);
        if !self.is_started {
            return Err(error.into());
        }
        if !std::mem::replace(&mut self.is_lost, true) {
            self.ready.push_back(Watched::Lost(error));
        }
        Ok(())
    }

    fn note(&mut self, update: Update, now: Timestamp) -> Result<(), WatchError> {
        if std::mem::take(&mut self.is_lost) {
            self.ready.push_back(Watched::Back);
        }
        match update {
            Update::Resumed => {}
            Update::Gap => {
                if let Some(since) = self.since.take() {
                    return Err(WatchError::Discarded { store: Box::new(self.store.clone()), since });
                }
                self.known.begin();
                if self.is_started {
                    self.ready.push_back(Watched::Gap { is_compared: self.known.is_complete() });
                }
            }
            Update::Entries(entries) => {
                let differences: Vec<Difference> =
                    entries.into_iter().filter_map(|entry| self.known.list(entry)).collect();
                self.differ(differences, now);
            }
            Update::Listed(_) => {
                let differences = self.known.complete();
                self.differ(differences, now);
                if !std::mem::replace(&mut self.is_started, true) {
                    self.ready.push_back(Watched::Started(Some(self.known.len())));
                }
            }
            Update::Changes { changes, position } => {
                self.since = None;
                changes.iter().for_each(|change| self.known.note(change));
                let differences = changes.into_iter().map(|change| Difference {
                    key: change.key,
                    before: change.before,
                    value: change.change.value,
                });
                let shown = self.differ(differences, now);
                if let Some(Watched::Change(last)) = self.ready.back_mut().filter(|_| shown) {
                    last.position = Some(position);
                }
            }
        }
        Ok(())
    }

    /// Passes on the differences that match. Returns whether there are any.
    fn differ(&mut self, differences: impl IntoIterator<Item = Difference>, now: Timestamp) -> bool {
        let before = self.ready.len();
        let changes = differences.into_iter().filter_map(|difference| change(&self.filter, &difference, now));
        self.ready.extend(changes.map(|change| Watched::Change(Box::new(change))));
        self.ready.len() > before
    }
}

fn change(filter: &Filter, Difference { key, before, value }: &Difference, now: Timestamp) -> Option<AddressChange> {
    let (vrf, address) = keys::read_lease(key)?;
    let (before, after) = (Side::before(before), Side::after(value.as_ref()));
    filter.fits(&vrf, address, &before, &after).then(|| {
        let (event, time) = (LeaseEvent::between(&before, &after, now), LeaseEvent::time(&before, &after));
        AddressChange { vrf, address, event, time, position: None }
    })
}

#[cfg(test)]
mod tests;
