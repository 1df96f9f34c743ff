//! Finding keys in a document, and reporting unknown ones.

use serde_json::{Map, Value};

use super::diagnostics::{ConfigWarning, Diagnostics};
use super::foreign;
use super::problem::Problem;
use crate::ipam::near_miss::nearest;

/// The value of a key: in its exact spelling, else in one that differs only in case, as in Go's encoding/json.
pub(super) fn find<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object.get(key).or_else(|| object.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, v)| v))
}

/// The most unknown keys of an object that are reported. It bounds the work on a hostile document.
const MAX_UNKNOWN_KEYS: usize = 64;

/// Reports unknown keys. One that is nearly a known key, or with which another plugin chooses the address, is a
/// mistake. Any other is a warning.
pub(super) fn check(object: &Map<String, Value>, at: &str, known: &[&'static str], diagnostics: &mut Diagnostics) {
    let is_unknown = |name: &str| !known.iter().any(|key| key.eq_ignore_ascii_case(name));
    for (name, value) in object.iter().filter(|(name, _)| is_unknown(name)).take(MAX_UNKNOWN_KEYS) {
        let key = below(at, &super::read::shortened(name));
        match (foreign::find(name), nearest(name, known)) {
            (Some(foreign), _) if foreign.decides && !is_empty(value) => {
                diagnostics.mistake(key, Problem::Foreign(foreign))
            }
            (Some(foreign), _) => diagnostics.warnings.push(ConfigWarning::Foreign { key, foreign }),
            (None, Some(meant)) => diagnostics.mistake(key, Problem::NearMiss(meant)),
            (None, None) => diagnostics.warnings.push(ConfigWarning::UnknownKey(key)),
        }
    }
}

/// Whether a value is absent or an empty list.
fn is_empty(value: &Value) -> bool {
    super::read::is_absent(value) || value.as_array().is_some_and(Vec::is_empty)
}

/// The path of a key inside the object at a path.
pub(super) fn below(at: &str, key: &str) -> String {
    match at {
        "" => key.to_owned(),
        file if file.ends_with(':') => format!("{file} {key}"),
        object => format!("{object}.{key}"),
    }
}
