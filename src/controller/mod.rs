//! The sweep that goes on by itself: always there, in several copies of which one works.
//!
//! ```text
//!  main thread, async                                 its own thread, blocking
//!  ┌───────────────────────────────┐                  ┌────────────────────────────────────────┐
//!  │ candidate ── Lease ─► election│── until when ───►│ sweeper  waits for its turn (schedule),│
//!  │ follow ──── watches ─► deleted│── look soon ────►│          then one round of ops::sweep: │
//!  │ http ◄── probes, Prometheus   │◄──── report ─────│          look, and free what two show  │
//!  │ SIGTERM, SIGINT               │────── end ──────►│                                        │
//!  └───────────────────────────────┘     (shared)     └────────────────────────────────────────┘
//! ```
//!
//! What goes is decided as in `kube-ipam sweep`, by the same code. Nothing else here frees anything: a watch only makes a
//! look come sooner, and an election only saves work. A failed look is said, counted, and tried again; none ends the
//! process. Files with credentials are read anew for each look and each connection, so that they may rotate.

mod candidate;
mod election;
mod error;
mod follow;
mod http;
mod metrics;
mod schedule;
mod shared;
mod sweeper;

use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use self::candidate::Candidate;
use self::election::Election;
pub use self::election::Times;
pub use self::error::ControllerError;
use self::shared::{Leadership, Shared};
use crate::cluster::{Access, Office};
use crate::config::Site;
use crate::store::StoreConfig;

/// How long what is under way is waited for at the end. A release is one commit, so that nothing is lost without it.
const GRACE: Duration = Duration::from_secs(5);

/// What a controller works with.
#[derive(Clone, Debug)]
pub struct Controller {
    /// What the node defaults say.
    pub site: Site,
    /// The store.
    pub store: StoreConfig,
    /// The API server. Without one nobody is asked about pods.
    pub access: Option<Access>,
    /// Who leads; `None` where there is nobody else.
    pub candidacy: Option<Candidacy>,
    /// How often to look, if nothing happens.
    pub interval: Duration,
    /// How soon to look where something has happened.
    pub settle: Duration,
    /// In place of the share of the node defaults.
    pub max_share: Option<f64>,
}

/// How the one that works is found.
#[derive(Clone, Debug)]
pub struct Candidacy {
    /// What is held by one of them at a time.
    pub office: Office,
    /// The name of this process, which no other one has.
    pub name: String,
    /// How long terms last.
    pub times: Times,
}

impl Controller {
    /// Runs until SIGTERM or SIGINT, and answers on this socket meanwhile.
    pub fn run(self, listener: TcpListener) -> Result<(), ControllerError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(ControllerError::Runtime)?.block_on(Arc::new(self).serve(listener))
    }

    async fn serve(self: Arc<Self>, listener: TcpListener) -> Result<(), ControllerError> {
        let leadership = if self.candidacy.is_some() { Leadership::Follows } else { Leadership::Alone };
        let shared = Arc::new(Shared::new(leadership, Instant::now()));
        let mut endings = Endings::listen()?;
        tokio::spawn(http::serve(http::listen(listener)?, Arc::clone(&shared), self.interval));
        if let Some(access) = &self.access {
            tokio::spawn(follow::while_leading(access.clone(), Arc::clone(&shared)));
        }
        let (stop, stopped) = watch::channel(false);
        let candidate = self.candidate().map(|candidate| tokio::spawn(candidate.stand(Arc::clone(&shared), stopped)));
        let sweeper = (Arc::clone(&self), Arc::clone(&shared));
        let thread = thread::Builder::new().name("sweeper".to_owned());
        thread.spawn(move || sweeper::run(&sweeper.0, &sweeper.1)).map_err(ControllerError::Runtime)?;

        endings.come().await;
        tracing::info!("the controller is to end");
        shared.stop();
        stop.send_replace(true);
        let ended = shared.has_ended_within(GRACE).await;
        if let Some(Ok(mut candidate)) = maybe(candidate).await {
            match ended {
                true => candidate.resign().await,
                // A release of its may be taken yet. Nobody else begins before its time is over.
                false => tracing::warn!("the store or the API server does not answer; the lease is left to run out"),
            }
        }
        Ok(())
    }

    fn candidate(&self) -> Option<Candidate> {
        let Candidacy { office, name, times } = self.candidacy.clone()?;
        Some(Candidate::new(self.access.clone()?, office, Election::new(name, times)))
    }
}

async fn maybe<T>(future: Option<impl Future<Output = T>>) -> Option<T> {
    match future {
        Some(future) => Some(future.await),
        None => None,
    }
}

/// SIGTERM and SIGINT, from now on.
struct Endings {
    terminate: Signal,
    interrupt: Signal,
}

impl Endings {
    fn listen() -> Result<Self, ControllerError> {
        let listen = |kind| signal(kind).map_err(ControllerError::Signals);
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn come(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
