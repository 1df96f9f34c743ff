//! The rules for holders: whether a holder's pod is listed, and whether a later sandbox of the pod has its interface.

use std::collections::BTreeMap;

use super::super::observation::Observation;
use super::super::{LeakReason, SkipReason};
use super::LeakFinder;
use crate::ipam::lease::{Began, Holder, PodRef, Stored};
use crate::ipam::name::{AttachmentId, IfName, Name};
use crate::ipam::takeover::{InUseReason, is_complete, is_later_in_its_boot, is_static};

/// One interface of a pod on a network, in any sandbox, under any former name of its node or cluster.
pub(in crate::ipam::sweep) type PodInterface<'a> = (&'a PodRef, &'a IfName, &'a Name);

pub(in crate::ipam::sweep) fn pod_interface(holder: &Holder) -> PodInterface<'_> {
    let AttachmentId { ifname, network, .. } = &holder.id;
    (&holder.pod, ifname, network)
}

/// The latest ADD for each interface of a pod, boot, and cluster name (or none).
pub(super) type Latest<'a> = BTreeMap<(PodInterface<'a>, &'a str), BTreeMap<Option<&'a str>, &'a Began>>;

pub(super) fn latest(seen: &Observation) -> Latest<'_> {
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

/// The state of a holder, by its pod.
pub(super) enum HolderStatus {
    Alive,
    Leaked(LeakReason),
    /// It is reported, but stays.
    Skipped(SkipReason),
    /// It can't be checked.
    Unchecked(InUseReason),
}

impl<'a> LeakFinder<'a> {
    pub(super) fn holder_status(&self, holder: &'a Holder) -> HolderStatus {
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
            // A static pod may run without a mirror pod. But a mirror pod of another manifest shows that this one has
            // ended.
            Some(pods)
                if is_static(holder.pod.uid.as_deref().unwrap_or_default()) && !pods.has_name_of(&holder.pod) =>
            {
                HolderStatus::Skipped(SkipReason::InUse(InUseReason::StaticPod))
            }
            Some(_) => HolderStatus::Leaked(LeakReason::NotListed),
        }
    }

    /// Whether a later sandbox of its pod has the interface. Both are from one boot of one machine, so no API server
    /// needs to know the pod.
    fn is_superseded(&self, holder: &Holder) -> bool {
        let sandboxes = self.latest.get(&(pod_interface(holder), holder.began.boot.as_str())).into_iter().flatten();
        let of_its_pod = |cluster: &Option<&str>| self.rules.cluster.may_be_one(*cluster, holder.cluster.as_deref());
        sandboxes
            .filter(|(cluster, _)| of_its_pod(cluster))
            .any(|(_, latest)| is_later_in_its_boot(latest, &holder.began))
    }
}
