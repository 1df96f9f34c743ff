//! What was read at one time, from the store and of the pods.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use super::PodSnapshot;
use super::leaks::{PodInterface, pod_interface};
use crate::ipam::decide::Amendment;
use crate::ipam::keys;
use crate::ipam::lease::{Attachment, Lease, Stored};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::takeover::is_complete;
use crate::store::{Entry, Revision};

/// A stored value, and the revision at which it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen<T> {
    /// The revision of its key.
    pub revision: Revision,
    /// The value, if it can be read.
    pub value: Stored<T>,
    /// Whether it is only compared with others, and not judged.
    pub is_context: bool,
}

/// Leases, attachments and pods of about one time. They are read in this order.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The time before the first read.
    pub at: Timestamp,
    /// The leases of addresses that are neither in cooldown nor foreign.
    pub leases: BTreeMap<(Name, IpAddr), Seen<Lease>>,
    /// Corrections of leases that are in cooldown or foreign, with a time in the future.
    pub future_times: Vec<Amendment>,
    /// The attachments, of a node or of the whole store.
    pub attachments: BTreeMap<AttachmentId, Seen<Attachment>>,
    /// The pods; `None` without an API server.
    pub pods: Option<Arc<PodSnapshot>>,
    /// What a node knows of its boots, if this is only about that node.
    pub boots: Option<Boots>,
    /// The number of addresses of attachments that were left out.
    pub healthy: usize,
}

/// A node's boots, according to its records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boots {
    /// The present boot; empty if it can't be read.
    pub current: String,
    /// The boot in which the last ADD of each recorded attachment began.
    pub recorded: BTreeMap<AttachmentId, String>,
    /// Attachments without a pod whose network namespace is gone, according to their records.
    pub ended: BTreeSet<AttachmentId>,
}

impl Observation {
    /// An observation without entries.
    pub fn new(at: Timestamp) -> Self {
        let (leases, attachments, future_times) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { at, leases, future_times, attachments, pods: None, boots: None, healthy: 0 }
    }

    /// Adds an entry of the store. Entries that are neither lease nor attachment are ignored, and so are leases that are
    /// in cooldown or foreign.
    pub fn note(&mut self, entry: &Entry) {
        self.note_as(entry, false);
    }

    /// The same for an entry that may only be context.
    pub(super) fn note_as(&mut self, entry: &Entry, is_context: bool) {
        let revision = entry.revision;
        if let Some(address) = keys::read_lease(&entry.key) {
            match Stored::<Lease>::read(&entry.value) {
                Stored::Known(lease) if lease.rest.is_some() || lease.is_foreign_now(self.at) => {
                    let sighted = lease.sighted(self.at);
                    let (vrf, ip) = address;
                    self.future_times.extend(sighted.map(|lease| Amendment::for_lease(vrf, ip, revision, lease)));
                }
                value => drop(self.leases.insert(address, Seen { revision, value, is_context })),
            }
        } else if let Some(id) = keys::read_attachment(&entry.key) {
            let value = Stored::read(&entry.value);
            self.attachments.insert(id, Seen { revision, value, is_context });
        }
    }
}

impl Observation {
    /// Does not judge leases that a holder on another node has as well: the entries of one node don't show whether they
    /// are in order.
    pub fn leave_to_others(&mut self, node: &Name) {
        let is_elsewhere = |lease: &Lease| lease.holders.iter().any(|holder| holder.id.node != *node);
        for seen in self.leases.values_mut() {
            seen.is_context |= seen.value.as_known().is_some_and(is_elsewhere);
        }
    }

    /// Drops attachments that the node itself knows to be healthy: they began in this boot, and no other sandbox has
    /// their interface of their pod. Most are. Their addresses are counted and need not be read.
    pub fn leave_out_healthy(&mut self, boots: &Boots) {
        let boot = &boots.current;
        let mut sandboxes: BTreeMap<PodInterface<'_>, usize> = BTreeMap::new();
        for holder in self.attachments.values().filter_map(|seen| seen.value.as_known()?.holder.as_ref()) {
            *sandboxes.entry(pod_interface(holder)).or_default() += 1;
        }
        let is_sound = |attachment: &Attachment| {
            attachment.holder.as_ref().is_some_and(|holder| {
                let is_alone = !is_complete(&holder.pod) || sandboxes.get(&pod_interface(holder)) == Some(&1);
                !attachment.addresses.is_empty() && !boot.is_empty() && holder.began.boot == *boot && is_alone
            })
        };
        let healthy = self.attachments.iter().filter_map(|(id, seen)| Some((id, seen.value.as_known()?)));
        let healthy: Vec<(AttachmentId, usize)> = healthy
            .filter(|(id, attachment)| is_sound(attachment) && !boots.ended.contains(id))
            .map(|(id, attachment)| (id.clone(), attachment.addresses.len()))
            .collect();
        for (id, addresses) in healthy {
            self.attachments.remove(&id);
            self.healthy += addresses;
        }
    }
}

impl Boots {
    /// Whether the last ADD of this attachment began in an earlier boot, according to the node's record; `None` if that
    /// is not known.
    pub fn is_earlier(&self, id: &AttachmentId) -> Option<bool> {
        let recorded = self.recorded.get(id).filter(|boot| !boot.is_empty() && !self.current.is_empty())?;
        Some(*recorded != self.current)
    }
}
