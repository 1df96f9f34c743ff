//! The walk against a model of etcd: which changes it finds, and how many requests it needs.

#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;

/// A key's changes by revision, the map's revision, and the oldest one that is left.
#[derive(Clone, Debug)]
struct Model {
    /// `true` for a write, `false` for a deletion, in order.
    changes: Vec<(u64, bool)>,
    current: u64,
    oldest: u64,
}

impl Model {
    /// Deletions of an absent key change nothing.
    fn new(changes: impl IntoIterator<Item = (u64, bool)>, current: u64, oldest: u64) -> Self {
        let mut effective: Vec<(u64, bool)> = Vec::new();
        for (at, is_put) in changes {
            let exists = effective.last().is_some_and(|(_, is_put)| *is_put);
            if is_put || exists {
                effective.push((at, is_put));
            }
        }
        Self { changes: effective, current, oldest }
    }

    fn version(&self, at: u64) -> Option<Version> {
        let index = self.changes.iter().rposition(|(changed, _)| *changed <= at)?;
        let (modified, is_put) = self.changes[index];
        let is_first = index == 0 || !self.changes[index - 1].1;
        is_put.then(|| Version { modified, is_first, value: modified.to_string().into_bytes() })
    }

    /// The changes that a complete walk finds: those after the oldest revision, and the write of the value at it.
    fn expected(&self) -> Vec<Change> {
        let oldest = self.version(self.oldest).map_or(self.oldest + 1, |version| version.modified);
        let left = self.changes.iter().rev().filter(|(at, _)| *at >= oldest);
        left.map(|(at, is_put)| change(*at, *is_put)).collect()
    }
}

fn change(at: u64, is_put: bool) -> Change {
    Change { at: revision(at).unwrap(), value: is_put.then(|| at.to_string().into_bytes()) }
}

/// The result of a walk, and the number of its requests. `compact` may discard more before each request.
fn walk(model: &mut Model, limit: usize, mut compact: impl FnMut(&mut Model)) -> (Vec<Change>, HistoryEnd, usize) {
    let mut walk = Walk::new(limit, model.current, model.version(model.current));
    for requests in 1.. {
        let revisions = match walk.step() {
            WalkStep::End(end) => return (walk.changes, end, requests),
            WalkStep::Read(revisions) => revisions,
        };
        assert!(revisions.len() <= MAX_OPERATIONS && revisions.iter().all(|at| (1..=model.current).contains(at)));
        assert!(requests < 10_000, "{walk:?}");
        compact(model);
        match revisions.iter().all(|at| *at >= model.oldest) {
            true => walk.read(&revisions, revisions.iter().map(|at| model.version(*at)).collect()),
            false => walk.compacted(&revisions),
        }
    }
    unreachable!("the loop returns")
}

struct Case {
    changes: &'static [(u64, bool)],
    current: u64,
    oldest: u64,
    limit: usize,
    /// The revisions of the changes that are found; negative for a deletion.
    found: &'static [i64],
    end: HistoryEnd,
    /// The most requests.
    requests: usize,
}

#[test]
fn a_walk_ends_at_the_first_revision_at_a_compaction_or_at_its_limit() {
    let compacted = |at| HistoryEnd::Compacted(revision(at).unwrap());
    let all: &[(u64, bool)] = &[(10, true), (500, true), (600, false), (610, true), (1000, false)];
    for case in [
        Case { changes: &[], current: 1, oldest: 1, limit: 9, found: &[], end: HistoryEnd::Complete, requests: 1 },
        Case { changes: &[], current: 300, oldest: 1, limit: 9, found: &[], end: HistoryEnd::Complete, requests: 4 },
        Case { changes: &[], current: 300, oldest: 300, limit: 9, found: &[], end: compacted(300), requests: 16 },
        Case {
            changes: all,
            current: 1001,
            oldest: 1,
            limit: 9,
            found: &[-1000, 610, -600, 500, 10],
            end: HistoryEnd::Complete,
            // The first read, the deletion at 1000, the one at 600, the write at 10, and the end before it.
            requests: 5,
        },
        Case {
            changes: all,
            current: 1001,
            oldest: 1,
            limit: 2,
            found: &[-1000, 610, -600, 500],
            end: HistoryEnd::Limit,
            requests: 3,
        },
        // The value at the oldest revision was written before it, and is still there.
        Case {
            changes: all,
            current: 1001,
            oldest: 700,
            limit: 9,
            found: &[-1000, 610],
            end: compacted(700),
            requests: 16,
        },
        Case {
            changes: all,
            current: 1001,
            oldest: 605,
            limit: 9,
            found: &[-1000, 610],
            end: compacted(605),
            requests: 16,
        },
        Case {
            changes: all,
            current: 1001,
            oldest: 550,
            limit: 9,
            found: &[-1000, 610, -600, 500],
            end: compacted(550),
            requests: 16,
        },
        Case { changes: all, current: 1001, oldest: 1001, limit: 9, found: &[], end: compacted(1001), requests: 16 },
    ] {
        let mut model = Model::new(case.changes.iter().copied(), case.current, case.oldest);
        let found: Vec<Change> = case.found.iter().map(|at| change(at.unsigned_abs(), *at > 0)).collect();
        let (changes, end, requests) = walk(&mut model, case.limit, |_| {});
        assert_eq!((changes, end), (found, case.end), "{model:?}, limit {}", case.limit);
        assert!(requests <= case.requests, "{requests} requests: {model:?}");
    }
}

fn models() -> impl Strategy<Value = Model> {
    let steps = prop::collection::vec((prop_oneof![1..4_u64, 1..400_u64], any::<bool>()), 0..12);
    (steps, 0..300_u64, 0.0..1.2_f64).prop_map(|(steps, rest, discarded)| {
        // etcd starts at revision 1 with an empty map.
        let mut at = 1;
        let changes: Vec<_> = steps
            .into_iter()
            .map(|(distance, is_put)| {
                at += distance;
                (at, is_put)
            })
            .collect();
        let current = at + rest;
        let oldest = (discarded * current as f64) as u64;
        Model::new(changes, current, oldest.clamp(1, current))
    })
}

proptest! {
    #[test]
    fn a_walk_finds_every_change_that_is_left(mut model in models()) {
        let expected = model.expected();
        let (changes, end, _) = walk(&mut model, usize::MAX, |_| {});
        prop_assert_eq!(&changes, &expected);
        let end_of = |oldest| if oldest == 1 { HistoryEnd::Complete } else { HistoryEnd::Compacted(revision(oldest).unwrap()) };
        // Before the second revision, the map is empty.
        let is_first = changes.last().is_some_and(|change| change.at.0.get() <= 2);
        let complete = end == HistoryEnd::Complete && (model.oldest <= 2 || is_first);
        prop_assert!(complete || end == end_of(model.oldest), "{:?}", end);
    }

    #[test]
    fn changes_that_are_discarded_during_the_walk_leave_no_hole(mut model in models(), steps in prop::collection::vec(0..200_u64, 40)) {
        let all = model.changes.clone();
        let mut steps = steps.into_iter();
        let (changes, _, _) = walk(&mut model, usize::MAX, |model| {
            model.oldest = (model.oldest + steps.next().unwrap_or_default()).min(model.current);
        });
        let latest: Vec<Change> = all.iter().rev().take(changes.len()).map(|(at, is_put)| change(*at, *is_put)).collect();
        prop_assert_eq!(changes, latest);
    }
}
