//! Names of objects and values of labels, made from keys.
//!
//! Both take only lower-case letters, digits, `-` and `.`, and must begin and end with a letter or a digit (RFC 1123).
//! The encoding keeps the order of keys, so that a list with a limit has the first keys of a span:
//!
//! | byte | code |
//! |---|---|
//! | `0` to `8`, `a` to `y` | itself |
//! | `-`, `.`, `/` | `-d`, `-e`, `-f` |
//! | any other below `0` | `-` and two hexadecimal digits |
//! | `9` | `90`; from `:` to `` ` `` it is `9` and two hexadecimal digits |
//! | `z` | `z0`; above it is `z` and two hexadecimal digits |
//!
//! A `0` or a byte below it has another `0` in front at the beginning, where `-` is not allowed. The empty text is `0`.
//! A text that is too long keeps its first codes, and ends in `-g` and a hash. Only such texts lose their order.

use std::fmt::Write;

use ring::digest::{SHA256, digest};

/// The most characters of an object's name (RFC 1123 subdomain).
pub(super) const MAX_NAME: usize = 253;

/// The most characters of a label's value.
pub(super) const MAX_LABEL: usize = 63;

/// No code begins like this.
const HASHED: &str = "-g";

/// 128 bits, as hexadecimal digits.
const HASH_LEN: usize = 32;

/// 32 bits. Two texts with one label are only selected together.
const SHORT_HASH_LEN: usize = 8;

/// The name of the object of a key, or of the rest of a key.
pub(super) fn object_name(text: &str) -> String {
    encode(text, MAX_NAME)
}

/// The value of a label for a text.
pub(super) fn label_value(text: &str) -> String {
    encode(text, MAX_LABEL)
}

/// The value of a label that people select by: the text itself if it is a valid value, else with `-` for each other
/// character, cut, and with a hash at its end.
pub(super) fn readable_label(text: &str) -> String {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let has_plain_ends = !text.starts_with(|c: char| !c.is_ascii_alphanumeric())
        && !text.ends_with(|c: char| !c.is_ascii_alphanumeric());
    if text.len() <= MAX_LABEL && has_plain_ends && text.chars().all(is_allowed) {
        return text.to_owned();
    }
    let readable = text.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let readable = readable.chars().take(MAX_LABEL - 1 - SHORT_HASH_LEN);
    let mut label: String = readable.map(|c| if is_allowed(c) { c } else { '-' }).collect();
    if !label.is_empty() {
        label.push('-');
    }
    push_hex(&mut label, &digest(&SHA256, text.as_bytes()).as_ref()[..SHORT_HASH_LEN / 2]);
    label
}

/// Whether a name has a hash of its text.
pub(super) fn is_hashed(name: &str) -> bool {
    name.contains(HASHED)
}

/// The text that this is the object's name of; `None` if there is none, or if the name has only a hash of it.
pub(super) fn text_of(name: &str) -> Option<String> {
    let codes = name.strip_prefix('0').filter(|rest| rest.is_empty() || rest.starts_with(['0', '-']));
    let mut codes = codes.unwrap_or(name).bytes();
    let mut text = Vec::new();
    while let Some(code) = codes.next() {
        text.push(match code {
            b'-' | b'9' | b'z' => match codes.next()? {
                b'd' if code == b'-' => b'-',
                b'e' if code == b'-' => b'.',
                b'f' if code == b'-' => b'/',
                b'0' if code == b'9' => b'9',
                b'0' if code == b'z' => b'z',
                high => u8::try_from((hex(high)? << 4) | hex(codes.next()?)?).ok()?,
            },
            plain => plain,
        });
    }
    // Other texts have codes as well, but no names of that kind.
    String::from_utf8(text).ok().filter(|text| object_name(text) == name)
}

fn hex(digit: u8) -> Option<u32> {
    char::from(digit).to_digit(16)
}

fn encode(text: &str, max: usize) -> String {
    let mut name = String::with_capacity(text.len() + text.len() / 4);
    if text.bytes().next().is_none_or(|first| first <= b'0') {
        name.push('0');
    }
    // Where the last code ends that leaves room for a hash.
    let mut cut = 0;
    for byte in text.bytes() {
        push_code(&mut name, byte);
        if name.len() + HASHED.len() + HASH_LEN <= max {
            cut = name.len();
        }
    }
    if name.len() > max {
        name.truncate(cut);
        name.push_str(HASHED);
        push_hex(&mut name, &digest(&SHA256, text.as_bytes()).as_ref()[..HASH_LEN / 2]);
    }
    name
}

fn push_code(name: &mut String, byte: u8) {
    match byte {
        b'0'..=b'8' | b'a'..=b'y' => name.push(char::from(byte)),
        b'-' => name.push_str("-d"),
        b'.' => name.push_str("-e"),
        b'/' => name.push_str("-f"),
        b'9' => name.push_str("90"),
        b'z' => name.push_str("z0"),
        other => {
            name.push(match other {
                0..b'0' => '-',
                b':'..b'a' => '9',
                _ => 'z',
            });
            push_hex(name, &[other]);
        }
    }
}

fn push_hex(name: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string can't fail.
        let _ = write!(name, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts with many neighbours: few different bytes, from each row of the table.
    fn texts(max: usize) -> impl Strategy<Value = String> {
        let char = prop::sample::select("\0!-./089:AZ`azyé🦀{~".chars().collect::<Vec<_>>());
        prop::collection::vec(char, 0..max).prop_map(String::from_iter)
    }

    fn is_valid(name: &str, max: usize) -> bool {
        let is_plain = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
        let ends = name.bytes().next().zip(name.bytes().last());
        name.len() <= max
            && name.bytes().all(|byte| is_plain(byte) || byte == b'-')
            && ends.is_some_and(|(first, last)| is_plain(first) && is_plain(last))
    }

    #[test]
    fn names_are_readable() {
        let cases = [
            ("", "0"),
            ("default/4/0abc0a0b", "default-f4-f0abc0a0b"),
            ("n1.example/c-1/eth0/net", "n1-eexample-fc-d1-feth0-fnet"),
            ("default/4/a/2026-01-09T10:00:00.000Z/0a", "default-f4-fa-f2026-d01-d0909541093a0093a00-e00095a-f0a"),
            ("0", "00"),
            ("-", "0-d"),
            ("jazz", "jaz0z0"),
        ];
        for (text, expected) in cases {
            assert_eq!(object_name(text), expected, "{text}");
        }
    }

    #[test]
    fn labels_to_select_by_are_the_texts_themselves_where_possible() {
        let (long, cut) = (format!("{}-b", "a".repeat(70)), format!("{}-2f0b7ebf", "a".repeat(54)));
        let cases =
            [("postgres-0", "postgres-0"), ("Net_1.a", "Net_1.a"), ("", ""), ("net-", "net--486a0f00"), (&long, &cut)];
        for (text, expected) in cases {
            assert_eq!(readable_label(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn names_have_the_order_of_their_texts(one in texts(12), other in texts(12)) {
            prop_assert_eq!(object_name(&one).cmp(&object_name(&other)), one.cmp(&other));
        }

        #[test]
        fn a_name_tells_its_text_unless_it_has_a_hash(text in texts(200)) {
            let name = object_name(&text);
            prop_assert_eq!(text_of(&name), (!is_hashed(&name)).then_some(text));
        }

        #[test]
        fn no_other_name_has_a_text(name in "[0-9a-z-]{0,12}") {
            if let Some(text) = text_of(&name) {
                prop_assert_eq!(object_name(&text), name);
            }
        }

        #[test]
        fn names_and_labels_keep_to_the_rules_of_the_api(text in texts(400)) {
            prop_assert!(is_valid(&object_name(&text), MAX_NAME), "{}", object_name(&text));
            prop_assert!(is_valid(&label_value(&text), MAX_LABEL), "{}", label_value(&text));
        }

        #[test]
        fn readable_labels_keep_to_the_rules_of_the_api(text in texts(90)) {
            let label = readable_label(&text);
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric();
            let is_allowed = |byte: u8| is_plain(byte) || matches!(byte, b'-' | b'_' | b'.');
            prop_assert!(label.len() <= MAX_LABEL && label.bytes().all(is_allowed), "{}", label);
            prop_assert!(label.bytes().next().is_none_or(is_plain) && label.bytes().last().is_none_or(is_plain));
        }

        #[test]
        fn no_two_texts_have_one_name(stem in "[a-z]{20,260}", one in texts(60), other in texts(60)) {
            let name = |end: &str| object_name(&format!("{stem}{end}"));
            prop_assert_eq!(name(&one) == name(&other), one == other);
        }

        #[test]
        fn a_long_text_sorts_by_its_beginning(one in "[a-y]{219}[a-z]{40,90}", other in "[a-y]{219}[a-z]{40,90}") {
            prop_assume!(one[..219] != other[..219]);
            prop_assert_eq!(object_name(&one).cmp(&object_name(&other)), one.cmp(&other));
        }
    }
}
