//! The first pass over a whole store: which leases and attachments are to be read again, and judged in full.
//!
//! ```text
//!  LeaseScan ── all leases read ──► AttachmentScan ── all attachments read, then the pods ──► Nominations ─► Batch, Batch, …
//!  a mark of 80 bytes each          each is compared with the marks, and kept only              what may have leaked
//!                                   if it does not fit
//! ```
//!
//! A lease is in order if one attachment says the same of it, no other attachment has its interface of its pod, and its pod is
//! on the list. Nearly all are; of those nothing but the mark is ever held. What is not in order is no leak yet: it is read
//! again ([`Batch`]), under the rules of [`find_leaks`](super::find_leaks), and only if its revision is still the one seen here,
//! since the list of pods is newer than this pass and may be older than what is read then.
//!
//! The order is in the types: leases before attachments, and both before the pods.

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

/// So many interfaces or entries are read again at once.
const BATCH: usize = 128;

/// What is kept of a lease that does not rest.
struct LeaseMark {
    bond: Digest,
    interface: Digest,
    pod: Digest,
    ip: IpAddr,
    revision: Revision,
    vrf: u32,
    holder: HolderClass,
    /// Whether the holder names no cluster, and may be given this one's name.
    is_unnamed: bool,
    /// Whether an attachment says the same.
    is_listed: bool,
}

/// What the value of a lease says of its holder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HolderClass {
    /// A pod whose API server can be asked.
    Pod,
    /// A pod of another cluster, of no named one, or while this cluster is not known.
    Uncovered(Uncovered),
    /// No pod that is named in full.
    NoPod,
    /// It is judged in any case: reserved, shared, or not readable.
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

/// An attachment that does not fit the leases.
struct OddAttachment {
    id: AttachmentId,
    revision: Revision,
    interface: Digest,
}

/// What was kept of the leases.
struct Marks {
    at: Timestamp,
    rules: Rules,
    vrfs: Vec<Name>,
    leases: Vec<LeaseMark>,
    rests_ahead: Vec<Amendment>,
}

/// A scan that reads leases.
pub struct LeaseScan(Marks);

impl LeaseScan {
    /// A scan that begins now.
    pub fn new(at: Timestamp, rules: Rules) -> Self {
        Self(Marks { at, rules, vrfs: Vec::new(), leases: Vec::new(), rests_ahead: Vec::new() })
    }

    /// Takes in a lease.
    pub fn note(&mut self, vrf: &Name, ip: IpAddr, revision: Revision, lease: &Stored<Lease>) {
        let Marks { at, rests_ahead, .. } = &mut self.0;
        if let Stored::Known(lease) = lease
            && (lease.rest.is_some() || lease.is_foreign_now(*at))
        {
            let sighted = lease.sighted(*at);
            rests_ahead.extend(sighted.map(|lease| Amendment::for_lease(vrf.clone(), ip, revision, lease)));
            return;
        }
        let vrf_number = self.0.number_of(vrf);
        let irregular = LeaseMark {
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
        let mark = match lease.as_known() {
            Some(lease) if lease.foreign().is_some() => LeaseMark { holder: HolderClass::Foreign, ..irregular },
            Some(lease) if lease.unused.is_none() => match lease.holders.as_slice() {
                [holder] => LeaseMark {
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
        self.0.leases.push(mark);
    }

    /// All leases were read.
    pub fn into_attachments(self) -> AttachmentScan {
        let Self(mut marks) = self;
        marks.leases.sort_unstable_by_key(|mark| mark.bond);
        AttachmentScan { marks, odd: Vec::new(), interfaces: Vec::new() }
    }
}

impl Marks {
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

/// A scan that has read the leases, and reads attachments.
pub struct AttachmentScan {
    marks: Marks,
    odd: Vec<OddAttachment>,
    /// Of each attachment with addresses.
    interfaces: Vec<Digest>,
}

impl AttachmentScan {
    /// Takes in an attachment.
    pub fn note(&mut self, id: AttachmentId, revision: Revision, attachment: &Stored<Attachment>) {
        let known = attachment.as_known();
        let holder = known.and_then(|known| known.holder.as_ref());
        let interface = holder.and_then(Digest::of_interface).unwrap_or_default();
        if interface != Digest::NONE && known.is_some_and(|known| !known.addresses.is_empty()) {
            self.interfaces.push(interface);
        }
        if !known.zip(holder).is_some_and(|(known, holder)| self.fits(&id, known, holder)) {
            self.odd.push(OddAttachment { id, revision, interface });
        }
    }

    /// Whether its leases say the same. Marks those that do.
    fn fits(&mut self, id: &AttachmentId, attachment: &Attachment, holder: &Holder) -> bool {
        let is_plain = holder.id == *id && attachment.closed.is_none() && !attachment.addresses.is_empty();
        let mut fits = is_plain;
        for assigned in attachment.addresses.iter().filter(|_| is_plain) {
            let bond = Digest::of_bond(&attachment.vrf, assigned.address.addr(), holder);
            match self.marks.leases.binary_search_by_key(&bond, |mark| mark.bond) {
                Ok(found) => self.marks.leases[found].is_listed = true,
                Err(_) => fits = false,
            }
        }
        fits
    }

    /// All attachments were read, and then the pods; `None` if nobody was asked about pods.
    pub fn into_nominations(self, pods: Option<PodSnapshot>) -> Nominations {
        let Self { marks: Marks { at, rules, vrfs, mut leases, rests_ahead }, mut odd, mut interfaces } = self;
        leases.sort_unstable_by_key(|mark| mark.interface);
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
            rests_ahead,
            tally: Tally::default(),
            items: Vec::new(),
        };
        nominations.nominate();
        nominations
    }
}

/// What is to be read again.
enum Item {
    /// Whatever has this interface of this pod.
    Interface(Digest),
    Lease(usize),
    Attachment(usize),
}

/// What may have leaked, as far as digests tell.
pub struct Nominations {
    pub(super) at: Timestamp,
    pub(super) rules: Rules,
    vrfs: Vec<Name>,
    /// By interface, as `odd` is.
    leases: Vec<LeaseMark>,
    odd: Vec<OddAttachment>,
    /// Interfaces that several attachments have.
    shared: Vec<Digest>,
    pub(super) pods: Option<Arc<PodSnapshot>>,
    /// What rests or is foreign, by a time that lies ahead.
    pub(super) rests_ahead: Vec<Amendment>,
    /// What is counted of the leases that are not read again, and of all how many are held.
    pub(super) tally: Tally,
    /// What is left to be read again, the last first.
    items: Vec<Item>,
}

impl Nominations {
    fn nominate(&mut self) {
        self.tally.held = self.leases.iter().filter(|mark| mark.holder != HolderClass::Foreign).count();
        let (mut items, mut interfaces, mut tally) = (Vec::new(), Vec::new(), self.tally);
        for (number, mark) in self.leases.iter().enumerate().filter(|(_, mark)| self.may_have_leaked(mark)) {
            match mark.interface {
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
        // Whatever has a nominated interface is judged with it, and counted then.
        let is_judged =
            |mark: &LeaseMark| self.may_have_leaked(mark) || interfaces.binary_search(&mark.interface).is_ok();
        for mark in self.leases.iter().filter(|mark| !is_judged(mark)) {
            count(&mut tally, mark.holder, self.pods.is_some());
        }
        items.extend(interfaces.into_iter().map(Item::Interface));
        (self.items, self.tally) = (items, tally);
    }

    fn may_have_leaked(&self, mark: &LeaseMark) -> bool {
        let runs = self.pods.as_ref().map(|pods| pods.has_digest(mark.pod));
        let is_shared = || self.shared.binary_search(&mark.interface).is_ok();
        match mark.holder {
            HolderClass::Irregular | HolderClass::Foreign => true,
            HolderClass::NoPod => false,
            _ if !mark.is_listed || is_shared() || mark.is_unnamed && runs == Some(true) => true,
            HolderClass::Pod => runs == Some(false),
            HolderClass::Uncovered(_) => false,
        }
    }

    /// The next of what is to be read again; `None` at the end.
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
                    leases.extend(of_interface(&self.leases, interface, |mark| mark.interface));
                    attachments.extend(of_interface(&self.odd, interface, |odd| odd.interface));
                }
            }
        }
        let leases = leases.into_iter().map(|mark| (self.key(mark), mark.revision));
        let attachments = attachments.into_iter().map(|odd| (keys::attachment(&odd.id), odd.revision));
        Some(Batch::new(self, leases.chain(attachments).collect()))
    }

    /// The keys of all that has an interface of a pod.
    pub(super) fn keys_of(&self, interface: Digest) -> Vec<Key> {
        let leases = of_interface(&self.leases, interface, |mark| mark.interface).iter().map(|mark| self.key(mark));
        let odd = of_interface(&self.odd, interface, |odd| odd.interface).iter();
        leases.chain(odd.map(|odd| keys::attachment(&odd.id))).collect()
    }

    fn key(&self, mark: &LeaseMark) -> Key {
        // Its number was given when its name was noted.
        self.vrfs.get(mark.vrf as usize).map_or_else(|| Key::new(""), |vrf| keys::lease(vrf, mark.ip))
    }
}

/// Those of a list, sorted by interface, that have this one.
fn of_interface<T>(sorted: &[T], interface: Digest, of: impl Fn(&T) -> Digest) -> &[T] {
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
