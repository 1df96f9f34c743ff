//! A state of the exploration, and everything that may happen next.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU64;
use std::rc::Rc;

use super::actor::Actor;
use super::api::Api;
use super::fingerprint::Fingerprint;
use super::scenario::{Defect, FIRST, Faults, Scenario, key};
use crate::cause::Cause;
use crate::store::kubernetes::api::{Answer, Change, Request, Write};
use crate::store::kubernetes::object::{Object, Versioned};
use crate::store::kubernetes::rules::Rules;
use crate::store::{Key, MemoryMap, Op, StoreError, Txn, Value};

/// A state.
#[derive(Clone)]
pub(super) struct World {
    pub(super) scenario: Rc<Scenario>,
    pub(super) api: Rc<Api>,
    pub(super) actors: Vec<Rc<Actor>>,
    /// Writes that may still arrive, with the client that sent them.
    pub(super) late: Vec<Rc<(usize, Write)>>,
    /// The store in memory, in which each transaction ran at the moment of its commit.
    pub(super) memory: Rc<MemoryMap>,
    /// The entries that it ever had, as far as somebody may see them later.
    pub(super) past: Rc<BTreeSet<(Key, NonZeroU64, Value)>>,
    pub(super) faults: Faults,
    pub(super) wrong: Option<String>,
    /// The steps to this state, if somebody wants to read them.
    pub(super) story: Option<String>,
}

impl World {
    pub(super) fn new(scenario: &Scenario, rules: Rules) -> Self {
        let mut api = Api::default();
        api.unguarded_deletes = scenario.defect == Defect::UnguardedDeletes;
        let mut memory = MemoryMap::default();
        for text in &scenario.exist {
            let key = key(text);
            let put = Txn::read(vec![Op::Put(key.clone(), b"first".to_vec())]).unwrap();
            memory.commit_at(&put, FIRST);
            let value = Some(Versioned { value: b"first".to_vec(), revision: FIRST });
            api.write(&Write::put(&None, Object { key, value, mark: None }));
        }
        let clients = scenario.clients.iter().enumerate();
        let clients = clients.map(|(i, client)| Rc::new(Actor::client(i, client, scenario, rules)));
        let cleaner = (scenario.looks > 0).then(|| Rc::new(Actor::cleaner(scenario.looks, rules)));
        let mut world = Self {
            scenario: Rc::new(scenario.clone()),
            api: Rc::new(api),
            actors: clients.chain(cleaner).collect(),
            late: Vec::new(),
            memory: Rc::new(memory),
            past: Rc::new(BTreeSet::new()),
            faults: scenario.faults,
            wrong: None,
            story: None,
        };
        world.note_past();
        world.begin_clients();
        world
    }

    pub(super) fn fingerprint(&self) -> u64 {
        let mut print = Fingerprint::new(&self.api);
        self.api.objects().hash(&mut print);
        if self.scenario.defect == Defect::StaleReads {
            self.api.objects().keys().for_each(|key| self.api.get_stale(key).hash(&mut print));
        }
        (&self.actors, &self.late, self.faults, &self.past).hash(&mut print);
        print.finish()
    }

    /// Whether the last step was wrong.
    pub(super) fn is_wrong(&self) -> bool {
        self.wrong.is_some()
    }

    /// A violation of the invariants.
    pub(super) fn wrong(&self) -> Option<String> {
        self.wrong.clone().or_else(|| self.contradiction())
    }

    /// Writes down the steps from here on.
    pub(super) fn tell(&mut self) {
        self.story = Some(String::new());
    }

    pub(super) fn story(&self) -> &str {
        self.story.as_deref().unwrap_or_default()
    }

    /// Everything that may happen next.
    pub(super) fn successors(&self) -> Vec<Self> {
        let mut next = Vec::new();
        for (i, actor) in self.actors.iter().enumerate() {
            for request in &actor.open {
                self.request_fates(i, request, &mut next);
            }
            if actor.looks_left() {
                let is_dirty = |object: &Object| object.mark.is_some() || object.value.is_none();
                let dirty = self.api.objects().values().filter(|stored| is_dirty(&stored.object));
                next.extend(dirty.map(|stored| {
                    let mut world = self.then(|| format!("cleaner looks at {}", stored.object.key));
                    world.actor(i).look_at(stored.object.key.clone());
                    world
                }));
            }
            if self.faults.crashes > 0 && !actor.is_over() && !actor.open.is_empty() {
                next.push(self.crash(i));
            }
        }
        for at in 0..self.late.len() {
            let mut world = self.then(|| format!("late: {}", self.show_write(&self.late[at].1)));
            let sent = world.late.remove(at);
            world.apply(sent.0, &sent.1);
            next.push(world);
        }
        if self.faults.touched > 0 {
            next.extend(self.api.objects().keys().map(|key| {
                let mut world = self.then(|| format!("somebody changes the metadata of {key}"));
                world.faults.touched -= 1;
                Rc::make_mut(&mut world.api).touch(key);
                world.drop_impossible();
                world
            }));
        }
        next
    }

    /// What may become of an open request.
    fn request_fates(&self, i: usize, request: &Request, next: &mut Vec<Self>) {
        let name = &self.actors[i].name;
        let write = match request {
            Request::Get(key) => return self.read_fates(i, key, next),
            Request::Spans { key, .. } => {
                let mut world = self.then(|| format!("{name} lists"));
                let answer = Rc::make_mut(&mut world.api).request(request);
                world.answer(i, key, answer);
                return next.push(world);
            }
            Request::Write(write) => write,
        };
        let what = || format!("{name} {}", self.show_write(write));
        let mut world = self.then(what);
        let answer = world.apply(i, write);
        let is_done = matches!(answer, Answer::Seen(_));
        if !is_done {
            world.note(|| "    refused".to_owned());
        }
        let applied = world.clone();
        world.answer(i, write.key(), answer.clone());
        next.push(world);
        let creates = matches!(write.change(), Change::Create(_));
        if is_done && self.faults.lost > 0 {
            let mut world = applied.clone();
            world.note(|| "    the answer is lost".to_owned());
            world.faults.lost -= 1;
            world.answer(i, write.key(), silence());
            next.push(world);
        }
        if self.faults.late > 0 && (is_done || creates) {
            let mut world = self.then(what);
            world.note(|| "    it is on its way, and nobody waits for it".to_owned());
            world.faults.late -= 1;
            world.late.push(Rc::new((i, write.clone())));
            world.answer(i, write.key(), silence());
            next.push(world);
        }
        let is_single = self.is_single(i, write);
        if is_done && self.faults.doubled > 0 && (!is_single || self.scenario.doubled_singles) {
            let mut world = applied.clone();
            world.note(|| "    sent twice by a proxy, and the second one is refused".to_owned());
            world.faults.doubled -= 1;
            world.answer(i, write.key(), Answer::Conflict);
            next.push(world);
            if !is_single {
                let mut world = applied.clone();
                world.note(|| "    sent twice by a proxy, and the second one is denied".to_owned());
                world.faults.doubled -= 1;
                world.answer(i, write.key(), denied());
                next.push(world);
            }
            if creates && !is_single {
                let mut world = applied;
                world.note(|| "    a copy is on its way".to_owned());
                world.faults.doubled -= 1;
                world.late.push(Rc::new((i, write.clone())));
                world.answer(i, write.key(), answer);
                next.push(world);
            }
        }
    }

    fn read_fates(&self, i: usize, key: &Key, next: &mut Vec<Self>) {
        let seen = self.api.get(key);
        let mut reads = vec![seen.clone()];
        match self.scenario.defect {
            Defect::None | Defect::UnguardedDeletes => {}
            Defect::StaleReads => reads.extend(Some(self.api.get_stale(key)).filter(|stale| *stale != seen)),
            Defect::ForeignNotFound => reads.extend(seen.is_some().then_some(None)),
        }
        next.extend(reads.into_iter().map(|seen| {
            let mut world = self.then(|| format!("{} GETs {key}: {}", self.actors[i].name, self.show(&seen)));
            world.answer(i, key, Answer::Seen(seen));
            world
        }));
    }

    /// The process dies, or its deadline passes. What it has sent may still arrive.
    fn crash(&self, i: usize) -> Self {
        let mut world = self.then(|| format!("{} ends here", self.actors[i].name));
        world.faults.crashes -= 1;
        let open = std::mem::take(&mut world.actor(i).open);
        world.late.extend(open.into_iter().filter_map(|request| match request {
            Request::Write(write) => Some(Rc::new((i, write))),
            Request::Get(_) | Request::Spans { .. } => None,
        }));
        world.actor(i).ends();
        world.drop_impossible();
        world.begin_clients();
        world
    }

    fn then(&self, what: impl FnOnce() -> String) -> Self {
        let mut world = self.clone();
        world.note(what);
        world
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            *story += &format!("{}\n", what());
        }
    }

    /// Records a violation, unless an earlier one led to it.
    pub(super) fn note_violation(&mut self, who: usize, what: &str) {
        let name = &self.actors[who].name;
        self.wrong.get_or_insert_with(|| format!("{name} {what}"));
    }

    pub(super) fn actor(&mut self, i: usize) -> &mut Actor {
        Rc::make_mut(&mut self.actors[i])
    }

    fn answer(&mut self, i: usize, key: &Key, answer: Answer) {
        let outcome = self.actor(i).answered(key, answer);
        if let Some(outcome) = outcome {
            self.check_outcome(i, &outcome);
        }
        self.begin_clients();
    }

    /// Applies a write, and runs the transaction that it commits in the store in memory.
    fn apply(&mut self, sender: usize, write: &Write) -> Answer {
        let before = self.api.get(write.key());
        let answer = Rc::make_mut(&mut self.api).write(write);
        if let Answer::Seen(after) = &answer {
            if let Some(id) = self.committed_by(sender, &before, after) {
                self.commit(sender, id);
            }
            self.drop_impossible();
        }
        answer
    }

    /// Writes whose precondition can never hold again are nowhere.
    fn drop_impossible(&mut self) {
        let Self { late, api, .. } = self;
        let may_arrive = |write: &Write| match write.change() {
            Change::Create(_) => true,
            Change::Delete(_) if api.unguarded_deletes => true,
            Change::Replace(..) | Change::Delete(_) => api.accepts(write),
        };
        late.retain(|sent| may_arrive(&sent.1));
    }

    /// Starts the clients that wait for no other one.
    fn begin_clients(&mut self) {
        for i in 0..self.scenario.clients.len() {
            let may_begin = match self.scenario.clients[i].after {
                None => true,
                Some(other) => self.actors[other].as_client().is_some_and(|client| client.report.is_some()),
            };
            let is_waiting = self.actors[i].as_client().is_some_and(|client| !client.has_begun);
            if may_begin && is_waiting {
                self.note_reading(i);
                let outcome = self.actor(i).begin();
                if let Some(outcome) = outcome {
                    self.check_outcome(i, &outcome);
                }
            }
        }
    }

    /// Whether a write is a transaction by itself.
    fn is_single(&self, sender: usize, write: &Write) -> bool {
        let before = self.api.get(write.key());
        let after = match write.change() {
            Change::Create(object) | Change::Replace(object, _) => Some(object),
            Change::Delete(_) => None,
        };
        let lock = before.as_ref().and_then(|stored| stored.lock());
        let has_mark = after.is_some_and(|object| object.mark.is_some());
        let was = before.as_ref().and_then(|stored| stored.object.value.clone());
        let is = after.and_then(|object| object.value.clone());
        self.actors[sender].as_client().is_some() && lock.is_none() && !has_mark && was != is
    }
}

/// By a webhook, or because the server is too busy.
fn denied() -> Answer {
    Answer::Failed(StoreError::Denied(Cause::new("denied")))
}

fn silence() -> Answer {
    Answer::Silence(Cause::new("no answer"))
}
