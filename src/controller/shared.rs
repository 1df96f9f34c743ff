//! The state that the sweeping thread and the async tasks share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::metrics::ControllerMetrics;
use super::schedule::{ScanScope, Schedule};
use crate::ipam::name::Name;

/// How often the sweeping thread shows a heartbeat while it is idle.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Whether this process is the leader, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leadership {
    /// It is not.
    Follows,
    /// It is until then, or until the election changes that.
    Until(Instant),
    /// It always is, because there is no other.
    Alone,
}

impl Leadership {
    /// Whether it is the leader at this time.
    pub(super) fn holds(self, now: Instant) -> bool {
        match self {
            Self::Follows => false,
            Self::Until(deadline) => now < deadline,
            Self::Alone => true,
        }
    }
}

/// The most nodes that are scanned one by one. With more, a scan of the store takes less time.
const MAX_NODES: usize = 256;

/// Why the sweeping thread wakes up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wakeup {
    /// A scan is due.
    Scan {
        /// Whether to scan as the leader.
        leads: bool,
        /// The nodes to scan; `None` for the whole store.
        nodes: Option<BTreeSet<Name>>,
    },
    /// The process shuts down.
    Shutdown,
}

/// The deletions since the last scan began.
#[derive(Debug, Default)]
struct Deletions {
    /// The nodes of deleted pods, and when the first of those pods was deleted.
    nodes: BTreeSet<Name>,
    pods_since: Option<Instant>,
    /// When the first object was deleted whose addresses can't be found by a node's key.
    others_since: Option<Instant>,
}

/// The state that the threads share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<SharedState>,
    /// Notified when the sweeping thread may have something to do.
    wake: Condvar,
    /// Whether this process is the leader, for the watches.
    leads: watch::Sender<bool>,
    /// Whether the sweeping thread has ended.
    ended: watch::Sender<bool>,
}

#[derive(Debug)]
struct SharedState {
    stopping: bool,
    leadership: Leadership,
    deletions: Deletions,
    /// The last heartbeat of the sweeping thread.
    last_heartbeat: Instant,
    /// The problem of each component that fails.
    problems: BTreeMap<Component, String>,
    report: ControllerMetrics,
}

/// A component that `/readyz` reports on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Component {
    /// The last scan: the store and the list of pods.
    Sweep,
    /// The election.
    Election,
}

impl Shared {
    /// The state at the start: no scan has ended yet.
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
        // A panic ends the process, so the state is never seen half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a scan is due or the process shuts down. A change of leadership since `led` makes one due at once.
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
            // In standby, only the interval counts, not deletions.
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

    /// Reports that the sweeping thread has ended.
    pub(super) fn end(&self) {
        self.ended.send_replace(true);
    }

    /// Shuts the process down.
    pub(super) fn stop(&self) {
        self.state().stopping = true;
        self.wake.notify_all();
    }

    /// Waits for the sweeping thread to end, for this long at most. Returns whether it has ended.
    pub(super) async fn has_ended_within(&self, time: Duration) -> bool {
        let mut ended = self.ended.subscribe();
        tokio::time::timeout(time, ended.wait_for(|ended| *ended)).await.is_ok()
    }

    /// Sets the leadership, after it has changed or was renewed.
    pub(super) fn leads(&self, leadership: Leadership) {
        let leads = leadership.holds(Instant::now());
        self.state().leadership = leadership;
        if self.leads.send_replace(leads) != leads {
            self.wake.notify_all();
        }
    }

    /// A channel that signals the start and the end of leadership.
    pub(super) fn leading(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }

    /// Records that a pod of this node was deleted now. Without a node, the pod never ran and has no address.
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

    /// Records that another object was deleted now, or may have been.
    pub(super) fn deleted(&self) {
        let mut state = self.state();
        if state.deletions.others_since.is_none() {
            state.deletions.others_since = Some(Instant::now());
            self.wake.notify_all();
        }
    }

    /// Sets or clears the problem of a component.
    pub(super) fn set_problem(&self, component: Component, why: Option<String>) {
        let mut state = self.state();
        match why {
            Some(why) => state.problems.insert(component, why),
            None => state.problems.remove(&component),
        };
    }

    /// The problems, one text per component.
    pub(super) fn problems(&self) -> Vec<String> {
        self.state().problems.values().cloned().collect()
    }

    /// The time since the last heartbeat of the sweeping thread.
    pub(super) fn silence(&self) -> Duration {
        self.state().last_heartbeat.elapsed()
    }

    /// Changes the metrics.
    pub(super) fn report(&self, change: impl FnOnce(&mut ControllerMetrics)) {
        change(&mut self.state().report);
    }

    /// The metrics as of now.
    pub(super) fn reported(&self) -> ControllerMetrics {
        let state = self.state();
        let now = Instant::now();
        state.report.at(now, state.leadership.holds(now))
    }
}
