//! What was seen at one time: of the store, and of the pods.

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

/// A stored value with the revision at which it was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen<T> {
    /// The revision of its key.
    pub revision: Revision,
    /// The value, as far as it can be read.
    pub value: Stored<T>,
    /// Whether it is there only to be compared with.
    pub is_context: bool,
}

/// What was seen at one time. The store is read first, its leases before its attachments, and the pods after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// When it began.
    pub at: Timestamp,
    /// The leases of addresses that neither rest nor are foreign.
    pub leases: BTreeMap<(Name, IpAddr), Seen<Lease>>,
    /// What rests or is foreign, by a time that lies ahead: it is to be noted when that was first seen.
    pub rests_ahead: Vec<Amendment>,
    /// The attachments.
    pub attachments: BTreeMap<AttachmentId, Seen<Attachment>>,
    /// The pods; `None` if nobody was asked, or the answer was not complete.
    pub pods: Option<Arc<PodSnapshot>>,
    /// What a node knows of its own boots, where only its own attachments were read.
    pub boots: Option<Boots>,
    /// How many addresses have those that were left out.
    pub healthy: usize,
}

/// What a node knows of its boots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boots {
    /// The present one; empty where it can't be read.
    pub current: String,
    /// In which boot the last ADD of each attachment of its records began.
    pub recorded: BTreeMap<AttachmentId, String>,
    /// Attachments of no pod whose network namespace is gone, as the records say.
    pub ended: BTreeSet<AttachmentId>,
}

impl Observation {
    /// An observation that has seen nothing yet.
    pub fn new(at: Timestamp) -> Self {
        let (leases, attachments, rests_ahead) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { at, leases, rests_ahead, attachments, pods: None, boots: None, healthy: 0 }
    }

    /// Notes an entry of the store. Those that are neither lease nor attachment, and what rests or is foreign, are passed over.
    pub fn note(&mut self, entry: &Entry) {
        self.note_as(entry, false);
    }

    /// The same of an entry that may be there only to be compared with.
    pub(super) fn note_as(&mut self, entry: &Entry, is_context: bool) {
        let revision = entry.revision;
        if let Some(address) = keys::read_lease(&entry.key) {
            match Stored::<Lease>::read(&entry.value) {
                Stored::Known(lease) if lease.rest.is_some() || lease.is_foreign_now(self.at) => {
                    let sighted = lease.sighted(self.at);
                    let (vrf, ip) = address;
                    self.rests_ahead.extend(sighted.map(|lease| Amendment::for_lease(vrf, ip, revision, lease)));
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
    /// Leaves the leases to others that somebody on another node holds as well: whether those are in order, what was read of
    /// one node does not say.
    pub fn leave_to_others(&mut self, node: &Name) {
        let is_elsewhere = |lease: &Lease| lease.holders.iter().any(|holder| holder.id.node != *node);
        for seen in self.leases.values_mut() {
            seen.is_context |= seen.value.as_known().is_some_and(is_elsewhere);
        }
    }

    /// Leaves out the attachments of a node of which it knows by itself that they have not leaked: those that began in this
    /// boot, and have their interface of their pod alone. Most are; what they hold is counted, and need not be read.
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
    /// Whether the last ADD of this attachment began in an earlier boot, as the node's own record says; `None` without a
    /// record, or where a boot is not known.
    pub fn is_earlier(&self, id: &AttachmentId) -> Option<bool> {
        let recorded = self.recorded.get(id).filter(|boot| !boot.is_empty() && !self.current.is_empty())?;
        Some(*recorded != self.current)
    }
}
