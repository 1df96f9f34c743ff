//! The first pass over a whole store: which leases and attachments to read again, under all rules.
//!
//! ```text
//!  LeaseScan ── all leases read ──► AttachmentScan ── all attachments read, then the pods ──► Nominations ─► Batch, Batch, …
//!  a summary of 80 bytes each       each is compared with the summaries, and kept only         what may have leaked
//!                                   if it does not match
//! ```
//!
//! A lease is in order if one attachment agrees with it, no other attachment has its interface of its pod, and its pod
//! is listed. Nearly all are, and only their summaries are ever in memory. What is not in order is not a leak yet. It
//! is read again ([`Batch`]) under the rules of [`find_leaks`](super::find_leaks), and judged only if its revision is
//! the one of this pass: the list of pods is newer than this pass, but may be older than the second one.
//!
//! The types enforce the order: leases before attachments, and both before the pods.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use super::batch::Batch;
use super::digest::Digest;
use super::pods::PodSnapshot;
use super::{Rules, Tally};
use crate::ipam::decide::Amendment;
use crate::ipam::keys;
use crate::ipam::lease::{Attachment, Holder, Lease, Stored};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::takeover::{InUseReason, is_complete};
use crate::store::{Key, Revision};

/// How many interfaces or entries one batch reads again.
const BATCH: usize = 128;

/// The summary of a lease that is not in cooldown.
struct LeaseSummary {
    bond: Digest,
    interface: Digest,
    pod: Digest,
    ip: IpAddr,
    revision: Revision,
    vrf: u32,
    holder: HolderClass,
    /// Whether the holder names no cluster.
    is_unnamed: bool,
    /// Whether an attachment agrees with it.
    is_listed: bool,
}

/// How a lease's holder can be checked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HolderClass {
    /// By the API server.
    Pod,
    /// Not at all: its pod belongs to another cluster or names none, or this cluster's identity is not known.
    Uncovered(Uncovered),
    /// Not at all: it has no pod's full name.
    NoPod,
    /// Only in full: the lease is reserved, shared, or can't be read.
    Irregular,
    /// A host without a lease, which has not answered for an hour. Nothing is kept of one that has.
    Foreign,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Uncovered {
    OtherCluster,
    ClusterUnnamed,
    ClusterUnknown,
}

/// An attachment that does not match the leases.
struct OddAttachment {
    id: AttachmentId,
    revision: Revision,
    interface: Digest,
}

/// The summaries of all leases.
struct LeaseSummaries {
    at: Timestamp,
    rules: Rules,
    vrfs: Vec<Name>,
    leases: Vec<LeaseSummary>,
    future_times: Vec<Amendment>,
}

/// A scan that is reading the leases.
pub struct LeaseScan(LeaseSummaries);

impl LeaseScan {
    /// A scan that starts at this time.
    pub fn new(at: Timestamp, rules: Rules) -> Self {
        Self(LeaseSummaries { at, rules, vrfs: Vec::new(), leases: Vec::new(), future_times: Vec::new() })
    }

    /// Adds a lease.
    pub fn note(&mut self, vrf: &Name, ip: IpAddr, revision: Revision, lease: &Stored<Lease>) {
        let LeaseSummaries { at, future_times, .. } = &mut self.0;
        if let Stored::Known(lease) = lease
            && (lease.rest.is_some() || lease.is_foreign_now(*at))
        {
            let sighted = lease.sighted(*at);
            future_times.extend(sighted.map(|lease| Amendment::for_lease(vrf.clone(), ip, revision, lease)));
            return;
        }
        let vrf_number = self.0.number_of(vrf);
        let irregular = LeaseSummary {
            bond: Digest::NONE,
            interface: Digest::NONE,
            pod: Digest::NONE,
            ip,
            revision,
            vrf: vrf_number,
            holder: HolderClass::Irregular,
            is_unnamed: false,
            is_listed: false,
        };
        let summary = match lease.as_known() {
            Some(lease) if lease.foreign().is_some() => LeaseSummary { holder: HolderClass::Foreign, ..irregular },
            Some(lease) if lease.unused.is_none() => match lease.holders.as_slice() {
                [holder] => LeaseSummary {
                    bond: Digest::of_bond(vrf, ip, holder),
                    interface: Digest::of_interface(holder).unwrap_or_default(),
                    pod: Digest::of_pod_ref(&holder.pod).unwrap_or_default(),
                    holder: HolderClass::new(holder, &self.0.rules),
                    is_unnamed: holder.cluster.is_none(),
                    ..irregular
                },
                _ => irregular,
            },
            _ => irregular,
        };
        self.0.leases.push(summary);
    }

    /// Continues with the attachments, after all leases were added.
    pub fn into_attachments(self) -> AttachmentScan {
        let Self(mut summaries) = self;
        summaries.leases.sort_unstable_by_key(|summary| summary.bond);
        AttachmentScan { summaries, odd: Vec::new(), interfaces: Vec::new() }
    }
}

impl LeaseSummaries {
    fn number_of(&mut self, vrf: &Name) -> u32 {
        let known = self.vrfs.iter().rposition(|known| known == vrf);
        let number = known.unwrap_or_else(|| {
            self.vrfs.push(vrf.clone());
            self.vrfs.len() - 1
        });
        u32::try_from(number).unwrap_or(u32::MAX)
    }
}

impl HolderClass {
    fn new(holder: &Holder, rules: &Rules) -> Self {
        if !is_complete(&holder.pod) {
            return Self::NoPod;
        }
        match rules.cluster.covers(holder.cluster.as_deref()) {
            Ok(()) => Self::Pod,
            Err(InUseReason::OtherCluster) => Self::Uncovered(Uncovered::OtherCluster),
            Err(InUseReason::ClusterUnnamed) => Self::Uncovered(Uncovered::ClusterUnnamed),
            Err(_) => Self::Uncovered(Uncovered::ClusterUnknown),
        }
    }
}

/// A scan that is reading the attachments.
pub struct AttachmentScan {
    summaries: LeaseSummaries,
    odd: Vec<OddAttachment>,
    /// The interface of each attachment with addresses.
    interfaces: Vec<Digest>,
}

impl AttachmentScan {
    /// Adds an attachment.
    pub fn note(&mut self, id: AttachmentId, revision: Revision, attachment: &Stored<Attachment>) {
        let known = attachment.as_known();
        let holder = known.and_then(|known| known.holder.as_ref());
        let interface = holder.and_then(Digest::of_interface).unwrap_or_default();
        if interface != Digest::NONE && known.is_some_and(|known| !known.addresses.is_empty()) {
            self.interfaces.push(interface);
        }
        if !known.zip(holder).is_some_and(|(known, holder)| self.matches(&id, known, holder)) {
            self.odd.push(OddAttachment { id, revision, interface });
        }
    }

    /// Whether its leases agree with it. Sets `is_listed` in those that do.
    fn matches(&mut self, id: &AttachmentId, attachment: &Attachment, holder: &Holder) -> bool {
        let is_plain = holder.id == *id && attachment.closed.is_none() && !attachment.addresses.is_empty();
        let mut matches = is_plain;
        for assigned in attachment.addresses.iter().filter(|_| is_plain) {
            let bond = Digest::of_bond(&attachment.vrf, assigned.address.addr(), holder);
            match self.summaries.leases.binary_search_by_key(&bond, |summary| summary.bond) {
                Ok(found) => self.summaries.leases[found].is_listed = true,
                Err(_) => matches = false,
            }
        }
        matches
    }

    /// Ends the first pass. The pods were listed after all attachments were added; `None` without an API server.
    pub fn into_nominations(self, pods: Option<PodSnapshot>) -> Nominations {
        let Self { summaries: LeaseSummaries { at, rules, vrfs, mut leases, future_times }, mut odd, mut interfaces } =
            self;
        leases.sort_unstable_by_key(|summary| summary.interface);
        odd.sort_unstable_by_key(|odd| odd.interface);
        interfaces.sort_unstable();
        let mut shared: Vec<Digest> =
            interfaces.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        shared.dedup();
        let mut nominations = Nominations {
            at,
            rules,
            vrfs,
            leases,
            odd,
            shared,
            pods: pods.map(Arc::new),
            future_times,
            tally: Tally::default(),
            items: Vec::new(),
        };
        nominations.nominate();
        nominations
    }
}

/// Something to read again.
enum Item {
    /// All entries with this interface of a pod.
    Interface(Digest),
    Lease(usize),
    Attachment(usize),
}

/// What may have leaked, according to the digests.
pub struct Nominations {
    pub(super) at: Timestamp,
    pub(super) rules: Rules,
    vrfs: Vec<Name>,
    /// Sorted by interface, like `odd`.
    leases: Vec<LeaseSummary>,
    odd: Vec<OddAttachment>,
    shared: Vec<Digest>,
    pub(super) pods: Option<Arc<PodSnapshot>>,
    /// What rests or is foreign, by a time that lies ahead.
    pub(super) future_times: Vec<Amendment>,
    /// What is counted of the leases that are not read again, and of all how many are held.
    pub(super) tally: Tally,
    /// What is left to read again. The end comes first.
    items: Vec<Item>,
}

impl Nominations {
    fn nominate(&mut self) {
        self.tally.held = self.leases.iter().filter(|mark| mark.holder != HolderClass::Foreign).count();
        let (mut items, mut interfaces, mut tally) = (Vec::new(), Vec::new(), self.tally);
        for (number, summary) in self.leases.iter().enumerate().filter(|(_, summary)| self.may_have_leaked(summary)) {
            match summary.interface {
                Digest::NONE => items.push(Item::Lease(number)),
                interface => interfaces.push(interface),
            }
        }
        for (number, odd) in self.odd.iter().enumerate() {
            match odd.interface {
                Digest::NONE => items.push(Item::Attachment(number)),
                interface => interfaces.push(interface),
            }
        }
        interfaces.sort_unstable();
        interfaces.dedup();
        // Leases with a nominated interface are judged and counted in the second pass.
        let is_judged = |summary: &LeaseSummary| {
            self.may_have_leaked(summary) || interfaces.binary_search(&summary.interface).is_ok()
        };
        for summary in self.leases.iter().filter(|summary| !is_judged(summary)) {
            count(&mut tally, summary.holder, self.pods.is_some());
        }
        items.extend(interfaces.into_iter().map(Item::Interface));
        (self.items, self.tally) = (items, tally);
    }

    fn may_have_leaked(&self, summary: &LeaseSummary) -> bool {
        let runs = self.pods.as_ref().map(|pods| pods.has_digest(summary.pod));
        let is_shared = || self.shared.binary_search(&summary.interface).is_ok();
        match summary.holder {
            HolderClass::Irregular | HolderClass::Foreign => true,
            HolderClass::NoPod => false,
            _ if !summary.is_listed || is_shared() || summary.is_unnamed && runs == Some(true) => true,
            HolderClass::Pod => runs == Some(false),
            HolderClass::Uncovered(_) => false,
        }
    }

    pub(super) fn next_batch(&mut self) -> Option<Batch> {
        if self.items.is_empty() {
            return None;
        }
        let (mut leases, mut attachments) = (Vec::new(), Vec::new());
        for item in self.items.split_off(self.items.len().saturating_sub(BATCH)) {
            match item {
                Item::Lease(number) => leases.extend(self.leases.get(number)),
                Item::Attachment(number) => attachments.extend(self.odd.get(number)),
                Item::Interface(interface) => {
                    leases.extend(with_interface(&self.leases, interface, |summary| summary.interface));
                    attachments.extend(with_interface(&self.odd, interface, |odd| odd.interface));
                }
            }
        }
        let leases = leases.into_iter().map(|summary| (self.key(summary), summary.revision));
        let attachments = attachments.into_iter().map(|odd| (keys::attachment(&odd.id), odd.revision));
        Some(Batch::new(self, leases.chain(attachments).collect()))
    }

    /// The keys of all entries with an interface of a pod.
    pub(super) fn keys_of(&self, interface: Digest) -> Vec<Key> {
        let leases = with_interface(&self.leases, interface, |summary| summary.interface)
            .iter()
            .map(|summary| self.key(summary));
        let odd = with_interface(&self.odd, interface, |odd| odd.interface).iter();
        leases.chain(odd.map(|odd| keys::attachment(&odd.id))).collect()
    }

    fn key(&self, summary: &LeaseSummary) -> Key {
        // The number was assigned when the lease was added.
        self.vrfs.get(summary.vrf as usize).map_or_else(|| Key::new(""), |vrf| keys::lease(vrf, summary.ip))
    }
}

/// The items of a sorted list that have this interface.
fn with_interface<T>(sorted: &[T], interface: Digest, of: impl Fn(&T) -> Digest) -> &[T] {
    let from = sorted.partition_point(|item| of(item) < interface);
    let length = sorted[from..].partition_point(|item| of(item) == interface);
    &sorted[from..from + length]
}

fn count(tally: &mut Tally, holder: HolderClass, is_asked: bool) {
    match holder {
        HolderClass::NoPod => tally.without_a_pod += 1,
        HolderClass::Uncovered(Uncovered::OtherCluster) => tally.of_another_cluster += 1,
        HolderClass::Uncovered(Uncovered::ClusterUnnamed) => tally.of_unnamed_cluster += 1,
        HolderClass::Uncovered(Uncovered::ClusterUnknown) => tally.not_asked += 1,
        HolderClass::Pod if !is_asked => tally.not_asked += 1,
        HolderClass::Pod | HolderClass::Irregular | HolderClass::Foreign => {}
    }
}
