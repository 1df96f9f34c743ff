//! Explanations of addresses, state by state, as people read them.
#![allow(clippy::unwrap_used)]

use insta::assert_snapshot;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::ipam::lease::{Attachment, Definition, Lease, Stored};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::pod::{Pod, PodEvent};
use crate::ipam::range::Range;
use crate::ipam::takeover::{Phase, PodLookup, PodState};

fn now() -> Timestamp {
    "2026-11-04T10:00:00Z".parse().unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn holder() -> Value {
    json!({
        "node": "node-1", "containerID": "dadada0123456789", "ifname": "net1", "network": "blue",
        "pod": { "namespace": "db", "name": "db-0", "uid": "u-1" }, "workload": "StatefulSet db",
        "began": { "boot": "b", "boottime": 1 },
    })
}

fn owner() -> Value {
    json!({ "kind": "StatefulSet", "namespace": "db", "name": "db", "uid": "u-9", "pod": "db-0" })
}

/// A lease, as the store has it.
fn lease(more: &Value) -> Stored<Lease> {
    let mut lease = json!({
        "v": 1, "kind": "dynamic", "holders": [holder()], "since": "2026-11-01T10:00:00Z", "onRelease": { "rest": 30 },
    });
    lease.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Stored::read(lease.to_string().as_bytes())
}

fn attachment(addresses: &[&str]) -> Stored<Attachment> {
    let addresses: Vec<Value> = addresses.iter().map(|address| json!({ "address": address })).collect();
    Stored::read(json!({ "v": 1, "vrf": "default", "addresses": addresses }).to_string().as_bytes())
}

fn id() -> AttachmentId {
    serde_json::from_value(holder()).unwrap()
}

/// A network with everything that a range can have.
fn blue() -> NetworkView {
    let range = Range {
        window: "10.1.0.100-10.1.0.199".parse().unwrap(),
        fixed: Some("10.1.0.10-10.1.0.19".parse().unwrap()),
        exclude: vec!["10.1.0.110".parse().unwrap()],
        ..Range::of_subnet("10.1.0.0/24".parse().unwrap())
    };
    NetworkView {
        name: name("blue"),
        vrf: name("default"),
        source: Source::Config("blue.conf".to_owned()),
        namespaces: Vec::new(),
        ranges: vec![RangeView::Configured(range)],
        host_local: Vec::new(),
    }
}

/// Facts about an address that nobody was asked about.
fn facts<'a>(
    ip: &str,
    lease: Option<Stored<Lease>>,
    networks: &'a [NetworkView],
    commands: &'a Commands,
) -> AddressFacts<'a> {
    AddressFacts {
        vrf: name("default"),
        ip: ip.parse().unwrap(),
        lease,
        attachments: vec![(id(), Some(attachment(&["10.1.0.18/24"])))],
        networks: networks.iter().collect(),
        pods: Vec::new(),
        nodes: Vec::new(),
        owner_exists: None,
        records: Vec::new(),
        next: None,
        before: None,
        host_local: None,
        now: now(),
        commands,
    }
}

/// The page about an address, from the store alone.
fn page(ip: &str, lease: Option<Stored<Lease>>, networks: &[NetworkView]) -> String {
    lines(&explain_address(&facts(ip, lease, networks, &Commands::default())))
}

fn lines(explanation: &Explanation) -> String {
    let mut lines = vec![explanation.headline.spoken(now())];
    lines.extend(explanation.agreement.iter().map(ToString::to_string));
    let fact = |fact: &Fact| format!("{}: {} [{}]", fact.topic.word(), fact.text.spoken(now()), fact.source);
    lines.extend(explanation.facts.iter().map(fact));
    for Remedy { text, command } in &explanation.remedies {
        lines.push(format!("- {}", text.spoken(now())));
        lines.extend(command.iter().map(ToString::to_string));
    }
    lines.join("\n")
}

#[test]
fn a_held_address_has_a_holder_and_a_decision() {
    let networks = [blue()];
    assert_snapshot!(page("10.1.0.18", Some(lease(&json!({ "kind": "fixed" }))), &networks));
    let sticky = json!({ "kind": "sticky", "owner": owner(), "onRelease": { "keep": 86400 } });
    assert_snapshot!(page("10.1.0.18", Some(lease(&sticky)), &networks));
}

#[test]
fn a_lease_and_an_attachment_that_do_not_name_each_other_disagree() {
    let (networks, commands) = ([blue()], Commands::default());
    let explained = |found| {
        let facts = facts("10.1.0.18", Some(lease(&json!({}))), &networks, &commands);
        explain_address(&AddressFacts { attachments: vec![(id(), found)], ..facts })
    };
    let pages = [None, Some(attachment(&["10.1.0.19/24"])), Some(Stored::read(b"{"))].map(explained);
    let disagreements: Vec<String> = pages.iter().flat_map(|page| &page.agreement).map(ToString::to_string).collect();
    assert_snapshot!(disagreements.join("\n"));
    assert!(lines(&pages[0]).ends_with("kube-ipam release 10.1.0.18 --yes"));
}

/// A pod with these annotations, as the API server has it.
fn state(uid: &str, annotations: &[(&str, &str)], phase: Phase) -> PodLookup {
    let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let pod =
        Pod { namespace: "db".to_owned(), name: "db-0".to_owned(), uid: uid.to_owned(), annotations, ..Pod::default() };
    let since = Some("2026-11-01T09:59:00Z".parse().unwrap());
    PodLookup::Found(Box::new(PodState { pod, phase, since, deleted: None }))
}

/// The page about an address whose holder's pod is this.
fn page_of_pod(kind: &str, found: Result<PodLookup, String>) -> String {
    let (networks, commands) = ([blue()], Commands::default());
    let facts = facts("10.1.0.18", Some(lease(&json!({ "kind": kind }))), &networks, &commands);
    let pod = serde_json::from_value(holder()["pod"].clone()).unwrap();
    lines(&explain_address(&AddressFacts { pods: vec![PodAnswer { pod, found }], ..facts }))
}

#[test]
fn the_api_server_agrees_with_the_store_or_not() {
    let running = || Phase::Other("Running".to_owned());
    let cases = [
        ("requested", "fixed", Ok(state("u-1", &[("kube-ipam.net1.ip", "10.1.0.18")], running()))),
        ("unscoped", "fixed", Ok(state("u-1", &[("kube-ipam.ip", "10.1.0.18")], running()))),
        ("from a pool", "fixed", Ok(state("u-1", &[("kube-ipam.net1.pool", "10.1.0.15-10.1.0.19")], running()))),
        ("by the runtime", "fixed", Ok(state("u-1", &[], running()))),
        ("another now", "fixed", Ok(state("u-1", &[("kube-ipam.net1.ip", "10.1.0.19")], running()))),
        ("another network", "dynamic", Ok(state("u-1", &[("kube-ipam.ip", "10.2.0.19")], running()))),
        ("unusable", "fixed", Ok(state("u-1", &[("kube-ipam.net1.ipp", "10.1.0.18")], running()))),
        ("random", "dynamic", Ok(state("u-1", &[], running()))),
        ("gone", "fixed", Ok(PodLookup::NotFound)),
        ("replaced", "fixed", Ok(state("u-2", &[], running()))),
        ("finished", "fixed", Ok(state("u-1", &[], Phase::Succeeded))),
        ("not known", "fixed", Err("the API server https://10.0.0.1 can't be reached".to_owned())),
    ];
    let cases = cases.map(|(case, kind, found)| (case, page_of_pod(kind, found)));
    for (case, page) in cases {
        assert_snapshot!(format!("pod {case}"), page);
    }
}

#[test]
fn a_reserved_address_belongs_to_its_owner() {
    let unused = "2026-11-03T10:00:00Z";
    let reserved =
        |keep: Value| json!({ "kind": "sticky", "owner": owner(), "onRelease": { "keep": keep }, "unused": unused });
    assert_snapshot!(page("10.1.0.120", Some(lease(&reserved(json!(null)))), &[blue()]));
    for (keep, expected) in [
        (172_800, "release: the reservation expires in 24 hours [store]"),
        (3_600, "release: the reservation has expired: an ADD that needs the address gets it [store]"),
    ] {
        let page = page("10.1.0.120", Some(lease(&reserved(json!(keep)))), &[blue()]);
        assert!(page.contains(expected), "{page}");
    }
}

#[test]
fn a_resting_address_says_until_when() {
    let rest = |released: &str, seconds: u64, last: bool| {
        lease(&json!({ "rest": { "released": released, "seconds": seconds, "last": last } }))
    };
    assert_snapshot!(page("10.1.0.100", Some(rest("2026-11-04T09:59:50Z", 30, false)), &[blue()]));
    for (lease, expected) in [
        (
            rest("2026-11-04T09:00:00Z", 30, false),
            "released by pod db/db-0 60 minutes ago; its cooldown is over, and it can be assigned again.",
        ),
        (
            rest("2026-11-04T09:00:00Z", 0, true),
            "released by pod db/db-0 60 minutes ago; it is drawn at random only when nothing else is free.",
        ),
    ] {
        let page = page("10.1.0.100", Some(lease), &[blue()]);
        assert!(page.lines().next().unwrap().ends_with(expected), "{page}");
    }
}

#[test]
fn a_foreign_address_has_a_host() {
    let foreign = json!({
        "holders": [], "onRelease": "forget",
        "foreign": {
            "mac": "02:00:00:00:00:07", "network": "blue", "node": "node-1", "answered": "2026-11-04T09:30:00Z",
        },
    });
    assert_snapshot!(page("10.1.0.100", Some(lease(&foreign)), &[blue()]));
}

#[test]
fn an_unreadable_lease_counts_as_held() {
    assert_snapshot!(page("10.1.0.100", Some(Stored::read(br#"{"v":7}"#)), &[blue()]));
    assert_snapshot!(page("10.1.0.100", Some(Stored::read(b"{")), &[blue()]));
}

#[test]
fn a_free_address_can_be_had_or_a_rule_keeps_it() {
    for ip in ["10.1.0.1", "10.1.0.15", "10.1.0.50", "10.1.0.110", "10.1.0.120", "10.1.0.255", "10.9.0.1"] {
        let networks: Vec<NetworkView> =
            [blue()].into_iter().filter(|network| network.has(ip.parse().unwrap())).collect();
        assert_snapshot!(ip, page(ip, None, &networks));
    }
}

#[test]
fn a_stored_definition_says_what_it_does_not_know() {
    let definition: Definition = serde_json::from_value(json!({ "v": 1, "sets": [[{
        "subnet": "10.1.0.0/24", "dynamic": "10.1.0.100-10.1.0.109,10.1.0.111-10.1.0.199", "gateway": "10.1.0.1",
        "pools": { "primaries": "10.1.0.30-10.1.0.39" },
    }]] }))
    .unwrap();
    let networks = [NetworkView::from_store(name("default"), name("blue"), &definition)];
    for ip in ["10.1.0.1", "10.1.0.33", "10.1.0.110", "10.1.0.120"] {
        assert_snapshot!(format!("stored {ip}"), page(ip, None, &networks));
    }
}

fn event(reason: &str, component: &str, message: &str, (first, last): (&str, &str), count: u64) -> PodEvent {
    let (reason, component, message) = (reason.to_owned(), component.to_owned(), message.to_owned());
    let (first, last) = (first.parse().ok(), last.parse().ok());
    let pod = crate::ipam::lease::PodRef { uid: Some("u-1".to_owned()), ..Default::default() };
    PodEvent { pod, component, host: None, reason, message, count, first, last }
}

#[test]
fn a_waiting_pod_says_why_since_when_and_how_often() {
    let (networks, commands) = ([blue()], Commands::default());
    let times = ("2026-11-04T09:40:00Z", "2026-11-04T09:59:30Z");
    let refusal = "10.1.0.18 is held by pod db/db-0, interface net1, node node-1, network blue";
    let events = vec![
        event("Scheduled", "default-scheduler", "assigned", times, 1),
        event("AddressRefused", "kube-ipam", refusal, times, 7),
        event("FailedCreatePodSandBox", "kubelet", &format!("plugin kube-ipam failed (add): {refusal}"), times, 40),
    ];
    let holder = explain_address(&facts("10.1.0.18", Some(lease(&json!({ "kind": "fixed" }))), &networks, &commands));
    let found = state("u-1", &[], Phase::Other("Pending".to_owned()));
    let waiting = |events, waits_for| {
        explain_pod(PodFacts {
            name: ObjectName { namespace: Some("db".to_owned()), name: "db-1".to_owned() },
            found: Ok(found.clone()),
            events,
            parts: Vec::new(),
            interfaces: vec!["net1".to_owned()],
            next: None,
            waits_for,
            now: now(),
            commands: &commands,
        })
    };
    let explained = waiting(Ok(events), Some(holder));
    assert_eq!((explained.state, explained.parts.len()), (State::Waiting, 1));
    assert_snapshot!("waiting", lines(&explained));
    let unknown = waiting(Err("the API server does not allow it".to_owned()), None);
    assert_eq!(unknown.state, State::Without);
    assert_snapshot!("without events", lines(&unknown));
}
