//! Named pools.

use insta::assert_snapshot;
use serde_json::{Map, Value, json};

use super::{NO_DEFAULTS, config, load_with, loaded, mistakes, network, shown, table, with_subnet};
use crate::config::{ConfigWarning, Network};

/// A range over 10.1.0.0/24 and these pools.
fn with(pools: Value) -> Value {
    with_subnet(json!({ "pools": pools }))
}

/// Each pool of a network: its namespaces, and the share of each set.
fn pools(network: &Network) -> String {
    let pool = |pool: &std::sync::Arc<crate::ipam::pool::Pool>| {
        let share = |set: &crate::ipam::range::RangeSet| {
            set.share_of(&pool.name).iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        let shares = network.sets.iter().map(share).collect::<Vec<_>>().join(" | ");
        format!("{} for [{}]: {shares}", pool.name, pool.namespaces.join(", "))
    };
    network.pools.iter().map(pool).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_contracts_example_is_read_as_it_says() {
    let network = network(json!({
        "subnet": "10.188.0.0/16", "fixedStart": "10.188.0.10", "fixedEnd": "10.188.0.255",
        "pools": { "db": { "addresses": ["10.188.0.20-10.188.0.29", "10.188.4.0/28"], "namespaces": ["database"] } },
    }));
    assert_snapshot!(pools(&network), @"db for [database]: 10.188.0.20-10.188.0.29, 10.188.4.0-10.188.4.15");
    assert_snapshot!(shown(&network), @"10.188.0.0/16: 10.188.0.2-10.188.0.9, 10.188.1.0-10.188.3.255, 10.188.4.16-10.188.255.254, fixed 10.188.0.10-10.188.0.255, gateway 10.188.0.1");
}

#[test]
fn a_pool_may_have_both_families_and_is_bound_by_the_excludes_of_block_and_range() {
    let network = network(json!({
        "exclude": ["10.1.0.22"],
        "ranges": [[{ "subnet": "10.1.0.0/24", "exclude": ["10.1.0.24/30"] }], [{ "subnet": "fd00::/64" }]],
        "pools": {
            "web": { "addresses": ["fd00::20-fd00::21", "10.1.0.20-10.1.0.29"] },
            "all-of-it": { "addresses": ["fd00::8000:0:0:0/65"], "namespaces": ["team-*", "db"] },
            "edge": { "addresses": ["10.1.0.0/30"] },
        },
    }));
    assert_snapshot!(pools(&network), @r"
    web for []: 10.1.0.20-10.1.0.21, 10.1.0.23, 10.1.0.28-10.1.0.29 | fd00::20-fd00::21
    all-of-it for [team-*, db]:  | fd00::8000:0:0:0-fd00::ffff:ffff:ffff:ffff
    edge for []: 10.1.0.2-10.1.0.3 |
    ");
}

#[test]
fn a_range_may_be_a_pool_as_a_whole() {
    let network = network(with(json!({ "db": { "addresses": ["10.1.0.0/24"] } })));
    assert!(network.sets[0].ranges()[0].dynamic().is_empty());
    assert_snapshot!(pools(&network), @"db for []: 10.1.0.2-10.1.0.254");
}

#[test]
fn what_is_wrong_with_a_pool_is_said_with_its_place_and_with_that_of_the_other_one() {
    let named = |name: &str| with(json!({ name: { "addresses": ["10.1.0.20"] } }));
    assert_snapshot!(table([
        // Overlapping.
        with(json!({ "a": { "addresses": ["10.1.0.20-10.1.0.29"] }, "b": { "addresses": ["10.1.0.9", "10.1.0.24/29"] } })),
        with(json!({ "a": { "addresses": ["10.1.0.20", "10.1.0.16/28"] } })),
        with(json!({ "a": { "addresses": ["10.1.0.16/28", "10.1.0.20", "10.1.0.21"] }, "b": { "addresses": ["10.1.0.31"] } })),
        // Outside every subnet.
        with(json!({ "a": { "addresses": ["10.1.0.20", "10.9.0.7"] } })),
        with(json!({ "a": { "addresses": ["10.1.0.250-10.1.1.3"] }, "b": { "addresses": ["fd00::7"] } })),
        // Empty.
        with(json!({ "a": {} })),
        with(json!({ "a": null })),
        with(json!({ "a": { "addresses": [] } })),
        with(json!({ "a": { "addresses": ["10.1.0.0", "10.1.0.255", "10.1.0.1"] } })),
        with_subnet(json!({ "exclude": ["10.1.0.16/28"], "pools": { "a": { "addresses": ["10.1.0.20-10.1.0.29"] } } })),
        // Malformed.
        named("2db"),
        named("DB"),
        named("10.1.0.20"),
        named(""),
        with(json!({ "a": ["10.1.0.20"] })),
        with(json!(["10.1.0.20"])),
        with(json!({ "a": { "addresses": "10.1.0.20" } })),
        with(json!({ "a": { "addresses": ["10.1.0.9-10.1.0.8", ""] } })),
        with(json!({ "a": { "addresses": ["10.1.0.20"], "namespaces": [] } })),
        // Misspelt.
        with(json!({ "a": { "adresses": ["10.1.0.20"], "addresses": ["10.1.0.20"], "namespace": ["db"] } })),
        with_subnet(json!({ "pool": {} })),
    ]), @r#"
    ipam.pools.b.addresses[1]: overlaps ipam.pools.a.addresses[0] in 10.1.0.24-10.1.0.29; an address belongs to one pool, and stands there once
    ipam.pools.a.addresses[1]: overlaps ipam.pools.a.addresses[0] in 10.1.0.20; an address belongs to one pool, and stands there once
    3 mistakes: (1) ipam.pools.a.addresses[1]: overlaps ipam.pools.a.addresses[0] in 10.1.0.20; an address belongs to one pool, and stands there once; (2) ipam.pools.a.addresses[2]: overlaps ipam.pools.a.addresses[0] in 10.1.0.21; an address belongs to one pool, and stands there once; (3) ipam.pools.b.addresses[0]: overlaps ipam.pools.a.addresses[0] in 10.1.0.31; an address belongs to one pool, and stands there once
    ipam.pools.a.addresses[1]: 10.9.0.7 is in no subnet of this network; subnet and ranges have 10.1.0.0/24
    2 mistakes: (1) ipam.pools.a.addresses[0]: 10.1.1.0-10.1.1.3 is in no subnet of this network; subnet and ranges have 10.1.0.0/24; (2) ipam.pools.b.addresses[0]: fd00::7 is in no subnet of this network; subnet and ranges have 10.1.0.0/24
    ipam.pools.a.addresses: missing; a pool needs its addresses, such as ["10.1.0.20-10.1.0.29"]
    ipam.pools.a: missing; a pool needs its addresses, such as ["10.1.0.20-10.1.0.29"]
    ipam.pools.a.addresses: missing; a pool needs its addresses, such as ["10.1.0.20-10.1.0.29"]
    ipam.pools.a.addresses: nothing of it is left to give: exclude, gateways, network and broadcast addresses take all of it
    ipam.pools.a.addresses: nothing of it is left to give: exclude, gateways, network and broadcast addresses take all of it
    ipam.pools.2db: "2db" is not the name of a pool: it must begin with a lower-case letter, go on with lower-case letters, digits and '-', end with a letter or digit, and have at most 63 characters
    ipam.pools.DB: "DB" is not the name of a pool: it must begin with a lower-case letter, go on with lower-case letters, digits and '-', end with a letter or digit, and have at most 63 characters
    ipam.pools.10.1.0.20: "10.1.0.20" is not the name of a pool: it must begin with a lower-case letter, go on with lower-case letters, digits and '-', end with a letter or digit, and have at most 63 characters
    ipam.pools.: "" is not the name of a pool: it must begin with a lower-case letter, go on with lower-case letters, digits and '-', end with a letter or digit, and have at most 63 characters
    ipam.pools.a: expected an object in braces, found a list
    ipam.pools: expected an object in braces, with a name for each pool, found a list
    ipam.pools.a.addresses: expected a list in brackets, found "10.1.0.20"
    2 mistakes: (1) ipam.pools.a.addresses[0]: "10.1.0.9-10.1.0.8" does not run from a lower to a higher address of one family; (2) ipam.pools.a.addresses[1]: an empty entry; write what is meant, or remove it
    ipam.pools.a.namespaces: an empty list; leave it out if all are meant
    2 mistakes: (1) ipam.pools.a.adresses: unknown key; did you mean addresses?; (2) ipam.pools.a.namespace: unknown key; did you mean namespaces?
    ipam.pool: unknown key; did you mean pools?
    "#);
}

#[test]
fn the_same_of_the_ranges_of_all_nodes() {
    let dir = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
    let defaults = dir.path().join("defaults.json");
    std::fs::write(&defaults, r#"{ "nodeName": "rack2-a" }"#).unwrap();
    let racks = |addresses: Value| {
        config(json!({
            "exclude": ["10.1.0.21"],
            "ranges": [[{ "subnet": "10.1.0.0/24", "nodes": ["rack1-*"] }, { "subnet": "10.2.0.0/24", "nodes": ["rack2-*"] }]],
            "pools": { "db": { "addresses": addresses } },
        }))
    };
    let loaded = |addresses| load_with(&racks(addresses), defaults.to_str().unwrap(), false).network;
    // The share counts all addresses on all nodes that are not excluded.
    assert_snapshot!(pools(&loaded(json!(["10.1.0.20-10.1.0.22", "10.2.0.20"])).unwrap()), @"db for []: 10.1.0.20, 10.1.0.22, 10.2.0.20");
    assert_snapshot!(loaded(json!(["10.3.0.20"])).unwrap_err(), @"ipam.pools.db.addresses[0]: 10.3.0.20 is in no subnet of this network; subnet and ranges have 10.2.0.0/24, 10.1.0.0/24");
}

#[test]
fn where_the_ranges_are_wrong_a_pool_is_not_said_to_lie_outside_of_them() {
    let pools = json!({ "db": { "addresses": ["10.1.0.20", "10.1.0.20"] } });
    assert_snapshot!(mistakes(json!({ "subnet": "10.1.0.0/33", "pools": pools })), @r#"2 mistakes: (1) ipam.subnet: "10.1.0.0/33" is not a network in CIDR notation; (2) ipam.pools.db.addresses[1]: overlaps ipam.pools.db.addresses[0] in 10.1.0.20; an address belongs to one pool, and stands there once"#);
    assert_snapshot!(mistakes(json!({ "pools": pools })), @r#"2 mistakes: (1) ipam: no ranges; set "subnet", or "ranges"; (2) ipam.pools.db.addresses[1]: overlaps ipam.pools.db.addresses[0] in 10.1.0.20; an address belongs to one pool, and stands there once"#);
}

#[test]
fn the_ranges_of_the_runtime_are_of_the_network_too() {
    let mut config = config(with(json!({ "db": { "addresses": ["10.2.0.20"] } })));
    config["runtimeConfig"] = json!({ "ipRanges": [[{ "subnet": "10.2.0.0/24" }]] });
    let network = load_with(&config, NO_DEFAULTS, false).network.unwrap();
    assert_snapshot!(pools(&network), @"db for []: 10.2.0.20 |");
}

#[test]
fn an_unknown_key_of_a_pool_is_a_warning() {
    let loaded = loaded(with(json!({ "a": { "addresses": ["10.1.0.20"], "colour": "red" } })));
    assert!(loaded.network.is_ok());
    assert_eq!(loaded.warnings, [ConfigWarning::UnknownKey("ipam.pools.a.colour".to_owned())]);
}

#[test]
fn so_many_pools_and_entries_are_possible_and_no_more() {
    let one = |n: usize| json!({ "addresses": [format!("10.{}.{}.{}", n / 65536 + 1, n / 256 % 256, n % 256)] });
    let pools =
        |count: usize| Value::Object((0..count).map(|n| (format!("p{n}"), one(n + 256))).collect::<Map<_, _>>());
    let of = |pools: Value| json!({ "subnet": "10.0.0.0/8", "pools": pools });
    assert_eq!(network(of(pools(64))).pools.len(), 64);
    assert_snapshot!(mistakes(of(pools(65))), @"ipam.pools: 65 entries are too many; at most 64 are possible");
    let entries = |from: usize, count: usize| {
        let entries: Vec<String> = (from..from + count).map(|n| format!("10.1.{}.{}", n / 100, n % 100 + 2)).collect();
        json!({ "addresses": entries })
    };
    assert!(loaded(of(json!({ "a": entries(0, 1000), "b": entries(1000, 24) }))).network.is_ok());
    assert_snapshot!(mistakes(of(json!({ "a": entries(0, 1000), "b": entries(1000, 25) }))), @"ipam.pools: the pools have 1025 entries together; at most 1024 are possible");
}
