#![allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]

use serde_json::{Value, json};

use super::super::tests::{defined, lease, usage};
use super::*;
use crate::store::Entry;

/// The status of each definition, by the last digit of its digest.
fn statuses(entries: &[Entry]) -> Vec<(char, Value)> {
    let usage = usage(entries);
    let digit = |key: &Key| key.as_str().chars().next_back().unwrap();
    usage.of_definitions().map(|(key, status)| (digit(key), serde_json::to_value(status).unwrap())).collect()
}

/// The numbers of a status without its ranges: size, held, resting, free and share.
fn total(status: &Value) -> Vec<Value> {
    ["size", "held", "resting", "free", "used"].map(|field| status[field].clone()).to_vec()
}

#[test]
fn a_status_has_the_numbers_of_each_part_of_its_subnets_and_their_sums() {
    let range = json!({
        "subnet": "10.0.0.0/24", "dynamic": "10.0.0.100-10.0.0.199", "fixed": "10.0.0.10-10.0.0.19",
        "pools": { "egress": "10.0.0.30-10.0.0.31" },
    });
    let statuses = statuses(&[
        defined("db", 1, &json!([range])),
        lease("10.0.0.10", "db", "fixed", "ns", false),
        lease("10.0.0.30", "db", "fixed", "ns", false),
        lease("10.0.0.100", "db", "dynamic", "ns", false),
        lease("10.0.0.101", "db", "dynamic", "ns", true),
        // Outside of its ranges, and outside of its subnets.
        lease("10.0.0.250", "db", "fixed", "ns", false),
        lease("10.9.0.1", "db", "fixed", "ns", false),
        lease("10.0.0.102", "web", "dynamic", "ns", false),
    ]);
    let part = |range: &str, size: u64, held: u64, resting: u64, free: u64, used: &str| {
        json!({
            "subnet": "10.0.0.0/24", "range": range, "size": size, "held": held, "reserved": 0, "resting": resting,
            "foreign": 0, "free": free, "used": used,
        })
    };
    let expected = json!({
        "size": 112, "held": 4, "reserved": 0, "resting": 1, "foreign": 0, "free": 108, "used": "3%",
        "ranges": [
            part("dynamic", 100, 1, 1, 98, "2%"), part("fixed", 10, 1, 0, 9, "10%"), part("pool egress", 2, 1, 0, 1, "50%"),
            part("other", 0, 1, 0, 0, "-"),
        ],
    });
    assert_eq!(statuses, [('1', expected)]);
}

#[test]
fn definitions_of_a_network_have_the_numbers_of_their_own_subnets() {
    let range = |subnet: &str, dynamic: &str| json!({ "subnet": subnet, "dynamic": dynamic });
    let statuses = statuses(&[
        defined("db", 1, &json!([range("10.0.0.0/24", "10.0.0.1-10.0.0.10")])),
        // The first one after it was changed, and one of another rack.
        defined("db", 2, &json!([range("10.0.0.0/24", "10.0.0.1-10.0.0.20")])),
        defined("db", 3, &json!([range("10.1.0.0/24", "10.1.0.1-10.1.0.10")])),
        // Another network on the same subnet.
        defined("web", 4, &json!([range("10.0.0.0/24", "10.0.0.1-10.0.0.10")])),
        lease("10.0.0.1", "db", "dynamic", "ns", false),
    ]);
    let totals: Vec<(char, Value)> = statuses.iter().map(|(digit, status)| (*digit, json!(total(status)))).collect();
    let expected = [
        ('1', json!([20, 1, 0, 19, "5%"])),
        ('2', json!([20, 1, 0, 19, "5%"])),
        ('3', json!([10, 0, 0, 10, "0%"])),
        ('4', json!([10, 0, 0, 10, "0%"])),
    ];
    assert_eq!(totals, expected);
}

#[test]
fn a_number_that_json_cannot_keep_is_a_text() {
    let range = json!({ "subnet": "fd00::/64", "dynamic": "fd00::1-fd00::ffff:ffff:ffff:ffff" });
    let statuses = statuses(&[defined("db", 1, &json!([range])), lease("fd00::1", "db", "dynamic", "ns", false)]);
    let expected = json!(["18446744073709551615", 1, 0, "18446744073709551614", "<1%"]);
    assert_eq!(json!(total(&statuses[0].1)), expected);
    assert_eq!(
        serde_json::to_value([Count(1 << 53), Count((1 << 53) + 1)]).unwrap(),
        json!([1u64 << 53, "9007199254740993"])
    );
}

#[test]
fn only_a_full_network_has_all_in_use() {
    let share = |used: u128, size: u128| serde_json::to_value(Fill::new(size, size - used).used).unwrap();
    assert_eq!(
        [share(0, 10), share(1, 1000), share(999, 1000), share(10, 10), share(0, 0)],
        ["0%", "<1%", "99%", "100%", "-"]
    );
}
