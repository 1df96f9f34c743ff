//! Whose turn it is: so many trials run at a time, and one that waits for its cluster is none of them.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A trial that takes longer is named at the end.
const LONG: Duration = Duration::from_secs(15);

/// What a trial needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    /// The number of a cluster; `None` if it starts its own.
    pub cluster: Option<usize>,
    /// Whether nobody else may use the cluster meanwhile.
    pub alone: bool,
}

impl Needs {
    fn excludes(self, other: Self) -> bool {
        self.cluster.is_some() && self.cluster == other.cluster && (self.alone || other.alone)
    }
}

/// The turns of all trials, which are numbered. Of those that could run, the first one has the next turn.
pub(crate) struct Turns {
    at_a_time: usize,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<usize, Needs>,
    running: BTreeMap<usize, Needs>,
    took: Vec<(Duration, String)>,
}

impl State {
    fn next(&self, at_a_time: usize) -> Option<usize> {
        let is_free = |needs: Needs| !self.running.values().any(|running| running.excludes(needs));
        let mut able = self.waiting.iter().filter(|(_, needs)| is_free(**needs));
        able.next().map(|(number, _)| *number).filter(|_| self.running.len() < at_a_time)
    }
}

impl Turns {
    pub(crate) fn new(at_a_time: usize) -> Self {
        Self { at_a_time, state: Mutex::default(), ended: Condvar::new() }
    }

    /// Runs a trial as soon as it has its turn.
    pub(crate) fn run<T>(&self, number: usize, needs: Needs, title: &str, trial: impl FnOnce() -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.insert(number, needs);
        while state.next(self.at_a_time) != Some(number) {
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting.remove(&number);
        state.running.insert(number, needs);
        // Another one may be able to run beside it.
        self.ended.notify_all();
        drop(state);
        let _turn = Turn { turns: self, number, title, began: Instant::now() };
        trial()
    }

    /// The long trials, the longest first.
    pub(crate) fn longest(&self) -> Vec<(Duration, String)> {
        let mut took = self.state.lock().unwrap_or_else(PoisonError::into_inner).took.clone();
        took.retain(|(took, _)| *took >= LONG);
        took.sort();
        took.reverse();
        took
    }
}

/// A trial's turn. It ends when this is dropped, also by a panic.
struct Turn<'turns> {
    turns: &'turns Turns,
    number: usize,
    title: &'turns str,
    began: Instant,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.turns.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.running.remove(&self.number);
        state.took.push((self.began.elapsed(), self.title.to_owned()));
        self.turns.ended.notify_all();
    }
}
