//! What a node can decide without an API server: its deferred releases, and what it held before a reboot.

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
use crate::ops::log::ReleaseReason;
use crate::ops::release::{release_and_log, replay_deferred_release};
use crate::record::{ReadResult, Record, RecordState};
use crate::store::{Key, KeySpan};

const DEFERRED: &str = "its DEL could not reach the store and deferred the release";

/// How long to wait for the cluster's identity. The rest of this sweep can do without it.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(4);

impl SweepRun<'_> {
    /// Performs all deferred releases of this node, each with the store that its record names.
    pub(super) fn replay_deferred_releases(&mut self) -> Result<Vec<SweepEntry>, Error> {
        let deferred = self.node.records.deferred_releases(usize::MAX)?;
        // Another call may perform some at the same time. Each has its own lock.
        Ok(deferred.into_iter().flat_map(|id| self.replay_one(id)).collect())
    }

    /// Reads the cluster's identity again, if the defaults don't have it. Later ADDs use the result.
    pub(super) fn refresh_identity(&mut self) {
        let settings = self.node.settings;
        let Some(found) = kubeconfig(settings).filter(|_| settings.cluster.is_none() && !self.options.dry_run) else {
            return;
        };
        match ApiServer::open_with_timeout(&Access::Kubeconfig(found), IDENTITY_TIMEOUT) {
            Ok(api) => {
                self.rules.cluster =
                    refresh(&self.node.records, &api, IDENTITY_TIMEOUT).formerly(&settings.former_clusters);
            }
            Err(error) => tracing::warn!(error = %chain(&error), "could not read this cluster's identity"),
        }
    }

    /// An entry for each address, or for the attachment if it has none.
    fn replay_one(&mut self, id: AttachmentId) -> Vec<SweepEntry> {
        let Ok(ReadResult::Record(record)) = self.node.records.peek(&id) else { return Vec::new() };
        let Record { vrf, held, .. } = *record;
        let attachment = held.map(|held| held.attachment);
        let addresses =
            attachment.iter().flat_map(|attachment| &attachment.addresses).map(|assigned| assigned.address.addr());
        let addresses: Vec<IpAddr> = addresses.collect();
        let (ips, outcome, why) = if self.options.dry_run {
            (addresses, SweepOutcome::WouldBeFreed, DEFERRED.to_owned())
        } else {
            match replay_deferred_release(&mut self.node, &id, response_deadline(), |_, _| true) {
                Ok(Some(released)) => (released.freed, SweepOutcome::Freed, DEFERRED.to_owned()),
                // Another call was faster.
                Ok(None) => return Vec::new(),
                Err(error) => (addresses, SweepOutcome::Failed, error.full().to_string()),
            }
        };
        let holder = attachment.and_then(|attachment| attachment.holder);
        let entry =
            |target| SweepEntry { target, holder: holder.clone(), since: None, outcome, why: why.clone(), leak: None };
        match ips.is_empty() {
            true => vec![entry(Target::Attachment(id))],
            false => ips.into_iter().map(|ip| entry(Target::Address { vrf: vrf.clone(), ip })).collect(),
        }
    }

    /// Scans this node's own attachments, and the leases of those that may have leaked. It asks no API server.
    pub(super) fn scan_own(&mut self) -> Result<LeakReport, Error> {
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

    /// This node's boots, from its records. They are read after the attachments: an ADD of this boot writes its record
    /// before it changes the store.
    fn boots(&self) -> Result<Boots, Error> {
        let current = &self.node.began.boot;
        let mut boots = Boots { current: current.clone(), ..Boots::default() };
        for id in self.node.records.all()? {
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

    /// Releases an attachment with all its addresses, if its record still confirms that its container is gone. `false`
    /// if it no longer does.
    pub(super) fn release_of_own(&mut self, id: &AttachmentId) -> Result<bool, Error> {
        let deadline = response_deadline();
        let lock = self.node.records.lock(id, deadline)?;
        let ReadResult::Record(record) = self.node.records.read(&lock)? else { return Ok(false) };
        let is_gone = leaked(&record, &self.node.began.boot).is_some();
        if record.state == RecordState::Releasing || !is_gone || record.store != *self.store {
            return Ok(false);
        }
        release_and_log(&mut self.node, &lock, *record, deadline, ReleaseReason::Gone).map(|_| true)
    }
}

/// The keys of an attachment's leases.
pub(super) fn leases_of(attachment: &Attachment) -> impl Iterator<Item = Key> {
    attachment.addresses.iter().map(|assigned| keys::lease(&attachment.vrf, assigned.address.addr()))
}
