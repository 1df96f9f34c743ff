//! Of which cluster a call is: `cluster` of the node defaults, or what the API server tells of the namespace kube-system.
//!
//! ```text
//!  the defaults name it ─────────────────────────────────────────────────────────────► known
//!  the node has kept it, of the very server that the kubeconfig names ───────────────► known
//!  else the server is asked, on the connection on which the pod was read ─┬─ it tells ► known, and kept
//!                                                                         └─ it fails ► unknown: nobody is shown gone
//! ```
//!
//! An ADD that can't have it goes on without, and so does its holder, whose cluster a sweep fills in.

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

/// The namespace that is as old as the cluster.
const NAMESPACE: &str = "kube-system";

/// How long an ADD waits for the answer.
const API_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a failed question is not repeated by ADDs.
const RETRY: SignedDuration = SignedDuration::from_mins(1);

impl Node<'_> {
    /// The identity of the cluster of this pod as far as this node knows it; else the server that is to be asked for it.
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

    /// Asks this server for the identity of its cluster, and keeps the answer on this node.
    pub(super) fn ask_cluster(&mut self, pod: &PodRef, Fingerprint(server): &Fingerprint) -> ClusterIdentity {
        let identity = match self.api(pod).map(|api| ask(api, API_TIMEOUT)) {
            Ok(told) => keep(&self.records, server, told),
            Err(error) => ClusterIdentity::unknown(error.message().to_string()),
        };
        identity.formerly(&self.settings.former_clusters)
    }
}

/// What tells an API server from others: the digest of its URL and authority.
pub(super) struct Fingerprint(String);

/// Asks which cluster an API server is of, and keeps the answer on this node.
pub(super) fn refresh(records: &Records, api: &ApiServer, patience: Duration) -> ClusterIdentity {
    keep(records, api.fingerprint(), ask(api, patience))
}

/// Asks an API server for the identity of its cluster.
fn ask(api: &ApiServer, patience: Duration) -> Result<Name, String> {
    let uid = api.namespace_uid_with_timeout(NAMESPACE, patience).map_err(|error| match &error {
        // Its cure is the rule that is missing; the others' are about the pod that was asked for.
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

/// What tells the API server of the kubeconfig from others; or why there is none.
fn fingerprint(settings: &CallSettings) -> Result<String, String> {
    let found =
        kubeconfig(settings).ok_or_else(|| format!("there is no kubeconfig at {}", paths(&settings.kubeconfigs)))?;
    cluster::fingerprint(&Access::Kubeconfig(found)).map_err(|error| chain(&error).to_string())
}

/// The first kubeconfig that exists.
pub(super) fn kubeconfig(settings: &CallSettings) -> Option<PathBuf> {
    settings.kubeconfigs.iter().find(|path| path.exists()).cloned()
}

/// Whether that was a moment ago. A time to come is that of a clock that was wrong.
fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    at <= now && now.duration_since(at) < RETRY
}
