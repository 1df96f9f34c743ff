//! What must be true in each state, compared with the store in memory.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use super::actor::{ClientState, Report};
use super::api::Api;
use super::hints;
use super::meaning::meaning;
use super::scenario::FIRST;
use super::world::World;
use crate::store::kubernetes::api::Seen;
use crate::store::kubernetes::clean::Clean;
use crate::store::kubernetes::object::{Object, TxnId};
use crate::store::kubernetes::rules::Rules;
use crate::store::kubernetes::step::Step;
use crate::store::{Entry, Key, KeySpan, MemoryMap, Outcome};

impl World {
    /// The transaction that a change of an object commits.
    pub(super) fn committed_by(&self, sender: usize, before: &Seen, after: &Seen) -> Option<TxnId> {
        let before = before.as_ref().map(|stored| &stored.object);
        let after = after.as_ref().map(|stored| &stored.object);
        if let Some(commit) = after.and_then(Object::commit) {
            return (before.and_then(Object::commit) != Some(commit)).then_some(commit.txn);
        }
        let is_secondary = before.is_some_and(|object| object.lock().is_some_and(|lock| lock.primary != object.key));
        let value = |object: Option<&Object>| object.and_then(|object| object.value.clone());
        let (was, is) = (value(before), value(after));
        if is_secondary || was == is {
            return None;
        }
        let id = is.map(|value| TxnId::from_random(value.revision.0.get() << 1));
        id.or_else(|| self.actors[sender].id())
    }

    pub(super) fn commit(&mut self, sender: usize, id: TxnId) {
        let Some(client) = self.actors[sender].as_client() else {
            self.note_violation(sender, "has committed something");
            return;
        };
        let txn = hints::without_guards(&client.txn, &client.lasting, &client.held);
        let mut outcome = Rc::make_mut(&mut self.memory).commit_at(&txn, id.revision());
        hints::blank(&client.txn, &mut outcome.branch);
        if client.committed.is_some() {
            self.note_violation(sender, "has committed twice");
        }
        if let Some(client) = self.actor(sender).as_client_mut() {
            client.committed = Some(outcome);
        }
        self.note_past();
        self.note_readings();
    }

    /// What a client was told must be what the store in memory said: at the commit, or at some moment of a reading.
    pub(super) fn check_outcome(&mut self, i: usize, outcome: &Outcome) {
        let Some(client) = self.actors[i].as_client() else { return };
        let mut exact = outcome.clone();
        hints::blank(&client.txn, &mut exact.branch);
        let is_right = match &client.committed {
            Some(committed) => *committed == exact,
            None => client.readings.contains(&exact.branch),
        };
        if !is_right {
            let expected = match &client.committed {
                Some(committed) => format!("{committed:?}"),
                None => format!("one of {:?}", client.readings),
            };
            self.note_violation(i, &format!("was told {outcome:?}, not {expected}"));
        } else if let Some(wrong) = self.wrong_hint(client, &outcome.branch) {
            self.note_violation(i, &wrong);
        }
    }

    fn note_readings(&mut self) {
        for i in 0..self.scenario.clients.len() {
            let is_running =
                self.actors[i].as_client().is_some_and(|client| client.has_begun && client.report.is_none());
            if is_running {
                self.note_reading(i);
            }
        }
    }

    /// Records what the client's transaction would return now, if it would write nothing.
    pub(super) fn note_reading(&mut self, i: usize) {
        let mut copy = MemoryMap::clone(&self.memory);
        let Some(client) = self.actor(i).as_client_mut() else { return };
        let all = KeySpan::from_to(Key::new(""), Key::new("\u{10ffff}"));
        let exist: BTreeSet<Key> = copy.range(&all).map(|entry| entry.key).collect();
        match client.has_begun {
            true => client.lasting.retain(|key| exist.contains(key)),
            false => {
                client.lasting = exist.into_iter().filter(|key| hints::may_see(&client.txn, key)).collect();
                client.held.clear();
            }
        }
        for guard in hints::was_unchanged(&client.txn, &copy) {
            if !client.held.contains(&guard) {
                client.held.push(guard);
            }
        }
        let mut branch = copy.commit_at(&client.txn, FIRST).branch;
        hints::blank(&client.txn, &mut branch);
        if copy == *self.memory
            && let Some(client) = self.actor(i).as_client_mut()
            && !client.readings.contains(&branch)
        {
            client.readings.push(branch);
        }
    }

    /// A contradiction between the objects and the store in memory.
    pub(super) fn contradiction(&self) -> Option<String> {
        let is_misled = |client: &ClientState| client.report == Some(Report::Nothing) && client.committed.is_some();
        if let Some(actor) = self.actors.iter().find(|actor| actor.as_client().is_some_and(is_misled)) {
            return Some(format!("{} was told that nothing happened, and has committed", actor.name));
        }
        let (meant, expected) = (meaning(&self.api), self.entries());
        (meant != expected).then(|| format!("the objects mean {meant:?}, and what has committed is {expected:?}"))
    }

    fn entries(&self) -> Vec<Entry> {
        self.memory.range(&KeySpan::from_to(Key::new(""), Key::new("\u{10ffff}"))).collect()
    }

    /// When nothing can happen any more, one cleaner alone must be able to resolve everything.
    pub(super) fn wrong_at_end(&self) -> Option<String> {
        let mut api = Api::clone(&self.api);
        // A lock, then what it was created on.
        for _ in 0..3 {
            let keys: Vec<Key> = api.objects().keys().cloned().collect();
            keys.into_iter().for_each(|key| clean(&mut api, key));
        }
        let is_left = |object: &Object| object.lock().is_some() || object.value.is_none();
        let left = api.objects().values().find(|stored| is_left(&stored.object));
        if let Some(left) = left {
            return Some(format!("a cleaner alone leaves {left:?}"));
        }
        let (meant, expected) = (meaning(&api), self.entries());
        (meant != expected).then(|| format!("a cleaner alone leaves {meant:?}, not {expected:?}"))
    }
}

/// Cleans one object.
fn clean(api: &mut Api, key: Key) {
    let (mut machine, mut step) = Clean::start(key, Rules::default());
    let mut open = VecDeque::new();
    loop {
        match step {
            Step::Send(requests) => open.extend(requests),
            Step::Pause(_) => {
                step = machine.resume();
                continue;
            }
            Step::Wait => {}
            Step::Done(_) => return,
        }
        let Some(request) = open.pop_front() else { return };
        let answer = api.request(&request);
        step = machine.answer(request.key(), answer);
    }
}
