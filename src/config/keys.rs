//! How keys are found in a document, and what an unknown one was probably meant to be.

use serde_json::{Map, Value};

use super::problem::{ConfigWarning, Notes, Problem};

/// The value of a key: under its exact spelling, else under one that differs in case alone, as Go's encoding/json takes it.
pub(super) fn find<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object.get(key).or_else(|| object.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, v)| v))
}

/// Of a hostile object's keys, so many unknown ones are looked at.
const MOST_UNKNOWN: usize = 64;

/// Notes the keys that are not among the known ones: a near miss as a mistake, any other as a warning.
pub(super) fn check(object: &Map<String, Value>, at: &str, known: &[&'static str], notes: &mut Notes) {
    let is_unknown = |name: &&String| !known.iter().any(|key| key.eq_ignore_ascii_case(name));
    for name in object.keys().filter(is_unknown).take(MOST_UNKNOWN) {
        let key = below(at, &super::read::shortened(name));
        match nearest(name, known) {
            Some(meant) => notes.mistake(key, Problem::NearMiss(meant)),
            None => notes.warnings.push(ConfigWarning::UnknownKey(key)),
        }
    }
}

/// The path of a key inside the object at a path.
pub(super) fn below(at: &str, key: &str) -> String {
    match at {
        "" => key.to_owned(),
        file if file.ends_with(':') => format!("{file} {key}"),
        object => format!("{object}.{key}"),
    }
}

/// The known key that was probably meant: the same but for case, `_` and `-`, or at most two typing errors away.
pub(crate) fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    /// Longer than any known key, with its typing errors.
    const LONGEST: usize = 40;
    if name.len() > LONGEST {
        return None;
    }
    let plain = |text: &str| text.replace(['_', '-'], "").to_ascii_lowercase();
    let name = plain(name);
    let by_distance = known.iter().map(|key| (strsim::levenshtein(&name, &plain(key)), *key));
    // In a short key two errors make another word (mode, nodes).
    let near = by_distance.filter(|(distance, key)| *distance <= if key.len() < 6 { 1 } else { 2 });
    near.min_by_key(|(distance, _)| *distance).map(|(_, key)| key)
}
