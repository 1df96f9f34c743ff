//! Free addresses as spans, from what networks offer and the leases in the order of their addresses.
//!
//! ```text
//!  OfferedSpan, …  ─┐
//!  ip, OpenTo       ┴─► FreeSpan, … in order, each as soon as a later address is seen
//! ```
//!
//! It holds one span, whatever the number of leases.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::offers::{Offer, OfferedSpan};
use crate::ipam::address::{Span, address};
use crate::ipam::lease::OpenTo;

/// Addresses that a pod can get now, all from the same networks in the same ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreeSpan {
    /// The addresses.
    pub span: Span,
    /// The networks that assign them. None of them refuses both ways.
    pub offers: Vec<Offer>,
}

/// Finds free addresses.
#[derive(Clone, Debug)]
pub struct FreeSpans {
    offered: VecDeque<OfferedSpan>,
    /// The last one that was found. The next one may go on where it ends.
    pending: Option<FreeSpan>,
}

impl FreeSpans {
    /// Nothing has been seen yet.
    pub fn new(offered: Vec<OfferedSpan>) -> Self {
        Self { offered: offered.into(), pending: None }
    }

    /// Notes who can get an address that has a lease. Addresses come in ascending order, and only once. Returns what is
    /// free before it.
    pub fn note(&mut self, ip: IpAddr, open_to: OpenTo) -> Vec<FreeSpan> {
        let mut found = self.before(ip);
        let Some(front) = self.offered.front_mut().filter(|front| front.span.contains(ip)) else { return found };
        let (family, (first, last)) = (front.span.family(), front.span.numbers());
        let number = crate::ipam::address::number(ip);
        let offers = front.offers.clone();
        let rest = number.checked_add(1).and_then(|next| Span::of_numbers(family, next, last));
        match rest {
            Some(rest) => front.span = rest,
            None => drop(self.offered.pop_front()),
        }
        if let Some(before) = number.checked_sub(1).and_then(|end| Span::of_numbers(family, first, end)) {
            found.extend(self.add(before, &offers, OpenTo::All));
        }
        found.extend(self.add(Span::single(address(family, number)), &offers, open_to));
        found
    }

    /// What is free after the last address that was noted.
    pub fn end(mut self) -> Vec<FreeSpan> {
        let mut found = Vec::new();
        while let Some(OfferedSpan { span, offers }) = self.offered.pop_front() {
            found.extend(self.add(span, &offers, OpenTo::All));
        }
        found.extend(self.pending);
        found
    }

    /// Passes what is offered below an address, up to the offer that has it.
    fn before(&mut self, ip: IpAddr) -> Vec<FreeSpan> {
        let mut found = Vec::new();
        while let Some(OfferedSpan { span, offers }) = self.offered.pop_front_if(|front| front.span.last() < ip) {
            found.extend(self.add(span, &offers, OpenTo::All));
        }
        found
    }

    /// Adds addresses. Returns the span before them if they do not belong to it.
    fn add(&mut self, span: Span, offers: &[Offer], open_to: OpenTo) -> Option<FreeSpan> {
        let open = |offer: &Offer| {
            let random = offer.random && open_to == OpenTo::All;
            let request = offer.request && open_to != OpenTo::Nobody;
            (random || request).then(|| Offer { random, request, ..offer.clone() })
        };
        let offers: Vec<Offer> = offers.iter().filter_map(open).collect();
        if offers.is_empty() {
            return self.pending.take();
        }
        if let Some(pending) = self.pending.as_mut().filter(|pending| pending.offers == offers)
            && pending.span.numbers().1.checked_add(1) == Some(span.numbers().0)
            && let Some(whole) = Span::new(pending.span.first(), span.last())
        {
            pending.span = whole;
            return None;
        }
        self.pending.replace(FreeSpan { span, offers })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::ipam::address::Family;
    use crate::ipam::name::Name;

    fn offer(network: &str, random: bool, request: bool) -> Offer {
        Offer { network: Name::new(network).unwrap(), random, request, limits: String::new(), refused: None }
    }

    fn ip(number: u8) -> IpAddr {
        address(Family::V4, u128::from(number))
    }

    fn kinds() -> impl Strategy<Value = Vec<Offer>> {
        prop_oneof![
            Just(vec![]),
            Just(vec![offer("a", true, true)]),
            Just(vec![offer("a", false, true)]),
            Just(vec![offer("a", true, false), offer("b", false, true)]),
            Just(vec![offer("a", false, false)]),
        ]
    }

    proptest! {
        /// Address by address, against the same computed for each alone.
        #[test]
        fn an_address_is_free_if_a_network_offers_it_and_its_lease_lets_it_go(
            lengths in proptest::collection::vec((1_u8..20, kinds()), 1..6),
            leases in proptest::collection::btree_map(any::<u8>(), 0_u8..3, 0..12),
        ) {
            let (mut offered, mut next) = (Vec::new(), 0_u128);
            for (length, offers) in lengths {
                let span = Span::of_numbers(Family::V4, next, next + u128::from(length) - 1).unwrap();
                next += u128::from(length);
                offered.push(OfferedSpan { span, offers });
            }
            let open = |kind: u8| [OpenTo::Nobody, OpenTo::Requests, OpenTo::All][usize::from(kind)];
            let mut spans = FreeSpans::new(offered.clone());
            let mut found: Vec<FreeSpan> = leases.iter().flat_map(|(number, kind)| spans.note(ip(*number), open(*kind))).collect();
            found.extend(spans.end());

            let mut expected: BTreeMap<u128, Vec<Offer>> = BTreeMap::new();
            for OfferedSpan { span, offers } in &offered {
                let (first, last) = span.numbers();
                for number in first..=last {
                    let open = leases.get(&(number as u8)).map_or(OpenTo::All, |kind| open(*kind));
                    let offers: Vec<Offer> = offers
                        .iter()
                        .map(|one| offer(one.network.as_str(), one.random && open == OpenTo::All, one.request && open != OpenTo::Nobody))
                        .filter(|one| one.random || one.request)
                        .collect();
                    if !offers.is_empty() {
                        expected.insert(number, offers);
                    }
                }
            }
            let mut listed: BTreeMap<u128, Vec<Offer>> = BTreeMap::new();
            for FreeSpan { span, offers } in &found {
                let (first, last) = span.numbers();
                for number in first..=last {
                    prop_assert!(listed.insert(number, offers.clone()).is_none(), "twice: {number}");
                }
            }
            prop_assert_eq!(listed, expected);
            prop_assert!(found.windows(2).all(|two| two[0].span.numbers().1 + 1 < two[1].span.numbers().0 || two[0].offers != two[1].offers));
        }
    }
}
