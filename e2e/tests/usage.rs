//! `kube-ipam usage` and its maps by the real binary, on each store and on terminals.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Output};
use std::time::Duration;

use kube_ipam::deadline::Deadline;
use kube_ipam::ipam::keys;
use kube_ipam::ipam::name::Name;
use kube_ipam::ops::Session;
use kube_ipam::store::{Key, Op, StoreConfig, Txn};
use kube_ipam_e2e::machines::{self, Machines};
use kube_ipam_e2e::node::Node;
use kube_ipam_e2e::{fill, operator, pty};
use serde_json::{Value, json};

/// The lease of an address in a state.
fn lease(state: &str) -> Value {
    let holder = json!({
        "node": "worker-1", "containerID": "c0ffee0123456789", "ifname": "net1", "network": "db-net",
        "pod": { "namespace": "database", "name": "db-0", "uid": "u" }, "began": { "boot": "b", "boottime": 1 },
    });
    let mut lease = json!({
        "v": 1, "kind": "dynamic", "holders": [holder], "since": "2026-11-01T10:00:00Z", "onRelease": { "rest": 30 },
    });
    match state {
        "held" => {}
        "resting" => lease["rest"] = json!({ "released": "2026-11-01T11:00:00Z", "seconds": 4_000_000_000_u32 }),
        "reserved" => {
            lease["kind"] = json!("sticky");
            lease["unused"] = json!("2026-11-01T12:00:00Z");
            lease["onRelease"] = json!({ "keep": null });
            lease["owner"] =
                json!({ "kind": "StatefulSet", "namespace": "database", "name": "db", "uid": "u", "pod": "db-1" });
        }
        "foreign" => {
            lease["holders"] = json!([]);
            lease["foreign"] = json!({
                "mac": "02:42:ac:11:00:07", "network": "db-net", "node": "worker-1", "answered": "2999-11-01T09:00:00Z",
            });
        }
        _ => lease["v"] = json!(99),
    }
    lease
}

const STATES: [(&str, &str); 7] = [
    ("10.188.0.10", "held"),
    ("10.188.0.12", "resting"),
    ("10.188.0.20", "held"),
    ("10.188.0.21", "held"),
    ("10.188.0.22", "reserved"),
    ("10.188.0.40", "foreign"),
    ("10.188.0.41", "resting"),
];

/// A network with fixed and random addresses, a pool and holes, as an ADD stores it; with leases of every state.
fn plant(store: &StoreConfig) {
    let definition = json!({ "v": 1, "sets": [
        [{
            "subnet": "10.188.0.0/24", "fixed": "10.188.0.10-10.188.0.19", "gateway": "10.188.0.1",
            "dynamic": "10.188.0.20-10.188.0.63,10.188.0.72-10.188.0.127", "exclude": "10.188.0.64-10.188.0.71",
            "pools": { "primaries": "10.188.0.130-10.188.0.133" },
        }],
        [{ "subnet": "fd00::/64", "dynamic": "fd00::2-fd00::ffff:ffff:ffff:ffff", "gateway": "fd00::1" }],
    ] });
    let net = Key::new("net/default/db-net/00000000000000000000000000000001");
    let leases = STATES.into_iter().chain([("fd00::5", "held"), ("fd00::1:0", "held")]);
    let puts = leases.map(|(ip, state)| {
        let key = keys::lease(&Name::new("default").unwrap(), ip.parse::<IpAddr>().unwrap());
        Op::Put(key, lease(state).to_string().into_bytes())
    });
    let operations = puts.chain([Op::Put(net, definition.to_string().into_bytes())]).collect();
    commit(store, operations);
}

fn commit(store: &StoreConfig, operations: Vec<Op>) {
    let session = Session::open(store.clone(), None).unwrap();
    let txn = Txn::new(Vec::new(), operations, Vec::new()).unwrap();
    session.commit(&txn, Deadline::after(Duration::from_secs(30))).unwrap();
}

fn on_each_store(test: &str, case: impl Fn(&Node)) {
    machines::on_each_store(test, |node| {
        plant(&node.store());
        case(node);
    });
}

/// A command that knows no networks but those of the store.
fn command(node: &Node, args: &[&str]) -> Command {
    let mut command = operator::command(node, args);
    if ["--map", "--free"].iter().any(|option| args.contains(option)) {
        command.arg("--cni-dir").arg(node.path("no-networks"));
    }
    command
}

fn run(node: &Node, args: &[&str]) -> Output {
    command(node, args).output().unwrap()
}

/// What a successful run prints.
#[track_caller]
fn printed(node: &Node, args: &[&str]) -> String {
    operator::printed_by(&mut command(node, args))
}

fn on_terminal(args: &[&str], columns: u16, environment: &[(&str, &str)]) -> String {
    let node = Machines::embedded().node();
    plant(&node.store());
    let printed = pty::run(command(&node, args).envs(environment.iter().copied()), columns).unwrap();
    assert!(printed.status.success(), "{}", printed.text);
    printed.text
}

#[test]
fn usage_counts_every_state_and_finds_the_largest_free_run() {
    on_each_store("usage_counts_every_state_and_finds_the_largest_free_run", |node| {
        insta::allow_duplicates! {
            insta::assert_snapshot!("table", printed(node, &["usage"]));
        }
        let ranges: Value = serde_json::from_str(&printed(node, &["usage", "-o", "json"])).unwrap();
        let yaml: Value =
            serde_saphyr::from_str(&printed(node, &["usage", "-o", "yaml", "--network", "db-net"])).unwrap();
        assert_eq!(ranges[0]["largestRun"], json!({ "from": "10.188.0.72", "to": "10.188.0.127", "count": 56 }));
        assert_eq!(ranges[0]["neverAssigned"][3]["why"], "it is excluded by 10.188.0.64-10.188.0.71");
        assert_eq!(yaml[0], ranges[0]);
        assert_eq!(printed(node, &["usage", "-o", "name"]), "db-net\n");
        assert_eq!(printed(node, &["usage", "--vrf", "tenant"]), "No network is known yet, and no address is held.\n");
        assert!(printed(node, &["usage", "-o", "wide"]).contains("10.188.0.64-10.188.0.71 (it is excluded by"));
    });
}

#[test]
fn a_range_that_fills_says_when_it_is_full() {
    on_each_store("a_range_that_fills_says_when_it_is_full", |node| {
        let trend = || {
            let ranges: Value = serde_json::from_str(&printed(node, &["usage", "-o", "json"])).unwrap();
            ranges[0]["trend"].clone()
        };
        assert_eq!(trend(), json!({ "state": "unknown" }));
        let since = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(48);
        for (used, state) in [(3, "growing"), (6, "notGrowing")] {
            let samples = json!([{ "at": since.to_string(), "used": { "10.188.0.0/24 dynamic": used } }]);
            let history = json!({ "v": 1, "samples": samples }).to_string().into_bytes();
            commit(&node.store(), vec![Op::Put(Key::new("use/default/db-net"), history)]);
            assert_eq!((&trend()["state"], &trend()["since"]), (&json!(state), &json!(since.to_string())));
        }
        let samples = json!([{ "at": since.to_string(), "used": { "10.188.0.0/24 dynamic": 1 } }]);
        let history = json!({ "v": 1, "samples": samples }).to_string().into_bytes();
        commit(&node.store(), vec![Op::Put(Key::new("use/default/db-net"), history)]);
        // Four more in two days, and 95 are free.
        let days = trend()["days"].as_f64().unwrap();
        assert!((days - 47.5).abs() < 0.1, "{days}");
    });
}

#[test]
fn free_addresses_are_those_that_a_pod_can_get() {
    on_each_store("free_addresses_are_those_that_a_pod_can_get", |node| {
        insta::allow_duplicates! {
            insta::assert_snapshot!("free", printed(node, &["list", "--free", "10.188.0.0/24"]));
        }
        let spans: Value =
            serde_json::from_str(&printed(node, &["list", "--free", "fd00::/120", "-o", "json"])).unwrap();
        let from_to: Vec<(&str, &str)> = spans
            .as_array()
            .unwrap()
            .iter()
            .map(|span| (span["from"].as_str().unwrap(), span["to"].as_str().unwrap()))
            .collect();
        assert_eq!(from_to, [("fd00::2", "fd00::4"), ("fd00::6", "fd00::ff")]);
        // The same judgement as that of explain, address by address.
        let names = printed(node, &["list", "--free", "10.188.0.0/26", "-o", "name"]);
        let free: Vec<kube_ipam::ipam::address::Span> = names.lines().map(|line| line.parse().unwrap()).collect();
        for last in [1, 2, 10, 11, 19, 20, 23, 39, 63] {
            let ip = Ipv4Addr::new(10, 188, 0, last);
            let explained = printed(node, &["explain", &ip.to_string()]);
            let is_free =
                explained.contains("is free: a pod can get it") || explained.contains("is free, but only for a pod");
            assert_eq!(free.iter().any(|span| span.contains(ip.into())), is_free, "{explained}");
        }
        let output = run(node, &["list", "--free", "192.0.2.0/24"]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(1) && text.contains("no known network has a subnet in 192.0.2.0-192.0.2.255"),
            "{text}"
        );
    });
}

#[test]
fn what_list_says_is_free_a_pod_gets_and_nothing_else() {
    let node = Machines::embedded().node();
    let network = node.network(json!({
        "subnet": "10.1.0.0/28", "rangeStart": "10.1.0.4", "rangeEnd": "10.1.0.12", "exclude": ["10.1.0.6"], "cooldown": "1h",
    }));
    network.add("first").ok();
    let released = network.add("second").ok().address();
    network.del("second").ok();
    let names = printed(&node, &["list", "--free", "10.1.0.0/28", "-o", "json"]);
    let spans: Vec<Value> = serde_json::from_str(&names).unwrap();
    for last in 0..16 {
        let ip = Ipv4Addr::new(10, 1, 0, last);
        let holding = spans.iter().find(|span| {
            let end = |key: &str| span[key].as_str().unwrap().parse::<Ipv4Addr>().unwrap();
            (end("from")..=end("to")).contains(&ip)
        });
        let by_request = holding.is_some_and(|span| span["networks"][0]["request"] == true);
        let add = network.call("ADD", "asks").args(&format!("IP={ip}")).run();
        assert_eq!(add.status.success(), by_request, "{ip}: {}", add.text());
        if add.status.success() {
            network.del("asks").ok();
            printed(&node, &["release", &ip.to_string(), "--yes"]);
        }
    }
    let resting = spans.iter().find(|span| released.starts_with(&format!("{}/", span["from"].as_str().unwrap())));
    assert_eq!(resting.map(|span| (&span["networks"][0]["random"], &span["count"])), Some((&json!(false), &json!(1))));
}

#[test]
fn a_map_shows_each_address_of_a_small_network() {
    on_each_store("a_map_shows_each_address_of_a_small_network", |node| {
        insta::allow_duplicates! {
            insta::assert_snapshot!("map_of_addresses", printed(node, &["usage", "--map", "10.188.0.0/24"]));
        }
        let maps: Value =
            serde_json::from_str(&printed(node, &["usage", "--map", "10.188.0.0/24", "-o", "json"])).unwrap();
        assert_eq!((&maps[0]["blockSize"], maps[0]["blocks"].as_array().unwrap().len()), (&json!(1), 256));
        assert_eq!(maps[0]["total"]["resting"], 2);
        let yaml: Value =
            serde_saphyr::from_str(&printed(node, &["usage", "--map", "10.188.0.0/24", "-o", "yaml"])).unwrap();
        assert_eq!(yaml, maps);
    });
    let node = Machines::embedded().node();
    plant(&node.store());
    assert_eq!(
        printed(&node, &["usage", "--map", "192.0.2.0/24"]),
        "No known network has an address of 192.0.2.0/24, and no address of it has a lease.\n"
    );
    for (args, expected) in [
        (["usage", "--map", "10.188.0.5/24"], "has host bits set; the network is 10.188.0.0/24"),
        (["usage", "--map", "10.188.0.0"], "is not a network in CIDR notation"),
    ] {
        let output = run(&node, &args);
        assert!(String::from_utf8_lossy(&output.stderr).contains(expected), "{output:?}");
    }
    let output = run(&node, &["usage", "--map", "10.188.0.0/24", "-o", "wide"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("a map is drawn, or printed with -o json or -o yaml"));
}

#[test]
fn a_map_of_an_ipv6_network_says_where_to_look_closer() {
    insta::assert_snapshot!(on_terminal(&["usage", "--map", "fd00::/64"], 80, &[("NO_COLOR", "1")]));
}

#[test]
fn a_terminal_of_80_columns_shows_bars() {
    let text = on_terminal(&["usage"], 80, &[("NO_COLOR", "1")]);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_terminal_of_200_columns_shows_bars() {
    insta::assert_snapshot!(on_terminal(&["usage"], 200, &[("NO_COLOR", "1")]));
}

#[test]
fn a_map_takes_the_room_of_its_terminal() {
    let node = Machines::embedded().node();
    plant(&node.store());
    let definition = json!({ "v": 1, "sets": [[{ "subnet": fill::SUBNET, "dynamic": "10.188.0.2-10.188.239.255", "gateway": "10.188.0.1" }]] });
    let net = Key::new("net/default/blue/00000000000000000000000000000001");
    commit(&node.store(), vec![Op::Put(net, definition.to_string().into_bytes())]);
    fill::store(&node.store(), fill::addresses(32_000).filter(|ip| ip.octets()[2] >= 32)).unwrap();
    let drawn = |columns| {
        let mut command = command(&node, &["usage", "--map", "10.188.0.0/16"]);
        pty::run(command.env("NO_COLOR", "1"), columns).unwrap().text
    };
    let rows = |text: &str| text.lines().filter(|line| line.starts_with("10.188.") && !line.contains("in vrf")).count();
    let (narrow, wide) = (drawn(80), drawn(200));
    assert!(
        narrow.starts_with("10.188.0.0/16 in vrf default: each character is a block of 32 addresses\n"),
        "{narrow}"
    );
    assert!(wide.starts_with("10.188.0.0/16 in vrf default: each character is a block of 16 addresses\n"), "{wide}");
    assert_eq!((rows(&narrow), rows(&wide)), (32, 32));
    for (text, columns) in [(&narrow, 80), (&wide, 200)] {
        assert!(text.lines().all(|line| line.chars().count() <= columns), "{text}");
    }
    insta::assert_snapshot!(narrow);
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    for args in [["usage"].as_slice(), &["usage", "--map", "10.188.0.0/24"]] {
        let escapes = |environment: &[(&str, &str)]| on_terminal(args, 100, environment).contains('\u{1b}');
        assert!(escapes(&[("TERM", "xterm")]), "{args:?}");
        assert!(!escapes(&[("TERM", "xterm"), ("NO_COLOR", "1")]), "{args:?}");
        assert!(!escapes(&[("TERM", "dumb")]), "{args:?}");
    }
}

#[test]
fn a_reader_who_has_seen_enough_is_no_failure() {
    let node = Machines::embedded().node();
    plant(&node.store());
    for args in [
        ["usage", "-o", "table"].as_slice(),
        &["usage", "-o", "wide"],
        &["usage", "-o", "yaml"],
        &["usage", "-o", "name"],
        &["usage", "--map", "10.188.0.0/24"],
        &["usage", "--map", "10.188.0.0/24", "-o", "json"],
        &["list", "--free", "10.188.0.0/24"],
        &["list", "--free", "10.188.0.0/24", "-o", "name"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command(&node, args).stdout(writer).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
    }
}
