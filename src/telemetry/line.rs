//! Parses a line of the log, in either format. The inverse of `lines`.
//!
//! ```text
//! 2026-11-23T04:58:57.316Z  INFO message name="quoted text" name=42 name=any text up to the next name
//! {"timestamp":"2026-11-23T04:58:57.316Z","level":"INFO","message":"…","name":"text","name":42}
//! ```
//!
//! In a line of text, a message comes first and may contain anything, even what looks like a field. So whoever looks
//! for lines of a kind compares the whole message.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Map, Value};

/// A line of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    /// Its file.
    pub file: PathBuf,
    /// When it was written.
    pub time: Timestamp,
    /// `INFO`, `WARN`, …
    pub level: String,
    /// The text before the fields; empty in the line of a call.
    pub message: String,
    fields: BTreeMap<String, String>,
}

impl LogLine {
    /// The value of a field, without quotes.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

/// Parses a line; `None` if it is torn, or not a line of this log.
pub(super) fn parse(file: &Path, line: &str) -> Option<LogLine> {
    if line.starts_with('{') { json(file, line) } else { text(file, line) }
}

fn json(file: &Path, line: &str) -> Option<LogLine> {
    let object: Map<String, Value> = serde_json::from_str(line).ok()?;
    let mut fields: BTreeMap<String, String> = object
        .into_iter()
        .filter_map(|(name, value)| match value {
            Value::String(text) => Some((name, text)),
            Value::Number(number) => Some((name, number.to_string())),
            Value::Bool(flag) => Some((name, flag.to_string())),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        })
        .collect();
    let time = fields.remove("timestamp")?.parse().ok()?;
    let (level, message) = (fields.remove("level")?, fields.remove("message").unwrap_or_default());
    Some(LogLine { file: file.to_owned(), time, level, message, fields })
}

fn text(file: &Path, line: &str) -> Option<LogLine> {
    let (time, rest) = line.split_once(' ')?;
    let time = time.parse().ok()?;
    let rest = rest.trim_start();
    let (level, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let message_end = next_field(rest).unwrap_or(rest.len());
    let message = rest[..message_end].trim_end().to_owned();
    let mut fields = BTreeMap::new();
    let mut rest = &rest[message_end..];
    while let Some((name, value)) = rest.split_once('=') {
        let Some((value, after)) = value_of(value) else { break };
        // The first one counts: what follows may be part of an unquoted value.
        fields.entry(name.to_owned()).or_insert(value);
        match next_field(after) {
            Some(start) => rest = &after[start..],
            None => break,
        }
    }
    Some(LogLine { file: file.to_owned(), time, level: level.to_owned(), message, fields })
}

/// Where the next `name=` begins: at the start, or after a space.
fn next_field(text: &str) -> Option<usize> {
    let mut start = 0;
    for word in text.split(' ') {
        let name = word.split_once('=').map(|(name, _)| name).unwrap_or_default();
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            return Some(start);
        }
        start += word.len() + 1;
    }
    None
}

/// The value at the start of the text, and what follows it. `None` if its end is missing.
fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let space = text.find(' ').unwrap_or(text.len());
        let end = next_field(&text[space..]).map_or(text.len(), |start| space + start);
        return Some((text[..end].trim_end().to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(escaped(&mut chars)?),
            c => value.push(c),
        }
    }
    None
}

/// The character of an escape as Rust's `Debug` writes it, after the backslash.
fn escaped(chars: &mut std::str::CharIndices<'_>) -> Option<char> {
    Some(match chars.next()?.1 {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        '0' => '\0',
        'u' => {
            let digits: String =
                chars.by_ref().take_while(|(_, c)| *c != '}').map(|(_, c)| c).filter(|c| *c != '{').collect();
            char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
        }
        c => c,
    })
}
