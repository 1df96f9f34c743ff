#![allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn span(text: &str) -> Span {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn lease(state: &str) -> Stored<Lease> {
    let mut lease =
        json!({ "v": 1, "kind": "dynamic", "holders": [], "since": "2026-11-01T10:00:00Z", "onRelease": "forget" });
    match state {
        "held" => {}
        "reserved" => lease["unused"] = json!("2026-11-01T10:00:00Z"),
        "resting" => lease["rest"] = json!({ "released": "2026-11-01T10:00:00Z", "seconds": 30 }),
        "foreign" => {
            lease["foreign"] = json!({
                "mac": "02:42:ac:11:00:07", "network": "db", "node": "n", "answered": "2026-11-01T10:00:00Z",
            });
        }
        _ => lease["v"] = json!(99),
    }
    Stored::read(&serde_json::to_vec(&lease).unwrap())
}

#[test]
fn a_small_network_has_a_block_for_each_address() {
    let ground = vec![
        (span("10.0.0.0-10.0.0.1"), Ground::Never),
        (span("10.0.0.2-10.0.0.3"), Ground::Request),
        (span("10.0.0.4-10.0.0.6"), Ground::Random),
    ];
    let mut map = AddressMap::new(net("10.0.0.0/29"), 64, ground);
    for (address, state) in [
        ("10.0.0.1", "held"),
        ("10.0.0.2", "reserved"),
        ("10.0.0.4", "resting"),
        ("10.0.0.5", "foreign"),
        ("10.0.0.7", "?"),
    ] {
        map.note(ip(address), &lease(state));
    }
    map.note(ip("10.0.0.8"), &lease("held"));
    assert_eq!((map.blocks().len(), map.block_size()), (8, 1));
    let word = |block: Block| {
        let StateCounts { held, reserved, resting, foreign, unreadable, random, request, never } = block.counts;
        format!("{} {held}{reserved}{resting}{foreign}{unreadable} {random}{request}{never}", block.span)
    };
    assert_eq!(
        map.blocks().map(word).collect::<Vec<_>>(),
        [
            "10.0.0.0 00000 001",
            "10.0.0.1 10000 000",
            "10.0.0.2 01000 000",
            "10.0.0.3 00000 010",
            "10.0.0.4 00100 000",
            "10.0.0.5 00010 000",
            "10.0.0.6 00000 100",
            "10.0.0.7 00001 000",
        ]
    );
    assert_eq!(map.closer(), None, "it shows every address already");
}

#[test]
fn a_block_is_the_smallest_power_of_two_that_keeps_the_limit() {
    for (network, limit, blocks, size) in [
        ("10.0.0.0/16", 2048, 2048, 32),
        ("10.0.0.0/16", 3000, 2048, 32),
        ("10.0.0.0/16", 1, 1, 65_536),
        ("10.0.0.0/32", 2048, 1, 1),
        ("0.0.0.0/0", 1024, 1024, 1 << 22),
        ("fd00::/64", 1024, 1024, 1 << 54),
        ("::/0", 1024, 1024, 1 << 118),
        ("::/0", 1, 1, u128::MAX),
    ] {
        let map = AddressMap::new(net(network), limit, vec![(Span::of_net(net(network)), Ground::Random)]);
        assert_eq!((map.blocks().len(), map.block_size()), (blocks, size), "{network} {limit}");
        assert_eq!(map.blocks().last().unwrap().span.last(), net(network).broadcast(), "{network} {limit}");
        assert_eq!(map.total().random, Span::of_net(net(network)).len(), "{network} {limit}");
    }
}

#[test]
fn a_closer_map_has_all_leases() {
    let mut map = AddressMap::new(net("fd00::/64"), 1024, Vec::new());
    assert_eq!(map.closer(), None);
    map.note(ip("fd00::1:5"), &lease("held"));
    assert_eq!(map.closer(), Some(net("fd00::1:5/128")));
    map.note(ip("fd00::1:ff"), &lease("held"));
    assert_eq!(map.closer(), Some(net("fd00::1:0/120")));
    map.note(ip("fd00::ffff:0:0:1"), &lease("held"));
    assert_eq!(map.closer(), None);
}

proptest! {
    /// Every address by itself, against the blocks.
    #[test]
    fn blocks_count_every_address_once(
        prefix in 22_u8..=32, limit in 1_u32..300,
        ends in proptest::collection::btree_set(0_u32..1024, 0..6),
        leases in proptest::collection::btree_map(0_u32..1024, 0_usize..5, 0..40),
    ) {
        let network = IpNet::new(ip("10.0.0.0"), prefix).unwrap();
        let base = number(ip("10.0.0.0"));
        let kinds = [Ground::Random, Ground::Request, Ground::Never, Ground::Unknown];
        let ends: Vec<u128> = ends.into_iter().map(|end| base + u128::from(end)).collect();
        let ground: Vec<(Span, Ground)> = ends
            .windows(2)
            .enumerate()
            .map(|(i, two)| (Span::of_numbers(Family::V4, two[0], two[1] - 1).unwrap(), kinds[i % 4]))
            .collect();
        let mut map = AddressMap::new(network, limit, ground.clone());
        let states = ["held", "reserved", "resting", "foreign", "?"];
        let leases: BTreeMap<IpAddr, usize> =
            leases.into_iter().map(|(at, state)| (address(Family::V4, base + u128::from(at)), state)).collect();
        for (ip, state) in &leases {
            map.note(*ip, &lease(states[*state]));
        }
        prop_assert!(map.blocks().len() <= limit as usize);
        let mut next = base;
        for Block { span, counts } in map.blocks() {
            let (first, last) = span.numbers();
            prop_assert_eq!(first, next);
            next = last + 1;
            let mut expected = StateCounts::default();
            for ip in (first..=last).map(|at| address(Family::V4, at)) {
                if let Some(state) = leases.get(&ip) {
                    let StateCounts { held, reserved, resting, foreign, unreadable, .. } = &mut expected;
                    *[held, reserved, resting, foreign, unreadable][*state] += 1;
                } else if let Some((_, ground)) = ground.iter().find(|(span, _)| span.contains(ip)) {
                    match ground {
                        Ground::Random => expected.random += 1,
                        Ground::Request => expected.request += 1,
                        Ground::Never => expected.never += 1,
                        Ground::Unknown => {}
                    }
                }
            }
            prop_assert_eq!(counts, expected, "{}", span);
        }
        prop_assert_eq!(next, number(network.broadcast()) + 1);
    }
}
