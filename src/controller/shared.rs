//! What the sweeping thread and the others tell each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::metrics::ControllerMetrics;
use super::schedule::{ScanScope, Schedule};
use crate::ipam::name::Name;

/// How often the sweeping thread shows that it is alive while it has nothing to do.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Until when this process leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leadership {
    /// It does not.
    Follows,
    /// Until then, or until it says otherwise.
    Until(Instant),
    /// Always, since there are no others.
    Alone,
}

impl Leadership {
    /// Whether it leads at this instant.
    pub(super) fn holds(self, now: Instant) -> bool {
        match self {
            Self::Follows => false,
            Self::Until(deadline) => now < deadline,
            Self::Alone => true,
        }
    }
}

/// The most nodes that are looked at one by one. Beyond that, a scan of the store takes less.
const MAX_NODES: usize = 256;

/// Why the sweeping thread wakes up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wakeup {
    /// A scan is due: as the leader, or as one who follows.
    Scan {
        /// Which of them.
        leads: bool,
        /// The nodes that are to be scanned; `None` for the whole store.
        nodes: Option<BTreeSet<Name>>,
    },
    /// The process is to end.
    Shutdown,
}

/// What was deleted since the last scan began.
#[derive(Debug, Default)]
struct Deletions {
    /// The nodes of pods, and when the first of these was deleted.
    nodes: BTreeSet<Name>,
    pods_since: Option<Instant>,
    /// When the first object was deleted whose addresses no node's key names.
    others_since: Option<Instant>,
}

/// What the threads tell each other.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<SharedState>,
    /// Notified when the sweeping thread may have something to do.
    wake: Condvar,
    /// Whether it leads, for who follows the API server.
    leads: watch::Sender<bool>,
    /// Whether the sweeping thread has ended.
    ended: watch::Sender<bool>,
}

#[derive(Debug)]
struct SharedState {
    stopping: bool,
    leadership: Leadership,
    deletions: Deletions,
    /// When the sweeping thread was last seen alive.
    last_heartbeat: Instant,
    /// What fails in each component; no entry where nothing does.
    problems: BTreeMap<Component, String>,
    report: ControllerMetrics,
}

/// A part of the controller that `/readyz` speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Component {
    /// The last scan: the store, the list of pods.
    Sweep,
    /// The election.
    Election,
}

impl Shared {
    /// Nothing has happened yet.
    pub(super) fn new(leadership: Leadership, now: Instant) -> Self {
        let leads = leadership.holds(now);
        let state = SharedState {
            stopping: false,
            leadership,
            deletions: Deletions::default(),
            last_heartbeat: now,
            problems: BTreeMap::from([(Component::Sweep, "no sweep has ended yet".to_owned())]),
            report: ControllerMetrics::default(),
        };
        let (leads, ended) = (watch::Sender::new(leads), watch::Sender::new(false));
        Self { state: Mutex::new(state), wake: Condvar::new(), leads, ended }
    }

    fn state(&self) -> MutexGuard<'_, SharedState> {
        // A panic ends the process.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a scan is due, or the process is to end. Another leadership than `led` makes one due at once.
    pub(super) fn wait_for_work(&self, schedule: &mut Schedule, led: bool) -> Wakeup {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            state.last_heartbeat = now;
            let leads = state.leadership.holds(now);
            if state.stopping {
                return Wakeup::Shutdown;
            }
            if leads != led {
                schedule.restart(now);
            }
            // Who follows goes by the interval, not by what was deleted.
            if leads {
                let Deletions { pods_since, others_since, .. } = state.deletions;
                pods_since.into_iter().for_each(|at| schedule.deleted(at, ScanScope::Nodes));
                others_since.into_iter().for_each(|at| schedule.deleted(at, ScanScope::Store));
            }
            let left = schedule.due().saturating_duration_since(now);
            if left.is_zero() {
                let Deletions { nodes, .. } = std::mem::take(&mut state.deletions);
                let nodes = Some(nodes).filter(|_| schedule.scope(now) == ScanScope::Nodes);
                return Wakeup::Scan { leads, nodes };
            }
            state = self.wake.wait_timeout(state, left.min(HEARTBEAT)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether the leader may begin another release.
    pub(super) fn may_continue(&self) -> bool {
        let mut state = self.state();
        state.last_heartbeat = Instant::now();
        !state.stopping && state.leadership.holds(state.last_heartbeat)
    }

    /// The sweeping thread will do nothing more.
    pub(super) fn end(&self) {
        self.ended.send_replace(true);
    }

    /// The process is to end.
    pub(super) fn stop(&self) {
        self.state().stopping = true;
        self.wake.notify_all();
    }

    /// Waits so long, but at most until the sweeping thread has ended; whether it has.
    pub(super) async fn has_ended_within(&self, time: Duration) -> bool {
        let mut ended = self.ended.subscribe();
        tokio::time::timeout(time, ended.wait_for(|ended| *ended)).await.is_ok()
    }

    /// Who leads has changed, or how long.
    pub(super) fn leads(&self, leadership: Leadership) {
        let leads = leadership.holds(Instant::now());
        self.state().leadership = leadership;
        if self.leads.send_replace(leads) != leads {
            self.wake.notify_all();
        }
    }

    /// Tells when it begins to lead, and when that ends.
    pub(super) fn leading(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }

    /// A pod of this node was deleted now. One that no node has run has no address.
    pub(super) fn pod_deleted(&self, node: Option<&str>) {
        let Some(node) = node.and_then(|node| Name::new(node).ok()) else { return };
        let mut state = self.state();
        if state.deletions.nodes.len() >= MAX_NODES {
            state.deletions.others_since.get_or_insert_with(Instant::now);
        } else {
            state.deletions.nodes.insert(node);
        }
        if state.deletions.pods_since.is_none() {
            state.deletions.pods_since = Some(Instant::now());
            self.wake.notify_all();
        }
    }

    /// Something else was deleted now, or anything may have been.
    pub(super) fn deleted(&self) {
        let mut state = self.state();
        if state.deletions.others_since.is_none() {
            state.deletions.others_since = Some(Instant::now());
            self.wake.notify_all();
        }
    }

    /// A component fails for this reason, or works.
    pub(super) fn set_problem(&self, component: Component, why: Option<String>) {
        let mut state = self.state();
        match why {
            Some(why) => state.problems.insert(component, why),
            None => state.problems.remove(&component),
        };
    }

    /// What fails, one text a component.
    pub(super) fn problems(&self) -> Vec<String> {
        self.state().problems.values().cloned().collect()
    }

    /// How long the sweeping thread was not seen alive.
    pub(super) fn silence(&self) -> Duration {
        self.state().last_heartbeat.elapsed()
    }

    /// Changes what is reported.
    pub(super) fn report(&self, change: impl FnOnce(&mut ControllerMetrics)) {
        change(&mut self.state().report);
    }

    /// What is reported at this moment.
    pub(super) fn reported(&self) -> ControllerMetrics {
        let state = self.state();
        let now = Instant::now();
        state.report.at(now, state.leadership.holds(now))
    }
}
