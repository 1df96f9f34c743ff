//! Finds the known key that an unknown one was probably meant to be, in a config or an annotation.

/// The known key that was probably meant: it differs only in case, `_` and `-`, has the same words in another order
/// (`startRange`), or differs by at most two typing errors.
pub(crate) fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    /// Longer than any known key with typing errors.
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
    // In a short key, two errors make a different word (mode, nodes).
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

/// Whether a text consists of these words, each once, in any order. No key has more than four.
fn is_made_of(text: &str, words: &[String]) -> bool {
    let follows = |(place, word): (usize, &String)| {
        let rest = words[..place].iter().chain(&words[place + 1..]).cloned().collect::<Vec<_>>();
        text.strip_prefix(word.as_str()).is_some_and(|text| is_made_of(text, &rest))
    };
    if words.is_empty() { text.is_empty() } else { words.iter().enumerate().any(follows) }
}
