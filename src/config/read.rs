//! Lenient reading of JSON values: an invalid value is reported with its path, and reading continues.
//!
//! serde would stop at the first mistake and can't tell an absent key from an invalid one. A [`Field`] can, so that an
//! ADD reports all mistakes together while a DEL uses what could be read.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

use super::diagnostics::Diagnostics;
use super::problem::Problem;
use super::{keys, quantity};
use crate::ipam::address::{self, Span};
use crate::ipam::label::{Labels, MAX_LABELS};
use crate::ipam::name::Name;

/// The longest text, in bytes: that of a path.
const MAX_TEXT_LEN: usize = 4096;

/// The most entries of any list. It bounds the work on a hostile document.
pub(super) const MAX_ENTRIES: usize = 1024;

/// A type that a key's value can have.
pub(super) trait Read: Sized {
    /// Reads a value that is neither null nor an empty text, and reports what is wrong with it. A document or list is
    /// read as far as possible. Its invalid parts are invalid fields.
    fn read(value: &Value, at: &str, diagnostics: &mut Diagnostics) -> Option<Self>;

    /// Its part of the JSON schema.
    fn schema(generator: &mut SchemaGenerator) -> Schema;
}

/// The value of a key.
#[derive(Clone, Debug, Default)]
pub(super) enum Field<T> {
    /// Not set. Null and empty texts count as absent, as in host-local.
    #[default]
    Absent,
    /// Set, but not readable; the mistake was reported.
    Invalid,
    /// Set and readable.
    Present {
        /// The path of the key.
        at: String,
        value: T,
    },
}

impl<T: Read> Field<T> {
    /// Reads a key of the object at a path.
    pub(super) fn read(object: &Map<String, Value>, key: &str, at: &str, diagnostics: &mut Diagnostics) -> Self {
        keys::find(object, key).map_or(Self::Absent, |value| Self::of(value, keys::below(at, key), diagnostics))
    }

    fn of(value: &Value, at: String, diagnostics: &mut Diagnostics) -> Self {
        if is_absent(value) {
            return Self::Absent;
        }
        match T::read(value, &at, diagnostics) {
            Some(value) => Self::Present { at, value },
            None => Self::Invalid,
        }
    }
}

impl<T> Field<T> {
    /// The value, if it is present.
    pub(super) fn get(&self) -> Option<&T> {
        self.located().map(|(_, value)| value)
    }

    /// The path and the value, if it is present.
    pub(super) fn located(&self) -> Option<(&str, &T)> {
        match self {
            Self::Present { at, value } => Some((at, value)),
            Self::Absent | Self::Invalid => None,
        }
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub(super) fn is_invalid(&self) -> bool {
        matches!(self, Self::Invalid)
    }

    /// This field, or else the other. A present one wins over an invalid one.
    pub(super) fn or(self, other: Self) -> Self {
        match (&self, &other) {
            (Self::Absent, _) | (Self::Invalid, Self::Present { .. }) => other,
            _ => self,
        }
    }
}

impl<T: Read> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Field".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::schema(generator)
    }
}

/// The elements of an array.
#[derive(Clone, Debug)]
pub(super) struct List<T>(pub(super) Vec<Field<T>>);

impl<T> List<T> {
    /// The elements that could be read.
    pub(super) fn valid(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(Field::get)
    }
}

/// The elements of a list that is not too long.
pub(super) fn bounded_list<'a>(
    value: &'a Value,
    max: usize,
    at: &str,
    diagnostics: &mut Diagnostics,
) -> Option<&'a Vec<Value>> {
    let elements = value.as_array();
    let checked = checked(elements, "a list in brackets", elements.map_or(0, Vec::len), max, value);
    diagnostics.ok_or_note(at, checked)
}

/// The members of an object that is not too large.
pub(super) fn bounded_object<'a>(
    value: &'a Value,
    expected: &'static str,
    max: usize,
    at: &str,
    diagnostics: &mut Diagnostics,
) -> Option<&'a Map<String, Value>> {
    let members = value.as_object();
    let checked = checked(members, expected, members.map_or(0, Map::len), max, value);
    diagnostics.ok_or_note(at, checked)
}

fn checked<T>(found: Option<T>, expected: &'static str, len: usize, max: usize, value: &Value) -> Result<T, Problem> {
    match found {
        None => Err(unexpected(expected, value)),
        Some(_) if len > max => Err(Problem::TooMany { found: len, max }),
        Some(found) => Ok(found),
    }
}

impl<T: Read> Read for List<T> {
    fn read(value: &Value, at: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        let elements = bounded_list(value, MAX_ENTRIES, at, diagnostics)?;
        let element = |(i, value)| match format!("{at}[{i}]") {
            at if is_absent(value) => {
                diagnostics.mistake(at, Problem::EmptyEntry);
                Field::Invalid
            }
            at => Field::of(value, at, diagnostics),
        };
        Some(Self(elements.iter().enumerate().map(element).collect()))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let items = T::schema(generator);
        json_schema!({ "type": "array", "items": items })
    }
}

/// An object of labels. Its keys are not those of a config, so their case counts, and an empty value is a value.
impl Read for Labels {
    fn read(value: &Value, at: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        let expected = "an object of labels, such as {\"rack\": \"7\"}";
        let object = bounded_object(value, expected, MAX_LABELS, at, diagnostics)?;
        let before = diagnostics.mistakes.len();
        let mut labels = Self::default();
        for (key, value) in object {
            let at = keys::below(at, &shortened(key));
            match value.as_str() {
                Some(text) => drop(diagnostics.ok_or_note(&at, labels.insert(key, text))),
                None => diagnostics.mistake(at, unexpected("the value of a label, in quotes", value)),
            }
        }
        // A selector without one of its labels would admit more nodes than written.
        (diagnostics.mistakes.len() == before).then_some(labels)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "maxProperties": MAX_LABELS,
            "additionalProperties": {
                "type": "string", "maxLength": 63, "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
            },
        })
    }
}

/// A value with a short form and a long one, an object: `"30s"` or `{"time": "30s"}`.
#[derive(Clone, Debug)]
pub(super) enum ShortOrLong<S, L> {
    Short(S),
    Long(L),
}

impl<S: Read, L: Read> Read for ShortOrLong<S, L> {
    fn read(value: &Value, at: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        match value {
            Value::Object(_) => L::read(value, at, diagnostics).map(Self::Long),
            _ => S::read(value, at, diagnostics).map(Self::Short),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let (short, long) = (S::schema(generator), L::schema(generator));
        json_schema!({ "anyOf": [short, long] })
    }
}

/// Whether a value counts as absent.
pub(super) fn is_absent(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
}

/// A subnet: CIDR notation without host bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subnet(pub(super) IpNet);

/// A destination: CIDR notation, host bits allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Destination(pub(super) IpNet);

/// A size in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size(pub(super) u64);

/// A share, from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share(pub(super) f64);

/// The problem of a value of an unexpected kind.
pub(super) fn unexpected(expected: &'static str, value: &Value) -> Problem {
    let found = match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => format!("{:?}", shortened(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    };
    Problem::Unexpected { expected, found }
}

/// A text as shown in a mistake.
pub(super) fn shortened(text: &str) -> Cow<'_, str> {
    const SHOWN: usize = 64;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// The text of a value, trimmed.
pub(super) fn text<'a>(
    expected: &'static str,
    value: &'a Value,
    at: &str,
    diagnostics: &mut Diagnostics,
) -> Option<&'a str> {
    match value.as_str() {
        Some(text) if text.len() > MAX_TEXT_LEN => diagnostics.mistake(at, Problem::TooLong(text.len())),
        Some(text) => return Some(text.trim()),
        None => diagnostics.mistake(at, unexpected(expected, value)),
    }
    None
}

/// A leaf that is written as a text: its description, its schema, and how to parse it.
macro_rules! text_leaf {
    ($type:ty, $expected:literal, $schema:tt, $parse:expr) => {
        impl Read for $type {
            fn read(value: &Value, at: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
                let text = text($expected, value, at, diagnostics)?;
                diagnostics.ok_or_note(at, $parse(text))
            }

            fn schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

text_leaf!(String, "a text", { "type": "string" }, |text: &str| Ok::<_, Problem>(text.to_owned()));
text_leaf!(IpAddr, "an IP address", { "type": "string" }, address::parse);
text_leaf!(Subnet, "a subnet such as \"10.1.0.0/16\"", { "type": "string" }, |text| address::parse_net(text).map(Subnet));
text_leaf!(Destination, "a network such as \"10.1.0.0/16\"", { "type": "string" }, |text| {
    address::parse_interface(text).map(Destination)
});
text_leaf!(Span, "an address, a network or a span such as \"10.1.0.4-10.1.0.9\"", { "type": "string" }, str::parse::<Span>);
text_leaf!(Name, "a name", { "type": "string", "pattern": "^[a-zA-Z0-9][a-zA-Z0-9_.-]*$" }, Name::new);
text_leaf!(PathBuf, "an absolute path", { "type": "string", "pattern": "^/" }, |text: &str| {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err(Problem::RelativePath(shortened(text).into_owned())) }
});

impl Read for bool {
    fn read(value: &Value, at: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        value.as_bool().or_else(|| {
            diagnostics.mistake(at, unexpected("true or false", value));
            None
        })
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "boolean" })
    }
}

impl Read for u32 {
    fn read(value: &Value, at: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        let number = value.as_u64().and_then(|number| Self::try_from(number).ok());
        number.or_else(|| {
            diagnostics.mistake(at, unexpected("a whole number from 0 to 4294967295", value));
            None
        })
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 0, "maximum": u32::MAX })
    }
}

impl Read for Duration {
    fn read(value: &Value, at: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        let number = value.as_number().map(ToString::to_string);
        let text = match &number {
            Some(number) => number,
            None => text("a duration such as \"30s\"", value, at, diagnostics)?,
        };
        diagnostics.ok_or_note(at, quantity::duration(text))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(0|([0-9]*\\.?[0-9]+(ns|us|µs|ms|s|m|h))+)$" })
    }
}

impl Read for Size {
    fn read(value: &Value, at: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        let number = value.as_number().map(ToString::to_string);
        let text = match &number {
            Some(number) => number,
            None => text("a size such as \"10MB\"", value, at, diagnostics)?,
        };
        diagnostics.ok_or_note(at, quantity::size(text)).map(Self)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "pattern": "^[0-9]+ *([kKmMgG]i?)?[bB]?$", "minimum": 0 })
    }
}

impl Read for Share {
    fn read(value: &Value, at: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        if let Some(share) = value.as_f64().filter(|share| (0.0..=1.0).contains(share)) {
            return Some(Self(share));
        }
        diagnostics.mistake(at, unexpected("a share from 0 to 1, such as 0.1", value));
        None
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "maximum": 1 })
    }
}
