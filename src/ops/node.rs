//! What every verb uses on this machine, whether a runtime or an operator calls it.
//!
//! ```text
//!  settings ─► Node ─┬─ records   this node's files
//!                    ├─ session   the store that was opened last
//!                    ├─ api       the API server, once it has been used
//!                    └─ began     the clock: which boot this is, and when the verb began in it
//! ```
//!
//! A CNI call is a node plus what the runtime has sent ([`Call`](super::Call)). A sweep or a recovery is a node plus
//! its options. Nothing in here knows networks, requesting pods or claims.

use super::Session;
use super::cluster::kubeconfig;
use crate::cluster::ApiServer;
use crate::config::CallSettings;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::lease::{Began, PodRef};
use crate::node;
use crate::record::Records;
use crate::store::StoreConfig;

/// This machine, as a verb uses it.
pub(super) struct Node<'a> {
    pub(super) settings: &'a CallSettings,
    pub(super) records: Records,
    /// The store that was opened last.
    pub(super) session: Option<Session>,
    /// The API server, once it has been used.
    pub(super) api: Option<ApiServer>,
    pub(super) began: Began,
    pub(super) deadline: Deadline,
    /// Whether the verb has found a sign that the store has lost writes.
    pub(super) saw_recovery: bool,
}

impl<'a> Node<'a> {
    /// The node that these settings describe. Neither a store nor an API server is opened yet.
    pub(super) fn new(settings: &'a CallSettings, deadline: Deadline) -> Self {
        Self {
            settings,
            records: Records::new(&settings.state_dir, &settings.node).with_former_names(&settings.former_nodes),
            session: None,
            api: None,
            began: Began::now(&node::boot_id_file()),
            deadline,
            saw_recovery: false,
        }
    }

    /// The session of a store, opened if it is not open yet.
    pub(super) fn open(&mut self, store: &StoreConfig) -> Result<&Session, Error> {
        let session = match self.session.take() {
            Some(session) if *session.config() == *store => session,
            _ => match self.over_api(store) {
                Some(session) => session,
                None => Session::open(store.clone(), Some(self.records.folder()))?,
            },
        };
        Ok(self.session.insert(session))
    }

    /// A session over the connection on which the pod was read, if the store is in that API server.
    fn over_api(&self, store: &StoreConfig) -> Option<Session> {
        match (store, &self.api) {
            (StoreConfig::Kubernetes(config), Some(api)) => Session::open_over(config, api),
            _ => None,
        }
    }

    /// The API server that knows this pod, according to the first kubeconfig that exists. Without one, this fails. All
    /// requests of a verb share one client and its deadline.
    pub(super) fn api(&mut self, pod: &PodRef) -> Result<&ApiServer, Error> {
        let api = match self.api.take() {
            Some(api) => api,
            None => {
                let kubeconfig = kubeconfig(self.settings).ok_or_else(|| Error::NoKubeconfig {
                    pod: pod.label().unwrap_or_default(),
                    looked_for: self.settings.kubeconfigs.clone(),
                })?;
                ApiServer::open(&kubeconfig, self.deadline)?
            }
        };
        Ok(self.api.insert(api))
    }
}
