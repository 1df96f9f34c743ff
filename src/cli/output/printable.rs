//! Makes text of files safe for a terminal, which obeys control characters: a name must not move the cursor, change
//! colours, or look like a line of this program.

use std::borrow::Cow;

/// Replaces control characters by visible ones. Keeps the number of characters.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| replacement(c).is_none()) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| replacement(c).unwrap_or(c)).collect())
}

/// The same for a text of this program, whose line ends are its own.
pub(super) fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// The same for a JSON document, which stays the same document: only its strings can have such characters, and JSON has
/// escapes for them (RFC 8259, section 7).
pub(super) fn printable_json(document: &str) -> Cow<'_, str> {
    if !document.contains(is_active) {
        return Cow::Borrowed(document);
    }
    let escape = |c: char| if is_active(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Cow::Owned(document.chars().map(escape).collect())
}

/// Whether a terminal obeys a character, other than a line end.
pub(super) fn is_active(c: char) -> bool {
    c != '\n' && replacement(c).is_some()
}

/// The character to show for a control character.
fn replacement(c: char) -> Option<char> {
    match c {
        // Unicode has a picture for each of these (Control Pictures).
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)),
        '\u{7f}' => Some('\u{2421}'),
        '\u{80}'..='\u{9f}' => Some(C1_PICTURE),
        // They change the direction of the text, so that it reads otherwise than it is.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Some('\u{fffd}'),
        // Some terminals take them for line ends.
        '\u{2028}' | '\u{2029}' => Some('\u{fffd}'),
        _ => None,
    }
}

/// The character to show for those of C1. It has as many bytes in UTF-8, so that positions in a text stay valid.
const C1_PICTURE: char = '\u{b7}';

/// Replaces the control characters of a file's text that the renderer of diagnostics leaves. Keeps the number of bytes.
pub(crate) fn printable_source(text: &str) -> Cow<'_, str> {
    let is_c1 = |c: char| ('\u{80}'..='\u{9f}').contains(&c);
    if text.chars().any(is_c1) {
        Cow::Owned(text.chars().map(|c| if is_c1(c) { C1_PICTURE } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_reaches_a_terminal_raw_and_json_stays_the_same_document(text in "\\PC*|(?s:.*)") {
            let is_active = |c: char| replacement(c).is_some();
            prop_assert!(!printable(&text).contains(is_active));
            prop_assert!(!printable_lines(&text).replace('\n', "").contains(is_active));
            let document = serde_json::to_string(&text).unwrap_or_default();
            let escaped = printable_json(&document);
            prop_assert!(!escaped.contains(is_active));
            prop_assert_eq!(serde_json::from_str::<String>(&escaped).ok(), Some(text));
        }
    }

    #[test]
    fn what_a_terminal_obeys_becomes_visible() {
        assert_eq!(printable("a\u{1b}[31mb\nc\u{7f}\u{9b}d\u{202e}"), "a␛[31mb␊c␡·d\u{fffd}");
        assert!(matches!(printable("10.1.0.10 … ü 東"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_json_document_stays_the_same() -> Result<(), serde_json::Error> {
        let value = serde_json::json!({ "na\u{202e}me": ["\u{1b}[31m\u{9b}\u{7f}\n", "ü 東"] });
        let text = serde_json::to_string_pretty(&value)?;
        let printable = printable_json(&text);
        assert!(printable.chars().all(|c| c == '\n' || replacement(c).is_none()), "{printable}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&printable)?, value);
        Ok(())
    }

    #[test]
    fn a_source_keeps_its_length() {
        let text = "a: \u{9b}31m\n\tü";
        assert_eq!(printable_source(text).len(), text.len());
        assert_eq!(printable_source(text), "a: ·31m\n\tü");
    }
}
