//! What the sweeping thread and the others tell each other.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::metrics::Report;
use super::schedule::Schedule;

/// How often the sweeping thread shows that it goes on, while it has nothing to do.
const BEAT: Duration = Duration::from_secs(30);

/// Until when this process leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// It does not.
    Follows,
    /// Until then, or until it says otherwise.
    Until(Instant),
    /// Always, since there are no others.
    Alone,
}

impl Leadership {
    /// Whether it leads at this instant.
    pub fn holds(self, now: Instant) -> bool {
        match self {
            Self::Follows => false,
            Self::Until(until) => now < until,
            Self::Alone => true,
        }
    }
}

/// What is waited for by the sweeping thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// A look is due: as the leader, or as one who follows.
    Look {
        /// Which of them.
        leads: bool,
    },
    /// The process is to end.
    End,
}

/// Told by each thread to the others.
#[derive(Debug)]
pub struct Shared {
    state: Mutex<State>,
    /// Rung when the sweeping thread may have something to do.
    bell: Condvar,
    /// Whether it leads, for who follows the API server.
    leads: watch::Sender<bool>,
    /// Whether the sweeping thread has ended.
    ended: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    stopping: bool,
    leadership: Leadership,
    /// The first deletion since the last look began.
    deletion: Option<Instant>,
    /// When the sweeping thread was last seen to go on.
    beat: Instant,
    /// What is wrong with each part; no entry where nothing is.
    wrong: BTreeMap<Part, String>,
    report: Report,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The last look: the store, the list of pods.
    Look,
    /// The election.
    Election,
}

impl Shared {
    /// Nothing has happened yet.
    pub fn new(leadership: Leadership, now: Instant) -> Self {
        let leads = leadership.holds(now);
        let state = State {
            stopping: false,
            leadership,
            deletion: None,
            beat: now,
            wrong: BTreeMap::from([(Part::Look, "no look has ended yet".to_owned())]),
            report: Report::default(),
        };
        let (leads, ended) = (watch::Sender::new(leads), watch::Sender::new(false));
        Self { state: Mutex::new(state), bell: Condvar::new(), leads, ended }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic ends the process.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a look is due, or the process is to end. Another leadership than `led` makes one due at once.
    pub fn turn(&self, schedule: &mut Schedule, led: bool) -> Turn {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            state.beat = now;
            let leads = state.leadership.holds(now);
            if state.stopping {
                return Turn::End;
            }
            if leads != led {
                schedule.begin_anew(now);
            }
            // Who follows looks after itself, not after what was deleted.
            if let Some(at) = state.deletion.filter(|_| leads) {
                schedule.deleted(at);
            }
            let left = schedule.due().saturating_duration_since(now);
            if left.is_zero() {
                state.deletion = None;
                return Turn::Look { leads };
            }
            state = self.bell.wait_timeout(state, left.min(BEAT)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether the leader may begin another release.
    pub fn may_continue(&self) -> bool {
        let mut state = self.state();
        state.beat = Instant::now();
        !state.stopping && state.leadership.holds(state.beat)
    }

    /// The sweeping thread will do nothing more.
    pub fn end(&self) {
        self.ended.send_replace(true);
    }

    /// The process is to end.
    pub fn stop(&self) {
        self.state().stopping = true;
        self.bell.notify_all();
    }

    /// Waits so long, but at most until the sweeping thread has ended; whether it has.
    pub async fn has_ended_within(&self, time: Duration) -> bool {
        let mut ended = self.ended.subscribe();
        tokio::time::timeout(time, ended.wait_for(|ended| *ended)).await.is_ok()
    }

    /// Who leads has changed, or how long.
    pub fn leads(&self, leadership: Leadership) {
        let leads = leadership.holds(Instant::now());
        self.state().leadership = leadership;
        if self.leads.send_replace(leads) != leads {
            self.bell.notify_all();
        }
    }

    /// Tells when it begins to lead, and when that ends.
    pub fn leading(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }

    /// Something was deleted now.
    pub fn deleted(&self) {
        let mut state = self.state();
        if state.deletion.is_none() {
            state.deletion = Some(Instant::now());
            self.bell.notify_all();
        }
    }

    /// Something is wrong with a part, or no longer.
    pub fn is_wrong(&self, part: Part, why: Option<String>) {
        let mut state = self.state();
        match why {
            Some(why) => state.wrong.insert(part, why),
            None => state.wrong.remove(&part),
        };
    }

    /// What is wrong, one text a part.
    pub fn wrongs(&self) -> Vec<String> {
        self.state().wrong.values().cloned().collect()
    }

    /// How long the sweeping thread was not seen to go on.
    pub fn silence(&self) -> Duration {
        self.state().beat.elapsed()
    }

    /// Changes what is reported.
    pub fn report(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.state().report);
    }

    /// What is reported at this moment.
    pub fn reported(&self) -> Report {
        let state = self.state();
        let now = Instant::now();
        state.report.at(now, state.leadership.holds(now))
    }
}
