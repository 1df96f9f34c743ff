//! The files of a plan, and positions in them.

use std::net::IpAddr;

use crate::ipam::address::{self, Span as AddressSpan};
use crate::manifest::Span;

/// A file, or standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its path as written on the command line, or `<stdin>`.
    pub name: String,
    /// The whole content.
    pub text: String,
}

/// A part of a source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The index of the source.
    pub source: usize,
    /// The offset of its first byte.
    pub start: usize,
    /// The offset after its last byte.
    pub end: usize,
}

impl Place {
    /// The place of a span in a source.
    pub fn new(source: usize, span: &Span) -> Self {
        Self { source, start: span.start, end: span.end }
    }

    /// The byte offsets as a span.
    pub fn span(&self) -> Span {
        self.start..self.end
    }

    /// The part of it that consists of this text, if it has the text as a whole word; else all of it.
    pub fn of_text(&self, sources: &[Source], text: &str) -> Self {
        let written = sources.get(self.source).and_then(|source| source.text.get(self.span()));
        match written.and_then(|written| whole_word(written, text)) {
            Some(at) => Self { source: self.source, start: self.start + at, end: self.start + at + text.len() },
            None => self.clone(),
        }
    }

    /// The part of it that is this address, in any spelling, or a span with it; else all of it.
    pub fn of_address(&self, sources: &[Source], ip: IpAddr) -> Self {
        let written = sources.get(self.source).and_then(|source| source.text.get(self.span()));
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '/');
        let has_it = |part: &str| {
            let without_length = part.split('/').next().unwrap_or(part);
            let span = || part.parse::<AddressSpan>().is_ok_and(|span| span.contains(ip));
            address::parse(without_length).is_ok_and(|found| found == ip) || span()
        };
        // Each part with the character behind it, if there is one.
        let mut end = 0;
        let mut parts = written.unwrap_or_default().split_inclusive(|c| !is_part(c)).map(|part| {
            let at = end;
            end += part.len();
            (at, part.trim_end_matches(|c| !is_part(c)))
        });
        let found = parts.find(|(_, part)| has_it(part)).map(|(at, part)| (at, part.len()));
        match found {
            Some((at, length)) => Self { source: self.source, start: self.start + at, end: self.start + at + length },
            None => self.clone(),
        }
    }

    /// Line and column of its beginning, both counted from 1. The column counts characters.
    pub fn line_and_column(&self, sources: &[Source]) -> (usize, usize) {
        line_and_column(sources, self.source, self.start)
    }

    /// Line and column of its beginning, and those behind its end.
    pub fn region(&self, sources: &[Source]) -> ((usize, usize), (usize, usize)) {
        (self.line_and_column(sources), line_and_column(sources, self.source, self.end))
    }
}

fn line_and_column(sources: &[Source], source: usize, at: usize) -> (usize, usize) {
    let text = sources.get(source).map_or("", |source| source.text.as_str());
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The offset of a text that is not part of a longer address or name: 10.1.0.2 is not found in 10.1.0.20.
fn whole_word(written: &str, text: &str) -> Option<usize> {
    let is_inner = |c: char| c.is_alphanumeric() || matches!(c, '.' | ':' | '-' | '_');
    written.match_indices(text).map(|(at, _)| at).find(|&at| {
        let before = written[..at].chars().next_back();
        let after = written[at + text.len()..].chars().next();
        !before.is_some_and(is_inner) && !after.is_some_and(|c| is_inner(c) && c != '-')
    })
}
