//! The custom resources that keys are stored in, one for each first segment of a key, so that people find what they
//! look for: `kubectl get ipleases`.
//!
//! An object is named after the rest of its key. A label has the *stem* of the key, by which the objects of a span are
//! selected: the server goes through all objects of a resource for any selector, but returns only those.

use super::name::{label_value, object_name, text_of};
use crate::store::{Key, KeySpan};

/// The API group of the resources.
pub(super) const GROUP: &str = "kube-ipam.cloudnativer.io";

/// The version of the resources.
pub(super) const VERSION: &str = "v1alpha1";

/// The most stems that a selector names. More make a selector slower than a list of everything.
const MAX_STEMS: usize = 64;

/// A resource.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resource {
    /// The first segment of its keys.
    segment: &'static str,
    /// Its `kind`.
    pub(super) kind: &'static str,
    /// Its name in paths and RBAC rules.
    pub(super) plural: &'static str,
    /// Whether it may have so many objects that a fresh list of them is slow.
    pub(super) is_large: bool,
    stem: Stem,
}

/// The part of a key that objects are selected by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stem {
    /// All but the last two characters. A lease's key ends in an address of fixed width, so a stem has at most a hundred
    /// addresses of IPv4, or 256 of IPv6.
    AllButTwo,
    /// The first segments, so many.
    Segments(usize),
    /// No span is smaller than the resource.
    None,
}

/// All resources.
pub(super) const RESOURCES: [Resource; 7] = [
    Resource { segment: "ip", kind: "IPLease", plural: "ipleases", is_large: true, stem: Stem::AllButTwo },
    Resource { segment: "rest", kind: "IPRest", plural: "iprests", is_large: false, stem: Stem::Segments(4) },
    Resource { segment: "at", kind: "IPAttachment", plural: "ipattachments", is_large: false, stem: Stem::Segments(2) },
    Resource { segment: "id", kind: "IPReservation", plural: "ipreservations", is_large: false, stem: Stem::None },
    Resource { segment: "net", kind: "IPNetwork", plural: "ipnetworks", is_large: false, stem: Stem::None },
    Resource { segment: "use", kind: "IPUsage", plural: "ipusages", is_large: false, stem: Stem::None },
    Resource { segment: "recovery", kind: "IPRecovery", plural: "iprecoveries", is_large: false, stem: Stem::None },
];

/// For the keys of [`crate::store::conformance`]. No cluster has it but those of tests.
const CONFORMANCE: Resource = Resource {
    segment: "conformance",
    kind: "ConformanceEntry",
    plural: "conformanceentries",
    is_large: false,
    stem: Stem::Segments(2),
};

/// Where a key is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) resource: &'static Resource,
    pub(super) name: String,
}

/// The objects that a span is about: those of one resource from a name up to but not including another one, or to the
/// end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) resource: &'static Resource,
    /// The values of the label, if they are few.
    pub(super) stems: Option<Vec<String>>,
    /// Only those with the label `open`.
    pub(super) only_open: bool,
    from: String,
    to: Option<String>,
}

impl Place {
    /// The place of a key; `None` if no resource has its first segment.
    pub(super) fn of(key: &Key) -> Option<Self> {
        let (resource, rest) = split(key)?;
        Some(Self { resource, name: object_name(rest) })
    }

    /// The value of the label for the key's stem.
    pub(super) fn stem(key: &Key) -> Option<String> {
        let (resource, rest) = split(key)?;
        resource.stem(rest).map(label_value)
    }
}

impl Stretch {
    /// The objects of a span. `None` if it is not within one resource.
    pub(super) fn of(span: &KeySpan) -> Option<Self> {
        let (resource, from) = split(&span.from)?;
        // A prefix of a whole resource ends after its slash.
        let is_end = span.to.as_str() == format!("{}0", resource.segment);
        let to = match split(&span.to) {
            Some((same, to)) if same == resource => Some(to),
            _ if is_end => None,
            _ => return None,
        };
        Some(Self {
            resource,
            stems: to.and_then(|to| resource.stems(from, to)),
            only_open: false,
            from: object_name(from),
            to: to.map(object_name),
        })
    }

    /// All objects of a resource.
    pub(super) fn all(resource: &'static Resource) -> Self {
        Self { resource, stems: None, only_open: false, from: String::new(), to: None }
    }

    /// Those of these stems.
    pub(super) fn with_stems(self, stems: Option<Vec<String>>) -> Self {
        Self { stems, ..self }
    }

    /// All objects of a resource that have a lock or no value.
    pub(super) fn open(resource: &'static Resource) -> Self {
        Self { only_open: true, ..Self::all(resource) }
    }

    /// Whether an object of this name is in the span. Names have the order of keys.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.from.as_str() <= name && !self.is_behind(name)
    }

    /// Whether all objects from this name on are behind the span.
    pub(super) fn is_behind(&self, name: &str) -> bool {
        self.to.as_deref().is_some_and(|to| to <= name)
    }
}

/// The resource of a key, and the rest of the key behind the first slash.
fn split(key: &Key) -> Option<(&'static Resource, &str)> {
    let (segment, rest) = key.as_str().split_once('/')?;
    let resource = RESOURCES.iter().chain([&CONFORMANCE]).find(|resource| resource.segment == segment)?;
    Some((resource, rest))
}

impl Resource {
    /// The key whose object has this name; `None` if it is not known, because the name is a hash or none of ours.
    pub(super) fn key_of(&self, name: &str) -> Option<Key> {
        text_of(name).map(|rest| Key::new(format!("{}/{rest}", self.segment)))
    }

    /// The stem of a key without its first segment.
    fn stem<'a>(&self, rest: &'a str) -> Option<&'a str> {
        match self.stem {
            Stem::AllButTwo => rest.char_indices().rev().nth(1).map(|(end, _)| &rest[..end]),
            Stem::Segments(count) => {
                // The first segment of the key is the resource's.
                let (end, _) = rest.match_indices('/').nth(count.checked_sub(2)?)?;
                Some(&rest[..end])
            }
            Stem::None => None,
        }
    }

    /// The label's values for the keys from one text up to another one, if they are few.
    fn stems(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let first = self.stem(from)?;
        let stems = match self.stem {
            Stem::AllButTwo => {
                // The successor of a key has one more character, which sorts before all others.
                let to = to.strip_suffix('\0').unwrap_or(to);
                let is_address = |text: &str| text.bytes().rev().take(2).all(|byte| byte.is_ascii_hexdigit());
                if !is_address(from) || !is_address(to) {
                    return None;
                }
                texts_between(first, self.stem(to)?, MAX_STEMS)?
            }
            Stem::Segments(_) => {
                let all = KeySpan::prefix(&format!("{first}/"));
                let is_within = all.from.as_str() <= from && to <= all.to.as_str();
                is_within.then(|| vec![first.to_owned()])?
            }
            Stem::None => return None,
        };
        Some(stems.iter().map(|stem| label_value(stem)).collect())
    }
}

/// All texts from `first` to `last` that differ in digits only: decimal ones in an address with dots, else hexadecimal
/// ones. `None` if there are more than `max`, or if the two differ in anything else.
fn texts_between(first: &str, last: &str, max: usize) -> Option<Vec<String>> {
    let has_dots = first.rsplit('/').next().is_some_and(|address| address.contains('.'));
    let digits: &[u8] = if has_dots { b"0123456789" } else { b"0123456789abcdef" };
    let value = |byte: u8| digits.iter().position(|digit| *digit == byte);
    let is_alike = |(one, other): (u8, u8)| one == other || (value(one).is_some() && value(other).is_some());
    if first.len() != last.len() || first > last || !first.bytes().zip(last.bytes()).all(is_alike) {
        return None;
    }
    let common = first.bytes().zip(last.bytes()).take_while(|(one, other)| one == other).count();
    let mut texts = vec![first.to_owned()];
    let mut next = first.as_bytes().to_vec();
    while next != last.as_bytes() {
        if texts.len() == max {
            return None;
        }
        for byte in next[common..].iter_mut().rev() {
            let Some(digit) = value(*byte) else { continue };
            match digits.get(digit + 1) {
                Some(higher) => {
                    *byte = *higher;
                    break;
                }
                None => *byte = digits[0],
            }
        }
        texts.push(String::from_utf8(next.clone()).ok()?);
    }
    Some(texts)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
