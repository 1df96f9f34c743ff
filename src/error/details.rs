//! What to do about an error, written for its reader: no `kubectl` for a user of podman.

use std::net::IpAddr;

use jiff::SignedDuration;

use super::{Error, Full};
use crate::cause::chain;
use crate::ipam::lease::{Holder, ManualReservation, UnreadableValue};
use crate::ipam::name::AttachmentId;
use crate::ipam::refusal::{Refusal, list};
use crate::ipam::reservation::{Owner, OwnerKind};
use crate::ipam::takeover::InUseReason;
use crate::store::StoreError;

/// What to do if there is no kubeconfig.
const NO_KUBECONFIG: &str = "kube-ipam can't read the pod's annotations without it, and does not guess: run \
                             `kube-ipam install`, set `kubeConfig`, or set `\"annotations\": false` if pods on this \
                             network never request addresses";

/// How a recovery ends.
const RECOVERING: &str = "each node writes back the addresses of its pods: within a minute where the DaemonSet of \
                          examples/install runs, otherwise at its next call or by `kube-ipam sweep --node`; \
                          `kube-ipam recovery` shows which nodes are missing, and `kube-ipam recovery --end` ends the \
                          recovery without them";

impl Error {
    /// The hints of an error document: each mistake, the current state, what to do. A Kubernetes user sees them after
    /// the message.
    pub fn details(&self) -> String {
        match self {
            Self::Request(error) => error.details(),
            Self::Config(errors) => errors.to_string(),
            Self::NoKubeconfig { .. } => NO_KUBECONFIG.to_owned(),
            Self::Refused(refusal) => of_refusal(refusal),
            // Without a reply, the message already says all there is.
            Self::NoCensus(error) if error.is_about_time() => String::new(),
            Self::Cluster(error) | Self::NoCensus(error) => error.details(),
            Self::OtherCluster { .. } => {
                "pass this cluster's kubeconfig with --kubeconfig, or correct `cluster`".to_owned()
            }
            Self::ClusterName(_) => "set `cluster` in the node defaults".to_owned(),
            Self::NoPods => "check that the kubeconfig is this cluster's".to_owned(),
            Self::Stopped(_) => String::new(),
            Self::NotWrittenBack { .. } => "the next attempt checks that holder again".to_owned(),
            Self::SweepIncomplete { .. } => "each line above says why; the next sweep tries again".to_owned(),
            Self::Record(error) => error.details().to_owned(),
            Self::HostLocal { .. } => {
                "kube-ipam assigns none of its addresses before their pods are gone; make the folder readable, or \
                 remove it if no pod that host-local served is left on this node"
                    .to_owned()
            }
            Self::Reply(_) | Self::Runtime(_) => String::new(),
            Self::Store { error: StoreError::Ambiguous(_), .. } => {
                "the runtime's DEL releases whatever took effect before the runtime tries again".to_owned()
            }
            Self::Store { .. } => "nothing was changed".to_owned(),
            Self::NotMarked { release, mark } => format!("{}; {}; {}", Full(release), chain(mark), mark.details()),
            Self::NotHeld { held, .. } => match held.as_slice() {
                [] => "it holds nothing; recreate the pod".to_owned(),
                held => format!("it holds {}; recreate the pod", list(held)),
            },
            Self::Gc { failures, .. } => {
                let texts = failures.iter().map(|(id, error)| format!("{id}: {}", Full(error)));
                texts.collect::<Vec<_>>().join("; ")
            }
            Self::Status(error) => error.details(),
        }
    }
}

/// What to do about a refusal; empty if its text says that, or if nothing helps.
fn of_refusal(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Held { ip, why, .. } if let InUseReason::ReservedForOwner(_, owner) = &**why => {
            until_released(*ip, owner)
        }
        Refusal::Held { ip, why, .. } if let InUseReason::ReservedByHand(_, manual) = &**why => by_hand(*ip, manual),
        Refusal::Held { ip, why, .. } if let Some(cure) = of_cluster(*ip, why) => cure,
        Refusal::OwnerUnproven { .. } => {
            "a pod gets its owner's address once the API server has that owner with the UID in the pod's \
             ownerReference"
                .to_owned()
        }
        Refusal::Held { ip, holder, workload, why, .. } => until_let_go(*ip, holder, workload.as_deref(), why),
        Refusal::OwnerHoldsOther { ip, owner, .. } => {
            let user = if owner.kind.is_machine() { "stop the machine" } else { "end that pod" };
            format!(
                "an owner has one address at a time: {user}, or widen the ranges of this node (`nodes`, \
                 `nodeSelector`) so that they hold {ip}; if the pod asks for another address, ask for {ip} or for none"
            )
        }
        Refusal::OtherNodes { mismatch, .. } | Refusal::NotOnNode { mismatch, .. } if mismatch.lacks_labels() => {
            "`kube-ipam install` writes nodeLabels into the node defaults if it may get the node; without it, write \
             them there by hand"
                .to_owned()
        }
        Refusal::OtherNodes { .. } => {
            "schedule the pod onto one of those nodes (the pod's nodeSelector), or request an address of this \
             node's ranges; if kube-ipam.ip is meant for another interface, write kube-ipam.<ifname>.ip"
                .to_owned()
        }
        Refusal::NotOnNode { mismatch, .. } => {
            let relabel = if mismatch.names_labels() { ", or correct its labels (`kubectl label node`)" } else { "" };
            format!("add a range for this node, or keep pods of this network off it{relabel}")
        }
        Refusal::InUse { mac, .. } => format!(
            "a sandbox that was never torn down, a pod on a lost node, or a machine outside the cluster still \
             uses it: find {mac} and stop it; the next attempt gets the address"
        ),
        Refusal::TooLarge(_) => "give the network fewer ranges or excludes".to_owned(),
        Refusal::Unprobed { .. } => {
            "with `\"takeover\": \"probe\"` kube-ipam takes the address over when it can't probe".to_owned()
        }
        Refusal::Foreign { ip, mac, .. } => format!(
            "find {mac} and give it another address, or add {ip} to `exclude`; once nobody answers for it, the next \
             attempt gets it"
        ),
        Refusal::StillAnswers { mac, .. } => format!(
            "the last holder may be on its way out; if this lasts for more than a minute, find {mac} and stop it"
        ),
        Refusal::ProbedByOther { .. } => {
            "in most cases it is another pod that starts at the same time; the runtime tries again".to_owned()
        }
        Refusal::AnswersForAll { mac, .. } => format!(
            "find {mac} and disable proxy ARP and proxy NDP on its interface in this segment \
             (net.ipv4.conf.<interface>.proxy_arp, net.ipv6.conf.<interface>.proxy_ndp), or remove `probe` from this \
             network"
        ),
        Refusal::NoSilentAddress { .. } => {
            "these addresses are left alone for an hour, so that the next attempt tries others; add what is not for \
             pods to `exclude`"
                .to_owned()
        }
        Refusal::Unreadable { why, .. }
        | Refusal::ReservationUnreadable { why, .. }
        | Refusal::AttachmentUnreadable { why, .. } => match why {
            UnreadableValue::Newer(_) => "update kube-ipam on this node".to_owned(),
            UnreadableValue::Corrupt(_) => {
                "no version of kube-ipam writes such a value: find out what else writes into the store, and restore it \
                 from a backup"
                    .to_owned()
            }
        },
        Refusal::Recovering { .. } => RECOVERING.to_owned(),
        Refusal::Claim(error) => error.details(),
        Refusal::Reserved { ip, owner, .. } => until_released(*ip, owner),
        Refusal::ReservedByHand { ip, manual } => by_hand(*ip, manual),
        Refusal::Exhausted { counts, .. } => {
            let of_host_local = counts.host_local.as_ref().map(|files| {
                let folder = files.folder.display();
                format!("; host-local's files are in {folder}, and an address is free once its file is gone")
            });
            format!(
                "widen the range or the pool, or free leaked addresses with `kube-ipam sweep`{}",
                of_host_local.unwrap_or_default()
            )
        }
        Refusal::NotYet { .. } => {
            "the runtime tries again; if it keeps failing, widen the range, or look for leftovers with \
             `kube-ipam list`"
                .to_owned()
        }
        _ => String::new(),
    }
}

/// What to do if the API server does not know the holder's cluster.
fn of_cluster(ip: IpAddr, why: &InUseReason) -> Option<String> {
    let cure = match why {
        InUseReason::OtherCluster => {
            "delete that pod in its own cluster; if that is a former name of this cluster, add it to `formerClusters` \
             in \
             the node defaults"
        }
        InUseReason::ClusterUnnamed => {
            "if that pod runs here, `kube-ipam sweep` adds this cluster to it; if all such holders are this \
             cluster's, add \
             \"\" to `formerClusters` in the node defaults"
        }
        InUseReason::ClusterUnknown(_) => {
            "an ADD asks again after a minute, and `kube-ipam sweep --node` at once; or set `cluster` in the node \
             defaults"
        }
        _ => return None,
    };
    Some(format!("{cure}; `kube-ipam release {ip} --yes` frees the address manually"))
}

/// When a held address becomes free, written for somebody who can affect the holder.
fn until_let_go(ip: IpAddr, holder: &Holder, workload: Option<&str>, why: &InUseReason) -> String {
    let release = format!("`kube-ipam release {ip} --yes`");
    let AttachmentId { node, container, .. } = &holder.id;
    match why {
        InUseReason::SameSandbox => {
            "give each interface of the pod an address of its own (annotation kube-ipam.<interface>.ip)".to_owned()
        }
        InUseReason::NotEarlierSandbox => {
            format!(
                "it becomes free when the runtime deletes that sandbox; if the sandbox is already gone, free the \
                 address with {release}"
            )
        }
        InUseReason::NotOneMachine(error) => error.details().to_owned(),
        _ if let Some(workload) = workload => format!(
            "both pods belong to {workload}, and one address serves one pod: let the old pod end before the new one \
             starts \
             (strategy Recreate, or a rolling update with maxSurge 0 and maxUnavailable 1), or give the replicas several \
             addresses (annotation kube-ipam.<interface>.pool)"
        ),
        InUseReason::StaticPod => format!(
            "it becomes free when the manifest of that pod is removed from node {node}; if the pod is already gone, \
             free the address with {release}"
        ),
        InUseReason::NoPodNamed | InUseReason::NamespaceExists | InUseReason::NoRecord | InUseReason::BusyOnNode
            if !holder.pod.is_in_a_cluster() =>
        {
            format!(
                "it becomes free when its runtime removes container {container} (`podman rm {container}`); if node \
                 {node} has lost that container, free the address with {release}"
            )
        }
        _ => format!(
            "it becomes free when that pod is deleted; if its node is lost for good, force-delete the pod (`kubectl \
             delete pod --force`) or free the address with {release}"
        ),
    }
}

/// When an address that is reserved for an owner becomes free.
fn until_released(ip: IpAddr, owner: &Owner) -> String {
    let end = match owner.kind {
        OwnerKind::IpamClaim => format!("that claim (UID {}) is gone and a sweep has seen that", owner.uid),
        _ => "its owner is gone and a sweep has seen that, or when its time to live ends".to_owned(),
    };
    format!("it becomes free when {end}; `kube-ipam release {ip} --yes` frees it now")
}

/// What to do about an address that is reserved by hand for nobody or somebody else.
fn by_hand(ip: IpAddr, manual: &ManualReservation) -> String {
    let end = manual
        .ttl
        .and_then(|seconds| manual.at.checked_add(SignedDuration::from_secs(i64::try_from(seconds).ok()?)).ok());
    let end = end.map(|end| format!(", or wait until {end:.0}, when its time is over")).unwrap_or_default();
    format!(
        "request another address{end}; `kube-ipam move {ip} --for OBJECT` gives the reservation to somebody else, and \
         `kube-ipam release {ip}` ends it"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use insta::assert_snapshot;
    use jiff::Timestamp;

    use super::*;
    use crate::ipam::lease::{Began, PodRef, Unknown};
    use crate::ipam::name::{IfName, Name};

    /// The refusal of an address whose holder has this pod and belongs to the requesting pod's workload.
    fn held_by(pod: PodRef, workload: Option<&str>, why: InUseReason) -> Error {
        let id = AttachmentId {
            node: Name::new("n1").unwrap(),
            container: Name::new("0a1b2c").unwrap(),
            ifname: IfName::new("eth0").unwrap(),
            network: Name::new("blue").unwrap(),
        };
        let began = Began { boot: String::new(), boottime: 0 };
        let holder = Box::new(Holder {
            id,
            pod,
            workload: None,
            controller: None,
            cluster: None,
            began,
            unknown: Unknown::new(),
        });
        let (ip, since) = ("10.0.0.5".parse().unwrap(), Timestamp::UNIX_EPOCH);
        let workload = workload.map(str::to_owned);
        Refusal::Held { ip, holder, since, workload, why: Box::new(why) }.into()
    }

    #[test]
    fn a_refusal_says_how_its_very_holder_lets_go() {
        let of_podman = || PodRef { name: Some("web".to_owned()), ..PodRef::default() };
        let of_kubernetes = || PodRef { namespace: Some("db".to_owned()), ..of_podman() };
        let details = |pod, why| held_by(pod, None, why).details();
        for of_its_node in [InUseReason::NamespaceExists, InUseReason::NoRecord, InUseReason::BusyOnNode] {
            assert_eq!(details(of_podman(), of_its_node), details(of_podman(), InUseReason::NoPodNamed));
        }
        assert_snapshot!(details(of_podman(), InUseReason::NoPodNamed), @"it becomes free when its runtime removes container 0a1b2c (`podman rm 0a1b2c`); if node n1 has lost that container, free the address with `kube-ipam release 10.0.0.5 --yes`");
        assert_snapshot!(details(of_kubernetes(), InUseReason::NoPodNamed), @"it becomes free when that pod is deleted; if its node is lost for good, force-delete the pod (`kubectl delete pod --force`) or free the address with `kube-ipam release 10.0.0.5 --yes`");
        assert_snapshot!(details(of_kubernetes(), InUseReason::SameSandbox), @"give each interface of the pod an address of its own (annotation kube-ipam.<interface>.ip)");
        assert_snapshot!(details(of_kubernetes(), InUseReason::NotEarlierSandbox), @"it becomes free when the runtime deletes that sandbox; if the sandbox is already gone, free the address with `kube-ipam release 10.0.0.5 --yes`");
        // The holder is the requesting pod itself, not another pod of its workload.
        let same = held_by(of_kubernetes(), Some("StatefulSet web"), InUseReason::SameSandbox).details();
        assert_eq!(same, details(of_kubernetes(), InUseReason::SameSandbox));
        assert_snapshot!(details(of_kubernetes(), InUseReason::StaticPod), @"it becomes free when the manifest of that pod is removed from node n1; if the pod is already gone, free the address with `kube-ipam release 10.0.0.5 --yes`");
    }
}
