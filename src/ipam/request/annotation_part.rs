//! The annotation that an error is about, for programs that show the error at its place in a manifest.

use std::net::IpAddr;

use super::annotation_error::AnnotationError;
use super::annotations::Key;

/// An annotation of a pod, or a part of its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnotationPart {
    /// Its key.
    pub key: Key,
    /// The part of its value.
    pub part: ValuePart,
}

/// The part of a value that an error is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValuePart {
    /// All of it.
    Whole,
    /// This address, in any spelling, alone or in a span.
    Address(IpAddr),
    /// The item with this text. A long item is shortened, and then it is not in the value.
    Text(String),
}

impl AnnotationPart {
    /// A whole annotation.
    pub(in crate::ipam) fn whole(key: &Key) -> Self {
        Self { key: key.clone(), part: ValuePart::Whole }
    }

    /// An address of an annotation.
    pub(in crate::ipam) fn address(key: &Key, ip: IpAddr) -> Self {
        Self { key: key.clone(), part: ValuePart::Address(ip) }
    }

    /// A text in an annotation.
    pub(in crate::ipam) fn text(key: &Key, text: &str) -> Self {
        Self { key: key.clone(), part: ValuePart::Text(text.to_owned()) }
    }
}

impl AnnotationError {
    /// The annotation that it is about. If two contradict each other, the one that is for this interface only.
    pub fn annotation(&self) -> Option<AnnotationPart> {
        Some(match self {
            Self::Unknown { key, .. }
            | Self::NeedsInterface { key, .. }
            | Self::Empty(key)
            | Self::TooLarge { key, .. }
            | Self::JsonList { key, .. }
            | Self::EmptyEntry(key)
            | Self::NoSuchInterface { key, .. }
            | Self::NoRangeSet { key, .. }
            | Self::PoolTooShort { key, .. }
            | Self::IpAndPool(_, key) => AnnotationPart::whole(key),
            Self::Value { key, value, .. } | Self::Unfit { key, value, .. } => AnnotationPart::text(key, value),
            Self::UnknownPool { key, pool, .. } => AnnotationPart::text(key, pool),
            Self::Claim { value, .. } => AnnotationPart::text(&Key::of_selection(), value.trim_matches('"')),
            Self::OtherFamily { key, ip, from, .. } => match from.key() {
                Some(from) => AnnotationPart::address(from, *ip),
                None => AnnotationPart::whole(key),
            },
            Self::Disagree { first, second, .. } => AnnotationPart::whole(first.key().or(second.key())?),
        })
    }
}
