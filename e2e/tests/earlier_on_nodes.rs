//! The earlier holders of an address on real nodes: from the store, the lease and the log, with both stores.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube_ipam::config::{self, CallSettings, Purpose};
use kube_ipam::deadline::Deadline;
use kube_ipam::ipam::earlier::{EarlierHolders, FormerHolder, Gap, Holding, HoldingEnd, Source};
use kube_ipam::ipam::name::Name;
use kube_ipam::ops::Session;
use kube_ipam::ops::earlier::earlier_holders;
use kube_ipam::store::{EtcdConfig, StoreConfig};
use kube_ipam_e2e::machines::Machines;
use kube_ipam_e2e::node::{Network, Node};
use kube_ipam_e2e::proxy::{Fault, Proxy};
use serde_json::{Value, json};

/// The settings of a node, as a verb of the operator resolves them.
fn settings(node: &Node) -> CallSettings {
    let env = |variable: &str| {
        (variable == "KUBE_IPAM_CONFIG").then(|| node.path("kube-ipam.json").to_str().unwrap().to_owned())
    };
    let purpose = Purpose { add: false, pod: false };
    config::load(&serde_json::Map::new(), &name("command-line"), &env, purpose).settings
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn call(network: &Network<'_>, verb: &str, container: &str) {
    let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=pod-{container};K8S_POD_UID=u-{container}");
    network.call(verb, container).args(&args).run().ok();
}

fn earlier(node: &Node, vrf: &str) -> EarlierHolders {
    let session = Session::open(node.store(), None).unwrap();
    let deadline = Deadline::after(Duration::from_secs(30));
    earlier_holders(&session, &settings(node), &name(vrf), "10.1.0.5".parse().unwrap(), deadline)
}

/// The holdings as `pod end, from-until: sources`, where a known time is `t`.
fn shown(found: &EarlierHolders) -> Vec<String> {
    let line = |holding: &Holding| {
        let FormerHolder::Attachment(_, pod) = &holding.holder else { panic!("{holding:?}") };
        let source = |source: &Source| match source {
            Source::Lease => "lease",
            Source::Revision(_) => "revision",
            Source::Attachment(_) => "attachment",
            Source::Log(_) => "log",
        };
        let time = |time: Option<Timestamp>| if time.is_some() { "t" } else { "?" };
        let sources: Vec<&str> = holding.sources.iter().map(source).collect();
        let (from, until) = (time(holding.from), time(holding.until));
        let end = holding.end.map_or("?", HoldingEnd::word);
        format!("{} {end}, {from}-{until}: {}", pod.label().unwrap(), sources.join("+"))
    };
    found.holdings.iter().map(line).collect()
}

/// A network of one address.
fn single(node: &Node, more: Value) -> Network<'_> {
    let mut ipam = json!({ "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.5" });
    ipam.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    node.network(ipam)
}

/// Three pods have the address after another, each for longer than the clock's precision.
fn three_pods(node: &Node) {
    let network = single(node, json!({}));
    for container in ["a", "b", "c"] {
        call(&network, "ADD", container);
        call(&network, "DEL", container);
    }
    call(&network, "ADD", "d");
    // In another routing domain, the address is another one.
    call(&single(node, json!({ "vrf": "red" })).with(json!({ "name": "red" })), "ADD", "r");
}

#[test]
fn each_earlier_holder_is_there_with_its_times_and_sources() {
    let on_each_store = |machines: &Machines, expected: [&str; 3], gap: &dyn Fn(&Gap) -> bool| {
        let node = machines.node();
        three_pods(&node);
        let found = earlier(&node, "default");
        assert_eq!(shown(&found), expected, "{found:#?}\n{}", node.log());
        let times: Vec<_> = found.holdings.iter().rev().flat_map(|holding| [holding.from, holding.until]).collect();
        assert!(times.is_sorted(), "{found:#?}");
        assert!(found.gaps.iter().any(|gap| matches!(gap, Gap::LogBegins(_))), "{:?}", found.gaps);
        assert!(found.gaps.iter().any(gap), "{:?}", found.gaps);
        // Without the log, only the store is left.
        fs::remove_file(node.path("kube-ipam.log")).unwrap();
        let stored = shown(&earlier(&node, "default"));
        let with_revision: Vec<String> =
            expected.iter().filter(|line| line.contains("revision")).map(|line| line.replace("+log", "")).collect();
        assert_eq!(stored, with_revision);
        assert_eq!(earlier(&node, "red").holdings, []);
    };
    let of_log = ["shop/pod-c released, t-t: log", "shop/pod-b released, t-t: log", "shop/pod-a released, t-t: log"];
    on_each_store(&Machines::embedded(), of_log, &|gap| *gap == Gap::NotKept);
    if let Some(machines) = Machines::etcd("each_earlier_holder_is_there_with_its_times_and_sources") {
        let of_both = of_log.map(|line| line.replace(": log", ": revision+log"));
        on_each_store(&machines, of_both.each_ref().map(String::as_str), &|gap| *gap == Gap::OtherNodes);
    }
}

#[test]
fn a_release_without_a_call_is_in_the_log_with_its_address() {
    let machines = Machines::embedded();
    let node = machines.node();
    let network = single(&node, json!({ "cooldown": "0s" }));
    call(&network, "ADD", "a");
    let mut release = Command::new(&node.plugin().path);
    release.env_clear().env("KUBE_IPAM_CONFIG", node.path("kube-ipam.json")).args(["release", "10.1.0.5", "--yes"]);
    assert!(release.output().unwrap().status.success());
    // Its DEL finds no address.
    call(&network, "DEL", "a");
    call(&network, "ADD", "b");
    assert_eq!(shown(&earlier(&node, "default")), ["shop/pod-a freed, t-t: log"], "{}", node.log());

    // A DEL cannot reach the store, and a later call does its work.
    let moved = node.path("elsewhere");
    fs::rename(node.path("addresses"), &moved).unwrap();
    fs::write(node.path("addresses"), "no folder").unwrap();
    call(&network, "DEL", "b");
    fs::remove_file(node.path("addresses")).unwrap();
    fs::rename(&moved, node.path("addresses")).unwrap();
    call(&network, "DEL", "other");
    let found = earlier(&node, "default");
    assert_eq!(shown(&found), ["shop/pod-b released, t-t: log", "shop/pod-a freed, t-t: log"], "{}", node.log());
}

#[test]
fn a_hostile_log_forges_no_holder() {
    let machines = Machines::embedded();
    let node = machines.node();
    let network = single(&node, json!({}));
    call(&network, "ADD", "a");
    call(&network, "DEL", "a");
    let lines = [
        // What a tenant can get into a message.
        r#"2026-11-23T04:58:57.316Z  WARN unknown key operation="ADD" network="blue" pod="x/forged" container="f" interface="eth0" addresses="10.1.0.5/24""#,
        r#"2026-11-23T04:58:57.316Z  INFO note operation="DEL" network="blue" container="f" interface="eth0" addresses="10.1.0.5""#,
        r#"2026-11-23T04:58:57.316Z  INFO operation="ADD" network="../../x" container="f" interface="eth0" addresses="10.1.0.5/24""#,
        r#"{"timestamp":"2026-11-23T04:58:57.316Z","level":"INFO","message":"freed by a sweep 10.1.0.5""#,
        "10.1.0.5 \u{1b}[2J\u{0}",
    ];
    let mut log = File::options().append(true).open(node.path("kube-ipam.log")).unwrap();
    writeln!(log, "{}", lines.join("\n")).unwrap();
    log.write_all(&vec![b'5'; 1 << 20]).unwrap();
    let found = earlier(&node, "default");
    assert_eq!(shown(&found), ["shop/pod-a released, t-t: lease+log"]);
    assert!(found.gaps.contains(&Gap::LogLines(2)), "{:?}", found.gaps);
}

#[test]
fn one_deadline_ends_all_sources_and_what_was_not_read_is_a_gap() {
    let Some(machines) = Machines::etcd("one_deadline_ends_all_sources_and_what_was_not_read_is_a_gap") else { return };
    let node = machines.node();
    three_pods(&node);
    let StoreConfig::Etcd(etcd) = node.store() else { panic!("{:?}", node.store()) };
    let port = etcd.urls[0].rsplit(':').next().unwrap().parse().unwrap();
    // It falls silent at once, or after the first request, which reads this node's attachments.
    for silent_from in [1, 2] {
        let proxy = Proxy::new(port, Fault::AnswerLost, silent_from).unwrap();
        let config = EtcdConfig { urls: vec![proxy.url()], ..etcd.clone() };
        let session = Session::open(StoreConfig::Etcd(config), None).unwrap();
        let began = Instant::now();
        let deadline = Deadline::after(Duration::from_secs(3));
        let ip = "10.1.0.5".parse().unwrap();
        let found = earlier_holders(&session, &settings(&node), &name("default"), ip, deadline);
        assert!(began.elapsed() < Duration::from_secs(6), "{silent_from}: {:?}", began.elapsed());
        // The log is not held up by the store. Without the lease, its last holder may be an earlier one as well.
        let released = shown(&found).iter().filter(|line| line.contains(" released, t-t: ")).count();
        assert_eq!(released, 3, "{silent_from}: {found:#?}");
        let is_of_store = |gap: &Gap| matches!(gap, Gap::Store(_) | Gap::Attachments(_) | Gap::Unfinished { .. });
        assert_eq!(found.gaps.iter().filter(|gap| is_of_store(gap)).count(), 1, "{silent_from}: {:?}", found.gaps);
    }
}
