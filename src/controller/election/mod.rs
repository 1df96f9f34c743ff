//! Who leads, of several controllers: a state machine without I/O, driven by [`super::candidate`].
//!
//! ```text
//!             read: nobody's, or not renewed for its whole time ─► Move::Take ─┐ written: leads for two thirds of
//!  follows ◄──────────────────────────────────────────────────────────────────┴─► leads   the time from when it was sent
//!      ▲                                                                            │ ▲
//!      └── read: another's · written: conflict · its time is over ◄─────────────────┘ └─ Move::Renew, every fifth of it
//! ```
//!
//! - Every write is conditional on the version that was read, so that of two who take a term at once one does.
//! - Whether another's term is over goes by how long *we* have seen it unchanged, on our own monotonic clock. Clocks of two
//!   machines are never compared, and a term that is seen for the first time has all of its time left.
//! - Who leads stops by itself, a third of the time before anybody else may begin: its time counts from before the write
//!   was sent, and the others' from after they have seen it.
//!
//! A process that is stopped between its last look at the clock and what it does then (SIGSTOP, a machine that is
//! suspended) may still be the second leader for a moment. That is harmless: every release is conditional on the revision
//! that was seen, whoever sends it.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::cluster::{Standing, Term};

/// How long a term lasts, and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    lease: Duration,
}

impl Times {
    /// The shortest term: times of a Lease are whole seconds.
    pub const LEAST: Duration = Duration::from_secs(1);

    /// Terms of so many seconds.
    pub fn new(lease: Duration) -> Self {
        Self { lease: Duration::from_secs(lease.max(Self::LEAST).as_secs()) }
    }

    /// After so long without a renewal, others may take it.
    pub fn lease(self) -> Duration {
        self.lease
    }

    /// After so long without a renewal, its holder stops.
    pub fn lead(self) -> Duration {
        self.lease * 2 / 3
    }

    /// How often it is looked at, and renewed.
    pub fn look(self) -> Duration {
        self.lease / 5
    }
}

/// What to do after a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// Write this term, if nothing has changed since.
    Write(Term),
    /// Nothing, until the next look.
    Wait,
}

/// One of those who may lead.
#[derive(Debug)]
pub struct Election {
    me: String,
    times: Times,
    /// The version of another's term, and when it was seen first.
    observed: Option<(String, Instant)>,
    leads_until: Option<Instant>,
}

impl Election {
    /// Somebody who follows yet. No two processes may have one name.
    pub fn new(me: String, times: Times) -> Self {
        Self { me, times, observed: None, leads_until: None }
    }

    /// Whose name this is.
    pub fn me(&self) -> &str {
        &self.me
    }

    /// How long terms last.
    pub fn times(&self) -> Times {
        self.times
    }

    /// Until when it leads, unless it writes again.
    pub fn leads_until(&self) -> Option<Instant> {
        self.leads_until
    }

    /// What follows from the term as it was read. `wall` is for people who look at it.
    pub fn read(&mut self, found: Option<&Standing>, now: Instant, wall: Timestamp) -> Move {
        let term = match found {
            None => return Move::Write(self.term(None, wall)),
            Some(standing) if standing.term.holder == self.me => {
                return Move::Write(self.term(Some(&standing.term), wall));
            }
            Some(standing) if standing.term.holder.is_empty() => &standing.term,
            Some(standing) => {
                self.leads_until = None;
                let since = match &self.observed {
                    Some((version, since)) if *version == standing.version => *since,
                    _ => now,
                };
                self.observed = Some((standing.version.clone(), since));
                // What its holder has promised, where that is longer.
                let lasts = self.times.lease.max(Duration::from_secs(standing.term.seconds));
                if now.saturating_duration_since(since) < lasts {
                    return Move::Wait;
                }
                &standing.term
            }
        };
        Move::Write(self.term(Some(term), wall))
    }

    /// What follows from a write that was sent then: it was made, or somebody else has changed the term before.
    pub fn written(&mut self, made: bool, sent: Instant) {
        self.observed = None;
        self.leads_until = made.then(|| sent + self.times.lead());
    }

    /// The term that gives the office back, if it is ours. From now on it is not led.
    pub fn resign(&mut self, found: Option<&Standing>, wall: Timestamp) -> Option<Term> {
        self.leads_until = None;
        let term = &found?.term;
        (term.holder == self.me).then(|| Term {
            holder: String::new(),
            seconds: 1,
            renewed: Some(wall),
            ..term.clone()
        })
    }

    /// Our next term, after the one that was read.
    fn term(&self, last: Option<&Term>, wall: Timestamp) -> Term {
        let ours = last.filter(|term| term.holder == self.me);
        Term {
            holder: self.me.clone(),
            seconds: self.times.lease.as_secs(),
            since: ours.map_or(Some(wall), |term| term.since),
            renewed: Some(wall),
            transitions: match (last, ours) {
                (_, Some(term)) => term.transitions,
                (Some(term), None) => term.transitions.saturating_add(1),
                (None, None) => 0,
            },
        }
    }
}
