//! Reads a JSON object from standard input. It is limited in size and strict, and keys are looked up as in the
//! reference plugins.

use std::fmt;
use std::io::{self, Read};

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The size limit of a config, in bytes.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// How much more is read and discarded, so that a caller that writes everything before it reads gets the error instead
/// of a broken pipe. It is limited, because a caller may never stop writing.
const MAX_DRAINED: u64 = 64 << 20;

/// Why no object could be read.
#[derive(Debug)]
pub(super) enum DocumentError {
    /// Reading standard input failed.
    Read(io::Error),
    /// It has more than [`MAX_BYTES`].
    TooLarge,
    /// It is empty.
    Empty,
    /// It is not one JSON value. serde_json's text says what it expected and where, and quotes no input.
    Json(serde_json::Error),
    /// It is JSON, but of this kind instead of an object.
    NotAnObject(&'static str),
}

/// Reads one JSON object, followed by nothing but white space.
pub(super) fn read(mut from: impl Read) -> Result<Map<String, Value>, DocumentError> {
    let mut bytes = Vec::new();
    from.by_ref().take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(DocumentError::Read)?;
    if bytes.len() as u64 > MAX_BYTES {
        // The document is too large, whatever happens here.
        let _ = io::copy(&mut from.take(MAX_DRAINED), &mut io::sink());
        return Err(DocumentError::TooLarge);
    }
    if bytes.trim_ascii().is_empty() {
        return Err(DocumentError::Empty);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(&bytes);
    let value = Strict.deserialize(&mut deserializer).map_err(DocumentError::Json)?;
    deserializer.end().map_err(DocumentError::Json)?;
    match value {
        Value::Object(map) => Ok(map),
        other => Err(DocumentError::NotAnObject(kind(&other))),
    }
}

/// The value of a documented key. Go's encoding/json and the reference plugins ignore case. The exact spelling takes
/// precedence, then the last of the others.
pub fn key<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    map.get(name).or_else(|| {
        let mut others = map.iter().rev().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        others.next().map(|(_, value)| value)
    })
}

/// The kind of a JSON value, for messages that must not quote it.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Rejects objects with duplicate keys. Readers differ in which of the two counts, so a main plugin and its IPAM plugin
/// could read different configs from the same document.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(de::Error::custom("an object has the same key twice"));
            }
            map.insert(name, entries.next_value_seed(Self)?);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn error(bytes: &[u8]) -> String {
        match read(bytes).unwrap_err() {
            DocumentError::Json(e) => e.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn every_kind_of_value_is_read_as_it_was_written() {
        let text = r#" {"a":[null,true,-1,18446744073709551615,1.5,"\u00e9",{}],"b":{"c":{"c":1}}} "#;
        let plain: Value = serde_json::from_str(text).unwrap();
        assert_eq!(Value::Object(read(text.as_bytes()).unwrap()), plain);
    }

    #[test]
    fn what_is_no_object_is_refused_with_a_position_and_without_its_content() {
        let deep = [b"{\"secret\":".to_vec(), vec![b'['; 200]].concat();
        for (bytes, expected) in [
            (&b""[..], "Empty"),
            (b" \n", "Empty"),
            (b"{", "EOF while parsing an object at line 1 column 1"),
            (b"{\"secret\"}", "expected `:` at line 1 column 10"),
            (b"secret", "expected value at line 1 column 1"),
            (b"{} secret", "trailing characters at line 1 column 4"),
            (b"{\"a\":\"secret\xff\"}", "invalid unicode code point at line 1 column 13"),
            (b"{\"secret\":1,\n\"secret\":2}", "an object has the same key twice at line 2 column 8"),
            (b"{\"a\":[{\"b\":1,\"b\":1}]}", "an object has the same key twice at line 1 column 16"),
            (b"{\"a\":1e999}", "number out of range at line 1 column 10"),
            (b"{\"a\":\"\\ud800\"}", "unexpected end of hex escape at line 1 column 13"),
            (b"[\"secret\"]", "NotAnObject(\"a list\")"),
            (b"null", "NotAnObject(\"null\")"),
            (b"\"secret\"", "NotAnObject(\"a string\")"),
            (&deep, "recursion limit exceeded at line 1 column 137"),
        ] {
            assert_eq!(error(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_config_of_one_mebibyte_is_read_and_one_byte_more_is_too_large() {
        let mut bytes = br#"{"name":"net"}"#.to_vec();
        bytes.resize(MAX_BYTES as usize, b' ');
        assert!(read(&bytes[..]).is_ok());
        bytes.push(b' ');
        assert_eq!(error(&bytes), "TooLarge");
    }

    #[test]
    fn what_is_too_large_is_read_to_its_end_but_not_for_ever() {
        let ten_megabytes = vec![b'x'; 10_000_000];
        let mut writer = &ten_megabytes[..];
        assert!(matches!(read(&mut writer), Err(DocumentError::TooLarge)));
        assert!(writer.is_empty());
        assert!(matches!(read(io::repeat(b'{')), Err(DocumentError::TooLarge)));
    }

    #[test]
    fn a_key_is_found_in_any_case_and_first_as_it_is_documented() {
        let map = |value: Value| value.as_object().cloned().unwrap();
        assert_eq!(key(&map(json!({"NAME": 1, "name": 2, "Name": 3})), "name"), Some(&json!(2)));
        assert_eq!(key(&map(json!({"NAME": 1, "Name": 3})), "name"), Some(&json!(3)));
        assert_eq!(key(&map(json!({"CNIVERSION": 1})), "cniVersion"), Some(&json!(1)));
        assert_eq!(key(&map(json!({"name ": 1})), "name"), None);
        assert_eq!(key(&map(json!({"name": null})), "name"), Some(&Value::Null));
    }
}
