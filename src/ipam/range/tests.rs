//! Tests of ranges and range sets.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::ipam::address::{address, parse};
use crate::ipam::name::Name;
use crate::ipam::node_selector::LocalNode;

fn ip(text: &str) -> IpAddr {
    parse(text).unwrap()
}

fn span(text: &str) -> Span {
    text.parse().unwrap()
}

fn range(subnet: &str) -> Range {
    Range::of_subnet(subnet.parse().unwrap())
}

#[test]
fn what_is_usable_depends_on_family_and_length() {
    for (subnet, expected, gateway) in [
        ("10.1.0.0/24", "10.1.0.1-10.1.0.254", Some("10.1.0.1")),
        ("10.1.0.0/30", "10.1.0.1-10.1.0.2", Some("10.1.0.1")),
        ("10.1.0.0/31", "10.1.0.0-10.1.0.1", None),
        ("10.1.0.7/32", "10.1.0.7", None),
        ("0.0.0.0/0", "0.0.0.1-255.255.255.254", Some("0.0.0.1")),
        ("fd00::/64", "fd00::1-fd00::ffff:ffff:ffff:ffff", Some("fd00::1")),
        ("fd00::/126", "fd00::1-fd00::3", Some("fd00::1")),
        ("fd00::/127", "fd00::-fd00::1", None),
        ("fd00::7/128", "fd00::7", None),
        ("::/0", "::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some("::1")),
    ] {
        let range = range(subnet);
        assert_eq!(range.window, span(expected), "{subnet}");
        assert_eq!(range.gateway, gateway.map(ip), "{subnet}");
    }
}

#[test]
fn a_request_is_refused_with_the_reason() {
    let mut range = range("10.1.0.0/24");
    range.exclude = vec![span("10.1.0.32/28")];
    let refused = |range: &Range, text: &str| range.assignable(ip(text)).map_err(|why| why.to_string());
    for (address, why) in [
        ("10.1.0.0", "it is the network address of 10.1.0.0/24"),
        ("10.1.0.255", "it is the broadcast address of 10.1.0.0/24"),
        ("10.1.0.1", "it is the gateway of 10.1.0.0/24"),
        ("10.1.0.40", "it is excluded by 10.1.0.32-10.1.0.47"),
        ("10.1.1.4", "it is not in the subnet 10.1.0.0/24"),
        ("fd00::1", "it is not in the subnet 10.1.0.0/24"),
    ] {
        assert_eq!(refused(&range, address), Err(why.to_owned()));
    }
    assert_eq!(refused(&range, "10.1.0.4"), Ok(()));
    range.fixed = Some(span("10.1.0.10-10.1.0.19"));
    let outside = "it is outside the window for fixed addresses, 10.1.0.10-10.1.0.19 (fixedStart, fixedEnd)";
    assert_eq!(refused(&range, "10.1.0.4"), Err(outside.to_owned()));
    assert_eq!(refused(&range, "10.1.0.10"), Ok(()));
}

#[test]
fn an_address_that_is_not_random_has_a_reason() {
    let mut range = range("10.1.0.0/24");
    range.window = span("10.1.0.10-10.1.0.99");
    range.fixed = Some(span("10.1.0.10-10.1.0.19"));
    range.exclude = vec![span("10.1.0.32/28")];
    let reason = |text: &str| range.random(ip(text)).map_err(|why| why.to_string());
    for (address, why) in [
        ("10.1.0.1", "it is the gateway of 10.1.0.0/24"),
        ("10.1.0.255", "it is the broadcast address of 10.1.0.0/24"),
        ("10.1.0.12", "it is in the window for fixed addresses, 10.1.0.10-10.1.0.19 (fixedStart, fixedEnd)"),
        ("10.1.0.40", "it is excluded by 10.1.0.32-10.1.0.47"),
        ("10.1.0.100", "it is outside the window for random addresses, 10.1.0.10-10.1.0.99 (rangeStart, rangeEnd)"),
    ] {
        assert_eq!(reason(address), Err(why.to_owned()));
    }
    assert_eq!(reason("10.1.0.20"), Ok(()));
}

#[test]
fn outside_the_dynamic_window_but_inside_the_subnet_may_be_asked_for() {
    let mut range = range("10.1.0.0/24");
    range.window = span("10.1.0.100-10.1.0.199");
    assert_eq!(range.assignable(ip("10.1.0.4")), Ok(()));
}

#[test]
fn link_local_addresses_come_at_random_only_from_a_link_local_subnet() {
    assert!(!range("0.0.0.0/0").dynamic().contains(ip("169.254.1.1")));
    assert!(!range("::/0").dynamic().contains(ip("fe80::1:1")));
    assert_eq!(range("0.0.0.0/0").assignable(ip("169.254.1.1")), Ok(()));
    assert!(range("169.254.0.0/16").dynamic().contains(ip("169.254.1.1")));
    assert!(range("fe80::/64").dynamic().contains(ip("fe80::1:1")));
    let why = range("0.0.0.0/0").random(ip("169.254.1.1")).unwrap_err().to_string();
    assert_eq!(why, "it is link-local (RFC 3927), and the subnet is not");
    assert_eq!(range("169.254.0.0/16").random(ip("169.254.1.1")), Ok(()));
}

#[test]
fn special_addresses_are_never_anybodys() {
    for address in ["0.1.2.3", "127.0.0.1", "224.0.0.5", "255.255.255.255"] {
        assert!(!range("0.0.0.0/0").dynamic().contains(ip(address)), "{address}");
        assert!(matches!(range("0.0.0.0/0").assignable(ip(address)), Err(NotAssignable::Special(_))), "{address}");
    }
    for address in ["::", "::1", "ff02::1"] {
        assert!(!range("::/0").dynamic().contains(ip(address)), "{address}");
        assert!(matches!(range("::/0").assignable(ip(address)), Err(NotAssignable::Special(_))), "{address}");
    }
    assert!(!range("::/0").dynamic().contains("::ffff:10.1.2.3".parse().unwrap()));
}

#[test]
fn a_set_is_of_one_family_and_has_a_range() {
    assert!(RangeSet::new(vec![]).is_none());
    assert!(RangeSet::new(vec![range("10.1.0.0/24"), range("fd00::/64")]).is_none());
    let set = RangeSet::new(vec![range("10.1.0.0/24"), range("10.2.0.0/24")]).unwrap();
    assert_eq!(set.to_string(), "10.1.0.1-10.1.0.254 of 10.1.0.0/24, 10.2.0.1-10.2.0.254 of 10.2.0.0/24");
}

#[test]
fn of_two_ranges_that_hold_an_address_the_one_that_may_give_it_is_found() {
    let with_window = |window: &str| Range { fixed: Some(span(window)), ..range("10.1.0.0/24") };
    let set = RangeSet::new(vec![with_window("10.1.0.10-10.1.0.19"), with_window("10.1.0.20-10.1.0.29")]).unwrap();
    assert_eq!(set.range_of(ip("10.1.0.25")), Some(&set.ranges()[1]));
    assert_eq!(set.range_of(ip("10.1.0.99")), Some(&set.ranges()[0]));
    assert_eq!(set.range_of(ip("10.2.0.1")), None);
}

#[test]
fn a_node_draws_from_the_ranges_whose_globs_fit_it() {
    let on_node = |set: &RangeSet, node: &str| {
        let node = LocalNode { name: Name::new(node).unwrap(), labels: None };
        set.filter(|range| range.nodes.admits(&node))
    };
    let nodes = |glob: &str| NodeSelector { names: vec![glob.to_owned()], ..NodeSelector::default() };
    let on = |glob: &str, subnet| Range { nodes: nodes(glob), ..range(subnet) };
    let set =
        RangeSet::new(vec![on("rack1-*", "10.1.0.0/24"), range("10.2.0.0/24"), on("rack2-?", "10.3.0.0/24")]).unwrap();
    let subnets =
        |node| on_node(&set, node).unwrap().ranges().iter().map(|range| range.subnet.to_string()).collect::<Vec<_>>();
    assert_eq!(subnets("rack1-7"), ["10.1.0.0/24", "10.2.0.0/24"]);
    assert_eq!(subnets("rack2-7"), ["10.2.0.0/24", "10.3.0.0/24"]);
    assert_eq!(subnets("rack2-70"), ["10.2.0.0/24"]);
    assert!(on_node(&RangeSet::new(vec![on("rack1-*", "10.1.0.0/24")]).unwrap(), "rack2-1").is_none());
}

#[test]
fn globs_know_stars_and_question_marks() {
    for (glob, text, matches) in [
        ("", "", true),
        ("", "a", false),
        ("*", "", true),
        ("*", "abc", true),
        ("a*c", "abbc", true),
        ("a*c", "abcd", false),
        ("*a*b*", "xxaxxbxx", true),
        ("*a*b*", "xxbxxaxx", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("a**c", "ac", true),
        ("A", "a", false),
        ("[a]", "a", false),
        ("*abc", "abababc", true),
    ] {
        assert_eq!(glob_matches(glob, text), matches, "{glob} {text}");
    }
}

#[test]
fn a_glob_of_many_stars_is_matched_in_bounded_time() {
    assert!(!glob_matches(&"*a".repeat(500), &"a".repeat(499)));
    assert!(!glob_matches(&format!("{}b", "*a".repeat(200)), &"a".repeat(5000)));
}

/// The definition of a match, by trying every possibility.
fn naive_match(glob: &[u8], text: &[u8]) -> bool {
    match (glob.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            naive_match(rest, text) || text.split_first().is_some_and(|(_, t)| naive_match(glob, t))
        }
        (Some((g, glob)), Some((t, text))) => (*g == b'?' || g == t) && naive_match(glob, text),
        _ => false,
    }
}

/// Small subnets with windows, a gateway and holes anywhere.
fn ranges() -> impl Strategy<Value = Range> {
    let subnets = (prop_oneof![Just(Family::V4), Just(Family::V6)], 0_u8..=6, 1_u128..1000);
    let places =
        (any::<(u8, u8, u8, u8)>(), any::<(u8, bool, bool)>(), proptest::collection::vec(any::<(u8, u8)>(), 0..4));
    (subnets, places).prop_map(|((family, width, net), ((a, b, c, d), (g, with_gateway, with_fixed), holes))| {
        let base = match family {
            Family::V4 => (10 << 24) + (net << 7),
            Family::V6 => (0xfd << 120) + (net << 7),
        };
        let subnet = IpNet::new(address(family, base), family.bits() - width).unwrap();
        let size = 1_u128 << width;
        let at = |place: u8| base + u128::from(place) % size;
        let between = |x: u8, y: u8| Span::of_numbers(family, at(x).min(at(y)), at(x).max(at(y))).unwrap();
        Range {
            window: between(a, b),
            fixed: with_fixed.then(|| between(c, d)),
            gateway: with_gateway.then(|| address(family, at(g))),
            exclude: holes.into_iter().map(|(x, y)| between(x, y)).collect(),
            ..Range::of_subnet(subnet)
        }
    })
}

proptest! {
    #[test]
    fn a_glob_matches_what_its_definition_says(glob in "[ab?*]{0,7}", text in "[ab]{0,9}") {
        prop_assert_eq!(glob_matches(&glob, &text), naive_match(glob.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn random_and_requested_addresses_are_what_the_rules_allow_and_no_others(range in ranges()) {
        let whole = Span::of_net(range.subnet);
        let (dynamic, requestable) = (range.dynamic(), range.requestable());
        for number in whole.numbers().0..=whole.numbers().1 {
            let ip = address(range.family(), number);
            let reserved = whole.len() > 2 && (ip == whole.first() || (ip.is_ipv4() && ip == whole.last()));
            let taken = reserved || range.gateway == Some(ip) || range.exclude.iter().any(|hole| hole.contains(ip));
            let in_fixed = range.fixed.is_some_and(|window| window.contains(ip));
            prop_assert_eq!(dynamic.contains(ip), !taken && !in_fixed && range.window.contains(ip));
            prop_assert_eq!(range.random(ip).is_ok(), dynamic.contains(ip));
            prop_assert_eq!(requestable.contains(ip), !taken && (in_fixed || range.fixed.is_none()));
            prop_assert_eq!(range.assignable(ip).is_ok(), requestable.contains(ip));
        }
        prop_assert!(dynamic.iter().chain(requestable.iter()).all(|span| whole.covers(span)));
    }
}
