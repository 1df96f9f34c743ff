//! Durations, sizes, names, spelling of keys, and the plain keys of the block.

use std::time::Duration;

use insta::{assert_debug_snapshot, assert_snapshot};
use serde_json::{Value, json};

use super::{loaded, mistakes, network, table, with_subnet};
use crate::config::quantity::{QuantityError, duration, size};
use crate::config::{Cooldown, Level, LogFormat};

#[test]
fn durations_are_read_as_go_reads_them() {
    for (text, expected) in [
        ("0", Duration::ZERO),
        ("0s", Duration::ZERO),
        ("30s", Duration::from_secs(30)),
        ("+5s", Duration::from_secs(5)),
        ("5m", Duration::from_secs(300)),
        ("1h30m", Duration::from_secs(5400)),
        ("24h", Duration::from_secs(86400)),
        ("300ms", Duration::from_millis(300)),
        ("1.5h", Duration::from_secs(5400)),
        (".5s", Duration::from_millis(500)),
        ("1.s", Duration::from_secs(1)),
        ("0.1000000000000000000000s", Duration::from_millis(100)),
        ("1us", Duration::from_micros(1)),
        ("1µs1ns", Duration::from_nanos(1001)),
    ] {
        assert_eq!(duration(text), Ok(expected), "{text}");
    }
    for text in ["", "s", ".s", "1", "1.5", "-1s", "1d", "1s2", "1 s", "h1", "1e3s", "9999999999999999999999h", "１s"]
    {
        assert!(duration(text).is_err(), "{text}");
    }
    assert_eq!(duration("10"), Err(QuantityError::NoUnit("10".to_owned())));
}

#[test]
fn sizes_are_read_with_units_of_1000_and_of_1024() {
    for (text, expected) in [
        ("65536", 65536),
        ("10MB", 10_000_000),
        ("10 MB", 10_000_000),
        ("64KiB", 65536),
        ("1Gi", 1 << 30),
        ("2k", 2000),
    ] {
        assert_eq!(size(text), Ok(expected), "{text}");
    }
    for text in ["", "MB", "1.5MB", "-1", "1TB", "99999999999GiB", "１"] {
        assert!(size(text).is_err(), "{text}");
    }
}

#[test]
fn without_any_key_the_defaults_hold() {
    let mut settings = loaded(json!({})).settings;
    settings.node = "node".parse().unwrap();
    assert_debug_snapshot!(settings, @r#"
    CallSettings {
        node: Name(
            "node",
        ),
        former_nodes: [],
        cluster: None,
        former_clusters: [],
        state_dir: "/var/lib/kube-ipam/node",
        vrf: Name(
            "default",
        ),
        store: Ok(
            Embedded {
                data_dir: "/var/lib/kube-ipam/store",
            },
        ),
        timeout: 10s,
        log: LogConfig {
            file: "/var/log/kube-ipam.log",
            level: Info,
            format: Text,
            rotate_bytes: 10485760,
        },
        status_strict: false,
        kubeconfigs: [
            "/nonexistent/kubeconfig",
            "/etc/kubernetes/pki/kubectl.kubeconfig",
        ],
        sweep: Ok(
            SweepConfig {
                min_age: 300s,
                max_share: 0.2,
            },
        ),
        host_local: [
            "/var/lib/cni/networks/db-net",
        ],
    }
    "#);
    assert_eq!(network(with_subnet(json!({}))).cooldown, Cooldown { seconds: 30, strict: false });
}

#[test]
fn the_node_is_the_host_in_lower_case() {
    let host = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    assert_eq!(loaded(json!({})).settings.node.as_str(), host);
}

#[test]
fn a_cooldown_is_a_duration_or_an_object() {
    let cooldown = |value: Value| network(with_subnet(json!({ "cooldown": value }))).cooldown;
    assert_eq!(cooldown(json!("5m")), Cooldown { seconds: 300, strict: false });
    assert_eq!(cooldown(json!("0s")), Cooldown { seconds: 0, strict: false });
    assert_eq!(cooldown(json!(0)), Cooldown { seconds: 0, strict: false });
    assert_eq!(cooldown(json!("10ms")), Cooldown { seconds: 1, strict: false });
    assert_eq!(cooldown(json!({ "time": "1h", "strict": true })), Cooldown { seconds: 3600, strict: true });
    assert_eq!(cooldown(json!({ "strict": true })), Cooldown { seconds: 30, strict: true });
}

#[test]
fn a_log_is_a_file_or_an_object() {
    let log = |value: Value| loaded(json!({ "log": value })).settings.log;
    assert_eq!(log(json!("/run/x.log")).file.to_str(), Some("/run/x.log"));
    let log = log(json!({ "file": "/run/x.log", "level": "Debug", "format": "json", "rotate": "64KiB" }));
    assert_eq!((log.level, log.format, log.rotate_bytes), (Level::Debug, LogFormat::Json, 65536));
}

#[test]
fn host_local_is_looked_for_in_its_default_folder_and_in_data_dir() {
    let folders = |ipam| loaded(ipam).settings.host_local;
    assert_debug_snapshot!(folders(json!({ "dataDir": "/run/my-networks" })), @r#"
    [
        "/run/my-networks/db-net",
        "/var/lib/cni/networks/db-net",
    ]
    "#);
    assert_debug_snapshot!(folders(json!({ "dataDir": "/var/lib/cni/networks" })), @r#"
    [
        "/var/lib/cni/networks/db-net",
    ]
    "#);
}

#[test]
fn case_of_keys_empty_texts_and_nulls_are_forgiven() {
    let network = network(json!({
        "SUBNET": "10.1.0.0/24", "rangestart": "10.1.0.9", "gateway": "", "rangeEnd": null, "exclude": [],
        "routes": [{ "DST": "10.2.0.0/16", "gw": "" }],
    }));
    assert_eq!(network.sets[0].ranges()[0].window.to_string(), "10.1.0.9-10.1.0.254");
    assert_eq!((network.routes.len(), network.routes[0].gw), (1, None));
    let both = super::network(json!({ "Subnet": "10.9.0.0/24", "subnet": "10.1.0.0/24" }));
    assert_eq!(both.sets[0].ranges()[0].subnet.to_string(), "10.1.0.0/24");
}

#[test]
fn a_near_miss_of_a_key_is_a_mistake_that_names_it() {
    let misspelt = |key: &str| with_subnet(Value::Object([(key.to_owned(), json!("x"))].into_iter().collect()));
    assert_snapshot!(table(
        ["range_start", "rangestrat", "range-end", "subnets", "exclud", "etcd_config", "range", "data_dir", "timeouts",
         "vrfs", "dnss", "route", "fixed_start", "namespace", "anotations", "node"].map(misspelt)
    ), @r#"
    ipam.range_start: a key of whereabouts, unknown here; write instead: "rangeStart"
    ipam.rangestrat: unknown key; did you mean rangeStart?
    ipam.range-end: unknown key; did you mean rangeEnd?
    ipam.subnets: unknown key; did you mean subnet?
    ipam.exclud: unknown key; did you mean exclude?
    ipam.etcd_config: unknown key; did you mean etcdConfig?
    ipam.range: a key of whereabouts, unknown here; write instead: "subnet", with "rangeStart" and "rangeEnd" for a part of it
    ipam.data_dir: unknown key; did you mean dataDir?
    ipam.timeouts: unknown key; did you mean timeout?
    ipam.vrfs: unknown key; did you mean vrf?
    ipam.dnss: unknown key; did you mean dns?
    ipam.route: unknown key; did you mean routes?
    ipam.fixed_start: unknown key; did you mean fixedStart?
    ipam.namespace: unknown key; did you mean namespaces?
    ipam.anotations: unknown key; did you mean annotations?
    ipam.node: unknown key; did you mean nodes?
    "#);
}

#[test]
fn any_other_unknown_key_is_a_warning_and_no_more() {
    let loaded = loaded(with_subnet(json!({
        "mode": "bridge", "_comment": "x", "log_level": "debug", "addresses": [], "range": "", "routes": [{ "dst": "::/0", "via": 1 }],
        "x".repeat(500): 1,
    })));
    assert!(loaded.network.is_ok());
    assert_snapshot!(loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"), @r#"
    ipam.mode: unknown key; it has no effect
    ipam._comment: unknown key; it has no effect
    ipam.log_level: a key of whereabouts, without effect here; instead: "log" in the node defaults
    ipam.addresses: a key of static, without effect here; instead: "subnet", and the address in the pod's annotation kube-ipam.<interface>.ip
    ipam.range: a key of whereabouts, without effect here; instead: "subnet", with "rangeStart" and "rangeEnd" for a part of it
    ipam.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…: unknown key; it has no effect
    ipam.routes[0].via: unknown key; it has no effect
    "#);
}

#[test]
fn what_is_wrong_with_a_value_is_said_with_what_would_be_right() {
    let one = |key: &str, value: Value| with_subnet(Value::Object([(key.to_owned(), value)].into_iter().collect()));
    assert_snapshot!(table([
        one("timeout", json!("99ms")),
        one("timeout", json!("1h")),
        one("timeout", json!(10)),
        one("timeout", json!("10 seconds")),
        one("timeout", json!(true)),
        one("cooldown", json!(30)),
        one("cooldown", json!("-1s")),
        one("cooldown", json!("20000h")),
        one("cooldown", json!({ "time": "1d" })),
        one("cooldown", json!({ "strict": "yes" })),
        one("vrf", json!("a b")),
        one("status", json!("lax")),
        one("takeover", json!("arp")),
        one("probe", json!("never")),
        one("annotations", json!("false")),
        one("sticky", json!("yes")),
        one("sticky", json!({ "ttl": 5 })),
        one("kubeConfig", json!("kubeconfig")),
        one("dataDir", json!("../x")),
        one("log", json!("kube-ipam.log")),
        one("log", json!({ "level": "trace", "format": "xml", "rotate": "1k" })),
        one("log", json!({ "rotate": "ten" })),
        one("log", json!(["/x"])),
        one("namespaces", json!([])),
        one("nodes", json!([""])),
        one("namespaces", json!([7])),
        one("vrf", json!("x".repeat(5000))),
        one("type", json!(["a"])),
    ]), @r#"
    ipam.timeout: 99ms is out of bounds; from 100ms to 300s is possible
    ipam.timeout: 3600s is out of bounds; from 100ms to 300s is possible
    ipam.timeout: 10 has no unit; write "10s" if seconds are meant
    ipam.timeout: "10 seconds" is not a duration; write it as "30s", "5m" or "1h30m" (units: ns, us, ms, s, m, h)
    ipam.timeout: expected a duration such as "30s", found true
    ipam.cooldown: 30 has no unit; write "30s" if seconds are meant
    ipam.cooldown: "-1s" is not a duration; write it as "30s", "5m" or "1h30m" (units: ns, us, ms, s, m, h)
    ipam.cooldown: 72000000s is out of bounds; from 0ns to 31536000s is possible
    ipam.cooldown.time: "1d" is not a duration; write it as "30s", "5m" or "1h30m" (units: ns, us, ms, s, m, h)
    ipam.cooldown.strict: expected true or false, found "yes"
    ipam.vrf: "a b" is not a valid name: it must start with a letter or digit and go on with letters, digits, '_', '.' and '-'
    ipam.status: expected "strict", found "lax"
    ipam.takeover: expected "api", "probe" or "probe-required", found "arp"
    ipam.probe: expected "always", found "never"
    ipam.annotations: expected true or false, found "false"
    ipam.sticky: expected true or false, found "yes"
    ipam.sticky.ttl: 5 has no unit; write "5s" if seconds are meant
    ipam.kubeConfig: "kubeconfig" is not an absolute path; start it with '/'
    ipam.dataDir: "../x" is not an absolute path; start it with '/'
    ipam.log: "kube-ipam.log" is not an absolute path; start it with '/'
    3 mistakes: (1) ipam.log.level: expected "error", "warn", "info" or "debug", found "trace"; (2) ipam.log.format: expected "text" or "json", found "xml"; (3) ipam.log.rotate: 1000 bytes are too few; the least is 65536
    ipam.log.rotate: "ten" is not a size; write bytes, or "512KiB", "10MB", "1GiB"
    ipam.log: expected an absolute path, found a list
    ipam.namespaces: an empty list; leave it out if all are meant
    ipam.nodes[0]: an empty entry; write what is meant, or remove it
    ipam.namespaces[0]: expected a text, found 7
    ipam.vrf: a text of 5000 bytes is too long
    ipam.type: expected a text, found a list
    "#);
}

#[test]
fn mistakes_leave_the_call_settings_their_defaults() {
    let block = json!({ "timeout": "1d", "vrf": "/", "log": 5, "status": 1, "rangestrat": 1, "subnet": "x" });
    let settings = loaded(block.clone()).settings;
    assert_eq!(settings, loaded(json!({})).settings);
    assert_eq!(mistakes(block).0.len(), 6);
}

#[test]
fn a_config_without_a_block_says_where_it_belongs() {
    for (ipam, text) in [
        (Value::Null, "ipam: missing; the configuration of kube-ipam is the object \"ipam\" of the network's config"),
        (json!("kube-ipam"), "ipam: expected an object in braces, found \"kube-ipam\""),
    ] {
        assert_eq!(mistakes(ipam).to_string(), text);
    }
}
