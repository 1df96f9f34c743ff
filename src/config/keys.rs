//! How keys are found in a document, and what an unknown one was probably meant to be.

use serde_json::{Map, Value};

use super::foreign;
use super::problem::{ConfigWarning, Notes, Problem};

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

/// The known key that was probably meant: the same but for case, `_` and `-`; made of the same words in another order
/// (`startRange`); or at most two typing errors away.
pub(crate) fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    /// Longer than any known key, with its typing errors.
    const LONGEST: usize = 40;
    if name.len() > LONGEST {
        return None;
    }
    let plain = |text: &str| text.replace(['_', '-'], "").to_ascii_lowercase();
    let name = plain(name);
    if let Some(key) = known.iter().find(|key| is_made_of(&name, &words(key))) {
        return Some(key);
    }
    let by_distance = known.iter().map(|key| (strsim::levenshtein(&name, &plain(key)), *key));
    // In a short key two errors make another word (mode, nodes).
    let near = by_distance.filter(|(distance, key)| *distance <= if key.len() < 6 { 1 } else { 2 });
    near.min_by_key(|(distance, _)| *distance).map(|(_, key)| key)
}

/// The words of a known key, in lower case: `fixed`, `start`.
fn words(key: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut after_lower = false;
    for c in key.chars() {
        match words.last_mut() {
            Some(word) if !(after_lower && c.is_ascii_uppercase()) => word.push(c.to_ascii_lowercase()),
            _ => words.push(c.to_ascii_lowercase().to_string()),
        }
        after_lower = c.is_ascii_lowercase();
    }
    words
}

/// Whether a text is these words, each of them once, in whichever order. No key has more than four.
fn is_made_of(text: &str, words: &[String]) -> bool {
    let follows = |(place, word): (usize, &String)| {
        let rest = words[..place].iter().chain(&words[place + 1..]).cloned().collect::<Vec<_>>();
        text.strip_prefix(word.as_str()).is_some_and(|text| is_made_of(text, &rest))
    };
    if words.is_empty() { text.is_empty() } else { words.iter().enumerate().any(follows) }
}
