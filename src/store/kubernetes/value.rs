//! How an object's `spec` holds a value: as JSON if the API server returns it byte for byte, otherwise as base64.
//!
//! JSON is for people, since `kubectl get` shows columns of it. But the API server returns the fields of an object in
//! the order of their names, and numbers as Go's `int64` or `float64`. So `order` has the original order of fields, and
//! a value with other numbers, with nulls, or in another layout becomes base64.

use std::slice::Iter;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::object::ObjectError;
use crate::store::Value;

/// A value in a `spec`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum EncodedValue {
    Json {
        value: Map<String, Json>,
        /// For each object of the value from the outside to the inside, the place of each field among the sorted ones.
        /// Empty if all are sorted.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        order: Vec<Vec<usize>>,
    },
    Base64 {
        base64: String,
    },
}

impl EncodedValue {
    pub(super) fn encode(value: &[u8]) -> Self {
        let base64 = || Self::Base64 { base64: BASE64_STANDARD.encode(value) };
        let Ok(Json::Object(fields)) = serde_json::from_slice(value) else { return base64() };
        // Catches spaces, fields that occur twice, and other ways to write a string or a number.
        let has_one_layout = serde_json::to_vec(&fields).is_ok_and(|text| text == value);
        if !has_one_layout || !fields.values().all(comes_back) {
            return base64();
        }
        let mut order = Vec::new();
        note_order(&fields, &mut order);
        if order.iter().all(|places| places.is_sorted()) {
            order.clear();
        }
        Self::Json { value: fields, order }
    }

    /// The bytes that were encoded. If somebody has edited fields since, they are in the order of their names.
    pub(super) fn decode(&self) -> Result<Value, ObjectError> {
        match self {
            Self::Base64 { base64 } => BASE64_STANDARD.decode(base64).map_err(ObjectError::Base64),
            Self::Json { value, order } => {
                let mut rest = order.iter();
                let ordered = arranged(value, &mut rest);
                serde_json::to_vec(&ordered).map_err(ObjectError::Spec)
            }
        }
    }
}

/// Whether the API server returns this as it was sent.
fn comes_back(json: &Json) -> bool {
    match json {
        Json::Null => false,
        Json::Bool(_) | Json::String(_) => true,
        Json::Number(number) => number.is_i64(),
        Json::Array(items) => items.iter().all(comes_back),
        Json::Object(fields) => fields.values().all(comes_back),
    }
}

/// The names of the fields, sorted as Go sorts them.
fn sorted(fields: &Map<String, Json>) -> Vec<&str> {
    let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

fn note_order(fields: &Map<String, Json>, order: &mut Vec<Vec<usize>>) {
    let sorted = sorted(fields);
    order.push(fields.keys().filter_map(|name| sorted.binary_search(&name.as_str()).ok()).collect());
    fields.values().for_each(|field| note_order_within(field, order));
}

fn note_order_within(json: &Json, order: &mut Vec<Vec<usize>>) {
    match json {
        Json::Object(fields) => note_order(fields, order),
        Json::Array(items) => items.iter().for_each(|item| note_order_within(item, order)),
        _ => {}
    }
}

/// The fields in their original order.
fn arranged(fields: &Map<String, Json>, order: &mut Iter<'_, Vec<usize>>) -> Map<String, Json> {
    let sorted = sorted(fields);
    let original: Vec<&str> = match order.next() {
        Some(places) if is_permutation(places, sorted.len()) => places.iter().map(|place| sorted[*place]).collect(),
        _ => sorted,
    };
    let field = |name: &str| Some((name.to_owned(), fields.get(name)?));
    original.into_iter().filter_map(field).map(|(name, json)| (name, arranged_within(json, order))).collect()
}

fn arranged_within(json: &Json, order: &mut Iter<'_, Vec<usize>>) -> Json {
    match json {
        Json::Object(fields) => Json::Object(arranged(fields, order)),
        Json::Array(items) => Json::Array(items.iter().map(|item| arranged_within(item, order)).collect()),
        other => other.clone(),
    }
}

fn is_permutation(places: &[usize], len: usize) -> bool {
    let mut sorted = places.to_vec();
    sorted.sort_unstable();
    sorted.into_iter().eq(0..len)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the API server returns for a `spec`: fields sorted, numbers as Go has them.
    fn through_api(json: Json) -> Json {
        match json {
            Json::Object(fields) => {
                let mut fields: Vec<_> = fields.into_iter().map(|(name, json)| (name, through_api(json))).collect();
                fields.sort_by(|(one, _), (other, _)| one.cmp(other));
                Json::Object(fields.into_iter().collect())
            }
            Json::Array(items) => Json::Array(items.into_iter().map(through_api).collect()),
            Json::Number(number) if !number.is_i64() => number.as_f64().map_or(Json::Null, Json::from),
            other => other,
        }
    }

    fn returned(value: &[u8]) -> EncodedValue {
        let sent = serde_json::to_value(EncodedValue::encode(value)).unwrap();
        serde_json::from_value(through_api(sent)).unwrap()
    }

    fn json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            ".{0,6}".prop_map(Json::from),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::vec(("[a-cA-C_é]{0,2}", inner), 0..5)
                    .prop_map(|fields| Json::Object(fields.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn values_are_json_if_the_api_returns_them_unchanged() {
        let cases: [(&str, bool); 12] = [
            (r#"{"v":1,"holder":{"pod":"db/a","node":"n1"}}"#, true),
            (r#"{"b":[{"d":1,"c":2}],"a":-5}"#, true),
            (r#"{}"#, true),
            (r#"{"a": 1}"#, false),
            (r#"{"a":1,"a":2}"#, false),
            (r#"{"a":"\u0041"}"#, false),
            (r#"{"a":1.50}"#, false),
            (r#"{"a":1.5}"#, false),
            (r#"{"a":123456789012345678901234567890}"#, false),
            (r#"{"a":18446744073709551615}"#, false),
            (r#"{"a":null}"#, false),
            ("7", false),
        ];
        for (text, is_json) in cases {
            let encoded = EncodedValue::encode(text.as_bytes());
            assert_eq!(matches!(encoded, EncodedValue::Json { .. }), is_json, "{text}");
            assert_eq!(String::from_utf8(returned(text.as_bytes()).decode().unwrap()).unwrap(), text);
        }
    }

    #[test]
    fn an_edited_value_has_its_fields_in_the_order_of_their_names() {
        let mut encoded = EncodedValue::encode(br#"{"b":1,"a":2}"#);
        let EncodedValue::Json { value, .. } = &mut encoded else { panic!("{encoded:?}") };
        value.insert("c".to_owned(), Json::from(3));
        assert_eq!(encoded.decode().unwrap(), br#"{"a":2,"b":1,"c":3}"#);
    }

    proptest! {
        #[test]
        fn json_comes_back_byte_for_byte(json in json()) {
            let value = serde_json::to_vec(&json).unwrap();
            prop_assert_eq!(returned(&value).decode().unwrap(), value);
        }

        #[test]
        fn bytes_come_back(value in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(returned(&value).decode().unwrap(), value);
        }
    }
}
