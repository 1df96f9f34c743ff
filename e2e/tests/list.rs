//! `kube-ipam list` by the real binary: filters, the order, and the formats, on each store.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::net::IpAddr;
use std::time::Duration;

use kube_ipam::deadline::Deadline;
use kube_ipam::ipam::keys;
use kube_ipam::ipam::name::Name;
use kube_ipam::ops::Session;
use kube_ipam::store::{Op, StoreConfig, Txn};
use kube_ipam_e2e::machines::{self, Machines};
use kube_ipam_e2e::node::Node;
use kube_ipam_e2e::operator::{command, printed, run};
use kube_ipam_e2e::pty;
use serde_json::{Value, json};

/// A lease as an ADD stores it.
fn held(node: &str, network: &str, pod: &str, workload: &str, kind: &str, since: &str) -> Value {
    let (namespace, name) = pod.split_once('/').unwrap();
    let holder = json!({
        "node": node, "containerID": format!("c0ffee0123456789{name}"), "ifname": "net1", "network": network,
        "pod": { "namespace": namespace, "name": name, "uid": format!("uid-{name}") }, "workload": workload,
        "began": { "boot": "b", "boottime": 1 },
    });
    json!({ "v": 1, "kind": kind, "holders": [holder], "since": since, "onRelease": { "rest": 30 } })
}

/// Leases of every state and kind, in two routing domains and both families.
fn leases() -> Vec<(&'static str, &'static str, Value)> {
    let mut resting = held("worker-2", "web-net", "shop/web-2", "Deployment web", "dynamic", "2026-11-01T10:00:02Z");
    resting["rest"] = json!({ "released": "2026-11-01T11:00:00Z", "seconds": 30 });
    let mut reserved = held("worker-1", "db-net", "database/db-1", "StatefulSet db", "sticky", "2026-11-01T10:00:03Z");
    reserved["owner"] =
        json!({ "kind": "StatefulSet", "namespace": "database", "name": "db", "uid": "u", "pod": "db-1" });
    reserved["onRelease"] = json!({ "keep": 86400 });
    reserved["unused"] = json!("2026-11-01T12:00:00Z");
    let foreign = json!({
        "v": 1, "kind": "dynamic", "holders": [], "since": "2026-11-01T09:00:00Z", "onRelease": "forget",
        "foreign": { "mac": "02:42:ac:11:00:07", "network": "db-net", "node": "worker-1", "answered": "2026-11-01T09:00:00Z" },
    });
    vec![
        (
            "default",
            "10.188.0.9",
            held("worker-1", "db-net", "database/db-0", "StatefulSet db", "fixed", "2026-11-01T10:00:00Z"),
        ),
        (
            "default",
            "10.188.0.10",
            held("worker-2", "web-net", "shop/web-1", "Deployment web", "dynamic", "2026-11-01T08:00:00Z"),
        ),
        ("default", "10.188.0.100", resting),
        ("default", "10.188.1.2", reserved),
        ("default", "10.188.1.10", foreign),
        ("default", "10.188.1.11", json!({ "v": 99 })),
        (
            "default",
            "fd00::9",
            held("worker-1", "db-net", "database/db-0", "StatefulSet db", "fixed", "2026-11-01T10:00:00Z"),
        ),
        (
            "default",
            "fd00::10",
            held("worker-3", "web-net", "shop/web-3", "Deployment web", "dynamic", "2026-11-01T10:00:04Z"),
        ),
        ("tenant-a", "10.188.0.9", held("worker-3", "lan", "tenant/app", "Job app", "dynamic", "2026-11-01T10:00:05Z")),
    ]
}

fn plant(store: &StoreConfig) {
    let session = Session::open(store.clone(), None).unwrap();
    let puts = leases().into_iter().map(|(vrf, ip, lease)| {
        let key = keys::lease(&Name::new(vrf).unwrap(), ip.parse::<IpAddr>().unwrap());
        Op::Put(key, lease.to_string().into_bytes())
    });
    // The entry of a node's attachment says which leases to read.
    let attachment = json!({
        "v": 1, "vrf": "default", "addresses": [{ "address": "10.188.0.9/16" }, { "address": "fd00::9/64" }],
    });
    let key = kube_ipam::store::Key::new("at/worker-1/c0ffee0123456789db-0/net1/db-net");
    let definition = json!({ "v": 1, "sets": [[{
        "subnet": "10.188.0.0/16", "dynamic": "10.188.0.50-10.188.255.254", "pools": { "primaries": "10.188.1.2-10.188.1.9" },
    }]] });
    let net = kube_ipam::store::Key::new("net/default/db-net/00000000000000000000000000000001");
    let others = [Op::Put(key, attachment.to_string().into_bytes()), Op::Put(net, definition.to_string().into_bytes())];
    let txn = Txn::new(Vec::new(), puts.chain(others).collect(), Vec::new()).unwrap();
    session.commit(&txn, Deadline::after(Duration::from_secs(30))).unwrap();
}

fn on_each_store(test: &str, case: impl Fn(&Node)) {
    machines::on_each_store(test, |node| {
        plant(&node.store());
        case(node);
    });
}

/// The addresses that a listing with these options has.
#[track_caller]
fn names(node: &Node, options: &str) -> Vec<String> {
    let options: Vec<&str> = options.split_whitespace().collect();
    printed(node, &[&["list", "-o", "name"], options.as_slice()].concat()).lines().map(str::to_owned).collect()
}

const ALL: [&str; 9] = [
    "10.188.0.9",
    "10.188.0.10",
    "10.188.0.100",
    "10.188.1.2",
    "10.188.1.10",
    "10.188.1.11",
    "fd00::9",
    "fd00::10",
    "10.188.0.9",
];

#[test]
fn addresses_come_in_the_order_of_their_numbers_and_options_choose_among_them() {
    on_each_store("addresses_come_in_the_order_of_their_numbers_and_options_choose_among_them", |node| {
        assert_eq!(names(node, ""), ALL);
        for (options, expected) in [
            ("--vrf tenant-a", vec!["10.188.0.9"]),
            ("--vrf tenant-a,default --ip 10.188.0.9", vec!["10.188.0.9", "10.188.0.9"]),
            ("--network lan,db-net", vec!["10.188.0.9", "10.188.1.2", "10.188.1.10", "fd00::9", "10.188.0.9"]),
            (
                "--network lan --network db-net --vrf default",
                vec!["10.188.0.9", "10.188.1.2", "10.188.1.10", "fd00::9"],
            ),
            ("--range 10.188.1.0/24", vec!["10.188.1.2", "10.188.1.10", "10.188.1.11"]),
            (
                "--range 10.188.0.10-10.188.1.2,fd00::/64",
                vec!["10.188.0.10", "10.188.0.100", "10.188.1.2", "fd00::9", "fd00::10"],
            ),
            // A range that contains another one shows nothing twice.
            (
                "--range 10.188.0.0/24 --range 10.188.0.8-10.188.0.20 --vrf default",
                vec!["10.188.0.9", "10.188.0.10", "10.188.0.100"],
            ),
            ("--range 10.188.0.8/30 --ip fd00::10 --vrf default", vec!["10.188.0.9", "10.188.0.10", "fd00::10"]),
            ("--ip 10.188.0.100,fd00::9", vec!["10.188.0.100", "fd00::9"]),
            ("--pool primaries", vec!["10.188.1.2"]),
            ("--pool primaries --range 10.188.1.3-10.188.1.9", vec![]),
            ("--pool primaries --ip 10.188.1.2,10.188.0.9", vec!["10.188.1.2"]),
            ("--pool primaries --node worker-1", vec![]),
            ("--pool primaries --node worker-1 --state reserved", vec!["10.188.1.2"]),
            ("--pool other", vec![]),
            ("--pool other --ip 10.188.1.2", vec![]),
            ("--namespace shop,tenant", vec!["10.188.0.10", "10.188.0.100", "fd00::10", "10.188.0.9"]),
            ("--pod db-0", vec!["10.188.0.9", "fd00::9"]),
            ("--pod shop/web-1,database/db-1", vec!["10.188.0.10", "10.188.1.2"]),
            ("--node worker-1", vec!["10.188.0.9", "fd00::9"]),
            ("--node worker-1 --range fd00::/64", vec!["fd00::9"]),
            ("--node worker-1 --state reserved,foreign", vec!["10.188.1.2", "10.188.1.10"]),
            (
                "--node worker-2,worker-1 --state held,resting",
                vec!["10.188.0.9", "10.188.0.10", "10.188.0.100", "fd00::9"],
            ),
            ("--state resting", vec!["10.188.0.100"]),
            ("--state unreadable", vec!["10.188.1.11"]),
            ("--kind fixed", vec!["10.188.0.9", "fd00::9"]),
            ("--kind random,sticky --vrf default", vec!["10.188.0.10", "10.188.0.100", "10.188.1.2", "fd00::10"]),
            ("--owner statefulset/db", vec!["10.188.0.9", "10.188.1.2", "fd00::9"]),
            ("--owner database/db-1", vec!["10.188.1.2"]),
            ("--owner deploy/shop/web", vec!["10.188.0.10", "10.188.0.100", "fd00::10"]),
            ("--owner claim/db", vec![]),
            ("--sort since --vrf default --state held", vec!["10.188.0.10", "10.188.0.9", "fd00::9", "fd00::10"]),
            ("--sort pod --kind random", vec!["10.188.0.10", "10.188.0.100", "fd00::10", "10.188.0.9"]),
            ("--sort node --state held", vec!["10.188.0.9", "fd00::9", "10.188.0.10", "fd00::10", "10.188.0.9"]),
        ] {
            assert_eq!(names(node, options), expected, "{options}");
        }
    });
}

#[test]
fn json_and_yaml_have_the_same_elements() {
    on_each_store("json_and_yaml_have_the_same_elements", |node| {
        let json: Value = serde_json::from_str(&printed(node, &["list", "-o", "json"])).unwrap();
        let yaml: Value = serde_saphyr::from_str(&printed(node, &["list", "-o", "yaml"])).unwrap();
        assert_eq!(json.as_array().unwrap().len(), ALL.len());
        assert_eq!(json, yaml);
        assert_eq!(printed(node, &["list", "-o", "yaml", "--pod", "nobody"]), "[]\n");
        assert_eq!(printed(node, &["list", "-o", "name", "--pod", "nobody"]), "");
    });
}

#[test]
fn a_name_is_fit_for_xargs() {
    let node = Machines::embedded().node();
    plant(&node.store());
    let names = printed(&node, &["list", "-o", "name", "--vrf", "default"]);
    for name in names.lines() {
        let explained = printed(&node, &["explain", name]);
        assert!(explained.contains(&format!("\n{name} ")) || explained.starts_with(&format!("{name} ")), "{explained}");
    }
}

#[test]
fn options_that_mean_nothing_are_refused() {
    let node = Machines::embedded().node();
    plant(&node.store());
    for (args, expected) in [
        (["--range", "10.188.0.1/16"], "has host bits set; the network is 10.188.0.0/16"),
        (["--range", "10.188.0.9-10.188.0.1"], "does not run from a lower to a higher address"),
        (["--owner", "a/b/c/d"], "is not an owner: write NAME, NAMESPACE/NAME, KIND/NAME or KIND/NAMESPACE/NAME"),
        (["--state", "free"], "[possible values: held, reserved, resting, foreign, unreadable]"),
        (["--network", "a/b"], "is not a valid name"),
    ] {
        let output = run(&node, &[&["list"], args.as_slice()].concat());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && text.contains(expected), "{args:?}: {text}");
    }
}

#[test]
fn a_reader_who_has_seen_enough_is_no_failure_in_any_format() {
    let node = Machines::embedded().node();
    plant(&node.store());
    for format in ["table", "wide", "json", "yaml", "name"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command(&node, &["list", "-o", format]).stdout(writer).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{format}: {output:?}");
    }
}

/// What a terminal of this width shows, with the ages left out.
fn on_terminal(args: &[&str], columns: u16) -> String {
    let node = Machines::embedded().node();
    plant(&node.store());
    let printed = pty::run(&mut command(&node, args), columns).unwrap();
    assert!(printed.status.success(), "{}", printed.text);
    printed.text
}

#[test]
fn a_terminal_of_80_columns_shows_every_column() {
    let text = on_terminal(&["list"], 80);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    insta::with_settings!({filters => vec![(r"\d+[smhd]\n", "<age>\n")]}, {
        insta::assert_snapshot!(text);
    });
}

#[test]
fn a_terminal_of_200_columns_shows_each_address_on_one_line() {
    let text = on_terminal(&["list"], 200);
    assert_eq!(text.lines().count(), ALL.len() + 1, "{text}");
    assert_eq!(text.lines().count(), on_terminal(&["list", "-o", "wide"], 300).lines().count());
    insta::with_settings!({filters => vec![(r"\d+[smhd]\n", "<age>\n")]}, {
        insta::assert_snapshot!(text);
    });
}
