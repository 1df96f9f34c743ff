//! The largest run of free addresses in each part of a network.
//!
//! ```text
//!  parts of all networks ─► SpanIndex of each vrf ─┐
//!  leases in the order of their addresses ─────────┴─► the runs between them, of which the largest is kept
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use super::{RangeKey, Usage};
use crate::ipam::address::{Family, Span, SpanIndex, number};
use crate::ipam::name::Name;

/// Finds the largest runs. Its memory depends on the definitions, not on the leases.
#[derive(Clone, Debug, Default)]
pub struct FreeRuns {
    parts: Vec<(RangeKey, Runs)>,
    /// Which parts have an address.
    by_vrf: BTreeMap<Name, SpanIndex>,
}

impl FreeRuns {
    /// The parts of all networks whose definitions were added, without leases.
    pub fn new(usage: &Usage) -> Self {
        let mut spans: BTreeMap<Name, Vec<(Span, usize)>> = BTreeMap::new();
        let mut parts = Vec::new();
        for (key, of_part) in usage.parts() {
            let of_vrf = spans.entry(key.vrf.clone()).or_default();
            of_vrf.extend(of_part.iter().map(|span| (*span, parts.len())));
            parts.push((key, Runs::new(of_part.iter().copied().collect())));
        }
        Self { parts, by_vrf: spans.into_iter().map(|(vrf, spans)| (vrf, SpanIndex::new(&spans))).collect() }
    }

    /// Adds an address that has a lease, whichever network that is of. Within a vrf and family, addresses come in
    /// ascending order.
    pub fn note(&mut self, vrf: &Name, ip: IpAddr) {
        for part in self.by_vrf.get(vrf).map_or(&[][..], |index| index.sets_of(ip)) {
            if let Some((_, runs)) = self.parts.get_mut(*part) {
                runs.note(number(ip));
            }
        }
    }

    /// The largest run of each part that has a free address. Of several, the first.
    pub fn end(self) -> BTreeMap<RangeKey, Span> {
        self.parts.into_iter().filter_map(|(key, runs)| Some((key, runs.end()?))).collect()
    }
}

/// The free runs of a part.
#[derive(Clone, Debug)]
struct Runs {
    /// Its spans, of one family, the current one first.
    spans: VecDeque<Span>,
    largest: Option<Span>,
}

impl Runs {
    fn new(spans: VecDeque<Span>) -> Self {
        Self { spans, largest: None }
    }

    /// Ends the run before an address in use, and begins another one after it.
    fn note(&mut self, used: u128) {
        while let Some(span) = self.spans.pop_front() {
            let (family, (first, last)) = (span.family(), span.numbers());
            if last < used {
                self.keep(span);
                continue;
            }
            if used < first {
                self.spans.push_front(span);
                return;
            }
            self.keep_some(family, first, used.checked_sub(1));
            let rest = used.checked_add(1).and_then(|next| Span::of_numbers(family, next, last));
            if let Some(rest) = rest {
                self.spans.push_front(rest);
            }
            return;
        }
    }

    fn keep_some(&mut self, family: Family, first: u128, last: Option<u128>) {
        if let Some(run) = last.and_then(|last| Span::of_numbers(family, first, last)) {
            self.keep(run);
        }
    }

    fn keep(&mut self, run: Span) {
        if self.largest.is_none_or(|largest| largest.len() < run.len()) {
            self.largest = Some(run);
        }
    }

    fn end(mut self) -> Option<Span> {
        for span in std::mem::take(&mut self.spans) {
            self.keep(span);
        }
        self.largest
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use std::collections::BTreeSet;
    use std::num::NonZeroU64;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::ipam::address::address;
    use crate::store::{Entry, Key, Revision};

    fn usage(dynamic: &str, pool: &str) -> Usage {
        let range = json!({ "subnet": "10.0.0.0/24", "dynamic": dynamic, "pools": { "db": pool } });
        let value = json!({ "v": 1, "sets": [[range]] }).to_string().into_bytes();
        let key = Key::new("net/default/db/00000000000000000000000000000001");
        let mut usage = Usage::default();
        usage.note(&Entry { key, value, revision: Revision(NonZeroU64::MIN) });
        usage
    }

    fn runs(usage: &Usage, used: impl IntoIterator<Item = u32>) -> Vec<String> {
        let mut runs = FreeRuns::new(usage);
        let vrf = Name::new("default").unwrap();
        let base = number("10.0.0.0".parse().unwrap());
        used.into_iter().for_each(|at| runs.note(&vrf, address(Family::V4, base + u128::from(at))));
        runs.end().into_iter().map(|(key, run)| format!("{} {run}", key.part)).collect()
    }

    #[test]
    fn a_run_ends_at_leases_and_at_the_ends_of_spans() {
        let usage = usage("10.0.0.10-10.0.0.19,10.0.0.30-10.0.0.34", "10.0.0.15-10.0.0.16");
        for (used, expected) in [
            (vec![], ["dynamic 10.0.0.10-10.0.0.14", "pool db 10.0.0.15-10.0.0.16"].as_slice()),
            (vec![12, 15], &["dynamic 10.0.0.30-10.0.0.34", "pool db 10.0.0.16"]),
            (vec![1, 10, 30, 200], &["dynamic 10.0.0.11-10.0.0.14", "pool db 10.0.0.15-10.0.0.16"]),
            (vec![15, 16, 34], &["dynamic 10.0.0.10-10.0.0.14"]),
        ] {
            assert_eq!(runs(&usage, used.clone()), expected, "{used:?}");
        }
    }

    proptest! {
        #[test]
        fn the_largest_run_is_that_of_all_addresses_one_by_one(used in proptest::collection::btree_set(0_u32..64, 0..30)) {
            let usage = usage("10.0.0.4-10.0.0.20,10.0.0.30-10.0.0.50", "10.0.0.60");
            let is_free = |at: &u32| ((4..=20).contains(at) || (30..=50).contains(at)) && !used.contains(at);
            let (mut best, mut current): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
            for at in 0..64 {
                if is_free(&at) { current.push(at) } else { current.clear() }
                if current.len() > best.len() { best = current.clone() }
            }
            let found = runs(&usage, used.iter().copied().collect::<BTreeSet<_>>());
            let found = found.iter().find_map(|text| text.strip_prefix("dynamic "));
            let expected = best.first().zip(best.last()).map(|(first, last)| {
                let ip = |at: &u32| address(Family::V4, number("10.0.0.0".parse().unwrap()) + u128::from(*at));
                Span::new(ip(first), ip(last)).unwrap().to_string()
            });
            prop_assert_eq!(found, expected.as_deref());
        }
    }
}
