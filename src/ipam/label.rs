//! Labels of nodes, checked by the rules of Kubernetes.

use std::collections::BTreeMap;
use std::fmt;

/// The most labels of one object. The limit bounds the work of each call.
pub const MAX_LABELS: usize = 256;

/// The length limit of the name in a key, and of a value, in bytes.
const MAX_NAME: usize = 63;

/// The length limit of a key's prefix, in bytes (RFC 1123, a subdomain).
const MAX_PREFIX: usize = 253;

/// How many characters of an invalid text an error shows.
const MAX_SHOWN: usize = 64;

/// The text is not valid in a label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// An invalid key.
    #[error(
        "{0:?} is not the key of a label: it needs a name of 1 to {MAX_NAME} letters, digits, '-', '_' and '.', with a \
         letter or digit at both ends; a DNS name in lower case and '/' may come before it"
    )]
    Key(String),
    /// An invalid value.
    #[error(
        "{0:?} is not the value of a label: at most {MAX_NAME} letters, digits, '-', '_' and '.' are possible, with a \
         letter or digit at both ends"
    )]
    Value(String),
}

/// The labels of one object. Keys and values are case-sensitive, and a value may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// Adds a label, or replaces the value of its key.
    pub fn insert(&mut self, key: &str, value: &str) -> Result<(), LabelError> {
        if !is_key(key) {
            return Err(LabelError::Key(shown(key)));
        }
        if !is_value(value) {
            return Err(LabelError::Value(shown(value)));
        }
        self.0.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// Keys and values, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether there are no labels.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it has each of these keys with the same value.
    pub fn contain(&self, others: &Self) -> bool {
        others.iter().all(|(key, value)| self.0.get(key).is_some_and(|own| own == value))
    }
}

/// Formats labels as `kubectl get --selector` accepts them. Shows only the first few of many, because the text goes
/// into an event.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_SHOWN: usize = 8;
        for (i, (key, value)) in self.iter().take(MAX_SHOWN).enumerate() {
            let separator = if i > 0 { "," } else { "" };
            write!(f, "{separator}{key}={value}")?;
        }
        match self.0.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

fn is_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_name(name),
        None => is_name(text),
    }
}

fn is_value(text: &str) -> bool {
    text.is_empty() || is_name(text)
}

fn is_name(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= MAX_NAME && bytes.iter().copied().all(inside) && edge(bytes.first()) && edge(bytes.last())
}

fn is_subdomain(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(inside) && !part.starts_with('-') && !part.ends_with('-');
    text.len() <= MAX_PREFIX && text.split('.').all(is_part)
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    struct Case {
        key: String,
        value: String,
        fits: bool,
    }

    fn case(key: &str, value: &str, fits: bool) -> Case {
        Case { key: key.to_owned(), value: value.to_owned(), fits }
    }

    #[test]
    fn keys_and_values_are_those_that_kubernetes_takes() {
        let (name, prefix) = ("a".repeat(MAX_NAME), "a".repeat(MAX_PREFIX));
        for Case { key, value, fits } in [
            case("topology.kubernetes.io/zone", "eu-west-1a", true),
            case("rack", "7", true),
            case("Rack_7.b-c", "A.b_c-D", true),
            case("node-role.kubernetes.io/worker", "", true),
            case(&format!("{prefix}/{name}"), &name, true),
            case(&format!("{prefix}a/{name}"), "", false),
            case(&format!("{prefix}/{name}a"), "", false),
            case("rack", &format!("{name}a"), false),
            case("", "a", false),
            case("/rack", "a", false),
            case("example.com/", "a", false),
            case("a/b/c", "a", false),
            case("Example.com/rack", "a", false),
            case("example..com/rack", "a", false),
            case("-example.com/rack", "a", false),
            case("example.com-/rack", "a", false),
            case("_rack", "a", false),
            case("rack.", "a", false),
            case("rack 7", "a", false),
            case("räck", "a", false),
            case("rack", " a", false),
            case("rack", "a-", false),
            case("rack", "a/b", false),
        ] {
            assert_eq!(Labels::default().insert(&key, &value).is_ok(), fits, "{key}={value}");
        }
    }

    #[test]
    fn a_wrong_text_is_shown_and_a_long_one_cut() {
        let mut labels = Labels::default();
        let long = labels.insert("rack", &"ä".repeat(1000)).unwrap_err().to_string();
        assert!(long.starts_with(&format!("{:?} is not the value", "ä".repeat(64) + "…")), "{long}");
        assert!(labels.insert("a b", "").unwrap_err().to_string().starts_with("\"a b\" is not the key of a label"));
        assert!(labels.is_empty());
    }

    #[test]
    fn many_labels_are_shown_in_part() {
        let mut labels = Labels::default();
        (0..10).for_each(|i| labels.insert(&format!("l{i}"), &i.to_string()).unwrap());
        assert_eq!(labels.to_string(), "l0=0,l1=1,l2=2,l3=3,l4=4,l5=5,l6=6,l7=7 and 2 more");
    }
}
