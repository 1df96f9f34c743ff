//! Why a request to the API server failed, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::object::{ObjectRef, ResourceKind};
use crate::apiserver::{ConnectionError, KubeconfigProblem};
use crate::cause::Cause;
use crate::ipam::name::NameError;

/// Why an object of the API could not be read or written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "its text says what a variant is and what its fields hold")]
pub enum ClusterError {
    #[error("can't use the kubeconfig {}", .path.display())]
    Kubeconfig {
        path: PathBuf,
        #[source]
        problem: KubeconfigProblem,
    },
    #[error("can't use the service account in {}", .folder.display())]
    ServiceAccount {
        folder: PathBuf,
        #[source]
        problem: KubeconfigProblem,
    },
    #[error("can't start the network runtime")]
    Runtime(#[source] io::Error),
    /// The name is not valid in Kubernetes. It would change the path of the request.
    #[error("{text:?} is not a valid {what} in Kubernetes")]
    Name {
        /// What it should name.
        what: &'static str,
        /// The text; empty if there is none.
        text: String,
    },
    /// The connection failed or was lost.
    #[error("the API server {url} can't be reached")]
    Unreachable {
        url: String,
        #[source]
        cause: Cause,
    },
    #[error("the API server {url} did not answer within {waited:.1?}")]
    TimedOut {
        url: String,
        /// After this time.
        waited: Duration,
    },
    #[error("the API server {url} is not trusted")]
    Untrusted {
        url: String,
        #[source]
        cause: rustls::Error,
    },
    /// 401.
    #[error("the API server {url} does not accept the credentials of {}", .credentials.display())]
    Unauthorized { url: String, credentials: PathBuf },
    /// 403.
    #[error("the API server {url} does not allow {user} to {} {object}", object.kind.verb())]
    Forbidden {
        url: String,
        user: String,
        /// The object that was requested or to be written.
        object: Box<ObjectRef>,
        message: String,
    },
    /// 404 for this object, in the API server's own words. A proxy's 404 does not count.
    #[error("the API server {url} knows no {object}")]
    NotFound { url: String, object: Box<ObjectRef> },
    /// 409.
    #[error("the API server {url} reports that {object} was changed in the meantime: {message}")]
    Conflict { url: String, object: Box<ObjectRef>, message: String },
    /// 410.
    #[error("the API server {url} reports that {object} is gone: {message}")]
    Gone { url: String, object: Box<ObjectRef>, message: String },
    /// 429.
    #[error("the API server {url} is too busy for this request: {message}")]
    TooManyRequests { url: String, message: String },
    /// 500 and above.
    #[error("the API server {url} failed with status {status}: {message}")]
    ServerError { url: String, status: u16, message: String },
    #[error("the answer of {url} about {object} can't be used")]
    UnexpectedResponse {
        url: String,
        object: Box<ObjectRef>,
        #[source]
        problem: ResponseProblem,
    },
    /// A pod of that name exists, but with another UID.
    #[error("{pod} was replaced: this sandbox belongs to UID {sandbox}, and the API server has UID {api}")]
    Replaced {
        pod: Box<ObjectRef>,
        /// K8S_POD_UID.
        sandbox: String,
        /// The UID of the pod that has the name now.
        api: String,
    },
}

/// What is wrong with a response. Its body is never quoted: it may contain secrets.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "its text says what a variant is and what its fields hold")]
pub enum ResponseProblem {
    /// The size of a response, and of a line of a watch, is limited.
    #[error("it is larger than {} MiB", .0 >> 20)]
    TooLarge(usize),
    /// The list goes on after this many pages.
    #[error("it has more than {0} pages")]
    TooManyPages(usize),
    /// The status is neither success nor a documented failure.
    #[error("it has status {status}: {message}")]
    Status { status: u16, message: String },
    /// The body, or a line of a watch.
    #[error("it is not JSON (line {line}, column {column})")]
    NotJson {
        /// From 1.
        line: usize,
        /// In bytes, from 1.
        column: usize,
    },
    /// A field is missing or has another type.
    #[error("it is not what was asked for (line {line}, column {column})")]
    NotAsked {
        /// From 1.
        line: usize,
        /// In bytes, from 1.
        column: usize,
    },
    /// It has another `kind` than the requested one.
    #[error("it is of kind {found:?}, not {wanted}")]
    OtherKind {
        /// Shortened.
        found: String,
        /// A kind, or a description of several.
        wanted: &'static str,
    },
    /// The right kind, but another object: `<namespace>/<name>`.
    #[error("it is about {0}")]
    OtherObject(String),
    /// A listed object lacks a part of its metadata: `<namespace>/<name>`.
    #[error("{0} lacks a namespace, a name or a UID")]
    NoIdentity(String),
    /// It contains a name that Kubernetes does not allow.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A field of the Lease has another type.
    #[error("it is not a Lease as Kubernetes defines it")]
    NotALease(#[source] serde_json::Error),
    /// Without a resourceVersion, the Lease can't be written conditionally.
    #[error("it has no resourceVersion")]
    NoVersion,
}

impl From<serde_json::Error> for ResponseProblem {
    fn from(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        if error.is_data() { Self::NotAsked { line, column } } else { Self::NotJson { line, column } }
    }
}

impl From<ConnectionError> for ClusterError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Kubeconfig { path, problem } => Self::Kubeconfig { path, problem },
            ConnectionError::ServiceAccount { folder, problem } => Self::ServiceAccount { folder, problem },
            ConnectionError::NotConnected { url, cause } | ConnectionError::Lost { url, cause } => {
                Self::Unreachable { url, cause }
            }
            ConnectionError::TimedOut { url, waited } => Self::TimedOut { url, waited },
            ConnectionError::Untrusted { url, cause } => Self::Untrusted { url, cause },
            ConnectionError::TooLarge { url, limit } => {
                let cause = Cause::new(format!("its answer is larger than {} MiB", limit >> 20));
                Self::Unreachable { url, cause }
            }
        }
    }
}

impl ClusterError {
    /// The error's label in logs and metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Kubeconfig { .. } | Self::ServiceAccount { .. } => "kubeconfig",
            Self::Runtime(_) => "runtime",
            Self::Name { .. } => "pod_name",
            Self::Unreachable { .. } => "api_unreachable",
            Self::TimedOut { .. } => "api_slow",
            Self::Untrusted { .. } => "api_untrusted",
            Self::Unauthorized { .. } => "api_unauthorized",
            Self::Forbidden { .. } => "api_forbidden",
            Self::NotFound { .. } => "api_not_found",
            Self::Conflict { .. } => "api_changed",
            Self::Gone { .. } => "api_gone",
            Self::TooManyRequests { .. } => "api_busy",
            Self::ServerError { .. } => "api_failing",
            Self::UnexpectedResponse { .. } => "api_strange",
            Self::Replaced { .. } => "replaced",
        }
    }

    /// Whether the reply should include the timings of the call.
    pub fn is_about_time(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. })
    }

    /// Whether the server does not serve this kind of object, because its CustomResourceDefinition is missing.
    pub fn is_unknown_kind(&self) -> bool {
        matches!(self, Self::UnexpectedResponse { problem: ResponseProblem::Status { status: 404, .. }, .. })
    }

    /// What to do about it.
    pub fn details(&self) -> String {
        match self {
            Self::Kubeconfig { problem, .. } => problem.details(),
            Self::ServiceAccount { .. } => "the kubelet mounts it into the pod, unless the pod has \
                                            automountServiceAccountToken: false; --kubeconfig names a file instead"
                .to_owned(),
            Self::Runtime(_) => String::new(),
            Self::Name { .. } => "the container runtime passes K8S_POD_NAMESPACE and K8S_POD_NAME in CNI_ARGS".to_owned(),
            Self::Unreachable { .. } | Self::TimedOut { .. } => {
                "a pod gets no address before its annotations are known; check that the API server is up, and that this \
                 node can reach it"
                    .to_owned()
            }
            Self::Untrusted { .. } => "certificate-authority in the kubeconfig must be that of this cluster, and the \
                                       server's certificate valid for the URL's host"
                .to_owned(),
            Self::Unauthorized { .. } => "its token or certificate has expired, or belongs to another cluster; renew it \
                                          (the installer's DaemonSet does, if its pod runs on this node)"
                .to_owned(),
            Self::Forbidden { object, message, .. } => {
                let (group, resource, verbs) = (object.kind.group(), object.kind.resource(), object.verbs());
                // kube-ipam reads only this namespace.
                let names = match object.kind {
                    ResourceKind::Namespace => format!(", resourceNames [{:?}]", object.name),
                    _ => String::new(),
                };
                format!(
                    "grant it the rule apiGroups [{group:?}], resources [{resource:?}]{names}, verbs {verbs:?}; the \
                     server says: {message}"
                )
            }
            Self::NotFound { object, .. } if object.kind == ResourceKind::IpamClaim => {
                "the pod names it by ipam-claim-reference in k8s.v1.cni.cncf.io/networks; the pod starts once the \
                 claim is there, which has to be in the pod's namespace"
                    .to_owned()
            }
            Self::NotFound { .. } => {
                "it was deleted in the meantime, or the kubeconfig belongs to another cluster".to_owned()
            }
            Self::Gone { object, .. } if matches!(object.kind, ResourceKind::Pods | ResourceKind::Nodes) => {
                "its first page expired before its last one was read; try again".to_owned()
            }
            Self::Gone { .. } => "it was deleted in the meantime".to_owned(),
            Self::Conflict { .. } => "the next attempt reads it again".to_owned(),
            Self::TooManyRequests { .. } | Self::ServerError { .. } => "look at the API server and its etcd".to_owned(),
            Self::UnexpectedResponse { object, .. } if object.kind == ResourceKind::IpamClaim => {
                "is the CustomResourceDefinition ipamclaims.k8s.cni.cncf.io installed, with its version \
                 v1alpha1?"
                    .to_owned()
            }
            Self::UnexpectedResponse { object, .. } if object.kind == ResourceKind::NetworkDefinition => {
                "is the CustomResourceDefinition network-attachment-definitions.k8s.cni.cncf.io installed, as Multus \
                 does it?"
                    .to_owned()
            }
            Self::UnexpectedResponse { .. } => {
                "check the server in the kubeconfig: is it the API server, by https, with no proxy in between?".to_owned()
            }
            Self::Replaced { .. } => {
                "the new pod gets its own sandbox, and the runtime deletes this one".to_owned()
            }
        }
    }
}
