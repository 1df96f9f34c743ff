//! Tables of what each source shows, and a property: whatever is lost, nothing is invented.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::num::NonZeroU64;

use proptest::prelude::*;

use super::*;
use crate::cause::Cause;
use crate::ipam::lease::{self, Began, Foreign, Holder, Lease, OnRelease, Unknown, UnreadableValue};
use crate::ipam::name::IfName;
use crate::store::{Change, HistoryEnd, KeyHistory};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn id(container: &str) -> AttachmentId {
    AttachmentId {
        node: name("n1"),
        container: name(container),
        ifname: IfName::new("net1").unwrap(),
        network: name("db-net"),
    }
}

fn pod(container: &str) -> PodRef {
    PodRef { namespace: Some("db".into()), name: Some(container.into()), uid: Some(format!("u-{container}")) }
}

fn holder(container: &str) -> Holder {
    Holder {
        id: id(container),
        pod: pod(container),
        workload: None,
        controller: None,
        cluster: None,
        began: Began { boot: "b".into(), boottime: 1 },
        unknown: Unknown::new(),
    }
}

fn held(containers: &[&str], since: i64) -> Lease {
    let holders = containers.iter().map(|container| holder(container)).collect();
    Lease::new(AllocationKind::Dynamic, holders, at(since), OnRelease::Rest(30))
}

fn foreign(mac: u8, since: i64, answered: i64) -> Lease {
    let (network, node) = (name("db-net"), name("n1"));
    Lease::of_foreign(Foreign { mac: Mac([2, 0, 0, 0, 0, mac]), network, node, answered: at(answered) }, at(since))
}

fn revision(number: u64) -> Revision {
    Revision(NonZeroU64::new(number).unwrap())
}

/// The history of these leases, given the earliest first; `None` for a deletion.
fn history(leases: &[Option<Lease>], end: HistoryEnd) -> KeyHistory {
    let mut changes: Vec<Change> = leases
        .iter()
        .zip(1..)
        .map(|(lease, number)| Change { at: revision(number), value: lease.as_ref().map(lease::write) })
        .collect();
    changes.reverse();
    KeyHistory { changes, end }
}

fn logged(time: i64, container: &str, what: Logged) -> LoggedCall {
    let pod = PodRef { uid: None, ..pod(container) };
    LoggedCall { file: PathBuf::from("log"), time: at(time), id: id(container), pod, what }
}

fn added(source: &str) -> Logged {
    let taken_from = source.split_once("taken over from ").map(|(_, holder)| holder.to_owned());
    Logged::Added { source: Some(source.to_owned()), repeated: source == "repeated", taken_from }
}

/// The holdings as `container [from, until] end: sources`.
fn shown(found: &EarlierHolders) -> Vec<String> {
    let time =
        |time: Option<Timestamp>| time.map_or("?".to_owned(), |time| (time.as_second() - 1_700_000_000).to_string());
    let line = |holding: &Holding| {
        let who = match &holding.holder {
            FormerHolder::Attachment(id, _) => id.container.to_string(),
            FormerHolder::Pod { uid } => uid.clone(),
            FormerHolder::Host { mac, .. } => mac.to_string(),
        };
        let end = holding.end.map_or("?", HoldingEnd::word);
        let sources: Vec<String> = holding.sources.iter().map(Source::to_string).collect();
        format!("{who} [{}, {}] {end}: {}", time(holding.from), time(holding.until), sources.join(", "))
    };
    found.holdings.iter().map(line).collect()
}

fn of_leases(leases: &[Option<Lease>]) -> Vec<String> {
    let lease = history(leases, HistoryEnd::Complete);
    shown(&merge(Evidence { lease, lost: vec![], calls: vec![], gaps: vec![] }))
}

#[test]
fn a_lease_and_its_revisions_show_who_had_the_address() {
    let a = held(&["a"], 10);
    let resting = a.clone().released(at(20)).unwrap();
    let reserved = Lease { on_release: OnRelease::Keep(None), ..a.clone() }.released(at(20)).unwrap();
    let machine = |containers: &[&str], former: &[&str]| Lease {
        former_pods: former.iter().map(|uid| (*uid).to_owned()).collect(),
        ..held(containers, 10)
    };
    let (one, two) = (1, 2);
    let cases = [
        ("never assigned", vec![], vec![]),
        ("a present holder is no earlier one", vec![Some(a.clone())], vec![]),
        ("a resting lease names its last holder", vec![Some(resting.clone())], vec!["a [10, 20] released: lease"]),
        (
            "an earlier revision says nothing more than the resting lease",
            vec![Some(a.clone()), Some(resting.clone())],
            vec!["a [10, 20] released: lease"],
        ),
        (
            "one holder after another",
            vec![Some(a.clone()), Some(resting.clone()), None, Some(held(&["b"], 40)), Some(held(&["c"], 50))],
            vec!["b [40, 50] taken-over: lease at revision 4", "a [10, 20] released: lease at revision 2"],
        ),
        (
            "a lease without a cooldown leaves no time of its release",
            vec![Some(a.clone()), None],
            vec!["a [10, ?] released: lease at revision 1"],
        ),
        (
            "a reserved lease, and its expiry",
            vec![
                Some(reserved.clone()),
                Some(Lease { on_release: OnRelease::Rest(30), ..reserved.clone() }.given_up(30).unwrap()),
                None,
            ],
            vec!["a [10, 20] released: lease at revision 1"],
        ),
        (
            "a virtual machine migrates twice",
            vec![
                Some(machine(&["a"], &[])),
                Some(machine(&["a", "b"], &[])),
                Some(machine(&["b"], &["u-a"])),
                Some(machine(&["b", "c"], &["u-a"])),
                Some(machine(&["c"], &["u-a", "u-b"])),
            ],
            vec!["b [?, ?] left-to-other: lease at revision 4", "a [10, ?] left-to-other: lease at revision 2"],
        ),
        (
            "only the UIDs of a machine's former pods are left",
            vec![Some(machine(&["c"], &["u-a", "u-b"]))],
            vec!["u-b [?, ?] left-to-other: lease", "u-a [?, ?] left-to-other: lease"],
        ),
        (
            "the oldest revision that is left has two holders: the time of assignment is one's of them",
            vec![Some(machine(&["a", "b"], &[])), Some(machine(&["a", "b"], &[]).released(at(20)).unwrap())],
            vec!["b [?, 20] released: lease", "a [?, 20] released: lease"],
        ),
        (
            "hosts without a lease",
            vec![
                Some(foreign(one, 10, 12)),
                Some(foreign(one, 10, 15)),
                Some(foreign(two, 30, 31)),
                Some(held(&["a"], 40)),
            ],
            vec![
                "02:00:00:00:00:02 [30, 31] last-answer: lease at revision 3",
                "02:00:00:00:00:01 [10, 15] last-answer: lease at revision 2",
            ],
        ),
        (
            "a host took what an attachment had released",
            vec![Some(resting), Some(foreign(one, 30, 31))],
            vec!["a [10, 20] released: lease at revision 1"],
        ),
    ];
    for (what, leases, expected) in cases {
        assert_eq!(of_leases(&leases), expected, "{what}");
    }
}

#[test]
fn a_revision_that_cannot_be_read_is_a_gap() {
    let mut lease =
        history(&[Some(held(&["a"], 10)), None, Some(held(&["b"], 40))], HistoryEnd::Compacted(revision(1)));
    lease.changes[1].value = Some(br#"{"v":99}"#.to_vec());
    let found = merge(Evidence { lease, lost: vec![], calls: vec![], gaps: vec![Gap::OtherNodes] });
    assert_eq!(shown(&found), ["a [10, ?] ?: lease at revision 1"]);
    let newer = Gap::Unreadable { at: revision(2), why: UnreadableValue::Newer(99) };
    assert_eq!(found.gaps, [Gap::Compacted(revision(1)), newer, Gap::OtherNodes]);
}

#[test]
fn a_log_shows_what_the_calls_of_its_node_did() {
    let cases = [
        (
            "ADD and DEL",
            vec![logged(10, "a", added("any")), logged(20, "a", Logged::Released)],
            vec!["a [10, 20] released: log"],
        ),
        ("the ADD is in a file that is gone", vec![logged(20, "a", Logged::Released)], vec!["a [?, 20] released: log"]),
        ("the end is in no log", vec![logged(10, "a", added("any"))], vec!["a [10, ?] ?: log"]),
        (
            "a repeated ADD assigns nothing",
            vec![logged(10, "a", added("any")), logged(15, "a", added("repeated")), logged(20, "a", Logged::Freed)],
            vec!["a [10, 20] freed: log"],
        ),
        (
            "the first ADD is in a file that is gone",
            vec![logged(15, "a", added("repeated")), logged(20, "a", Logged::Released)],
            vec!["a [?, 20] released: log"],
        ),
        (
            "a take-over ends what was before",
            vec![
                logged(10, "a", added("any")),
                logged(30, "b", added(&format!("any, 10.0.0.1 taken over from {}, gone", holder("a")))),
                logged(40, "b", Logged::Released),
            ],
            vec!["b [30, 40] released: log", "a [10, 30] taken-over: log"],
        ),
        (
            "another ADD does not say when the one before ended",
            vec![logged(10, "a", added("any")), logged(30, "b", added("any")), logged(40, "b", Logged::Released)],
            vec!["b [30, 40] released: log", "a [10, ?] ?: log"],
        ),
        (
            "one attachment twice, as podman repeats its IDs",
            vec![
                logged(30, "a", added("any")),
                logged(40, "a", Logged::Released),
                logged(10, "a", added("any")),
                logged(20, "a", Logged::Released),
            ],
            vec!["a [30, 40] released: log", "a [10, 20] released: log"],
        ),
    ];
    for (what, calls, expected) in cases {
        let lease = history(&[], HistoryEnd::NotKept);
        assert_eq!(shown(&merge(Evidence { lease, lost: vec![], calls, gaps: vec![] })), expected, "{what}");
    }
}

#[test]
fn sources_that_know_the_same_holding_complete_each_other() {
    // A repeated ID, a lease without a cooldown, and a present holder.
    let lease = history(
        &[Some(held(&["a"], 10)), None, Some(held(&["a"], 30)), None, Some(held(&["b"], 50))],
        HistoryEnd::Complete,
    );
    let calls = vec![
        logged(11, "a", added("fixed by annotation")),
        logged(20, "a", Logged::Released),
        logged(31, "a", added("any")),
        logged(40, "a", Logged::Released),
        logged(51, "b", added("any")),
    ];
    let lost = Attachment {
        lost: vec!["10.0.0.1".parse().unwrap()],
        lost_since: Some(at(5)),
        ..Attachment::closed(name("default"), at(0))
    };
    let lost = Attachment { holder: Some(holder("z")), ..lost };
    let lost = from_lost(&id("z"), &lost, "10.0.0.1".parse().unwrap()).into_iter().collect();
    let found = merge(Evidence { lease, lost, calls, gaps: vec![] });
    assert_eq!(
        shown(&found),
        [
            "a [30, 40] released: lease at revision 3, log",
            "a [10, 20] released: lease at revision 1, log",
            "z [?, 5] lost: attachment z/net1",
        ]
    );
    assert_eq!(found.holdings[1].selected.as_deref(), Some("fixed by annotation"));
    assert_eq!(found.holdings[1].kind, Some(AllocationKind::Dynamic));
    assert!(matches!(&found.holdings[1].holder, FormerHolder::Attachment(_, named) if *named == pod("a")));
}

#[test]
fn an_attachment_that_lost_several_addresses_has_the_time_of_the_last() {
    let [first, last] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
    let closed = Attachment::closed(name("default"), at(0));
    let attachment = Attachment { lost: vec![first, last], lost_since: Some(at(5)), ..closed };
    let until = |ip| from_lost(&id("a"), &attachment, ip).map(|holding| holding.until);
    assert_eq!(until(first), Some(None));
    assert_eq!(until(last), Some(Some(at(5))));
    assert_eq!(until("10.0.0.3".parse().unwrap()), None);
}

#[test]
fn each_end_of_a_history_is_said_once() {
    let error = crate::store::StoreError::Unavailable(Cause::new("no member of etcd served the request"));
    let unfinished = |error| HistoryEnd::Unfinished { from: revision(7), error };
    let cases = [
        (HistoryEnd::Complete, None),
        (HistoryEnd::Compacted(revision(7)), Some("the store was compacted at revision 7 and has no earlier leases")),
        (HistoryEnd::Limit, Some("the store may have more earlier leases; only the latest were read")),
        (unfinished(None), Some("no time was left to search the store before revision 7")),
        (
            unfinished(Some(error)),
            Some("the store was not searched before revision 7: no member of etcd served the request"),
        ),
        (HistoryEnd::NotKept, Some("the store keeps only the current lease; earlier ones are in the log")),
    ];
    for (end, text) in cases {
        assert_eq!(Gap::from_end(end).map(|gap| gap.to_string()).as_deref(), text);
    }
}

#[test]
fn a_former_holder_is_named_like_a_present_one() {
    let attachment = |pod| FormerHolder::Attachment(id("a"), pod);
    assert_eq!(attachment(pod("a")).to_string(), holder("a").to_string());
    assert_eq!(attachment(PodRef::default()).to_string(), "container a, interface net1, node n1, network db-net");
    assert_eq!(FormerHolder::Pod { uid: "u-a".to_owned() }.to_string(), "the pod with UID u-a");
    let host = FormerHolder::Host { mac: Mac([2, 0, 0, 0, 0, 1]), network: name("db-net") };
    assert_eq!(host.to_string(), "host 02:00:00:00:00:01 on network db-net");
}

/// What happens to the address in a random history.
#[derive(Clone, Copy, Debug)]
enum Action {
    Add,
    TakeOver,
    Release,
    /// Without a cooldown.
    Forget,
    /// The end of the cooldown.
    Clear,
}

/// A true holding.
#[derive(Clone, Debug)]
struct Truth {
    container: String,
    from: i64,
    until: Option<i64>,
    /// The store has the time of its end.
    has_end: bool,
}

#[derive(Debug, Default)]
struct World {
    leases: Vec<Option<Lease>>,
    calls: Vec<LoggedCall>,
    truths: Vec<Truth>,
}

/// How much later than the store a log line is, in seconds.
const LATER: i64 = 1;

impl World {
    fn act(&mut self, action: Action, now: i64) {
        let state = self.leases.last().cloned().flatten();
        let is_held = state.as_ref().is_some_and(Lease::is_held);
        match (action, state) {
            (Action::Add, _) if !is_held => self.assign("any", now),
            (Action::TakeOver, Some(_)) if is_held => {
                self.end(now, true);
                let victim = self.truths.last().map(|truth| holder(&truth.container)).unwrap();
                self.assign(&format!("any, 10.0.0.1 taken over from {victim}, gone"), now);
            }
            (Action::Release, Some(lease)) if is_held => {
                self.leases.push(lease.released(at(now)));
                self.log(now, Logged::Released);
                self.end(now, true);
            }
            (Action::Forget, Some(_)) if is_held => {
                self.leases.push(None);
                self.log(now, Logged::Released);
                self.end(now, false);
            }
            (Action::Clear, Some(_)) if !is_held => self.leases.push(None),
            _ => {}
        }
    }

    fn assign(&mut self, source: &str, now: i64) {
        let container = format!("c{}", self.truths.len());
        self.leases.push(Some(held(&[&container], now)));
        self.truths.push(Truth { container, from: now, until: None, has_end: false });
        self.log(now, added(source));
    }

    fn log(&mut self, now: i64, what: Logged) {
        let container = &self.truths.last().unwrap().container;
        self.calls.push(logged(now + LATER, container, what));
    }

    fn end(&mut self, now: i64, has_end: bool) {
        let last = self.truths.last_mut().unwrap();
        (last.until, last.has_end) = (Some(now), has_end);
    }
}

fn worlds() -> impl Strategy<Value = World> {
    let actions = vec![Action::Add, Action::TakeOver, Action::Release, Action::Forget, Action::Clear];
    // Longer pauses than a line is late, as a call takes time.
    prop::collection::vec((prop::sample::select(actions), 2..50_i64), 0..24).prop_map(|actions| {
        let mut world = World::default();
        let mut now = 0;
        for (action, pause) in actions {
            now += pause;
            world.act(action, now);
        }
        world
    })
}

proptest! {
    #[test]
    fn nothing_is_invented_or_said_twice_whatever_is_lost(
        world in worlds(),
        discarded in 0.0..1.0_f64,
        kept in prop::collection::vec(any::<bool>(), 24),
    ) {
        let discarded = (discarded * world.leases.len() as f64) as usize;
        let leases = &world.leases[discarded..];
        let lease = history(leases, if discarded == 0 { HistoryEnd::Complete } else { HistoryEnd::Compacted(revision(1)) });
        let calls: Vec<LoggedCall> = world.calls.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(call, _)| call.clone()).collect();
        let found = merge(Evidence { lease, lost: vec![], calls: calls.clone(), gaps: vec![] });

        let of = |truth: &Truth| {
            found.holdings.iter().filter(|holding| matches!(&holding.holder, FormerHolder::Attachment(id, _) if id.container.as_str() == truth.container)).collect::<Vec<_>>()
        };
        prop_assert_eq!(world.truths.iter().map(|truth| of(truth).len()).sum::<usize>(), found.holdings.len());
        for truth in &world.truths {
            let named_by_store = leases.iter().flatten().any(|lease| lease.holders.iter().any(|holder| holder.id.container.as_str() == truth.container));
            let named_by_log = calls.iter().any(|call| call.id.container.as_str() == truth.container);
            let expected = usize::from(truth.until.is_some() && (named_by_store || named_by_log));
            // Without a present lease in the store, the log can't tell that a holding goes on.
            let goes_on = truth.until.is_none() && leases.is_empty() && named_by_log;
            prop_assert_eq!(of(truth).len(), expected + usize::from(goes_on), "{:?} in {:#?}", truth, found);
            for holding in of(truth) {
                let near = |time: Option<Timestamp>, truth: Option<i64>| {
                    time.is_none_or(|time| truth.is_some_and(|truth| (at(truth)..=at(truth + LATER)).contains(&time)))
                };
                prop_assert!(near(holding.from, Some(truth.from)) && near(holding.until, truth.until), "{:?}: {:?}", truth, holding);
                if discarded == 0 {
                    prop_assert_eq!(holding.from, Some(at(truth.from)));
                    prop_assert!(!truth.has_end || holding.until == truth.until.map(at), "{:?}: {:?}", truth, holding);
                }
            }
        }
        let ends: Vec<Timestamp> = found.holdings.iter().filter_map(|holding| holding.until).collect();
        prop_assert!(ends.is_sorted_by(|a, b| a >= b), "{:?}", found.holdings);
    }
}
