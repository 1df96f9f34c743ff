//! The second pass over a part of a store: what was nominated is read again, with what it is compared with, and judged in full.
//!
//! ```text
//!  nominated leases ─► the attachments of their holders, and whatever else has the interface of their pods ┐
//!  nominated attachments ─► the leases that they list                                                      ├─► find_leaks
//!  revision is no longer that of the first pass ─► it is only compared with                                ┘
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::digest::Digest;
use super::observation::Observation;
use super::scan::Nominations;
use super::{LeakReport, Rules, Unnamed, find_leaks, unnamed};
use crate::ipam::keys;
use crate::ipam::lease::{Holder, Stored};
use crate::store::{Entry, Key, Revision};

/// Entries that are judged together.
pub(super) struct Batch {
    rules: Rules,
    /// What is judged, if it is still at this revision.
    nominated: BTreeMap<Key, Revision>,
    /// All that was asked for.
    asked: BTreeSet<Key>,
    wanted: BTreeSet<Key>,
    seen: Observation,
}

impl Batch {
    pub(super) fn new(nominations: &Nominations, nominated: BTreeMap<Key, Revision>) -> Self {
        let mut seen = Observation::new(nominations.at);
        seen.pods.clone_from(&nominations.pods);
        let wanted: BTreeSet<Key> = nominated.keys().cloned().collect();
        Self { rules: nominations.rules.clone(), nominated, asked: BTreeSet::new(), wanted, seen }
    }

    /// The keys that are to be read next; empty when all was read.
    pub(super) fn take_wanted(&mut self) -> BTreeSet<Key> {
        let wanted = std::mem::take(&mut self.wanted);
        self.asked.extend(wanted.iter().cloned());
        wanted
    }

    /// Takes in an entry that was read.
    fn note(&mut self, entry: &Entry, nominations: &Nominations) {
        let is_nominated = self.nominated.get(&entry.key) == Some(&entry.revision);
        self.seen.note_as(entry, !is_nominated);
        if let Some(address) = keys::read_lease(&entry.key) {
            let lease = self.seen.leases.get(&address).and_then(|seen| seen.value.as_known());
            let held = lease.filter(|lease| lease.is_held()).map(|lease| lease.holders.clone());
            for holder in held.unwrap_or_default() {
                self.want_companions(&holder, nominations);
            }
        } else if let Some(id) = keys::read_attachment(&entry.key)
            && is_nominated
            && let Some(Stored::Known(attachment)) = self.seen.attachments.get(&id).map(|seen| seen.value.clone())
        {
            for assigned in &attachment.addresses {
                self.want(keys::lease(&attachment.vrf, assigned.address.addr()));
            }
            if let Some(holder) = &attachment.holder {
                self.want_companions(holder, nominations);
            }
        }
    }

    /// What says whether this holder's attachment has the address, and whether a later sandbox of its pod has the interface.
    fn want_companions(&mut self, holder: &Holder, nominations: &Nominations) {
        self.want(keys::attachment(&holder.id));
        if let Some(interface) = Digest::of_interface(holder) {
            nominations.keys_of(interface).into_iter().for_each(|key| self.want(key));
        }
    }

    fn want(&mut self, key: Key) {
        if !self.asked.contains(&key) {
            self.wanted.insert(key);
        }
    }

    /// Judges what was nominated.
    fn find_leaks(mut self) -> (LeakReport, Vec<Unnamed>) {
        // The first pass has noted them.
        self.seen.rests_ahead.clear();
        (find_leaks(&self.seen, &self.rules), unnamed(&self.seen))
    }
}

impl Nominations {
    /// Judges all that was nominated, batch by batch. `read` hands over those of the wanted keys that exist.
    pub fn judge<E>(
        mut self,
        mut read: impl FnMut(BTreeSet<Key>, &mut dyn FnMut(&Entry)) -> Result<(), E>,
    ) -> Result<ScanReport, E> {
        let mut report = ScanReport::new(&mut self);
        while let Some(mut batch) = self.next_batch() {
            loop {
                let wanted = batch.take_wanted();
                if wanted.is_empty() {
                    break;
                }
                read(wanted, &mut |entry| batch.note(entry, &self))?;
            }
            report.add(batch.find_leaks());
        }
        Ok(report)
    }
}

/// What a scan of a whole store shows, as its batches are judged.
#[derive(Debug)]
pub struct ScanReport {
    /// What may have leaked.
    pub leaks: LeakReport,
    /// Holders that name no cluster, and whose pods run in this one.
    pub unnamed: Vec<Unnamed>,
}

impl ScanReport {
    /// What the first pass alone shows.
    fn new(nominations: &mut Nominations) -> Self {
        let notes = std::mem::take(&mut nominations.rests_ahead);
        let leaks = LeakReport { tally: nominations.tally, notes, ..LeakReport::default() };
        Self { leaks, unnamed: Vec::new() }
    }

    /// Takes in what was found in a batch.
    fn add(&mut self, (leaks, unnamed): (LeakReport, Vec<Unnamed>)) {
        self.leaks.candidates.extend(leaks.candidates);
        self.leaks.notes.extend(leaks.notes);
        self.leaks.tally.add_unchecked(&leaks.tally);
        self.unnamed.extend(unnamed);
    }
}
