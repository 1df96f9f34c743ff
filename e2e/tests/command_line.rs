//! The operator's command line, by the real binary: what a person reads, what a program reads, and what changes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use kube_ipam_e2e::node::{Network, Node, Plugin};
use kube_ipam_e2e::operator::{command, inhabited, printed, refused, run};
use serde_json::{Value, json};

fn node() -> Node {
    Node::new(Plugin::kube_ipam())
}

/// A network with a window for fixed addresses, whose random ones begin at one address alone.
fn network(node: &Node) -> Network<'_> {
    node.network(json!({
        "subnet": "10.1.0.0/24", "fixedStart": "10.1.0.10", "fixedEnd": "10.1.0.20",
        "rangeStart": "10.1.0.100", "rangeEnd": "10.1.0.100",
    }))
}

fn listed(node: &Node, args: &[&str]) -> Vec<Value> {
    let args: Vec<&str> = ["list", "-o", "json"].iter().chain(args).copied().collect();
    serde_json::from_str(&printed(node, &args)).unwrap()
}

fn addresses(listed: &[Value]) -> Vec<&str> {
    listed.iter().map(|one| one["address"].as_str().unwrap()).collect()
}

#[test]
fn list_prints_a_table_for_people() {
    let node = node();
    inhabited(network(&node));
    insta::with_settings!({filters => vec![(r"\d+s\n", "<age>\n")]}, {
        insta::assert_snapshot!(printed(&node, &["list"]), @r"
        ADDRESS     STATE    KIND    NETWORK  POD        INTERFACE  NODE    CONTAINER     SINCE
        10.1.0.18   held     fixed   blue     db/db-0    eth0       node-1  dadada012345  <age>
        10.1.0.100  resting  random  blue     web/web-1  eth0       node-1  c0ffee012345  <age>
        ");
    });
}

#[test]
fn list_prints_json_for_programs() {
    let node = node();
    inhabited(network(&node));
    insta::assert_json_snapshot!(listed(&node, &["--pod", "db-0"]), {
        "[].since" => "<time>",
        "[].holders[].began" => "<began>",
    }, @r#"
    [
      {
        "address": "10.1.0.18",
        "vrf": "default",
        "state": "held",
        "v": 1,
        "kind": "fixed",
        "holders": [
          {
            "node": "node-1",
            "containerID": "dadada0123456789",
            "ifname": "eth0",
            "network": "blue",
            "pod": {
              "namespace": "db",
              "name": "db-0",
              "uid": "u-1"
            },
            "began": "<began>"
          }
        ],
        "since": "<time>",
        "onRelease": {
          "rest": 30
        }
      }
    ]
    "#);
}

#[test]
fn list_shows_only_what_is_asked_for() {
    let node = node();
    inhabited(network(&node));
    for (args, expected) in [
        (vec!["--ip", "10.1.0.18"], vec!["10.1.0.18"]),
        (vec!["--ip", "::ffff:10.1.0.18"], vec!["10.1.0.18"]),
        (vec!["--pod", "db/db-0"], vec!["10.1.0.18"]),
        (vec!["--pod", "other/db-0"], vec![]),
        (vec!["--network", "blue"], vec!["10.1.0.18", "10.1.0.100"]),
        (vec!["--network", "red"], vec![]),
        // What is in cooldown is held by no node.
        (vec!["--node", "node-1", "--vrf", "default"], vec!["10.1.0.18"]),
        (vec!["--node", "node-1", "--pod", "other"], vec![]),
        (vec!["--ip", "10.1.0.18", "--vrf", "tenant"], vec![]),
        (vec!["--ip", "10.1.0.18", "--node", "node-2"], vec![]),
        (vec!["--node", "node-2"], vec![]),
        (vec!["--vrf", "tenant"], vec![]),
    ] {
        assert_eq!(addresses(&listed(&node, &args)), expected, "{args:?}");
    }
    assert_eq!(
        printed(&node, &["list", "--vrf", "tenant"]),
        "No addresses are held, reserved, in cooldown or foreign.\n"
    );
}

#[test]
fn looking_makes_no_store_where_there_is_none() {
    let node = node();
    let folder = node.path("addresses");
    let (status, text) = refused(&node, &["list"]);
    assert_eq!((status, folder.exists()), (1, false));
    assert!(text.contains("there is no store in") && text.contains("--data-dir"), "{text}");
}

#[test]
fn a_store_is_named_by_its_folder_or_by_a_network_s_config() {
    let node = node();
    inhabited(network(&node));
    let config = node.path("network.json");
    std::fs::write(&config, node.network_with_store(json!({})).config.to_string()).unwrap();
    let folder = node.path("addresses");
    let by_folder = ["--data-dir", folder.to_str().unwrap()];
    let by_config = ["--config", config.to_str().unwrap()];
    node.set_defaults(&json!({ "dataDir": node.path("elsewhere"), "blocksMaySet": ["store"] }));
    for args in [by_folder, by_config] {
        assert_eq!(addresses(&listed(&node, &args)), ["10.1.0.18", "10.1.0.100"], "{args:?}");
    }
    // Whoever runs it may look wherever they like; a config may not send them where no call would go.
    node.set_defaults(&json!({ "dataDir": node.path("elsewhere") }));
    assert_eq!(addresses(&listed(&node, &by_folder)), ["10.1.0.18", "10.1.0.100"]);
    let (status, text) = refused(&node, &["list", by_config[0], by_config[1]]);
    assert!(status == 1 && text.contains("ipam.dataDir: locked"), "{text}");
}

#[test]
fn a_reader_who_has_seen_enough_is_no_failure() {
    let node = node();
    inhabited(network(&node));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command(&node, &["list"]).stdout(writer).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn release_shows_the_holder_and_frees_nothing_without_yes() {
    let node = node();
    inhabited(network(&node));
    let output = run(&node, &["release", "10.1.0.18"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(
        shown.starts_with("10.1.0.18 is held by pod db/db-0, interface eth0, node node-1, network blue"),
        "{shown}"
    );
    assert!(String::from_utf8(output.stderr).unwrap().contains("run this again with --yes"));
    assert_eq!(listed(&node, &["--ip", "10.1.0.18"])[0]["state"], "held");
}

#[test]
fn a_released_address_is_free_and_its_old_holder_can_neither_claim_nor_free_it() {
    let node = node();
    let network = inhabited(network(&node));
    let old = || network.call("ADD", "dadada0123456789").args("IP=10.1.0.18").run();
    assert!(printed(&node, &["release", "10.1.0.18", "--yes"]).ends_with("10.1.0.18 is free now.\n"));
    let new = network.call("ADD", "new").args("IP=10.1.0.18").run();
    assert_eq!(new.ok().address(), "10.1.0.18/24");
    let claim = old().refused();
    assert_eq!(claim.code(), 11, "{}", claim.text());
    network.del("dadada0123456789").ok();
    assert_eq!(listed(&node, &["--ip", "10.1.0.18"])[0]["holders"][0]["containerID"], "new");
}

#[test]
fn releasing_an_address_in_cooldown_ends_the_cooldown() {
    let node = node();
    let network = inhabited(network(&node));
    printed(&node, &["release", "10.1.0.100", "--yes"]);
    assert_eq!(addresses(&listed(&node, &[])), ["10.1.0.18"]);
    assert_eq!(printed(&node, &["release", "10.1.0.100"]), "10.1.0.100 is free already.\n");
    assert_eq!(network.add("next").ok().address(), "10.1.0.100/24");
}

#[test]
fn the_predecessor_s_flags_keep_working() {
    let node = node();
    let version = format!("kube-ipam {}\n", env!("CARGO_PKG_VERSION"));
    for flag in ["version", "-version", "--version"] {
        assert_eq!(printed(&node, &[flag]), version);
    }
    assert!(printed(&node, &["-help"]).contains("Usage: kube-ipam <COMMAND>"));
}

#[test]
fn a_wrong_argument_is_reported_on_standard_error_with_status_2() {
    let node = node();
    let (status, text) = refused(&node, &["lsit"]);
    assert_eq!(status, 2);
    assert!(text.contains("'list'"), "{text}");
}

#[test]
fn usage_shows_how_full_each_range_is() {
    let node = node();
    assert_eq!(refused(&node, &["usage"]).0, 1);
    inhabited(network(&node));
    insta::assert_snapshot!(printed(&node, &["usage"]), @r"
    NETWORK  VRF      SUBNET       RANGE    SIZE  HELD  RESERVED  RESTING  FOREIGN  FREE  RUN
    blue     default  10.1.0.0/24  dynamic  1     0     0         1        0        0     0
    blue     default  10.1.0.0/24  fixed    11    1     0         0        0        10    8
    ");
    assert_eq!(printed(&node, &["usage", "--network", "red"]), "No network is known yet, and no address is held.\n");
    let mut ranges: Value = serde_json::from_str(&printed(&node, &["usage", "-o", "json"])).unwrap();
    let expected = json!({
        "vrf": "default", "network": "blue", "subnet": "10.1.0.0/24", "range": "fixed",
        "size": 11, "held": 1, "reserved": 0, "resting": 0, "foreign": 0, "free": 10,
        "largestRun": { "from": "10.1.0.10", "to": "10.1.0.17", "count": 8 }, "trend": { "state": "unknown" },
    });
    // Which addresses no pod gets is in usage.rs.
    ranges[1].as_object_mut().unwrap().remove("neverAssigned").unwrap();
    assert_eq!(ranges[1], expected);
}

#[test]
fn usage_counts_for_prometheus() {
    let node = node();
    inhabited(network(&node));
    insta::assert_snapshot!(printed(&node, &["usage", "-o", "prometheus"]), @r#"
    # HELP kube_ipam_addresses Addresses that are held, reserved, in cooldown or foreign
    # TYPE kube_ipam_addresses gauge
    kube_ipam_addresses{vrf="default",network="blue",subnet="10.1.0.0/24",range="dynamic",kind="dynamic",state="resting",namespace=""} 1
    kube_ipam_addresses{vrf="default",network="blue",subnet="10.1.0.0/24",range="fixed",kind="fixed",state="held",namespace="db"} 1
    # HELP kube_ipam_range_addresses Addresses that a range has to give
    # TYPE kube_ipam_range_addresses gauge
    kube_ipam_range_addresses{vrf="default",network="blue",subnet="10.1.0.0/24",range="dynamic"} 1.0
    kube_ipam_range_addresses{vrf="default",network="blue",subnet="10.1.0.0/24",range="fixed"} 11.0
    # HELP kube_ipam_unreadable_leases Leases that this version can't read; their addresses count as held
    # TYPE kube_ipam_unreadable_leases gauge
    # EOF
    "#);
}
