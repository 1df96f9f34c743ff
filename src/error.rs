//! The errors of a call. Each is typed where it arises. This file maps them to the code and texts of an error document,
//! an exit status, and a label for logs and metrics.

mod details;

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
use crate::ipam::sweep::Stopped;
use crate::ipam::takeover::InUseReason;
use crate::record::RecordError;
use crate::store::{StoreConfig, StoreError};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "its text says what a variant is and what its fields hold")]
pub enum Error {
    /// The call was rejected.
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the network config is invalid")]
    Config(ConfigErrors),
    /// There is no kubeconfig, so the pod can't be read.
    #[error("pod {pod} can't be read: there is no kubeconfig at {}", paths(looked_for))]
    NoKubeconfig { pod: String, looked_for: Vec<PathBuf> },
    /// The call depends on the API server, which returned an error.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The rules or other holders don't allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed or denied the request.
    #[error("{what}")]
    Store {
        /// The store and its location.
        what: String,
        /// What is known about the request's effect.
        #[source]
        error: StoreError,
    },
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It is not known which addresses host-local holds on this node, so none may be assigned.
    #[error("can't read {}, where host-local keeps addresses of this node", .path.display())]
    HostLocal {
        /// host-local's folder for this network.
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("the address could not be released, and its release could not be deferred")]
    NotMarked { release: Box<Error>, mark: RecordError },
    /// CHECK: the attachment does not have the addresses in the result.
    #[error("{attachment} does not hold {}", list(missing))]
    NotHeld {
        attachment: Box<AttachmentId>,
        /// Addresses in the result that the attachment does not hold.
        missing: Vec<IpAddr>,
        held: Vec<IpAddr>,
    },
    #[error("{} of {considered} attachments could not be collected", failures.len())]
    Gc { considered: usize, failures: Vec<(AttachmentId, Error)> },
    /// Sweep: the list of pods is incomplete.
    #[error("nothing was freed, because the list of pods is incomplete")]
    NoCensus(#[source] ClusterError),
    /// Sweep: the UID of the namespace kube-system is not valid as a cluster name.
    #[error("nothing was freed, because the UID of namespace kube-system can't name the cluster")]
    ClusterName(#[source] NameError),
    /// Sweep: the API server belongs to another cluster.
    #[error(
        "nothing was freed, because the API server belongs to cluster {found}, and this node to cluster {expected}"
    )]
    OtherCluster {
        /// `cluster` in the node defaults.
        expected: String,
        /// The UID of the server's namespace kube-system.
        found: String,
    },
    /// Sweep: the list of pods is complete but empty.
    #[error("nothing was freed, because the API server lists no pods")]
    NoPods,
    /// Sweep: too much would be freed.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Sweep: some addresses could not be released.
    #[error("{failed} of {going} could not be released")]
    SweepIncomplete {
        /// How many were to be released.
        going: usize,
        /// For how many of them the release failed.
        failed: usize,
    },
    /// Recovery: an attachment could not be written back.
    #[error(
        "{attachment} was not written back: {ip} is held by {}; {why}",
        holder.as_ref().map_or("an unknown holder".to_owned(), ToString::to_string)
    )]
    NotWrittenBack {
        attachment: Box<AttachmentId>,
        ip: IpAddr,
        /// The holder according to the store.
        holder: Option<Box<Holder>>,
        /// Why that holder is not confirmed gone.
        why: Box<InUseReason>,
    },
    /// STATUS: an ADD would fail.
    #[error("kube-ipam can't serve this network")]
    Status(#[source] Box<Error>),
    /// The runtime did not receive the reply. The call has released what it had assigned.
    #[error("the reply could not be written to standard output")]
    Reply(#[source] io::Error),
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

    /// Whether the request may have taken effect in the store, or may still do so.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Store { error: StoreError::Ambiguous(_), .. })
    }

    /// The same error if an earlier request of this call got no reply: then it is not certain that nothing has
    /// happened.
    #[must_use]
    pub fn with_ambiguity(self) -> Self {
        match self {
            Self::Store { what, error: StoreError::Unavailable(cause) | StoreError::Denied(cause) } => {
                Self::Store { what, error: StoreError::Ambiguous(cause) }
            }
            error => error,
        }
    }

    /// Whether the text should include how the call spent its time.
    pub fn is_about_time(&self) -> bool {
        match self {
            Self::Cluster(error) => error.is_about_time(),
            Self::Store { .. } | Self::NotMarked { .. } | Self::Record(RecordError::Busy { .. }) => true,
            _ => false,
        }
    }

    /// The label for logs and metrics.
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

    /// What happened, with the chain of causes.
    pub fn message(&self) -> impl fmt::Display {
        chain(self)
    }

    /// The same error as the cause of another one, if its details help there too.
    pub fn with_details(self) -> impl std::error::Error + Send + Sync {
        Detailed(self)
    }

    /// The message and the details together.
    pub fn full(&self) -> impl fmt::Display {
        Full(self)
    }
}

/// An error whose text includes its details.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.full())]
struct Detailed(Error);

/// The code for an error of the API client: 7 for the node's configuration, 4 for a name from the runtime, 11 for the
/// server.
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

/// A list of paths that were tried.
pub(crate) fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::cause::Cause;

    #[test]
    fn with_ambiguity_no_error_says_that_nothing_happened() {
        let error = |error| Error::Store { what: "etcd".to_owned(), error };
        let text = || Cause::new("no right");
        for earlier in [StoreError::Unavailable(text()), StoreError::Denied(text()), StoreError::Ambiguous(text())] {
            assert!(error(earlier).with_ambiguity().is_ambiguous());
        }
    }
}
