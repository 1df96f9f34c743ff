//! The verbs of the protocol, one file each, and the way from a call to its reply.
//!
//! ```text
//! environment, stdin ─► cni::request ─► config::load ─► add | del | check | gc | status ─► cni::reply ─► stdout
//!                                                        │    │         │
//!                      cluster ─► asks, takeover, claim ─┘  record    Session ─► store
//! ```
//!
//! Everything here is synchronous: a call asks one thing after the other, and [`Session`] waits for the store.

mod add;
mod asks;
mod check;
mod claim;
mod cluster;
mod containers;
mod del;
mod gc;
pub mod recovery;
mod release;
mod say;
mod serve;
mod session;
mod status;
pub mod sweep;
mod takeover;

pub use self::serve::serve;
pub use self::session::Session;
use crate::cluster::ApiServer;
use crate::cni::{CniVersion, Target};
use crate::config::Site;
use crate::error::Error;
use crate::ipam::claim::Claim;
use crate::ipam::lease::{Began, PodRef};
use crate::ipam::name::{AttachmentId, Name};
use crate::record::Records;
use crate::store::{Deadline, StoreConfig};
use crate::telemetry::{Operation, Phase};

/// What a verb works with.
struct Call<'a> {
    site: &'a Site,
    network: &'a Name,
    version: CniVersion,
    records: Records,
    /// The store that was opened last.
    session: Option<Session>,
    /// The API server, once it was asked something.
    api: Option<ApiServer>,
    /// The claim that the pod names for this interface, once it was read.
    claim: Option<Claim>,
    began: Began,
    until: Deadline,
    operation: Operation,
    /// Whether it has met a sign that the store has lost writes.
    saw_recovery: bool,
}

impl Call<'_> {
    /// The attachment that the runtime means.
    fn attachment(&self, target: &Target) -> AttachmentId {
        AttachmentId {
            node: self.site.node.clone(),
            container: target.container.clone(),
            ifname: target.ifname.clone(),
            network: self.network.clone(),
        }
    }

    /// What the call is busy with from now on.
    fn enter(&mut self, phase: Phase) {
        self.operation.enter(phase);
    }

    /// The session of a store, opened if it is not open yet.
    fn open(&mut self, store: &StoreConfig) -> Result<&Session, Error> {
        let session = match self.session.take() {
            Some(session) if *session.config() == *store => session,
            _ => Session::open(store.clone(), Some(self.records.folder()))?,
        };
        Ok(self.session.insert(session))
    }

    /// The API server that knows this pod, by the first kubeconfig that exists; a named one that does not is an error of
    /// its own. All questions of a call share one client, and its time.
    fn api(&mut self, pod: &PodRef) -> Result<&ApiServer, Error> {
        self.enter(Phase::Api);
        let api = match self.api.take() {
            Some(api) => api,
            None => {
                let kubeconfig = cluster::kubeconfig(self.site).ok_or_else(|| Error::NoKubeconfig {
                    pod: pod.label().unwrap_or_default(),
                    looked_for: self.site.kubeconfigs.clone(),
                })?;
                ApiServer::open(&kubeconfig, self.until)?
            }
        };
        Ok(self.api.insert(api))
    }
}
