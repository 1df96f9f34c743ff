//! Finds the position of a key such as `ipam.ranges[0][1].subnet` in the nodes of a configuration.

use crate::manifest::{Member, Node, Span};

/// A step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// The key at a path with its value. If a part of the path is missing, the last key that exists.
#[derive(Debug, PartialEq)]
pub(super) struct Found<'a> {
    /// The span of the key. An element of a list has no key, so its own span is used.
    pub(super) key: Span,
    pub(super) node: &'a Node,
    /// Whether the whole path exists.
    pub(super) complete: bool,
}

impl Found<'_> {
    /// The span to mark for a mistake in the value: the value if it is a scalar, else its key.
    pub(super) fn mark(&self) -> Span {
        let is_short = self.node.members().is_empty() && self.node.elements().is_empty();
        if self.complete && is_short { self.node.span.clone() } else { self.key.clone() }
    }
}

/// Follows a path as far as it exists. Keys may differ in case, as in a configuration.
pub(super) fn find<'a>(top: &'a Node, path: &str) -> Found<'a> {
    // The top has no key, so its opening brace is used.
    let brace = top.span.start..(top.span.start + 1).min(top.span.end);
    let mut found = Found { key: brace, node: top, complete: true };
    for step in steps(path) {
        let next = match step {
            Step::Key(key) => member(found.node, key).map(|member| (member.key_span.clone(), &member.node)),
            Step::Index(index) => found.node.elements().get(index).map(|element| (first_line(element), element)),
        };
        let Some((key, node)) = next else { return Found { complete: false, ..found } };
        found = Found { key, node, complete: true };
    }
    found
}

/// The position of the first key of this name, at any depth, whose list has some of these entries and no others.
pub(super) fn list_of(node: &Node, key: &str, entries: &[String]) -> Option<Span> {
    let is_entry = |element: &Node| element.text().is_some_and(|text| entries.iter().any(|entry| entry == text));
    let is_it = |member: &&Member| {
        let list = member.node.elements();
        member.key.eq_ignore_ascii_case(key) && !list.is_empty() && list.iter().all(is_entry)
    };
    let own = node.members().iter().find(is_it).map(|member| member.key_span.clone());
    let inner = || node.members().iter().map(|member| &member.node).chain(node.elements());
    own.or_else(|| inner().find_map(|inner| list_of(inner, key, entries)))
}

fn member<'a>(node: &'a Node, key: &str) -> Option<&'a Member> {
    let without_case = || node.members().iter().rev().find(|member| member.key.eq_ignore_ascii_case(key));
    node.member(key).or_else(without_case)
}

/// The first byte of a list or an object, which may have many lines; the full span of a scalar.
fn first_line(node: &Node) -> Span {
    let is_short = node.members().is_empty() && node.elements().is_empty();
    if is_short { node.span.clone() } else { node.span.start..node.span.start + 1 }
}

fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    path.split('.').flat_map(|part| {
        let (key, indices) = part.split_once('[').map_or((part, ""), |(key, indices)| (key, indices));
        let indices = indices.split(['[', ']']).filter_map(|index| index.parse().ok()).map(Step::Index);
        Some(Step::Key(key)).filter(|_| !key.is_empty()).into_iter().chain(indices)
    })
}
