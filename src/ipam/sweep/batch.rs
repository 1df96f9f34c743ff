//! The second pass over a part of the store: reads what was nominated again, with the entries to compare, and applies
//! all rules.
//!
//! ```text
//!  nominated leases ─► the attachments of their holders, and whatever else has the interface of their pods ┐
//!  nominated attachments ─► the leases that they list                                                      ├─► find_leaks
//!  an entry with another revision than in the first pass ─► is only context                                ┘
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::digest::Digest;
use super::observation::Observation;
use super::scan::Nominations;
use super::{LeakReport, Rules, Unnamed, find_leaks, unnamed};
use crate::ipam::keys;
use crate::ipam::lease::{Holder, Stored};
use crate::store::{Entry, Key, Revision};

pub(super) struct Batch {
    rules: Rules,
    /// The entries to judge, if they still have this revision.
    nominated: BTreeMap<Key, Revision>,
    /// All keys that were requested so far.
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

    /// The keys to read next; none at the end.
    pub(super) fn take_wanted(&mut self) -> BTreeSet<Key> {
        let wanted = std::mem::take(&mut self.wanted);
        self.asked.extend(wanted.iter().cloned());
        wanted
    }

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

    /// The entries that show whether this holder's attachment lists the address, and whether a later sandbox of its pod
    /// has the interface.
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

    fn find_leaks(mut self) -> (LeakReport, Vec<Unnamed>) {
        // The first pass already has them.
        self.seen.future_times.clear();
        (find_leaks(&self.seen, &self.rules), unnamed(&self.seen))
    }
}

impl Nominations {
    /// Judges all nominations, in batches. `read` passes on those of the wanted keys that exist.
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

/// The result of a scan of the whole store.
#[derive(Debug)]
pub struct ScanReport {
    /// The leak candidates.
    pub leaks: LeakReport,
    /// Holders without a cluster whose pods run in this one.
    pub unnamed: Vec<Unnamed>,
}

impl ScanReport {
    /// The result of the first pass.
    fn new(nominations: &mut Nominations) -> Self {
        let notes = std::mem::take(&mut nominations.future_times);
        let leaks = LeakReport { tally: nominations.tally, notes, ..LeakReport::default() };
        Self { leaks, unnamed: Vec::new() }
    }

    fn add(&mut self, (leaks, unnamed): (LeakReport, Vec<Unnamed>)) {
        self.leaks.candidates.extend(leaks.candidates);
        self.leaks.notes.extend(leaks.notes);
        self.leaks.tally.add_unchecked(&leaks.tally);
        self.unnamed.extend(unnamed);
    }
}
