//! Tests of addresses, spans and sets of spans.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    parse(text).unwrap()
}

fn span(text: &str) -> Span {
    text.parse().unwrap()
}

/// Any address of either family, canonical.
fn addresses() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|number| address(Family::V4, number.into())),
        any::<u128>().prop_map(|number| address(Family::V6, number).to_canonical()),
    ]
}

/// Spans among 40 neighbouring addresses, so that sets of them can be compared with a naive model; at the very end of a
/// family, where sums overflow.
fn small_spans(family: Family) -> impl Strategy<Value = Span> {
    let end = numbers_end(family);
    (0_u128..40, 0_u128..40)
        .prop_filter_map("backwards", move |(a, b)| Span::of_numbers(family, end - a.max(b), end - a.min(b)))
}

fn numbers_end(family: Family) -> u128 {
    match family {
        Family::V4 => u32::MAX.into(),
        Family::V6 => u128::MAX,
    }
}

fn naive(set: &Spans) -> BTreeSet<u128> {
    set.iter().flat_map(|span| span.first..=span.last).collect()
}

proptest! {
    #[test]
    fn printing_and_parsing_an_address_are_inverse(ip in addresses()) {
        prop_assert_eq!(parse(&ip.to_string()), Ok(ip));
        prop_assert_eq!(address(Family::of(ip), number(ip)), ip);
        prop_assert_eq!(from_sortable(&sortable(ip)), Some(ip));
    }

    #[test]
    fn the_order_of_sortable_texts_is_the_numeric_order(a in any::<u128>(), b in any::<u128>(), shift in 0_u32..128) {
        for family in [Family::V4, Family::V6] {
            // Shifted, so that small numbers and neighbours come up too.
            let (a, b) = (address(family, a >> shift), address(family, b >> shift));
            prop_assert_eq!(sortable(a).cmp(&sortable(b)), number(a).cmp(&number(b)));
        }
    }

    #[test]
    fn printing_and_parsing_a_span_are_inverse(a in addresses(), b in addresses()) {
        if let Some(span) = Span::new(a, b).or(Span::new(b, a)) {
            prop_assert_eq!(span.to_string().parse(), Ok(span));
            prop_assert!(span.contains(a) && span.contains(b) && span.covers(&Span::single(a)));
        }
    }

    #[test]
    fn any_text_is_read_or_refused_but_never_a_panic(text in "[0-9a-f:./-]{0,40}|.{0,20}") {
        let _ = (parse(&text), parse_net(&text), parse_interface(&text), text.parse::<Span>(), from_sortable(&text));
    }

    #[test]
    fn what_is_no_sortable_text_is_not_read_as_one(text in "[0-9.]{15}|[0-9a-f:]{39}") {
        if let Some(ip) = from_sortable(&text) {
            prop_assert_eq!(sortable(ip), text);
        }
    }

    #[test]
    fn a_set_without_holes_is_what_a_naive_set_says(
        (whole, holes) in prop_oneof![Just(Family::V4), Just(Family::V6)].prop_flat_map(|family| {
            (small_spans(family), proptest::collection::vec(small_spans(family), 0..6))
        }),
        len in 1_u128..20,
    ) {
        let family = whole.family();
        let set = Spans::between(whole, holes.clone());
        let mut model: BTreeSet<u128> = (whole.first..=whole.last).collect();
        model.retain(|number| !holes.iter().any(|hole| (hole.first..=hole.last).contains(number)));

        prop_assert_eq!(naive(&set), model.clone());
        prop_assert_eq!(&holes.iter().fold(Spans::of(whole), |set, hole| set.without(hole)), &set);
        prop_assert_eq!(set.len(), model.len() as u128);
        prop_assert_eq!(set.is_empty(), model.is_empty());
        let walked: Vec<u128> = (0..set.len()).filter_map(|position| set.at(position)).map(number).collect();
        prop_assert_eq!(walked, model.iter().copied().collect::<Vec<_>>());
        prop_assert_eq!(set.at(set.len()), None);
        prop_assert_eq!(set.window_around(set.len(), len), None);
        for number in numbers_end(family) - 45..=numbers_end(family) {
            prop_assert_eq!(set.contains(address(family, number)), model.contains(&number));
        }
        let chunks: Vec<Span> = set.chunks(len).collect();
        prop_assert!(chunks.iter().all(|piece| piece.len() <= len));
        let in_pieces: Vec<u128> = chunks.iter().flat_map(|piece| piece.first..=piece.last).collect();
        prop_assert_eq!(in_pieces, model.iter().copied().collect::<Vec<_>>());
        for position in 0..set.len() {
            let around = set.window_around(position, len).unwrap();
            prop_assert!(around.contains(set.at(position).unwrap()));
            prop_assert!(chunks.contains(&around));
        }
    }

    #[test]
    fn an_intersection_holds_what_both_hold(a in small_spans(Family::V4), b in small_spans(Family::V4)) {
        let common = a.intersection(&b);
        for number in numbers_end(Family::V4) - 45..=numbers_end(Family::V4) {
            let ip = address(Family::V4, number);
            prop_assert_eq!(common.is_some_and(|span| span.contains(ip)), a.contains(ip) && b.contains(ip));
        }
        prop_assert_eq!(a.covers(&b), common == Some(b));
    }
}

#[test]
fn one_address_has_one_text() {
    assert_eq!(ip("FD00::01"), ip("fd00:0::1"));
    assert_eq!(sortable(ip("FD00::01")), "fd00:0000:0000:0000:0000:0000:0000:0001");
    assert_eq!(sortable(ip("10.188.0.218")), "010.188.000.218");
}

#[test]
fn an_ipv4_mapped_address_is_the_ipv4_address() {
    assert_eq!(ip("::ffff:10.1.2.3"), ip("10.1.2.3"));
    assert_eq!(ip("::ffff:a01:203"), ip("10.1.2.3"));
    assert_eq!(parse_interface("::ffff:10.1.2.3/112").unwrap().to_string(), "10.1.2.3/16");
    assert_eq!(parse_net("::ffff:0:0/96").unwrap().to_string(), "0.0.0.0/0");
    assert!(matches!(parse_interface("::ffff:10.1.2.3/95"), Err(SpanError::NotANetwork(_))));
}

#[test]
fn what_programs_read_differently_or_not_at_all_is_no_address() {
    assert!(matches!(parse("010.1.2.3"), Err(AddressError::LeadingZeros(_))));
    assert!(matches!(parse("10.1.2.00"), Err(AddressError::LeadingZeros(_))));
    for text in
        ["", " ", "10.1.2", "10.1.2.256", "10.1.2.3 ", "0x0a.1.2.3", "10.1.2.3.4", "fe80::1%eth0", "[::1]", "１.1.1.1"]
    {
        assert_eq!(parse(text), Err(AddressError::NotAnAddress(text.to_owned())));
    }
}

#[test]
fn only_what_sortable_writes_is_read_back() {
    for text in
        ["10.188.0.218", "010.188.000.2180", "010.188.000.+18", "fd00::1", "FD00:0000:0000:0000:0000:0000:0000:0001"]
    {
        assert_eq!(from_sortable(text), None, "{text}");
    }
}

#[test]
fn networks_are_read_without_host_bits_and_interfaces_with() {
    assert!(
        matches!(parse_net("10.1.2.3/16"), Err(SpanError::HostBits { network, .. }) if network.to_string() == "10.1.0.0/16")
    );
    assert_eq!(parse_interface("10.1.2.3/16").unwrap().to_string(), "10.1.2.3/16");
    for text in ["10.1.0.0", "10.1.0.0/", "10.1.0.0/33", "10.1.0.0/-1", "fd00::/129", "10.1.0.0/16/8", "10.1.0.0/+16"] {
        assert!(matches!(parse_net(text), Err(SpanError::NotANetwork(_))), "{text}");
    }
}

#[test]
fn a_span_is_an_address_a_network_or_a_pair() {
    assert_eq!(span("10.1.0.4").to_string(), "10.1.0.4");
    assert_eq!(span("10.1.0.0/30").to_string(), "10.1.0.0-10.1.0.3");
    assert_eq!(span(" 10.1.0.4 - 10.1.0.9 "), span("10.1.0.4-10.1.0.9"));
    assert_eq!(span("fd00::-fd00::f").len(), 16);
    for text in ["10.1.0.9-10.1.0.4", "10.1.0.4-fd00::1"] {
        assert!(matches!(text.parse::<Span>(), Err(SpanError::Backwards(_))), "{text}");
    }
}

#[test]
fn all_of_ipv6_saturates_and_still_has_its_ends() {
    let all = Spans::of(span("::/0"));
    assert_eq!(all.len(), u128::MAX);
    assert_eq!((all.at(0), all.at(u128::MAX)), (Some(ip("::")), Some(ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))));
    let chunks: Vec<Span> = all.chunks(u128::MAX).collect();
    assert_eq!((chunks.len(), chunks[1].len()), (2, 1));
    let holed = Spans::between(span("::/0"), [span("8000::/1"), span("::")]);
    assert_eq!(holed.to_string(), "::1-7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    assert!(Spans::between(span("::/0"), [span("::/0")]).is_empty());
    assert_eq!(Spans::of(span("0.0.0.0/0")).len(), 1 << 32);
}

#[test]
fn a_hole_of_the_other_family_takes_nothing_away() {
    assert_eq!(Spans::between(span("10.0.0.0/8"), [span("::/0")]), Spans::of(span("10.0.0.0/8")));
}
