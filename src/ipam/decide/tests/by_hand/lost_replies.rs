//! An operator's edit beside calls of pods, in every order, with lost replies and late copies.
//!
//! Each actor runs one state machine. The reply of a transaction may be lost, whether or not it took effect, and a copy
//! of it may take effect at any later time. Then the machine goes on without an answer, or its process dies.

use std::collections::HashSet;

use super::*;
use crate::ipam::decide::{Add, Allocation, Decide, Release, Released, Step};
use crate::store::{MemoryMap, Outcome, Txn};

#[derive(Clone)]
enum Machine {
    Add(Box<Add>),
    Del(Box<Release>),
    Edit(EditLeases),
}

/// How a machine ended.
#[derive(Clone, Debug, PartialEq)]
enum End {
    Added(Box<Allocation>),
    Released,
    Edited(Edited),
    Refused(String),
    Died,
}

#[derive(Clone)]
struct Actor {
    machine: Machine,
    txn: Option<Txn>,
    end: Option<End>,
    /// Copies that may still take effect.
    late: Vec<Txn>,
}

impl Actor {
    fn new(mut machine: Machine) -> Self {
        let step = match &mut machine {
            Machine::Add(add) => added(add.start(at(0))),
            Machine::Del(release) => released(release.start(at(0))),
            Machine::Edit(edit) => edited(edit.start(at(0))),
        };
        let mut actor = Self { machine, txn: None, end: None, late: Vec::new() };
        actor.follow(step);
        actor
    }

    fn follow(&mut self, step: Result<Txn, End>) {
        (self.txn, self.end) = match step {
            Ok(txn) => (Some(txn), None),
            Err(end) => (None, Some(end)),
        };
    }

    fn answered(&mut self, outcome: &Outcome) {
        let step = match &mut self.machine {
            Machine::Add(add) => added(add.next(outcome, at(0))),
            Machine::Del(release) => released(release.next(outcome, at(0))),
            Machine::Edit(edit) => edited(edit.next(outcome, at(0))),
        };
        self.follow(step);
    }

    fn unanswered(&mut self) {
        let step = match &mut self.machine {
            Machine::Add(add) => added(add.unanswered(at(0))),
            Machine::Del(release) => released(release.unanswered(at(0))),
            Machine::Edit(edit) => edited(edit.unanswered(at(0))),
        };
        self.follow(step);
    }
}

fn added(step: Step<Allocation>) -> Result<Txn, End> {
    ended(step, |allocation| End::Added(Box::new(allocation)))
}

fn released(step: Step<Released>) -> Result<Txn, End> {
    ended(step, |_| End::Released)
}

fn edited(step: Step<Edited>) -> Result<Txn, End> {
    ended(step, End::Edited)
}

fn ended<D>(step: Step<D>, end: impl FnOnce(D) -> End) -> Result<Txn, End> {
    match step {
        Step::Commit(txn) => Ok(txn),
        Step::Done(done) => Err(end(done)),
        Step::Refused(refusal) => Err(End::Refused(refusal.to_string())),
    }
}

#[derive(Clone)]
struct Scene {
    state: MemoryMap,
    actors: Vec<Actor>,
    faults: u32,
}

impl Scene {
    fn successors(&self) -> Vec<Self> {
        let mut next = Vec::new();
        let mut then = |change: &dyn Fn(&mut Self)| {
            let mut scene = self.clone();
            change(&mut scene);
            next.push(scene);
        };
        for (i, actor) in self.actors.iter().enumerate() {
            if let Some(txn) = &actor.txn {
                then(&|scene| {
                    let outcome = scene.state.commit(txn);
                    scene.actors[i].answered(&outcome);
                });
                let faults = if self.faults == 0 {
                    &[][..]
                } else {
                    &[(false, false), (true, false), (false, true), (true, true)]
                };
                for (applied, copy) in faults.iter().copied() {
                    for dies in [false, true] {
                        then(&|scene| {
                            scene.faults -= 1;
                            if applied {
                                scene.state.commit(txn);
                            }
                            if copy {
                                scene.actors[i].late.push(txn.clone());
                            }
                            match dies {
                                true => scene.actors[i].follow(Err(End::Died)),
                                false => scene.actors[i].unanswered(),
                            }
                        });
                    }
                }
            }
            for late in 0..actor.late.len() {
                then(&|scene| {
                    let txn = scene.actors[i].late.remove(late);
                    scene.state.commit(&txn);
                });
            }
        }
        next
    }

    fn fingerprint(&self) -> String {
        let actors: Vec<String> =
            self.actors.iter().map(|actor| format!("{:?} {:?} {:?}", actor.txn, actor.end, actor.late)).collect();
        let entries = super::super::world::entries(&self.state, "");
        format!("{entries:?} {actors:?} {}", self.faults)
    }
}

/// Explores everything that may happen, and checks each state in which all actors have ended.
fn explore(world: &World, machines: Vec<Machine>, faults: u32, check: impl Fn(&World, &[Option<End>])) -> usize {
    let actors = machines.into_iter().map(Actor::new).collect();
    let mut open = vec![Scene { state: world.state.clone(), actors, faults }];
    let mut known = HashSet::new();
    while let Some(scene) = open.pop() {
        if !known.insert(scene.fingerprint()) {
            continue;
        }
        let now = World { state: scene.state.clone(), ..World::default() };
        sound(&now);
        if scene.actors.iter().all(|actor| actor.txn.is_none() && actor.late.is_empty()) {
            let ends: Vec<Option<End>> = scene.actors.iter().map(|actor| actor.end.clone()).collect();
            check(&now, &ends);
        }
        open.extend(scene.successors());
    }
    known.len()
}

fn edit(edits: Vec<LeaseEdit>) -> Machine {
    Machine::Edit(EditLeases::new(name("default"), edits))
}

fn add(call: &Call) -> Machine {
    Machine::Add(Box::new(call.decision().unwrap()))
}

fn is_reserved(world: &World, address: &str) -> bool {
    lease(world, address).is_some_and(|lease| lease.manual.is_some() && !lease.is_held())
}

#[test]
fn a_pod_and_an_operator_never_both_get_an_address_whatever_is_lost() {
    for asks in [fixed("a", "web", "u-1", "10.0.0.5"), Call::of("a", &subnet("10.0.0.5/32"))] {
        let edits =
            ["10.0.0.5", "10.0.0.6"].map(|text| LeaseEdit::reserve(&name("default"), ip(text), None, said(""))).into();
        let states = explore(&World::default(), vec![edit(edits), add(&asks)], 2, |world, ends| {
            let [edited, added] = ends else { panic!("{ends:?}") };
            let (first, second) = (is_reserved(world, "10.0.0.5"), is_reserved(world, "10.0.0.6"));
            assert_eq!(first, second, "half of a batch: {ends:?}");
            assert!(!first || holders(world, "10.0.0.5").is_empty(), "{ends:?}");
            if let Some(End::Added(_)) = added {
                assert!(!holders(world, "10.0.0.5").is_empty(), "the pod lost its address: {ends:?}");
            }
            match edited {
                Some(End::Edited(Edited::Written)) => assert!(first, "{ends:?}"),
                Some(End::Edited(Edited::Stale { in_doubt: false, .. })) => assert!(!first, "{ends:?}"),
                _ => {}
            }
        });
        eprintln!("an ADD and an operator: {states} states");
    }
}

#[test]
fn the_end_of_a_reservation_takes_no_address_from_its_pod_whatever_is_lost() {
    let mut world = World::default();
    reserve(&mut world, &["10.0.0.5"], &said("db/web"));
    let (revision, _) = seen(&world, "10.0.0.5").unwrap();
    let end = edit(vec![LeaseEdit::end(ip("10.0.0.5"), revision)]);
    let states = explore(&world, vec![end, add(&fixed("a", "web", "u-1", "10.0.0.5"))], 2, |world, ends| {
        let [_, added] = ends else { panic!("{ends:?}") };
        if let Some(End::Added(_)) = added {
            assert_eq!(holders(world, "10.0.0.5"), ["a"], "{ends:?}");
        }
    });
    eprintln!("an ADD and the end of its reservation: {states} states");
}

#[test]
fn a_release_leaves_what_an_operator_restates_meanwhile_whatever_is_lost() {
    let mut world = World::default();
    reserve(&mut world, &["10.0.0.5"], &said("db/web"));
    let allocation = world.add(&fixed("a", "web", "u-1", "10.0.0.5")).unwrap();
    let restated = LeaseEdit::restate(ip("10.0.0.5"), seen(&world, "10.0.0.5").unwrap(), said("db/other"));
    let release = Release::new(attachment("a"), name("default"), Some(allocation.written()), false);
    let machines = vec![edit(vec![restated]), Machine::Del(Box::new(release))];
    let states = explore(&world, machines, 2, |world, ends| {
        let [edited, released] = ends else { panic!("{ends:?}") };
        let lease = lease(world, "10.0.0.5").unwrap();
        if *released == Some(End::Released) {
            assert!(!lease.is_held(), "{ends:?}");
        }
        let object = lease.manual.unwrap().beneficiary.unwrap().to_string();
        match edited {
            Some(End::Edited(Edited::Written)) => assert_eq!(object, "pod db/other", "{ends:?}"),
            Some(End::Edited(Edited::Stale { in_doubt: false, .. })) => assert_eq!(object, "pod db/web", "{ends:?}"),
            _ => {}
        }
    });
    eprintln!("a DEL and a restated reservation: {states} states");
}

#[test]
fn a_move_ends_in_one_of_both_places_whatever_is_lost() {
    let mut world = World::default();
    reserve(&mut world, &["10.0.0.5"], &said("db/web"));
    let (revision, lease) = seen(&world, "10.0.0.5").unwrap();
    let manual = lease.manual.unwrap();
    let there = |text: &str, manual: &ManualReservation| {
        vec![
            LeaseEdit::end(ip("10.0.0.5"), revision),
            LeaseEdit::reserve(&name("default"), ip(text), None, manual.clone()),
        ]
    };
    // Two operators move it to two places, and its pod asks for the first.
    let other = ManualReservation { at: at(1), ..manual.clone() };
    let machines = vec![
        edit(there("10.0.0.6", &manual)),
        edit(there("10.0.0.7", &other)),
        add(&fixed("a", "web", "u-1", "10.0.0.6")),
    ];
    let states = explore(&world, machines, 1, |world, ends| {
        let places = ["10.0.0.5", "10.0.0.6", "10.0.0.7"];
        let with_it = places.into_iter().filter(|ip| super::lease(world, ip).is_some_and(|it| it.manual.is_some()));
        assert_eq!(with_it.count(), 1, "{ends:?}");
    });
    eprintln!("two moves and an ADD: {states} states");
}
