//! The value of an annotation: a comma list of limited length.

use std::borrow::Cow;

use super::annotation_error::AnnotationError;
use super::annotations::Key;

/// The most bytes of a value: more than 1024 spans of IPv6 addresses need. Kubernetes allows 256 KiB of annotations per
/// pod, which each attempt of an ADD would parse and log.
const MAX_VALUE_BYTES: usize = 100 << 10;

/// The most entries of a list.
const MAX_ENTRIES: usize = 1024;

/// The value of an annotation, with its key for errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AnnotationValue {
    pub(super) key: Key,
    pub(super) text: String,
}

impl AnnotationValue {
    /// Reads a value. Checks its length before anything parses it.
    pub(super) fn read(key: Key, value: &str) -> Result<Self, AnnotationError> {
        let too_large = |found, of, most| Err(AnnotationError::TooLarge { key: key.clone(), found, of, most });
        if value.len() > MAX_VALUE_BYTES {
            return too_large(value.len(), "bytes", MAX_VALUE_BYTES);
        }
        let value = value.trim();
        let entries = value.split(',').count();
        if entries > MAX_ENTRIES {
            return too_large(entries, "entries", MAX_ENTRIES);
        }
        if value.starts_with('[') {
            let instead = value.replace(['[', ']', '"'], "");
            return Err(AnnotationError::JsonList { key, instead: shortened(instead.trim()).into_owned() });
        }
        // A comma after the last item is allowed.
        let listed = value.strip_suffix(',').unwrap_or(value);
        if !listed.is_empty() && listed.split(',').any(|entry| entry.trim().is_empty()) {
            return Err(AnnotationError::EmptyEntry(key));
        }
        Ok(Self { key, text: value.to_owned() })
    }

    /// The items of a comma list, without empty ones.
    pub(super) fn items(&self) -> impl Iterator<Item = &str> {
        self.text.split(',').map(str::trim).filter(|item| !item.is_empty())
    }

    pub(super) fn wrong(&self, value: &str, wanted: &'static str) -> AnnotationError {
        AnnotationError::Value { key: self.key.clone(), value: shortened(value).into_owned(), wanted }
    }
}

/// Shortens a text for an error.
pub(super) fn shortened(text: &str) -> Cow<'_, str> {
    /// In characters: a span of two IPv6 addresses has 79.
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}
