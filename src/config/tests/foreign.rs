//! Keys that are nearly known, and those of other plugins.

use insta::assert_snapshot;
use serde_json::json;

use super::{NO_DEFAULTS, config, load_for, loaded, table, with_subnet};
use crate::config::document::{Document, IpamBlock, NodeOnly, RangeBlock};
use crate::config::foreign::FOREIGN;
use crate::config::{Problem, Purpose};
use crate::ipam::near_miss::nearest;

#[test]
fn a_key_made_of_the_words_of_a_known_one_is_a_near_miss() {
    for (written, meant) in [
        ("startRange", Some("rangeStart")),
        ("start_range", Some("rangeStart")),
        ("END-RANGE", Some("rangeEnd")),
        ("range_start", Some("rangeStart")),
        ("startfixed", Some("fixedStart")),
        ("DirData", Some("dataDir")),
        ("configEtcd", Some("etcdConfig")),
        ("maySetBlocks", Some("blocksMaySet")),
        ("exclud", Some("exclude")),
        ("subnets", Some("subnet")),
        // Other words, or one of them twice.
        ("startOfRange", None),
        ("rangeStartStart", None),
        ("rangeMiddle", None),
        ("isDefaultGateway", None),
    ] {
        let known = [IpamBlock::KEYS, NodeOnly::KEYS].concat();
        assert_eq!(nearest(written, &known), meant, "{written}");
    }
}

#[test]
fn a_known_key_is_no_near_miss_of_another_and_no_key_of_another_plugin() {
    for keys in [[IpamBlock::KEYS, NodeOnly::KEYS].concat(), RangeBlock::KEYS.to_vec()] {
        for key in &keys {
            assert!(FOREIGN.iter().all(|foreign| !foreign.key.eq_ignore_ascii_case(key)), "{key}");
        }
    }
}

#[test]
fn a_key_by_which_another_plugin_chooses_the_address_fails_an_add_and_says_what_to_write() {
    let whereabouts = json!({ "range": "10.1.0.0/24", "range_start": "10.1.0.9", "range_end": "10.1.0.20" });
    assert_snapshot!(table([
        whereabouts,
        json!({ "ipRanges": [{ "range": "10.1.0.0/24" }] }),
        json!({ "ranges": [[{ "range": "10.1.0.0/24" }]] }),
        with_subnet(json!({ "addresses": [{ "address": "10.1.0.5/24" }] })),
        with_subnet(json!({ "IPv4_Pools": ["pool"] })),
        with_subnet(json!({ "default_ipv4_ippool": ["pool"] })),
    ]).replace("; (", ";\n("), @r#"
    4 mistakes: (1) ipam.range: a key of whereabouts, unknown here; write instead: "subnet", with "rangeStart" and "rangeEnd" for a part of it;
    (2) ipam.range_start: a key of whereabouts, unknown here; write instead: "rangeStart";
    (3) ipam.range_end: a key of whereabouts, unknown here; write instead: "rangeEnd";
    (4) ipam: no ranges; set "subnet", or "ranges"
    2 mistakes: (1) ipam.ipRanges: a key of whereabouts, unknown here; write instead: "ranges", a list of lists: [[{"subnet": …}], [{"subnet": …}]];
    (2) ipam: no ranges; set "subnet", or "ranges"
    2 mistakes: (1) ipam.ranges[0][0].range: a key of whereabouts, unknown here; write instead: "subnet", with "rangeStart" and "rangeEnd" for a part of it;
    (2) ipam.ranges[0][0].subnet: missing; a range needs its subnet in CIDR notation, such as "10.1.0.0/16"
    ipam.addresses: a key of static, unknown here; write instead: "subnet", and the address in the pod's annotation kube-ipam.<interface>.ip
    ipam.IPv4_Pools: a key of calico-ipam, unknown here; write instead: "subnet", with "rangeStart" and "rangeEnd" for a part of it
    ipam.default_ipv4_ippool: a key of spiderpool, unknown here; write instead: "subnet", with "rangeStart" and "rangeEnd" for a part of it
    "#);
    for foreign in FOREIGN.iter().filter(|foreign| foreign.decides) {
        let block = with_subnet(json!({ foreign.key: "x" }));
        let mistakes = loaded(block.clone()).network.unwrap_err().0;
        assert_eq!(mistakes.iter().map(|m| &m.problem).collect::<Vec<_>>(), [&Problem::Foreign(foreign)]);
        // The key has no effect, and a verb that assigns no address ignores it.
        let other = load_for(Purpose { add: false, pod: false }, &config(block), NO_DEFAULTS);
        assert!(other.network.is_ok(), "{}", foreign.key);
    }
}

#[test]
fn other_keys_of_other_plugins_are_a_warning_with_a_hint() {
    let hints = FOREIGN.iter().filter(|foreign| !foreign.decides).map(|foreign| {
        let loaded = loaded(with_subnet(json!({ foreign.key: "x" })));
        assert!(loaded.network.is_ok(), "{}", foreign.key);
        loaded.warnings.iter().map(|warning| format!("{warning}\n")).collect::<String>()
    });
    let hints: String = hints.collect();
    assert_eq!(hints.lines().count(), FOREIGN.iter().filter(|foreign| !foreign.decides).count(), "{hints}");
    let some = ["log_file:", "assign_ipv4", "etcd_host", "enable_overlapping"];
    let some: Vec<&str> = hints.lines().filter(|line| some.iter().any(|key| line.contains(key))).collect();
    assert_snapshot!(some.join("\n"), @r#"
    ipam.enable_overlapping_ranges: a key of whereabouts, without effect here; instead: "vrf", in which an address is unique
    ipam.etcd_host: a key of whereabouts, without effect here; instead: "etcdConfig" or "store" in the node defaults
    ipam.log_file: a key of whereabouts, without effect here; instead: "log" in the node defaults
    ipam.assign_ipv4: a key of calico-ipam, without effect here; instead: "ranges" with a set for each family that an interface is to have
    "#);
}
