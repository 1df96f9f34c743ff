//! Tests of pool names, and of dividing a pool among range sets.
#![allow(clippy::unwrap_used)]

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::config::Network;
use crate::ipam::address::{Family, address};
use crate::ipam::decide::tests::world::{network, range};
use crate::ipam::range::NotAssignable;

fn span(text: &str) -> Span {
    text.parse().unwrap()
}

/// A pool of these addresses, for pods of these namespaces.
pub(crate) fn pool(name: &str, addresses: &[&str], namespaces: &[&str]) -> Pool {
    Pool {
        name: PoolName::new(name).unwrap(),
        addresses: addresses.iter().map(|text| span(text)).collect(),
        namespaces: namespaces.iter().map(|glob| (*glob).to_owned()).collect(),
    }
}

/// The same network with these pools.
pub(crate) fn with_pools(mut network: Network, pools: Vec<Pool>) -> Network {
    for pool in pools {
        let pool = Arc::new(pool);
        let shares =
            divide(&pool, &[], &network.sets.iter().map(|set| set.ranges().iter().collect()).collect::<Vec<_>>());
        let given = shares.concat();
        let sets = network.sets.into_iter().zip(shares);
        network.sets = sets.map(|(set, share)| set.with_pool(&pool, share, &given)).collect();
        network.pools.push(pool);
    }
    network
}

/// Each set's share of a pool, with these excludes of the block.
fn divided(addresses: &[&str], exclude: &[&str], sets: &[Vec<Range>]) -> String {
    let exclude: Vec<Span> = exclude.iter().map(|text| span(text)).collect();
    let sets: Vec<Vec<&Range>> = sets.iter().map(|set| set.iter().collect()).collect();
    let text = |share: &Vec<Span>| share.iter().map(Span::to_string).collect::<Vec<_>>().join(", ");
    divide(&pool("db", addresses, &[]), &exclude, &sets).iter().map(text).collect::<Vec<_>>().join(" | ")
}

#[test]
fn a_name_is_a_label_that_begins_with_a_letter() {
    let longest = "a".repeat(63);
    for name in ["db", "a", "db-2", "d--b", &longest] {
        assert_eq!(PoolName::new(name).unwrap().to_string(), name);
    }
    let too_long = "a".repeat(64);
    for name in ["", "2db", "-db", "db-", "DB", "d_b", "d.b", "d b", "10.0.0.7", "fd00::7", "dé", &too_long] {
        assert!(PoolName::new(name).is_err(), "{name}");
        assert!(serde_json::from_value::<PoolName>(name.into()).is_err(), "{name}");
    }
    let shown = PoolName::new("A".repeat(10_000)).unwrap_err().to_string();
    assert!(shown.len() < 400, "{shown}");
}

#[test]
fn a_pool_is_given_in_its_own_order_without_what_nobody_can_have() {
    let sets = [vec![range("10.0.0.0/24"), range("10.0.1.0/24")], vec![range("fd00::/64")]];
    let of = |addresses: &[&str], exclude: &[&str]| divided(addresses, exclude, &sets);
    assert_eq!(of(&["10.0.1.7", "10.0.0.20-10.0.0.22"], &[]), "10.0.1.7, 10.0.0.20-10.0.0.22 | ");
    assert_eq!(of(&["10.0.0.20-10.0.0.22", "fd00::7"], &[]), "10.0.0.20-10.0.0.22 | fd00::7");
    // Network and broadcast addresses, and the gateway.
    assert_eq!(of(&["10.0.0.0/29"], &[]), "10.0.0.2-10.0.0.7 | ");
    assert_eq!(of(&["10.0.0.254-10.0.1.3"], &[]), "10.0.0.254, 10.0.1.2-10.0.1.3 | ");
    assert_eq!(of(&["fd00::/126"], &[]), " | fd00::2-fd00::3");
    assert_eq!(of(&["10.0.0.20-10.0.0.24"], &["10.0.0.22", "10.0.0.24/29"]), "10.0.0.20-10.0.0.21, 10.0.0.23 | ");
    assert_eq!(of(&["10.0.0.20"], &["10.0.0.16/28"]), " | ");
    // Outside every subnet.
    assert_eq!(of(&["10.0.9.7"], &[]), " | ");
    // A /64 costs what one address does.
    assert_eq!(of(&["fd00::/64"], &[]), " | fd00::2-fd00::ffff:ffff:ffff:ffff");
}

#[test]
fn the_window_for_fixed_addresses_does_not_bind_a_pool_and_the_excludes_of_its_range_do() {
    let fixed = Some(span("10.0.0.10-10.0.0.19"));
    let range = Range { fixed, exclude: vec![span("10.0.0.12")], ..range("10.0.0.0/24") };
    assert_eq!(divided(&["10.0.0.11-10.0.0.13", "10.0.0.77"], &[], &[vec![range]]), "10.0.0.11, 10.0.0.13, 10.0.0.77");
}

#[test]
fn of_sets_that_share_a_subnet_the_one_whose_window_has_an_address_gives_it() {
    let part = |window: &str| Range { window: span(window), ..range("10.0.0.0/24") };
    let sets = [vec![part("10.0.0.10-10.0.0.19")], vec![part("10.0.0.30-10.0.0.39")]];
    assert_eq!(
        divided(&["10.0.0.28-10.0.0.31", "10.0.0.12"], &[], &sets),
        "10.0.0.28-10.0.0.29, 10.0.0.12 | 10.0.0.30-10.0.0.31"
    );
    // The other set assigns what one of them excludes.
    let without = Range { exclude: vec![span("10.0.0.12")], ..part("10.0.0.10-10.0.0.19") };
    assert_eq!(divided(&["10.0.0.11-10.0.0.12"], &[], &[vec![without], sets[1].clone()]), "10.0.0.11 | 10.0.0.12");
    // Neither assigns the other's gateway.
    let other = Range { gateway: Some("10.0.0.31".parse().unwrap()), ..part("10.0.0.30-10.0.0.39") };
    assert_eq!(divided(&["10.0.0.30-10.0.0.32"], &[], &[sets[0].clone(), vec![other]]), " | 10.0.0.30, 10.0.0.32");
}

#[test]
fn what_is_in_a_pool_is_not_random_and_may_be_requested_outside_the_window() {
    let fixed = span("10.0.0.10-10.0.0.19");
    let network = with_pools(
        network(vec![vec![Range { fixed: Some(fixed), ..range("10.0.0.0/27") }]]),
        vec![pool("db", &["10.0.0.20-10.0.0.24"], &["db"]), pool("web", &["10.0.0.12", "10.0.0.26"], &[])],
    );
    let range = &network.sets[0].ranges()[0];
    assert_eq!(range.dynamic().to_string(), "10.0.0.2-10.0.0.9, 10.0.0.25, 10.0.0.27-10.0.0.30");
    assert_eq!(range.requestable().to_string(), "10.0.0.10-10.0.0.24, 10.0.0.26");
    let assignable = |ip: &str| range.assignable(ip.parse().unwrap());
    assert_eq!(assignable("10.0.0.24"), Ok(()));
    assert_eq!(assignable("10.0.0.25"), Err(NotAssignable::OutsideFixedWindow(fixed)));
    let name_of = |ip: &str| range.pool_of(ip.parse().unwrap()).map(|pool| pool.name.to_string());
    assert_eq!(
        ["10.0.0.12", "10.0.0.13", "10.0.0.24"].map(name_of),
        [Some("web".to_owned()), None, Some("db".to_owned())]
    );
}

/// Ranges of small subnets, possibly the same one, each with a window, a window of fixed addresses and a hole.
fn sets() -> impl Strategy<Value = Vec<Vec<Range>>> {
    let range =
        (prop_oneof![Just("10.0.0.0/28"), Just("10.0.0.16/28")], any::<(u8, u8)>(), any::<(u8, u8)>(), any::<u8>());
    let range = range.prop_map(|(subnet, window, fixed, hole)| {
        let range = Range::of_subnet(subnet.parse().unwrap());
        let first = Span::of_net(range.subnet).numbers().0;
        let at = |place: u8| first + u128::from(place % 16);
        let between = |(a, b): (u8, u8)| Span::of_numbers(Family::V4, at(a).min(at(b)), at(a).max(at(b))).unwrap();
        let (window, fixed) = (between(window), Some(between(fixed)).filter(|_| hole % 2 == 0));
        Range { window, fixed, exclude: vec![between((hole, hole))], ..range }
    });
    proptest::collection::vec(proptest::collection::vec(range, 1..=2), 1..=3)
}

proptest! {
    #[test]
    fn no_range_draws_what_is_in_a_pool_and_each_address_of_it_is_of_one_set(
        sets in sets(),
        (first, length) in (0_u128..32, 0_u128..16),
    ) {
        let first = (10 << 24) + first;
        let whole = Span::of_numbers(Family::V4, first, first + length).unwrap();
        let pool = Pool { addresses: vec![whole], ..pool("db", &[], &[]) };
        let network = with_pools(network(sets.clone()), vec![pool.clone()]);
        let ranges = || network.sets.iter().flat_map(|set| set.ranges());
        for number in whole.numbers().0..=whole.numbers().1 {
            let ip: IpAddr = address(Family::V4, number);
            prop_assert!(!ranges().any(|range| range.dynamic().contains(ip)), "{}", ip);
            let of = network.sets.iter().filter(|set| set.share_of(&pool.name).iter().any(|span| span.contains(ip)));
            let without_window = |range: &Range| Range { fixed: None, ..range.clone() }.assignable(ip).is_ok();
            let is_gateway = ranges().any(|range| range.gateway == Some(ip));
            let is_given = !is_gateway && sets.iter().flatten().any(without_window);
            prop_assert_eq!(of.count(), usize::from(is_given), "{}", ip);
        }
    }
}
