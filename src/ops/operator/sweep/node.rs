//! What a node knows by itself: the releases that it has marked, and what it had before it booted.

use std::iter::once;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use super::scan::response_deadline;
use super::{SweepEntry, SweepOutcome, SweepRun};
use crate::cause::chain;
use crate::cluster::{Access, ApiServer};
use crate::error::Error;
use crate::ipam::keys;
use crate::ipam::lease::Attachment;
use crate::ipam::name::AttachmentId;
use crate::ipam::sweep::{Boots, LeakReport, Observation, Target, find_leaks};
use crate::ipam::takeover::GoneReason;
use crate::ops::cluster::{kubeconfig, refresh};
use crate::ops::containers::leaked;
use crate::ops::release::{ReleaseTask, release_and_clear, replay_deferred_release};
use crate::record::{ReadResult, Record, RecordState};
use crate::store::{Key, KeySpan};

/// What a mark says of itself.
const MARKED: &str = "its DEL could not reach the store, and left a mark";

/// How long the answer of which cluster this is is waited for: the rest of this sweep does without it.
const IDENTITY: Duration = Duration::from_secs(4);

impl SweepRun<'_> {
    /// Does all releases that are marked on this node, each with the store that its record names.
    pub(super) fn replay_marks(&mut self) -> Result<Vec<SweepEntry>, Error> {
        let marks = self.node.records.deferred_releases(usize::MAX)?;
        // While another call replays some, it holds up nobody: each mark has a lock of its own.
        Ok(marks.into_iter().flat_map(|id| self.replay_mark(id)).collect())
    }

    /// Asks anew of which cluster this node is, if its defaults don't say it; the ADDs that follow go by the answer.
    pub(super) fn refresh_identity(&mut self) {
        let settings = self.node.settings;
        let Some(found) = kubeconfig(settings).filter(|_| settings.cluster.is_none() && !self.options.dry_run) else {
            return;
        };
        match ApiServer::open_with_timeout(&Access::Kubeconfig(found), IDENTITY) {
            Ok(api) => {
                self.rules.cluster = refresh(&self.node.records, &api, IDENTITY).formerly(&settings.former_clusters);
            }
            Err(error) => tracing::warn!(error = %chain(&error), "could not ask for this cluster's identity"),
        }
    }

    /// An entry for each address, or for the attachment if it has none.
    fn replay_mark(&mut self, id: AttachmentId) -> Vec<SweepEntry> {
        let Ok(ReadResult::Record(record)) = self.node.records.peek(&id) else { return Vec::new() };
        let Record { vrf, held, .. } = *record;
        let marked = held.map(|held| held.attachment);
        let addresses = marked.iter().flat_map(|marked| &marked.addresses).map(|assigned| assigned.address.addr());
        let addresses: Vec<IpAddr> = addresses.collect();
        let (ips, outcome, why) = if self.options.dry_run {
            (addresses, SweepOutcome::WouldBeFreed, MARKED.to_owned())
        } else {
            match replay_deferred_release(&mut self.node, &id, response_deadline(), |_, _| true) {
                Ok(Some(released)) => (released.freed, SweepOutcome::Freed, MARKED.to_owned()),
                // A later call was faster.
                Ok(None) => return Vec::new(),
                Err(error) => (addresses, SweepOutcome::Failed, error.full().to_string()),
            }
        };
        let holder = marked.and_then(|marked| marked.holder);
        let entry =
            |target| SweepEntry { target, holder: holder.clone(), since: None, outcome, why: why.clone(), leak: None };
        match ips.is_empty() {
            true => vec![entry(Target::Attachment(id))],
            false => ips.into_iter().map(|ip| entry(Target::Address { vrf: vrf.clone(), ip })).collect(),
        }
    }

    /// Scans this node's own attachments, and the leases of those that may have leaked. No API server is asked about pods.
    pub(super) fn look_at_own(&mut self) -> Result<LeakReport, Error> {
        let mut seen = Observation::new(Timestamp::now());
        let settings = self.node.settings;
        for name in once(&settings.node).chain(&settings.former_nodes) {
            self.each(&keys::attachments_of(name), |entry| seen.note(entry))?;
        }
        let boots = self.boots()?;
        seen.leave_out_healthy(&boots);
        let listed: Vec<Key> =
            seen.attachments.values().filter_map(|seen| seen.value.as_known()).flat_map(leases_of).collect();
        for key in listed {
            self.each(&KeySpan::from_to(key.clone(), key.successor()), |entry| seen.note(entry))?;
        }
        seen.boots = Some(boots);
        Ok(find_leaks(&seen, &self.rules))
    }

    /// What the records say, read after the attachments: an ADD of this boot that has changed something in the store has written
    /// its record before.
    fn boots(&self) -> Result<Boots, Error> {
        let current = &self.node.began.boot;
        let mut boots = Boots { current: current.clone(), ..Boots::default() };
        for id in self.node.records.all()? {
            // What can't be read says nothing.
            let Ok(ReadResult::Record(record)) = self.node.records.peek(&id) else { continue };
            if record.state == RecordState::Releasing {
                continue;
            }
            if leaked(&record, current) == Some(GoneReason::NamespaceGone) {
                boots.ended.insert(id.clone());
            }
            boots.recorded.insert(id, record.began.boot);
        }
        Ok(boots)
    }

    /// Releases an attachment with all that it holds, if its record still shows that its container is gone. `false` if it says
    /// something else by now.
    pub(super) fn release_of_own(&mut self, id: &AttachmentId) -> Result<bool, Error> {
        let deadline = response_deadline();
        let lock = self.node.records.lock(id, deadline)?;
        let ReadResult::Record(record) = self.node.records.read(&lock)? else { return Ok(false) };
        let is_gone = leaked(&record, &self.node.began.boot).is_some();
        if record.state == RecordState::Releasing || !is_gone || record.store != *self.store {
            return Ok(false);
        }
        release_and_clear(&mut self.node, Some(&lock), &ReleaseTask::from_record(*record), deadline).map(|_| true)
    }
}

/// The keys of the leases that an attachment lists.
pub(super) fn leases_of(attachment: &Attachment) -> impl Iterator<Item = Key> {
    attachment.addresses.iter().map(|assigned| keys::lease(&attachment.vrf, assigned.address.addr()))
}
