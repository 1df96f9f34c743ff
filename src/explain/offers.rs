//! What networks offer in a span of addresses: which of them a pod can get at random or on request, if nobody has them.
//!
//! ```text
//!  networks, span ─► pieces between the ends of their rules ─► the rules of each piece's first address ─► OfferedSpan
//! ```
//!
//! These are the rules of [`super::explain_address`], asked once for each piece, so that an IPv6 network costs as little
//! as an IPv4 one.

use serde::Serialize;

use super::NetworkView;
use super::network::Rules;
use crate::ipam::address::{Span, divide};
use crate::ipam::name::Name;

/// Addresses of which every network says the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedSpan {
    /// The addresses.
    pub span: Span,
    /// What each network with a subnet around them says.
    pub offers: Vec<Offer>,
}

/// What a network says about addresses without a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// The network.
    pub network: Name,
    /// Whether it assigns them at random.
    pub random: bool,
    /// Whether it assigns them on request.
    pub request: bool,
    /// Who can get them, and how, if not everybody can: pools, namespaces, nodes.
    pub limits: String,
    /// Why it assigns them neither at random nor on request.
    pub refused: Option<String>,
}

impl OfferedSpan {
    /// Whether a network assigns them at random.
    pub fn random(&self) -> bool {
        self.offers.iter().any(|offer| offer.random)
    }

    /// Whether a network assigns them on request.
    pub fn request(&self) -> bool {
        self.offers.iter().any(|offer| offer.request)
    }
}

impl Offer {
    /// What a network says of all addresses of a piece, by its first one; `None` if it has no subnet there.
    fn new(network: &NetworkView, piece: &Span) -> Option<Self> {
        let rules = network.rules(piece.first());
        let first = rules.first()?;
        let admits = |rules: &&Rules| rules.random.is_ok() || rules.request.is_ok();
        let best = rules.iter().find(admits);
        // A limit begins with a comma, because it goes on where a sentence ends.
        let limits = best.map(|rules| rules.limits.trim_start_matches(", ").to_owned()).unwrap_or_default();
        let refused = match best {
            Some(_) => None,
            None => first.request.as_ref().err().or(first.random.as_ref().err()).cloned(),
        };
        Some(Self {
            network: network.name.clone(),
            random: rules.iter().any(|rules| rules.random.is_ok()),
            request: rules.iter().any(|rules| rules.request.is_ok()),
            limits,
            refused,
        })
    }
}

/// What these networks, which are of one routing domain, say about a span. Together, the results are the span.
pub fn offers(networks: &[&NetworkView], span: Span) -> Vec<OfferedSpan> {
    let boundaries = networks.iter().flat_map(|network| &network.ranges).flat_map(super::RangeView::boundaries);
    let mut offered: Vec<OfferedSpan> = Vec::new();
    for piece in divide(span, boundaries) {
        let mut offers: Vec<Offer> = Vec::new();
        // A network has several views if several definitions of it are stored.
        for offer in networks.iter().filter_map(|network| Offer::new(network, &piece)) {
            match offers.iter_mut().find(|known| known.network == offer.network) {
                Some(known) if known.refused.is_some() => *known = offer,
                Some(known) => {
                    known.random |= offer.random;
                    known.request |= offer.request;
                }
                None => offers.push(offer),
            }
        }
        match offered.last_mut() {
            Some(last) if last.offers == offers => {
                last.span = Span::new(last.span.first(), piece.last()).unwrap_or(last.span);
            }
            _ => offered.push(OfferedSpan { span: piece, offers }),
        }
    }
    offered
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::explain::{RangeView, Source};
    use crate::ipam::address::{Family, Spans, address};
    use crate::ipam::lease::Definition;
    use crate::ipam::pool::{Pool, PoolName, PoolPart};
    use crate::ipam::range::Range;

    fn span(text: &str) -> Span {
        text.parse().unwrap()
    }

    fn view(name: &str, ranges: Vec<RangeView>) -> NetworkView {
        NetworkView {
            name: Name::new(name).unwrap(),
            vrf: Name::new("default").unwrap(),
            source: Source::Store,
            namespaces: Vec::new(),
            ranges,
            host_local: Vec::<PathBuf>::new(),
        }
    }

    fn configured() -> Range {
        let pool = Arc::new(Pool {
            name: PoolName::new("db").unwrap(),
            addresses: vec![span("10.0.0.40-10.0.0.49")],
            namespaces: vec!["database".to_owned()],
        });
        Range {
            window: span("10.0.0.20-10.0.0.200"),
            fixed: Some(span("10.0.0.10-10.0.0.30")),
            exclude: vec![span("10.0.0.25"), span("10.0.0.64/28")],
            pools: vec![PoolPart { pool, addresses: Spans::of(span("10.0.0.40-10.0.0.49")) }],
            ..Range::of_subnet("10.0.0.0/24".parse().unwrap())
        }
    }

    fn stored() -> NetworkView {
        let definition: Definition = serde_json::from_value(serde_json::json!({ "v": 1, "sets": [[{
            "subnet": "10.0.0.128/25", "dynamic": "10.0.0.140-10.0.0.150, 10.0.0.160-10.0.0.170", "fixed": "10.0.0.130-10.0.0.139",
            "exclude": "10.0.0.135", "gateway": "10.0.0.129", "pools": { "web": "10.0.0.180-10.0.0.189" },
        }]] }))
        .unwrap();
        NetworkView::from_store(Name::new("default").unwrap(), Name::new("web-net").unwrap(), &definition)
    }

    /// Each address by itself, as `explain` sees it.
    #[test]
    fn every_address_of_a_span_has_the_rules_of_its_span() {
        let (one, other) = (view("db-net", vec![RangeView::Configured(configured())]), stored());
        let networks = [&one, &other];
        let offered = offers(&networks, span("9.255.255.0-10.0.1.10"));
        let mut seen = 0_u128;
        for OfferedSpan { span, offers } in &offered {
            let (first, last) = span.numbers();
            for ip in (first..=last).map(|number| address(Family::V4, number)) {
                for network in networks {
                    let rules = network.rules(ip);
                    let random = rules.iter().any(|rules| rules.random.is_ok());
                    let request = rules.iter().any(|rules| rules.request.is_ok());
                    let offer = offers.iter().find(|offer| offer.network == network.name);
                    assert_eq!(offer.is_some(), network.has(ip), "{ip}");
                    let said = offer.map_or((false, false), |offer| (offer.random, offer.request));
                    assert_eq!(said, (random, request), "{ip} of {}", network.name);
                }
                seen += 1;
            }
        }
        assert_eq!(seen, span("9.255.255.0-10.0.1.10").len());
        assert!(offered.windows(2).all(|two| two[0].offers != two[1].offers), "neighbours differ");
    }

    proptest! {
        #[test]
        fn a_range_says_the_same_between_its_boundaries(
            window in any::<(u8, u8)>(), fixed in proptest::option::of(any::<(u8, u8)>()),
            exclude in proptest::collection::vec(any::<(u8, u8)>(), 0..4), prefix in 22_u8..=32,
        ) {
            let of = |(a, b): (u8, u8)| span(&format!("169.254.0.{}-169.254.0.{}", a.min(b), a.max(b)));
            let subnet = ipnet::IpNet::new("169.254.0.0".parse().unwrap(), prefix).unwrap().trunc();
            let range = Range {
                window: of(window), fixed: fixed.map(of), exclude: exclude.into_iter().map(of).collect(),
                ..Range::of_subnet(subnet)
            };
            for piece in divide(Span::of_net("169.253.255.0/16".parse::<ipnet::IpNet>().unwrap().trunc()), range.boundaries()) {
                prop_assert!(range.assignable(piece.first()).is_err());
            }
            let ips = |piece: Span| {
                let (first, last) = piece.numbers();
                (first..=last).map(|number| address(Family::V4, number))
            };
            for piece in divide(span("169.254.0.0/22"), range.boundaries()) {
                let (assignable, random) = (range.assignable(piece.first()), range.random(piece.first()));
                for ip in ips(piece) {
                    prop_assert_eq!(range.assignable(ip), assignable.clone());
                    prop_assert_eq!(range.random(ip), random.clone());
                }
            }
        }
    }

    #[test]
    fn an_ipv6_network_costs_no_more_than_its_rules() {
        let range =
            Range { exclude: vec![span("fd00::100-fd00::1ff")], ..Range::of_subnet("fd00::/64".parse().unwrap()) };
        let view = view("v6", vec![RangeView::Configured(range)]);
        let offered = offers(&[&view], span("fd00::/63"));
        let texts: Vec<String> = offered.iter().map(|one| format!("{} {}", one.span, one.random())).collect();
        assert_eq!(
            texts,
            [
                "fd00:: false",
                "fd00::1 false",
                "fd00::2-fd00::ff true",
                "fd00::100-fd00::1ff false",
                "fd00::200-fd00::ffff:ffff:ffff:ffff true",
                "fd00:0:0:1::-fd00::1:ffff:ffff:ffff:ffff false",
            ]
        );
        let why: Vec<Option<&str>> =
            offered.iter().map(|one| one.offers.first().and_then(|offer| offer.refused.as_deref())).collect();
        assert_eq!(
            why,
            [
                Some("it is the subnet-router anycast address of fd00::/64"),
                Some("it is the gateway of fd00::/64"),
                None,
                Some("it is excluded by fd00::100-fd00::1ff"),
                None,
                None,
            ]
        );
    }
}
