//! The pieces into which overlapping spans divide the addresses, so that all addresses of a piece lie in the same spans.

use super::{Family, Span};

/// Divides a span at the ends of others. The pieces are in order, and together they are the span.
pub fn divide(span: Span, at: impl IntoIterator<Item = Span>) -> Vec<Span> {
    let mut firsts = vec![span.first];
    for other in at.into_iter().filter_map(|other| other.intersection(&span)) {
        firsts.push(other.first);
        if other.last < span.last {
            firsts.push(other.last + 1);
        }
    }
    firsts.sort_unstable();
    firsts.dedup();
    let lasts: Vec<u128> = firsts.iter().skip(1).map(|next| next - 1).chain([span.last]).collect();
    firsts.into_iter().zip(lasts).filter_map(|(first, last)| Span::of_numbers(span.family, first, last)).collect()
}

/// Which of several sets of addresses have an address, found without a look at each set.
#[derive(Clone, Debug, Default)]
pub struct SpanIndex {
    /// Disjoint, in order, each with the numbers of the sets that have it.
    pieces: Vec<(Span, Vec<usize>)>,
}

impl SpanIndex {
    /// The index of these spans, each with the number of its set.
    pub fn new(spans: &[(Span, usize)]) -> Self {
        let mut pieces = Vec::new();
        for family in [Family::V4, Family::V6] {
            let mut events: Vec<(u128, bool, usize)> = Vec::new();
            for (span, set) in spans.iter().filter(|(span, _)| span.family == family) {
                events.push((span.first, true, *set));
                if let Some(after) = span.last.checked_add(1) {
                    events.push((after, false, *set));
                }
            }
            events.sort_unstable();
            let mut open: Vec<usize> = Vec::new();
            for (i, (at, begins, set)) in events.iter().enumerate() {
                match begins {
                    true => open.push(*set),
                    false => {
                        if let Some(position) = open.iter().position(|other| other == set) {
                            open.swap_remove(position);
                        }
                    }
                }
                let next = events.get(i + 1).map(|(next, ..)| *next);
                let last = next.map_or(Some(u128::MAX), |next| next.checked_sub(1));
                if next != Some(*at) && !open.is_empty() {
                    let mut sets = open.clone();
                    sets.sort_unstable();
                    sets.dedup();
                    let piece = last.and_then(|last| Span::of_numbers(family, *at, last.min(family_last(family))));
                    pieces.extend(piece.map(|piece| (piece, sets)));
                }
            }
        }
        Self { pieces }
    }

    /// The numbers of the sets that have this address, in order.
    pub fn sets_of(&self, ip: std::net::IpAddr) -> &[usize] {
        let (family, number) = (Family::of(ip), super::number(ip));
        let after = self.pieces.partition_point(|(span, _)| (span.family, span.first) <= (family, number));
        match after.checked_sub(1).and_then(|at| self.pieces.get(at)) {
            Some((span, sets)) if span.contains(ip) => sets,
            _ => &[],
        }
    }
}

/// The number of the last address of a family.
fn family_last(family: Family) -> u128 {
    match family {
        Family::V4 => u128::from(u32::MAX),
        Family::V6 => u128::MAX,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn span(first: u8, last: u8) -> Span {
        Span::of_numbers(Family::V4, u128::from(first.min(last)), u128::from(first.max(last))).unwrap()
    }

    proptest! {
        #[test]
        fn an_address_is_in_the_sets_whose_spans_have_it(spans in proptest::collection::vec((any::<u8>(), any::<u8>(), 0_usize..4), 0..8)) {
            let spans: Vec<(Span, usize)> = spans.into_iter().map(|(a, b, set)| (span(a, b), set)).collect();
            let index = SpanIndex::new(&spans);
            for number in 0..=256 {
                let ip = crate::ipam::address::address(Family::V4, number);
                let mut expected: Vec<usize> =
                    spans.iter().filter(|(span, _)| span.contains(ip)).map(|(_, set)| *set).collect();
                expected.sort_unstable();
                expected.dedup();
                prop_assert_eq!(index.sets_of(ip), expected, "{}", ip);
            }
        }

        #[test]
        fn the_pieces_of_a_span_are_the_span_and_no_end_lies_inside_one(
            whole in any::<(u8, u8)>(), others in proptest::collection::vec(any::<(u8, u8)>(), 0..8)
        ) {
            let (whole, others) = (span(whole.0, whole.1), others.into_iter().map(|(a, b)| span(a, b)).collect::<Vec<_>>());
            let pieces = divide(whole, others.iter().copied());
            prop_assert_eq!(pieces.first().map(|piece| piece.first), Some(whole.first));
            prop_assert_eq!(pieces.last().map(|piece| piece.last), Some(whole.last));
            prop_assert!(pieces.windows(2).all(|two| two[0].last + 1 == two[1].first));
            for piece in &pieces {
                for other in &others {
                    prop_assert!(other.covers(piece) || other.intersection(piece).is_none());
                }
            }
        }
    }

    #[test]
    fn the_last_address_of_a_family_is_in_a_piece() {
        let all = |net: &str| Span::of_net(net.parse().unwrap());
        let index = SpanIndex::new(&[(all("::/0"), 0), (all("0.0.0.0/0"), 1), (all("ffff::/16"), 2)]);
        let sets = |text: &str| index.sets_of(text.parse::<IpAddr>().unwrap()).to_vec();
        assert_eq!(sets("255.255.255.255"), [1]);
        assert_eq!(sets("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), [0, 2]);
        assert_eq!(sets("::"), [0]);
        assert_eq!(divide(all("::/0"), [all("::/0"), all("ffff::/16")]).len(), 2);
    }
}
