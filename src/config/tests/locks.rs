//! Keys that blocks must not set if node defaults exist.

use insta::assert_snapshot;
use serde_json::{Map, Value, json};

use super::defaults::Defaults;
use super::{NO_DEFAULTS, config, load_for, load_with, with_subnet};
use crate::config::document::{Document, EtcdBlock, IpamBlock, NodeOnly, PoolBlock, RangeBlock};
use crate::config::locks::UNITS;
use crate::config::{ConfigWarning, Problem, Purpose};
use crate::store::StoreConfig;

/// All keys of the block in 0.3.0. Its `locked` accepts no other, and its ADDs fail if it names one.
const KEYS_OF_0_3: [&str; 25] = [
    "type",
    "name",
    "subnet",
    "rangeStart",
    "rangeEnd",
    "gateway",
    "fixedStart",
    "fixedEnd",
    "ranges",
    "nodes",
    "exclude",
    "routes",
    "resolvConf",
    "dns",
    "vrf",
    "etcdConfig",
    "kubeConfig",
    "annotations",
    "store",
    "dataDir",
    "cooldown",
    "sticky",
    "takeover",
    "probe",
    "namespaces",
];

/// The list that the pages of 0.3.0 recommended.
const LOCKED_IN_0_3: [&str; 8] =
    ["log", "dataDir", "resolvConf", "namespaces", "etcdConfig", "kubeConfig", "store", "vrf"];

/// A valid value of a key that no defaults in these tests have.
fn value_of(key: &str) -> Value {
    match key {
        "subnet" => json!("10.1.0.0/24"),
        "rangeStart" | "fixedStart" => json!("10.1.0.20"),
        "rangeEnd" | "fixedEnd" => json!("10.1.0.29"),
        "gateway" => json!("10.1.0.9"),
        "ranges" => json!([[{ "subnet": "10.1.1.0/24" }]]),
        "exclude" => json!(["10.1.0.77"]),
        "nodes" | "namespaces" => json!(["*"]),
        "routes" => json!([{ "dst": "10.9.0.0/16" }]),
        "dns" => json!({ "domain": "example.org" }),
        "etcdConfig" => json!({ "etcdURL": "https://192.0.2.66:2379" }),
        "annotations" | "sticky" => json!(true),
        "store" => json!("embedded"),
        "cooldown" | "timeout" => json!("7s"),
        "takeover" => json!("api"),
        "probe" => json!("always"),
        "status" => json!("strict"),
        "resolvConf" | "kubeConfig" | "dataDir" | "log" => json!("/run/of-a-tenant"),
        _ => json!("tenant"),
    }
}

/// The keys that are locked together with this one.
fn unit_of(key: &'static str) -> Vec<&'static str> {
    let of_a_unit = UNITS.iter().find(|unit| unit.keys.contains(&key)).map(|unit| unit.keys.to_vec());
    of_a_unit.unwrap_or_else(|| vec![key])
}

/// The ways to write a key.
fn spellings(key: &str) -> [String; 3] {
    let odd = key.char_indices().map(|(i, c)| if i % 2 == 0 { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() });
    [key.to_owned(), key.to_ascii_uppercase(), odd.collect()]
}

/// Every place in a config where a key of the block can be, each with a value there and its path.
fn places(key: &str, spelling: &str) -> Vec<(Value, String)> {
    let value = value_of(key);
    let in_range = || {
        let mut range = Map::from_iter([("subnet".to_owned(), json!("10.1.0.0/24"))]);
        range.retain(|name, _| name != key);
        range.insert(spelling.to_owned(), value.clone());
        json!([[{ "subnet": "10.2.0.0/24" }], [range]])
    };
    let mut places = vec![(config(json!({ spelling: value })), format!("ipam.{spelling}"))];
    if RangeBlock::KEYS.contains(&key) {
        places.push((config(json!({ "ranges": in_range() })), format!("ipam.ranges[1][0].{spelling}")));
        let mut by_runtime = config(json!({}));
        by_runtime["runtimeConfig"] = json!({ "ipRanges": in_range() });
        places.push((by_runtime, format!("runtimeConfig.ipRanges[1][0].{spelling}")));
    }
    if PoolBlock::KEYS.contains(&key) {
        let pool = json!({ "addresses": ["10.1.0.20"], spelling: value });
        places.push((config(json!({ "pools": { "db": pool } })), format!("ipam.pools.db.{spelling}")));
    }
    if key == "ranges" {
        let mut by_runtime = config(json!({}));
        by_runtime["runtimeConfig"] = json!({ "ipRanges": value });
        places.push((by_runtime, "runtimeConfig.ipRanges".to_owned()));
    }
    if EtcdBlock::KEYS.contains(&key) {
        let etcd = json!({ "etcdURL": "https://192.0.2.66:2379", spelling: value });
        places.push((config(json!({ "etcdConfig": etcd })), format!("ipam.etcdConfig.{spelling}")));
    }
    places
}

/// The paths of the locked keys that make an ADD of this config fail.
fn locked_in(config: &Value, defaults: &Defaults) -> Vec<String> {
    let mistakes = load_with(config, defaults.path(), true).network.map_or_else(|mistakes| mistakes.0, |_| Vec::new());
    let is_lock = |problem: &Problem| matches!(problem, Problem::Locked(_) | Problem::LockedByDefault { .. });
    mistakes.into_iter().filter(|mistake| is_lock(&mistake.problem)).map(|mistake| mistake.key).collect()
}

#[test]
fn every_key_is_locked_with_its_unit_at_every_place_and_in_every_case() {
    let all_open = || json!({ "blocksMaySet": ["store", "kubeConfig", "log"] });
    for listed in IpamBlock::KEYS.iter().copied() {
        let unit = unit_of(listed);
        let mut keys = all_open();
        keys["blocksMaySet"].as_array_mut().unwrap().retain(|open| !unit.contains(&open.as_str().unwrap()));
        keys["locked"] = json!([listed]);
        let (locking, open) = (Defaults::with(&keys), Defaults::with(&all_open()));
        for key in IpamBlock::KEYS.iter().copied() {
            for (spelling, (config, path)) in
                spellings(key).iter().flat_map(|spelling| places(key, spelling).into_iter().map(move |p| (spelling, p)))
            {
                let by_it = locked_in(&config, &locking);
                assert_eq!(by_it.contains(&path), unit.contains(&key), "{listed} locked, {spelling}: {by_it:?}");
                assert_eq!(locked_in(&config, &open), <[&str; 0]>::default(), "nothing locked, {spelling}");
            }
        }
    }
}

#[test]
fn store_api_server_and_log_are_locked_as_soon_as_there_are_defaults() {
    let defaults = Defaults::with(&json!({}));
    for key in IpamBlock::KEYS.iter().copied() {
        let by_default = UNITS.iter().any(|unit| unit.by_default && unit.keys.contains(&key));
        for (config, path) in spellings(key).iter().flat_map(|spelling| places(key, spelling)) {
            assert_eq!(locked_in(&config, &defaults).contains(&path), by_default, "{path}");
            let without = load_with(&config, NO_DEFAULTS, true).network;
            assert!(without.is_ok() || !without.unwrap_err().to_string().contains("locked"), "{path}");
        }
    }
    let block = with_subnet(json!({ "store": "embedded", "etcdConfig": { "kubeConfig": "/k" }, "resolvConf": "/r" }));
    assert_snapshot!(defaults.mistakes(block).replace("; (", ";\n("), @r#"
    4 mistakes: (1) ipam.store: locked, because the node has node defaults; move it into <defaults>, or allow it there by "blocksMaySet": ["store"];
    (2) ipam.etcdConfig.kubeConfig: locked, because the node has node defaults; move it into <defaults>, or allow it there by "blocksMaySet": ["kubeConfig"];
    (3) ipam.etcdConfig: locked, because the node has node defaults; move it into <defaults>, or allow it there by "blocksMaySet": ["store"];
    (4) ipam.resolvConf: locked, because the node has node defaults; move it into <defaults>, or allow it there by "blocksMaySet": ["log"]
    "#);
}

#[test]
fn what_is_locked_has_no_effect_and_fails_no_verb_but_add() {
    let defaults = Defaults::with(&json!({
        "locked": ["vrf", "Namespaces"], "dataDir": "/run/ours", "log": "/var/log/ours.log", "namespaces": ["db-*"],
        "kubeConfig": "/run/ours/kubeconfig",
    }));
    let block = with_subnet(json!({
        "LOG": "/root/.bashrc", "dataDir": "/home", "STORE": "embedded", "vrf": "mine", "namespaces": ["*"], "log": "",
        "etcdConfig": { "etcdURL": "https://192.0.2.66:2379", "KubeConfig": "/home/k" }, "subnett": "10.9.0.0/24",
        "nodeName": "elsewhere",
    }));
    assert_snapshot!(defaults.mistakes(block.clone()).replace("; (", ";\n("), @r#"
    9 mistakes: (1) ipam.LOG: locked, because the node has node defaults; move it into <defaults>, or allow it there by "blocksMaySet": ["log"];
    (2) ipam.dataDir: locked, because the node has node defaults; move it into <defaults>, or allow it there by "blocksMaySet": ["store"];
    (3) ipam.STORE: locked, because the node has node defaults; move it into <defaults>, or allow it there by "blocksMaySet": ["store"];
    (4) ipam.vrf: locked by the node defaults, <defaults>; remove it from the ipam block;
    (5) ipam.namespaces: locked by the node defaults, <defaults>; remove it from the ipam block;
    (6) ipam.etcdConfig.KubeConfig: locked, because the node has node defaults; move it into <defaults>, or allow it there by "blocksMaySet": ["kubeConfig"];
    (7) ipam.etcdConfig: locked, because the node has node defaults; move it into <defaults>, or allow it there by "blocksMaySet": ["store"];
    (8) ipam.nodeName: can be set only in the node defaults, <defaults>; and 1 more
    "#);
    for pod in [false, true] {
        let loaded = load_for(Purpose { add: false, pod }, &config(block.clone()), defaults.path());
        assert_eq!(loaded.network.unwrap().namespaces, ["db-*"]);
        let settings = loaded.settings;
        assert_eq!(settings.store, Ok(StoreConfig::Embedded { data_dir: "/run/ours".into() }));
        assert_eq!((settings.vrf.as_str(), settings.log.file.to_str().unwrap()), ("default", "/var/log/ours.log"));
        assert_eq!(settings.kubeconfigs, [std::path::Path::new("/run/ours/kubeconfig")]);
        assert_eq!(settings.host_local[0].to_str(), Some("/run/ours/db-net"));
    }
}

#[test]
fn what_may_be_locked_has_no_effect_while_the_defaults_can_not_be_read() {
    let defaults = Defaults::written("{");
    for (config, path) in UNITS.iter().flat_map(|unit| unit.keys).flat_map(|key| places(key, key)) {
        let empty = load_for(Purpose { add: false, pod: true }, &super::config(json!({})), defaults.path());
        let loaded = load_for(Purpose { add: false, pod: true }, &config, defaults.path());
        assert_eq!(loaded.settings, empty.settings, "{path}");
        assert_eq!(loaded.warnings, [], "{path}");
        let mistakes = load_with(&config, defaults.path(), true).network.unwrap_err().to_string();
        assert!(mistakes.contains("not valid JSON") && !mistakes.contains("locked"), "{path}: {mistakes}");
    }
}

#[test]
fn a_locked_key_that_says_what_the_defaults_say_is_a_warning() {
    let etcd = json!({ "etcdURL": "https://192.0.2.1:2379", "etcdCertFile": "/c", "etcdKeyFile": "/k" });
    let defaults = Defaults::with(&json!({
        "etcdConfig": etcd, "kubeConfig": "/run/kubeconfig", "log": { "level": "debug" }, "locked": ["vrf"], "vrf": "blue",
    }));
    let block = with_subnet(json!({
        "ETCDCONFIG": { "etcdurl": " https://192.0.2.1:2379 ", "etcdCertFile": "/c", "etcdKeyFile": "/k", "prefix": "",
                        "kubeConfig": "/run/kubeconfig" },
        "kubeConfig": "/run/kubeconfig", "log": { "Level": "debug", "file": null }, "vrf": "blue",
    }));
    let loaded = defaults.load(block.clone());
    assert!(loaded.network.is_ok(), "{}", loaded.network.unwrap_err());
    let keys = ["ETCDCONFIG.kubeConfig", "ETCDCONFIG", "kubeConfig", "log", "vrf"];
    let warnings = keys.map(|key| ConfigWarning::LockedAndSame(format!("ipam.{key}")));
    assert_eq!(loaded.warnings, warnings);
    assert_eq!(loaded.settings, defaults.load(with_subnet(json!({}))).settings);
    assert_snapshot!(loaded.warnings[1], @"ipam.ETCDCONFIG: locked by the node defaults, which say the same; remove it from the ipam block");
    // Any difference makes another value.
    for (path, other) in [
        ("/ETCDCONFIG/etcdurl", json!("https://192.0.2.2:2379")),
        ("/ETCDCONFIG/prefix", json!("/x")),
        ("/ETCDCONFIG/etcdKeyFile", json!("")),
        ("/ETCDCONFIG/kubeConfig", json!("/run/other")),
        ("/log/Level", json!("info")),
        ("/vrf", json!("Blue")),
    ] {
        let mut block = block.clone();
        *block.pointer_mut(path).unwrap() = other;
        assert!(defaults.load(block).network.is_err(), "{path}");
    }
    // Two spellings of a key, one with another value.
    let mut block = block;
    block["VRF"] = json!("mine");
    assert!(defaults.mistakes(block).contains("ipam.VRF: locked"));
}

#[test]
fn a_range_of_a_block_may_say_no_locked_key_unless_all_of_its_ranges_are_those_of_the_defaults() {
    let ranges =
        json!([[{ "subnet": "10.1.0.0/24", "namespaces": ["db"] }, { "subnet": "10.2.0.0/24", "NODES": ["a*"] }]]);
    let defaults = Defaults::with(&json!({ "locked": ["namespaces", "nodes"], "ranges": ranges }));
    assert!(defaults.load(json!({ "ranges": ranges })).network.is_ok());
    let mut others = ranges.clone();
    others[0][0]["exclude"] = json!(["10.1.0.9"]);
    assert_snapshot!(defaults.mistakes(json!({ "ranges": others })).replace("; (", ";\n("), @r"
    2 mistakes: (1) ipam.ranges[0][0].namespaces: locked by the node defaults, <defaults>; remove it from the ipam block;
    (2) ipam.ranges[0][1].NODES: locked by the node defaults, <defaults>; remove it from the ipam block
    ");
}

#[test]
fn a_locked_selector_is_the_same_only_with_the_same_labels() {
    let labels = json!({ "rack": "7", "gpu": "" });
    let ranges = |labels: &Value| json!({ "ranges": [[{ "subnet": "10.1.0.0/24", "nodeSelector": labels }]] });
    let flat = |labels: &Value| json!({ "subnet": "10.1.0.0/24", "nodeSelector": labels });
    let with = |mut keys: Value| {
        keys["locked"] = json!(["nodeSelector"]);
        Defaults::with(&keys)
    };
    let (of_ranges, of_flat) = (with(ranges(&labels)), with(flat(&labels)));
    let may_say =
        |labels: Value| [of_ranges.load(ranges(&labels)).network.is_ok(), of_flat.load(flat(&labels)).network.is_ok()];
    assert_eq!(may_say(json!({ "gpu": "", "rack": "7" })), [true; 2]);
    for other in [json!({ "rack": "7" }), json!({ "Rack": "7", "gpu": "" }), json!({ "rack": "8", "gpu": "" })] {
        assert_eq!(may_say(other.clone()), [false; 2], "{other}");
    }
}

#[test]
fn a_key_that_is_locked_and_empty_is_forgiven() {
    let defaults = Defaults::with(&json!({ "locked": ["vrf", "namespaces"] }));
    let empty = with_subnet(json!({
        "store": "", "etcdConfig": null, "dataDir": " ", "kubeConfig": "", "log": null, "vrf": "", "namespaces": null,
        "nodeName": "", "ranges": [[{ "subnet": "10.2.0.0/24", "namespaces": null }]],
    }));
    let loaded = defaults.load(empty);
    assert!(loaded.network.is_ok(), "{}", loaded.network.unwrap_err());
    assert_eq!(loaded.warnings, []);
}

#[test]
fn a_list_that_locks_or_opens_nothing_is_a_mistake() {
    let mistakes = |keys: Value| Defaults::with(&keys).mistakes(with_subnet(json!({})));
    assert_snapshot!([
        json!({ "locked": ["logs"] }),
        json!({ "blocksMaySet": ["dataDir"] }),
        json!({ "blocksMaySet": ["vrf"] }),
        json!({ "blocksMaySet": ["Store", "kubeconfig", "LOG"], "locked": ["etcdconfig"] }),
        json!({ "blockMaySet": ["store"] }),
    ].map(mistakes).join("\n"), @r#"
    <defaults>: locked: "logs" is not a key of the ipam block, so it would lock nothing
    <defaults>: blocksMaySet: "dataDir" opens nothing; possible are "store", "kubeConfig" and "log"
    <defaults>: blocksMaySet: "vrf" opens nothing; possible are "store", "kubeConfig" and "log"
    <defaults>: blocksMaySet: "store" is also in locked; keep one of the two
    <defaults>: blockMaySet: unknown key; did you mean blocksMaySet?
    "#);
}

#[test]
fn defaults_of_0_3_lock_what_they_locked_and_more() {
    let defaults = Defaults::with(&json!({ "locked": LOCKED_IN_0_3, "dataDir": "/run/ours" }));
    for key in KEYS_OF_0_3 {
        for (config, path) in spellings(key).iter().flat_map(|spelling| places(key, spelling)) {
            if LOCKED_IN_0_3.contains(&key) {
                assert!(locked_in(&config, &defaults).contains(&path), "{path}");
            }
        }
    }
    assert!(defaults.load(with_subnet(json!({ "cooldown": "5s" }))).network.is_ok());
}

/// 0.3.0 takes an unknown key within two errors of a known one for a typing error, and then fails each ADD.
#[test]
fn defaults_of_today_are_read_by_0_3_with_a_warning_at_most() {
    let of_its_node = ["nodeName", "cluster", "stateDir", "sweep", "locked"];
    let known = || KEYS_OF_0_3.into_iter().chain(["status", "timeout", "log"]).chain(of_its_node);
    let plain = |text: &str| text.replace(['_', '-'], "").to_ascii_lowercase();
    for key in NodeOnly::KEYS.iter().copied().filter(|key| !of_its_node.contains(key)) {
        for known in known() {
            let near = if known.len() < 6 { 1 } else { 2 };
            assert!(strsim::levenshtein(&plain(key), &plain(known)) > near, "0.3.0 takes {key} for {known}");
        }
    }
    // 0.3.0 can lock every key that this version locks, except that of a store that it does not have.
    for key in UNITS.iter().flat_map(|unit| unit.keys).filter(|key| **key != "kubernetesConfig") {
        assert!(known().any(|known| known == *key), "0.3.0 does not know {key}, and refuses a lock on it");
    }
}
