//! Why the API server could not be asked, or did not tell what it was asked for.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::kubeconfig::KubeconfigProblem;
use super::object::{Kind, Object};
use crate::cni::Code;

/// Why nothing is known of an object of the API.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The kubeconfig is missing or wrong.
    #[error("can't use the kubeconfig {}: {problem}", .path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: KubeconfigProblem,
    },
    /// The service account of this pod is missing or wrong.
    #[error("can't use the service account in {}: {problem}", .folder.display())]
    ServiceAccount {
        /// Its folder.
        folder: PathBuf,
        /// What is wrong with it.
        problem: KubeconfigProblem,
    },
    /// The system has no room for another runtime.
    #[error("can't start the network runtime: {0}")]
    Runtime(#[source] io::Error),
    /// A name that nothing in Kubernetes has, and that would make another request of ours.
    #[error("{text:?} is not the {what} of anything in Kubernetes")]
    Name {
        /// What it should name.
        what: &'static str,
        /// The text; empty if there is none.
        text: String,
    },
    /// There is no connection, or it broke.
    #[error("the API server {url} can't be reached: {why}")]
    Unreachable {
        /// Its URL.
        url: String,
        /// What went wrong on the way.
        why: String,
    },
    /// The answer did not come in time.
    #[error("the API server {url} did not answer within {waited:.1?}")]
    Slow {
        /// Its URL.
        url: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The server has not shown that it is the right one.
    #[error("the API server {url} is not trusted: {why}")]
    Untrusted {
        /// Its URL.
        url: String,
        /// What is wrong with its certificate.
        why: String,
    },
    /// 401.
    #[error("the API server {url} does not accept the credentials of {}", .credentials.display())]
    Unauthorized {
        /// Its URL.
        url: String,
        /// The file or folder with the credentials.
        credentials: PathBuf,
    },
    /// 403.
    #[error("the API server {url} does not allow {user} to {} {object}", object.kind.deed())]
    Forbidden {
        /// Its URL.
        url: String,
        /// Who asked, as far as the server says.
        user: String,
        /// What was asked for, or was to be written.
        object: Box<Object>,
        /// The server's words.
        said: String,
    },
    /// 404, in the words of an API server: the object is not there.
    #[error("the API server {url} knows no {object}")]
    NotFound {
        /// Its URL.
        url: String,
        /// What was asked for.
        object: Box<Object>,
    },
    /// 409.
    #[error("{object} was changed by somebody else meanwhile, says the API server {url}: {said}")]
    Changed {
        /// Its URL.
        url: String,
        /// What was to be written.
        object: Box<Object>,
        /// The server's words.
        said: String,
    },
    /// 410.
    #[error("the API server {url} says that {object} is gone: {said}")]
    Gone {
        /// Its URL.
        url: String,
        /// What was asked for.
        object: Box<Object>,
        /// The server's words.
        said: String,
    },
    /// 429.
    #[error("the API server {url} has no time for this request: {said}")]
    Busy {
        /// Its URL.
        url: String,
        /// The server's words.
        said: String,
    },
    /// 500 and above.
    #[error("the API server {url} fails with status {status}: {said}")]
    Failing {
        /// Its URL.
        url: String,
        /// The status of HTTP.
        status: u16,
        /// The server's words.
        said: String,
    },
    /// An answer that is none.
    #[error("the answer of {url} about {object} can't be used: {why}")]
    Strange {
        /// The URL.
        url: String,
        /// What was asked for.
        object: Box<Object>,
        /// What is wrong with it.
        why: String,
    },
    /// There is a pod of that name, but the call is not about it.
    #[error("{pod} was replaced: this sandbox is of UID {sandbox}, and the API server has UID {api}")]
    Replaced {
        /// The pod.
        pod: Box<Object>,
        /// K8S_POD_UID.
        sandbox: String,
        /// The UID of the pod that has the name now.
        api: String,
    },
}

impl ClusterError {
    /// The code of the error document: 7 for what only somebody's hand can change on this node, 11 for whatever the API
    /// server says or does not say.
    pub fn code(&self) -> Code {
        match self {
            Self::Kubeconfig { .. } | Self::ServiceAccount { .. } => Code::CONFIG,
            Self::Name { .. } => Code::ENVIRONMENT,
            _ => Code::TRY_AGAIN,
        }
    }

    /// A word for logs and metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Kubeconfig { .. } | Self::ServiceAccount { .. } => "kubeconfig",
            Self::Runtime(_) => "runtime",
            Self::Name { .. } => "pod_name",
            Self::Unreachable { .. } => "api_unreachable",
            Self::Slow { .. } => "api_slow",
            Self::Untrusted { .. } => "api_untrusted",
            Self::Unauthorized { .. } => "api_unauthorized",
            Self::Forbidden { .. } => "api_forbidden",
            Self::NotFound { .. } => "api_not_found",
            Self::Changed { .. } => "api_changed",
            Self::Gone { .. } => "api_gone",
            Self::Busy { .. } => "api_busy",
            Self::Failing { .. } => "api_failing",
            Self::Strange { .. } => "api_strange",
            Self::Replaced { .. } => "replaced",
        }
    }

    /// Whether a caller wants to know what the time of the call went by on.
    pub fn is_about_time(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Slow { .. })
    }

    /// What to do.
    pub fn details(&self) -> String {
        match self {
            Self::Kubeconfig { problem, .. } => problem.details(),
            Self::ServiceAccount { .. } => "the kubelet writes it into the pod, unless the pod says \
                                            automountServiceAccountToken: false; --kubeconfig names a file in its place"
                .to_owned(),
            Self::Runtime(_) => String::new(),
            Self::Name { .. } => "the runtime gives K8S_POD_NAMESPACE and K8S_POD_NAME in CNI_ARGS".to_owned(),
            Self::Unreachable { .. } | Self::Slow { .. } => {
                "no address is given before the pod's annotations are known; see that the API server is up and reached \
                 from this node"
                    .to_owned()
            }
            Self::Untrusted { .. } => "certificate-authority in the kubeconfig must be that of this cluster, and the \
                                       server's certificate valid for the URL's host"
                .to_owned(),
            Self::Unauthorized { .. } => "its token or certificate has expired, or is of another cluster; the install \
                                          DaemonSet writes it anew where its pod runs on this node"
                .to_owned(),
            Self::Forbidden { object, said, .. } => {
                let (group, resource, verbs) = (object.kind.group(), object.kind.resource(), object.verbs());
                // Of all namespaces, only this one is read.
                let names = match object.kind {
                    Kind::Namespace => format!(", resourceNames [{:?}]", object.name),
                    _ => String::new(),
                };
                format!(
                    "grant it the rule apiGroups [{group:?}], resources [{resource:?}]{names}, verbs {verbs:?}; the server \
                     says: {said}"
                )
            }
            Self::NotFound { object, .. } if object.kind == Kind::IpamClaim => {
                "the pod names it by ipam-claim-reference in k8s.v1.cni.cncf.io/networks; the pod starts once the claim is \
                 there, which has to be in the pod's namespace"
                    .to_owned()
            }
            Self::NotFound { .. } => {
                "it was deleted meanwhile, or the kubeconfig is that of another cluster".to_owned()
            }
            Self::Gone { object, .. } if matches!(object.kind, Kind::Pods | Kind::Nodes) => {
                "the server did not keep the moment of its first page until the last one was read; try again".to_owned()
            }
            Self::Gone { .. } => "it was deleted meanwhile".to_owned(),
            Self::Changed { .. } => "the next try reads it anew".to_owned(),
            Self::Busy { .. } | Self::Failing { .. } => "look at the API server and its etcd".to_owned(),
            Self::Strange { object, .. } if object.kind == Kind::IpamClaim => {
                "is the CustomResourceDefinition ipamclaims.k8s.cni.cncf.io installed, with its version v1alpha1?".to_owned()
            }
            Self::Strange { .. } => {
                "look at the server in the kubeconfig: is it https, and no proxy in between?".to_owned()
            }
            Self::Replaced { .. } => {
                "the pod of today gets a sandbox of its own; this one is only to be deleted".to_owned()
            }
        }
    }
}
