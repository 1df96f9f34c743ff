//! Properties: any document is read or refused, and a valid one never gives an address that it does not include.

use std::net::IpAddr;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{NO_DEFAULTS, config, load_with, network};
use crate::config::document::{Document, IpamBlock, NodeOnly};
use crate::config::tests::defaults::Defaults;
use crate::ipam::address::{Family, Span, address};

/// Any JSON, with some known keys and with texts that look like values.
fn any_json() -> impl Strategy<Value = Value> {
    let texts = prop_oneof![
        "[0-9a-f.:/-]{0,20}",
        "[0-9.]{0,6}(ns|us|ms|s|m|h|MB|KiB)?",
        "/?[a-z/]{0,8}",
        ".{0,8}",
        Just("10.1.0.0/24".to_owned()),
        Just("10.1.0.9-10.1.0.12".to_owned()),
        Just("fd00::/64".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        texts.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((keys(), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn keys() -> impl Strategy<Value = String> {
    let known: Vec<&str> = [
        IpamBlock::KEYS,
        NodeOnly::KEYS,
        &["dst", "gw", "etcdURL", "time", "file", "level", "ttl", "topology.kubernetes.io/zone"],
    ]
    .concat();
    prop_oneof![
        4 => proptest::sample::select(known).prop_map(str::to_owned),
        1 => "[a-zA-Z_]{0,12}",
    ]
}

fn any_object() -> impl Strategy<Value = Value> {
    proptest::collection::vec((keys(), any_json()), 0..12).prop_map(|pairs| Value::Object(pairs.into_iter().collect()))
}

/// A subnet of up to 256 addresses, and positions in it.
fn subnets() -> impl Strategy<Value = (Family, u128, u8)> {
    (prop_oneof![Just(Family::V4), Just(Family::V6)], 0_u128..200, 2_u8..=8).prop_map(|(family, net, width)| {
        let base = match family {
            Family::V4 => 10_u128 << 24,
            Family::V6 => 0xfd_u128 << 120,
        };
        (family, base + (net << 8), width)
    })
}

proptest! {
    #[test]
    fn any_document_is_read_or_refused(ipam in any_object(), runtime in any_json(), is_pod: bool) {
        let mut config = config(ipam);
        config["runtimeConfig"] = json!({ "ipRanges": runtime });
        let loaded = load_with(&config, NO_DEFAULTS, is_pod);
        if let Err(mistakes) = &loaded.network {
            prop_assert!(!mistakes.0.is_empty() && !mistakes.to_string().is_empty());
        }
        if let Err(mistakes) = &loaded.settings.store {
            prop_assert!(!mistakes.0.is_empty());
        }
        prop_assert!(!config["ipam"].is_object() || loaded.settings.timeout.as_millis() >= 100);
    }

    #[test]
    fn a_valid_config_gives_only_what_it_says(
        (family, base, width) in subnets(),
        (start, end, gateway) in any::<(u8, u8, u8)>(),
        fixed in proptest::option::of(any::<(u8, u8)>()),
        holes in proptest::collection::vec(any::<(u8, u8)>(), 0..3),
    ) {
        let size = 1_u128 << width;
        let at = |place: u8| address(family, base + u128::from(place) % size);
        let sorted = |(a, b): (u8, u8)| { let (a, b) = (at(a), at(b)); if a <= b { (a, b) } else { (b, a) } };
        let (start, end) = sorted((start, end));
        let gateway = at(gateway);
        let mut block: Map<String, Value> = json!({
            "subnet": format!("{}/{}", address(family, base), family.bits() - width),
            "rangeStart": start, "rangeEnd": end, "gateway": gateway,
            "exclude": holes.iter().map(|hole| { let (a, b) = sorted(*hole); format!("{a}-{b}") }).collect::<Vec<_>>(),
        }).as_object().unwrap().clone();
        let fixed = fixed.map(sorted);
        if let Some((first, last)) = fixed {
            block.insert("fixedStart".to_owned(), json!(first));
            block.insert("fixedEnd".to_owned(), json!(last));
        }
        let loaded = super::loaded(Value::Object(block.clone()));
        let Ok(read) = loaded.network else {
            // Such a config can be wrong in two ways: no address is left, or the gateway is at the edge.
            let mistakes = loaded.network.unwrap_err().to_string();
            let at_the_edge = family == Family::V4 && (gateway == address(family, base) || gateway == address(family, base + size - 1));
            let expected = if at_the_edge { "no gateway can have it" } else { "is left to give" };
            prop_assert!(mistakes.contains(expected), "{}", mistakes);
            return Ok(());
        };
        prop_assert_eq!(&network(Value::Object(block)), &read);
        let range = &read.sets[0].ranges()[0];
        let (dynamic, whole) = (range.dynamic(), Span::of_net(range.subnet));
        let span = |(first, last): (IpAddr, IpAddr)| Span::new(first, last).unwrap();
        for number in base..base + size {
            let ip = address(family, number);
            let reserved = ip == whole.first() || (family == Family::V4 && ip == whole.last());
            let excluded = holes.iter().any(|hole| span(sorted(*hole)).contains(ip));
            let in_fixed = fixed.is_some_and(|fixed| span(fixed).contains(ip));
            let given = !reserved && !excluded && !in_fixed && ip != gateway && span((start, end)).contains(ip);
            prop_assert_eq!(dynamic.contains(ip), given, "{}", ip);
        }
        prop_assert!(dynamic.iter().all(|span| whole.covers(span)));
    }
}

#[test]
fn a_megabyte_of_hostile_config_is_read_with_little_work() {
    let keys: Map<String, Value> = (0..60_000).map(|i| (format!("subne{i}"), Value::Null)).collect();
    let one = json!({ "subnet": "10.0.0.0/8" });
    let excludes: Vec<String> = (0..1024_u32).map(|i| format!("10.0.{}.{}", i / 128, i % 128 * 2)).collect();
    for ipam in [
        Value::Object(keys),
        json!({ "ranges": vec![vec![one.clone(); 1024]; 30] }),
        json!({ "ranges": vec![vec![one.clone()]; 256], "exclude": excludes }),
        json!({ "ranges": [vec![one; 256]], "exclude": excludes }),
        json!({ "subnet": "10.0.0.0/8", "nodes": ["*a".repeat(200_000)] }),
        json!({ "etcdConfig": { "etcdURL": "a:1,".repeat(250_000) } }),
    ] {
        assert!(!super::mistakes(ipam).0.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_node_defaults_are_read_or_refused(defaults in any_object(), ipam in any_object()) {
        let defaults = Defaults::with(&defaults);
        let loaded = load_with(&config(ipam), defaults.path(), false);
        prop_assert!(loaded.network.is_ok() || !loaded.network.unwrap_err().0.is_empty());
    }
}
