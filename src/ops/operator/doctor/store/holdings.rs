//! `attachments`: whether each address of an attachment has a lease that names it. Both are written in one transaction,
//! so only somebody who changes the store by hand can part them. Then another pod may get the address.
//!
//! ```text
//!  leases ─► hashes of (address, holder) ┐
//!  attachments ──────────────────────────┴► suspects ─► read again, each as one state ─► unheld
//! ```
//!
//! The leases are read before the attachments, so an ADD in between is a suspect. Only hashes of the holders are kept,
//! since a store may have a million leases.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use crate::error::Error;
use crate::explain::Commands;
use crate::ipam::keys;
use crate::ipam::lease::{Attachment, Holder, Lease, Stored};
use crate::ipam::name::{AttachmentId, Name};
use crate::ops::Session;
use crate::ops::operator::STORE_TIMEOUT;
use crate::ops::operator::doctor::check::{Outcome, Remedy};
use crate::ops::operator::doctor::subject::{Subject, commands};
use crate::ops::operator::doctor::text::counted;
use crate::store::{Entry, Key, StoreConfig};

/// The most suspects that are read again, and named.
const MAX_SUSPECTS: usize = 20;

/// The holders of leases, and the attachments that miss one.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    hasher: RandomState,
    held: HashSet<u64>,
    suspects: Vec<AttachmentId>,
    /// How many more there are.
    more: usize,
    attachments: u64,
}

/// The result of the comparison.
#[derive(Debug, Default)]
pub(super) struct Compared {
    unheld: Vec<Unheld>,
    /// How many more attachments miss a lease, perhaps.
    more: usize,
    attachments: u64,
}

/// An address of an attachment that no lease says is its own.
#[derive(Debug)]
struct Unheld {
    vrf: Name,
    ip: IpAddr,
    id: AttachmentId,
    holder: Option<Holder>,
    /// Its lease, if there is one.
    lease: Option<Box<Lease>>,
}

impl Holdings {
    pub(super) fn note_lease(&mut self, vrf: &Name, ip: IpAddr, lease: &Lease) {
        if lease.is_held() {
            self.held.extend(lease.holders.iter().map(|holder| self.hasher.hash_one((vrf, ip, &holder.id))));
        }
    }

    pub(super) fn note_attachment(&mut self, id: AttachmentId, attachment: &Attachment) {
        self.attachments += 1;
        let is_held = |ip: IpAddr| self.held.contains(&self.hasher.hash_one((&attachment.vrf, ip, &id)));
        if attachment.addresses.iter().all(|assigned| is_held(assigned.address.addr())) {
            return;
        }
        if self.suspects.len() < MAX_SUSPECTS {
            self.suspects.push(id);
        } else {
            self.more += 1;
        }
    }

    /// Reads the suspects again.
    pub(super) fn compare(self, session: &Session) -> Result<Compared, Error> {
        let mut unheld = Vec::new();
        for id in self.suspects {
            let Some(attachment) = read(session, vec![keys::attachment(&id)])?.pop() else { continue };
            let Some(attachment) = Stored::<Attachment>::read(&attachment.value).known() else { continue };
            let leases = attachment.addresses.iter().map(|it| keys::lease(&attachment.vrf, it.address.addr()));
            // Together with the leases, so that it is one state.
            let keys: Vec<Key> = [keys::attachment(&id)].into_iter().chain(leases).collect();
            unheld.extend(unheld_of(&id, &read(session, keys)?));
        }
        Ok(Compared { unheld, more: self.more, attachments: self.attachments })
    }
}

/// The entries of these keys, as one state.
fn read(session: &Session, keys: Vec<Key>) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    session.each_of(keys, STORE_TIMEOUT, |entry| {
        entries.push(entry.clone());
        Ok::<_, Error>(())
    })?;
    Ok(entries)
}

/// The addresses of an attachment that are not its own, by entries of one state.
fn unheld_of(id: &AttachmentId, entries: &[Entry]) -> Vec<Unheld> {
    let value = |key: &Key| entries.iter().find(|entry| entry.key == *key).map(|entry| entry.value.as_slice());
    let attachment = value(&keys::attachment(id)).and_then(|value| Stored::<Attachment>::read(value).known());
    let Some(Attachment { vrf, addresses, holder, .. }) = attachment else { return Vec::new() };
    let unheld = |ip: IpAddr| {
        let lease = match value(&keys::lease(&vrf, ip)).map(Stored::<Lease>::read) {
            None => None,
            Some(Stored::Known(lease)) if lease.is_held_by(id) => return None,
            Some(Stored::Known(lease)) => Some(Box::new(lease)),
            // The check of the entries names it, and nobody gets its address.
            Some(Stored::Unreadable(_)) => return None,
        };
        Some(Unheld { vrf: vrf.clone(), ip, id: id.clone(), holder: holder.clone(), lease })
    };
    addresses.iter().filter_map(|assigned| unheld(assigned.address.addr())).collect()
}

impl Compared {
    /// One outcome for each address without its lease.
    pub(super) fn outcomes(&self, store: &StoreConfig, next: &Commands) -> Vec<Outcome> {
        let subject = Subject::new(store.to_string());
        let mut outcomes: Vec<Outcome> = self.unheld.iter().map(|unheld| outcome(unheld, store, next)).collect();
        if self.more > 0 {
            let more = counted(self.more, "more attachment has", "more attachments have");
            let text = "mend the first ones, and run this again for the others";
            outcomes.push(subject.error(format!("{more} addresses without a lease"), Remedy::new(text)));
        }
        if outcomes.is_empty() {
            let all = if self.attachments == 1 {
                "1 attachment".to_owned()
            } else {
                format!("{} attachments", self.attachments)
            };
            outcomes.push(subject.ok(format!("{all}, each with the leases of its addresses")));
        }
        outcomes
    }
}

fn outcome(unheld: &Unheld, store: &StoreConfig, next: &Commands) -> Outcome {
    let Unheld { vrf, ip, id, holder, lease } = unheld;
    let (subject, address) = (Subject::new(ip.to_string()), ip.to_string());
    let whose = holder.as_ref().map_or_else(|| id.to_string(), Holder::to_string);
    let list = || next.kube_ipam(&["list", "--ip", &address], Some(vrf));
    let other = lease.as_deref().filter(|lease| lease.is_held()).and_then(|lease| lease.holders.first());
    if let Some(other) = other {
        return subject.error(
            format!("{whose} has it, and the lease is that of {other}: two pods may have one address"),
            commands("delete the pod that should not have it", [list()]),
        );
    }
    let lack = if lease.is_some() { "is not in use by its lease" } else { "has no lease" };
    let message =
        format!("{whose} has it, and it {lack}: another pod may get it; somebody has changed the store by hand");
    // Where objects can be deleted one by one, a node takes this for a lost write.
    if matches!(store, StoreConfig::Kubernetes(_)) {
        let text = "let the node of this attachment write it back with the first command, run there";
        return subject.error(message, commands(text, [next.on_other_node(&["sweep", "--node"]), list()]));
    }
    subject.error(
        message,
        commands(
            "keep it from others with the first command, delete the pod of this attachment, and release the address then",
            [
                next.kube_ipam(&["reserve", &address, "--reason", "its lease was lost"], Some(vrf)),
                list(),
                next.kube_ipam(&["release", &address], Some(vrf)),
            ],
        ),
    )
}
