//! What a caller sees of an error: each is typed where it arises, and mapped here, once, to the code and the texts of an
//! error document, to an exit status, and to a word for logs and metrics.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::cause::chain;
use crate::cluster::ClusterError;
use crate::cni::Code;
use crate::cni::request::RequestError;
use crate::config::ConfigErrors;
use crate::ipam::lease::Holder;
use crate::ipam::name::{AttachmentId, NameError};
use crate::ipam::refusal::{Refusal, list};
use crate::ipam::reservation::{Owner, OwnerKind};
use crate::ipam::sweep::Stopped;
use crate::ipam::takeover::InUseReason;
use crate::record::RecordError;
use crate::store::{StoreConfig, StoreError};

/// What to do where no kubeconfig is.
const NO_KUBECONFIG: &str = "kube-ipam can't read the pod's annotations without it, and does not guess: run \
                             `kube-ipam install`, set `kubeConfig`, or set `\"annotations\": false` if pods on this \
                             network never request addresses";

/// What ends a recovery.
const RECOVERING: &str = "each node writes back the addresses of its pods: within a minute where the DaemonSet of \
                          examples/install runs, otherwise at its next call or by `kube-ipam sweep --node`; \
                          `kube-ipam recovery` shows which nodes are missing, and `kube-ipam recovery --end` ends the \
                          recovery without them";

/// Why a call fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The call itself was not understood.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The config is invalid.
    #[error("the network config is invalid")]
    Config(ConfigErrors),
    /// There is no kubeconfig with which the pod could be read.
    #[error("pod {pod} can't be read: there is no kubeconfig at {}", paths(looked_for))]
    NoKubeconfig {
        /// The pod.
        pod: String,
        /// Where it was looked for.
        looked_for: Vec<PathBuf>,
    },
    /// The API server does not tell what the call depends on.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The rules, or what others hold, are against it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store does not answer, or refuses.
    #[error("{what}")]
    Store {
        /// The store and where it is.
        what: String,
        /// What became of the request.
        #[source]
        error: StoreError,
    },
    /// The node's own record can't be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// What host-local holds on this node is not known, and so may not be assigned.
    #[error("can't read {}, where host-local keeps addresses of this node", .path.display())]
    HostLocal {
        /// Its folder for this network.
        path: PathBuf,
        /// The system's error.
        #[source]
        error: io::Error,
    },
    /// A DEL could neither reach its store nor leave a mark.
    #[error("the address could not be released, and its release could not be deferred")]
    NotMarked {
        /// Why the store was not reached.
        release: Box<Error>,
        /// Why the mark was not written.
        mark: RecordError,
    },
    /// CHECK: the attachment does not have what the result says.
    #[error("{attachment} does not hold {}", list(missing))]
    NotHeld {
        /// The attachment.
        attachment: Box<AttachmentId>,
        /// Addresses of the result that are not its own.
        missing: Vec<IpAddr>,
        /// What it holds.
        held: Vec<IpAddr>,
    },
    /// GC: some attachments could not be collected.
    #[error("{} of {considered} attachments could not be collected", failures.len())]
    Gc {
        /// How many were to be.
        considered: usize,
        /// Which were not, and why.
        failures: Vec<(AttachmentId, Error)>,
    },
    /// A sweep: which pods there are is not known.
    #[error("nothing was freed, because the list of pods is incomplete")]
    NoCensus(#[source] ClusterError),
    /// A sweep: the namespace kube-system has a UID of an odd kind.
    #[error("nothing was freed, because the UID of namespace kube-system can't name the cluster")]
    ClusterName(#[source] NameError),
    /// A sweep: the API server is that of another cluster.
    #[error(
        "nothing was freed, because the API server belongs to cluster {found}, and this node to cluster {expected}"
    )]
    OtherCluster {
        /// `cluster` of the node defaults.
        expected: String,
        /// The UID of the server's namespace kube-system.
        found: String,
    },
    /// A sweep: the list of pods is complete and empty.
    #[error("nothing was freed, because the API server lists no pods")]
    NoPods,
    /// A sweep: too much would go.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// A sweep: some of what was to go could not be released.
    #[error("{failed} of {going} could not be released")]
    SweepIncomplete {
        /// How many were to go.
        going: usize,
        /// How many of them stayed for want of an answer.
        failed: usize,
    },
    /// A recovery: an attachment could not be written back.
    #[error("{attachment} is not written back: {ip} is held by {}; {why}", holder.as_ref().map_or("nobody who can be \
             named".to_owned(), ToString::to_string))]
    NotWrittenBack {
        /// The attachment.
        attachment: Box<AttachmentId>,
        /// The address.
        ip: IpAddr,
        /// Who holds it by the store.
        holder: Option<Box<Holder>>,
        /// Why that one is not known to be gone.
        why: Box<InUseReason>,
    },
    /// STATUS: an ADD could not be served.
    #[error("kube-ipam can't serve this network")]
    Status(#[source] Box<Error>),
    /// The reply was not read; what the call had taken was given back.
    #[error("the reply could not be written to standard output")]
    Reply(#[source] io::Error),
    /// The runtime for network requests could not be started.
    #[error("can't start the network runtime")]
    Runtime(#[source] io::Error),
}

impl Error {
    /// An error of a store.
    pub fn store(config: &StoreConfig, error: StoreError) -> Self {
        Self::Store { what: config.to_string(), error }
    }

    /// The code of the error document (CNI spec 1.1, section 5).
    pub fn code(&self) -> Code {
        match self {
            Self::Request(error) => error.code(),
            Self::Config(_) | Self::NoKubeconfig { .. } | Self::OtherCluster { .. } => Code::CONFIG,
            Self::ClusterName(_) => Code::TRY_AGAIN,
            Self::Cluster(error) | Self::NoCensus(error) => code_of_cluster(error),
            Self::Refused(refusal) if refusal.is_passing() => Code::TRY_AGAIN,
            Self::Refused(_) => Code::CONFIG,
            Self::Store { .. } | Self::NotMarked { .. } | Self::Gc { .. } | Self::Runtime(_) => Code::TRY_AGAIN,
            Self::NoPods | Self::Stopped(_) | Self::SweepIncomplete { .. } | Self::NotWrittenBack { .. } => {
                Code::TRY_AGAIN
            }
            Self::Record(RecordError::Busy { .. }) => Code::TRY_AGAIN,
            Self::Record(RecordError::Io { .. }) | Self::HostLocal { .. } | Self::Reply(_) => Code::IO,
            Self::NotHeld { .. } => Code::NOT_HELD,
            Self::Status(_) => Code::UNAVAILABLE,
        }
    }

    /// Whether the store may have done what it was asked for, or may do it yet.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Store { error: StoreError::Ambiguous(_), .. })
    }

    /// The same error where an earlier request of this call got no answer: it is not true that nothing happened.
    #[must_use]
    pub fn with_ambiguity(self) -> Self {
        match self {
            Self::Store { what, error: StoreError::Unavailable(cause) | StoreError::Denied(cause) } => {
                Self::Store { what, error: StoreError::Ambiguous(cause) }
            }
            error => error,
        }
    }

    /// Whether a caller wants to know what the time of the call went by on.
    pub fn is_about_time(&self) -> bool {
        match self {
            Self::Cluster(error) => error.is_about_time(),
            Self::Store { .. } | Self::NotMarked { .. } | Self::Record(RecordError::Busy { .. }) => true,
            _ => false,
        }
    }

    /// A word for logs and metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Request(_) => "request",
            Self::NoKubeconfig { .. } => "kubeconfig",
            Self::Config(_) => "config",
            Self::Cluster(error) | Self::NoCensus(error) => error.label(),
            Self::OtherCluster { .. } => "sweep_other_cluster",
            Self::ClusterName(_) => "sweep_cluster_name",
            Self::NoPods => "sweep_no_pods",
            Self::Stopped(_) => "sweep_stopped",
            Self::SweepIncomplete { .. } => "sweep_incomplete",
            Self::NotWrittenBack { .. } => "recovering",
            Self::Refused(refusal) => refusal.label(),
            Self::Store { error: StoreError::Unavailable(_), .. } => "store_unavailable",
            Self::Store { error: StoreError::Ambiguous(_), .. } => "store_ambiguous",
            Self::Store { error: StoreError::Denied(_), .. } => "store_denied",
            Self::Store { error: StoreError::Corrupt(_), .. } => "store_corrupt",
            Self::Record(_) => "record",
            Self::HostLocal { .. } => "host_local",
            Self::NotMarked { .. } => "not_marked",
            Self::NotHeld { .. } => "not_held",
            Self::Gc { .. } => "gc",
            Self::Status(error) => error.label(),
            Self::Reply(_) => "reply",
            Self::Runtime(_) => "runtime",
        }
    }

    /// What else helps: each mistake, what stands there now, what to do. A user of Kubernetes sees it behind the text.
    pub fn details(&self) -> String {
        match self {
            Self::Request(error) => error.details(),
            Self::Config(errors) => errors.to_string(),
            Self::NoKubeconfig { .. } => NO_KUBECONFIG.to_owned(),
            Self::Refused(Refusal::Held { ip, why, .. }) if let InUseReason::ReservedForOwner(_, owner) = &**why => {
                until_released(*ip, owner)
            }
            Self::Refused(Refusal::Held { ip, why, .. }) if let Some(cure) = of_cluster(*ip, why) => cure,
            Self::Refused(Refusal::OwnerUnproven { .. }) => {
                "a pod gets its owner's address once the API server has that owner with the UID in the pod's \
                 ownerReference"
                    .to_owned()
            }
            // Without an answer of the server there is nothing to add but where it is.
            Self::NoCensus(error) if error.is_about_time() => String::new(),
            Self::Cluster(error) | Self::NoCensus(error) => error.details(),
            Self::OtherCluster { .. } => {
                "pass this cluster's kubeconfig with --kubeconfig, or correct `cluster`".to_owned()
            }
            Self::ClusterName(_) => "set `cluster` in the node defaults".to_owned(),
            Self::NoPods => "check that the kubeconfig is this cluster's".to_owned(),
            Self::Stopped(_) => String::new(),
            Self::NotWrittenBack { .. } => "the next try asks again".to_owned(),
            Self::SweepIncomplete { .. } => "each line says why; the next sweep tries again".to_owned(),
            Self::Refused(Refusal::Held { ip, holder, workload, why, .. }) => {
                until_let_go(*ip, holder, workload.as_deref(), why)
            }
            Self::Refused(Refusal::OwnerHoldsOther { ip, owner, .. }) => {
                let user = if owner.kind.is_machine() { "stop the machine" } else { "end that pod" };
                format!(
                    "an owner has one address at a time: {user}, or widen the ranges of this node (`nodes`, \
                     `nodeSelector`) so that they hold {ip}; if the pod asks for another address, ask for {ip} or for none"
                )
            }
            Self::Refused(Refusal::OtherNodes { mismatch, .. } | Refusal::NotOnNode { mismatch, .. })
                if mismatch.lacks_labels() =>
            {
                "`kube-ipam install` writes nodeLabels into the node defaults if it may get the node; without it, write \
                 them there by hand"
                    .to_owned()
            }
            Self::Refused(Refusal::OtherNodes { .. }) => {
                "schedule the pod onto one of those nodes (the pod's nodeSelector), or request an address of this \
                 node's ranges; if kube-ipam.ip is meant for another interface, write kube-ipam.<ifname>.ip"
                    .to_owned()
            }
            Self::Refused(Refusal::NotOnNode { mismatch, .. }) => {
                let relabel = if mismatch.names_labels() { ", or correct its labels (`kubectl label node`)" } else { "" };
                format!("add a range for this node, or keep pods of this network off it{relabel}")
            }
            Self::Refused(Refusal::InUse { mac, .. }) => format!(
                "a sandbox that was never torn down, a pod on a lost node, or a machine outside the cluster still \
                 uses it: find {mac} and stop it; the next attempt gets the address"
            ),
            Self::Refused(Refusal::TooLarge(_)) => "give the network fewer ranges or excludes".to_owned(),
            Self::Refused(Refusal::Unprobed { .. }) => {
                "with `\"takeover\": \"probe\"` kube-ipam takes the address over when it can't probe".to_owned()
            }
            Self::Refused(Refusal::Foreign { ip, mac, .. }) => format!(
                "find {mac} and give it another address, or add {ip} to `exclude`; once nobody answers for it, the next \
                 attempt gets it"
            ),
            Self::Refused(Refusal::StillAnswers { mac, .. }) => format!(
                "the last holder may be on its way out; if this lasts for more than a minute, find {mac} and stop it"
            ),
            Self::Refused(Refusal::ProbedByOther { .. }) => {
                "in most cases it is another pod that starts at the same time; the runtime tries again".to_owned()
            }
            Self::Refused(Refusal::AnswersForAll { mac, .. }) => format!(
                "find {mac} and disable proxy ARP and proxy NDP on its interface in this segment \
                 (net.ipv4.conf.<interface>.proxy_arp, net.ipv6.conf.<interface>.proxy_ndp), or remove `probe` from this \
                 network"
            ),
            Self::Refused(Refusal::NoSilentAddress { .. }) => {
                "these addresses are left alone for an hour, so that the next attempt tries others; add what is not for \
                 pods to `exclude`"
                    .to_owned()
            }
            Self::Refused(Refusal::Recovering { .. }) => RECOVERING.to_owned(),
            Self::Refused(Refusal::Claim(error)) => error.details(),
            Self::Refused(Refusal::Reserved { ip, owner, .. }) => until_released(*ip, owner),
            Self::Refused(Refusal::Exhausted { counts, .. }) => {
                let of_host_local = counts.host_local.as_ref().map(|files| {
                    let folder = files.folder.display();
                    format!("; host-local's files are in {folder}, and an address is free once its file is gone")
                });
                format!(
                    "widen the range, or free leaked addresses with `kube-ipam sweep`{}",
                    of_host_local.unwrap_or_default()
                )
            }
            Self::Refused(Refusal::NotYet { .. }) => {
                "the runtime tries again; if it keeps failing, widen the range, or look for leftovers with \
                 `kube-ipam list`"
                    .to_owned()
            }
            Self::Record(error) => error.details().to_owned(),
            Self::HostLocal { .. } => {
                "kube-ipam assigns none of its addresses again before their pods are gone; make the \
                                       folder readable, or remove it if no pod of host-local is left"
                    .to_owned()
            }
            Self::Refused(_) | Self::Reply(_) | Self::Runtime(_) => String::new(),
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

    /// What happened, with all that caused it.
    pub fn message(&self) -> impl fmt::Display {
        chain(self)
    }

    /// The same error, where it is the cause of another one and its details help there too.
    pub fn with_details(self) -> impl std::error::Error + Send + Sync {
        Detailed(self)
    }

    /// The message and the details in one.
    pub fn full(&self) -> impl fmt::Display {
        Full(self)
    }
}

/// An error that says its details as well.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.full())]
struct Detailed(Error);

/// The code of an error of the API server: 7 for what a person has to change on this node, 11 for whatever it answers.
fn code_of_cluster(error: &ClusterError) -> Code {
    match error {
        ClusterError::Kubeconfig { .. } | ClusterError::ServiceAccount { .. } => Code::CONFIG,
        ClusterError::Name { .. } => Code::ENVIRONMENT,
        _ => Code::TRY_AGAIN,
    }
}

struct Full<'a>(&'a Error);

impl fmt::Display for Full<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(error) = self;
        match error.details() {
            details if details.is_empty() => write!(f, "{}", error.message()),
            details => write!(f, "{}; {details}", error.message()),
        }
    }
}

/// What to do where the API server can't speak for a holder's cluster.
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

/// When an address becomes free that somebody holds, said to whoever can do something about that holder.
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

/// When an address becomes free that is kept for an owner.
fn until_released(ip: IpAddr, owner: &Owner) -> String {
    let end = match owner.kind {
        OwnerKind::IpamClaim => format!("that claim (UID {}) is gone and a sweep has seen that", owner.uid),
        _ => "its owner is gone and a sweep has seen that, or when its time to live ends".to_owned(),
    };
    format!("it becomes free when {end}; `kube-ipam release {ip} --yes` frees it now")
}

/// The places where something was looked for.
pub(crate) fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use insta::assert_snapshot;
    use jiff::Timestamp;

    use super::*;
    use crate::cause::Cause;
    use crate::ipam::lease::{Began, PodRef, Unknown};
    use crate::ipam::name::{IfName, Name};

    /// The refusal of an address whose holder's pod the runtime named like this, and belongs to the asker's workload.
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
        // The pod's own workload is no other pod's.
        let same = held_by(of_kubernetes(), Some("StatefulSet web"), InUseReason::SameSandbox).details();
        assert_eq!(same, details(of_kubernetes(), InUseReason::SameSandbox));
        assert_snapshot!(details(of_kubernetes(), InUseReason::StaticPod), @"it becomes free when the manifest of that pod is removed from node n1; if the pod is already gone, free the address with `kube-ipam release 10.0.0.5 --yes`");
    }

    #[test]
    fn with_ambiguity_no_error_says_that_nothing_happened() {
        let error = |error| Error::Store { what: "etcd".to_owned(), error };
        let text = || Cause::new("no right");
        for earlier in [StoreError::Unavailable(text()), StoreError::Denied(text()), StoreError::Ambiguous(text())] {
            assert!(error(earlier).with_ambiguity().is_ambiguous());
        }
    }
}
