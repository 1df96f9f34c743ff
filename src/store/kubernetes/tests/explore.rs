//! The search through all states.

use std::collections::{HashSet, VecDeque};

use super::scenario::Scenario;
use super::world::World;
use crate::store::kubernetes::rules::{Rule, Rules};

/// Explores everything that can happen, nearest first. Returns the number of states, or the steps to the first
/// violation.
pub(super) fn explore(scenario: &Scenario, without: Option<Rule>) -> Result<usize, String> {
    let start = World::new(scenario, Rules { without });
    let mut seen = HashSet::from([start.fingerprint()]);
    // How each state was reached: from which one, and by which of its successors.
    let mut parents = vec![(0, 0)];
    let mut open = VecDeque::from([(0, start)]);
    while let Some((at, world)) = open.pop_front() {
        let next = world.successors();
        let wrong = if next.is_empty() { world.wrong_at_end() } else { None };
        if let Some(wrong) = wrong {
            return Err(format!("{}{wrong}", story(scenario, without, &parents, at)));
        }
        for (choice, next) in next.into_iter().enumerate() {
            // A client that was told something wrong is no different afterwards from one that was told right.
            let is_new = seen.insert(next.fingerprint()) || next.is_wrong();
            if !is_new {
                continue;
            }
            let index = parents.len();
            parents.push((at, choice));
            if let Some(wrong) = next.wrong() {
                return Err(format!("{}{wrong}", story(scenario, without, &parents, index)));
            }
            open.push_back((index, next));
        }
    }
    Ok(seen.len())
}

/// The steps to a state.
fn story(scenario: &Scenario, without: Option<Rule>, parents: &[(usize, usize)], mut at: usize) -> String {
    let mut choices = Vec::new();
    while at != 0 {
        let (parent, choice) = parents[at];
        choices.push(choice);
        at = parent;
    }
    let mut world = World::new(scenario, Rules { without });
    world.tell();
    for choice in choices.into_iter().rev() {
        world = world.successors().swap_remove(choice);
    }
    world.story().to_owned()
}
