//! The cluster of a pod: `cluster` in the node defaults, or else the UID of the API server's namespace kube-system.
//!
//! ```text
//!  the defaults name it ───────────────────────────────────────────────────────────► known
//!  this node has cached it, for the server that the kubeconfig names ──────────────► known
//!  else GET kube-system, on the connection that read the pod ─┬─ the server answers ► known, and cached
//!                                                             └─ the GET fails ─────► unknown: no holder is checked
//! ```
//!
//! An ADD continues with an unknown cluster, and so does its holder. A sweep adds the cluster later.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Node;
use crate::cause::chain;
use crate::cluster::{self, Access, ApiServer, ClusterError};
use crate::config::CallSettings;
use crate::error::paths;
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::lease::PodRef;
use crate::ipam::name::Name;
use crate::record::{CachedIdentity, Records};

/// A namespace that exists for as long as the cluster, so its UID identifies the cluster.
pub(super) const NAMESPACE: &str = "kube-system";

/// How long an ADD waits for the identity.
const API_TIMEOUT: Duration = Duration::from_secs(1);

/// How long ADDs wait after a failed lookup before one of them retries it.
const RETRY: SignedDuration = SignedDuration::from_mins(1);

impl Node<'_> {
    /// The identity of this pod's cluster, if this node knows it; else the server to ask.
    pub(super) fn known_cluster(&self, pod: &PodRef) -> Result<ClusterIdentity, Fingerprint> {
        let identity = match &self.settings.cluster {
            Some(named) => ClusterIdentity::known(named),
            None if !pod.is_in_a_cluster() => ClusterIdentity::unknown("no pod of a cluster is named".to_owned()),
            None => self.told_identity()?,
        };
        Ok(identity.formerly(&self.settings.former_clusters))
    }

    fn told_identity(&self) -> Result<ClusterIdentity, Fingerprint> {
        let server = match &self.api {
            Some(api) => api.fingerprint().to_owned(),
            None => match fingerprint(self.settings) {
                Ok(server) => server,
                Err(why) => return Ok(ClusterIdentity::unknown(why)),
            },
        };
        match self.records.cached_cluster(&server) {
            Some(CachedIdentity::Uid(uid)) => Ok(ClusterIdentity::known(uid.as_str())),
            Some(CachedIdentity::Failed { at, why }) if is_recent(at, Timestamp::now()) => {
                Ok(ClusterIdentity::unknown(why))
            }
            _ => Err(Fingerprint(server)),
        }
    }

    /// The identity of this pod's cluster. Asks the API server if this node does not know it, and caches nothing.
    pub(super) fn look_up_cluster(&mut self, pod: &PodRef) -> ClusterIdentity {
        self.known_cluster(pod).unwrap_or_else(|_| {
            let identity = match self.api(pod).map(|api| ask(api, API_TIMEOUT)) {
                Ok(Ok(uid)) => ClusterIdentity::known(uid.as_str()),
                Ok(Err(why)) => ClusterIdentity::unknown(why),
                Err(error) => ClusterIdentity::unknown(error.message().to_string()),
            };
            identity.formerly(&self.settings.former_clusters)
        })
    }

    /// Asks this server for its cluster's identity and caches the result on this node.
    pub(super) fn ask_cluster(&mut self, pod: &PodRef, Fingerprint(server): &Fingerprint) -> ClusterIdentity {
        let identity = match self.api(pod).map(|api| ask(api, API_TIMEOUT)) {
            Ok(told) => keep(&self.records, server, told),
            Err(error) => ClusterIdentity::unknown(error.message().to_string()),
        };
        identity.formerly(&self.settings.former_clusters)
    }
}

/// Identifies an API server: the digest of its URL and authority.
pub(super) struct Fingerprint(String);

/// Asks an API server for its cluster's identity and caches the result on this node.
pub(super) fn refresh(records: &Records, api: &ApiServer, patience: Duration) -> ClusterIdentity {
    keep(records, api.fingerprint(), ask(api, patience))
}

/// Asks an API server for its cluster's identity.
fn ask(api: &ApiServer, patience: Duration) -> Result<Name, String> {
    let uid = api.namespace_uid_with_timeout(NAMESPACE, patience).map_err(|error| match &error {
        // Only the details of this error name the missing RBAC rule. Other errors' details are about the requested pod.
        ClusterError::Forbidden { .. } => format!("{}; {}", chain(&error), error.details()),
        _ => chain(&error).to_string(),
    })?;
    Name::new(uid.as_str()).map_err(|error| format!("the UID of namespace {NAMESPACE} can't name it: {error}"))
}

fn keep(records: &Records, server: &str, told: Result<Name, String>) -> ClusterIdentity {
    let (identity, told) = match told {
        Ok(uid) => (ClusterIdentity::known(uid.as_str()), CachedIdentity::Uid(uid)),
        Err(why) => {
            tracing::warn!(why, "this cluster's identity can't be read, so no holder is shown gone");
            (ClusterIdentity::unknown(why.clone()), CachedIdentity::Failed { at: Timestamp::now(), why })
        }
    };
    if let Err(error) = records.cache_cluster(server, &told) {
        tracing::warn!(error = %chain(&error), "this cluster's identity was not kept, and is asked again by the next call");
    }
    identity
}

/// The fingerprint of the kubeconfig's API server, or why there is none.
fn fingerprint(settings: &CallSettings) -> Result<String, String> {
    let found =
        kubeconfig(settings).ok_or_else(|| format!("there is no kubeconfig at {}", paths(&settings.kubeconfigs)))?;
    cluster::fingerprint(&Access::Kubeconfig(found)).map_err(|error| chain(&error).to_string())
}

/// The first kubeconfig that exists.
pub(super) fn kubeconfig(settings: &CallSettings) -> Option<PathBuf> {
    settings.kubeconfigs.iter().find(|path| path.exists()).cloned()
}

/// Whether the time is less than [`RETRY`] ago. A time in the future comes from a wrong clock.
fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    at <= now && now.duration_since(at) < RETRY
}
