//! Applies the rules for leaks to one observation.

mod attachment;
mod holder;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;

use self::holder::{HolderStatus, Latest, latest};
pub(super) use self::holder::{PodInterface, pod_interface};
use super::observation::{Observation, Seen};
use super::{LeakCandidate, LeakReason, Rules, SkipReason, Target, Verdict};
use crate::ipam::decide::Amendment;
use crate::ipam::lease::{Holder, Lease, OnRelease, Stored};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::takeover::InUseReason;

/// The leak candidates of one observation or scan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeakReport {
    /// What has leaked unless the last checks say otherwise, and what is skipped and why.
    pub candidates: BTreeMap<Target, LeakCandidate>,
    /// How many addresses were read and could be checked.
    pub tally: Tally,
    /// When fences and times in the future were first seen. It is stored, because they age from then on.
    pub notes: Vec<Amendment>,
}

/// The number of held and reserved addresses, and of those that can't be checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub held: usize,
    /// For a pod or an owner of another cluster.
    pub of_another_cluster: usize,
    /// For a pod or an owner without a cluster. kube-ipam 0.3.0 wrote them if the node defaults named none.
    pub of_unnamed_cluster: usize,
    /// For a container without a pod's full name.
    pub without_a_pod: usize,
    /// For a pod or an owner of this cluster, in a sweep without an API server.
    pub not_asked: usize,
}

impl LeakReport {
    /// Replaces the candidates of these nodes by those of a later report. Shares stay, because a report on some nodes
    /// does not judge them.
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
    /// The node of its holder; `None` if nobody holds it.
    pub fn node(&self) -> Option<&Name> {
        match (&self.target, &self.verdict) {
            (
                _,
                Verdict::Leaked(
                    LeakReason::Reserved
                    | LeakReason::Expired
                    | LeakReason::ManualExpired
                    | LeakReason::ForeignNoLonger,
                ),
            ) => None,
            (Target::Attachment(id) | Target::Share { of: id, .. }, _) => Some(&id.node),
            (Target::Address { .. }, _) => self.holder.as_ref().map(|holder| &holder.id.node),
        }
    }
}

impl Tally {
    /// Adds addresses that can't be checked. `held` already includes them.
    pub(super) fn add_unchecked(&mut self, other: &Self) {
        let Self { held: _, of_another_cluster, of_unnamed_cluster, without_a_pod, not_asked } = other;
        self.of_another_cluster += of_another_cluster;
        self.of_unnamed_cluster += of_unnamed_cluster;
        self.without_a_pod += without_a_pod;
        self.not_asked += not_asked;
    }
}

/// Finds the leaks of an observation. Entries that are only context are not reported.
pub fn find_leaks(seen: &Observation, rules: &Rules) -> LeakReport {
    let mut finder =
        LeakFinder { seen, rules, latest: latest(seen), rebooted: BTreeSet::new(), report: LeakReport::default() };
    finder.report.tally.held = seen.healthy;
    finder.report.notes = seen.future_times.clone();
    for (id, attachment) in seen.attachments.iter().filter(|(_, seen)| !seen.is_context) {
        finder.attachment(id, attachment);
    }
    for ((vrf, ip), lease) in seen.leases.iter().filter(|(_, seen)| !seen.is_context) {
        finder.lease(vrf, *ip, lease);
    }
    finder.report
}

/// The verdict on one holder's share, `None` if it is in order, or why it can't be checked.
type HolderVerdict = Result<Option<Verdict>, InUseReason>;

struct LeakFinder<'a> {
    seen: &'a Observation,
    rules: &'a Rules,
    latest: Latest<'a>,
    /// Attachments of an earlier boot, which are judged together with their addresses.
    rebooted: BTreeSet<&'a AttachmentId>,
    report: LeakReport,
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
            // Each holder is judged separately.
            (None, several) => {
                let share = |of: &Holder| Target::Share { vrf: vrf.clone(), ip, of: of.id.clone() };
                several.iter().map(|of| (share(of), Some(of), self.held(vrf, ip, lease, of))).collect()
            }
        };
        let is_young = |judged: &HolderVerdict| matches!(judged, Ok(Some(Verdict::Skipped(SkipReason::Young))));
        if (lease.unused.is_some() || judged.iter().any(|(.., judged)| is_young(judged)))
            && let Some(sighted) = lease.sighted(self.seen.at)
        {
            self.report.notes.push(Amendment::for_lease(vrf.clone(), ip, seen.revision, sighted));
        }
        // The tally counts addresses, not holders.
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

    /// The verdict on a reserved address.
    fn reserved(&self, lease: &Lease, unused: Timestamp) -> HolderVerdict {
        if lease.manual.is_some() {
            return Ok(lease.is_over(self.seen.at).then_some(Verdict::Leaked(LeakReason::ManualExpired)));
        }
        if lease.is_over(self.seen.at) {
            return Ok(Some(Verdict::Leaked(LeakReason::Expired)));
        }
        match &lease.owner {
            Some(owner) if let Err(in_use) = self.rules.cluster.covers(owner.cluster.as_deref()) => Err(in_use),
            Some(_) if self.seen.pods.is_none() => Err(InUseReason::NotChecked),
            // A recreated pod may be about to use it.
            Some(_) if self.is_young(lease, unused) => Ok(None),
            Some(_) => Ok(Some(Verdict::Leaked(LeakReason::Reserved))),
            None => Ok(Some(Verdict::Skipped(SkipReason::Disagrees))),
        }
    }

    /// The verdict on this holder's share of an address.
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

    /// Whether an attachment lists this address. An attachment that can't be read might.
    fn lists(&self, vrf: &Name, ip: IpAddr, id: &AttachmentId) -> bool {
        match self.seen.attachments.get(id).map(|attachment| &attachment.value) {
            None => false,
            Some(Stored::Known(attachment)) => {
                attachment.vrf == *vrf && attachment.addresses.iter().any(|assigned| assigned.address.addr() == ip)
            }
            Some(Stored::Unreadable(_)) => true,
        }
    }

    /// Whether this time is less than the minimum age ago. A time in the future ages from when it was first seen.
    fn is_young(&self, lease: &Lease, since: Timestamp) -> bool {
        let age = self.seen.at.duration_since(lease.counts_from(since, self.seen.at));
        age.unsigned_abs() < self.rules.min_age || age.is_negative()
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
