//! The CNI verbs, one file each, and the path from a call to its reply. The operator's verbs are in [`operator`].
//!
//! ```text
//! environment, stdin ─► cni::request ─► config::load ─► add | del | check | gc | status ─► cni::reply ─► stdout
//!                                                        │    │         │
//!                  cluster ─► requests, takeover, claim ─┘  record    Session ─► store
//! ```
//!
//! `Node` is what these verbs and the operator's share. A `Call` adds what only a call of the runtime has.
//! Everything here is synchronous: a call sends one request after another, and [`Session`] waits for the store.

mod add;
mod check;
mod claim;
mod cluster;
mod containers;
mod del;
pub mod earlier;
mod event;
mod gc;
mod log;
mod node;
pub mod operator;
mod prepared;
pub mod recovery;
pub mod rehearsal;
mod release;
mod requests;
mod serve;
mod session;
mod status;
mod takeover;

use self::node::Node;
pub use self::serve::serve;
pub use self::session::Session;
use crate::cluster::ApiServer;
use crate::cni::{CniVersion, Target};
use crate::error::Error;
use crate::ipam::claim::Claim;
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::lease::PodRef;
use crate::ipam::name::{AttachmentId, Name};
use crate::telemetry::{CallTimer, Phase};

/// A call of the runtime.
struct Call<'a> {
    node: Node<'a>,
    network: &'a Name,
    version: CniVersion,
    /// The claim that the pod names for this interface, once it has been read.
    claim: Option<Claim>,
    timer: CallTimer,
}

impl Call<'_> {
    /// The attachment that the runtime names.
    fn attachment(&self, target: &Target) -> AttachmentId {
        AttachmentId {
            node: self.node.settings.node.clone(),
            container: target.container.clone(),
            ifname: target.ifname.clone(),
            network: self.network.clone(),
        }
    }

    /// Starts a phase of the call.
    fn enter(&mut self, phase: Phase) {
        self.timer.enter(phase);
    }

    /// The API server that knows this pod ([`Node::api`]).
    fn api(&mut self, pod: &PodRef) -> Result<&ApiServer, Error> {
        self.enter(Phase::Api);
        self.node.api(pod)
    }

    /// The identity of this pod's cluster. Asks an API server only if this node does not know it.
    fn cluster(&mut self, pod: &PodRef) -> ClusterIdentity {
        self.node.known_cluster(pod).unwrap_or_else(|server| {
            self.enter(Phase::Api);
            self.node.ask_cluster(pod, &server)
        })
    }
}
