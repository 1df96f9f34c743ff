//! Continuous sweeps, by several replicas with one leader.
//!
//! ```text
//!  main thread, async                                     its own thread, blocking
//!  ┌─────────────────────────────────┐                    ┌──────────────────────────────────────────┐
//!  │ leader_elector ◄────► the Lease │── leader until ───►│ sweeper  waits for work (schedule), then │
//!  │ follow  ◄──────────── watches   │── nodes, deletion ►│          one pass of operator::sweep:    │
//!  │ http    ◄─── probes, Prometheus │◄─── report ────────│          scan, and free confirmed leaks  │
//!  │ shutdown ◄─── SIGTERM, SIGINT   │── end ────────────►│                                          │
//!  └─────────────────────────────────┘      (shared)      └──────────────────────────────────────────┘
//! ```
//!
//! The code of `kube-ipam sweep` decides what has leaked, and nothing else here frees anything. A watch only makes a
//! scan start sooner and names its node. The election only saves work. A failed scan is logged, counted and retried,
//! and never ends the process. Each scan and each connection reads the credential files again, so that they can rotate.

mod election;
mod error;
mod follow;
mod http;
mod leader_elector;
mod metrics;
mod schedule;
mod shared;
mod shutdown;
mod sweeper;

use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use self::election::Election;
pub use self::election::ElectionTiming;
pub use self::error::ControllerError;
use self::leader_elector::LeaderElector;
use self::shared::{Leadership, Shared};
pub use self::shutdown::ShutdownSignal;
use crate::cluster::{Access, LeaderLease};
use crate::config::CallSettings;
use crate::store::StoreConfig;

/// How long a shutdown waits for work in progress. A release is one commit, so giving up loses nothing.
const GRACE: Duration = Duration::from_secs(5);

/// The configuration of a controller.
#[derive(Clone, Debug)]
pub struct Controller {
    /// The node defaults.
    pub settings: CallSettings,
    /// The store.
    pub store: StoreConfig,
    /// The API server. Without one, no pod is checked.
    pub access: Option<Access>,
    /// `None` if this is the only controller.
    pub election: Option<LeaderElectionConfig>,
    /// How often to scan the whole store.
    pub interval: Duration,
    /// How soon to scan after a deletion, or after a scan that found candidates.
    pub settle: Duration,
    /// Overrides the share in the node defaults.
    pub max_share: Option<f64>,
    /// The namespace of the objects that show the networks of a store outside of the Kubernetes API; `None` for none.
    pub network_objects: Option<String>,
}

/// The lease, the identity and the timing with which a controller takes part in leader election.
#[derive(Clone, Debug)]
pub struct LeaderElectionConfig {
    /// The Lease that the leader holds.
    pub lease: LeaderLease,
    /// The name of this process. No other process may have it.
    pub identity: String,
    /// Derived from the lease duration.
    pub timing: ElectionTiming,
}

impl Controller {
    /// Runs until SIGTERM or SIGINT, and serves HTTP on this socket meanwhile.
    pub fn run(self, listener: TcpListener) -> Result<(), ControllerError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(ControllerError::Runtime)?.block_on(Arc::new(self).serve(listener))
    }

    async fn serve(self: Arc<Self>, listener: TcpListener) -> Result<(), ControllerError> {
        let leadership = if self.election.is_some() { Leadership::Follows } else { Leadership::Alone };
        let shared = Arc::new(Shared::new(leadership, Instant::now()));
        let mut shutdown = ShutdownSignal::listen().map_err(ControllerError::Signals)?;
        tokio::spawn(http::serve(http::listen(listener)?, Arc::clone(&shared), self.interval));
        if let Some(access) = &self.access {
            tokio::spawn(follow::while_leading(access.clone(), Arc::clone(&shared)));
        }
        let (stop, stopped) = watch::channel(false);
        let elector = self.elector().map(|elector| tokio::spawn(elector.run(Arc::clone(&shared), stopped)));
        let sweeper = (Arc::clone(&self), Arc::clone(&shared));
        let thread = thread::Builder::new().name("sweeper".to_owned());
        thread.spawn(move || sweeper::run(&sweeper.0, &sweeper.1)).map_err(ControllerError::Runtime)?;

        shutdown.recv().await;
        tracing::info!("shutting down");
        shared.stop();
        stop.send_replace(true);
        let ended = shared.has_ended_within(GRACE).await;
        if let Some(Ok(mut elector)) = maybe(elector).await {
            match ended {
                true => elector.release().await,
                // A release may still take effect, so no other replica may begin before the lease expires.
                false => tracing::warn!("the store or the API server does not answer; the lease is left to expire"),
            }
        }
        Ok(())
    }

    fn elector(&self) -> Option<LeaderElector> {
        let LeaderElectionConfig { lease, identity, timing } = self.election.clone()?;
        Some(LeaderElector::new(self.access.clone()?, lease, Election::new(identity, timing)))
    }
}

async fn maybe<T>(future: Option<impl Future<Output = T>>) -> Option<T> {
    match future {
        Some(future) => Some(future.await),
        None => None,
    }
}
