//! Resolving ranges to range sets.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{config, elsewhere, load_with, loaded, mistakes, network, shown, table, with_subnet};
use crate::config::tests::NO_DEFAULTS;
use crate::ipam::range::NotAssignable;

fn in_a_set(ranges: Value) -> Value {
    json!({ "ranges": [ranges] })
}

#[test]
fn a_subnet_alone_gives_all_that_is_usable_but_the_first_address_which_is_the_gateway() {
    assert_snapshot!(shown(&network(json!({ "subnet": "10.188.0.0/16" }))), @"10.188.0.0/16: 10.188.0.2-10.188.255.254, gateway 10.188.0.1");
    assert_snapshot!(shown(&network(json!({ "subnet": "fd00::/64" }))), @"fd00::/64: fd00::2-fd00::ffff:ffff:ffff:ffff, gateway fd00::1");
}

#[test]
fn the_contracts_example_is_read_as_it_says() {
    let network = network(json!({
        "type": "kube-ipam", "subnet": "10.188.0.0/16",
        "fixedStart": "10.188.0.10", "fixedEnd": "10.188.0.255",
        "rangeStart": "10.188.1.0", "rangeEnd": "10.188.255.254", "gateway": "10.188.0.1",
        "exclude": ["10.188.3.0/24", "10.188.4.1-10.188.4.9"],
        "routes": [{ "dst": "10.199.0.0/16" }],
    }));
    assert_snapshot!(shown(&network), @"10.188.0.0/16: 10.188.1.0-10.188.2.255, 10.188.4.0, 10.188.4.10-10.188.255.254, fixed 10.188.0.10-10.188.0.255, gateway 10.188.0.1");
}

#[test]
fn a_link_of_two_or_one_addresses_gives_them_all_and_implies_no_gateway() {
    for (subnet, given) in [
        ("10.1.0.4/31", "10.1.0.4-10.1.0.5"),
        ("10.1.0.4/32", "10.1.0.4"),
        ("fd00::4/127", "fd00::4-fd00::5"),
        ("fd00::4/128", "fd00::4"),
    ] {
        assert_eq!(shown(&network(json!({ "subnet": subnet }))), format!("{subnet}: {given}, no gateway"));
    }
}

#[test]
fn all_of_a_family_is_a_range_without_the_addresses_that_are_never_anybodys() {
    assert_snapshot!(shown(&network(json!({ "subnet": "0.0.0.0/0" }))), @"0.0.0.0/0: 1.0.0.0-126.255.255.255, 128.0.0.0-169.253.255.255, 169.255.0.0-223.255.255.255, 240.0.0.0-255.255.255.254, gateway 0.0.0.1");
    assert_snapshot!(shown(&network(json!({ "subnet": "::/0" }))), @"::/0: ::2-::fffe:ffff:ffff, ::1:0:0:0-fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff, fec0::-feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff, gateway ::1");
}

#[test]
fn a_window_for_fixed_addresses_is_cut_out_of_the_dynamic_one() {
    let network = network(with_subnet(json!({ "fixedStart": "10.1.0.10", "fixedEnd": "10.1.0.19" })));
    assert_snapshot!(shown(&network), @"10.1.0.0/24: 10.1.0.2-10.1.0.9, 10.1.0.20-10.1.0.254, fixed 10.1.0.10-10.1.0.19, gateway 10.1.0.1");
}

#[test]
fn excludes_of_the_block_apply_to_all_ranges_and_those_of_a_range_to_it_alone() {
    let network = network(json!({
        "exclude": ["10.1.0.0/28", "10.2.0.2-10.2.0.9"],
        "ranges": [[{ "subnet": "10.1.0.0/24", "exclude": ["10.1.0.200"] }], [{ "subnet": "10.2.0.0/24" }]],
    }));
    assert_snapshot!(shown(&network), @r"
    10.1.0.0/24: 10.1.0.16-10.1.0.199, 10.1.0.201-10.1.0.254, gateway 10.1.0.1
    10.2.0.0/24: 10.2.0.10-10.2.0.254, gateway 10.2.0.1
    ");
}

#[test]
fn ranges_of_the_runtime_come_first_and_then_the_flat_one() {
    let mut config = config(json!({ "subnet": "10.2.0.0/24", "ranges": [[{ "subnet": "10.3.0.0/24" }]] }));
    config["runtimeConfig"] =
        json!({ "ips": ["10.1.0.9"], "ipRanges": [[{ "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.8" }]] });
    assert_snapshot!(shown(&load_with(&config, NO_DEFAULTS, false).network.unwrap()), @r"
    10.1.0.0/24: 10.1.0.8-10.1.0.254, gateway 10.1.0.1
    10.2.0.0/24: 10.2.0.2-10.2.0.254, gateway 10.2.0.1
    10.3.0.0/24: 10.3.0.2-10.3.0.254, gateway 10.3.0.1
    ");
    config["runtimeConfig"]["ipRanges"] = json!([[{ "subnet": "10.1.0.9/24" }], []]);
    assert_snapshot!(load_with(&config, NO_DEFAULTS, false).network.unwrap_err(), @r#"2 mistakes: (1) runtimeConfig.ipRanges[0][0].subnet: "10.1.0.9/24" has host bits set; the network is 10.1.0.0/24; (2) runtimeConfig.ipRanges[1]: an empty range set; each set needs a range, such as [{"subnet": "10.1.0.0/16"}]"#);
}

#[test]
fn a_gateway_outside_the_subnet_is_allowed() {
    let network = network(with_subnet(json!({ "gateway": "192.0.2.1" })));
    assert_snapshot!(shown(&network), @"10.1.0.0/24: 10.1.0.1-10.1.0.254, gateway 192.0.2.1");
}

#[test]
fn ipv4_mapped_addresses_are_ipv4() {
    let network = network(json!({ "subnet": "::ffff:10.1.0.0/120", "rangeStart": "::ffff:10.1.0.9" }));
    assert_snapshot!(shown(&network), @"10.1.0.0/24: 10.1.0.9-10.1.0.254, gateway 10.1.0.1");
}

#[test]
fn only_the_ranges_of_this_node_are_kept() {
    let dir = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
    let defaults = dir.path().join("defaults.json");
    std::fs::write(&defaults, r#"{ "nodeName": "rack2-node7" }"#).unwrap();
    let racks = |globs: [&str; 2]| {
        config(in_a_set(json!([
            { "subnet": "10.1.0.0/24", "nodes": [globs[0]] },
            { "subnet": "10.1.0.0/24", "nodes": [globs[1], "rack3-*"] },
        ])))
    };
    let loaded = |globs| load_with(&racks(globs), defaults.to_str().unwrap(), false).network;
    let network = loaded(["rack1-*", "rack2-*"]).unwrap();
    assert_snapshot!(shown(&network), @"10.1.0.0/24: 10.1.0.2-10.1.0.254, gateway 10.1.0.1");
    // The other range is known, so that a request for one of its addresses is answered.
    assert_eq!(network.other_nodes.iter().map(|range| &*range.nodes.names).collect::<Vec<_>>(), [["rack1-*"]]);
    assert_snapshot!(elsewhere(&loaded(["rack1-*", "rack2-node?-b"]).unwrap()), @"no range of ipam.ranges[0] is for node rack2-node7; their nodes are rack1-*, rack2-node?-b, rack3-*");
    // Both ranges are for this node, and have the same addresses.
    assert_snapshot!(loaded(["rack*", "rack2-node?"]).unwrap_err(), @"ipam.ranges[0][1]: overlaps ipam.ranges[0][0] in 10.1.0.1-10.1.0.254; ranges of one set must be disjoint");
}

#[test]
fn nodes_of_the_block_belong_to_the_flat_range() {
    assert_snapshot!(table([
        json!({ "nodes": ["nobody"], "ranges": [[{ "subnet": "10.1.0.0/24" }]] }),
        json!({ "nodeSelector": { "rack": "7" }, "ranges": [[{ "subnet": "10.1.0.0/24" }]] }),
    ]), @r#"
    ipam.nodes: applies to the range beside it, and there is no "subnet"; write it into the entries of "ranges"
    ipam.nodeSelector: applies to the range beside it, and there is no "subnet"; write it into the entries of "ranges"
    "#);
    let network = network(with_subnet(json!({ "nodes": ["nobody"] })));
    // The node is this machine.
    assert_snapshot!(elsewhere(&network).replace(network.node.name.as_str(), "<host>"), @"no range of ipam.subnet is for node <host>; their nodes are nobody");
}

#[test]
fn a_part_of_the_flat_range_without_subnet_is_overlooked_beside_ranges_as_by_host_local() {
    let loaded = loaded(json!({ "gateway": "10.1.0.1", "ranges": [[{ "subnet": "10.1.0.0/24" }]] }));
    assert!(loaded.network.is_ok());
    assert_snapshot!(loaded.warnings[0], @r#"ipam.gateway: has no effect without "subnet" beside it"#);
}

#[test]
fn what_is_wrong_with_ranges_is_said_with_key_value_and_remedy() {
    let range = |more| in_a_set(json!([with_subnet(more)]));
    assert_snapshot!(table([
        json!({}),
        json!({ "type": "kube-ipam", "ranges": [] }),
        json!({ "ranges": [[]] }),
        json!({ "ranges": [{ "subnet": "10.1.0.0/24" }] }),
        json!({ "ranges": {} }),
        json!({ "ranges": [["10.1.0.0/24"]] }),
        in_a_set(json!([{ "rangeStart": "10.1.0.4" }])),
        json!({ "rangeStart": "10.1.0.4" }),
        json!({ "ranges": [[{ "subnet": "10.1.0.0/24" }]], "fixedStart": "10.1.0.4", "fixedEnd": "10.1.0.9" }),
        json!({ "subnet": "10.1.0.7/24" }),
        json!({ "subnet": "10.1.0.0" }),
        json!({ "subnet": "10.1.0.0/33" }),
        json!({ "subnet": "10.1.0.0/255.255.255.0" }),
        json!({ "subnet": "10.1/16" }),
        json!({ "subnet": 10 }),
        json!({ "subnet": "010.001.000.000/24" }),
        json!({ "subnet": "224.0.0.0/24" }),
        json!({ "subnet": "127.0.0.0/8" }),
        json!({ "subnet": "::1/128" }),
        json!({ "subnet": "ff02::/64" }),
        json!({ "subnet": "::ffff:0.0.0.0/104" }),
        with_subnet(json!({ "rangeStart": "10.1.1.4" })),
        with_subnet(json!({ "rangeStart": "fd00::1" })),
        with_subnet(json!({ "rangeEnd": "10.1" })),
        with_subnet(json!({ "rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.8" })),
        with_subnet(json!({ "rangeStart": "10.1.0.255" })),
        with_subnet(json!({ "gateway": "fd00::1" })),
        with_subnet(json!({ "fixedStart": "10.1.0.9" })),
        with_subnet(json!({ "fixedEnd": "10.1.0.9" })),
        with_subnet(json!({ "fixedStart": "10.1.0.9", "fixedEnd": "10.1.0.8" })),
        with_subnet(json!({ "fixedStart": "10.1.0.9", "fixedEnd": "10.2.0.8" })),
        with_subnet(json!({ "exclude": "10.1.0.9" })),
        with_subnet(json!({ "exclude": ["10.1.0.9/24"] })),
        with_subnet(json!({ "exclude": ["10.1.0.9-10.1.0.8"] })),
        with_subnet(json!({ "exclude": ["10.1.0.0-fd00::"] })),
        with_subnet(json!({ "exclude": ["10.1.0.0/24"] })),
        json!({ "subnet": "10.1.0.0/32", "gateway": "10.1.0.0" }),
        in_a_set(json!([{ "subnet": "10.1.0.0/24" }, { "subnet": "fd00::/64" }])),
        in_a_set(json!([{ "subnet": "10.1.0.0/24" }, { "subnet": "10.1.0.128/25" }])),
        json!({ "subnet": "10.1.0.0/24", "ranges": [[{ "subnet": "10.1.0.0/16" }]] }),
        range(json!({ "nodes": "rack1-*" })),
        range(json!({ "routes": [] , "excludes": [] })),
    ]), @r#"
    ipam: no ranges; set "subnet", or "ranges"
    ipam: no ranges; set "subnet", or "ranges"
    ipam.ranges[0]: an empty range set; each set needs a range, such as [{"subnet": "10.1.0.0/16"}]
    ipam.ranges[0]: expected a list in brackets, found an object
    ipam.ranges: expected a list in brackets, found an object
    ipam.ranges[0][0]: expected an object in braces, found "10.1.0.0/24"
    ipam.ranges[0][0].subnet: missing; a range needs its subnet in CIDR notation, such as "10.1.0.0/16"
    ipam.rangeStart: needs "subnet" beside it
    2 mistakes: (1) ipam.fixedStart: needs "subnet" beside it; (2) ipam.fixedEnd: needs "subnet" beside it
    ipam.subnet: "10.1.0.7/24" has host bits set; the network is 10.1.0.0/24
    ipam.subnet: "10.1.0.0" is not a network in CIDR notation
    ipam.subnet: "10.1.0.0/33" is not a network in CIDR notation
    ipam.subnet: "10.1.0.0/255.255.255.0" is not a network in CIDR notation
    ipam.subnet: "10.1" is not an IP address
    ipam.subnet: expected a subnet such as "10.1.0.0/16", found 10
    ipam.subnet: "010.001.000.000" has an octet with leading zeros, which programs read differently; write it without them
    ipam.subnet: 224.0.0.0/24 is multicast (RFC 5771); no interface can have such an address
    ipam.subnet: 127.0.0.0/8 is loopback (RFC 1122 section 3.2.1.3); no interface can have such an address
    ipam.subnet: ::1/128 is loopback (RFC 4291 section 2.5.3); no interface can have such an address
    ipam.subnet: ff02::/64 is multicast (RFC 4291 section 2.7); no interface can have such an address
    ipam.subnet: 0.0.0.0/8 is "this network" (RFC 1122 section 3.2.1.3); no interface can have such an address
    ipam.rangeStart: 10.1.1.4 is not in the subnet 10.1.0.0/24
    ipam.rangeStart: fd00::1 is not in the subnet 10.1.0.0/24
    ipam.rangeEnd: "10.1" is not an IP address
    ipam.rangeEnd: the span from 10.1.0.9 to 10.1.0.8 runs backwards
    ipam.rangeStart: the span from 10.1.0.255 to 10.1.0.254 runs backwards
    ipam.gateway: fd00::1 is IPv6, but the subnet is 10.1.0.0/24
    ipam.fixedStart: needs fixedEnd beside it; a window for fixed addresses has both edges
    ipam.fixedEnd: needs fixedStart beside it; a window for fixed addresses has both edges
    ipam.fixedEnd: the span from 10.1.0.9 to 10.1.0.8 runs backwards
    ipam.fixedEnd: 10.2.0.8 is not in the subnet 10.1.0.0/24
    ipam.exclude: expected a list in brackets, found "10.1.0.9"
    ipam.exclude[0]: "10.1.0.9/24" has host bits set; the network is 10.1.0.0/24
    ipam.exclude[0]: "10.1.0.9-10.1.0.8" does not run from a lower to a higher address of one family
    ipam.exclude[0]: "10.1.0.0-fd00::" does not run from a lower to a higher address of one family
    ipam.subnet: nothing of 10.1.0.0/24 is left to give: gateway and exclude take all of it
    ipam.subnet: nothing of 10.1.0.0/32 is left to give: gateway and exclude take all of it
    ipam.ranges[0][1].subnet: fd00::/64 is IPv6, but the set began with 10.1.0.0/24; one set gives one address, so put each family in a set of its own
    ipam.ranges[0][1]: overlaps ipam.ranges[0][0] in 10.1.0.129-10.1.0.254; ranges of one set must be disjoint
    ipam.ranges[0]: overlaps ipam.subnet in 10.1.0.1-10.1.0.254; an interface gets one address of each set, so sets must be disjoint
    ipam.ranges[0][0].nodes: expected a list in brackets, found "rack1-*"
    ipam.ranges[0][0].excludes: unknown key; did you mean exclude?
    "#);
}

#[test]
fn ranges_of_one_subnet_with_disjoint_windows_are_no_overlap() {
    let network = network(in_a_set(json!([
        { "subnet": "10.1.0.0/24", "rangeEnd": "10.1.0.99" },
        { "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.200" },
    ])));
    assert_snapshot!(shown(&network), @"10.1.0.0/24: 10.1.0.2-10.1.0.99, gateway 10.1.0.1 | 10.1.0.0/24: 10.1.0.200-10.1.0.254, gateway 10.1.0.1");
}

#[test]
fn each_of_many_overlapping_ranges_is_named_once() {
    let block = in_a_set(json!([
        { "subnet": "10.1.0.0/24" },
        { "subnet": "10.1.0.0/26" },
        { "subnet": "10.1.0.64/26" },
        { "subnet": "10.1.1.0/24" },
        { "subnet": "10.1.0.128/25" },
    ]));
    assert_snapshot!(mistakes(block).to_string().replace("; (", ";\n("), @r"
    3 mistakes: (1) ipam.ranges[0][1]: overlaps ipam.ranges[0][0] in 10.1.0.1-10.1.0.62; ranges of one set must be disjoint;
    (2) ipam.ranges[0][2]: overlaps ipam.ranges[0][0] in 10.1.0.65-10.1.0.126; ranges of one set must be disjoint;
    (3) ipam.ranges[0][4]: overlaps ipam.ranges[0][0] in 10.1.0.129-10.1.0.254; ranges of one set must be disjoint
    ");
}

#[test]
fn more_ranges_or_entries_than_anybody_needs_are_refused_at_once() {
    let ranges: Vec<Value> =
        (0..300).map(|i| json!({ "subnet": format!("10.{}.{}.0/24", i / 256, i % 256) })).collect();
    let excludes: Vec<String> = (0..2000).map(|i| format!("10.0.{}.{}", i / 256, i % 256)).collect();
    assert_snapshot!(table([in_a_set(json!(ranges)), with_subnet(json!({ "exclude": excludes }))]), @r"
    ipam: this node draws from 300 ranges; at most 256 are possible
    ipam.exclude: 2000 entries are too many; at most 1024 are possible
    ");
}

#[test]
fn several_mistakes_are_reported_together() {
    let block = json!({
        "subnet": "10.1.0.7/24", "rangestrat": "10.1.0.9", "timeout": "10", "vrf": "a/b",
        "ranges": [[{ "subnet": "fd00::/64", "rangeStart": "10.1.0.4" }], []],
    });
    assert_snapshot!(mistakes(block), @r#"6 mistakes: (1) ipam.rangestrat: unknown key; did you mean rangeStart?; (2) ipam.subnet: "10.1.0.7/24" has host bits set; the network is 10.1.0.0/24; (3) ipam.vrf: "a/b" is not a valid name: it must start with a letter or digit and go on with letters, digits, '_', '.' and '-'; (4) ipam.timeout: 10 has no unit; write "10s" if seconds are meant; (5) ipam.ranges[0][0].rangeStart: 10.1.0.4 is not in the subnet fd00::/64; (6) ipam.ranges[1]: an empty range set; each set needs a range, such as [{"subnet": "10.1.0.0/16"}]"#);
    let many = vec![json!("no address"); 30];
    assert_snapshot!(mistakes(with_subnet(json!({ "exclude": many }))), @r#"30 mistakes: (1) ipam.exclude[0]: "no address" is not an IP address; (2) ipam.exclude[1]: "no address" is not an IP address; (3) ipam.exclude[2]: "no address" is not an IP address; (4) ipam.exclude[3]: "no address" is not an IP address; (5) ipam.exclude[4]: "no address" is not an IP address; (6) ipam.exclude[5]: "no address" is not an IP address; (7) ipam.exclude[6]: "no address" is not an IP address; (8) ipam.exclude[7]: "no address" is not an IP address; and 22 more"#);
}

#[test]
fn network_broadcast_anycast_and_gateway_addresses_can_not_be_asked_for() {
    let network = network(json!({ "subnet": "10.1.0.0/24", "ranges": [[{ "subnet": "fd00::/64" }]] }));
    let why = |set: usize, ip: &str| network.sets[set].ranges()[0].assignable(ip.parse().unwrap()).unwrap_err();
    assert!(matches!(why(0, "10.1.0.0"), NotAssignable::NetworkAddress(_)));
    assert!(matches!(why(0, "10.1.0.255"), NotAssignable::BroadcastAddress(_)));
    assert!(matches!(why(0, "10.1.0.1"), NotAssignable::Gateway(_)));
    assert!(matches!(why(0, "10.1.1.1"), NotAssignable::OutsideSubnet(_)));
    assert!(matches!(why(1, "fd00::"), NotAssignable::AnycastAddress(_)));
}

#[test]
fn a_gateway_that_no_host_can_be_is_a_mistake() {
    let gateway = |subnet: &str, gateway: &str| json!({ "subnet": subnet, "gateway": gateway });
    assert_snapshot!(table([
        gateway("10.1.0.0/24", "10.1.0.0"),
        gateway("10.1.0.0/24", "10.1.0.255"),
        gateway("10.1.0.4/30", "10.1.0.7"),
        gateway("10.1.0.0/24", "0.0.0.0"),
        gateway("fd00::/64", "::"),
        gateway("10.1.0.0/24", "127.0.0.1"),
        gateway("fd00::/64", "ff02::1"),
        json!({ "ranges": [[gateway("10.1.0.0/24", "10.1.0.0")]] }),
    ]), @r#"
    ipam.gateway: 10.1.0.0 is the network address of 10.1.0.0/24; no gateway can have it
    ipam.gateway: 10.1.0.255 is the broadcast address of 10.1.0.0/24; no gateway can have it
    ipam.gateway: 10.1.0.7 is the broadcast address of 10.1.0.4/30; no gateway can have it
    ipam.gateway: 0.0.0.0 is "this network" (RFC 1122 section 3.2.1.3); no gateway can have it
    ipam.gateway: :: is the unspecified address (RFC 4291 section 2.5.2); no gateway can have it
    ipam.gateway: 127.0.0.1 is loopback (RFC 1122 section 3.2.1.3); no gateway can have it
    ipam.gateway: ff02::1 is multicast (RFC 4291 section 2.7); no gateway can have it
    ipam.ranges[0][0].gateway: 10.1.0.0 is the network address of 10.1.0.0/24; no gateway can have it
    "#);
    for (subnet, address) in [
        // The routers' anycast address, both ends of a link, and a gateway outside the subnet.
        ("fd00::/64", "fd00::"),
        ("10.1.0.0/31", "10.1.0.0"),
        ("10.1.0.0/24", "10.9.0.0"),
        ("10.1.0.0/24", "169.254.1.1"),
        ("fd00::/64", "fe80::1"),
    ] {
        let loaded = loaded(gateway(subnet, address));
        assert!(loaded.network.is_ok(), "{}", loaded.network.unwrap_err());
    }
}
