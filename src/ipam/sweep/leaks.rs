//! The rules of a leak, applied to one observation.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;

use super::observation::{Observation, Seen};
use super::{LeakCandidate, LeakReason, Rules, SkipReason, Target, Verdict};
use crate::ipam::decide::{Amended, Amendment, is_fence_over};
use crate::ipam::lease::{AllocationKind, Attachment, Began, Holder, Lease, OnRelease, PodRef, Stored, is_ahead};
use crate::ipam::name::{AttachmentId, IfName, Name};
use crate::ipam::takeover::{InUseReason, is_complete, is_later_in_its_boot, is_static};

/// How long the entry of an attachment stands that has lost all its addresses, in seconds: longer than a node is away that
/// comes back with its pods. A node takes the absence of an entry for a loss of the store.
const TRACE: i64 = 7 * 24 * 3600;

/// What may have leaked by one observation, or one scan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeakReport {
    /// What has leaked unless the last checks say otherwise, or is skipped and why.
    pub candidates: BTreeMap<Target, LeakCandidate>,
    /// How much was seen.
    pub tally: Tally,
    /// First sights of fences, and of times that lie ahead. They are stored, so that these age.
    pub notes: Vec<Amendment>,
}

/// How many addresses are held or reserved, and how many of them could not be checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Held or reserved, checked or not.
    pub held: usize,
    /// Held for a pod of another cluster, or reserved for an owner of one.
    pub of_another_cluster: usize,
    /// Held or reserved under no cluster's name, as kube-ipam 0.3.0 did where the node defaults gave none.
    pub of_unnamed_cluster: usize,
    /// Held for a container whose runtime named no pod in full.
    pub without_a_pod: usize,
    /// Of this cluster, while no API server is asked.
    pub not_asked: usize,
}

impl LeakReport {
    /// Replaces what it says of these nodes by what a later report says. A share of an address is left as it was: a report on
    /// some nodes does not judge it.
    pub fn update(&mut self, nodes: &BTreeSet<Name>, later: Self) {
        let is_replaced = |candidate: &LeakCandidate| {
            let is_share = matches!(candidate.target, Target::Share { .. });
            !is_share && candidate.node().is_some_and(|node| nodes.contains(node))
        };
        self.candidates.retain(|_, candidate| !is_replaced(candidate));
        self.candidates.extend(later.candidates);
        self.notes = later.notes;
    }
}

impl LeakCandidate {
    /// The node whose attachment holds it; `None` of what nobody holds.
    pub fn node(&self) -> Option<&Name> {
        match (&self.target, &self.verdict) {
            (_, Verdict::Leaked(LeakReason::Reserved | LeakReason::Expired | LeakReason::ForeignNoLonger)) => None,
            (Target::Attachment(id) | Target::Share { of: id, .. }, _) => Some(&id.node),
            (Target::Address { .. }, _) => self.holder.as_ref().map(|holder| &holder.id.node),
        }
    }
}

impl Tally {
    /// Adds what can't be checked of others, whose number was counted before.
    pub(super) fn add_unchecked(&mut self, other: &Self) {
        let Self { held: _, of_another_cluster, of_unnamed_cluster, without_a_pod, not_asked } = other;
        self.of_another_cluster += of_another_cluster;
        self.of_unnamed_cluster += of_unnamed_cluster;
        self.without_a_pod += without_a_pod;
        self.not_asked += not_asked;
    }
}

/// Judges what was seen, but for what is there only to be compared with.
pub fn find_leaks(seen: &Observation, rules: &Rules) -> LeakReport {
    let mut finder =
        LeakFinder { seen, rules, latest: latest(seen), rebooted: BTreeSet::new(), report: LeakReport::default() };
    finder.report.tally.held = seen.healthy;
    finder.report.notes = seen.rests_ahead.clone();
    for (id, attachment) in seen.attachments.iter().filter(|(_, seen)| !seen.is_context) {
        finder.attachment(id, attachment);
    }
    for ((vrf, ip), lease) in seen.leases.iter().filter(|(_, seen)| !seen.is_context) {
        finder.lease(vrf, *ip, lease);
    }
    finder.report
}

/// One interface of a pod on a network, whichever sandbox has it, and whatever its node and its cluster were called at the time.
pub(super) type PodInterface<'a> = (&'a PodRef, &'a IfName, &'a Name);

pub(super) fn pod_interface(holder: &Holder) -> PodInterface<'_> {
    let AttachmentId { ifname, network, .. } = &holder.id;
    (&holder.pod, ifname, network)
}

/// The latest ADDs of an interface of a pod in a boot of its machine: one for each cluster that they name, and for none.
type Latest<'a> = BTreeMap<(PodInterface<'a>, &'a str), BTreeMap<Option<&'a str>, &'a Began>>;

/// The latest ADD of each boot that gave addresses to an interface of a pod.
fn latest(seen: &Observation) -> Latest<'_> {
    let mut latest = Latest::new();
    let given = seen.attachments.values().filter_map(|attachment| match &attachment.value {
        Stored::Known(known) if !known.addresses.is_empty() => known.holder.as_ref(),
        _ => None,
    });
    for holder in given.filter(|holder| is_complete(&holder.pod)) {
        let by_cluster = latest.entry((pod_interface(holder), holder.began.boot.as_str())).or_default();
        let began = by_cluster.entry(holder.cluster.as_deref()).or_insert(&holder.began);
        if is_later_in_its_boot(&holder.began, began) {
            *began = &holder.began;
        }
    }
    latest
}

/// What is to be done about what a holder has, if anything; or why that can't be checked.
type HolderVerdict = Result<Option<Verdict>, InUseReason>;

struct LeakFinder<'a> {
    seen: &'a Observation,
    rules: &'a Rules,
    latest: Latest<'a>,
    /// Attachments that were judged together with what they hold.
    rebooted: BTreeSet<&'a AttachmentId>,
    report: LeakReport,
}

/// How a holder stands, by its pod.
enum HolderStatus {
    /// Its pod runs, as far as is known.
    Alive,
    /// It may go.
    Leaked(LeakReason),
    /// It is to be looked at, but stays.
    Skipped(SkipReason),
    /// Nothing can be told of it.
    Unchecked(InUseReason),
}

impl<'a> LeakFinder<'a> {
    fn lease(&mut self, vrf: &Name, ip: IpAddr, seen: &'a Seen<Lease>) {
        if let Some(lease) = seen.value.as_known().filter(|lease| lease.foreign().is_some()) {
            // One that has answered within the last hour was passed over.
            let verdict = Verdict::Leaked(LeakReason::ForeignNoLonger);
            return self.candidate(address(vrf, ip), seen, None, Some(lease.since), verdict);
        }
        self.report.tally.held += 1;
        let lease = match &seen.value {
            Stored::Known(lease) => lease,
            Stored::Unreadable(why) => {
                let reason = SkipReason::Unreadable(why.clone());
                return self.candidate(address(vrf, ip), seen, None, None, Verdict::Skipped(reason));
            }
        };
        let judged: Vec<(Target, Option<&Holder>, HolderVerdict)> = match (lease.unused, lease.holders.as_slice()) {
            (Some(unused), holders) => vec![(address(vrf, ip), holders.first(), self.reserved(lease, unused))],
            (None, []) => vec![(address(vrf, ip), None, Ok(Some(Verdict::Skipped(SkipReason::Disagrees))))],
            (None, [holder]) => vec![(address(vrf, ip), Some(holder), self.held(vrf, ip, lease, holder))],
            // What one of them has goes, and the others are left alone.
            (None, several) => {
                let share = |of: &Holder| Target::Share { vrf: vrf.clone(), ip, of: of.id.clone() };
                several.iter().map(|of| (share(of), Some(of), self.held(vrf, ip, lease, of))).collect()
            }
        };
        let is_to_age = |judged: &HolderVerdict| matches!(judged, Ok(Some(Verdict::Skipped(SkipReason::Young))));
        if (lease.unused.is_some() || judged.iter().any(|(.., judged)| is_to_age(judged)))
            && let Some(sighted) = lease.sighted(self.seen.at)
        {
            self.report.notes.push(Amendment::for_lease(vrf.clone(), ip, seen.revision, sighted));
        }
        // The number is of addresses, not of holders.
        if let Some(in_use) = judged.iter().find_map(|(.., judged)| judged.as_ref().err()) {
            self.unchecked(&in_use.clone());
        }
        for (target, holder, judged) in judged {
            let Ok(Some(verdict)) = judged else { continue };
            let is_kept = matches!(lease.on_release, OnRelease::Keep(_));
            let (holder, owner) = (holder.cloned(), lease.owner.clone().filter(|_| is_kept));
            let (since, revision) = (Some(lease.unused.unwrap_or(lease.since)), seen.revision);
            self.add(LeakCandidate { target, revision, holder, owner, since, verdict });
        }
    }

    /// What nobody holds, and is kept for an owner.
    fn reserved(&self, lease: &Lease, unused: Timestamp) -> HolderVerdict {
        if lease.is_over(self.seen.at) {
            return Ok(Some(Verdict::Leaked(LeakReason::Expired)));
        }
        match &lease.owner {
            Some(owner) if let Err(in_use) = self.rules.cluster.covers(owner.cluster.as_deref()) => Err(in_use),
            Some(_) if self.seen.pods.is_none() => Err(InUseReason::NotChecked),
            // A pod that is made anew is on its way.
            Some(_) if self.is_young(lease, unused) => Ok(None),
            Some(_) => Ok(Some(Verdict::Leaked(LeakReason::Reserved))),
            None => Ok(Some(Verdict::Skipped(SkipReason::Disagrees))),
        }
    }

    /// What this holder has of an address.
    fn held(&self, vrf: &Name, ip: IpAddr, lease: &Lease, holder: &'a Holder) -> HolderVerdict {
        if self.rebooted.contains(&holder.id) {
            return Ok(None);
        }
        Ok(match self.holder_status(holder) {
            HolderStatus::Alive if self.lists(vrf, ip, &holder.id) => None,
            HolderStatus::Alive => Some(Verdict::Skipped(SkipReason::Disagrees)),
            HolderStatus::Leaked(_) if self.is_young(lease, lease.since) => Some(Verdict::Skipped(SkipReason::Young)),
            HolderStatus::Leaked(why) => Some(Verdict::Leaked(why)),
            HolderStatus::Skipped(reason) => Some(Verdict::Skipped(reason)),
            HolderStatus::Unchecked(in_use) => return Err(in_use),
        })
    }

    fn unchecked(&mut self, in_use: &InUseReason) {
        let tally = &mut self.report.tally;
        match in_use {
            InUseReason::OtherCluster => tally.of_another_cluster += 1,
            InUseReason::ClusterUnnamed => tally.of_unnamed_cluster += 1,
            InUseReason::NoPodNamed => tally.without_a_pod += 1,
            _ => tally.not_asked += 1,
        }
    }

    fn attachment(&mut self, id: &'a AttachmentId, seen: &'a Seen<Attachment>) {
        let attachment = match &seen.value {
            Stored::Known(attachment) => attachment,
            Stored::Unreadable(why) => {
                let reason = SkipReason::Unreadable(why.clone());
                return self.candidate(Target::Attachment(id.clone()), seen, None, None, Verdict::Skipped(reason));
            }
        };
        let is_bare = attachment.addresses.is_empty();
        let stands = attachment.closed.is_some_and(|closed| is_bare && !self.is_over(id, seen, attachment, closed));
        let found = match (&attachment.holder, attachment.closed) {
            // An ADD or DEL of it may be under way as long as the fence in it stands.
            _ if stands => None,
            (_, Some(closed)) if attachment.is_only_closed() => Some(Verdict::Leaked(LeakReason::Closed(closed))),
            (None, _) => Some(Verdict::Skipped(SkipReason::Disagrees)),
            (Some(holder), _) => {
                self.of_earlier_boot(id, attachment, holder).or_else(|| self.left_over(id, attachment, holder))
            }
        };
        let Some(verdict) = found else { return };
        self.candidate(Target::Attachment(id.clone()), seen, attachment.holder.as_ref(), attachment.closed, verdict);
    }

    /// An attachment of this node's that began in an earlier boot, with all that it holds: all of it goes, or none, since
    /// an ADD that is repeated for it would be refused if it had lost a part.
    fn of_earlier_boot(
        &mut self,
        id: &'a AttachmentId,
        attachment: &'a Attachment,
        holder: &'a Holder,
    ) -> Option<Verdict> {
        let boots = self.seen.boots.as_ref()?;
        let (current, began) = (&boots.current, &holder.began.boot);
        let (earlier, why) = match boots.ended.contains(id) {
            true => (Some(true), LeakReason::NamespaceGone),
            false => (boots.is_earlier(id), LeakReason::EarlierBoot),
        };
        let verdict = match earlier {
            // A repeated ADD leaves the attachment as it was, so that the record alone says in which boot it runs.
            Some(false) => return None,
            None if began.is_empty() || current.is_empty() || began == current => return None,
            None => Verdict::Skipped(SkipReason::NoRecord),
            Some(true) if attachment.addresses.is_empty() => Verdict::Leaked(why),
            Some(true) => match self.kinds(id, attachment) {
                Some(kinds) if kinds.iter().all(|kind| *kind == AllocationKind::Dynamic) => Verdict::Leaked(why),
                Some(_) => Verdict::Skipped(SkipReason::KeepsItsName(why)),
                None => return None,
            },
        };
        self.rebooted.insert(id);
        Some(verdict)
    }

    /// How the addresses of an attachment were chosen; `None` if one of them is not its own, or can't be read.
    fn kinds(&self, id: &AttachmentId, attachment: &Attachment) -> Option<Vec<AllocationKind>> {
        let kind = |ip: IpAddr| match &self.seen.leases.get(&(attachment.vrf.clone(), ip))?.value {
            Stored::Known(lease) if lease.is_held_by(id) && lease.holders.len() == 1 => Some(lease.kind),
            _ => None,
        };
        attachment.addresses.iter().map(|assigned| kind(assigned.address.addr())).collect()
    }

    /// An attachment without an address of its own: what a take-over has left of it, or a disagreement.
    fn left_over(&self, id: &AttachmentId, attachment: &Attachment, holder: &'a Holder) -> Option<Verdict> {
        let own = |ip: IpAddr| match self.seen.leases.get(&(attachment.vrf.clone(), ip)).map(|lease| &lease.value) {
            None => false,
            Some(Stored::Known(lease)) => lease.is_held_by(id),
            Some(Stored::Unreadable(_)) => true,
        };
        let addresses = attachment.addresses.iter().map(|assigned| assigned.address.addr());
        let (own, foreign): (Vec<_>, Vec<_>) = addresses.partition(|ip| own(*ip));
        let disagrees = (!foreign.is_empty()).then_some(Verdict::Skipped(SkipReason::Disagrees));
        match self.holder_status(holder) {
            _ if holder.id != *id => Some(Verdict::Skipped(SkipReason::Disagrees)),
            // Its leases are judged each by itself.
            HolderStatus::Leaked(_) if !own.is_empty() => None,
            // Its node may not have seen the trace yet.
            HolderStatus::Leaked(_) if attachment.lost_since.is_some_and(|since| !self.is_old_trace(since)) => None,
            HolderStatus::Leaked(why) => Some(Verdict::Leaked(why)),
            HolderStatus::Alive | HolderStatus::Skipped(_) | HolderStatus::Unchecked(_) => disagrees,
        }
    }

    fn holder_status(&self, holder: &'a Holder) -> HolderStatus {
        if !is_complete(&holder.pod) {
            return HolderStatus::Unchecked(InUseReason::NoPodNamed);
        }
        if self.is_superseded(holder) {
            return HolderStatus::Leaked(LeakReason::Superseded);
        }
        if let Err(in_use) = self.rules.cluster.covers(holder.cluster.as_deref()) {
            return HolderStatus::Unchecked(in_use);
        }
        match &self.seen.pods {
            None => HolderStatus::Unchecked(InUseReason::NotChecked),
            Some(pods) if pods.has(&holder.pod) => HolderStatus::Alive,
            // It may run without a mirror; but a mirror of another manifest shows that this one is over.
            Some(pods)
                if is_static(holder.pod.uid.as_deref().unwrap_or_default()) && !pods.has_name_of(&holder.pod) =>
            {
                HolderStatus::Skipped(SkipReason::InUse(InUseReason::StaticPod))
            }
            Some(_) => HolderStatus::Leaked(LeakReason::NotListed),
        }
    }

    /// Whether a later sandbox of its pod has the interface. No API server needs to know the pod: both are of one boot of one
    /// machine.
    fn is_superseded(&self, holder: &Holder) -> bool {
        let sandboxes = self.latest.get(&(pod_interface(holder), holder.began.boot.as_str())).into_iter().flatten();
        let of_its_pod = |cluster: &Option<&str>| self.rules.cluster.may_be_one(*cluster, holder.cluster.as_deref());
        sandboxes
            .filter(|(cluster, _)| of_its_pod(cluster))
            .any(|(_, latest)| is_later_in_its_boot(latest, &holder.began))
    }

    /// Whether an attachment lists this address. One that can't be read may.
    fn lists(&self, vrf: &Name, ip: IpAddr, id: &AttachmentId) -> bool {
        match self.seen.attachments.get(id).map(|attachment| &attachment.value) {
            None => false,
            Some(Stored::Known(attachment)) => {
                attachment.vrf == *vrf && attachment.addresses.iter().any(|assigned| assigned.address.addr() == ip)
            }
            Some(Stored::Unreadable(_)) => true,
        }
    }

    /// Whether this time of a lease was less than the minimum age ago. What lies ahead ages from its first sight.
    fn is_young(&self, lease: &Lease, since: Timestamp) -> bool {
        let age = self.seen.at.duration_since(lease.counts_from(since, self.seen.at));
        age.unsigned_abs() < self.rules.min_age || age.is_negative()
    }

    fn is_old_trace(&self, since: Timestamp) -> bool {
        self.seen.at.duration_since(since).as_secs() >= TRACE
    }

    /// Whether no ADD can be under way any more that the fence in an attachment is for. The node's clock alone does not say
    /// it, which may be behind: from the first sight on, which is noted in it, another hour has passed by the clock of those
    /// who look.
    fn is_over(
        &mut self,
        id: &AttachmentId,
        seen: &Seen<Attachment>,
        attachment: &Attachment,
        closed: Timestamp,
    ) -> bool {
        let now = self.seen.at;
        let Some(first) = attachment.fence_seen(now) else {
            let sighted = attachment.clone().with_sight_of(closed, now);
            // One that only clocks ahead of this one have seen may have as many sightings as are kept.
            if sighted != *attachment {
                let value = Amended::Attachment { id: id.clone(), attachment: Box::new(sighted) };
                self.report.notes.push(Amendment { revision: seen.revision, value });
            }
            return false;
        };
        is_fence_over(first, now) && (is_fence_over(closed, now) || is_ahead(closed, now))
    }

    fn candidate<T>(
        &mut self,
        target: Target,
        seen: &Seen<T>,
        holder: Option<&Holder>,
        since: Option<Timestamp>,
        verdict: Verdict,
    ) {
        let (revision, holder) = (seen.revision, holder.cloned());
        self.add(LeakCandidate { target, revision, holder, owner: None, since, verdict });
    }

    fn add(&mut self, candidate: LeakCandidate) {
        self.report.candidates.insert(candidate.target.clone(), candidate);
    }
}

fn address(vrf: &Name, ip: IpAddr) -> Target {
    Target::Address { vrf: vrf.clone(), ip }
}
