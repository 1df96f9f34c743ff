//! What the API server says. Each answer is kept apart from the reason why there is none, and no failure ends the
//! explanation. After a failure to connect, it is not asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::cause::chain;
use crate::cluster::{Access, ApiServer, ClusterError, NetworkDefinition};
use crate::config::CallSettings;
use crate::error::paths;
use crate::explain::{NodeAnswer, ObjectName, PodAnswer};
use crate::ipam::claim::Claim;
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::lease::{Holder, PodRef};
use crate::ipam::name::Name;
use crate::ipam::node_status::NodeStatus;
use crate::ipam::pod::PodEvent;
use crate::ipam::reservation::Owner;
use crate::ipam::takeover::PodLookup;
use crate::ops::cluster::{NAMESPACE as KUBE_SYSTEM, kubeconfig};

/// How long to wait for one response.
const API_TIMEOUT: Duration = Duration::from_secs(10);

/// The API server of this node's cluster, once it is needed.
pub(in crate::ops::operator) struct Api<'a> {
    settings: &'a CallSettings,
    server: Option<Result<ApiServer, String>>,
    identity: Option<ClusterIdentity>,
    /// The nodes that were asked about. Many holders are on one.
    nodes: BTreeMap<Name, Result<Option<NodeStatus>, String>>,
}

/// The UIDs of all unfinished pods.
pub(super) struct Census {
    uids: BTreeSet<String>,
    identity: ClusterIdentity,
}

impl Census {
    /// Whether the API server's list has the pod of a holder; `None` if it can't speak for that pod.
    pub(super) fn has(&self, pod: &PodRef, cluster: Option<&str>) -> Option<bool> {
        let (_, _, uid) = pod.full_name()?;
        self.identity.covers(cluster).ok()?;
        // A kubelet's hash of a manifest is no UID of the API server.
        uid.contains('-').then(|| self.uids.contains(uid))
    }
}

impl<'a> Api<'a> {
    /// Nothing is asked yet.
    pub(in crate::ops::operator) fn new(settings: &'a CallSettings) -> Self {
        Self { settings, server: None, identity: None, nodes: BTreeMap::new() }
    }

    /// Whether there is a kubeconfig to ask with.
    pub(super) fn is_configured(&self) -> bool {
        kubeconfig(self.settings).is_some()
    }

    /// Asks once, and remembers if the server can't be reached.
    fn ask<T>(&mut self, ask: impl FnOnce(&ApiServer) -> Result<T, ClusterError>) -> Result<T, String> {
        let server = self.server.get_or_insert_with(|| open(self.settings));
        let error = match server.as_ref().map_err(|why| why.clone()).map(ask)? {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let why = match &error {
            ClusterError::Forbidden { .. } => format!("{}; {}", chain(&error), error.details()),
            _ => chain(&error).to_string(),
        };
        if error.is_about_time() {
            *server = Err(why.clone());
        }
        Err(why)
    }

    /// The identity of the cluster. Nothing is kept on the node.
    pub(in crate::ops::operator) fn identity(&mut self) -> &ClusterIdentity {
        let identity = match (self.identity.take(), &self.settings.cluster) {
            (Some(known), _) => known,
            (None, Some(named)) => ClusterIdentity::known(named),
            (None, None) => match self.ask(|api| api.namespace_uid(KUBE_SYSTEM)) {
                Ok(uid) => ClusterIdentity::known(&uid),
                Err(why) => ClusterIdentity::unknown(why),
            },
        };
        self.identity.insert(identity.formerly(&self.settings.former_clusters))
    }

    /// The pod of a holder, if this API server can speak for it.
    pub(super) fn holder(&mut self, holder: &Holder) -> PodAnswer {
        let pod = holder.pod.clone();
        let found = match pod.full_name() {
            None => Err("its runtime did not name it in full".to_owned()),
            Some(_) => self.ask(|api| api.lookup_pod(&pod)),
        };
        let covered = |api: &mut Self| api.identity().covers(holder.cluster.as_deref()).map_err(|why| why.to_string());
        let found = found.and_then(|found| covered(self).map(|()| found));
        PodAnswer { pod, found }
    }

    /// The node of a holder whose pod the API server has.
    pub(super) fn node(&mut self, name: &Name) -> NodeAnswer {
        let found = match self.nodes.get(name) {
            Some(known) => known.clone(),
            None => self.ask(|api| api.node_status(name)),
        };
        self.nodes.insert(name.clone(), found.clone());
        NodeAnswer { name: name.clone(), found }
    }

    /// Whether an owner exists.
    pub(in crate::ops::operator) fn owner_exists(&mut self, owner: &Owner) -> Result<bool, String> {
        let exists = self.ask(|api| api.exists(owner))?;
        self.identity().covers(owner.cluster.as_deref()).map_err(|why| why.to_string())?;
        Ok(exists)
    }

    /// A pod and its events.
    pub(in crate::ops::operator) fn pod(
        &mut self,
        name: &ObjectName,
    ) -> (Result<PodLookup, String>, Result<Vec<PodEvent>, String>) {
        let mut pod = PodRef { namespace: name.namespace.clone(), name: Some(name.name.clone()), uid: None };
        let found = self.ask(|api| api.lookup_pod(&pod));
        if let Ok(PodLookup::Found(state)) = &found {
            pod.uid = Some(state.pod.uid.clone());
        }
        (found, self.ask(|api| api.events(&pod)))
    }

    /// The events on all pods that were refused an address. `None` without a kubeconfig: nothing publishes events then.
    pub(super) fn refusals(&mut self) -> Option<Result<Vec<PodEvent>, String>> {
        self.is_configured().then(|| self.ask(ApiServer::refusals))
    }

    /// A claim; `None` if there is none.
    pub(in crate::ops::operator) fn claim(&mut self, name: &ObjectName) -> Result<Option<Claim>, String> {
        let namespace = name.namespace.as_deref().unwrap_or_default();
        self.ask(|api| match api.claim(namespace, &name.name) {
            Err(ClusterError::NotFound { .. }) => Ok(None),
            found => found.map(Some),
        })
    }

    /// All NetworkAttachmentDefinitions of the cluster.
    pub(super) fn definitions(&mut self) -> Result<Vec<NetworkDefinition>, String> {
        let mut found = Vec::new();
        self.ask(|api| api.network_definitions(|definition| found.push(definition)))?;
        Ok(found)
    }

    /// The UIDs of all unfinished pods of the cluster.
    pub(super) fn census(&mut self) -> Result<Census, String> {
        let mut uids = BTreeSet::new();
        self.ask(|api| {
            api.list_unfinished_pods(|pod| {
                uids.insert(pod.uid);
            })
        })?;
        Ok(Census { uids, identity: self.identity().clone() })
    }
}

fn open(settings: &CallSettings) -> Result<ApiServer, String> {
    let kubeconfig =
        kubeconfig(settings).ok_or_else(|| format!("there is no kubeconfig at {}", paths(&settings.kubeconfigs)))?;
    ApiServer::open_with_timeout(&Access::Kubeconfig(kubeconfig), API_TIMEOUT)
        .map_err(|error| chain(&error).to_string())
}
