//! Tables of take-over decisions.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::*;
use crate::ipam::lease::Unknown;
use crate::ipam::name::{AttachmentId, IfName, Name};
use crate::ipam::pod::Pod;

const UID: &str = "0b4f6a52-3c1d-4b8e-9a53-0f6d8c1f1a11";
const OTHER: &str = "7d8a2f90-52f5-4f53-a1f4-3f5f8f5a2b22";
const HASH: &str = "c0ffee00c0ffee00c0ffee00c0ffee00";

fn holder(container: &str) -> Holder {
    let name = |text: &str| Name::new(text).unwrap();
    let id = AttachmentId {
        node: name("n1"),
        container: name(container),
        ifname: IfName::new("net1").unwrap(),
        network: name("db"),
    };
    let began = Began { boot: "boot-1".to_owned(), boottime: 100 };
    Holder {
        id,
        pod: pod("db-0", UID),
        workload: None,
        controller: None,
        cluster: Some(CLUSTER.to_owned()),
        began,
        unknown: Unknown::new(),
    }
}

fn pod(name: &str, uid: &str) -> PodRef {
    PodRef { namespace: Some("db".to_owned()), name: Some(name.to_owned()), uid: Some(uid.to_owned()) }
}

/// The cluster of the holders, unless a case names another one.
const CLUSTER: &str = "c-1";

/// No results yet, for an ADD in that cluster.
fn no_checks() -> HolderChecks {
    HolderChecks::new(ClusterIdentity::known(CLUSTER))
}

fn began(boot: &str, boottime: u64) -> Began {
    Began { boot: boot.to_owned(), boottime }
}

#[test]
fn between_sandboxes_of_one_pod_the_later_add_wins() {
    for (own, other, later) in [
        (began("boot-1", 101), began("boot-1", 100), true),
        (began("boot-1", 100), began("boot-1", 100), false),
        (began("boot-1", 99), began("boot-1", 100), false),
        (began("boot-2", 1), began("boot-1", 100), true),
        // An unknown boot is neither the same nor another one.
        (began("", 101), began("boot-1", 100), false),
        (began("boot-1", 101), began("", 100), false),
        (began("", 101), began("", 100), false),
    ] {
        let (own, other) = (Holder { began: own, ..holder("new") }, Holder { began: other, ..holder("old") });
        let expected = match later {
            true => TakeoverDecision::TakeOver(GoneReason::EarlierSandbox),
            false => TakeoverDecision::Refuse(InUseReason::NotEarlierSandbox),
        };
        assert_eq!(
            no_checks().decide_takeover(&own, std::slice::from_ref(&other)),
            expected,
            "{:?} {:?}",
            own.began,
            other.began
        );
    }
}

#[test]
fn only_a_pod_of_the_same_cluster_on_its_own_can_be_asked_about() {
    let later = began("boot-1", 200);
    let own = || Holder { pod: pod("db-1", OTHER), began: later.clone(), ..holder("new") };
    let with_pod = |pod: PodRef| Holder { pod, ..holder("old") };
    let elsewhere = |mut of: Holder| {
        of.id.node = Name::new("n2").unwrap();
        of
    };
    let cases = [
        ("another pod", own(), vec![holder("old")], TakeoverDecision::CheckPod),
        (
            "without a UID",
            own(),
            vec![with_pod(PodRef { uid: None, ..pod("db-0", UID) })],
            TakeoverDecision::CheckContainer,
        ),
        ("with an empty UID", own(), vec![with_pod(pod("db-0", ""))], TakeoverDecision::CheckContainer),
        (
            "without a namespace",
            own(),
            vec![with_pod(PodRef { namespace: None, ..pod("db-0", UID) })],
            TakeoverDecision::CheckContainer,
        ),
        ("without a pod", own(), vec![with_pod(PodRef::default())], TakeoverDecision::CheckContainer),
        (
            "of no pod, for no pod",
            Holder { pod: PodRef::default(), ..own() },
            vec![with_pod(PodRef::default())],
            TakeoverDecision::CheckContainer,
        ),
        // Edge case 8.
        (
            "another interface of the sandbox",
            Holder { began: later.clone(), ..holder("old") },
            vec![holder("old")],
            TakeoverDecision::Refuse(InUseReason::SameSandbox),
        ),
        ("one container id on two nodes", elsewhere(own()), vec![holder("new")], TakeoverDecision::CheckPod),
        (
            "one pod under two names of its node",
            elsewhere(Holder { began: later.clone(), ..holder("new") }),
            vec![holder("old")],
            TakeoverDecision::TakeOver(GoneReason::EarlierSandbox),
        ),
        (
            "its sandbox under two names of its node",
            elsewhere(Holder { began: later.clone(), ..holder("old") }),
            vec![holder("old")],
            TakeoverDecision::Refuse(InUseReason::SameSandbox),
        ),
        // Static pods of one manifest share a UID. Their names end with the name of their node.
        (
            "one UID on two nodes",
            elsewhere(Holder { pod: pod("db-n2", UID), ..holder("new") }),
            vec![with_pod(pod("db-n1", UID))],
            TakeoverDecision::CheckPod,
        ),
        (
            "without a UID, of another cluster",
            Holder { cluster: Some("another".to_owned()), ..own() },
            vec![with_pod(PodRef { uid: None, ..pod("db-0", UID) })],
            TakeoverDecision::CheckContainer,
        ),
        (
            "several holders",
            own(),
            vec![holder("old"), holder("older")],
            TakeoverDecision::Refuse(InUseReason::SeveralHolders),
        ),
        ("no holder", own(), vec![], TakeoverDecision::Refuse(InUseReason::SeveralHolders)),
        (
            "one name, two UIDs",
            Holder { pod: pod("db-0", OTHER), ..own() },
            vec![holder("old")],
            TakeoverDecision::CheckPod,
        ),
    ];
    for (what, own, holders, expected) in cases {
        assert_eq!(no_checks().decide_takeover(&own, &holders), expected, "{what}");
    }
}

#[test]
fn what_a_node_shows_of_a_container_holds_for_that_attachment_and_for_no_other() {
    let container = |container: &str| Holder { pod: PodRef::default(), ..holder(container) };
    let own = || container("new");
    let mut checks = no_checks();
    checks.record_container(container("dead").id, Ok(GoneReason::NamespaceGone));
    checks.record_container(container("alive").id, Err(InUseReason::NamespaceExists));
    let mut elsewhere = container("dead");
    elsewhere.id.node = Name::new("n2").unwrap();
    let of_pod = Holder { pod: pod("db-0", UID), ..holder("dead") };
    for (what, holder, expected) in [
        ("one that is gone", container("dead"), TakeoverDecision::TakeOver(GoneReason::NamespaceGone)),
        ("one that is there", container("alive"), TakeoverDecision::Refuse(InUseReason::NamespaceExists)),
        ("one that was not looked at", container("other"), TakeoverDecision::CheckContainer),
        ("one of its id on another node", elsewhere, TakeoverDecision::CheckContainer),
        // Only the API server can confirm that a pod is gone.
        ("a pod of that container", of_pod, TakeoverDecision::CheckPod),
    ] {
        assert_eq!(checks.decide_takeover(&own(), &[holder]), expected, "{what}");
    }
}

#[test]
fn a_verdict_holds_for_the_pod_and_for_no_other() {
    let mut checks = no_checks();
    checks.record_pod(pod("db-0", UID), Ok(GoneReason::NotFound));
    checks.record_pod(pod("db-2", UID), Err(InUseReason::ChecksDisabled));
    let own = Holder { pod: pod("db-1", OTHER), ..holder("new") };
    let decision = |pod: PodRef| checks.decide_takeover(&own, &[Holder { pod, ..holder("old") }]);
    assert_eq!(decision(pod("db-0", UID)), TakeoverDecision::TakeOver(GoneReason::NotFound));
    assert_eq!(decision(pod("db-0", OTHER)), TakeoverDecision::CheckPod);
    assert_eq!(decision(pod("db-2", UID)), TakeoverDecision::Refuse(InUseReason::ChecksDisabled));
    // The result of a check doesn't apply to a pod of another cluster.
    let other = Holder { cluster: Some("b".to_owned()), ..holder("old") };
    assert_eq!(checks.decide_takeover(&own, &[other]), TakeoverDecision::Refuse(InUseReason::OtherCluster));
}

#[test]
fn an_api_server_speaks_for_the_holders_of_its_own_cluster_alone() {
    struct Case {
        what: &'static str,
        own: ClusterIdentity,
        holder: Option<&'static str>,
        expected: TakeoverDecision,
    }
    let known = |former: &[&str]| {
        let former: Vec<String> = former.iter().map(|name| (*name).to_owned()).collect();
        ClusterIdentity::known(CLUSTER).formerly(&former)
    };
    let unknown = || ClusterIdentity::unknown("no right".to_owned());
    let stays = TakeoverDecision::Refuse;
    let not_known = || stays(InUseReason::ClusterUnknown("no right".to_owned()));
    let cases = [
        Case { what: "the same", own: known(&[]), holder: Some(CLUSTER), expected: TakeoverDecision::CheckPod },
        Case { what: "another", own: known(&[]), holder: Some("c-2"), expected: stays(InUseReason::OtherCluster) },
        Case { what: "none named", own: known(&[]), holder: None, expected: stays(InUseReason::ClusterUnnamed) },
        Case {
            what: "a former one",
            own: known(&["c-0", "c-2"]),
            holder: Some("c-2"),
            expected: TakeoverDecision::CheckPod,
        },
        Case { what: "none, formerly", own: known(&[""]), holder: None, expected: TakeoverDecision::CheckPod },
        Case {
            what: "former, but none named",
            own: known(&["c-0"]),
            holder: None,
            expected: stays(InUseReason::ClusterUnnamed),
        },
        Case {
            what: "none, but another",
            own: known(&[""]),
            holder: Some("c-2"),
            expected: stays(InUseReason::OtherCluster),
        },
        Case { what: "to one that is not known", own: unknown(), holder: Some(CLUSTER), expected: not_known() },
        Case { what: "none to one not known", own: unknown(), holder: None, expected: not_known() },
        Case {
            what: "former of one not known",
            own: unknown().formerly(&[String::new(), CLUSTER.to_owned()]),
            holder: Some(CLUSTER),
            expected: not_known(),
        },
    ];
    let own = Holder { pod: pod("db-1", OTHER), ..holder("new") };
    for Case { what, own: cluster, holder: named, expected } in cases {
        let held = Holder { cluster: named.map(str::to_owned), ..holder("old") };
        assert_eq!(HolderChecks::new(cluster).decide_takeover(&own, &[held]), expected, "{what}");
    }
}

#[test]
fn between_sandboxes_of_one_pod_an_address_passes_though_one_names_no_cluster() {
    struct Case {
        what: &'static str,
        uid: &'static str,
        boot: &'static str,
        holder: Option<&'static str>,
        passes: bool,
    }
    let case = |what, uid, boot, holder, passes| Case { what, uid, boot, holder, passes };
    let cases = [
        case("a UID of the API server's, none named", UID, "boot-1", None, true),
        case("the same, after a boot", UID, "boot-0", None, true),
        // If a cluster was cloned, two pods may have one UID.
        case("of another cluster", UID, "boot-1", Some("c-2"), false),
        // Two clusters may have a node of the same name with the same manifest.
        case("a static pod of the same cluster", HASH, "boot-0", Some(CLUSTER), true),
        case("a static pod, none named", HASH, "boot-0", None, false),
        case("a static pod of another cluster", HASH, "boot-0", Some("c-2"), false),
        case("a static pod of this very boot", HASH, "boot-1", None, true),
    ];
    for Case { what, uid, boot, holder: named, passes } in cases {
        let own = Holder { pod: pod("db-0", uid), began: began("boot-1", 200), ..holder("new") };
        let cluster = named.map(str::to_owned);
        let held = Holder { pod: pod("db-0", uid), began: began(boot, 100), cluster, ..holder("old") };
        let decision = no_checks().decide_takeover(&own, &[held]);
        assert_eq!(decision == TakeoverDecision::TakeOver(GoneReason::EarlierSandbox), passes, "{what}: {decision:?}");
    }
}

fn life(uid: &str, annotations: &[(&str, &str)], phase: Phase, deleted: bool) -> PodLookup {
    let annotations: BTreeMap<_, _> = annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let pod = Pod { uid: uid.to_owned(), annotations, ..Pod::default() };
    let [since, deletion] = [0, 3600].map(|s| Timestamp::from_second(1_700_000_000 + s).unwrap());
    PodLookup::Found(Box::new(PodState { pod, phase, since: Some(since), deleted: deleted.then_some(deletion) }))
}

#[test]
fn gone_replaced_and_finished_are_shown_and_nothing_else_is() {
    let other = |word: &str| Phase::Other(word.to_owned());
    let mirror = |hash: &'static str| [("kubernetes.io/config.mirror", hash), ("kubernetes.io/config.hash", hash)];
    let cases = [
        (UID, PodLookup::NotFound, "gone"),
        (UID, life(OTHER, &[], other("Running"), false), "replaced"),
        (UID, life(OTHER, &[], Phase::Succeeded, false), "replaced"),
        (UID, life(UID, &[], Phase::Succeeded, false), "finished (Succeeded)"),
        (UID, life(UID, &[], Phase::Failed, false), "finished (Failed)"),
        (UID, life(UID, &[], Phase::Failed, true), "finished (Failed)"),
        (UID, life(UID, &[], other("Running"), false), "lives: Running since 2023-11-14T22:13:20Z"),
        (UID, life(UID, &[], other("Pending"), false), "lives: Pending since 2023-11-14T22:13:20Z"),
        (UID, life(UID, &[], other("Unknown"), false), "lives: Unknown since 2023-11-14T22:13:20Z"),
        // A terminating pod is not gone: its node may be lost.
        (UID, life(UID, &[], other("Running"), true), "lives: Terminating since 2023-11-14T23:13:20Z"),
        // Edge case 31: for the runtime, the UID of a static pod is the hash of its manifest.
        (HASH, life(UID, &mirror(HASH), other("Running"), false), "lives: Running since 2023-11-14T22:13:20Z"),
        (HASH, life(UID, &mirror("decaf"), other("Running"), false), "replaced"),
        (HASH, life(UID, &mirror(HASH), Phase::Failed, false), "lives: Failed since 2023-11-14T22:13:20Z"),
        (HASH, life(UID, &[], other("Running"), false), "static"),
        (HASH, PodLookup::NotFound, "static"),
    ];
    for (uid, told, expected) in cases {
        let said = match check_holder(&pod("db-0", uid), &told) {
            Ok(shown) => shown.to_string(),
            Err(InUseReason::Running(state)) => format!("lives: {state}"),
            Err(InUseReason::StaticPod) => "static".to_owned(),
            Err(other) => other.to_string(),
        };
        assert_eq!(said, expected, "{uid} {told:?}");
    }
}
