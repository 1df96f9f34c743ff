//! How keys are found in a document, and what becomes of unknown ones.

use serde_json::{Map, Value};

use super::foreign;
use super::problem::{ConfigWarning, Notes, Problem};
use crate::ipam::near_miss::nearest;

/// The value of a key: under its exact spelling, else under one that differs in case alone, as Go's encoding/json takes it.
pub(super) fn find<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object.get(key).or_else(|| object.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, v)| v))
}

/// Of a hostile object's keys, so many unknown ones are looked at.
const MOST_UNKNOWN: usize = 64;

/// Notes the keys that are not among the known ones: as a mistake a near miss, and a key by which another plugin chooses
/// the address; any other as a warning.
pub(super) fn check(object: &Map<String, Value>, at: &str, known: &[&'static str], notes: &mut Notes) {
    let is_unknown = |name: &str| !known.iter().any(|key| key.eq_ignore_ascii_case(name));
    for (name, value) in object.iter().filter(|(name, _)| is_unknown(name)).take(MOST_UNKNOWN) {
        let key = below(at, &super::read::shortened(name));
        match (foreign::find(name), nearest(name, known)) {
            (Some(foreign), _) if foreign.decides && !is_empty(value) => notes.mistake(key, Problem::Foreign(foreign)),
            (Some(foreign), _) => notes.warnings.push(ConfigWarning::Foreign { key, foreign }),
            (None, Some(meant)) => notes.mistake(key, Problem::NearMiss(meant)),
            (None, None) => notes.warnings.push(ConfigWarning::UnknownKey(key)),
        }
    }
}

/// Whether a value says nothing, be it as a list.
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
