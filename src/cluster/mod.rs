//! A client of the Kubernetes API server: pods, owners, claims, events, and the Lease and watches of the controller.
//!
//! ```text
//!                    apiserver    kubeconfig, credentials, one TLS connection
//!                        │
//!                    Connection   async, for several requests at once ─┬─ leader_lease   the Lease of an election
//!                        │                                             └─ watch          deletions, and our own events
//!                    ApiServer    blocking, one request at a time, within a time limit
//!                        │
//!                    response     status and body → the object, or the reason why nothing is known of it
//!
//! through ApiServer:  census      all pods or nodes, page by page, metadata only; complete or an error
//!                     claim       an IPAMClaim, and one PATCH of its status
//!                     machine     a virtual machine's active pods, and its migrations
//!                     event       an Event on a pod, in one POST
//!                     inventory   definitions of networks, the installer's DaemonSets and pods, who leads
//!                     workloads   what runs pods, and the nodes, as manifests for a plan
//!                     access_rules, server_version   what RBAC allows; the server's version and clock
//!                     event_list  the Events on a pod, for `explain`
//! ```
//!
//! A GET names no resourceVersion, so the server answers from committed state and not from its cache. Otherwise a
//! missing pod would not count as gone (invariant 4). Each request is sent once. The kubelet retries a failed ADD, and
//! a server that returns 429 or 503 should not immediately get a hundred nodes' requests again.

mod access_rules;
mod census;
mod claim;
mod connection;
mod error;
mod event;
mod event_list;
mod expiry;
mod inventory;
mod leader_lease;
mod machine;
mod node;
mod object;
mod response;
mod server_version;
#[cfg(test)]
mod tests;
mod watch;
mod workload_kind;
mod workloads;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kube::core::Request;
use kube::core::params::GetParams;
use tokio::runtime::{Builder, Runtime};

pub use self::access_rules::{AccessRule, AccessRules, AccountRef};
pub use self::connection::Connection;
pub use self::error::{ClusterError, ResponseProblem};
pub use self::event::{Event, EventError, Reason};
pub use self::expiry::{Credential, credentials};
pub use self::inventory::{DaemonPod, DaemonSetStatus, NetworkDefinition};
pub use self::leader_lease::{LeaderElectionRecord, LeaderLease, ObservedRecord};
pub use self::object::{ObjectRef, ResourceKind};
use self::response::ApiResponse;
pub use self::server_version::ServerVersion;
pub use self::watch::{Watch, WatchEnd, WatchEvent};
pub use self::workload_kind::WorkloadKind;
pub use self::workloads::{NodeManifest, WorkloadManifest};
use crate::apiserver::Endpoint;
pub use crate::apiserver::{Access, KubeconfigProblem};
use crate::deadline::Deadline;
use crate::ipam::lease::PodRef;
use crate::ipam::name::Name;
use crate::ipam::pod::{Controller, Pod};
use crate::ipam::reservation::Owner;
use crate::ipam::takeover::PodLookup;

/// All requests of one call may take at most 1/`API_SHARE` of its remaining time. The rest is for the store.
const API_SHARE: u32 = 2;

/// An API server and the credentials for it.
pub struct ApiServer {
    connection: Connection,
    limit: TimeLimit,
    access: Access,
    /// `None` only during the drop.
    runtime: Option<Arc<Runtime>>,
}

/// How long to wait for responses.
enum TimeLimit {
    /// All requests together, until the deadline.
    PerCall(Deadline),
    PerRequest(Duration),
}

impl ApiServer {
    /// Reads the kubeconfig and the files that it names. Connects with the first request. All requests together may
    /// take a share of the time that is left until the deadline.
    pub fn open(kubeconfig: &Path, deadline: Deadline) -> Result<Self, ClusterError> {
        let limit = TimeLimit::PerCall(deadline.at_most(deadline.remaining() / API_SHARE));
        Self::with_limit(&Access::Kubeconfig(kubeconfig.to_owned()), limit)
    }

    /// The same for a process that sends many requests. Each has its own timeout.
    pub fn open_with_timeout(access: &Access, request_timeout: Duration) -> Result<Self, ClusterError> {
        Self::with_limit(access, TimeLimit::PerRequest(request_timeout))
    }

    fn with_limit(access: &Access, limit: TimeLimit) -> Result<Self, ClusterError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(ClusterError::Runtime)?;
        let connection = Connection::open(access)?;
        Ok(Self { connection, limit, access: access.clone(), runtime: Some(Arc::new(runtime)) })
    }

    /// Its connections with their runtime, if it was opened with these credentials. So a store in this API server needs
    /// no connection of its own.
    pub fn shared(&self, access: &Access) -> Option<(Endpoint, Arc<Runtime>)> {
        if self.access == *access { self.connections().ok() } else { None }
    }

    /// Its connections with their runtime, for other requests than those of this client.
    pub fn connections(&self) -> Result<(Endpoint, Arc<Runtime>), ClusterError> {
        let runtime = self.runtime.clone().ok_or_else(ended)?;
        Ok((self.connection.endpoint.clone(), runtime))
    }

    /// Reads the metadata of a pod. If the runtime named a UID, a pod with another UID is an error.
    pub fn pod(&self, pod: &PodRef) -> Result<Pod, ClusterError> {
        let object = ObjectRef::from_pod(pod)?;
        let found = self.get_metadata(&object)?.pod(&object)?;
        match &pod.uid {
            Some(uid) if !found.has_sandbox_of(uid) => {
                Err(ClusterError::Replaced { pod: Box::new(object), sandbox: uid.clone(), api: found.uid })
            }
            _ => Ok(found),
        }
    }

    /// Looks up the pod with this name, whatever its UID: not found, finished or running.
    pub fn lookup_pod(&self, pod: &PodRef) -> Result<PodLookup, ClusterError> {
        let object = ObjectRef::from_pod(pod)?;
        self.get_full(&object)?.pod_lookup(&object)
    }

    /// The ordinal of a StatefulSet's first pod: `spec.ordinals.start`, 0 if it is not set.
    pub fn first_ordinal(&self, namespace: &str, stateful_set: &str) -> Result<u32, ClusterError> {
        let object = ObjectRef::new(ResourceKind::StatefulSet, namespace, stateful_set)?;
        self.get_full(&object)?.first_ordinal(&object)
    }

    /// The controller of a running virtual machine, if it still is the machine of the pod.
    pub fn controller_of(&self, machine: &Owner) -> Result<Option<Controller>, ClusterError> {
        let object = ObjectRef::from_owner(machine)?;
        let found = self.get_metadata(&object)?.pod(&object)?;
        match found.uid == machine.uid {
            true => Ok(found.controller),
            false => {
                let sandbox = machine.uid.clone();
                Err(ClusterError::Replaced { pod: Box::new(object), sandbox, api: found.uid })
            }
        }
    }

    /// Whether the owner of an address exists. An object that was recreated under its name counts too, because its pods
    /// want the same address. A claim counts only with the same UID ([`Owner::is`]).
    pub fn exists(&self, owner: &Owner) -> Result<bool, ClusterError> {
        let uid = self.owner_uid(owner)?;
        Ok(uid.is_some_and(|uid| owner.kind.goes_by_name() || uid == owner.uid))
    }

    /// The UID of the object with the owner's name; `None` if there is none.
    pub fn owner_uid(&self, owner: &Owner) -> Result<Option<String>, ClusterError> {
        let object = ObjectRef::from_owner(owner)?;
        match self.get_metadata(&object)?.uid(&object) {
            Ok(uid) => Ok(Some(uid)),
            Err(ClusterError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The UID of a namespace. That of kube-system identifies the cluster.
    pub fn namespace_uid(&self, namespace: &str) -> Result<String, ClusterError> {
        let object = ObjectRef::new(ResourceKind::Namespace, "", namespace)?;
        self.get_metadata(&object)?.uid(&object)
    }

    /// The same, with its own timeout.
    pub fn namespace_uid_with_timeout(&self, namespace: &str, timeout: Duration) -> Result<String, ClusterError> {
        let object = ObjectRef::new(ResourceKind::Namespace, "", namespace)?;
        let deadline = match self.limit {
            TimeLimit::PerCall(deadline) => deadline.at_most(timeout),
            TimeLimit::PerRequest(limit) => Deadline::after(limit.min(timeout)),
        };
        let request = Request::new(object.path()).get_metadata(&object.name, &GetParams::default());
        self.request(request.map_err(|_| object.invalid_name())?, &object, deadline)?.uid(&object)
    }

    /// The labels of a node.
    pub fn node_labels(&self, node: &Name) -> Result<BTreeMap<String, String>, ClusterError> {
        let object = ObjectRef::new(ResourceKind::Node, "", node.as_str())?;
        self.get_metadata(&object)?.labels(&object)
    }

    /// The digest of the server's URL and CA certificates.
    pub fn fingerprint(&self) -> &str {
        self.connection.fingerprint()
    }

    /// GETs a whole object.
    fn get_full(&self, object: &ObjectRef) -> Result<ApiResponse<'_>, ClusterError> {
        self.get(Request::new(object.path()).get(&object.name, &GetParams::default()), object)
    }

    /// GETs the metadata of an object.
    fn get_metadata(&self, object: &ObjectRef) -> Result<ApiResponse<'_>, ClusterError> {
        self.get(Request::new(object.path()).get_metadata(&object.name, &GetParams::default()), object)
    }

    /// Sends a read request within the time limit.
    fn get(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
        object: &ObjectRef,
    ) -> Result<ApiResponse<'_>, ClusterError> {
        self.request(request.map_err(|_| object.invalid_name())?, object, self.deadline())
    }

    /// The deadline of the next request.
    fn deadline(&self) -> Deadline {
        match self.limit {
            TimeLimit::PerCall(deadline) => deadline,
            TimeLimit::PerRequest(limit) => Deadline::after(limit),
        }
    }

    /// Sends a request once and waits for its response until the deadline.
    fn request(
        &self,
        request: http::Request<Vec<u8>>,
        object: &ObjectRef,
        deadline: Deadline,
    ) -> Result<ApiResponse<'_>, ClusterError> {
        self.block_on(self.connection.request(request, object, deadline))
    }

    fn block_on<T>(&self, answer: impl Future<Output = Result<T, ClusterError>>) -> Result<T, ClusterError> {
        self.runtime.as_ref().ok_or_else(ended)?.block_on(answer)
    }
}

fn ended() -> ClusterError {
    ClusterError::Runtime(io::Error::other("it has ended"))
}

/// The digest of an API server's URL and CA certificates. Does not connect.
pub fn fingerprint(access: &Access) -> Result<String, ClusterError> {
    Ok(connection::fingerprint(&access.read()?))
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // A DNS lookup can't be interrupted. Don't wait for it.
        if let Some(runtime) = self.runtime.take().and_then(Arc::into_inner) {
            runtime.shutdown_background();
        }
    }
}
