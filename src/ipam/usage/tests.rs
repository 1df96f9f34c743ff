#![allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]

use std::num::NonZeroU64;

use serde_json::{Value, json};

use super::*;
use crate::store::{Key, Revision};

fn entry(key: &str, value: &Value) -> Entry {
    Entry { key: Key::new(key), value: value.to_string().into_bytes(), revision: Revision(NonZeroU64::MIN) }
}

pub(super) fn defined(network: &str, digest: u128, ranges: &Value) -> Entry {
    entry(&format!("net/default/{network}/{digest:032x}"), &json!({ "v": 1, "sets": [ranges] }))
}

pub(super) fn lease(ip: &str, network: &str, kind: &str, namespace: &str, resting: bool) -> Entry {
    let holder = json!({
        "node": "n", "containerID": "c", "ifname": "net1", "network": network,
        "pod": { "namespace": namespace, "name": "p", "uid": "u" }, "began": { "boot": "b", "boottime": 1 },
    });
    let mut lease = json!({
        "v": 1, "kind": kind, "holders": [holder], "since": "2026-11-01T10:00:00Z", "onRelease": { "rest": 30 },
    });
    if resting {
        lease["rest"] = json!({ "released": "2026-11-01T11:00:00Z", "seconds": 30 });
    }
    let ip: IpAddr = ip.parse().unwrap();
    entry(keys::lease(&Name::new("default").unwrap(), ip).as_str(), &lease)
}

pub(super) fn usage(entries: &[Entry]) -> Usage {
    let mut usage = Usage::default();
    entries.iter().for_each(|entry| usage.note(entry));
    usage
}

fn lines(usage: &Usage) -> Vec<String> {
    let size = |range: &RangeUsage| range.size.map_or("-".to_owned(), |size| size.to_string());
    let line = |range: &RangeUsage| {
        let RangeKey { network, subnet, part, .. } = &range.key;
        let subnet = subnet.map_or("-".to_owned(), |subnet| subnet.to_string());
        format!("{network} {subnet} {} {} {} {}", part, size(range), range.held, range.resting)
    };
    usage.ranges().iter().map(line).collect()
}

#[test]
fn what_is_reserved_by_hand_counts_for_every_network_that_has_it() {
    let range = |fixed: &str| json!({ "subnet": "10.0.0.0/24", "dynamic": "10.0.0.100-10.0.0.199", "fixed": fixed });
    let by_hand = |ip: &str| {
        let lease = json!({
            "v": 1, "kind": "fixed", "holders": [], "since": "2026-11-01T10:00:00Z", "onRelease": { "keep": null },
            "unused": "2026-11-01T10:00:00Z", "manual": { "reason": "printer", "at": "2026-11-01T10:00:00Z" },
        });
        entry(keys::lease(&Name::new("default").unwrap(), ip.parse().unwrap()).as_str(), &lease)
    };
    let usage = usage(&[
        defined("db", 1, &json!([range("10.0.0.10-10.0.0.19")])),
        defined("web", 1, &json!([range("10.0.0.20-10.0.0.29")])),
        by_hand("10.0.0.10"),
        by_hand("10.0.0.100"),
        by_hand("10.9.0.1"),
    ]);
    assert!(usage.unreadable().is_empty());
    let counted: Vec<String> = usage
        .counts()
        .iter()
        .map(|(group, count)| format!("{} {} {} {count}", group.key.network, group.key.part, group.state.word()))
        .collect();
    assert_eq!(
        counted,
        ["db dynamic reserved 1", "db fixed reserved 1", "web dynamic reserved 1", "web other reserved 1",]
    );
}

#[test]
fn an_address_counts_for_its_holders_network_and_the_part_of_the_subnet_it_lies_in() {
    let range = json!({ "subnet": "10.0.0.0/24", "dynamic": "10.0.0.100-10.0.0.199", "fixed": "10.0.0.10-10.0.0.19" });
    let usage = usage(&[
        defined("db", 1, &json!([range])),
        lease("10.0.0.10", "db", "fixed", "db", false),
        lease("10.0.0.100", "db", "dynamic", "web", false),
        lease("10.0.0.101", "db", "dynamic", "web", false),
        lease("10.0.0.102", "db", "fixed", "db", false),
        lease("10.0.0.103", "db", "dynamic", "web", true),
        lease("10.0.0.250", "db", "fixed", "db", false),
        lease("10.9.9.9", "db", "fixed", "db", false),
        lease("10.0.0.104", "other", "dynamic", "db", false),
    ]);
    assert_eq!(
        lines(&usage),
        [
            "db - other - 1 0",
            "db 10.0.0.0/24 dynamic 100 3 1",
            "db 10.0.0.0/24 fixed 10 1 0",
            "db 10.0.0.0/24 other - 1 0",
            "other - other - 1 0",
        ]
    );
    let namespaces: Vec<(Option<&str>, u64)> = usage
        .counts()
        .iter()
        .filter(|(group, _)| group.key.part == RangePart::Dynamic)
        .map(|(group, count)| (group.namespace.as_deref(), *count))
        .collect();
    assert_eq!(namespaces, [(Some("web"), 2), (None, 1), (Some("db"), 1)]);
}

#[test]
fn a_subnet_has_to_give_what_any_definition_names_and_each_address_once() {
    let range = |dynamic: &str| json!([{ "subnet": "10.0.0.0/16", "dynamic": dynamic }]);
    let usage = usage(&[
        defined("db", 1, &range("10.0.1.0-10.0.1.99")),
        defined("db", 2, &range("10.0.1.50-10.0.1.119, 10.0.2.0-10.0.2.9")),
        defined("db", 3, &json!([{ "subnet": "fd00::/64", "dynamic": "fd00::1-fd00::ffff:ffff:ffff:ffff" }])),
    ]);
    assert_eq!(lines(&usage), ["db 10.0.0.0/16 dynamic 130 0 0", "db fd00::/64 dynamic 18446744073709551615 0 0"]);
}

#[test]
fn an_address_of_a_pool_counts_for_the_pool_and_for_no_other_part() {
    let range = |pools: Value| {
        let (dynamic, fixed) = ("10.0.0.100-10.0.0.199", "10.0.0.10-10.0.0.19");
        json!([{ "subnet": "10.0.0.0/24", "dynamic": dynamic, "fixed": fixed, "pools": pools }])
    };
    let usage = usage(&[
        // A definition from before the pools were declared.
        defined("db", 1, &range(json!({}))),
        defined("db", 2, &range(json!({ "db": "10.0.0.15-10.0.0.24", "web": "10.0.0.100, 10.0.0.150" }))),
        lease("10.0.0.15", "db", "fixed", "db", false),
        lease("10.0.0.20", "db", "fixed", "db", true),
        lease("10.0.0.100", "db", "dynamic", "web", false),
        lease("10.0.0.101", "db", "dynamic", "web", false),
    ]);
    assert_eq!(
        lines(&usage),
        [
            "db 10.0.0.0/24 dynamic 98 1 0",
            "db 10.0.0.0/24 fixed 5 0 0",
            "db 10.0.0.0/24 pool db 10 1 1",
            "db 10.0.0.0/24 pool web 2 1 0",
        ]
    );
}

#[test]
fn what_cannot_be_read_is_counted_apart() {
    let usage = usage(&[
        entry("ip/default/4/010.000.000.001", &json!({ "v": 99 })),
        entry("ip/default/4/010.000.000.002", &json!("?")),
        entry("net/default/db/00000000000000000000000000000001", &json!({ "v": 99 })),
        entry("at/n/c/net1/db", &json!({})),
    ]);
    assert_eq!(lines(&usage), [""; 0]);
    assert_eq!(usage.unreadable().values().copied().collect::<Vec<_>>(), [2]);
}
#[test]
fn what_is_kept_for_an_owner_is_no_more_free_than_what_is_held() {
    let mut kept = lease("10.0.0.100", "db", "sticky", "db", false);
    let mut value: Value = serde_json::from_slice(&kept.value).unwrap();
    value["unused"] = json!("2026-11-01T11:00:00Z");
    kept.value = value.to_string().into_bytes();
    let range = json!({ "subnet": "10.0.0.0/24", "dynamic": "10.0.0.100-10.0.0.199" });
    let usage = usage(&[defined("db", 1, &json!([range])), kept]);
    assert_eq!(lines(&usage), ["db 10.0.0.0/24 dynamic 100 0 0"]);
    let range = &usage.ranges()[0];
    assert_eq!((range.reserved, range.free()), (1, Some(99)));
    let states: Vec<LeaseState> = usage.counts().keys().map(|group| group.state).collect();
    assert_eq!(states, [LeaseState::Reserved]);
}

#[test]
fn what_a_definition_excludes_is_in_no_window() {
    let range = json!({ "subnet": "10.0.0.0/24", "dynamic": "10.0.0.100-10.0.0.199", "fixed": "10.0.0.10-10.0.0.19",
        "exclude": "10.0.0.12-10.0.0.13,10.0.0.50" });
    let usage = usage(&[defined("db", 1, &json!([range])), lease("10.0.0.12", "db", "fixed", "db", false)]);
    assert_eq!(
        lines(&usage),
        ["db 10.0.0.0/24 dynamic 100 0 0", "db 10.0.0.0/24 fixed 8 0 0", "db 10.0.0.0/24 other - 1 0"]
    );
}
