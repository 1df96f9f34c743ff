//! Sets of addresses of one family, whose addresses have positions.

use std::fmt;
use std::net::IpAddr;

use super::{Family, Span, address, number};

/// A set of addresses of one family, as sorted, disjoint spans. Its addresses have positions.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Spans(Vec<Span>);

impl Spans {
    /// The set of one span.
    pub fn of(span: Span) -> Self {
        Self(vec![span])
    }

    /// The spans, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = &Span> {
        self.0.iter()
    }

    /// Whether no address is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of addresses, at most `u128::MAX`.
    pub fn len(&self) -> u128 {
        self.0.iter().fold(0, |sum, span| sum.saturating_add(span.len()))
    }

    /// Whether the address is in the set.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let after = self.0.partition_point(|span| (span.family, span.first) <= (Family::of(ip), number(ip)));
        after > 0 && self.0[after - 1].contains(ip)
    }

    /// A span without `holes`, which may overlap and come in any order.
    pub fn between(span: Span, holes: impl IntoIterator<Item = Span>) -> Self {
        let mut holes: Vec<Span> = holes.into_iter().filter_map(|hole| hole.intersection(&span)).collect();
        holes.sort_unstable();
        let mut left = Vec::new();
        // The lowest address after the holes so far; `None` once a hole reached the end.
        let mut next = Some(span.first);
        for hole in holes {
            let Some(first) = next else { break };
            let before = hole.first.checked_sub(1).and_then(|last| Span::of_numbers(span.family, first, last));
            left.extend(before);
            next = if hole.last < span.last { Some(first.max(hole.last + 1)) } else { None };
        }
        left.extend(next.and_then(|first| Span::of_numbers(span.family, first, span.last)));
        Self(left)
    }

    /// The set without the addresses of `hole`.
    #[must_use]
    pub fn without(self, hole: &Span) -> Self {
        Self(self.0.into_iter().flat_map(|span| Self::between(span, [*hole]).0).collect())
    }

    /// The address at a position, counted from the lowest; `None` beyond the last.
    pub fn at(&self, mut position: u128) -> Option<IpAddr> {
        for span in &self.0 {
            let offset_of_last = span.last - span.first;
            if position <= offset_of_last {
                return Some(address(span.family, span.first + position));
            }
            position -= offset_of_last + 1;
        }
        None
    }

    /// The stretch of at most `len` addresses around a position. Each span is divided into a grid of such stretches.
    pub fn window_around(&self, mut position: u128, len: u128) -> Option<Span> {
        for span in &self.0 {
            let offset_of_last = span.last - span.first;
            if position <= offset_of_last {
                let offset = position - position % len;
                return Span::of_numbers(
                    span.family,
                    span.first + offset,
                    span.first + offset.saturating_add(len - 1).min(offset_of_last),
                );
            }
            position -= offset_of_last + 1;
        }
        None
    }

    /// The set in stretches of at most `len` addresses, the lowest first. No stretch spans a gap.
    pub fn chunks(&self, len: u128) -> impl Iterator<Item = Span> {
        let len = len.max(1);
        self.0.iter().flat_map(move |span| {
            let mut next = Some(span.first);
            std::iter::from_fn(move || {
                let first = next?;
                let last = first.saturating_add(len - 1).min(span.last);
                next = (last < span.last).then(|| last + 1);
                Span::of_numbers(span.family, first, last)
            })
        })
    }
}

impl FromIterator<Span> for Spans {
    /// The set of all addresses of spans that may overlap and come in any order, but are of one family.
    fn from_iter<T: IntoIterator<Item = Span>>(spans: T) -> Self {
        let mut sorted: Vec<Span> = spans.into_iter().collect();
        sorted.sort_unstable();
        let mut merged: Vec<Span> = Vec::with_capacity(sorted.len());
        for span in sorted {
            match merged.last_mut() {
                Some(last) if span.first <= last.last.saturating_add(1) => last.last = last.last.max(span.last),
                _ => merged.push(span),
            }
        }
        Self(merged)
    }
}

impl fmt::Display for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, span) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{span}")?;
        }
        Ok(())
    }
}
