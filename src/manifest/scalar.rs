//! Scalars: a text and its style, which together determine its type.

use serde_json::{Number, Value as Json};

/// A value that is neither list nor object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// The text, without quotes and escapes.
    pub text: String,
    /// Its style in the file.
    pub style: Style,
}

/// The style of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes. The text determines the type.
    Plain,
    /// In single quotes, or with the tag `!!str`.
    SingleQuoted,
    /// In double quotes, like all strings in JSON.
    DoubleQuoted,
    /// A block that keeps its lines (`|`) or folds them (`>`).
    Block,
}

impl Scalar {
    /// Whether it is a string rather than a number, boolean or null.
    pub fn is_string(&self) -> bool {
        self.style != Style::Plain || self.to_json().is_string()
    }

    /// The value according to YAML 1.1, as in kubectl and helm: `yes` and `on` are booleans, `010` is eight.
    pub fn to_json(&self) -> Json {
        if self.style != Style::Plain {
            return Json::String(self.text.clone());
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => Json::Null,
            "true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Json::Bool(true),
            "false" | "False" | "FALSE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Json::Bool(false),
            text => number(text).map_or_else(|| Json::String(text.to_owned()), Json::Number),
        }
    }
}

/// Parses a plain scalar as a number.
fn number(text: &str) -> Option<Number> {
    let digits = text.replace('_', "");
    let (negative, magnitude) = match digits.strip_prefix(['-', '+']) {
        Some(rest) => (digits.starts_with('-'), rest),
        None => (false, digits.as_str()),
    };
    // A number begins with a digit or a dot. Without this check, "-+5" would parse as one.
    if !magnitude.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    let (radix, integer) = match magnitude.get(..2) {
        Some("0x") => (16, &magnitude[2..]),
        Some("0b") => (2, &magnitude[2..]),
        Some("0o") => (8, &magnitude[2..]),
        _ if magnitude.len() > 1 && magnitude.starts_with('0') => (8, &magnitude[1..]),
        _ => (10, magnitude),
    };
    if let Ok(integer) = u64::from_str_radix(integer, radix) {
        return if negative {
            i64::try_from(integer).ok().map(|integer| (-integer).into())
        } else {
            Some(integer.into())
        };
    }
    digits.parse::<f64>().ok().and_then(Number::from_f64)
}
